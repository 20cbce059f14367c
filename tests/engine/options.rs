//! The options of a container.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

use sidecar_bundle::{BundleSpec, Cause, Error, PortMapping, Relabel, RestartPolicy};

use crate::engine::{
    LONG, await_print, cli, has_limits, inside, inspect, is_api, is_podman, is_rootless, sh,
    with_option, world,
};

#[test]
fn mounts_arrive_whatever_their_path_and_a_missing_source_is_an_error() {
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
fn every_option_is_on_the_engine() {
    let Some(world) = world("options") else { return };
    let spec = BundleSpec::new()
        .entrypoint("sh")
        .command(["-c", "echo $0 $1; exec sleep 60", "a b", "--name=x"])
        .user("1000:1000")
        .label("acme.role", "sidecar,=x")
        .volume("sidecar-bundle-test-volume", "/volume")
        .tmpfs("/scratch", 1 << 20)
        .publish(PortMapping::tcp(8080).host_address([127, 0, 0, 1]).host_port(18080))
        .publish(PortMapping::udp(53))
        .extra_host("gateway.acme", [10, 1, 2, 3])
        .memory(64 << 20)
        .cpus(0.5)
        .pids(99)
        .add_capability("NET_ADMIN")
        .drop_capability("NET_RAW")
        .no_new_privileges(true)
        .security_option("apparmor=unconfined")
        .read_only_root(true)
        .init(true)
        .restart(RestartPolicy::OnFailure(Some(2)));
    let spec = with_option(spec, ("Hostname", "\"inside\""), &["--hostname=inside"]);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let container = inspect("container", bundle.container_id()).unwrap();
    let (config, host) = (&container["Config"], &container["HostConfig"]);
    let has = |list: &serde_json::Value, text: &str| {
        assert!(list.as_array().unwrap().iter().any(|it| it == text), "{text} is not in {list}");
    };
    let entrypoint = config["Entrypoint"].get(0).unwrap_or(&config["Entrypoint"]);
    assert_eq!(entrypoint, "sh");
    assert_eq!(config["Cmd"][3], "--name=x");
    assert_eq!(config["User"], "1000:1000");
    assert_eq!(config["Labels"]["acme.role"], "sidecar,=x");
    assert_eq!(config["Hostname"], "inside");
    let mounts = container["Mounts"].as_array().unwrap();
    assert!(mounts.iter().any(|it| it["Name"] == "sidecar-bundle-test-volume"), "{mounts:?}");
    let in_memory = host["Tmpfs"]["/scratch"].is_string();
    assert!(in_memory || mounts.iter().any(|it| it["Destination"] == "/scratch"), "{mounts:?}");
    assert_eq!(host["PortBindings"]["8080/tcp"][0]["HostPort"], "18080");
    assert_eq!(host["PortBindings"]["8080/tcp"][0]["HostIp"], "127.0.0.1");
    assert_eq!(host["PortBindings"]["53/udp"][0]["HostIp"], "127.0.0.1");
    has(&host["ExtraHosts"], "gateway.acme:10.1.2.3");
    if has_limits() {
        let (memory, swap) = (&host["Memory"], &host["MemorySwap"]);
        assert_eq!((memory, swap), (&(64 << 20).into(), &(64 << 20).into()));
        assert_eq!(host["NanoCpus"], 500_000_000);
        assert_eq!(host["PidsLimit"], 99);
    }
    assert!(host["CapAdd"].to_string().contains("NET_ADMIN"));
    assert!(host["CapDrop"].to_string().contains("NET_RAW"));
    has(&host["SecurityOpt"], "no-new-privileges");
    has(&host["SecurityOpt"], "apparmor=unconfined");
    assert_eq!((&host["ReadonlyRootfs"], &host["Init"]), (&true.into(), &true.into()));
    assert_eq!(host["RestartPolicy"]["Name"], "on-failure");
    assert_eq!(host["RestartPolicy"]["MaximumRetryCount"], 2);
    await_print(&bundle, "a b --name=x");
    bundle.close().unwrap();
    assert!(inspect("volume", "sidecar-bundle-test-volume").is_some(), "a named one stays");
    cli(&["volume", "rm", "sidecar-bundle-test-volume"]);
    world.assert_nothing_left();
}

#[test]
fn a_published_port_is_open_on_its_address_alone() {
    let Some(world) = world("published") else { return };
    let [default, loopback] = [Ipv4Addr::LOCALHOST, world.plan().loopback()];
    // Rootless Docker has each port of the host once, whatever its address (moby#52783).
    let other = if is_rootless() && !is_podman() { 18083 } else { 18082 };
    let spec = BundleSpec::new()
        .publish(PortMapping::tcp(8080).host_port(18082))
        .publish(PortMapping::tcp(8081).host_address(loopback).host_port(other));
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    await_print(&bundle, "supervisor: ready");
    assert_eq!(served((default, 18082).into()).unwrap(), "egress");
    assert_eq!(served((loopback, other).into()).unwrap(), "pipelock");
    for port in [18082, other] {
        let refused = served((Ipv4Addr::new(127, 0, 0, 2), port).into()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{port}: {refused}");
    }
    bundle.close().unwrap();
    world.assert_nothing_left();
}

/// The name of the daemon that serves at an address of this host.
fn served(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LONG)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn a_seccomp_profile_is_a_file_of_this_host() {
    let Some(world) = world("seccomp") else { return };
    let profile = world.state.path().join("profile.json");
    let text = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
    }"#;
    std::fs::write(&profile, text).unwrap();
    let spec = sh("mkdir /new || echo refused; sleep 60");
    let spec = spec.security_option(format!("seccomp={}", profile.display()));
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    await_print(&bundle, "refused");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_hardened_bundle_can_do_less_harm() {
    let Some(world) = world("hardened") else { return };
    let spec = BundleSpec::new().hardened().memory(128 << 20).pids(40);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    await_print(&bundle, "supervisor: ready");
    let run = |script: &str| inside(&bundle, &["sh", "-c", script]);
    assert_ne!(run("touch /here").0, 0, "the root can be written");
    assert_eq!(run("touch /tmp/here").0, 0);
    let status = run("cat /proc/1/status").1;
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    assert_ne!(run("chown 1000 /tmp/here").0, 0, "owners can be changed without a capability");
    let copied = "cp /bin/busybox /tmp/true && /tmp/true";
    assert_ne!(run(copied).0, 0, "a program in /tmp can be run");
    let forks = run("for i in $(seq 100); do sleep 3 & done; echo all");
    let all = forks.1.contains("all");
    assert_eq!(all, !has_limits(), "100 processes where 40 are allowed: {forks:?}");
    bundle.close().unwrap();

    let spec = BundleSpec::new()
        .hardened()
        .clear_dropped_capabilities()
        .no_new_privileges(false)
        .read_only_root(false)
        .clear_tmpfs()
        .pids(None)
        .memory(None);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let status = inside(&bundle, &["cat", "/proc/1/status"]).1;
    assert!(status.contains("NoNewPrivs:\t0") && !status.contains("CapEff:\t0000000000000000"));
    assert_eq!(inside(&bundle, &["touch", "/here"]).0, 0);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_hardened_bundle_has_programs_in_memory_on_request() {
    let Some(world) = world("hardened-exec") else { return };
    let spec = BundleSpec::new().hardened().executable_tmpfs("/tmp", 4 << 20);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    await_print(&bundle, "supervisor: ready");
    let run = |script: &str| inside(&bundle, &["sh", "-c", script]);
    assert_eq!(run("cp /bin/busybox /tmp/true && /tmp/true").0, 0);
    let mount = run("grep ' /tmp ' /proc/mounts").1;
    assert!(mount.contains("nosuid,nodev") && !mount.contains("noexec"), "{mount}");
    assert!(mount.contains("size=4096k"), "{mount}");
    assert_ne!(run("head -c 5000000 /dev/zero >/tmp/big").0, 0, "it has 4 MiB");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn names_of_the_host_and_dns_servers_arrive() {
    let Some(world) = world("names") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    if is_rootless() || is_podman() && !is_api() {
        let spec = BundleSpec::new().host_gateway("host.docker.internal");
        let failed = network.start(spec).unwrap_err();
        assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
        return failed.into_state().close().unwrap();
    }
    let spec = BundleSpec::new()
        .host_gateway("host.docker.internal")
        .dns_server([10, 255, 0, 53])
        .dns_server([10, 255, 0, 54]);
    let bundle = network.start(spec).unwrap();
    let hosts = inside(&bundle, &["cat", "/etc/hosts"]).1;
    let line = hosts.lines().find(|line| line.contains("host.docker.internal"));
    let address = line.and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    assert!(address.parse::<std::net::IpAddr>().is_ok(), "{hosts}");
    if is_podman() {
        assert_eq!(address, bundle.plan().gateway().to_string());
        // From 4.4 on, its own server is told of them.
        let resolv = inside(&bundle, &["cat", "/etc/resolv.conf"]).1;
        let own = format!("nameserver {address}\n");
        let given = "nameserver 10.255.0.53\nnameserver 10.255.0.54\n";
        assert!(resolv.contains(given) || resolv.contains(&own), "{resolv}");
    } else {
        let told = &inspect("container", bundle.container_id()).unwrap()["HostConfig"]["Dns"];
        assert_eq!(*told, serde_json::json!(["10.255.0.53", "10.255.0.54"]));
    }
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_mount_is_relabelled_where_a_missing_source_stays_an_error() {
    let Some(world) = world("relabel") else { return };
    let folder = tempfile::tempdir().unwrap();
    let spec = |host: &Path| {
        let spec = BundleSpec::new().mount(host, "/here").mount_read_only(host, "/there");
        spec.relabel("/here", Relabel::Private).relabel("/there", Relabel::Shared)
    };
    let launched = world.plan().launch(&world.engine(), spec(folder.path()));
    if is_podman() && is_api() {
        let bundle = launched.unwrap();
        // Podman forgets the letters when it has done it.
        assert_eq!(inside(&bundle, &["touch", "/here/file"]).0, 0);
        assert!(folder.path().join("file").exists());
        bundle.close().unwrap();
        let missing = spec(&folder.path().join("missing"));
        let failed = world.plan().launch(&world.engine(), missing).unwrap_err();
        assert_eq!(failed.error().cause(), Some(Cause::MountSourceMissing), "{failed:?}");
        assert!(!folder.path().join("missing").exists());
    } else {
        let failed = launched.unwrap_err();
        assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
    }
    world.assert_nothing_left();
}

#[test]
fn an_entrypoint_and_a_command_are_the_images_unless_they_are_set() {
    let Some(world) = world("entrypoint") else { return };
    let (image, made) = ("localhost/sidecar-bundle-entrypoint:1", "sidecar-bundle-entrypoint");
    cli(&["create", "--name", made, "claude-bottle-sidecars:latest"]);
    let begin = r#"ENTRYPOINT ["sh", "-c", "echo began $0; exec sleep 60"]"#;
    cli(&["commit", "--change", begin, "--change", r#"CMD ["as-the-image-says"]"#, made, image]);
    cli(&["rm", "--force", made]);
    for (spec, says) in [
        (BundleSpec::new(), "began as-the-image-says"),
        (BundleSpec::new().command(["as-it-is-set"]), "began as-it-is-set"),
    ] {
        let bundle = world.plan().launch(&world.engine(), spec.image(image)).unwrap();
        await_print(&bundle, says);
        bundle.close().unwrap();
    }
    cli(&["rmi", image]);
    world.assert_nothing_left();
}
