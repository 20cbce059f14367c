//! A running bundle, from its launch to its end, also in async code.

use std::time::Duration;

use sidecar_bundle::{Addressing, BundleSpec, State};

use crate::engine::{
    await_print, http_body, inspect, is_podman, is_rootless, required, shout, world,
};

#[test]
fn a_slug_comes_up_at_its_address_and_goes_without_a_trace() {
    let Some(world) = world("whole-way") else { return };
    let plan = world.plan();
    let ip = plan.ip().to_string();
    let bundle = plan.clone().launch(&world.engine(), BundleSpec::new()).unwrap();
    assert_eq!(bundle.plan(), &plan);

    let network = inspect("network", &plan.network_name()).unwrap();
    assert_eq!(network["Id"], bundle.network_id());
    assert_eq!(network["Driver"], "bridge");
    let network_labels = network["Labels"].clone();
    let ipam = &network["IPAM"]["Config"][0];
    assert_eq!(ipam["Subnet"], plan.subnet().to_string());
    assert_eq!(ipam["Gateway"], plan.gateway().to_string());
    assert_eq!(ipam["IPRange"], plan.addressing().dynamic_range().unwrap().to_string());

    let container = inspect("container", &plan.container_name()).unwrap();
    assert_eq!(container["Id"], bundle.container_id());
    assert_eq!(container["State"]["Status"], "running");
    let networks = container["NetworkSettings"]["Networks"].as_object().unwrap();
    assert_eq!(networks.len(), 1);
    let endpoint = networks.values().next().unwrap();
    assert_eq!(endpoint["IPAddress"], ip);
    // Podman says the name for the id.
    let network = if is_podman() { &network["Name"] } else { &network["Id"] };
    assert_eq!(endpoint["NetworkID"], *network);
    assert_eq!(container["HostConfig"]["AutoRemove"], false);

    for labels in [&network_labels, &container["Config"]["Labels"]] {
        let label = |key: &str| labels[format!("sidecar-bundle.{key}")].as_str().unwrap();
        assert_eq!(label("format"), "2");
        assert_eq!(label("prefix"), "claude-bottle");
        assert_eq!(label("slug"), "whole-way");
        assert_eq!(label("subnet"), plan.subnet().to_string());
        assert_eq!(label("gateway"), plan.gateway().to_string());
        assert_eq!(label("ip"), ip);
        assert_eq!(label("attempt"), "0");
        assert_eq!((label("lease").len(), label("engine").len()), (32, 32));
        assert_eq!(label("owner").len(), 32);
    }

    if bundle.is_reachable() {
        assert_eq!(http_body(bundle.ip(), 8080), "egress");
        assert_eq!(http_body(bundle.ip(), 8081), "pipelock");
    } else {
        assert!(!required() || is_rootless(), "the bundle's bridge is not in this namespace");
        shout("SKIPPED asking a daemon: the bundle's bridge is not on this host");
    }
    bundle.close().unwrap();
    world.assert_nothing_left();
    assert_eq!(std::fs::read_dir(world.state.path()).unwrap().count(), 0, "no file is left");
}

#[test]
fn given_addresses_come_up_with_no_daemons() {
    let Some(world) = world("given") else { return };
    let own = Addressing::new(
        "192.168.211.0/24".parse().unwrap(),
        [192, 168, 211, 1].into(),
        [192, 168, 211, 2].into(),
    );
    let plan = world.plan().with_addressing(own.unwrap());
    let spec = BundleSpec::new().clear_daemons();
    let bundle = plan.launch(&world.engine(), spec).unwrap();
    let container = inspect("container", bundle.container_id()).unwrap();
    let networks = container["NetworkSettings"]["Networks"].as_object().unwrap();
    assert_eq!(networks.values().next().unwrap()["IPAddress"], "192.168.211.2");
    let env = container["Config"]["Env"].as_array().unwrap();
    assert!(env.iter().any(|it| it == "CLAUDE_BOTTLE_SIDECAR_DAEMONS="), "{env:?}");
    assert_eq!(container["State"]["Running"], true);
    drop(bundle);
    world.assert_nothing_left();
}

async fn use_it_from_async(slug: &'static str) {
    let Some(world) = world(slug) else { return };
    let (plan, engine) = (world.plan(), world.engine());
    let launched = tokio::task::spawn_blocking(move || plan.launch(&engine, BundleSpec::new()));
    let bundle = launched.await.unwrap().unwrap();
    // Straight from async code it works, too: it blocks this thread and needs no runtime.
    await_print(&bundle, "ready");
    assert_eq!(bundle.status().unwrap().state, State::Running);
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(bundle);
    world.assert_nothing_left();
    // A task that is dropped drops what it holds.
    let (plan, engine) = (world.plan(), world.engine());
    let task = tokio::spawn(async move {
        let _bundle = plan.launch(&engine, BundleSpec::new()).unwrap();
        std::future::pending::<()>().await;
    });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    world.assert_nothing_left();
}

#[tokio::test(flavor = "current_thread")]
async fn it_works_in_a_runtime_of_one_thread() {
    use_it_from_async("tokio-one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_in_a_runtime_of_many_threads() {
    use_it_from_async("tokio-many").await;
}

/// Futures on a real engine: cancelled at many moments, and to the end.
#[cfg(feature = "tokio")]
async fn use_its_futures(slug: &'static str) {
    use sidecar_bundle::{Ready, tokio::launch};

    use crate::engine::{LONG, is_api};

    let Some(world) = world(slug).filter(|_| is_api()) else { return };
    let engine = world.engine();
    for moment in [0, 20, 60, 120, 250] {
        let moment = Duration::from_millis(moment);
        // Some of them are up before, and are dropped.
        let launched = launch(world.plan(), &engine, BundleSpec::new());
        drop(tokio::time::timeout(moment, launched).await);
    }
    // It joins the end of the last.
    let bundle = launch(world.plan(), &engine, BundleSpec::new()).await.unwrap();
    let mut log = bundle.follow_logs(None).await.unwrap();
    bundle.wait_for(&Ready::log("supervisor: ready"), LONG).await.unwrap();
    while !log.next_line().await.unwrap().text.contains("ready") {}
    let spec = BundleSpec::new().image("claude-bottle-sidecars:latest").clear_daemons();
    let guest = bundle.guest("client", spec).await.unwrap();
    assert_ne!(guest.ip(), bundle.ip());
    guest.close().await.unwrap();
    let second = Duration::from_secs(1);
    let command = Ready::exec(["sleep", "3600"]);
    let wait = bundle.wait_for(&command, Duration::MAX);
    assert!(tokio::time::timeout(second, wait).await.is_err());
    let ended = bundle.spawn_blocking(|it| it.exec(["true"], LONG));
    assert_eq!(ended.await.unwrap().code, 0);
    assert!(tokio::time::timeout(second, bundle.wait_exit(Duration::MAX)).await.is_err());
    bundle.spawn_blocking(|it| it.signal("KILL")).await.unwrap();
    assert_eq!(bundle.wait_exit(LONG).await.unwrap().unwrap().code, 137);
    while log.next_line().await.is_some() {}
    // It does not wait for the command.
    tokio::time::timeout(LONG, bundle.close()).await.unwrap().unwrap();
    world.assert_nothing_left();
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "current_thread")]
async fn its_futures_work_in_a_runtime_of_one_thread() {
    use_its_futures("tokio-futures-one").await;
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_futures_work_in_a_runtime_of_many_threads() {
    use_its_futures("tokio-futures-many").await;
}
