//! The options of a bundle's network, beyond its addresses.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::invalid::InvalidInput;

/// Options of a bundle's network, all of them optional.
///
/// ```
/// use sidecar_bundle::{NetworkOptions, NetworkPlanned, Slug};
///
/// let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let options = NetworkOptions::new().internal(true).mtu(1400).bridge_name("sb-demo");
/// let plan = plan.with_options(options);
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// An option that the engine does not have is [`Error::Unsupported`](crate::Error::Unsupported), before anything
/// is created:
///
/// | option | Docker | podman (netavark) |
/// |---|---|---|
/// | [`mtu`](Self::mtu), [`label`](Self::label), [`driver_option`](Self::driver_option) | yes | yes |
/// | [`internal`](Self::internal) | yes; with IPv6 from 27.0 | yes |
/// | [`isolated`](Self::isolated) | always is; with IPv6 from 27.0 | yes |
/// | [`bridge_name`](Self::bridge_name) | yes | from 4.5 |
/// | [`masquerade(false)`](Self::masquerade) | yes | no |
/// | [`gateway_mode`](Self::gateway_mode): `Nat` | yes | always is |
/// | `Routed` | from 27.0 | no |
/// | `NatUnprotected` and `Isolated` | from 28.0 | no |
/// | [`trusted_host_interface`](Self::trusted_host_interface) | from 28.2 | no |
/// | [`overlay`](Self::overlay), [`encrypted`](Self::encrypted) | yes | no |
///
/// Only a swarm's manager creates an overlay. Another engine is
/// [`Error::CreateNetwork`](crate::Error::CreateNetwork) with a [`Cause`](crate::Cause), and an overlay with IPv6 is
/// [`Error::Invalid`](crate::Error::Invalid), both before anything is created.
///
/// A label of the network holds the options. So a network that was kept is taken over only with the options that it
/// was planned with, and the plan of an attached bundle has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    driver: Driver,
    pub(crate) encrypted: bool,
    pub(crate) internal: bool,
    pub(crate) isolated: bool,
    pub(crate) mtu: Option<u32>,
    pub(crate) bridge_name: Option<String>,
    pub(crate) masquerade: Option<bool>,
    pub(crate) gateway_mode: GatewayMode,
    pub(crate) trusted_host_interfaces: Vec<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) driver_options: Vec<(String, String)>,
}

/// The engine's driver of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Driver {
    #[default]
    Bridge,
    Overlay,
}

/// The way of packets into and out of a bundle's network, for IPv4 and, if there is any, IPv6.
///
/// ```
/// use sidecar_bundle::{Engine, GatewayMode, NetworkOptions, NetworkPlanned, Slug};
///
/// let isolated = NetworkOptions::new().gateway_mode(GatewayMode::Isolated);
/// let plan = NetworkPlanned::new(Slug::new("demo")?).with_options(isolated);
/// let refused = plan.create_network(&Engine::docker()).unwrap_err().to_string();
/// assert!(refused.contains("is for an internal network"));
/// # Ok::<(), sidecar_bundle::InvalidInput>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GatewayMode {
    /// Packets that leave are masqueraded, and packets come in by published ports. From version 28 on, Docker
    /// drops packets to a container's address that arrive by any interface but the bridge, such as a
    /// virtual machine's TAP.
    #[default]
    Nat,
    /// As `Nat`, but no packets to a container's address are dropped.
    NatUnprotected,
    /// Nothing is masqueraded; published ports of a container are open at its own address.
    Routed,
    /// The bridge has no address, so the host cannot reach the bundle. Only for an
    /// [`internal`](NetworkOptions::internal) network.
    Isolated,
}

/// Prints the value of the engine's option.
impl fmt::Display for GatewayMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nat => "nat",
            Self::NatUnprotected => "nat-unprotected",
            Self::Routed => "routed",
            Self::Isolated => "isolated",
        })
    }
}

impl NetworkOptions {
    /// No options: the engine's defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the network is an attachable overlay network of Docker Swarm, which spans the hosts of a swarm. By
    /// default it is a bridge of one host.
    ///
    /// A manager of the swarm creates and removes it. [`guest_on`](crate::BundleRunning::guest_on) starts guests on any
    /// node. No host is on an overlay network, not that of the bundle either: only containers reach the bundle's address.
    /// Packets travel between hosts in the clear, unless they are [encrypted](Self::encrypted). It has no IPv6, since
    /// Docker does not keep a planned address there, and none of the options of a bridge. Its subnet has an address for
    /// each node, too: [`create_network`](crate::NetworkPlanned::create_network) refuses one without a
    /// [dynamic range](crate::Addressing::dynamic_range).
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkOptions, NetworkPlanned, Slug};
    ///
    /// let (manager, worker) = (Engine::docker(), Engine::docker().with_host("ssh://me@worker"));
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let plan = plan.with_options(NetworkOptions::new().overlay(true).internal(true));
    /// let bundle = plan.launch(&manager, BundleSpec::new())?;
    /// let agent = bundle.guest_on(&worker, "agent", BundleSpec::new().image("acme/agent:7"))?;
    /// println!("{} may talk to {}", agent.ip(), bundle.ip());
    /// agent.close()?;
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn overlay(self, overlay: bool) -> Self {
        let driver = if overlay { Driver::Overlay } else { Driver::Bridge };
        Self { driver, ..self }
    }

    /// Sets whether the packets of an [overlay](Self::overlay) network are encrypted between hosts. The kernels of all of
    /// them need ESP: Docker does not look, and where it is missing, no packet arrives.
    #[must_use]
    pub fn encrypted(self, encrypted: bool) -> Self {
        Self { encrypted, ..self }
    }

    /// Sets whether the network has no way out of the host. Its containers still reach each other, and the host at the
    /// network's gateway, with whatever listens there; on Docker from 28 on, [`GatewayMode::Isolated`] ends the latter.
    /// A port can only be published through a [second network](crate::BundleSpec::also_on).
    #[must_use]
    pub fn internal(self, internal: bool) -> Self {
        Self { internal, ..self }
    }

    /// Sets whether this network is isolated from the other networks of the engine. Docker's bridges always are, but
    /// before 27.0 for IPv4 only. Podman isolates two networks if both have this option.
    #[must_use]
    pub fn isolated(self, isolated: bool) -> Self {
        Self { isolated, ..self }
    }

    /// The largest packet that the network's interfaces take, in bytes: 68 to 65535, and at least 1280 with
    /// IPv6. The containers' interfaces on an [overlay](Self::overlay) network take 50 bytes less.
    #[must_use]
    pub fn mtu(self, bytes: impl Into<Option<u32>>) -> Self {
        Self { mtu: bytes.into(), ..self }
    }

    /// The name of the network's bridge, for firewall rules: 1 to 15 bytes, of letters, digits, `-`, `_`
    /// and `.`. [`NetworkPlanned::derived_bridge_name`](crate::NetworkPlanned::derived_bridge_name) has
    /// one for each slug. The name of an interface that the host has already is refused: the engine would change
    /// that interface's addresses.
    #[must_use]
    pub fn bridge_name(self, name: impl Into<String>) -> Self {
        Self { bridge_name: Some(name.into()), ..self }
    }

    /// Sets whether packets that leave the network get the host's address as their source; they do by default.
    #[must_use]
    pub fn masquerade(self, masquerade: bool) -> Self {
        Self { masquerade: Some(masquerade), ..self }
    }

    /// Sets the way of packets into and out of the network.
    #[must_use]
    pub fn gateway_mode(self, mode: GatewayMode) -> Self {
        Self { gateway_mode: mode, ..self }
    }

    /// Adds an interface of the host, such as a virtual machine's TAP, from which Docker from 28.2 on lets
    /// packets through to the container's address.
    #[must_use]
    pub fn trusted_host_interface(mut self, name: impl Into<String>) -> Self {
        self.trusted_host_interfaces.push(name.into());
        self
    }

    /// Adds a label to the network; `sidecar-bundle.` is the library's own.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// Adds an option of the engine's network driver that has no method here: `--opt KEY=VALUE`. The engine
    /// decides whether it has this option.
    #[must_use]
    pub fn driver_option(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.driver_options.push((key.into(), value.into()));
        self
    }

    pub(crate) fn is_overlay(&self) -> bool {
        self.driver == Driver::Overlay
    }

    /// Checks all that can be checked without an engine.
    pub(crate) fn check(&self, ipv6: bool) -> Result<(), InvalidInput> {
        self.check_overlay(ipv6)?;
        if let Some(bytes) = self.mtu.filter(|bytes| !(68..=65_535).contains(bytes)) {
            return Err(InvalidInput::new(format_args!(
                "an MTU of {bytes} bytes is not between 68 and 65535"
            )));
        }
        if let Some(bytes) = self.mtu.filter(|bytes| ipv6 && *bytes < 1280) {
            // RFC 8200, section 5.
            return Err(InvalidInput::new(format_args!(
                "an MTU of {bytes} bytes is too small for IPv6, which needs 1280"
            )));
        }
        let interfaces = self.bridge_name.iter().chain(&self.trusted_host_interfaces);
        for name in interfaces {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
            if name.len() > 15 || !starts_well || !name.bytes().all(legal) {
                return Err(InvalidInput::new(format_args!(
                    "{name:?} is not the name of an interface; it must start with a letter or a digit, then letters, digits, '-', '_' and '.', 15 bytes at most"
                )));
            }
        }
        if self.gateway_mode == GatewayMode::Isolated && !self.internal {
            return Err(InvalidInput::new(
                "gateway mode isolated is for an internal network, and this is not one",
            ));
        }
        for (key, value) in &self.labels {
            if key.is_empty() || key.contains('=') || key.starts_with("sidecar-bundle.") {
                return Err(bad_key("label", key));
            }
            check_text("label", key, value)?;
        }
        for (key, value) in &self.driver_options {
            let ours = OURS.contains(&key.as_str());
            if key.is_empty() || key.contains('=') || ours {
                return Err(bad_key("driver option", key));
            }
            check_text("driver option", key, value)?;
        }
        Ok(())
    }

    fn check_overlay(&self, ipv6: bool) -> Result<(), InvalidInput> {
        if self.encrypted && !self.is_overlay() {
            return Err(InvalidInput::new(
                "encryption is for an overlay network, and this is not one",
            ));
        }
        if !self.is_overlay() {
            return Ok(());
        }
        let of_a_bridge = [
            ("a bridge's name", self.bridge_name.is_some()),
            ("masquerading", self.masquerade.is_some()),
            ("a gateway mode", self.gateway_mode != GatewayMode::Nat),
            ("a trusted host interface", !self.trusted_host_interfaces.is_empty()),
        ];
        if let Some((what, _)) = of_a_bridge.iter().find(|(_, is_set)| *is_set) {
            return Err(InvalidInput::new(format_args!(
                "{what} is for a bridge, and the network is an overlay"
            )));
        }
        if ipv6 {
            // Docker 20.10 gives the container another address than the pinned one, and 28 does not attach it.
            return Err(InvalidInput::new(
                "an overlay network does not keep an address of IPv6; plan without it",
            ));
        }
        Ok(())
    }

    /// The options that are not the defaults, in JSON, for a label; `None` if all are.
    pub(crate) fn to_label(&self) -> Option<String> {
        let Self { encrypted, internal, isolated, mtu, bridge_name, masquerade, .. } = self;
        let all = json!({
            "overlay": self.is_overlay().then_some(true),
            "encrypted": encrypted.then_some(true),
            "internal": internal.then_some(true),
            "isolated": isolated.then_some(true),
            "mtu": mtu,
            "bridge-name": bridge_name,
            "masquerade": masquerade,
            "gateway-mode": (self.gateway_mode != GatewayMode::Nat).then(|| self.gateway_mode.to_string()),
            "trusted-host-interfaces": some(&self.trusted_host_interfaces),
            "labels": some(&self.labels),
            "driver-options": some(&self.driver_options),
        });
        (*self != Self::default()).then(|| {
            let mut set = all.as_object().cloned().unwrap_or_default();
            set.retain(|_, value| !value.is_null());
            Value::Object(set).to_string()
        })
    }

    /// `None` if the label is not one that this release writes.
    pub(crate) fn from_label(label: Option<&str>) -> Option<Self> {
        let mut options = Self::default();
        let Some(label) = label else { return Some(options) };
        let all: Map<String, Value> = serde_json::from_str(label).ok()?;
        for (key, value) in all {
            match key.as_str() {
                "overlay" => options = options.overlay(value.as_bool()?),
                "encrypted" => options.encrypted = value.as_bool()?,
                "internal" => options.internal = value.as_bool()?,
                "isolated" => options.isolated = value.as_bool()?,
                "mtu" => options.mtu = Some(value.as_u64()?.try_into().ok()?),
                "bridge-name" => options.bridge_name = Some(value.as_str()?.to_owned()),
                "masquerade" => options.masquerade = Some(value.as_bool()?),
                "gateway-mode" => {
                    let modes =
                        [GatewayMode::NatUnprotected, GatewayMode::Routed, GatewayMode::Isolated];
                    let mut modes = modes.into_iter();
                    options.gateway_mode = modes.find(|it| value == it.to_string())?;
                }
                "trusted-host-interfaces" => {
                    options.trusted_host_interfaces = serde_json::from_value(value).ok()?;
                }
                "labels" => options.labels = serde_json::from_value(value).ok()?,
                "driver-options" => options.driver_options = serde_json::from_value(value).ok()?,
                _ => return None,
            }
        }
        Some(options)
    }
}

fn some<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

/// Driver options that have a method here, and would contradict it.
const OURS: [&str; 9] = [
    "com.docker.network.bridge.name",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
    "com.docker.network.bridge.trusted_host_interfaces",
    "com.docker.network.driver.mtu",
    "encrypted",
    "isolate",
    "mtu",
];

fn bad_key(what: &str, key: &str) -> InvalidInput {
    InvalidInput::new(format_args!(
        "{what} {key:?} cannot be set: it is empty, has a '=', or is the library's own"
    ))
}

fn check_text(what: &str, key: &str, value: &str) -> Result<(), InvalidInput> {
    let control = |text: &str| text.contains(|c: char| c.is_control());
    if control(key) || control(value) {
        return Err(InvalidInput::new(format_args!("{what} {key:?} has control characters")));
    }
    Ok(())
}

#[cfg(test)]
impl NetworkOptions {
    /// Each option.
    pub(crate) fn all() -> Self {
        Self::new()
            .internal(true)
            .isolated(true)
            .mtu(1400)
            .bridge_name("sb0")
            .masquerade(false)
            .gateway_mode(GatewayMode::Routed)
            .trusted_host_interface("tap0")
            .trusted_host_interface("tap1")
            .label("acme.role", "x")
            .driver_option("k", "v")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_travel_in_a_label() {
        assert_eq!(NetworkOptions::new().to_label(), None);
        assert_eq!(NetworkOptions::from_label(None), Some(NetworkOptions::new()));
        let options = NetworkOptions::new()
            .internal(true)
            .isolated(true)
            .mtu(1400)
            .bridge_name("sb0")
            .masquerade(false)
            .gateway_mode(GatewayMode::NatUnprotected)
            .trusted_host_interface("tap0")
            .label("a", "b,\"c\"")
            .driver_option("x", "y=z");
        let label = options.to_label().unwrap();
        assert_eq!(
            label,
            r#"{"bridge-name":"sb0","driver-options":[["x","y=z"]],"gateway-mode":"nat-unprotected","internal":true,"isolated":true,"labels":[["a","b,\"c\""]],"masquerade":false,"mtu":1400,"trusted-host-interfaces":["tap0"]}"#
        );
        assert_eq!(NetworkOptions::from_label(Some(&label)), Some(options));
        assert_eq!(NetworkOptions::from_label(Some("{\"new\":1}")), None);
    }

    #[test]
    fn an_overlay_has_no_options_of_a_bridge_and_no_ipv6() {
        let overlay = NetworkOptions::new().overlay(true);
        let all = overlay.clone().encrypted(true).internal(true).isolated(true).mtu(1400);
        all.check(false).unwrap();
        let label = all.to_label().unwrap();
        assert_eq!(
            label,
            r#"{"encrypted":true,"internal":true,"isolated":true,"mtu":1400,"overlay":true}"#
        );
        assert_eq!(NetworkOptions::from_label(Some(&label)), Some(all));
        for refused in [
            NetworkOptions::new().encrypted(true),
            overlay.clone().bridge_name("sb0"),
            overlay.clone().masquerade(true),
            overlay.clone().gateway_mode(GatewayMode::Routed),
            overlay.clone().trusted_host_interface("tap0"),
            overlay.clone().driver_option("encrypted", ""),
        ] {
            assert!(refused.check(false).is_err(), "{refused:?}");
        }
        assert!(overlay.check(true).is_err());
    }

    #[test]
    fn what_no_network_can_have_is_refused() {
        let new = NetworkOptions::new;
        let is_refused = |options: NetworkOptions, ipv6| options.check(ipv6).is_err();
        for (mtu, without, with) in [
            (67, true, true),
            (68, false, true),
            (1279, false, true),
            (1280, false, false),
            (65_535, false, false),
            (65_536, true, true),
        ] {
            assert_eq!(is_refused(new().mtu(mtu), false), without, "{mtu}");
            assert_eq!(is_refused(new().mtu(mtu), true), with, "{mtu} with IPv6");
        }
        for (name, refused) in [
            ("", true),
            ("-a", true),
            ("a b", true),
            ("0a-b_c.d", false),
            ("fifteen-letters", false),
            ("sixteen--letters", true),
        ] {
            assert_eq!(is_refused(new().bridge_name(name), false), refused, "{name:?}");
        }
        for (key, refused) in [("k", false), ("", true), ("a=b", true)] {
            assert_eq!(is_refused(new().label(key, "x"), false), refused, "{key:?}");
            assert_eq!(is_refused(new().driver_option(key, "x"), false), refused, "{key:?}");
        }
        assert!(is_refused(new().label("sidecar-bundle.slug", "x"), false));
    }
}
