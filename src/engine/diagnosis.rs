//! From what an engine printed to its cause: one table.

/// Why an engine's command failed, as far as its text says.
///
/// Nothing is decided by a cause that could be decided by asking the engine again: a text that no rule
/// knows is [`Other`](Self::Other), and everything works as it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The engine's program does not exist.
    ProgramMissing,
    /// The command was killed at its deadline.
    TimedOut,
    /// The engine does not answer.
    EngineUnreachable,
    /// The engine's socket may not be opened by this user.
    PermissionDenied,
    /// A network of this name exists.
    NetworkExists,
    /// The subnet overlaps one that exists.
    SubnetOverlap,
    /// The image is neither here nor to be had.
    ImageMissing,
    /// The source of a mount does not exist on the engine's host.
    MountSourceMissing,
    /// A container of this name exists.
    ContainerNameTaken,
    /// The container's program does not exist in its image, or cannot be run.
    CommandNotRun,
    /// The address belongs to another container.
    AddressTaken,
    /// The network has containers attached.
    NetworkInUse,
    /// The network does not exist.
    NetworkMissing,
    /// The container does not exist.
    ContainerMissing,
    /// Somebody else is removing it already.
    RemovalInProgress,
    /// None of these.
    Other,
}

/// What the texts say, and whether a command that ends with them has made nothing.
pub(crate) fn diagnose(text: &str) -> (Cause, MadeNothing) {
    let text = text.to_lowercase();
    RULES
        .iter()
        .find(|rule| rule.fits(&text))
        .map_or((Cause::Other, MadeNothing(false)), |rule| (rule.cause, rule.made_nothing))
}

/// Whether a create that ended so is certain to have made nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MadeNothing(pub(crate) bool);

struct Rule {
    cause: Cause,
    made_nothing: MadeNothing,
    /// Lower case; any of these, each being all of its parts.
    any: &'static [&'static [&'static str]],
    /// And none of these.
    none: &'static [&'static str],
}

impl Rule {
    fn fits(&self, text: &str) -> bool {
        self.any.iter().any(|all| all.iter().all(|part| text.contains(part)))
            && !self.none.iter().any(|part| text.contains(part))
    }

    const fn but_not(self, none: &'static [&'static str]) -> Self {
        Self { none, ..self }
    }
}

const fn certain(cause: Cause, any: &'static [&'static [&'static str]]) -> Rule {
    Rule { cause, made_nothing: MadeNothing(true), any, none: &[] }
}

const fn uncertain(cause: Cause, any: &'static [&'static [&'static str]]) -> Rule {
    Rule { cause, made_nothing: MadeNothing(false), any, none: &[] }
}

/// The first rule that fits wins. Docker 20.10 to 29, podman 3 to 5, nerdctl 2.
const RULES: &[Rule] = &[
    certain(Cause::PermissionDenied, &[&["permission denied while trying to connect"]]),
    // The connection may have been lost after the request was sent.
    uncertain(Cause::EngineUnreachable, &[&["error during connect"]]),
    certain(
        Cause::EngineUnreachable,
        &[
            &["cannot connect to the docker daemon"],
            &["failed to connect to the docker api"],
            &["cannot connect to podman"],
            &["unable to connect to podman"],
            &["cannot access containerd socket"],
        ],
    ),
    certain(
        Cause::NetworkExists,
        &[
            &["network with name", "already exists"],
            &["already used: network already exists"],
            &["the network name", "already used"],
        ],
    ),
    certain(
        Cause::SubnetOverlap,
        &[
            &["pool overlaps"],
            &["overlaps with other one"],
            &["overlapping ipv4"],
            &["already used on the host or by another config"],
            &["already being used by a cni"],
            &["being used by a network interface"],
            &["failed to allocate gateway", "already in use"],
        ],
    ),
    certain(
        Cause::MountSourceMissing,
        &[&["bind source path does not exist"], &["statfs", "no such file or directory"]],
    ),
    certain(
        Cause::ContainerNameTaken,
        &[&["container name", "already in use by"], &["is already used by id"]],
    ),
    uncertain(
        Cause::CommandNotRun,
        &[
            &["oci runtime", "executable file not found"],
            &["oci runtime", "no such file or directory"],
            &["oci runtime", "permission denied"],
        ],
    ),
    uncertain(
        Cause::NetworkInUse,
        &[&["active endpoints"], &["has associated containers"], &["is in use by container"]],
    ),
    uncertain(Cause::RemovalInProgress, &[&["is already in progress"]]),
    uncertain(Cause::ContainerMissing, &[&["no such container"]]),
    uncertain(
        Cause::NetworkMissing,
        &[
            &["no such network"],
            &["network ", " not found"],
            &["unknown network "],
            &["unable to find network"],
            &["no network found matching"],
        ],
    ),
    // A host's port that is taken says so too.
    uncertain(
        Cause::AddressTaken,
        &[&["address already in use"], &["is already allocated to container"]],
    )
    .but_not(&["bind", "port is already allocated"]),
    // The program says first that it has to pull, whatever fails afterwards.
    certain(
        Cause::ImageMissing,
        &[
            &["unable to find image"],
            &["no such image"],
            &["image not known"],
            &["pull access denied"],
            &["manifest for", "not found"],
            &["did not resolve to an alias"],
            &["initializing source docker://"],
        ],
    )
    .but_not(&["downloaded newer image"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_leads_to_its_cause() {
        use Cause::*;
        for (text, cause) in [
            ("Error response from daemon: network with name N already exists", NetworkExists),
            ("network name N already used: network already exists", NetworkExists),
            (
                "invalid pool request: Pool overlaps with other one on this address space",
                SubnetOverlap,
            ),
            ("Error response from daemon: network N not found\nexit status 1", NetworkMissing),
            ("Error: No such network: N", NetworkMissing),
            ("error while removing network: network N id ID has active endpoints", NetworkInUse),
            ("Error response from daemon: No such container: C", ContainerMissing),
            ("removal of container C is already in progress", RemovalInProgress),
            (
                "docker: Error response from daemon: Conflict. The container name \"/C\" is already in use by container \"ID\". You have to remove (or rename) that container to be able to reuse that name.",
                ContainerNameTaken,
            ),
            (
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
                EngineUnreachable,
            ),
            (
                "failed to connect to the docker API at unix:///x; check if the path is correct and if the daemon is running: dial unix /x",
                EngineUnreachable,
            ),
            (
                "Got permission denied while trying to connect to the Docker daemon socket at unix:///x: Get ...: dial unix /x: connect: permission denied",
                PermissionDenied,
            ),
            (
                "docker: Error response from daemon: invalid mount config for type \"bind\": bind source path does not exist: /nope\n\nRun 'docker run --help' for more information",
                MountSourceMissing,
            ),
            ("docker: Error response from daemon: Address already in use.", AddressTaken),
            ("listen tcp 0.0.0.0:80: bind: address already in use", Other),
            (
                "Unable to find image 'I' locally\ndocker: Error response from daemon: pull access denied for I",
                ImageMissing,
            ),
            (
                "docker: Error response from daemon: OCI runtime create failed: runc create failed: unable to start container process: exec: \"nope\": executable file not found in $PATH: unknown.",
                CommandNotRun,
            ),
            (
                "Unable to find image 'I' locally\nStatus: Downloaded newer image for I\ndocker: Error response from daemon: OCI runtime create failed",
                Other,
            ),
            ("daemon not found", Other),
            ("", Other),
        ] {
            assert_eq!(diagnose(text).0, cause, "{text}");
        }
    }

    #[test]
    fn a_lost_connection_leaves_it_open_whether_something_was_made() {
        assert_eq!(diagnose("error during connect: Post: EOF").1, MadeNothing(false));
        assert_eq!(diagnose("no text that we know").1, MadeNothing(false));
        assert_eq!(diagnose("Cannot connect to the Docker daemon at x").1, MadeNothing(true));
    }
}
