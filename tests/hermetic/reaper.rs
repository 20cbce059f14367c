//! The reaper of an owner that dies.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::sweep_dry_run;

use crate::fake::{CONTAINER, Fake, NETWORK, plan};
use crate::owner::Owner;
use crate::surroundings::wait_for;
use crate::texts::refuse;

#[test]
fn the_bundle_of_a_killed_owner_is_removed() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    assert_eq!(fake.resources().len(), 2);
    assert_eq!(fake.reapers(), 1);
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
    let operations = fake.operations();
    let at = |operation: &str| operations.iter().position(|it| it == operation).unwrap();
    assert!(at("rm") < at("network rm"), "{operations:?}");
}

#[test]
fn a_network_that_appears_after_its_owner_died_is_removed() {
    appears_after(1.2);
}

/// On a loaded machine, Docker made a network more than four seconds after its owner's death.
#[test]
fn a_network_that_appears_seconds_after_its_owner_died_is_removed() {
    appears_after(9.0);
}

fn appears_after(seconds: f64) {
    let fake = Fake::new();
    // Neither the command's end nor its owner's is the end of the engine's work.
    let late = format!("(sleep {seconds}; obey) >/dev/null & sleep 0.1; exit 1");
    fake.once("network-create", &format!(": >\"$dir/asked\"; {late}"));
    let mut owner = fake.owner(&[]);
    owner.tell("launch demo");
    wait_for("the create", || fake.path("asked").exists());
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    assert!(fake.operations().contains(&"network rm".into()), "{:?}", fake.operations());
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_looks_as_long_where_others_had_the_lease_for_a_moment() {
    let fake = Fake::new();
    let mut owner = fake.owner(&[]);
    fake.once(
        "network-create",
        ": >\"$dir/asked\"; (sleep 1.4; obey) >/dev/null & sleep 0.1; exit 1",
    );
    owner.tell("launch demo");
    wait_for("the create", || fake.path("asked").exists());
    owner.kill();
    sweep_dry_run(&fake.engine()).unwrap();
    plan().attach(&fake.engine()).unwrap_err();
    wait_for("the reaper", || fake.reapers() == 0);
    assert!(fake.operations().contains(&"network rm".into()), "{:?}", fake.operations());
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_knows_what_its_owner_adopted_where_others_had_the_lease_for_a_moment() {
    let fake = Fake::new();
    fake.up().keep().unwrap();
    let mut owner = fake.owner(&[]);
    owner.expect("attach demo", "up");
    let away = "fail 1 'Cannot connect to the Docker daemon at unix:///x'";
    fake.on("ps", away);
    owner.kill();
    // Before the reaper's first look, or after it; and one has the lease while the reaper looks.
    plan().attach(&fake.engine()).unwrap_err();
    fake.try_up().unwrap_err();
    fake.on("ps", "case $PPID in \"$(cat \"$dir/owner\")\") sleep 4; exit 1 ;; *) obey ;; esac");
    let mut next = fake.owner(&["reaper=false"]);
    std::fs::write(fake.path("owner"), next.child.id().to_string()).unwrap();
    next.tell("launch demo");
    wait_for("the reaper", || fake.reapers() == 0);
    assert_eq!(fake.resources().len(), 0);
    assert!(next.answer().starts_with("error"), "it was not the one that removed it");
}

#[test]
fn what_is_replaced_or_discarded_goes_even_if_its_owner_dies() {
    // The container has gone, or goes with its owner.
    for (operation, held) in [("network-rm", 1), ("rm", 2)] {
        for command in ["discard demo", "attach-or-launch demo daemons=egress"] {
            let fake = Fake::new();
            fake.up().keep().unwrap();
            fake.once(operation, ": >\"$dir/asked\"; sleep 5");
            let mut owner = fake.owner(&[]);
            owner.tell(command);
            wait_for("the removal", || fake.path("asked").exists());
            assert_eq!(fake.resources().len(), held);
            owner.kill();
            wait_for("the reaper", || fake.reapers() == 0);
            fake.assert_nothing_left();
        }
    }
}

#[test]
fn a_reaper_waits_for_an_engine_that_is_away() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    fake.on("ps", "fail 1 'Cannot connect to the Docker daemon at unix:///x'");
    owner.kill();
    thread::sleep(Duration::from_secs(1));
    assert_eq!((fake.resources().len(), fake.reapers()), (2, 1));
    fake.obey("ps");
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn the_reaper_of_a_dead_owner_leaves_the_next_owner_alone() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    owner.kill();
    let bundle = fake.up();
    // Its own reaper, which this process has by now, stays.
    wait_for("the reaper of the dead", || fake.reapers() <= 1);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(
        fake.resources(),
        [
            (NETWORK.into(), bundle.network_id().into()),
            (CONTAINER.into(), bundle.container_id().into())
        ]
    );
    bundle.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_asks_the_engine_nothing_after_close() {
    let fake = Fake::new();
    let mut owner = fake.owner_up();
    // The reaper is nobody's child, so that it is nobody's zombie.
    let pid = owner.child.id().to_string();
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter(|it| {
        let stat = std::fs::read_to_string(it.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
        fields.and_then(|fields| fields.split(' ').nth(1)) == Some(pid.as_str())
    });
    assert_eq!(children.count(), 0);
    owner.expect("close", "closed");
    owner.end();
    let start = Instant::now();
    wait_for("the reaper", || fake.reapers() == 0);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(
        fake.operations(),
        ["network create", "run", "container inspect", "rm", "network rm"]
    );
}

#[test]
fn a_working_reaper_does_not_hold_its_owners_output_open() {
    let fake = Fake::new();
    fake.on("ps", "fail 1 'Cannot connect to the Docker daemon at unix:///x'");
    let start = Instant::now();
    let mut owner = Owner::program(&fake.engine_words());
    owner.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut owner = owner.spawn().unwrap();
    owner.stdin.as_ref().unwrap().write_all(b"launch demo\nexit\n").unwrap();
    // Both pipes are read to their ends, which whoever else has them open would put off.
    let stdin = owner.stdin.take();
    let output = owner.wait_with_output().unwrap();
    drop(stdin);
    assert!(output.stdout.starts_with(b"up "), "{output:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(fake.reapers(), 1);
    fake.obey("ps");
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_that_was_killed_is_replaced() {
    let fake = Fake::new();
    // Here, a child that another test starts could for a moment hold the end of the pipe that tells of the
    // reaper's death.
    let mut owner = fake.owner(&[]);
    owner.expect("create demo", "network");
    let kill = || {
        let killed = Command::new("kill").args(["-KILL", &reaper_pid(&fake)]).status().unwrap();
        assert!(killed.success());
        wait_for("the reaper's end", || fake.reapers() == 0);
    };
    kill();
    owner.expect("create other", "network");
    assert_eq!(fake.reapers(), 1);
    kill();
    // The same session goes on.
    owner.expect("start", "up");
    assert_eq!(fake.reapers(), 1);
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn without_a_shell_everything_but_the_reaper_works() {
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.env("PATH", "/nowhere");
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    let trace = owner.stderr();
    assert!(
        trace.contains("no reaper: what this process leaves when it is killed stays"),
        "{trace}"
    );
    assert_eq!(fake.reapers(), 0);
    // Nothing is left to the background.
    fake.on("rm", "sleep 0.3; obey");
    owner.expect("close-background", "closing");
    fake.assert_nothing_left();
    owner.end();
}

#[test]
fn a_network_that_was_kept_and_taken_over_goes_with_its_killed_owner() {
    let fake = Fake::new();
    plan().create_network(&fake.engine()).unwrap().keep().unwrap();
    let mut owner = fake.owner(&[]);
    owner.expect("create demo", "network");
    assert_eq!(fake.reapers(), 1);
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_shell_that_does_not_work_is_replaced_by_another() {
    use std::os::unix::fs::PermissionsExt;
    for (bash, mode) in
        [("", 0o644), ("#!/no/such/program\n", 0o755), ("#!/bin/sh\nexit 127\n", 0o755)]
    {
        let fake = Fake::new();
        let tools = fake.path("tools");
        link_tools(&tools, &["sh", "cat", "date", "sleep", "timeout"]);
        std::fs::write(tools.join("bash"), bash).unwrap();
        std::fs::set_permissions(tools.join("bash"), PermissionsExt::from_mode(mode)).unwrap();
        let mut owner = Owner::program(&fake.engine_words());
        owner.env("PATH", &tools);
        let mut owner = Owner::spawn(owner);
        owner.expect("launch demo", "up");
        assert_eq!(fake.reapers(), 1, "{bash:?}");
        owner.kill();
        wait_for("the reaper", || fake.reapers() == 0);
        fake.assert_nothing_left();
    }
}

#[test]
fn a_reaper_that_starts_only_after_its_owners_death_removes_all_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let fake = Fake::new();
    let tools = fake.path("tools");
    link_tools(&tools, &["sh", "cat", "date", "sleep", "timeout"]);
    let bash = "#!/bin/sh\nsleep 0.7\nshift\nexec sh \"$@\"\n";
    std::fs::write(tools.join("bash"), bash).unwrap();
    std::fs::set_permissions(tools.join("bash"), PermissionsExt::from_mode(0o755)).unwrap();
    fake.once(
        "network-create",
        ": >\"$dir/asked\"; (sleep 1.2; obey) >/dev/null & sleep 0.1; exit 1",
    );
    let mut owner = Owner::program(&fake.engine_words());
    owner.env("PATH", &tools);
    let mut owner = Owner::spawn(owner);
    owner.tell("launch demo");
    wait_for("the create", || fake.path("asked").exists());
    owner.kill();
    // In an exec, it looks for a moment as if there were none.
    wait_for("its work", || fake.operations().contains(&"network rm".into()));
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

/// Makes a directory with links to these programs.
#[track_caller]
fn link_tools(directory: &Path, names: &[&str]) {
    std::fs::create_dir(directory).unwrap();
    for name in names {
        let path = std::env::var_os("PATH").unwrap();
        let mut paths = std::env::split_paths(&path).map(|it| it.join(name));
        let path = paths.find(|it| it.exists()).unwrap();
        std::os::unix::fs::symlink(path, directory.join(name)).unwrap();
    }
}

/// The pid of a reaper of the fake's owners.
#[track_caller]
fn reaper_pid(fake: &Fake) -> String {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let is_one = |cmdline: &str| {
        cmdline.contains("sidecar-bundle-reaper")
            && cmdline.contains(fake.path("docker").to_str().unwrap())
    };
    let mut reapers = pids.filter(|it| {
        is_one(&std::fs::read_to_string(it.path().join("cmdline")).unwrap_or_default())
    });
    reapers.next().unwrap().file_name().into_string().unwrap()
}

#[test]
fn a_reaper_has_no_environment_and_no_descriptors_of_its_owner() {
    let fake = Fake::new();
    // Descriptors of one digit and of two, which no flag closes.
    let mut owner = Command::new("bash");
    owner.args(["-c", "exec 7</dev/null 23</dev/null; exec \"$@\"", "bash"]);
    let program = Owner::program(&fake.engine_words());
    owner.arg(program.get_program()).args(program.get_args());
    owner.env("API_TOKEN", "hunter2").env("DOCKER_CONFIG", "/no/such/config");
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo inherit=API_TOKEN", "up");
    let pid = reaper_pid(&fake);
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert!(!environment.contains("API_TOKEN") && !environment.contains("hunter2"));
    assert!(environment.contains("DOCKER_CONFIG=/no/such/config"), "{environment}");
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut descriptors: Vec<_> = descriptors.map(|it| it.file_name()).collect();
    descriptors.sort();
    assert!(descriptors.iter().all(|it| it != "7" && it != "23"), "{descriptors:?}");
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_reads_no_file_of_its_users_shell() {
    let fake = Fake::new();
    let home = tempfile::tempdir().unwrap();
    for name in [".bashrc", ".bash_profile", ".profile"] {
        std::fs::write(home.path().join(name), "exit 1\n").unwrap();
    }
    let mut owner = Owner::program(&fake.engine_words());
    owner.env("HOME", home.path());
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    let pid = reaper_pid(&fake);
    let shell = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(shell.ends_with("bash"), "{}", shell.display());
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_relative_address_holds_in_any_directory() {
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.current_dir(fake.path("")).env("DOCKER_HOST", "unix://docker.sock");
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    owner.expect("cd /", "ok");
    owner.expect("close", "closed");
    owner.expect("launch demo", "up");
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
    let address = format!("unix://{}", fake.path("docker.sock").display());
    for call in fake.calls() {
        assert_eq!(call.env["DOCKER_HOST"], address, "{:?}", call.args);
    }
}

#[test]
fn a_process_has_one_reaper_for_each_engine_however_many_values_lead_to_it() {
    let fake = Fake::new();
    let mut owner = fake.owner(&[]);
    owner.expect("create zero", "network");
    for number in 1..8 {
        let link = fake.path(&format!("docker-{number}"));
        std::os::unix::fs::symlink(fake.path("docker"), &link).unwrap();
        let state = fake.path(if number % 2 == 0 { "leases" } else { "others" });
        owner.expect(
            &format!("engine docker-cli program={} state={}", link.display(), state.display()),
            "ok",
        );
        owner.expect(&format!("create slug-{number} subnet=10.20.{number}.0/24"), "network");
        assert_eq!(fake.reapers(), 1);
    }
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_ends_when_nothing_is_held_and_leaves_no_file() {
    let fake = Fake::new();
    let mut owner = fake.owner_up();
    owner.expect("create other", "network");
    assert_eq!(fake.reapers(), 1);
    owner.expect("close", "closed");
    owner.expect("keep", "kept");
    wait_for("the reaper's end", || fake.reapers() == 0);
    owner.expect("attach demo", "up");
    assert_eq!(fake.reapers(), 1);
    owner.expect("close", "closed");
    wait_for("the reaper's end", || fake.reapers() == 0);
    assert_eq!(std::fs::read_dir(fake.path("leases")).unwrap().count(), 0);
    owner.end();
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_ends_when_what_a_failed_close_left_is_gone() {
    for way in ["launch demo", "sweep", "discard demo"] {
        let fake = Fake::new();
        let mut owner = fake.owner_up();
        for operation in ["rm", "network-rm"] {
            fake.on(operation, &refuse(1, "Error response from daemon: the disk is tired"));
        }
        owner.expect("close", "error");
        owner.expect("launch demo", "error");
        for operation in ["rm", "network-rm"] {
            fake.obey(operation);
        }
        assert_eq!((fake.resources().len(), fake.reapers()), (2, 1));
        owner.ask(way);
        if way.starts_with("launch") {
            owner.expect("close", "closed");
        }
        fake.assert_nothing_left();
        wait_for("the reaper's end", || fake.reapers() == 0);
        owner.end();
    }
}

#[test]
fn no_reaper_removes_what_its_process_kept() {
    let fake = Fake::new();
    let mut owner = fake.owner(&[]);
    let words = fake.engine_words();
    let plain = format!("engine {}", words.join(" "));
    let unreaped = format!("{plain} reaper=false");
    let elsewhere =
        format!("engine docker-cli {} state={}", words[1], fake.path("others").display());
    owner.expect("launch held subnet=10.20.0.0/24", "up");
    for (number, engine) in [&plain, &unreaped, &elsewhere].into_iter().enumerate() {
        owner.expect(engine, "ok");
        owner.expect(&format!("launch kept-{number} subnet=10.20.{}.0/24", number + 1), "up");
        owner.expect("keep", "kept");
    }
    // Attached to and kept by another value than the one that made it.
    owner.expect(&plain, "ok");
    owner.expect("attach kept-1", "up");
    owner.expect("keep", "kept");
    owner.expect("attach kept-0", "up");
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    let mut left: Vec<_> = fake.resources().into_iter().map(|(name, _)| name).collect();
    left.sort();
    let kept = |kind: &str| [1, 2].map(|n| format!("claude-bottle-{kind}-kept-{n}"));
    assert_eq!(left, [kept("bundle"), kept("sidecars")].concat());
}

#[test]
fn a_reaper_without_timeout_works_like_any_other() {
    let fake = Fake::new();
    let tools = fake.path("tools");
    link_tools(&tools, &["sh", "cat", "date", "sed", "sleep"]);
    let mut owner = Owner::program(&fake.engine_words());
    owner.env("PATH", &tools);
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
    // It waits for the last command, too.
    fake.once("run", ": >\"$dir/asked\"; sleep 1; id=$(obey); : >\"$dir/ended\"; echo \"$id\"");
    for removal in ["rm", "network-rm"] {
        fake.on(removal, "[ -e \"$dir/ended\" ] || : >\"$dir/early\"; obey");
    }
    let mut owner = Owner::program(&fake.engine_words());
    owner.env("PATH", &tools);
    let mut owner = Owner::spawn(owner);
    owner.tell("launch demo");
    wait_for("the run", || fake.path("asked").exists());
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    assert!(fake.path("ended").exists() && !fake.path("early").exists());
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_believes_no_absence_on_another_engine() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    // Another engine answers, which has nothing.
    fake.on("info", "echo 'OTHER|fake|/other'");
    fake.on("ps", "none");
    fake.on("network-ls", "none");
    owner.kill();
    thread::sleep(Duration::from_secs(2));
    assert_eq!((fake.resources().len(), fake.reapers()), (2, 1));
    for operation in ["info", "ps", "network-ls"] {
        fake.obey(operation);
    }
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_believes_no_absence_of_an_engine_that_answered_meanwhile() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    // The right one is back before its identity is asked for at the end.
    fake.on("info", "if [ -e \"$dir/asked\" ]; then obey; else echo 'OTHER|fake|/other'; fi");
    fake.on("ps", ": >\"$dir/asked\"; none");
    fake.on("network-ls", "none");
    owner.kill();
    thread::sleep(Duration::from_secs(2));
    assert_eq!((fake.resources().len(), fake.reapers()), (2, 1));
    for operation in ["ps", "network-ls", "info"] {
        fake.obey(operation);
    }
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_removes_nothing_that_is_not_an_id() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    let words = ["postgres", "abc123", &"g".repeat(64), &"a".repeat(65), "--all"];
    fake.on("ps", &format!("printf '%s\\n' {}; obey", words.join(" ")));
    owner.kill();
    wait_for("three looks", || fake.operations().iter().filter(|it| *it == "ps").count() > 2);
    fake.obey("ps");
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
    let is_id = |word: &String| word.len() == 64 && word.bytes().all(|it| it.is_ascii_hexdigit());
    let mut removals = fake.calls();
    removals.retain(|call| call.operation().ends_with("rm"));
    assert!(removals.iter().all(|call| is_id(call.args.last().unwrap())), "{removals:?}");
}

#[test]
fn a_reaper_believes_no_absence_between_two_answers_of_its_engine() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    // The first check is the right engine's; the looks that follow it, and the checks after them, are another's.
    let looks = "looks=$(cat \"$dir/looks\" 2>/dev/null | wc -l); echo >>\"$dir/looks\"";
    for operation in ["ps", "network-ls"] {
        fake.on(operation, &format!("{looks}; if [ \"$looks\" -le 8 ]; then none; else obey; fi"));
    }
    let other = "echo 'OTHER|fake|/other'";
    fake.on("info", &format!("{looks}; case $looks in [1-8]) {other} ;; *) obey ;; esac"));
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_removes_the_remains_beside_a_kept_network_and_leaves_the_network() {
    let fake = Fake::new();
    let mut owner = fake.owner(&[]);
    let up = owner.expect("create demo", "network");
    let network = up.split(' ').next().unwrap();
    // The answer of a start is lost, and its container cannot be removed.
    fake.once("run", "obey >/dev/null; exit 1");
    fake.on("rm", &refuse(1, "Error response from daemon: the disk is tired"));
    owner.expect("start", "error");
    owner.expect("keep", "kept");
    fake.obey("rm");
    assert_eq!(fake.resources().len(), 2);
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    assert_eq!(fake.resources(), [(NETWORK.into(), network.into())]);
}
