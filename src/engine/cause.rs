//! The cause of an engine's failure: one table of the texts that engines print.

/// The cause of an engine's failure, as far as its message tells.
///
/// A message that no rule knows is [`Other`](Self::Other). Little depends on it: an engine that says that a resource
/// does not exist, or that nothing was made, is believed; elsewhere the engine is asked again.
///
/// ```
/// use sidecar_bundle::Cause;
///
/// fn remedy(cause: Cause) -> &'static str {
///     match cause {
///         Cause::EngineUnreachable | Cause::ProgramMissing => "start Docker",
///         Cause::ImageMissing => "log in to the registry",
///         _ => "read the log",
///     }
/// }
/// assert_eq!(remedy(Cause::of("No such image: acme/proxy:7")), "log in to the registry");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Cause {
    /// The engine's program does not exist.
    ProgramMissing,
    /// The request has not ended by its deadline. A command was killed, if that was allowed.
    TimedOut,
    /// The engine does not answer.
    EngineUnreachable,
    /// The engine's socket may not be opened by this user.
    PermissionDenied,
    /// A network of this name exists.
    NetworkExists,
    /// The network does not exist.
    NetworkMissing,
    /// Several networks have this name, or an id that begins with it.
    NetworkAmbiguous,
    /// The network has containers attached.
    NetworkInUse,
    /// The network is the engine's own, and cannot be removed.
    NetworkPredefined,
    /// The subnet overlaps one that exists.
    SubnetOverlap,
    /// The engine's own pools have no subnet left; a planned subnet needs none of them.
    PoolsExhausted,
    /// The gateway is not in the subnet.
    GatewayOutsideSubnet,
    /// The subnet has host bits set.
    HostBits,
    /// The container's address is not in the network's subnet.
    AddressOutsideSubnet,
    /// The network's subnet is the engine's choice, and so are addresses in it.
    AddressNotSupported,
    /// The address belongs to another container.
    AddressTaken,
    /// The network has no address left for a container that asks for none.
    NoAddressLeft,
    /// A port of the host is taken.
    PortTaken,
    /// A container of this name exists.
    ContainerNameTaken,
    /// The container does not exist.
    ContainerMissing,
    /// Somebody else is removing it already.
    RemovalInProgress,
    /// The image does not exist on the engine, and was not pulled.
    ImageMissing,
    /// The source of a mount does not exist on the engine's host.
    MountSourceMissing,
    /// The container's program does not exist in its image, or cannot be run.
    CommandNotRun,
    /// The program or its engine does not know an option.
    UnknownOption,
    /// The engine is in no swarm.
    SwarmMissing,
    /// The engine is no manager of a swarm, which creates and removes overlay networks.
    NotSwarmManager,
    /// The managers of the swarm are not reached, too few of them are online, or the engine is locked.
    SwarmUnreachable,
    /// The swarm has not attached the container to its network within 20 seconds. Mostly the address belongs to another
    /// container, on whatever node. It may also be that the subnet has no address left, or overlaps a network of the node,
    /// or that the swarm has lost its leader meanwhile.
    NotAttached,
    /// The engine that answers at the address is not the one that was asked before.
    AnotherEngine,
    /// None of these.
    Other,
}

impl Cause {
    /// Looks up the message of an engine's program, of any engine and version.
    ///
    /// One line of it must tell the cause.
    ///
    /// ```
    /// use sidecar_bundle::Cause;
    ///
    /// let said = "Error response from daemon: network acme not found\nexit status 1";
    /// assert_eq!(Cause::of(said), Cause::NetworkMissing);
    /// assert_eq!(Cause::of("the moon is full"), Cause::Other);
    /// ```
    #[must_use]
    pub fn of(text: &str) -> Self {
        diagnose(text).0
    }
}

/// The cause of a message, and the certainty that a command that ends with it has made nothing.
pub(crate) fn diagnose(text: &str) -> (Cause, MadeNothing) {
    // A part may begin or end with a space, which stands for the border of a line, too.
    let line = |line: &str| format!(" {} \n", line.trim());
    let text: String = text.to_lowercase().lines().map(line).collect();
    RULES
        .iter()
        .find(|rule| rule.fits(&text))
        .map_or((Cause::Other, MadeNothing(false)), |rule| (rule.cause, rule.made_nothing))
}

/// The certainty that a create has made nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MadeNothing(pub(crate) bool);

struct Rule {
    cause: Cause,
    made_nothing: MadeNothing,
    /// Lower case; any of these, each being all of its parts in one line.
    any: &'static [&'static [&'static str]],
    /// And none of these in any line.
    none: &'static [&'static str],
}

impl Rule {
    fn fits(&self, text: &str) -> bool {
        self.any.iter().any(|all| has_line(text, all))
            && !self.none.iter().any(|part| text.contains(part))
    }

    const fn but_not(self, none: &'static [&'static str]) -> Self {
        Self { none, ..self }
    }
}

/// Lines may be of several programs, and parts of two of them mean nothing together.
fn has_line(text: &str, parts: &[&str]) -> bool {
    text.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

const fn certain(cause: Cause, any: &'static [&'static [&'static str]]) -> Rule {
    Rule { cause, made_nothing: MadeNothing(true), any, none: &[] }
}

const fn uncertain(cause: Cause, any: &'static [&'static [&'static str]]) -> Rule {
    Rule { cause, made_nothing: MadeNothing(false), any, none: &[] }
}

/// The first rule that fits wins. Docker 20.10 to 29, podman 3 to 5, nerdctl 2.
///
/// Of a container, what fails at its start leaves it behind, created; so nothing is certain there.
const RULES: &[Rule] = &[
    certain(Cause::PermissionDenied, &[&["permission denied while trying to connect"]]),
    // The connection may have been lost after the request was sent.
    uncertain(
        Cause::EngineUnreachable,
        &[
            &["error during connect"],
            &["cannot connect to podman"],
            &["unable to connect to podman"],
        ],
    ),
    certain(
        Cause::EngineUnreachable,
        &[
            &["cannot connect to the docker daemon"],
            &["failed to connect to the docker api"],
            &["cannot access containerd socket"],
            &["rootless containerd not running"],
        ],
    ),
    certain(
        Cause::UnknownOption,
        &[&["unknown flag"], &["unknown shorthand flag"], &["unsupported", "network option"]],
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
        Cause::NotSwarmManager,
        &[
            &["this node is not a swarm manager"],
            &["cannot create a multi-host network from a worker node"],
        ],
    ),
    uncertain(Cause::NotAttached, &[&["attaching to network failed", "context deadline exceeded"]]),
    // A request that was under way may be carried out by the next leader.
    uncertain(
        Cause::SwarmUnreachable,
        &[
            &["the swarm does not have a leader"],
            &["node lost leader status"],
            &["could not attach to network", "context deadline exceeded"],
        ],
    ),
    // Before the overlap: one of these texts says "non-overlapping".
    certain(
        Cause::PoolsExhausted,
        &[
            &["non-overlapping ipv4 address pool"],
            &["fully subnetted"],
            &["free subnet from subnet pools"],
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
        Cause::GatewayOutsideSubnet,
        &[
            &["no matching subnet", "for gateway"],
            &["invalid gateway", "doesn't contain this address"],
            &["gateway", "not in valid for subnet"],
            &["gateway", "not in subnet"],
        ],
    ),
    certain(
        Cause::HostBits,
        &[&["invalid subnet", "it should be"], &["unexpected subnet", "maybe you meant"]],
    ),
    // Before a mount: one of these texts says of a program that there is no such file.
    uncertain(
        Cause::CommandNotRun,
        &[
            &["oci runtime", "executable file not found"],
            &["oci runtime", "no such file or directory"],
            &["oci runtime", "permission denied"],
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
        Cause::NetworkInUse,
        &[
            &["active endpoints"],
            &["has associated containers"],
            &["is in use by container"],
            &["is in use by task"],
        ],
    ),
    uncertain(
        Cause::NetworkPredefined,
        &[&["is a pre-defined network"], &["default network", "cannot be removed"]],
    ),
    uncertain(
        Cause::NetworkAmbiguous,
        &[&["is ambiguous", "matches found on name"], &["more than one result for network"]],
    ),
    uncertain(Cause::RemovalInProgress, &[&["is already in progress"]]),
    uncertain(Cause::ContainerMissing, &[&["no such container"]]),
    uncertain(
        Cause::AddressOutsideSubnet,
        &[
            &["it does not belong to any of this network's subnets"],
            &["no configured subnet or ip-range contain the ip address"],
            &["no configured subnet contains ip address"],
            &["requested static ip", "not in any subnet"],
        ],
    ),
    uncertain(Cause::AddressNotSupported, &[&["user specified ip address is supported only"]]),
    uncertain(
        Cause::NoAddressLeft,
        &[&["no available ipv4 addresses"], &["failed to find free ip in range"]],
    ),
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
    uncertain(
        Cause::PortTaken,
        &[
            &["port is already allocated"],
            &["listen", "bind: address already in use"],
            &["failed to bind host port", "address already in use"],
        ],
    ),
    uncertain(
        Cause::AddressTaken,
        &[
            &["address already in use"],
            &["is already allocated to container"],
            &["requested ip address", "is not available in range set"],
        ],
    ),
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
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The cause's name, whose text it is, and the text.
    fn corpus() -> Vec<(&'static str, &'static str, &'static str)> {
        let (_, texts) =
            include_str!("../../tests/vectors/engine-texts.txt").split_once("\n== ").unwrap();
        let entry = |text: &'static str| {
            let (heading, text) = text.split_once('\n').unwrap();
            let (cause, engine) = heading.split_once(" | ").unwrap();
            (cause, engine, text.trim_end())
        };
        texts.split("\n== ").map(entry).collect()
    }

    #[test]
    fn every_text_of_every_engine_leads_to_its_cause() {
        let corpus = corpus();
        assert!(corpus.len() > 80, "{}", corpus.len());
        for (cause, engine, text) in corpus {
            assert_eq!(format!("{:?}", Cause::of(text)), cause, "{engine}: {text}");
        }
    }

    #[test]
    fn every_rule_has_a_text() {
        let corpus = corpus();
        for rule in RULES {
            for all in rule.any {
                let has = |text: &str| has_line(&text.to_lowercase(), all);
                let cause = format!("{:?}", rule.cause);
                let used = corpus.iter().any(|(theirs, _, text)| *theirs == cause && has(text));
                assert!(used, "{cause}: {all:?} is believed, and no engine says it");
            }
        }
        let named: BTreeSet<_> = corpus.iter().map(|(cause, _, _)| (*cause).to_owned()).collect();
        let ruled: BTreeSet<_> = RULES.iter().map(|rule| format!("{:?}", rule.cause)).collect();
        assert_eq!(named.into_iter().filter(|it| it != "Other").collect::<BTreeSet<_>>(), ruled);
    }

    #[test]
    fn what_is_known_is_known_beside_any_other_line() {
        let known = "docker: invalid mount config: bind source path does not exist: /no/such/path";
        assert_eq!(
            Cause::of(&format!("runc is an OCI runtime\n{known}")),
            Cause::MountSourceMissing
        );
    }

    #[test]
    fn lines_that_mean_nothing_alone_mean_nothing_together() {
        for (text, cause) in [
            (
                "runc is an OCI runtime\nError: statfs /x: no such file or directory",
                Cause::MountSourceMissing,
            ),
            (
                "WARNING: no network is configured\nError response from daemon: page not found",
                Cause::Other,
            ),
            (
                "warning: the container name is long\nError: port 80 already in use by nginx",
                Cause::Other,
            ),
        ] {
            assert_eq!(Cause::of(text), cause, "{text}");
        }
    }

    #[test]
    fn white_space_around_a_line_changes_nothing() {
        for text in [
            "unknown network",
            "unknown network ",
            "\r\n\t unknown network \n",
            "a\nunknown network\nb",
        ] {
            assert_eq!(Cause::of(text), Cause::NetworkMissing, "{text:?}");
        }
        assert_eq!(Cause::of("unknown\nnetwork x"), Cause::Other);
    }

    #[test]
    fn a_lost_connection_leaves_it_open_whether_something_was_made() {
        assert_eq!(diagnose("error during connect: Post: EOF").1, MadeNothing(false));
        assert_eq!(diagnose("no text that we know").1, MadeNothing(false));
        assert_eq!(diagnose("Cannot connect to the Docker daemon at x").1, MadeNothing(true));
    }

    proptest! {
        /// Text around a message, and upper case, change nothing.
        #[test]
        fn the_cause_is_in_the_text_alone(
            index in any::<prop::sample::Index>(),
            before in prop::sample::select(vec!["", "docker: ", "Error response from daemon: ", "time=\"x\" level=warning\n"]),
            after in prop::sample::select(vec!["", "\nexit status 1", "\n\nRun 'docker run --help' for more information", "\nSee 'docker run --help'."]),
            upper: bool,
        ) {
            let corpus = corpus();
            let (cause, _, text) = corpus[index.index(corpus.len())];
            let text = format!("{before}{text}{after}");
            let text = if upper { text.to_uppercase() } else { text };
            prop_assert_eq!(format!("{:?}", Cause::of(&text)), cause, "{}", text);
        }

        #[test]
        fn any_text_has_a_cause(text in ".*") {
            let cause = Cause::of(&text);
            prop_assert_eq!(Cause::of(&text.to_lowercase()), cause);
        }
    }
}
