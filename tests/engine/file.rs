//! Files that are copied into the container before it starts.

use std::time::Duration;

use sidecar_bundle::{BundleSpec, Cause, ContainerFile, Daemon, Error, FileProblem, Ready};

use crate::engine::{LONG, cli, inside, inspect, is_api, is_podman, sh, world};

#[test]
fn files_are_there_from_the_start_with_mode_and_owner() {
    let Some(world) = world("files") else { return };
    let spec = BundleSpec::new()
        .file(ContainerFile::new("/etc/proxy.yaml", "listen: 8080\n"))
        .daemon(Daemon::new("egress").file(
            ContainerFile::secret("/opt/new/deep/key", vec![0, 255, b'\n']).mode(0o440).owner(7, 8),
        ))
        .file(ContainerFile::new("/bin/extra", ""))
        .file(ContainerFile::new(format!("/opt/{}", "long".repeat(40)), "").mode(0o755));
    if !is_api() {
        let failed = world.plan().launch(&world.engine(), spec).unwrap_err();
        assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
        world.assert_nothing_left();
        return;
    }
    // The entry point's command sees them.
    let spec = spec.entrypoint("sh").command(["-c", "cat /etc/proxy.yaml; exec sleep 1000"]);
    let roots = [spec.clone(), spec.clone().user("7:8"), spec.hardened()];
    for spec in roots {
        let bundle = world.plan().launch(&world.engine(), spec.clone()).unwrap();
        let (_, listed) = inside(
            &bundle,
            &[
                "sh",
                "-c",
                "stat -c '%n %a %u:%g %s' /etc/proxy.yaml /opt/new/deep/key /opt/new /opt/longlong*",
            ],
        );
        let long = format!("/opt/{} 755 0:0 0", "long".repeat(40));
        let expected = [
            "/etc/proxy.yaml 644 0:0 13",
            "/opt/new/deep/key 440 7:8 3",
            "/opt/new 755 0:0 ",
            &long,
        ];
        for line in expected {
            assert!(listed.contains(line), "{line} is not in {listed} of {spec:?}");
        }
        let image = inside(&bundle, &["ls", "/bin/busybox", "/bin/extra"]);
        assert_eq!(image.0, 0, "the image's own files stay: {image:?}");
        let mounts = inspect("container", bundle.container_id()).unwrap()["Mounts"].take();
        let volumes = mounts.as_array().unwrap().iter().filter(|it| it["Type"] == "volume");
        let volumes: Vec<_> = volumes.map(|it| it["Name"].as_str().unwrap()).collect();
        bundle.close().unwrap();
        world.assert_nothing_left();
        let left = cli(&["volume", "ls", "--quiet"]);
        assert!(volumes.iter().all(|it| !left.contains(it)), "{volumes:?} in {left}");
    }
}

#[test]
fn a_file_in_a_read_only_root_is_refused_where_it_cannot_be_copied() {
    let Some(world) = world("files-root") else { return };
    if !is_api() {
        return;
    }
    let spec = sh("sleep 1000").read_only_root(true).file(ContainerFile::new("/top", "x"));
    match world.plan().launch(&world.engine(), spec) {
        Ok(bundle) => {
            assert!(is_podman());
            assert_eq!(inside(&bundle, &["cat", "/top"]).1, "x");
            bundle.close().unwrap();
        }
        Err(failed) => {
            assert!(!is_podman(), "{failed:?}");
            assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
        }
    }
    world.assert_nothing_left();
}

#[test]
fn a_file_where_the_image_has_a_directory_fails_and_leaves_nothing() {
    let Some(world) = world("files-directory") else { return };
    if !is_api() {
        return;
    }
    let spec = BundleSpec::new().file(ContainerFile::new("/bin", "x"));
    let failed = world.plan().launch(&world.engine(), spec).unwrap_err();
    assert!(matches!(failed.error(), Error::Start { .. }), "{failed:?}");
    assert_ne!(failed.error().cause(), Some(Cause::ImageMissing));
    world.assert_nothing_left();
}

#[test]
fn a_file_that_the_bundle_makes_is_waited_for_and_read() {
    let Some(world) = world("files-made") else { return };
    let script = "sleep 0.3; mkdir /made; echo certificate >/tmp/ca.pem; ln -s ../tmp/ca.pem /made/link;
        head -c 1048577 /dev/zero >/made/long; head -c 1048576 /dev/zero >/made/longest; mkfifo /tmp/pipe;
        ln -s /tmp/none /made/astray; ln -s /dev/zero /tmp/endless; : >/made/done; exec sleep 1000";
    let spec = sh(script).tmpfs("/tmp", 16 << 20);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    if !is_api() {
        for error in [
            bundle.read_file("/made/done").unwrap_err(),
            bundle.wait_for(&Ready::file("/made/done"), LONG).unwrap_err(),
            bundle.wait_for(&Ready::exec(["true"]), LONG).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
        }
        bundle.close().unwrap();
        return;
    }
    // In memory, too.
    bundle.wait_for(&Ready::file("/tmp/ca.pem"), LONG).unwrap();
    bundle.wait_for(&Ready::exec(["test", "-e", "/made/done"]), LONG).unwrap();
    assert_eq!(bundle.read_file("/tmp/ca.pem").unwrap(), b"certificate\n");
    assert_eq!(bundle.read_file("/made/link").unwrap(), b"certificate\n");
    assert_eq!(bundle.read_file("/made/longest").unwrap().len(), 1 << 20);
    for (path, expected) in [
        ("/made/none", FileProblem::Missing),
        ("/tmp/none", FileProblem::Missing),
        ("/made/astray", FileProblem::Missing),
        ("/made", FileProblem::NotAFile),
        ("/tmp/pipe", FileProblem::NotAFile),
        ("/made/long", FileProblem::TooLong),
    ] {
        let error = bundle.read_file(path).unwrap_err();
        assert!(matches!(error, Error::File { problem, .. } if problem == expected), "{error:?}");
    }
    // Each engine tells in its own way that a device is no file, and no command goes on that reads it.
    for path in ["/dev/zero", "/tmp/endless"] {
        assert!(bundle.read_file(path).is_err(), "{path}");
    }
    let processes = inside(&bundle, &["ps"]).1;
    assert!(!processes.contains("/dev/zero") && !processes.contains("/tmp/"), "{processes}");
    bundle.wait_for(&Ready::file("/made/link"), LONG).unwrap();
    assert!(matches!(bundle.read_file("made/done").unwrap_err(), Error::Invalid(_)));
    let short = Duration::from_millis(700);
    for (never, seen) in [
        (Ready::file("/none"), "file /none; last seen: no file /none"),
        (Ready::file("/made/astray"), "last seen: no file /made/astray"),
        (Ready::exec(["false"]), "command \"false\"; last seen: exit code 1 of command \"false\""),
        (Ready::exec(["/no/such"]), "last seen: exit code 12"),
    ] {
        let error = bundle.wait_for(&never, short).unwrap_err();
        assert!(
            matches!(error, Error::NotReady { .. }) && error.to_string().contains(seen),
            "{error}"
        );
    }
    bundle.close().unwrap();
    world.assert_nothing_left();
}
