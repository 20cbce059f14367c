//! Guests of a bundle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use sidecar_bundle::{BundleSpec, Error};

use crate::fake::plan;
use crate::scripted::{Act, Scripted};

#[test]
fn the_address_of_a_guest_is_waited_for() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let looked = AtomicBool::new(false);
    // The network and the bundle's container were created before it.
    let (network, id) = (bundle.network_id().to_owned(), format!("{:064x}", 3));
    let inspect = format!("GET /containers/{id}/json");
    engine.script(move |request, _| {
        if request != inspect {
            return Act::Obey;
        }
        let ip = if looked.swap(true, Ordering::SeqCst) { "10.56.132.130" } else { "" };
        let container = json!({
            "Id": id, "Name": "/n", "Config": {"Labels": {}},
            "State": {"Status": "running", "FinishedAt": "0001-01-01T00:00:00Z"},
            "NetworkSettings": {"Networks": {"n": {"NetworkID": network, "IPAddress": ip}}},
        });
        Act::Answer(200, container.to_string())
    });
    let guest = bundle.guest("agent", BundleSpec::new().image("agent")).unwrap();
    assert_eq!(guest.ip().to_string(), "10.56.132.130");
    assert_eq!(guest.container_name(), "claude-bottle-guest-demo-agent");
    assert_eq!(guest.bundle().container_name(), "claude-bottle-sidecars-demo");
    let create = "POST /containers/create?name=claude-bottle-guest-demo-agent".to_owned();
    assert!(engine.requests().contains(&create), "{:?}", engine.requests());
    guest.close().unwrap();
    assert_eq!(engine.resources(), 2);
    bundle.close().unwrap();
}

#[test]
fn a_guest_that_may_be_left_is_told_where_it_is_closed() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let short = engine.engine().with_remove_deadline(Duration::from_millis(200));
    let bundle = plan().launch(&short, BundleSpec::new()).unwrap();
    let guest = bundle.guest_in_namespace("agent", BundleSpec::new().image("agent")).unwrap();
    engine.script(|request, _| {
        let is_removal = request.starts_with("DELETE");
        if is_removal { Act::Answer(500, "the moon is full".into()) } else { Act::Obey }
    });
    let error = guest.close().unwrap_err();
    assert!(matches!(error, Error::NotRemoved { .. }), "{error:?}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
    assert_eq!(engine.resources(), 1);
}

#[test]
fn a_name_that_is_none_of_a_guest_is_refused_before_the_engine_is_asked() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let asked = engine.requests().len();
    let long = "a".repeat(17);
    for name in ["", "Agent", "an-agent", "an agent", long.as_str()] {
        for error in [
            bundle.guest(name, BundleSpec::new().image("agent")).unwrap_err(),
            bundle.guest_in_namespace(name, BundleSpec::new().image("agent")).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Invalid(_)), "{name:?}: {error:?}");
        }
    }
    assert_eq!(engine.requests().len(), asked);
    let longest = "a".repeat(16);
    drop(bundle.guest_in_namespace(&longest, BundleSpec::new().image("agent")).unwrap());
    bundle.close().unwrap();
}
