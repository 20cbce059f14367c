//! The place of a bundle's network.
#![cfg(target_os = "linux")]

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use sidecar_bundle::{Addressing, BundleSpec, Error, NetworkOptions, NetworkPlanned, Ready};

use crate::fake::plan;
use crate::scripted::{Act, Scripted};

/// A plan on the loopback interface, which is on every host with the same addresses.
fn on_loopback(bridge: &str) -> NetworkPlanned {
    let (gateway, bundle) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 77, 0, 2));
    let own = Addressing::new("127.0.0.0/8".parse().unwrap(), gateway, bundle).unwrap();
    plan().with_addressing(own).with_options(NetworkOptions::new().bridge_name(bridge))
}

#[test]
fn a_bundle_is_reachable_if_packets_to_it_leave_by_its_own_bridge() {
    // This engine says that it is in a virtual machine, so that nothing of this host is in the way.
    let engine = Scripted::new(|_, _| Act::Obey);
    for (plan, is_reachable) in
        [(on_loopback("lo"), true), (on_loopback("no-such-bridge"), false), (plan(), false)]
    {
        let network = plan.create_network(&engine.engine()).unwrap();
        assert_eq!(network.is_reachable(), is_reachable, "{network:?}");
        let bundle = network.start(BundleSpec::new()).unwrap();
        assert_eq!(bundle.is_reachable(), is_reachable, "{bundle:?}");
        bundle.close().unwrap();
    }
    assert_eq!(engine.resources(), 0);
}

#[test]
fn a_bundle_that_is_reachable_is_connected_to_at_its_own_address() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = on_loopback("lo").launch(&engine.engine(), BundleSpec::new()).unwrap();
    let listener = TcpListener::bind((bundle.ip(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    bundle.wait_for(&Ready::tcp(port), Duration::from_secs(20)).unwrap();
    drop(listener);
    let error = bundle.wait_for(&Ready::tcp(port), Duration::from_millis(100)).unwrap_err();
    let Error::NotReady { seen, .. } = &error else { panic!("{error:?}") };
    assert!(seen.starts_with(&format!("TCP port {port}: ")), "{seen}");
    bundle.close().unwrap();
}
