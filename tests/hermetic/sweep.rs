//! Removing orphans on request.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use std::thread;
use std::time::{Duration, SystemTime};

use sidecar_bundle::{
    BundleSpec, Cause, Error, NetworkPlanned, Slug, SweptOutcome, bundles, sweep, sweep_dry_run,
};

use crate::fake::{Fake, plan};

#[test]
fn a_sweep_removes_orphans_and_nothing_else() {
    let fake = Fake::new();
    let living = NetworkPlanned::new(Slug::new("living").unwrap());
    let living = living.create_network(&fake.engine()).unwrap();
    let kept = NetworkPlanned::new(Slug::new("kept").unwrap());
    let kept = kept.launch(&fake.engine(), BundleSpec::new()).unwrap();
    let kept_id = kept.container_id().to_owned();
    let kept_plan = kept.keep().unwrap();
    let mut owner = fake.owner(&["reaper=false"]);
    owner.expect("launch demo", "up");
    owner.kill();
    assert_eq!(fake.resources().len(), 5);

    let outcomes = |swept: Vec<sidecar_bundle::Swept>| {
        let outcome = |it: &sidecar_bundle::Swept| match &it.outcome {
            SweptOutcome::Removed { containers, networks, .. }
            | SweptOutcome::WouldRemove { containers, networks, .. } => {
                format!("{} {} {}", it.slug, containers.len(), networks.len())
            }
            SweptOutcome::Held { pid, .. } => format!("{} {}", it.slug, *pid == std::process::id()),
            SweptOutcome::Kept => format!("{} kept", it.slug),
            other => panic!("{other:?}"),
        };
        swept.iter().map(outcome).collect::<Vec<_>>()
    };
    let expected = ["demo 1 1", "kept kept", "living true"];
    assert_eq!(outcomes(sweep_dry_run(&fake.engine()).unwrap()), expected);
    assert_eq!(fake.resources().len(), 5);
    assert_eq!(outcomes(sweep(&fake.engine()).unwrap()), expected);
    assert_eq!(fake.resources().len(), 3);
    assert_eq!(outcomes(sweep(&fake.engine()).unwrap()), expected[1..]);

    living.close().unwrap();
    let kept = kept_plan.attach(&fake.engine()).unwrap();
    assert_eq!(kept.container_id(), kept_id);
    kept.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_dry_run_says_nothing_of_another_engine() {
    let fake = Fake::new();
    let mut owner = fake.owner(&["reaper=false"]);
    owner.expect("launch demo", "up");
    owner.kill();
    fake.moves();
    // Another one answers the second list, that of the lease.
    fake.on("ps", "[ ! -e \"$dir/listed\" ] || : >\"$dir/moved\"; : >\"$dir/listed\"; none");
    fake.on("network-ls", "none");
    let swept = sweep_dry_run(&fake.engine()).unwrap();
    let SweptOutcome::Failed(error) = &swept[0].outcome else { panic!("{swept:?}") };
    assert_eq!(error.cause(), Some(Cause::AnotherEngine));
    fake.moves_back();
    for operation in ["ps", "network-ls"] {
        fake.obey(operation);
    }
    let swept = sweep(&fake.engine()).unwrap();
    assert!(matches!(&swept[0].outcome, SweptOutcome::Removed { .. }), "{swept:?}");
    fake.assert_nothing_left();
}

#[test]
fn what_has_expired_is_removed_from_anywhere_and_nothing_else_is() {
    let fake = Fake::new();
    let here = fake.engine();
    let elsewhere = fake.engine().with_state_dir(fake.path("elsewhere"));
    let launch = |slug: &str, lifetime: Option<Duration>| {
        let plan = NetworkPlanned::new(Slug::new(slug).unwrap());
        let plan = lifetime.map_or(plan.clone(), |lifetime| plan.with_lifetime(lifetime));
        plan.launch(&elsewhere, BundleSpec::new()).unwrap()
    };
    let (forever, endless) = (launch("forever", None), launch("endless", Some(Duration::MAX)));
    let living = launch("living", Some(Duration::from_secs(3600)));
    let over = launch("over", Some(Duration::from_millis(1)));
    let guest = over.guest("vm", BundleSpec::new().image("acme/vm:1")).unwrap();
    let kept = launch("kept", Some(Duration::from_millis(1))).keep().unwrap();
    assert_eq!(fake.resources().len(), 11);
    // The end is in whole seconds.
    thread::sleep(Duration::from_millis(1100));

    let host = nix::unistd::gethostname().unwrap().into_string().ok();
    let outcomes = |swept: Vec<sidecar_bundle::Swept>| {
        let outcome = |it: &sidecar_bundle::Swept| match &it.outcome {
            SweptOutcome::Removed { containers, networks, .. }
            | SweptOutcome::WouldRemove { containers, networks, .. } => {
                assert!(it.expired.unwrap() <= SystemTime::now() && it.host == host, "{it:?}");
                format!("{} {} {}", it.slug, containers.len(), networks.len())
            }
            other => panic!("{other:?}"),
        };
        swept.iter().map(outcome).collect::<Vec<_>>()
    };
    let expected = ["kept 1 1", "over 2 1"];
    assert_eq!(outcomes(sweep_dry_run(&here).unwrap()), expected);
    assert_eq!(fake.resources().len(), 11);
    assert_eq!(outcomes(sweep(&here).unwrap()), expected);
    assert_eq!(fake.resources().len(), 6);
    assert_eq!(outcomes(sweep(&here).unwrap()), [""; 0]);

    // Its owner finds nothing to remove, and nothing that was kept.
    guest.close().unwrap();
    over.close().unwrap();
    let own = sweep(&elsewhere).unwrap();
    let own = own.iter().find(|it| it.slug == *kept.slug()).unwrap();
    assert!(matches!(own.outcome, SweptOutcome::Clean), "{own:?}");
    let again = kept.launch(&elsewhere, BundleSpec::new()).unwrap().keep().unwrap();
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(outcomes(sweep(&here).unwrap()), ["kept 1 1"]);
    let failed = again.attach(&elsewhere).unwrap_err();
    assert!(matches!(failed.error(), Error::NotKept { .. }), "{failed:?}");
    for bundle in [forever, endless, living] {
        bundle.close().unwrap();
    }
    fake.assert_nothing_left();
}

#[test]
fn what_is_attached_to_and_its_new_guests_keep_their_expiry() {
    let fake = Fake::new();
    let lasting = plan().with_lifetime(Duration::from_secs(3600));
    let kept = lasting.launch(&fake.engine(), BundleSpec::new()).unwrap().keep().unwrap();
    let expiry = || {
        let found = bundles(&fake.engine()).unwrap();
        assert_eq!(found.len(), 1);
        found[0].expires.unwrap()
    };
    let first = expiry();
    assert!((3599..3602).contains(&first.duration_since(SystemTime::now()).unwrap().as_secs()));
    let bundle = kept.with_lifetime(Duration::from_secs(60)).attach(&fake.engine()).unwrap();
    let guest = bundle.guest("vm", BundleSpec::new().image("acme/vm:1")).unwrap();
    assert_eq!(expiry(), first);
    drop(guest);
    bundle.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_kept_network_is_taken_over_with_a_lifetime_like_its_own_that_has_not_ended() {
    let fake = Fake::new();
    let hour = Duration::from_secs(3600);
    let create = |plan: NetworkPlanned| plan.create_network(&fake.engine());
    let (lasting, endless) = (plan().with_lifetime(hour), plan());
    for (kept, other) in [(lasting.clone(), endless.clone()), (endless, lasting)] {
        let network = create(kept.clone()).unwrap();
        let id = network.network_id().to_owned();
        let _plan = network.keep().unwrap();
        let failed = create(other).unwrap_err();
        let Error::NetworkDiffers { field, .. } = failed.error() else { panic!("{failed:?}") };
        assert_eq!(field, "sidecar-bundle.expires");
        let network = create(kept).unwrap();
        assert_eq!(network.network_id(), id);
        network.close().unwrap();
        fake.assert_nothing_left();
    }
    let network = create(plan().with_lifetime(Duration::from_millis(1))).unwrap();
    let id = network.network_id().to_owned();
    let _plan = network.keep().unwrap();
    thread::sleep(Duration::from_millis(1100));
    let network = create(plan()).unwrap();
    assert_ne!(network.network_id(), id);
    network.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_kept_bundle_that_has_expired_or_gone_is_replaced() {
    let fake = Fake::new();
    let docker = fake.engine();
    let launch = |plan: NetworkPlanned| plan.launch(&docker, BundleSpec::new());
    let again = |plan: NetworkPlanned| plan.attach_or_launch(&docker, BundleSpec::new()).unwrap();
    let short = || plan().with_lifetime(Duration::from_millis(1));

    let expired = || {
        let bundle = launch(short()).unwrap();
        let id = bundle.container_id().to_owned();
        let _plan = bundle.keep().unwrap();
        thread::sleep(Duration::from_millis(1100));
        id
    };
    let id = expired();
    let failed = plan().attach(&docker).unwrap_err();
    assert!(matches!(failed.error(), Error::Changed { .. }), "{failed:?}");
    assert!(failed.to_string().contains("its lifetime has ended"), "{failed}");
    let bundle = launch(plan()).unwrap();
    assert_ne!(bundle.container_id(), id);
    bundle.close().unwrap();
    fake.assert_nothing_left();

    let id = expired();
    let bundle = again(short());
    assert_ne!(bundle.container_id(), id);
    bundle.close().unwrap();
    fake.assert_nothing_left();

    // Somebody else removed it.
    let bundle = launch(plan()).unwrap();
    let ids = [bundle.container_id().to_owned(), bundle.network_id().to_owned()];
    let _plan = bundle.keep().unwrap();
    assert!(matches!(launch(plan()).unwrap_err().error(), Error::Kept { .. }));
    std::fs::remove_file(fake.path("container").join(&ids[0])).unwrap();
    assert!(matches!(launch(plan()).unwrap_err().error(), Error::Kept { .. }));
    std::fs::remove_file(fake.path("network").join(&ids[1])).unwrap();
    launch(plan()).unwrap().close().unwrap();
    fake.assert_nothing_left();

    // The last of the two ends it.
    let network = plan().with_lifetime(Duration::from_secs(1)).create_network(&docker).unwrap();
    let id = network.network_id().to_owned();
    let _plan = network.keep().unwrap();
    let day = || plan().with_lifetime(Duration::from_secs(86_400));
    let bundle = launch(day()).unwrap();
    assert_eq!(bundle.network_id(), id);
    let _plan = bundle.keep().unwrap();
    thread::sleep(Duration::from_millis(2100));
    assert!(matches!(launch(day()).unwrap_err().error(), Error::Kept { .. }));
    let bundle = plan().attach(&docker).unwrap();
    assert_eq!(bundle.network_id(), id);
    bundle.close().unwrap();
    fake.assert_nothing_left();

    // A lifetime is part of the plan.
    for (kept, other) in [(plan(), day()), (day(), plan())] {
        let bundle = launch(kept.clone()).unwrap();
        let id = bundle.container_id().to_owned();
        let _plan = bundle.keep().unwrap();
        let _plan = again(kept).keep().unwrap();
        let bundle = again(other);
        assert_ne!(bundle.container_id(), id);
        bundle.close().unwrap();
        fake.assert_nothing_left();
    }
}

#[test]
fn a_sweep_removes_the_lease_of_an_owner_that_died_before_it_wrote_it() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    let mut entries = std::fs::read_dir(fake.path("leases")).unwrap();
    let lease = entries.next().unwrap().unwrap().path();
    network.close().unwrap();
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&lease).unwrap();
    assert!(sweep_dry_run(&fake.engine()).unwrap().is_empty() && lease.exists());
    assert!(sweep(&fake.engine()).unwrap().is_empty());
    assert!(!lease.exists());
}

#[test]
fn a_sweep_says_nothing_of_what_another_sweep_is_at_work_on() {
    let fake = Fake::new();
    let mut owner = fake.owner(&["reaper=false"]);
    owner.expect("launch demo", "up");
    owner.kill();
    // It lists what has expired, and then the orphans.
    fake.on(
        "ps",
        r#"if ! mkdir "$dir/listed" 2>/dev/null && mkdir "$dir/asked" 2>/dev/null; then
            until [ -e "$dir/go" ]; do sleep 0.05; done
        fi
        obey"#,
    );
    let engine = fake.engine();
    let first = std::thread::spawn(move || sweep(&engine).unwrap());
    crate::surroundings::wait_for("the first sweep", || fake.path("asked").exists());
    let second = sweep(&fake.engine());
    std::fs::write(fake.path("go"), "").unwrap();
    let first = first.join().unwrap();
    assert!(second.unwrap().is_empty());
    assert!(matches!(&first[0].outcome, SweptOutcome::Removed { .. }), "{first:?}");
    fake.assert_nothing_left();
}
