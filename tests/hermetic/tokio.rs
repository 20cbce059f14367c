//! Futures, dropped at every place, against an engine that answers when it is told to.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_core::Stream;
use serde_json::json;
use sidecar_bundle::tokio::{BundleRunning, LogFollower, create_network, launch};
use sidecar_bundle::{
    BundleSpec, Engine, Error, NetworkOptions, NetworkPlanned, Ready, Slug, StepError,
    wait_for_teardowns,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::scripted::{Act, Scripted, described, guest_on, manager, worker};
use crate::surroundings::wait_for;

const LONG: Duration = Duration::from_secs(60);

fn plan() -> NetworkPlanned {
    NetworkPlanned::new(Slug::new("demo").unwrap())
}

fn overlay() -> NetworkPlanned {
    plan().with_options(NetworkOptions::new().overlay(true))
}

fn spec() -> BundleSpec {
    BundleSpec::new().image("nginx:1")
}

/// A runtime of either kind.
fn runtimes() -> [Runtime; 2] {
    [Builder::new_current_thread(), Builder::new_multi_thread()].map(|mut builder| {
        // The same threads do everything, so that one that waits for another is noticed.
        builder.worker_threads(2).max_blocking_threads(2).enable_time().build().unwrap()
    })
}

/// Two flags: a request has come, and it may be answered.
#[derive(Clone, Default)]
struct Gate {
    reached: Arc<AtomicBool>,
    open: Arc<AtomicBool>,
}

impl Gate {
    async fn reached(&self) {
        while !self.reached.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn open_soon(&self) {
        let its = self.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            its.open();
        });
    }

    fn hold(&self) -> Act {
        self.reached.store(true, Ordering::SeqCst);
        Act::ObeyAfter(Arc::clone(&self.open))
    }
}

/// An engine that holds the requests that are meant, by their number or their text.
fn holding(is_meant: impl Fn(usize, &str) -> bool + Send + 'static) -> (Scripted, Gate) {
    let (gate, count) = (Gate::default(), AtomicUsize::new(0));
    let its = gate.clone();
    let engine = Scripted::new(move |request, _| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if is_meant(number, request) { its.hold() } else { Act::Obey }
    });
    (engine, gate)
}

type Work<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

fn at_once(docker: &Engine) -> Work<'_> {
    Box::pin(async move { launch(plan(), docker, spec()).await?.close().await })
}

fn step_by_step(docker: &Engine) -> Work<'_> {
    Box::pin(async move {
        let network = create_network(plan(), docker).await?;
        let bundle = network.start(spec()).await?;
        let guest = bundle.guest_in_namespace("agent", spec()).await?;
        assert_eq!(guest.bundle().ip(), plan().ip());
        guest.wait_for(&Ready::check("always", || true), LONG).await?;
        bundle.wait_ready(LONG).await?;
        assert_eq!(bundle.wait_exit(Duration::ZERO).await?, None);
        drop(bundle.follow_logs(None).await);
        guest.close().await?;
        bundle.close().await
    })
}

/// It joins the end of what was cancelled.
async fn again(docker: &Engine) {
    let bundle = timeout(LONG, launch(plan(), docker, spec())).await.unwrap().unwrap();
    bundle.close().await.unwrap();
}

#[test]
fn what_is_cancelled_at_any_request_leaves_nothing_and_a_launch_joins_its_end() {
    for work in [at_once, step_by_step] {
        let engine = Scripted::new(|_, _| Act::Obey);
        runtimes()[0].block_on(work(&engine.engine())).unwrap();
        let all = engine.requests().len();
        assert!(all >= 8, "{:?}", engine.requests());
        for number in 0..all {
            for runtime in runtimes() {
                let (engine, gate) = holding(move |at, _| at == number);
                let docker = engine.engine();
                runtime.block_on(async {
                    tokio::select! {
                        done = work(&docker) => {
                            // The number of requests is up to chance: of checks of connections, and of reads of what is followed.
                            done.unwrap();
                            gate.open();
                            assert!(2 * number > all, "{number} of {all}");
                        }
                        () = gate.reached() => gate.open_soon(),
                    }
                    again(&docker).await;
                });
                assert_eq!(engine.resources(), 0, "{number} {:?}", engine.requests());
            }
        }
    }
}

#[test]
fn what_is_dropped_before_its_first_poll_or_after_leaves_nothing() {
    for work in [at_once, step_by_step] {
        for runtime in runtimes() {
            let engine = Scripted::new(|_, _| Act::Obey);
            let docker = engine.engine();
            drop(work(&docker));
            assert_eq!(engine.requests(), [""; 0]);
            for polls in 1.. {
                let is_done = runtime.block_on(async {
                    let mut work = work(&docker);
                    let mut left = polls;
                    std::future::poll_fn(|context| {
                        left -= 1;
                        match work.as_mut().poll(context) {
                            Poll::Ready(done) => Poll::Ready(done.map(|()| true)),
                            Poll::Pending if left == 0 => Poll::Ready(Ok(false)),
                            Poll::Pending => Poll::Pending,
                        }
                    })
                    .await
                    .unwrap()
                });
                if is_done {
                    break;
                }
                runtime.block_on(again(&docker));
                assert_eq!(engine.resources(), 0, "{polls}");
            }
        }
    }
}

#[test]
fn a_call_that_has_not_begun_is_not_waited_for_by_the_thread_that_it_needs() {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).enable_time().build().unwrap();
    let engine = Scripted::new(|_, _| Act::Obey);
    let docker = engine.engine();
    runtime.block_on(async {
        let bundle = launch(plan(), &docker, spec()).await.unwrap();
        let gate = Gate::default();
        let its = gate.clone();
        engine.script(move |request, _| match request {
            "GET /info" => its.hold(),
            _ => Act::Obey,
        });
        // Another value has no connection yet.
        let other = engine.engine();
        let launched = tokio::spawn(async move { launch(plan(), &other, spec()).await.map(drop) });
        gate.reached().await;
        assert!(timeout(Duration::from_millis(20), bundle.close()).await.is_err());
        gate.open();
        let failed = timeout(LONG, launched).await.unwrap().unwrap().unwrap_err();
        assert!(matches!(failed.error(), Error::Taken { .. }), "{failed:?}");
        engine.script(|_, _| Act::Obey);
        again(&docker).await;
    });
    assert_eq!(engine.resources(), 0);
}

#[test]
fn a_launch_that_is_cancelled_does_not_begin_its_next_step() {
    for runtime in runtimes() {
        let (engine, gate) = holding(|_, request| request == "POST /networks/create");
        let docker = engine.engine();
        runtime.block_on(async {
            tokio::select! {
                _ = launch(plan(), &docker, spec()) => panic!("it is held"),
                () = gate.reached() => gate.open(),
            }
        });
        wait_for("the end of the network", || {
            engine.requests().iter().any(|it| it.starts_with("DELETE /networks"))
        });
        wait_for_teardowns();
        let starts = engine.requests().iter().filter(|it| it.ends_with("/start")).count();
        assert_eq!((starts, engine.resources()), (0, 0), "{:?}", engine.requests());
    }
}

#[test]
fn no_thread_of_a_runtime_waits_for_a_teardown() {
    for runtime in runtimes() {
        let (engine, gate) = holding(|_, request| request.starts_with("DELETE"));
        let docker = engine.engine();
        let start = Instant::now();
        runtime.block_on(async {
            let bundle = launch(plan(), &docker, spec()).await.unwrap();
            drop(bundle.guest_in_namespace("agent", spec()).await.unwrap());
            drop(bundle);
            let other = NetworkPlanned::new(Slug::new("other").unwrap());
            drop(create_network(other, &docker).await.unwrap());
            for _ in 0..10 {
                sleep(Duration::from_millis(5)).await;
            }
            // The guest, and then the bundle.
            assert_eq!(engine.resources(), 4);
            gate.open();
            again(&docker).await;
        });
        // The engine would have answered in the end.
        assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
        wait_for_teardowns();
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_guest_that_was_dropped_or_cancelled_has_its_name_for_a_moment_only() {
    for runtime in runtimes() {
        let (engine, gate) = holding(|_, request| request.starts_with("DELETE /containers"));
        let docker = engine.engine();
        runtime.block_on(async {
            let bundle = launch(plan(), &docker, spec()).await.unwrap();
            drop(bundle.guest_in_namespace("agent", spec()).await.unwrap());
            gate.open_soon();
            drop(bundle.guest_in_namespace("agent", spec()).await.unwrap());

            let creating = Gate::default();
            let its = creating.clone();
            engine.script(move |request, _| match request {
                _ if request.starts_with("POST /containers/create") => its.hold(),
                _ => Act::Obey,
            });
            tokio::select! {
                _ = bundle.guest_in_namespace("agent", spec()) => panic!("it is held"),
                () = creating.reached() => creating.open_soon(),
            }
            let guest = bundle.guest_in_namespace("agent", spec()).await.unwrap();
            let error = bundle.guest_in_namespace("agent", spec()).await.unwrap_err();
            assert!(error.to_string().ends_with("a guest agent of this bundle lives"), "{error}");
            guest.close().await.unwrap();
            bundle.close().await.unwrap();
        });
        assert_eq!(engine.resources(), 0);
    }
}

/// A node of a swarm whose removals are held, and which has guests on this network.
fn node(root: &'static str, part: serde_json::Value, network: &str, gate: &Gate) -> Scripted {
    let (its, network) = (gate.clone(), network.to_owned());
    Scripted::new(move |request, _| match request {
        "GET /info" => described(root, &part),
        _ if request.starts_with("DELETE") => its.hold(),
        _ => guest_on(&network, request).unwrap_or(Act::Obey),
    })
}

#[test]
fn a_guest_on_another_engine_that_was_dropped_has_its_name_for_a_moment_only() {
    for runtime in runtimes() {
        let (open, gate) = (Gate::default(), Gate::default());
        open.open();
        let here = node("/here", manager(""), "", &open);
        let there = runtime.block_on(async {
            let bundle = launch(overlay(), &here.engine(), spec()).await.unwrap();
            let there = node("/there", worker(), bundle.network_id(), &gate);
            let engine = there.engine();
            drop(bundle.guest_on(&engine, "agent", spec()).await.unwrap());
            gate.open_soon();
            bundle.guest_on(&engine, "agent", spec()).await.unwrap().close().await.unwrap();
            bundle.close().await.unwrap();
            there
        });
        assert_eq!(here.resources() + there.resources(), 0);
    }
}

/// The process holds the slug on the engine of the guest, too, until the bundle has gone.
#[test]
fn a_launch_on_the_engine_of_a_guest_waits_for_the_end_of_the_bundle() {
    for is_cancelled in [false, true] {
        for runtime in runtimes() {
            let (gate, open) = (Gate::default(), Gate::default());
            open.open();
            let here = node("/here", manager(""), "", &gate);
            let there = runtime.block_on(async {
                let bundle = launch(overlay(), &here.engine(), spec()).await.unwrap();
                let there = node("/there", worker(), bundle.network_id(), &open);
                let engine = there.engine();
                let guest = bundle.guest_on(&engine, "agent", spec()).await.unwrap();
                guest.close().await.unwrap();
                there.script(|request, _| match request {
                    "GET /info" => described("/there", &worker()),
                    _ => Act::Obey,
                });
                if is_cancelled {
                    tokio::select! {
                        _ = bundle.close() => panic!("it is held"),
                        () = gate.reached() => {}
                    }
                } else {
                    drop(bundle);
                }
                gate.open_soon();
                let bridge = launch(plan(), &engine, spec()).await.unwrap();
                bridge.close().await.unwrap();
                there
            });
            assert_eq!(here.resources() + there.resources(), 0);
        }
    }
}

/// The close would wait for it.
#[test]
fn a_command_whose_caller_has_gone_is_given_up() {
    for runtime in runtimes() {
        let engine = Scripted::new(|_, _| Act::Obey);
        let docker = engine.engine();
        runtime.block_on(async {
            let bundle = launch(plan(), &docker, spec()).await.unwrap();
            let gate = Gate::default();
            for by_wait in [true, false] {
                let its = gate.clone();
                its.reached.store(false, Ordering::SeqCst);
                engine.script(move |request, _| match request {
                    _ if request.ends_with("/exec") => Act::Answer(201, r#"{"Id": "e"}"#.into()),
                    "POST /exec/e/start" => {
                        its.reached.store(true, Ordering::SeqCst);
                        Act::Begin("")
                    }
                    _ => Act::Obey,
                });
                let command = ["sleep", "3600"];
                let condition = Ready::exec(command);
                let wait = bundle.wait_for(&condition, Duration::MAX);
                let run = bundle.spawn_blocking(move |it| it.exec(command, Duration::MAX));
                tokio::select! {
                    ended = wait, if by_wait => panic!("{ended:?}"),
                    ended = run, if !by_wait => panic!("{ended:?}"),
                    () = gate.reached() => {}
                }
            }
            timeout(LONG, bundle.close())
                .await
                .expect("a close that waits for no command")
                .unwrap();
        });
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_wait_that_is_cancelled_ends_and_no_other_does() {
    for runtime in runtimes() {
        let engine = Scripted::new(|request, _| match request {
            _ if request.contains("/wait") => Act::Hang,
            _ => Act::Obey,
        });
        let docker = engine.engine();
        runtime.block_on(async {
            let bundle = Arc::new(launch(plan(), &docker, spec()).await.unwrap());
            let its = Arc::clone(&bundle);
            let other = tokio::spawn(async move { its.wait_exit(Duration::from_secs(1)).await });
            // More than there are threads for them.
            for _ in 0..5 {
                let short = Duration::from_millis(20);
                assert!(timeout(short, bundle.wait_exit(Duration::MAX)).await.is_err());
                let never = Ready::check("never", || false);
                assert!(timeout(short, bundle.wait_for(&never, Duration::MAX)).await.is_err());
            }
            assert_eq!(other.await.unwrap().unwrap(), None);
            let stopper = bundle.stopper();
            assert!(!stopper.is_stopped());
            let stop = async {
                sleep(Duration::from_millis(20)).await;
                stopper.stop();
            };
            let (waited, ()) = tokio::join!(bundle.wait_exit(Duration::MAX), stop);
            assert!(matches!(waited, Err(Error::Stopped)), "{waited:?}");
            let bundle = Arc::into_inner(bundle).unwrap();
            timeout(LONG, bundle.close()).await.unwrap().unwrap();
        });
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn the_end_of_a_runtime_leaves_nothing() {
    fn after_a_moment(runtime: Runtime) {
        runtime.shutdown_timeout(Duration::from_millis(10));
    }
    let ends = [drop, Runtime::shutdown_background, after_a_moment];
    for end in ends {
        for runtime in runtimes() {
            // In a wait.
            let engine = Scripted::new(|request, _| match request {
                _ if request.contains("/wait") => Act::Hang,
                _ => Act::Obey,
            });
            let docker = engine.engine();
            let (up, is_up) = tokio::sync::oneshot::channel();
            let watched = async move {
                let bundle = launch(plan(), &docker, spec()).await.unwrap();
                up.send(()).unwrap();
                bundle.wait_exit(Duration::MAX).await
            };
            runtime.block_on(async {
                drop(tokio::spawn(watched));
                is_up.await.unwrap();
                sleep(Duration::from_millis(20)).await;
            });
            let start = Instant::now();
            end(runtime);
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
            wait_for("the end of the bundle", || engine.resources() == 0);
        }
        for runtime in runtimes() {
            // In a launch.
            let (engine, gate) = holding(|_, request| request.ends_with("/start"));
            let docker = engine.engine();
            runtime.block_on(async {
                drop(tokio::spawn(async move { launch(plan(), &docker, spec()).await.map(drop) }));
                gate.reached().await;
            });
            gate.open_soon();
            end(runtime);
            // Some of these ends return before the future is dropped.
            wait_for("the end of the launch", || engine.resources() == 0);
        }
    }
}

fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_runtime_that_was_shut_down_is_an_error_that_hands_the_state_back() {
    for runtime in runtimes() {
        let engine = Scripted::new(|_, _| Act::Obey);
        let docker = engine.engine();
        let network = runtime.block_on(create_network(plan(), &docker)).unwrap();
        let other = NetworkPlanned::new(Slug::new("other").unwrap());
        let bundle = runtime.block_on(launch(other, &docker, spec())).unwrap();
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        let _entered = handle.enter();
        let Poll::Ready(Err(failed)) = poll_once(launch(plan(), &docker, spec())) else {
            panic!("it cannot begin");
        };
        assert!(matches!(failed.error(), Error::Stopped), "{failed:?}");
        assert_eq!(failed.into_state(), plan());
        let Poll::Ready(Err(failed)) = poll_once(network.start(spec())) else {
            panic!("it cannot begin");
        };
        assert!(matches!(failed.error(), Error::Stopped), "{failed:?}");
        assert!(matches!(poll_once(bundle.wait_exit(LONG)), Poll::Ready(Err(Error::Stopped))));
        assert_eq!(engine.resources(), 3);
        // The blocking library has them back.
        failed.into_state().into_std().close().unwrap();
        assert!(matches!(poll_once(bundle.close()), Poll::Ready(Err(Error::Stopped))));
        wait_for_teardowns();
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_start_that_fails_hands_the_network_back() {
    for runtime in runtimes() {
        let engine = Scripted::new(|request, _| match request {
            _ if request.ends_with("/start") => Act::Answer(500, "{}".into()),
            _ => Act::Obey,
        });
        let docker = engine.engine();
        runtime.block_on(async {
            let network = create_network(plan(), &docker).await.unwrap();
            let id = network.network_id().to_owned();
            let failed = network.start(spec()).await.unwrap_err();
            engine.script(|_, _| Act::Obey);
            let bundle = failed.into_state().start(spec()).await.unwrap();
            assert_eq!(bundle.network_id(), id);
            let kept = tokio::task::spawn_blocking(|| bundle.into_std().keep().unwrap());
            let docker = docker.clone();
            let attached =
                tokio::task::spawn_blocking(move || kept_back(&docker)).await.unwrap().unwrap();
            assert_eq!(kept.await.unwrap(), plan());
            attached.close().await.unwrap();
        });
        assert_eq!(engine.resources(), 0);
        engine.script(|request, _| match request {
            _ if request.ends_with("/start") => Act::Answer(500, "{}".into()),
            _ => Act::Obey,
        });
        let given_up =
            async { Ok::<_, Error>(create_network(plan(), &docker).await?.start(spec()).await?) };
        runtime.block_on(given_up).unwrap_err();
        wait_for_teardowns();
        assert_eq!(engine.resources(), 0);
    }
}

fn kept_back(docker: &Engine) -> Result<BundleRunning, StepError<NetworkPlanned>> {
    let end = Instant::now() + LONG;
    loop {
        match plan().attach(docker) {
            // It is being kept.
            Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            attached => return attached.map(BundleRunning::from_std),
        }
    }
}

#[test]
fn a_panic_of_a_closure_is_that_of_its_caller() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let docker = engine.engine();
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let bundle = launch(plan(), &docker, spec()).await.unwrap();
        let panics = tokio::spawn(async move {
            bundle.spawn_blocking(|_| -> Result<(), Error> { panic!("on purpose") }).await
        });
        assert!(panics.await.unwrap_err().is_panic());
        again(&docker).await;
    });
    assert_eq!(engine.resources(), 0);
}

async fn next(log: &mut LogFollower) -> Option<String> {
    let line = std::future::poll_fn(|context| Pin::new(&mut *log).poll_next(context)).await;
    line.map(|it| it.text)
}

/// The threads that pass lines on. Only the test below has any.
fn log_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    let names = tasks.filter_map(|task| name(task.unwrap()).ok());
    names.filter(|it| it.trim() == "sidecar-log").count()
}

#[test]
fn a_log_is_a_stream_that_ends_with_the_container_and_its_threads_with_the_stream() {
    let frame = |text: &str| {
        let text = format!("2026-01-02T03:04:05.00000000{text}\n").replacen(' ', "Z ", 1);
        format!("\u{1}\0\0\0\0\0\0{}{text}", char::from(u8::try_from(text.len()).unwrap()))
    };
    let all = frame("1 a") + &frame("2 b");
    let ended = json!({
        "Id": "2".repeat(64), "Config": {"Labels": {}}, "NetworkSettings": {"Networks": {}},
        "State": {
            "Status": "exited", "Running": false, "ExitCode": 0,
            "StartedAt": "2026-01-01T00:00:00Z", "FinishedAt": "2026-01-01T00:00:01Z",
        },
    })
    .to_string();
    for runtime in runtimes() {
        let engine = Scripted::new(|_, _| Act::Obey);
        let docker = engine.engine();
        runtime.block_on(async {
            let bundle = launch(plan(), &docker, spec()).await.unwrap();
            let its = all.clone();
            engine.script(move |request, _| match request {
                _ if request.contains("/logs") => Act::Answer(200, its.clone()),
                _ => Act::Obey,
            });
            // It goes on.
            let mut dropped = bundle.follow_logs(None).await.unwrap();
            assert_eq!(next(&mut dropped).await.unwrap(), "a");
            assert_eq!(dropped.next_line().await.unwrap().text, "b");
            let short = Duration::from_millis(200);
            assert!(timeout(short, dropped.next_line()).await.is_err());
            if cfg!(target_os = "linux") {
                assert_eq!(log_threads(), 1);
            }
            drop(dropped);
            if cfg!(target_os = "linux") {
                wait_for("the end of the thread", || log_threads() == 0);
            }
            let mut log = bundle.follow_logs(None).await.unwrap();
            assert_eq!(next(&mut log).await.unwrap(), "a");
            let (its, ended) = (all.clone(), ended.clone());
            engine.script(move |request, _| match request {
                _ if request.contains("/logs") => Act::Answer(200, its.clone()),
                _ if request.starts_with("GET /containers/") => Act::Answer(200, ended.clone()),
                _ => Act::Obey,
            });
            assert_eq!(next(&mut log).await.unwrap(), "b");
            assert_eq!(timeout(LONG, next(&mut log)).await.unwrap(), None);
            drop(bundle);
        });
        if cfg!(target_os = "linux") {
            wait_for("the end of the thread", || log_threads() == 0);
        }
        wait_for_teardowns();
        assert_eq!(engine.resources(), 0);
    }
}
