//! The network options that an engine supports.

use std::fmt;

use super::error::EngineError;
use super::identity::{EngineInfo, EngineKind};
use crate::container::{CheckedSpec, HostAddress};
use crate::invalid::InvalidInput;
use crate::plan::{GatewayMode, NetworkOptions};

/// An option or operation that the engine, or the way to it, does not have. Nothing has been touched.
///
/// ```no_run
/// # use sidecar_bundle::{Engine, Error, GatewayMode, NetworkOptions, NetworkPlanned};
/// # fn run(plan: NetworkPlanned, engine: &Engine) -> Result<(), Error> {
/// let isolated = NetworkOptions::new().internal(true).gateway_mode(GatewayMode::Isolated);
/// let network = match plan.clone().with_options(isolated).create_network(engine).map_err(Error::from) {
///     Err(Error::Unsupported(it)) => {
///         eprintln!("without {}: {} does not have it", it.option(), it.engine());
///         plan.with_options(NetworkOptions::new().internal(true)).create_network(engine)?
///     }
///     created => created?,
/// };
/// # network.close()
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    what: String,
    needs: String,
    engine: String,
}

impl Unsupported {
    pub(crate) fn new(what: String, needs: &str, info: &EngineInfo) -> Self {
        Self { what, needs: needs.to_owned(), engine: info.to_string() }
    }

    /// An operation that commands cannot do.
    pub(crate) fn by_commands(what: &str, info: &EngineInfo) -> Self {
        let engine = format!("Engine::docker_cli() on {info}");
        Self { what: what.to_owned(), needs: "Engine::docker()".into(), engine }
    }

    /// The name of the engine's host. A rootless engine does not tell an address of it that a container reaches, and
    /// podman none by docker's commands.
    pub(super) fn host_gateway(
        spec: &CheckedSpec,
        info: &EngineInfo,
        by_commands: bool,
    ) -> Option<Self> {
        let mut hosts = spec.options.hosts.iter();
        let (name, _) = hosts.find(|(_, address)| *address == HostAddress::Gateway)?;
        let what = format!("{name}, a name of the engine's host,");
        if info.rootless {
            return Some(Self::new(what, "an engine that is not rootless", info));
        }
        let is_podman = info.kind == EngineKind::Podman;
        (is_podman && by_commands).then(|| {
            let engine = format!("Engine::docker_cli() on {info}");
            Self { what, needs: "Engine::podman()".into(), engine }
        })
    }

    /// The label of a mount, which Docker sets only where it would make a missing source.
    pub(super) fn relabelling(spec: &CheckedSpec, info: &EngineInfo) -> Option<Self> {
        let mount = spec.mounts.iter().find(|it| it.relabel.is_some())?;
        let what = format!("the label of the mount at {}", mount.container);
        Some(Self::new(what, "Engine::podman()", info))
    }

    /// A path of this host, which an engine elsewhere does not see.
    pub(crate) fn mount(host: &str, container: &str, info: &EngineInfo, endpoint: &str) -> Self {
        let what = format!("the mount of {host} at {container}");
        let needs = "an engine on this host, or a ContainerFile in its place".to_owned();
        Self { what, needs, engine: format!("{info} at {endpoint}") }
    }

    /// The option or operation.
    #[must_use]
    pub fn option(&self) -> &str {
        &self.what
    }

    /// The engines, or the way to one, that have it.
    #[must_use]
    pub fn needs(&self) -> &str {
        &self.needs
    }

    /// This engine, with its version and, for commands, the way to it.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs {}, and this is {}", self.what, self.needs, self.engine)
    }
}

impl std::error::Error for Unsupported {}

/// The reason why a container cannot be made as it is specified. Nothing has been touched.
#[derive(Debug)]
pub(crate) enum Refused {
    Invalid(InvalidInput),
    Unsupported(Unsupported),
    /// The engine's place is not known.
    Unknown(EngineError),
}

impl From<Unsupported> for Refused {
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}

impl EngineInfo {
    /// Checks that the engine can create a network with these options, and with IPv6 if that is planned.
    pub(crate) fn supports(&self, options: &NetworkOptions, ipv6: bool) -> Result<(), Unsupported> {
        match needs(options, ipv6).into_iter().find(|need| !need.is_met_by(self)) {
            None => Ok(()),
            Some(need) => {
                Err(Unsupported { needs: need.least(), what: need.what, engine: self.to_string() })
            }
        }
    }
}

/// An option that not every engine has, and the versions that have it.
pub(crate) struct Need {
    pub(crate) what: String,
    docker: Option<(u32, u32)>,
    podman: Option<(u32, u32)>,
}

impl Need {
    pub(crate) fn is_met_by(&self, info: &EngineInfo) -> bool {
        let least = match info.kind {
            EngineKind::Docker => self.docker,
            EngineKind::Podman => self.podman,
        };
        least.is_some_and(|least| info.version() >= least)
    }

    /// `Docker 28.0`, or what else would do.
    pub(crate) fn least(&self) -> String {
        let say = |name: &str, least: Option<(u32, u32)>| {
            least.map(|(major, minor)| match (major, minor) {
                (0, 0) => name.to_owned(),
                _ => format!("{name} {major}.{minor}"),
            })
        };
        let engines = [say("Docker", self.docker), say("Podman", self.podman)];
        engines.into_iter().flatten().collect::<Vec<_>>().join(" or ")
    }
}

pub(super) fn needs(options: &NetworkOptions, ipv6: bool) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |what: String, docker, podman| needs.push(Need { what, docker, podman });
    if options.is_overlay() {
        need("an overlay network".into(), Some((0, 0)), None);
    }
    if options.bridge_name.is_some() {
        need("a bridge's name".into(), Some((0, 0)), Some((4, 5)));
    }
    if options.masquerade == Some(false) {
        need("no masquerading".into(), Some((0, 0)), None);
    }
    let least = match options.gateway_mode {
        GatewayMode::Nat => None,
        GatewayMode::Routed => Some((27, 0)),
        GatewayMode::NatUnprotected | GatewayMode::Isolated => Some((28, 0)),
    };
    if least.is_some() {
        need(format!("gateway mode {}", options.gateway_mode), least, None);
    }
    if !options.trusted_host_interfaces.is_empty() {
        need("a trusted host interface".into(), Some((28, 2)), None);
    }
    // Before, Docker filters IPv6 only as an experiment, and 20.10 gives an internal network a way out.
    for (wanted, what) in
        [(options.internal, "an internal network"), (options.isolated, "isolation")]
    {
        if wanted && ipv6 {
            need(format!("{what} with IPv6"), Some((27, 0)), Some((0, 0)));
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::container::{BundleSpec, Relabel};
    use crate::plan::Naming;

    #[test]
    fn the_label_of_a_mount_is_for_podman_alone() {
        let info = EngineInfo::read(&json!({"ServerVersion": "28.5.2"})).unwrap();
        let lacks = |spec: BundleSpec| {
            let spec = spec.mount("/", "/here").check(&Naming::default()).unwrap();
            Unsupported::relabelling(&spec, &info).map(|it| it.to_string())
        };
        assert_eq!(lacks(BundleSpec::new()), None);
        let lacks = lacks(BundleSpec::new().relabel("/here", Relabel::Shared)).unwrap();
        assert!(lacks.contains("the label of the mount at /here"), "{lacks}");
    }

    #[test]
    fn what_an_engine_lacks_is_known() {
        let lacks = |info: serde_json::Value| -> Vec<String> {
            let info = EngineInfo::read(&info).unwrap();
            let needs = needs(&NetworkOptions::all(), true)
                .into_iter()
                .filter(|need| !need.is_met_by(&info));
            needs.map(|need| format!("{} needs {}", need.what, need.least())).collect()
        };
        let podman = |version: &str| {
            let host = json!({"security": {"rootless": false}});
            lacks(json!({"host": host, "version": {"Version": version}}))
        };
        let docker = |version: &str| lacks(json!({"ServerVersion": version}));
        let internal = "an internal network with IPv6 needs Docker 27.0 or Podman";
        let isolation = "isolation with IPv6 needs Docker 27.0 or Podman";
        let (mode, trusted) =
            ("gateway mode routed needs Docker 27.0", "a trusted host interface needs Docker 28.2");
        assert_eq!(docker("20.10.24+dfsg1"), [mode, trusted, internal, isolation]);
        assert_eq!(docker("28.1.1"), [trusted]);
        assert!(docker("28.2.0").is_empty() && docker("29.0.0").is_empty());
        let (name, masquerading) =
            ("a bridge's name needs Docker or Podman 4.5", "no masquerading needs Docker");
        assert_eq!(podman("4.3.1"), [name, masquerading, mode, trusted]);
        assert_eq!(podman("5.4.2"), [masquerading, mode, trusted]);
    }
}
