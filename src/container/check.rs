//! The check of a specification: everything that can go wrong without an engine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::daemon::Daemon;
use super::file::CheckedFile;
use super::options::Options;
use super::parts::{
    CheckedMount, CheckedVariable, MountKind, Value, Variable, check_image, check_variable_name,
    has_digest,
};
use super::paths::checked_target;
use super::readiness::Ready;
use super::security::Security;
use super::spec::BundleSpec;
use crate::invalid::InvalidInput;
use crate::plan::Naming;

impl BundleSpec {
    /// Checks and merges everything, and reads the inherited variables and the profiles.
    pub(crate) fn check(&self, naming: &Naming) -> Result<CheckedSpec, InvalidInput> {
        let mut daemons = match &self.daemons {
            None => vec![Daemon::new("egress"), Daemon::new("pipelock")],
            Some(daemons) => daemons.clone(),
        };
        daemons.sort_by(|a, b| a.name.cmp(&b.name));
        check_variable_name(naming.daemons_variable())?;
        let list = Variable {
            name: naming.daemons_variable().to_owned(),
            value: Value::Literal(daemons_csv(&daemons)?),
        };
        self.merged(self.image.as_deref().unwrap_or(naming.image()), &daemons, Some(&list))
    }

    /// The same for a guest, which has no daemons and no default image.
    pub(crate) fn check_for_guest(&self) -> Result<CheckedSpec, InvalidInput> {
        if self.daemons.as_ref().is_some_and(|daemons| !daemons.is_empty()) {
            return Err(InvalidInput::new("a guest has no daemons: they are the bundle's"));
        }
        match &self.image {
            Some(image) => self.merged(image, &[], None),
            None => Err(InvalidInput::new("a guest has no default image: name one")),
        }
    }

    fn merged(
        &self,
        image: &str,
        daemons: &[Daemon],
        list: Option<&Variable>,
    ) -> Result<CheckedSpec, InvalidInput> {
        check_image(image)?;
        if self.require_digest && !has_digest(image) {
            return Err(InvalidInput::new(format_args!(
                "image {image} has no digest; name it as NAME@sha256: and 64 hexadecimal digits"
            )));
        }
        let mut variables: BTreeMap<&str, (Side, &Variable)> = BTreeMap::new();
        let mut mounts: BTreeMap<String, (Side, CheckedMount)> = BTreeMap::new();
        variables.extend(list.map(|list| (&*list.name, (Side::List, list))));
        let tmpfs = self.options.tmpfs.as_slice();
        for (side, theirs, more) in std::iter::once((Side::Bundle, &self.parts, tmpfs))
            .chain(daemons.iter().map(|it| (Side::Daemon(&it.name), &it.parts, &[][..])))
        {
            for variable in &theirs.variables {
                match variables.get(variable.name.as_str()) {
                    Some((other, there)) if there.value != variable.value => {
                        return Err(InvalidInput::new(format_args!(
                            "variable {} has two values, {}",
                            variable.name,
                            both(*other, side)
                        )));
                    }
                    Some(_) => {}
                    None => {
                        variables.insert(&variable.name, (side, variable));
                    }
                }
            }
            for mount in theirs.mounts.iter().chain(more) {
                let mount = mount.check()?;
                if let Some((other, _)) = mounts.get(&mount.container) {
                    return Err(InvalidInput::new(format_args!(
                        "mount target {} is used twice, {}",
                        mount.container,
                        both(*other, side)
                    )));
                }
                mounts.insert(mount.container.clone(), (side, mount));
            }
        }
        let parts = || std::iter::once(&self.parts).chain(daemons.iter().map(|it| &it.parts));
        let mut files = parts()
            .flat_map(|it| &it.files)
            .map(|file| Ok(CheckedFile { path: file.check()?, file: file.clone() }))
            .collect::<Result<Vec<_>, InvalidInput>>()?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        for (container, relabel) in &self.options.relabel {
            let container = checked_target("mount", container)?;
            match mounts.get_mut(&container) {
                Some((_, mount)) if matches!(mount.kind, MountKind::Host(_)) => {
                    mount.relabel = Some(*relabel);
                }
                _ => {
                    return Err(InvalidInput::new(format_args!(
                        "a label is set for {container}, where no path of the host is mounted"
                    )));
                }
            }
        }
        let mounts: Vec<_> = mounts.into_values().map(|(_, mount)| mount).collect();
        check_places(&files, &mounts)?;
        let ready: Vec<_> = daemons.iter().flat_map(|it| it.ready.iter().cloned()).collect();
        ready.iter().try_for_each(Ready::validate)?;
        Ok(CheckedSpec {
            image: image.to_owned(),
            variables: variables
                .into_values()
                .map(|(_, variable)| variable.check())
                .collect::<Result<_, _>>()?,
            mounts,
            files,
            ready,
            options: self.options.check()?.clone(),
            security: Security::read(&self.options.security),
        })
    }
}

/// Checks that each file has a place of its own, and that no mount hides it. Both are sorted by path.
fn check_places(files: &[CheckedFile], mounts: &[CheckedMount]) -> Result<(), InvalidInput> {
    for (number, CheckedFile { path, .. }) in files.iter().enumerate() {
        let is_under = |other: &str| Path::new(path).starts_with(other);
        if let Some(other) = files[..number].iter().find(|it| is_under(&it.path)) {
            let other = &other.path;
            return Err(if path == other {
                InvalidInput::new(format_args!("file {path} is given twice"))
            } else {
                InvalidInput::new(format_args!("file {path} is under {other}, which is a file"))
            });
        }
        if let Some(mount) = mounts.iter().find(|it| is_under(&it.container)) {
            let target = &mount.container;
            return Err(InvalidInput::new(format_args!(
                "file {path} is under the mount at {target}, which hides it"
            )));
        }
        if mounts.iter().any(|it| Path::new(&it.container).starts_with(path)) {
            return Err(InvalidInput::new(format_args!(
                "file {path} is where a mount needs a directory"
            )));
        }
    }
    Ok(())
}

/// The part of a specification that sets something.
#[derive(Clone, Copy, PartialEq)]
enum Side<'a> {
    List,
    Bundle,
    Daemon(&'a str),
}

impl fmt::Display for Side<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => f.write_str("the list of daemons"),
            Self::Bundle => f.write_str("the bundle"),
            Self::Daemon(name) => write!(f, "daemon {name}"),
        }
    }
}

fn both(first: Side<'_>, second: Side<'_>) -> String {
    if first == second {
        format!("both set by {first}")
    } else {
        format!("one set by {first}, one by {second}")
    }
}

/// A specification that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedSpec {
    pub(crate) image: String,
    /// Sorted by name.
    pub(crate) variables: Vec<CheckedVariable>,
    /// Sorted by target.
    pub(crate) mounts: Vec<CheckedMount>,
    /// Sorted by path.
    pub(crate) files: Vec<CheckedFile>,
    pub(crate) ready: Vec<Ready>,
    pub(crate) options: Options,
    /// The security options for the API. An error does not concern an engine that is driven by commands.
    pub(crate) security: Result<Security, InvalidInput>,
}

fn daemons_csv(sorted: &[Daemon]) -> Result<String, InvalidInput> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let names: Vec<_> = sorted.iter().map(|daemon| daemon.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| name.is_empty() || !name.chars().all(allowed)) {
        return Err(InvalidInput::new(format_args!(
            "{name:?} is not the name of a daemon; allowed are letters, digits, '-', '_' and '.'"
        )));
    }
    if let Some((name, _)) =
        names.iter().zip(names.iter().skip(1)).find(|(name, next)| name == next)
    {
        return Err(InvalidInput::new(format_args!("daemon {name} is listed twice")));
    }
    Ok(names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_steer_the_program_are_fine_as_literals_only() {
        for name in [
            "DOCKER_CONFIG",
            "CONTAINERS_CONF",
            "http_proxy",
            "NO_PROXY",
            "PATH",
            "LD_PRELOAD",
            "HOME",
        ] {
            let fine = |spec: BundleSpec| spec.check(&Naming::default()).is_ok();
            assert!(!fine(BundleSpec::new().secret(name, "x")));
            assert!(!fine(BundleSpec::new().inherit(name)));
            assert!(fine(BundleSpec::new().variable(name, "x")));
        }
    }

    #[test]
    fn the_escape_hatch_overrides_no_guarantee_in_any_spelling() {
        for word in [
            "--name=x",
            "--name",
            "--network=host",
            "--net=host",
            "--net",
            "--ip=1.2.3.4",
            "--ip6=::1",
            "--label=a=b",
            "--label-file=/x",
            "-l",
            "-la=b",
            "-d",
            "-d=false",
            "-dit",
            "--detach=false",
            "--detach",
            "--rm=true",
            "--rm",
            "-e",
            "-eX=y",
            "--env=X=y",
            "--env-file=/x",
            "-it",
            "--",
            "--=x",
            "",
            "x",
            "image",
            "---name=x",
            "--Name=x",
            " --shm-size=1",
            "--na\u{200b}me=x",
            "--attach=stdin",
            "--replace=true",
            "--pod=x",
            "--cidfile=/x",
            "--link-local-ip=1.2.3.4",
            "--help=true",
            "--entrypoint=x",
            "--mount=type=bind",
            "--volume=/a:/b",
            "--tmpfs=/a",
            "--pull=always",
            "--detach-keys=a",
            "--volumes-from=x",
            "--unsetenv-all=true",
            "--privileged=true",
            "--publish-all=true",
            "--pid=host",
            "--userns=host",
            "--link=x",
            "--shm-size",
            "--dns=1.1.1.1",
            "--network-alias=x",
            "--tty=true",
        ] {
            let spec = BundleSpec::new().engine_flag(word);
            let refused = spec.check(&Naming::default()).is_err();
            assert!(refused, "{word:?} was let through");
        }
        for word in ["--dns-search=x", "--shm-size=1g", "--sysctl=a=b"] {
            let spec = BundleSpec::new().engine_flag(word);
            let checked = spec.check(&Naming::default()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(checked.options.flags, [word]);
        }
    }

    mod laws {
        use proptest::prelude::*;

        use super::super::*;

        /// A daemon of few names, values and targets, so that many of them are in conflict.
        fn daemons() -> impl Strategy<Value = Vec<Daemon>> {
            let part = (0..3_u8, "[AB]", "[12]");
            let daemon = ("[a-e]", prop::collection::vec(part, 0..3));
            let daemon = daemon.prop_map(|(name, parts)| {
                parts.into_iter().fold(
                    Daemon::new(name),
                    |daemon, (kind, name, value)| match kind {
                        0 => daemon.variable(name, value),
                        1 => daemon.secret(name, value),
                        _ => daemon.mount(format!("/{value}"), format!("/{name}/{value}")),
                    },
                )
            });
            prop::collection::vec(daemon, 0..5)
        }

        /// All that comes of it, or that nothing does.
        fn merged(daemons: &[Daemon]) -> Option<String> {
            let spec = daemons.iter().cloned().fold(BundleSpec::new(), BundleSpec::daemon);
            let checked = spec.check(&Naming::default()).ok()?;
            let variables = checked.variables.iter().map(|variable| match variable {
                CheckedVariable::Literal(name, value) => format!("{name}={value}"),
                CheckedVariable::Hidden(name, value) => format!("{name}:{value:?}"),
            });
            let mounts = checked.mounts.iter().map(|mount| match &mount.kind {
                MountKind::Host(host) => format!("{host}>{}", mount.container),
                MountKind::Volume(_) | MountKind::Tmpfs(_) => unreachable!("none is made here"),
            });
            Some(variables.chain(mounts).collect::<Vec<_>>().join(" "))
        }

        proptest! {
            #[test]
            fn daemons_merge_in_any_order_to_the_same(
                (one, other) in daemons().prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle()))
            ) {
                prop_assert_eq!(merged(&one), merged(&other));
            }

            #[test]
            fn what_goes_in_comes_out(daemons in daemons()) {
                let Some(merged) = merged(&daemons) else { return Ok(()) };
                for daemon in &daemons {
                    for variable in &daemon.parts.variables {
                        prop_assert!(merged.contains(&variable.name));
                    }
                    for mount in &daemon.parts.mounts {
                        prop_assert!(merged.contains(mount.container.to_str().unwrap()));
                    }
                    prop_assert!(merged.contains(&daemon.name));
                }
            }

            #[test]
            fn whether_two_daemons_get_along_does_not_depend_on_who_comes_first(
                mut daemons in daemons()
            ) {
                let before = merged(&daemons).is_some();
                daemons.reverse();
                prop_assert_eq!(merged(&daemons).is_some(), before);
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", BundleSpec::new().secret("A", "hunter2"));
        assert!(shown.contains("Secret(***)") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_guest_has_an_image_and_no_daemons() {
        let spec = || BundleSpec::new().image("agent");
        for (spec, is_fine) in [
            (spec(), true),
            (spec().clear_daemons(), true),
            (spec().daemon(Daemon::new("egress")), false),
            (BundleSpec::new(), false),
        ] {
            assert_eq!(spec.check_for_guest().is_ok(), is_fine, "{spec:?}");
        }
    }

    #[test]
    fn only_a_path_of_the_host_has_a_label_to_set() {
        let relabelled = |spec: BundleSpec| {
            spec.relabel("/data", crate::Relabel::Shared).check(&Naming::default()).is_ok()
        };
        assert!(relabelled(BundleSpec::new().mount("/srv", "/data")));
        assert!(!relabelled(BundleSpec::new().volume("srv", "/data")));
        assert!(!relabelled(BundleSpec::new().tmpfs("/data", None)));
        assert!(!relabelled(BundleSpec::new().mount("/srv", "/other")));
    }

    #[test]
    fn a_variable_may_be_set_twice_to_one_value_and_not_to_two() {
        let with = |value: &str| {
            let daemon = Daemon::new("egress").variable("A", value);
            let spec = BundleSpec::new().variable("A", "x").daemon(daemon);
            spec.check(&Naming::default())
        };
        assert!(with("x").is_ok());
        assert!(with("y").unwrap_err().to_string().contains("variable A has two values"));
    }

    #[test]
    fn a_name_of_a_variable_may_begin_with_an_underscore() {
        let is_fine =
            |name: &str| BundleSpec::new().variable(name, "x").check(&Naming::default()).is_ok();
        for (name, fine) in
            [("_A", true), ("a.b-c_1", true), ("", false), ("1A", false), ("-A", false)]
        {
            assert_eq!(is_fine(name), fine, "{name:?}");
        }
    }
}
