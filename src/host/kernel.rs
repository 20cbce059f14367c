//! The kernel's own answers about its routes, over netlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{
    AddressFamily as Family, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
    socket,
};

use super::Holder;

const LOCAL: u32 = 255;
const MAIN: u32 = 254;
const DEFAULT: u32 = 253;

/// As for [`host::way_to`](super::way_to).
pub(super) fn way_to(ip: IpAddr) -> Option<Holder> {
    find(ip).map(|route| route.holder(ip, &rules(ip))).or_else(|| rejection(ip, &rules(ip)))
}

/// As for [`host::diversion`](super::diversion).
pub(super) fn diversion(ip: IpAddr, subnet: IpNet) -> Option<Holder> {
    let found = find(ip);
    // The usual case needs no rules: routes of the main table are left to the caller, which knows how close a route may
    // be.
    if found.as_ref().is_some_and(|it| [LOCAL, MAIN, DEFAULT].contains(&it.table)) {
        return None;
    }
    let rules = rules(ip);
    let main = rules.iter().position(|it| it.is_main_for(subnet));
    let first = &rules[..main.unwrap_or(rules.len())];
    let Some(route) = found else { return rejection(ip, first) };
    first.iter().any(|it| it.table() == route.table).then(|| route.holder(ip, first))
}

/// As for [`host::interfaces_in`](super::interfaces_in).
pub(super) fn interfaces_in(range: IpNet) -> Vec<Holder> {
    let mut message = AddressMessage::default();
    message.header.family = family(range.addr());
    dump(RouteNetlinkMessage::GetAddress(message), |it| match it {
        RouteNetlinkMessage::NewAddress(address) => interface_in(range, &address),
        _ => None,
    })
}

fn interface_in(range: IpNet, message: &AddressMessage) -> Option<Holder> {
    // The address of a link between two points is the other's.
    let own = message.attributes.iter().find_map(|it| match it {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let any = message.attributes.iter().find_map(|it| match it {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let ip = own.or(any).filter(|ip| range.contains(ip))?;
    let name = nix::net::if_::if_indextoname(message.header.index).ok()?.into_string().ok()?;
    Some(Holder::Interface { name, address: IpNet::new(ip, message.header.prefix_len).ok()? })
}

/// A route of a table.
struct Route {
    destination: IpNet,
    /// Its number, if it has one.
    interface: u32,
    table: u32,
    rejects: bool,
}

impl Route {
    fn read(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        let mut route = Self {
            destination: range(header.address_family, None, header.destination_prefix_length)?,
            interface: 0,
            table: header.table.into(),
            rejects: matches!(
                header.kind,
                RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit
            ),
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => {
                    let address = match address {
                        RouteAddress::Inet(it) => IpAddr::V4(*it),
                        RouteAddress::Inet6(it) => IpAddr::V6(*it),
                        _ => return None,
                    };
                    let length = header.destination_prefix_length;
                    route.destination = range(header.address_family, Some(address), length)?;
                }
                RouteAttribute::Oif(index) => route.interface = *index,
                RouteAttribute::MultiPath(hops) => {
                    route.interface = hops.first().map_or(0, |it| it.interface_index);
                }
                RouteAttribute::Table(table) => route.table = *table,
                _ => {}
            }
        }
        Some(route)
    }

    fn holder(&self, ip: IpAddr, rules: &[Rule]) -> Holder {
        // A rule may lead a part of the addresses to a table of a default route.
        let rule = rules.iter().find(|it| it.table() == self.table && it.may_match(ip));
        let part = rule.and_then(Rule::range).filter(|it| self.destination.contains(it));
        // For IPv6, what drops packets has an interface.
        let interface = (!self.rejects).then_some(self.interface);
        let name = interface.and_then(|it| nix::net::if_::if_indextoname(it).ok());
        Holder::Route {
            destination: part.unwrap_or(self.destination),
            interface: name.and_then(|it| it.into_string().ok()).unwrap_or_else(|| "*".into()),
            table: Some(self.table).filter(|it| *it != MAIN),
        }
    }
}

/// A rule of the kernel's, which come in their order.
struct Rule {
    destination: IpNet,
    message: RuleMessage,
}

impl Rule {
    fn read(message: RuleMessage) -> Option<Self> {
        let destination = message.attributes.iter().find_map(|it| match it {
            RuleAttribute::Destination(address) => Some(*address),
            _ => None,
        });
        let destination = range(message.header.family, destination, message.header.dst_len)?;
        Some(Self { destination, message })
    }

    fn table(&self) -> u32 {
        let table = self.message.attributes.iter().find_map(|it| match it {
            RuleAttribute::Table(table) => Some(*table),
            _ => None,
        });
        table.unwrap_or(self.message.header.table.into())
    }

    /// The range of all destinations that match; `None` if it is all but a range.
    fn range(&self) -> Option<IpNet> {
        (!self.is_inverted()).then_some(self.destination)
    }

    fn is_inverted(&self) -> bool {
        self.message.header.flags.contains(RuleFlags::Invert)
    }

    /// By what is known: this process's packets have no mark, and its programs' may have any other property.
    fn may_match(&self, ip: IpAddr) -> bool {
        let is_marked =
            |it: &RuleAttribute| matches!(it, RuleAttribute::FwMark(mark) if *mark != 0);
        let matches =
            self.destination.contains(&ip) && !self.message.attributes.iter().any(is_marked);
        matches != self.is_inverted()
    }

    /// Returns true if this leads all packets to the main table, and to the route of a bridge with this subnet there.
    fn is_main_for(&self, subnet: IpNet) -> bool {
        let header = &self.message.header;
        let is_open = |it: &RuleAttribute| match it {
            RuleAttribute::SuppressPrefixLen(longest) => {
                // -1 suppresses nothing.
                *longest == u32::MAX || *longest < u32::from(subnet.prefix_len())
            }
            RuleAttribute::Priority(_) | RuleAttribute::Table(_) | RuleAttribute::Protocol(_) => {
                true
            }
            _ => false,
        };
        header.action == RuleAction::ToTable
            && self.table() == MAIN
            && !self.is_inverted()
            && (header.src_len, header.dst_len, header.tos) == (0, 0, 0)
            && self.message.attributes.iter().all(is_open)
    }

    fn rejects(&self) -> bool {
        let action = self.message.header.action;
        matches!(action, RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit)
    }
}

/// The route that the kernel finds for packets of this process, by its marks and user.
fn find(ip: IpAddr) -> Option<Route> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(ip);
    message.header.destination_prefix_length = if ip.is_ipv4() { 32 } else { 128 };
    // Asks for the entry of the table, not for the one address, and for its table: otherwise the kernel says main.
    message.header.flags = RouteFlags::FibMatch.union(RouteFlags::LookupTable);
    message.attributes.push(RouteAttribute::Destination(ip.into()));
    // Where there is none or packets are dropped, the answer is an error.
    let answers = ask(RouteNetlinkMessage::GetRoute(message), false).ok()?;
    answers.into_iter().find_map(|it| match it {
        RouteNetlinkMessage::NewRoute(route) => Route::read(&route),
        _ => None,
    })
}

/// The rule or route that drops the packets to an address. The kernel does not name it.
fn rejection(ip: IpAddr, rules: &[Rule]) -> Option<Holder> {
    let routes = routes(ip);
    for rule in rules.iter().filter(|it| it.may_match(ip)) {
        if rule.rejects() {
            let destination = rule.range().or_else(|| range(family(ip), None, 0))?;
            let interface = "*".into();
            return Some(Holder::Route { destination, interface, table: None });
        }
        let table = rule.table();
        let of_it = routes.iter().filter(|it| it.table == table && it.destination.contains(&ip));
        let closest = of_it.max_by_key(|it| it.destination.prefix_len());
        // Any other route was passed over: the rule is for other packets, or suppresses it.
        if let Some(route) = closest.filter(|it| it.rejects) {
            return Some(route.holder(ip, rules));
        }
    }
    None
}

fn rules(ip: IpAddr) -> Vec<Rule> {
    let mut message = RuleMessage::default();
    message.header.family = family(ip);
    dump(RouteNetlinkMessage::GetRule(message), |it| match it {
        RouteNetlinkMessage::NewRule(rule) => Rule::read(rule),
        _ => None,
    })
}

fn routes(ip: IpAddr) -> Vec<Route> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(ip);
    dump(RouteNetlinkMessage::GetRoute(message), |it| match it {
        RouteNetlinkMessage::NewRoute(route) => Route::read(&route),
        _ => None,
    })
}

fn dump<T>(
    question: RouteNetlinkMessage,
    read: impl Fn(RouteNetlinkMessage) -> Option<T>,
) -> Vec<T> {
    let answers = ask(question, true).unwrap_or_else(|error| {
        tracing::warn!(%error, "the kernel's tables cannot be read");
        Vec::new()
    });
    answers.into_iter().filter_map(read).collect()
}

/// Asks the kernel, which answers at once: nothing here waits.
fn ask(question: RouteNetlinkMessage, for_all: bool) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket =
        socket(Family::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut header = NetlinkHeader::default();
    header.flags = if for_all { NLM_F_REQUEST + NLM_F_DUMP } else { NLM_F_REQUEST };
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let fd = socket.as_raw_fd();
    sendto(fd, &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answers = Vec::new();
    // The kernel's own parts of a dump are no longer.
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = recv(fd, &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        let mut rest = &buffer[..length];
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
            let message = message.map_err(io::Error::other)?;
            // Each begins at a multiple of four bytes.
            let next = (message.header.length as usize).next_multiple_of(4).max(4);
            rest = rest.get(next..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::Done(_) => return Ok(answers),
                _ => {}
            }
        }
        if !for_all {
            return Ok(answers);
        }
    }
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// The range of an address, or of all.
fn range(family: AddressFamily, address: Option<IpAddr>, length: u8) -> Option<IpNet> {
    let any = match family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    Some(IpNet::new(address.unwrap_or(any), length).ok()?.trunc())
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::host;

    /// Runs in a network namespace of its own, which has no way out and ends with the thread.
    pub(crate) fn in_a_namespace(commands: &'static [&str], test: impl FnOnce() + Send + 'static) {
        let thread = std::thread::spawn(move || match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => {
                for words in commands {
                    ip(words);
                }
                test();
            }
            Err(error) => {
                let required = std::env::var_os("SIDECAR_BUNDLE_ENGINE_TESTS").is_some();
                // A user without privileges runs them beside a rootless engine.
                assert!(!required || !nix::unistd::geteuid().is_root(), "no namespace: {error}");
                eprintln!("SKIPPED the kernel's routes: a network namespace takes root: {error}");
            }
        });
        thread.join().unwrap();
    }

    #[track_caller]
    fn ip(words: &str) {
        let done = Command::new("ip").args(words.split(' ')).status().unwrap();
        assert!(done.success(), "ip {words}");
    }

    /// An uplink that leads nowhere, and the bridge of a bundle.
    fn furnish() {
        for words in [
            "link set lo up",
            "link add up0 type bridge",
            "address add 192.0.2.2/24 dev up0",
            "address add 2001:db8::2/64 dev up0 nodad",
            "link set up0 up",
            "route add default via 192.0.2.1",
            "-6 route add default via 2001:db8::1",
        ] {
            ip(words);
        }
    }

    fn bridge() {
        for words in [
            "link add br0 type bridge",
            "address add 10.48.1.1/24 dev br0",
            "address add fd48:1::1/64 dev br0 nodad",
            "link set br0 up",
        ] {
            ip(words);
        }
    }

    fn said(holder: Option<Holder>) -> String {
        holder.map_or_else(|| "nothing".into(), |it| it.to_string())
    }

    /// Rules and routes; the route that would take a bundle's packets, and the way they then go.
    const CASES: [(&[&str], &str, &str); 18] = [
        (&[], "nothing", "the route to 10.48.1.0/24 via br0"),
        // A VPN's table that is its rule's alone: its default route would do.
        (
            &[
                "rule add priority 100 to 10.48.0.0/16 lookup 100",
                "route add default dev up0 table 100",
            ],
            "the route to 10.48.0.0/16 via up0 in table 100",
            "the route to 10.48.0.0/16 via up0 in table 100",
        ),
        (
            &["rule add priority 100 lookup 51820", "route add 10.0.0.0/8 dev up0 table 51820"],
            "the route to 10.0.0.0/8 via up0 in table 51820",
            "the route to 10.0.0.0/8 via up0 in table 51820",
        ),
        (
            &["rule add priority 100 lookup 100", "route add 10.48.1.2/32 dev up0 table 100"],
            "the route to 10.48.1.2/32 via up0 in table 100",
            "the route to 10.48.1.2/32 via up0 in table 100",
        ),
        (
            &[
                "rule add priority 100 lookup 100",
                "route add 10.0.0.0/8 table 100 nexthop dev up0 nexthop dev lo",
            ],
            "the route to 10.0.0.0/8 via up0 in table 100",
            "the route to 10.0.0.0/8 via up0 in table 100",
        ),
        (
            &["rule add priority 100 lookup 100", "route add default dev up0 table 100"],
            "the route to 0.0.0.0/0 via up0 in table 100",
            "the route to 0.0.0.0/0 via up0 in table 100",
        ),
        // Packets are dropped.
        (
            &["rule add priority 100 lookup 100", "route add blackhole 10.48.0.0/16 table 100"],
            "the route to 10.48.0.0/16 via * in table 100",
            "the route to 10.48.0.0/16 via * in table 100",
        ),
        (
            &["rule add priority 100 to 10.48.0.0/16 prohibit"],
            "the route to 10.48.0.0/16 via *",
            "the route to 10.48.0.0/16 via *",
        ),
        (
            &[
                "rule add priority 99 to 10.49.0.0/16 prohibit",
                "rule add priority 100 to 10.48.0.0/16 blackhole",
            ],
            "the route to 10.48.0.0/16 via *",
            "the route to 10.48.0.0/16 via *",
        ),
        // All but a range.
        (
            &["rule add priority 100 not to 10.49.0.0/16 prohibit"],
            "the route to 0.0.0.0/0 via *",
            "the route to 0.0.0.0/0 via *",
        ),
        (
            &[
                "rule add priority 100 not to 10.49.0.0/16 lookup 100",
                "route add default dev up0 table 100",
            ],
            "the route to 0.0.0.0/0 via up0 in table 100",
            "the route to 0.0.0.0/0 via up0 in table 100",
        ),
        (
            &["rule add priority 100 not to 10.48.0.0/16 prohibit"],
            "nothing",
            "the route to 10.48.1.0/24 via br0",
        ),
        // wg-quick: the main table is asked first, but for its default route.
        (
            &[
                "rule add priority 101 not fwmark 51820 lookup 51820",
                "rule add priority 100 lookup main suppress_prefixlength 0",
                "route add default dev up0 table 51820",
            ],
            "nothing",
            "the route to 10.48.1.0/24 via br0",
        ),
        // What it suppresses is more.
        (
            &[
                "rule add priority 101 lookup 100",
                "rule add priority 100 lookup main suppress_prefixlength 24",
                "route add default dev up0 table 100",
            ],
            "the route to 0.0.0.0/0 via up0 in table 100",
            "the route to 0.0.0.0/0 via up0 in table 100",
        ),
        // For others: a mark, another destination, another source, behind the main table, and a table of no rule.
        (
            &["rule add priority 100 fwmark 7 lookup 100", "route add default dev up0 table 100"],
            "nothing",
            "the route to 10.48.1.0/24 via br0",
        ),
        (
            &[
                "rule add priority 100 to 10.49.0.0/16 lookup 100",
                "route add default dev up0 table 100",
            ],
            "nothing",
            "the route to 10.48.1.0/24 via br0",
        ),
        (
            &["rule add priority 100 to 10.49.0.0/16 blackhole"],
            "nothing",
            "the route to 10.48.1.0/24 via br0",
        ),
        (
            &["rule add priority 40000 lookup 100", "route add 10.48.0.0/16 dev up0 table 100"],
            "nothing",
            "the route to 10.48.1.0/24 via br0",
        ),
    ];

    #[test]
    fn a_rule_that_takes_a_bundles_packets_is_named_before_there_is_a_bridge() {
        let (address, subnet) = ("10.48.1.2".parse().unwrap(), "10.48.1.0/24".parse().unwrap());
        for (commands, diverted, way) in CASES {
            in_a_namespace(&[], move || {
                furnish();
                for words in commands {
                    ip(words);
                }
                assert_eq!(said(host::diversion(address, subnet)), diverted, "{commands:?}");
                bridge();
                let own = "the route to 10.48.1.0/24 via br0";
                let routes = host::routes();
                assert!(routes.iter().any(|it| it.to_string() == own), "{routes:?}");
                assert_eq!(said(diversion(address, subnet)), diverted, "{commands:?}");
                assert_eq!(said(way_to(address)), way, "{commands:?}");
            });
        }
    }

    #[test]
    fn a_rule_for_ipv6_is_named_too() {
        let (address, subnet) = ("fd48:1::2".parse().unwrap(), "fd48:1::/64".parse().unwrap());
        for (commands, diverted) in [
            (&[][..], "nothing"),
            (
                &[
                    "-6 rule add priority 100 to fd48::/16 lookup 100",
                    "-6 route add default dev up0 table 100",
                ],
                "the route to fd48::/16 via up0 in table 100",
            ),
            (
                &[
                    "-6 rule add priority 100 lookup 100",
                    "-6 route add blackhole fd48::/16 table 100",
                ],
                "the route to fd48::/16 via * in table 100",
            ),
        ] {
            in_a_namespace(&[], move || {
                furnish();
                for words in commands {
                    ip(words);
                }
                assert_eq!(said(diversion(address, subnet)), diverted, "{commands:?}");
            });
        }
    }

    #[test]
    fn an_interface_is_found_by_its_own_address_in_a_range() {
        in_a_namespace(&[], || {
            furnish();
            let found = |range: &str| -> Vec<_> {
                interfaces_in(range.parse().unwrap()).iter().map(Holder::to_string).collect()
            };
            assert_eq!(found("192.0.2.0/28"), ["interface up0 (192.0.2.2/24)"]);
            assert_eq!(found("192.0.2.16/28"), [] as [&str; 0]);
            assert_eq!(found("2001:db8::/120"), ["interface up0 (2001:db8::2/64)"]);
            // The other end's address is not this host's.
            ip("address add 10.48.1.5 peer 198.51.100.7 dev up0");
            assert_eq!(found("198.51.100.0/24"), [] as [&str; 0]);
            assert_eq!(found("10.48.1.0/24"), ["interface up0 (10.48.1.5/32)"]);
        });
    }

    /// A host whose one address is the gateway's gives it to packets that leave by any interface.
    #[test]
    fn packets_that_a_rule_leads_elsewhere_do_not_leave_by_the_gateway() {
        in_a_namespace(&[], || {
            ip("link set lo up");
            bridge();
            let address = Ipv4Addr::new(10, 48, 1, 2);
            let gateway = Ipv4Addr::new(10, 48, 1, 1);
            let leaves = || {
                super::super::leaves_by_gateway(address, gateway, "10.48.1.0/24".parse().unwrap())
            };
            assert!(leaves());
            for words in [
                "link add other type bridge",
                "link set other up",
                "route add 10.48.1.2/32 dev other",
            ] {
                ip(words);
            }
            assert!(!leaves(), "a closer route leads to another interface");
            ip("route del 10.48.1.2/32");
            assert!(leaves());
            ip("route add default dev lo table 100");
            ip("rule add priority 100 to 10.48.0.0/16 lookup 100");
            assert!(!leaves());
        });
    }

    #[test]
    fn a_route_to_a_part_of_a_range_is_found_and_one_to_more_is_not() {
        in_a_namespace(&[], || {
            furnish();
            for words in [
                "route add 10.48.1.0/25 dev up0",
                "route add 10.49.0.0/16 dev up0",
                "-6 route add fd48:1::/65 dev up0",
            ] {
                ip(words);
            }
            let found = |range: &str| -> Vec<_> {
                host::routes_in(range.parse().unwrap()).iter().map(Holder::to_string).collect()
            };
            assert_eq!(found("10.48.1.0/24"), ["the route to 10.48.1.0/25 via up0"]);
            assert_eq!(found("10.49.1.0/24"), [] as [&str; 0]);
            assert_eq!(found("fd48:1::/64"), ["the route to fd48:1::/65 via up0"]);
        });
    }

    #[test]
    fn a_refusal_of_the_kernel_is_an_error() {
        let of_no_family = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        assert!(ask(of_no_family, false).is_err());
    }

    #[test]
    fn nothing_leads_anywhere_in_an_empty_namespace() {
        in_a_namespace(&[], || {
            let address = "10.48.1.2".parse().unwrap();
            assert_eq!(way_to(address), None);
            assert_eq!(diversion(address, "10.48.1.0/24".parse().unwrap()), None);
        });
    }
}
