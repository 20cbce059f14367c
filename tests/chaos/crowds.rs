//! Many processes at once.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{
    AddressPool, BundleRunning, BundleSpec, Error, NetworkPlanned, Slug, SweptOutcome, sweep,
};

use crate::support::{cli, engine, inspect, shout, world};

/// A process of its own that launches as it is told, a line each.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    fn start(state: &Path, reaper: bool) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crowds::works_as_told", "--nocapture"])
            .env("WORKER_STATE", state)
            .env("WORKER_REAPER", reaper.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Its next answer; empty when it has ended.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            if let Some(answer) = line.strip_prefix("@ ") {
                return answer.trim().to_owned();
            }
            line.clear();
        }
        String::new()
    }

    fn end(mut self) {
        drop(self.stdin);
        self.child.wait().unwrap();
    }
}

#[test]
#[ignore = "the child process of the crowd tests"]
fn works_as_told() {
    let mut engine = engine().with_state_dir(std::env::var_os("WORKER_STATE").unwrap());
    if std::env::var("WORKER_REAPER").unwrap() == "false" {
        engine = engine.without_reaper();
    }
    let spec = || BundleSpec::new().daemons([""; 0]);
    let mut bundle: Option<BundleRunning> = None;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        // Far more subnets than slugs, away from what other tests are given.
        let pool: AddressPool = "10.24.0.0/13:/29".parse().unwrap();
        let plan = |slug: &str| NetworkPlanned::new(Slug::new(slug).unwrap()).with_pool(pool);
        let answer = match words.as_slice() {
            ["launch", slug] => match plan(slug).launch(&engine, spec()) {
                Ok(up) => {
                    let answer = format!("up {} {}", up.container_id(), up.network_id());
                    bundle = Some(up);
                    answer
                }
                Err(failed) => match failed.error() {
                    Error::Taken { .. } => "taken".into(),
                    error => format!("error {error:?}").replace('\n', " "),
                },
            },
            ["free", slug, pool] => {
                let plan = plan(slug).with_pool(pool.parse().unwrap());
                let launched: Result<_, Error> = plan
                    .create_network_in_free_subnet(&engine)
                    .map_err(Error::from)
                    .and_then(|network| Ok(network.start(spec())?));
                match launched {
                    Ok(up) => {
                        let answer = format!("up {}", up.plan().subnet());
                        bundle = Some(up);
                        answer
                    }
                    Err(error) => format!("error {error:?}").replace('\n', " "),
                }
            }
            ["close"] => match bundle.take().unwrap().close() {
                Ok(()) => "closed".into(),
                Err(error) => format!("error {error:?}").replace('\n', " "),
            },
            ["exit"] => std::process::exit(0),
            other => panic!("{other:?}"),
        };
        println!("@ {answer}");
    }
}

#[test]
fn of_sixteen_processes_that_race_for_a_slug_exactly_one_gets_it() {
    let Some(world) = world("race") else { return };
    let mut workers: Vec<_> = (0..16).map(|_| Worker::start(world.state.path(), true)).collect();
    for round in 0..50 {
        for worker in &mut workers {
            worker.tell("launch race");
        }
        let answers: Vec<_> = workers.iter_mut().map(Worker::answer).collect();
        let winners: Vec<_> = (0..16).filter(|&i| answers[i].starts_with("up ")).collect();
        let losers = answers.iter().filter(|answer| *answer == "taken").count();
        assert_eq!((winners.len(), losers), (1, 15), "round {round}: {answers:#?}");
        let ids: Vec<_> = answers[winners[0]].split_whitespace().skip(1).collect();
        assert_eq!(inspect("container", ids[0]).unwrap()["State"]["Running"], true);
        assert!(inspect("network", ids[1]).is_some());
        workers[winners[0]].tell("close");
        assert_eq!(workers[winners[0]].answer(), "closed");
    }
    workers.into_iter().for_each(Worker::end);
    world.assert_nothing_left();
}

#[test]
fn twenty_four_processes_all_get_a_subnet_of_a_pool_of_thirty_two() {
    let Some(world) = world("pool") else { return };
    let pool = "10.46.0.0/19:/24";
    let mut workers: Vec<_> = (0..24).map(|_| Worker::start(world.state.path(), true)).collect();
    for (number, worker) in workers.iter_mut().enumerate() {
        worker.tell(&format!("free pool-{number} {pool}"));
    }
    let mut answers: Vec<_> = workers.iter_mut().map(Worker::answer).collect();
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), 24, "{answers:#?}");
    assert!(answers.iter().all(|answer| answer.starts_with("up 10.46.")), "{answers:#?}");
    for worker in &mut workers {
        worker.tell("close");
    }
    for worker in &mut workers {
        assert_eq!(worker.answer(), "closed");
    }
    workers.into_iter().for_each(Worker::end);
    let left = cli(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(!left.contains("bundle-pool-"), "{left}");
}

#[test]
fn eight_sweepers_never_harm_a_living_bundle_of_eight_launchers() {
    let Some(world) = world("sweepers") else { return };
    let state = world.state.path();
    let end = Instant::now() + Duration::from_secs(60);
    let harmed = Mutex::new(Vec::new());
    let (launches, deaths, swept) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::SeqCst);
    thread::scope(|scope| {
        for number in 0..8_usize {
            let (harmed, launches, deaths) = (&harmed, &launches, &deaths);
            scope.spawn(move || {
                let mut turn = number;
                while Instant::now() < end {
                    // Two launchers for each slug, and more slugs than can be taken up again at once.
                    let slug = format!("sweepers-{}-{}", number / 2, turn % 5);
                    let mut worker = Worker::start(state, false);
                    worker.tell(&format!("launch {slug}"));
                    let answer = worker.answer();
                    let harm = |harm: &str| {
                        harmed.lock().unwrap().push(format!("{slug}: {harm}: {answer}"));
                    };
                    if answer == "taken" {
                        turn += 1;
                        thread::sleep(Duration::from_millis(50));
                        continue;
                    }
                    let ids: Vec<_> = answer.split_whitespace().skip(1).collect();
                    if !answer.starts_with("up ") {
                        harm("not launched");
                        continue;
                    }
                    count(launches);
                    thread::sleep(Duration::from_millis(300));
                    let container = inspect("container", ids[0]);
                    if !container.is_some_and(|it| it["State"]["Running"] == true)
                        || inspect("network", ids[1]).is_none()
                    {
                        harm("gone while it lived");
                    }
                    turn += 1;
                    if turn % 2 == 0 {
                        worker.tell("close");
                        if worker.answer() != "closed" {
                            harm("not closed");
                        }
                    } else {
                        worker.tell("exit");
                        count(deaths);
                    }
                    worker.end();
                }
            });
        }
        for number in 0..8_u64 {
            let swept = &swept;
            let engine = world.engine();
            scope.spawn(move || {
                while Instant::now() < end {
                    for outcome in sweep(&engine).unwrap() {
                        match outcome.outcome {
                            SweptOutcome::Removed { containers, .. } if !containers.is_empty() => {
                                count(swept);
                            }
                            SweptOutcome::Failed(error) => panic!("{error:?}"),
                            _ => {}
                        }
                    }
                    thread::sleep(Duration::from_millis(200 + 70 * number));
                }
            });
        }
    });
    let harmed = harmed.into_inner().unwrap();
    let [launches, deaths, swept] = [launches, deaths, swept].map(AtomicUsize::into_inner);
    shout(&format!(
        "sweepers: {launches} launches, {deaths} deaths, {swept} bundles swept, {} harmed",
        harmed.len()
    ));
    assert!(harmed.is_empty(), "{harmed:#?}");
    assert!(deaths > 10 && swept > 0, "{deaths} deaths, {swept} swept");
    sweep(&world.engine()).unwrap();
    let left = cli(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(!left.contains("bundle-sweepers-"), "{left}");
}
