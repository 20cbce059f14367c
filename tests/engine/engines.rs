//! The engines of many hosts: three, over ssh, `docker system dial-stdio` and a socket.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{
    BundleInfo, BundleOwner, BundleSpec, ContainerFile, Engine, Engines, Error, NetworkPlanned,
    RunningBundles, Slug, Swept, SweptOutcome, bundles, close_all, launch_all, sweep,
};

use crate::engine::{
    World, backend, engine, is_api, is_podman, is_rootless, plan_apart, required, shout, wait_for,
    world,
};
use crate::owner::Owner;

/// The deadline of each look, and a time that is too short for two of them.
const DEADLINE: Duration = Duration::from_secs(5);
const TOO_LONG: Duration = Duration::from_secs(10);

/// The engines of three hosts by their names, with their addresses.
struct Hosts {
    addresses: BTreeMap<&'static str, String>,
    /// The line to the second host.
    line: Line,
}

/// A port of this host that leads to a socket, until the line is cut.
struct Line {
    address: String,
    is_cut: Arc<AtomicBool>,
    clients: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    fn to(socket: &str) -> Self {
        let socket = socket.strip_prefix("unix://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let (is_cut, clients) = (Arc::default(), Arc::default());
        let line = Self { address, is_cut: Arc::clone(&is_cut), clients: Arc::clone(&clients) };
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                clients.lock().unwrap().push(client.try_clone().unwrap());
                // No later request is answered.
                if !is_cut.load(Ordering::SeqCst) {
                    let engine = UnixStream::connect(&socket).unwrap();
                    thread::spawn(move || pass(&client, &engine));
                }
            }
        });
        line
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for client in self.clients.lock().unwrap().drain(..) {
            let _ended_already = client.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.cut();
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

/// Passes everything on, in both directions, until one side ends.
fn pass(client: &TcpStream, engine: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut from, mut to) = (client, engine);
            let _ended = io::copy(&mut from, &mut to);
            let _ended_already = engine.shutdown(Shutdown::Both);
        });
        let (mut from, mut to) = (engine, client);
        let _ended = io::copy(&mut from, &mut to);
        let _ended_already = client.shutdown(Shutdown::Both);
    });
}

/// Prints a notice and returns `None` where there are no three engines, and panics where they are required.
fn hosts() -> Option<Hosts> {
    if is_podman() || is_rootless() {
        return None;
    }
    let variable = |name: &str| std::env::var(format!("SIDECAR_BUNDLE_{name}_ENGINE")).ok();
    let [Some(ssh), Some(second), Some(third)] = ["SSH", "SECOND", "THIRD"].map(variable) else {
        assert!(!required(), "three engines are required");
        shout("SKIPPED three engines: SIDECAR_BUNDLE_THIRD_ENGINE is not set");
        return None;
    };
    let line = Line::to(&second);
    let addresses = [("ssh", ssh), ("dial-stdio", line.address.clone()), ("unix", third)];
    Some(Hosts { addresses: addresses.into(), line })
}

impl Hosts {
    fn engines(&self, world: &World) -> Engines {
        let state = world.state.path();
        let at = |address: &String| engine().with_host(address).with_state_dir(state);
        let engines = self.addresses.iter().map(|(name, address)| (*name, at(address)));
        let engines = engines.map(|(name, it)| (name, it.with_remove_deadline(DEADLINE)));
        Engines::new(engines).unwrap()
    }

    /// Runs docker with the engine of this name.
    #[track_caller]
    fn docker(&self, name: &str, arguments: &[&str]) -> String {
        let mut docker = Command::new("docker");
        docker.args(["--host", &self.addresses[name]]).args(arguments);
        let output = docker.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The names of all resources on an engine that begin with those of this slug.
    fn left(&self, name: &str, slug: &str) -> String {
        let filter = format!("name=claude-bottle-.*-{slug}");
        self.docker(name, &["ps", "--all", "--format", "{{.Names}}", "--filter", &filter])
            + &self.docker(name, &["network", "ls", "--format", "{{.Name}}", "--filter", &filter])
    }
}

/// The bundles of this world's directory: other tests have theirs on the first two engines.
fn ours(found: &Result<Vec<BundleInfo>, Error>) -> Vec<&str> {
    let found = found.as_ref().unwrap().iter();
    let found = found.filter(|it| matches!(it.owner, BundleOwner::Alive { .. }));
    found.map(|it| it.slug.as_str()).filter(|it| it.starts_with("hosts-")).collect()
}

/// A bundle that prints whether its secret, and its file if the engine takes one, have come with the request.
fn spec() -> BundleSpec {
    let script =
        "[ \"$TOKEN\" = hunter22 ] && [ -z \"$RULES\" -o \"$RULES\" = \"$(cat /etc/rules)\" ] &&
        echo arrived; exec sleep 1000";
    let spec = BundleSpec::new().command(["sh", "-c", script]).secret("TOKEN", "hunter22");
    if !is_api() {
        return spec;
    }
    spec.variable("RULES", "allow").file(ContainerFile::new("/etc/rules", "allow\n"))
}

#[test]
fn slugs_are_placed_on_three_engines_of_which_one_is_away_for_a_while() {
    let Some(world) = world("hosts") else { return };
    let Some(hosts) = hosts() else { return };
    let engines = hosts.engines(&world);
    let slugs: Vec<_> = (0..100).map(|it| Slug::new(format!("hosts-{it:02}")).unwrap()).collect();
    let mut placed: BTreeMap<&str, Vec<(usize, &Slug)>> = BTreeMap::new();
    for (number, slug) in slugs.iter().enumerate() {
        placed.entry(engines.place(slug).0).or_default().push((number, slug));
    }
    assert!(placed.values().all(|it| it.len() > 20), "{placed:?}");
    assert_eq!(placed.values().map(Vec::len).sum::<usize>(), 100);

    // Two of each are launched.
    for it in placed.values_mut() {
        it.truncate(2);
    }
    let chosen =
        |name: &str| placed[name].iter().map(|(_, slug)| slug.as_str()).collect::<Vec<_>>();
    let launched = engines.each(|name, engine| {
        let plan =
            |(number, slug): &(usize, &Slug)| (plan_apart(slug.as_str(), 29, *number), spec());
        launch_all(engine, placed[name].iter().map(plan))
    });
    let mut running = Vec::new();
    for (name, launched) in launched {
        let of_one = launched.unwrap();
        for bundle in of_one.iter() {
            wait_for("file and secret", || {
                hosts.docker(name, &["logs", bundle.container_id()]).contains("arrived")
            });
        }
        running.push(of_one);
    }
    assert!(engines.iter().all(|(name, _)| hosts.left(name, "hosts-").lines().count() == 4));
    let listed = |of: Vec<(&str, Result<Vec<BundleInfo>, Error>)>, away: &str| {
        for (name, found) in of {
            if name == away {
                assert!(matches!(found, Err(Error::Look { .. })), "{found:?}");
            } else {
                assert_eq!(ours(&found), chosen(name), "{name}");
            }
        }
    };
    listed(engines.each(|_, engine| bundles(engine)), "none of them");

    // One is taken away. The others answer, and nobody waits for it.
    hosts.line.cut();
    let start = Instant::now();
    let found = engines.each(|_, engine| bundles(engine));
    let took = start.elapsed();
    assert!(took < TOO_LONG, "{took:?}");
    listed(found, "dial-stdio");
    let swept = engines.each(|_, engine| sweep(engine).map_err(|it| it.cause()));
    assert_eq!(swept.iter().map(|(_, it)| it.is_ok()).collect::<Vec<_>>(), [false, true, true]);
    // Its slugs go to the second of their ranking, and no other moves.
    let rest = engines.iter().filter(|(name, _)| *name != "dial-stdio");
    let rest = Engines::new(rest.map(|(name, engine)| (name, engine.clone()))).unwrap();
    for slug in &slugs {
        let ranked = engines.ranked(slug);
        let moved = usize::from(ranked[0].0 == "dial-stdio");
        assert_eq!(rest.place(slug).0, ranked[moved].0);
    }
    let homeless = slugs.iter().rfind(|slug| engines.place(slug).0 == "dial-stdio").unwrap();
    let meanwhile = plan_apart(homeless.as_str(), 29, 200).launch(rest.place(homeless).1, spec());
    meanwhile.unwrap().close().unwrap();

    // It is back, with all that runs on it.
    hosts.line.mend();
    listed(engines.each(|_, engine| bundles(engine)), "none of them");
    close_all(running.into_iter().flat_map(RunningBundles::into_iter)).unwrap();
    for (name, found) in engines.each(|_, engine| bundles(engine)) {
        assert_eq!(ours(&found), [""; 0]);
        assert_eq!(hosts.left(name, "hosts-"), "", "{name}");
    }
}

#[test]
fn orphans_on_three_engines_are_swept_at_once() {
    let Some(world) = world("orphan-hosts") else { return };
    let Some(hosts) = hosts() else { return };
    let mut owner = Owner::program(&[""; 0]);
    owner.env_remove("DOCKER_HOST");
    let mut owner = Owner::spawn(owner);
    let state = &world.engine_words()[1];
    for address in hosts.addresses.values() {
        owner.expect(&format!("engine {} host={address} {state} reaper=false", backend()), "ok");
        owner.expect("launch orphan-hosts", "up");
    }
    owner.kill();
    let engines = hosts.engines(&world);
    let outcomes = |swept: Vec<(&str, Result<Vec<Swept>, Error>)>| {
        let mut removed = BTreeMap::new();
        for (name, swept) in swept {
            let [swept] = &swept.unwrap()[..] else { continue };
            let SweptOutcome::Removed { containers, networks, .. } = &swept.outcome else {
                panic!("{name}: {swept:?}");
            };
            removed.insert(name.to_owned(), (containers.len(), networks.len()));
        }
        removed
    };
    let removed = outcomes(engines.each(|_, engine| sweep(engine)));
    assert!(hosts.addresses.keys().all(|name| removed[*name] == (1, 1)), "{removed:?}");
    assert!(outcomes(engines.each(|_, engine| sweep(engine))).is_empty());
    for name in hosts.addresses.keys() {
        assert_eq!(hosts.left(name, "orphan-hosts"), "", "{name}");
    }
    world.assert_nothing_left();
}

#[test]
fn a_mount_is_refused_by_an_engine_elsewhere_and_a_file_travels_there() {
    let Some(world) = world("elsewhere") else { return };
    let Some(hosts) = hosts() else { return };
    // Only this name of the host is not known to be this host's.
    let address = hosts.addresses["ssh"].replace("127.0.0.1", "builder");
    let elsewhere = engine().with_host(address).with_state_dir(world.state.path());
    assert!(!elsewhere.reachability().unwrap().is_here());
    let plan = || NetworkPlanned::new(world.plan().slug().clone());
    let failed = plan().launch(&elsewhere, spec().mount("/etc", "/host")).unwrap_err();
    assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
    world.assert_nothing_left();
    let bundle = plan().launch(&elsewhere, spec()).unwrap();
    let printed = || hosts.docker("ssh", &["logs", bundle.container_id()]);
    wait_for("file and secret", || printed().contains("arrived"));
    bundle.close().unwrap();
    world.assert_nothing_left();
    // At an address of this host, it is not refused.
    let here: Engine =
        engine().with_host(&hosts.addresses["ssh"]).with_state_dir(world.state.path());
    plan().launch(&here, spec().mount_read_only("/etc", "/host")).unwrap().close().unwrap();
    world.assert_nothing_left();
}
