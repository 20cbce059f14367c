//! The library on a real engine.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod inside;
mod networks;
#[path = "../support/owner.rs"]
mod owner;
mod support;
mod texts;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sidecar_bundle::{AddressPool, Addressing, BundleSpec, Cause, Error, NetworkPlanned, Product};

use support::{
    cli, foreign_network, http_body, inspect, is_podman, is_rootless, plan_apart, program,
    required, world,
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
        assert_eq!(label("format"), "1");
        assert_eq!(label("prefix"), "claude-bottle");
        assert_eq!(label("slug"), "whole-way");
        assert_eq!(label("subnet"), plan.subnet().to_string());
        assert_eq!(label("gateway"), plan.gateway().to_string());
        assert_eq!(label("ip"), ip);
        assert_eq!(label("attempt"), "0");
        let id = std::fs::read_to_string(world.state.path().join("id")).unwrap();
        assert_eq!(label("lease-dir"), id.trim());
        assert_eq!(label("owner").len(), 32);
    }

    if bundle.is_reachable() {
        assert_eq!(http_body(bundle.ip(), 8080), "egress");
        assert_eq!(http_body(bundle.ip(), 8081), "pipelock");
    } else {
        assert!(!required() || is_rootless(), "the bundle's bridge is not in this namespace");
        support::shout("SKIPPED asking a daemon: the bundle's bridge is not on this host");
    }
    bundle.close().unwrap();
    world.assert_nothing_left();
    let files = std::fs::read_dir(world.state.path()).unwrap().flatten();
    let mut files: Vec<_> = files.map(|it| it.file_name().into_string().unwrap()).collect();
    files.sort();
    // What says that this process lives is locked by its reaper.
    assert!(
        matches!(&*files, [alive, id] if alive.starts_with("alive-") && id == "id"),
        "{files:?}"
    );
}

#[test]
fn an_address_is_reachable_only_while_its_bridge_is_here() {
    let Some(world) = world("reachable") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let bridge_is_here = std::path::Path::new("/sys/class/net")
        .join(format!("br-{}", &network.network_id()[..12]))
        .exists();
    // /sys may show another namespace than the one we are in; the engine tests in CI are in the right one.
    let bridge_is_here = bridge_is_here || required() && !is_rootless();
    let bundle = network.start(BundleSpec::new().daemons([""; 0])).unwrap();
    assert_eq!(bundle.is_reachable(), bridge_is_here);
    bundle.close().unwrap();
    world.assert_nothing_left();
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
    let spec = BundleSpec::new().daemons([""; 0]);
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

#[test]
fn the_smallest_subnet_of_another_product_comes_up() {
    let Some(world) = world("smallest") else { return };
    let pool: AddressPool = "10.40.0.0/20:/29".parse().unwrap();
    let plan = world
        .plan()
        .with_pool(pool)
        .with_product(Product::new("acme").unwrap().with_image("claude-bottle-sidecars:latest"));
    let spec = BundleSpec::new().daemons(["egress"]).variable("X", "1");
    let bundle = plan.launch(&world.engine(), spec).unwrap();
    assert_eq!(inspect("network", "acme-bundle-smallest").unwrap()["Id"], bundle.network_id());
    let container = inspect("container", "acme-sidecars-smallest").unwrap();
    let env = container["Config"]["Env"].as_array().unwrap();
    assert!(env.iter().any(|it| it == "ACME_SIDECAR_DAEMONS=egress"), "{env:?}");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn dynamic_joiners_stay_off_the_pinned_address() {
    let Some(world) = world("joiners") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let id = cli(&[
        "run",
        "--detach",
        "--network",
        network.network_id(),
        "claude-bottle-sidecars:latest",
        "sleep",
        "60",
    ]);
    let joiner = inspect("container", id.trim()).unwrap();
    let networks = joiner["NetworkSettings"]["Networks"].as_object().unwrap();
    let ip = networks.values().next().unwrap()["IPAddress"].as_str().unwrap().parse();
    assert!(
        network
            .plan()
            .addressing()
            .dynamic_range()
            .unwrap()
            .contains::<&std::net::Ipv4Addr>(&ip.unwrap())
    );
    let bundle = network.start(BundleSpec::new()).unwrap();
    cli(&["rm", "--force", "--volumes", id.trim()]);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_kept_network_is_taken_over_by_the_next_create() {
    let Some(world) = world("kept-network") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let id = network.network_id().to_owned();
    let plan = network.keep().unwrap();
    assert!(inspect("network", &id).is_some());
    let again = plan.create_network(&world.engine()).unwrap();
    assert_eq!(again.network_id(), id);
    // Its own network takes no subnet from a slug.
    let plan = again.keep().unwrap();
    let again = plan.create_network_in_free_subnet(&world.engine()).unwrap();
    assert_eq!(again.network_id(), id);
    assert_eq!(again.plan().addressing().attempt(), 0);
    again.start(BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_foreign_network_of_the_same_name_is_refused_and_left_alone() {
    let Some(world) = world("foreign-name") else { return };
    let plan = world.plan();
    let (name, subnet) = (plan.network_name(), plan.subnet().to_string());
    let gateway = plan.gateway().to_string();
    let id = foreign_network(&subnet, &["--gateway", &gateway], &name);
    let failed = plan.create_network(&world.engine()).unwrap_err();
    let message = failed.error().to_string();
    assert!(
        matches!(failed.error(), Error::NetworkDiffers { id: found, .. } if *found == id),
        "{message}"
    );
    assert_eq!(
        message,
        "network claude-bottle-bundle-foreign-name exists, and is not the planned one: its sidecar-bundle.attempt is not set, not 0"
    );
    assert_eq!(inspect("network", &id).unwrap()["Name"], name);
    cli(&["network", "rm", &id]);
    failed.into_state().create_network(&world.engine()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn an_overlap_is_said_and_the_next_attempt_comes_up() {
    let Some(world) = world("overlap") else { return };
    let plan = world.plan();
    let foreign =
        foreign_network(&plan.subnet().to_string(), &[], "sidecar-bundle-test-foreign-overlap");
    let failed = plan.create_network(&world.engine()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::SubnetOverlap), "{failed:?}");
    world.assert_nothing_of_ours();
    let next = failed.into_state().next_attempt().unwrap();
    let network = next.create_network(&world.engine()).unwrap();
    assert_eq!(network.plan().addressing().attempt(), 1);
    network.close().unwrap();
    cli(&["network", "rm", &foreign]);
    world.assert_nothing_left();
}

#[test]
fn a_missing_image_hands_the_network_back() {
    let Some(world) = world("no-image") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let spec = BundleSpec::new().image("sidecar-bundle-test-no-such-image:1");
    let failed = network.start(spec).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ImageMissing), "{failed:?}");
    let bundle = failed.into_state().start(BundleSpec::new()).unwrap();
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_question_mark_after_a_failed_start_removes_the_network() {
    fn launch(plan: NetworkPlanned, engine: &sidecar_bundle::CliEngine) -> Result<(), Error> {
        let network = plan.create_network(engine)?;
        let _bundle =
            network.start(BundleSpec::new().image("sidecar-bundle-test-no-such-image:1"))?;
        unreachable!("there is no such image")
    }
    let Some(world) = world("question-mark") else { return };
    let error = launch(world.plan(), &world.engine()).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::ImageMissing));
    world.assert_nothing_left();
}

#[test]
fn a_foreign_container_of_the_same_name_is_said_and_left_alone() {
    let Some(world) = world("foreign-ctr") else { return };
    let plan = world.plan();
    let name = plan.container_name();
    let image = "claude-bottle-sidecars:latest";
    let id = cli(&["create", "--name", &name, image]).trim().to_owned();
    let failed = plan.launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ContainerNameTaken), "{failed:?}");
    let found = inspect("container", &id).unwrap()["Name"].clone();
    assert_eq!(found.as_str().unwrap().trim_start_matches('/'), name);
    cli(&["rm", "--force", "--volumes", &id]);
    world.assert_nothing_left();
}

#[test]
fn mounts_arrive_whatever_their_path_and_a_missing_source_is_said() {
    let Some(world) = world("mounts") else { return };
    let odd = world.state.path().join("a,b \"c\":d=e");
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join("file"), "hello").unwrap();
    let missing = world.state.path().join("missing");

    let network = world.plan().create_network(&world.engine()).unwrap();
    let failed = network.start(BundleSpec::new().mount(&missing, "/data")).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::MountSourceMissing), "{failed:?}");
    assert!(!missing.exists());
    let spec = BundleSpec::new().mount(&odd, "/w").mount_read_only(&odd, "/r,\"o\"");
    let bundle = failed.into_state().start(spec).unwrap();
    let script = "cat /w/file && touch /w/new && ! touch '/r,\"o\"/new2' 2>/dev/null && echo fine";
    let said = cli(&["exec", bundle.container_id(), "sh", "-c", script]);
    assert_eq!(said, "hellofine\n");
    assert!(odd.join("new").exists());
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn variables_of_each_kind_arrive_in_the_container() {
    let Some(world) = world("variables") else { return };
    let secret = "s3cret with \"quotes\",\n$HOME and a second line";
    let spec = BundleSpec::new()
        .variable("LITERAL", "a=b c")
        .variable("http_proxy", "http://127.0.0.1:1")
        .inherit("CARGO_MANIFEST_DIR")
        .secret("API_TOKEN", secret);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let env = cli(&["exec", bundle.container_id(), "env"]);
    let manifest = format!("CARGO_MANIFEST_DIR={}\n", env!("CARGO_MANIFEST_DIR"));
    for expected in [
        "LITERAL=a=b c\n",
        "http_proxy=http://127.0.0.1:1\n",
        &manifest,
        &format!("API_TOKEN={secret}\n"),
        "CLAUDE_BOTTLE_SIDECAR_DAEMONS=egress,pipelock\n",
    ] {
        assert!(env.contains(expected), "{expected:?} is not in {env}");
    }
    assert!(!format!("{bundle:?}").contains("s3cret"));
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_bundle_takes_its_anonymous_volumes_along() {
    let Some(world) = world("volumes") else { return };
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand-in/build");
    assert!(std::process::Command::new(build).status().unwrap().success());
    let donor = cli(&["create", "claude-bottle-sidecars:latest"]);
    let import = format!(
        "{0} export {1} | {0} import --change 'VOLUME /data' --change 'CMD [\"sleep\",\"60\"]' - sidecar-bundle-test-volume:1",
        program(),
        donor.trim()
    );
    assert!(std::process::Command::new("sh").args(["-c", &import]).status().unwrap().success());
    cli(&["rm", "--volumes", donor.trim()]);
    let spec = BundleSpec::new().image("sidecar-bundle-test-volume:1");
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let container = inspect("container", bundle.container_id()).unwrap();
    let volume = container["Mounts"][0]["Name"].as_str().unwrap().to_owned();
    assert!(inspect("volume", &volume).is_some());
    bundle.close().unwrap();
    assert!(inspect("volume", &volume).is_none());
    cli(&["image", "rm", "sidecar-bundle-test-volume:1"]);
    world.assert_nothing_left();
}

#[test]
fn a_panic_in_a_scope_that_holds_a_bundle_leaves_nothing() {
    let Some(world) = world("panic") else { return };
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    world.assert_nothing_left();
}

#[test]
fn a_second_launcher_of_a_slug_is_refused_and_the_first_lives_on() {
    let Some(world) = world("second") else { return };
    let first = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let failed = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert!(
        matches!(failed.error(), Error::Taken { pid: Some(pid), since: Some(_), .. } if *pid == std::process::id()),
        "{failed:?}"
    );
    let container = inspect("container", first.container_id()).unwrap();
    assert_eq!(container["State"]["Running"], true);
    first.close().unwrap();
    world.plan().launch(&world.engine(), BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn thirty_creates_killed_at_their_deadline_leave_nothing() {
    let Some(world) = world("deadline") else { return };
    // In the middle of a create: 100 ms or so by an engine's daemon, 30 ms by podman.
    let middle = if is_podman() { 15 } else { 50 };
    let engine = world.engine().with_start_deadline(Duration::from_millis(middle));
    let kill_one = |round: usize| -> bool {
        let plan = plan_apart(&format!("deadline-{round}"), 21, round);
        match plan.create_network(&engine) {
            Ok(network) => {
                network.close().unwrap();
                false
            }
            Err(failed) => {
                assert_eq!(failed.error().cause(), Some(Cause::TimedOut), "{failed:?}");
                assert!(matches!(failed.error(), Error::CreateNetwork { .. }), "{failed:?}");
                true
            }
        }
    };
    let killed = std::thread::scope(|scope| {
        let thirds = [0..10, 10..20, 20..30];
        let thirds = thirds.map(|rounds| scope.spawn(|| rounds.filter(|&it| kill_one(it)).count()));
        thirds.into_iter().map(|third| third.join().unwrap()).sum::<usize>()
    });
    assert!(killed >= 15, "only {killed} of 30 were killed");
    let left = cli(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(!left.contains("deadline-"), "{left}");
}

#[test]
fn ten_starts_killed_at_their_deadline_leave_nothing() {
    let Some(world) = world("start-deadline") else { return };
    let mut killed = 0;
    // Podman is faster; its create has to end within the same deadline, too.
    let (rounds, first, step) = if is_podman() { (30, 40, 5) } else { (10, 40, 30) };
    for round in 0..rounds {
        // Spread over the whole length of a start.
        let deadline = Duration::from_millis(first + step * round);
        let engine = world.engine().with_start_deadline(deadline);
        let Ok(network) = world.plan().create_network(&engine) else {
            world.assert_nothing_left();
            continue;
        };
        if let Err(failed) = network.start(BundleSpec::new()) {
            assert_eq!(failed.error().cause(), Some(Cause::TimedOut), "{failed:?}");
            failed.into_state().close().unwrap();
            killed += 1;
        }
        world.assert_nothing_left();
    }
    assert!(killed >= 2, "only {killed} of {rounds} were killed");
}
