//! The digest of a specification, by which a later process knows what a container was made from.

use std::collections::BTreeMap;
use std::fmt;

use super::check::CheckedSpec;
use super::file::CheckedFile;
use super::options::Options;
use crate::digest::digest;

impl CheckedSpec {
    /// The digest of everything that the container is made from, in 32 hexadecimal digits.
    ///
    /// Every user of the engine can read it, so it leaves out hidden values and the contents of secret files. It also
    /// leaves out the launcher's own settings: readiness, the time of a pull, the grace period and the saved log.
    pub(crate) fn digest(&self) -> String {
        let Self { image, variables, mounts, files, ready: _, options, security } = self;
        let Options {
            entrypoint,
            command,
            user,
            labels,
            // They are among the mounts.
            tmpfs: _,
            relabel: _,
            publish,
            also_on,
            aliases,
            hosts,
            dns,
            memory,
            cpus,
            pids,
            add_capabilities,
            drop_capabilities,
            // It has the contents of the profiles that these name.
            security: _,
            no_new_privileges,
            read_only,
            init,
            restart,
            pull: _,
            fields,
            flags,
            grace: _,
            save_log: _,
        } = options;
        let files: Vec<_> = files.iter().map(contents).collect();
        // Of two with one key, the last one counts.
        let labels: BTreeMap<_, _> = labels.iter().cloned().collect();
        let (publish, aliases, fields) = (sorted(publish), sorted(aliases), sorted(fields));
        let capabilities = [sorted(add_capabilities), sorted(drop_capabilities)];
        let parts: [&dyn fmt::Debug; 23] = [
            image,
            variables,
            mounts,
            &files,
            security,
            entrypoint,
            command,
            user,
            &labels,
            &publish,
            also_on,
            &aliases,
            hosts,
            dns,
            memory,
            cpus,
            pids,
            &capabilities,
            no_new_privileges,
            read_only,
            init,
            restart,
            &(fields, flags),
        ];
        digest(format!("{parts:?}"))
    }
}

/// The public properties of a file.
fn contents(CheckedFile { path, file }: &CheckedFile) -> impl fmt::Debug {
    let public = (!file.is_secret).then(|| digest(&file.contents));
    (path.clone(), file.mode, file.owner, public)
}

/// In an order that does not depend on that of the calls.
fn sorted(list: &[impl fmt::Debug]) -> Vec<String> {
    let mut list: Vec<_> = list.iter().map(|it| format!("{it:?}")).collect();
    list.sort();
    list
}

#[cfg(test)]
mod tests {
    use crate::container::{
        BundleSpec, ContainerFile, Daemon, PortMapping, PullPolicy, Ready, Relabel, RestartPolicy,
    };
    use crate::plan::Naming;

    fn digest(spec: &BundleSpec) -> String {
        spec.check(&Naming::default()).unwrap().digest()
    }

    fn spec() -> BundleSpec {
        BundleSpec::new().image("i").mount("/a", "/a").file(ContainerFile::secret("/k", "one"))
    }

    /// With another digest, the next version finds everything that was kept to be something else.
    #[test]
    fn a_digest_stays_as_it_is() {
        assert_eq!(digest(&spec()), "ff676052fbf7f4df1097de918059fc95");
    }

    #[test]
    fn whatever_the_container_is_made_from_is_in_the_digest() {
        let changes: &[fn(BundleSpec) -> BundleSpec] = &[
            |it| it.image("j"),
            |it| it.daemons(["egress"]),
            |it| it.variable("A", "1"),
            |it| it.variable("A", "2"),
            |it| it.secret("A", "1"),
            |it| it.mount("/b", "/b"),
            |it| it.mount_read_only("/b", "/b"),
            |it| it.volume("b", "/b"),
            |it| it.tmpfs("/b", 1),
            |it| it.tmpfs("/b", None),
            |it| it.executable_tmpfs("/b", 1),
            |it| it.relabel("/a", Relabel::Private),
            |it| it.relabel("/a", Relabel::Shared),
            |it| it.file(ContainerFile::new("/f", "1")),
            |it| it.file(ContainerFile::new("/f", "2")),
            |it| it.file(ContainerFile::new("/f", "1").mode(0o600)),
            |it| it.file(ContainerFile::new("/f", "1").owner(1, 1)),
            |it| it.file(ContainerFile::secret("/f", "1")),
            |it| it.entrypoint("x"),
            |it| it.command(["x"]),
            |it| it.command(["x", "y"]),
            |it| it.command(["y", "x"]),
            |it| it.user("x"),
            |it| it.label("x", "y"),
            |it| it.publish(PortMapping::tcp(1)),
            |it| it.publish(PortMapping::udp(1)),
            |it| it.publish(PortMapping::tcp(1).host_port(1)),
            |it| it.also_on("x"),
            |it| it.network_alias("x"),
            |it| it.extra_host("x", [1, 1, 1, 1]),
            |it| it.host_gateway("x"),
            |it| it.dns_server([1, 1, 1, 1]),
            |it| it.memory(1 << 30),
            |it| it.cpus(1.0),
            |it| it.pids(1),
            |it| it.add_capability("X"),
            |it| it.drop_capability("X"),
            |it| it.security_option("label=disable"),
            |it| it.no_new_privileges(true),
            |it| it.read_only_root(true),
            |it| it.init(true),
            |it| it.restart(RestartPolicy::Always),
            |it| it.engine_option("Hostname", "\"x\""),
            |it| it.engine_flag("--hostname=x"),
        ];
        let mut all: Vec<_> = changes.iter().map(|change| digest(&change(spec()))).collect();
        all.push(digest(&spec()));
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn what_is_hidden_or_the_launchers_own_is_not_in_the_digest() {
        let with = |value: &str| {
            let file = ContainerFile::secret("/k", value);
            BundleSpec::new().image("i").mount("/a", "/a").file(file).secret("S", value)
        };
        assert_eq!(digest(&with("a")), digest(&with("other")));
        let ready = Daemon::new("egress").ready(Ready::tcp(1));
        let theirs = spec()
            .daemon(ready)
            .daemon(Daemon::new("pipelock"))
            .pull(PullPolicy::Always)
            .stop_grace(std::time::Duration::from_secs(1))
            .save_log("/tmp/log");
        assert_eq!(digest(&theirs), digest(&spec()));
    }

    #[test]
    fn the_order_of_the_calls_does_not_matter() {
        let one = spec().label("a", "1").label("b", "2").mount("/c", "/c").mount("/b", "/b");
        let other = spec().mount("/b", "/b").mount("/c", "/c").label("b", "2").label("a", "1");
        assert_eq!(digest(&one), digest(&other));
        // The last of two values counts.
        let two = |one, other| digest(&spec().label("a", one).label("a", other));
        assert_eq!(two("1", "2"), digest(&spec().label("a", "2")));
        assert_ne!(two("1", "2"), two("2", "1"));
        let two = |one, other| digest(&spec().engine_flag(one).engine_flag(other));
        assert_ne!(two("--hostname=a", "--hostname=b"), two("--hostname=b", "--hostname=a"));
    }
}
