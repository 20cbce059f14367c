//! Looking for a free subnet.

use serde_json::json;
use sidecar_bundle::{Cause, Error};

use crate::fake::{ELSEWHERE, Fake, NETWORK, plan};
use crate::scripted::{Act, Scripted};
use crate::texts::{UNREACHABLE, refuse};

#[test]
fn a_survey_is_few_commands_and_reads_all_of_a_thousand_networks() {
    let fake = Fake::new();
    fake.on("info", ELSEWHERE);
    let addresses = plan();
    let taken = addresses.subnet();
    fake.on("network-ls", "none; printf '%064d\\n' 1");
    // The one that matters comes first, before two million bytes of others.
    let network = r#"{"Id":"%064d","Name":"n%d","Driver":"bridge","Labels":{"x":"%01900d"},"IPAM":{"Config":[{"Subnet":"%s"}]}}"#;
    fake.on(
        "network-inspect",
        &format!(
            "awk 'BEGIN {{ printf \"[\"; for (n = 0; n < 1100; n++) printf \"%s{}\", n ? \",\" : \"\", n, n, 0, n ? \"192.0.2.0/30\" : \"{taken}\"; print \"]\" }}'",
            network.replace('"', "\\\"")
        ),
    );
    let engine = fake.engine();
    let moved = addresses.clone().in_free_subnet(&engine).unwrap();
    assert_ne!(moved.subnet(), taken);
    assert_eq!(fake.operations(), ["network ls", "network inspect"]);
    addresses.in_free_subnet(&engine).unwrap();
    assert_eq!(fake.operations()[2..], ["network ls", "network inspect"]);
    assert_eq!(fake.infos(), 3, "its place is asked once");
}

#[test]
fn a_failed_survey_hands_the_plan_back() {
    let fake = Fake::new();
    fake.on("network-ls", &refuse(1, UNREACHABLE));
    let failed = plan().in_free_subnet(&fake.engine()).unwrap_err();
    assert_eq!(
        fake.chain(&failed),
        [
            "the engine could not be asked for its networks".to_owned(),
            format!("docker network ls ended with exit status: 1: {UNREACHABLE}"),
        ]
    );
    assert_eq!(failed.error().cause(), Some(Cause::EngineUnreachable));
    assert_eq!(failed.into_state(), plan());
}

#[test]
fn somebody_elses_network_of_the_planned_name_holds_its_subnet() {
    let network = json!([{
        "Id": "f".repeat(64), "Name": NETWORK, "IPAM": {"Config": [{"Subnet": plan().subnet().to_string()}]},
    }]);
    let engine = Scripted::new(move |request, _| match request {
        "GET /networks" => Act::Answer(200, network.to_string()),
        _ => Act::Obey,
    });
    let moved = plan().in_free_subnet(&engine.engine()).unwrap();
    assert_ne!(moved.subnet(), plan().subnet());
}

#[test]
#[cfg(target_os = "linux")]
fn the_addresses_of_this_host_are_taken_where_the_engine_may_be_on_it() {
    // The loopback interface has an address of this pool's only subnet.
    let on_loopback = || plan().with_pool("127.0.0.0/24:/24".parse().unwrap());
    let rootless = json!({"SecurityOptions": ["name=rootless"]});
    for (more, is_taken) in [
        (json!({"OperatingSystem": "Docker Desktop"}), false),
        (json!({"Name": "other"}), true),
        // Its own namespace has none of them, and its ports are on this host.
        (rootless, true),
    ] {
        let mut info = json!({"ID": "ID", "Name": "other", "ServerVersion": "26.1.5"});
        info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let info = info.to_string();
        let missing = json!({"message": "network bridge not found"}).to_string();
        let engine = Scripted::new(move |request, _| match request {
            "GET /info" => Act::Answer(200, info.clone()),
            "GET /networks/bridge" => Act::Answer(404, missing.clone()),
            _ => Act::Obey,
        });
        let found = on_loopback().in_free_subnet(&engine.engine());
        match found.map_err(|failed| failed.into_parts().0) {
            Ok(_) => assert!(!is_taken, "{more}"),
            Err(Error::PoolFull { .. }) => assert!(is_taken, "{more}"),
            Err(error) => panic!("{more}: {error:?}"),
        }
    }
}

#[test]
fn the_network_that_was_kept_is_in_no_way_of_its_own_slug() {
    let fake = Fake::new();
    let kept = plan().create_network(&fake.engine()).unwrap().keep().unwrap();
    assert_eq!(plan().in_free_subnet(&fake.engine()).unwrap(), kept);
    kept.create_network(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}
