//! The holders of this host's ports, by the kernel's tables of sockets.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use crate::container::collide;

/// The holder of a port of the engine's host.
///
/// It prints as `container acme` or `process 4711 (nginx)`.
///
/// ```no_run
/// # use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, PortHolder, StepError};
/// # fn run(plan: NetworkPlanned, engine: &Engine, spec: BundleSpec) -> Result<(), Error> {
/// # let failed = plan.launch(engine, spec).unwrap_err();
/// if let Error::PortTaken { at, holder, .. } = failed.error() {
///     match holder {
///         Some(PortHolder::Process { pid, .. }) => eprintln!("{at}: ps --pid {pid}"),
///         Some(PortHolder::Container { name, .. }) => eprintln!("{at}: docker inspect {name}"),
///         _ => eprintln!("{at}: taken"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PortHolder {
    /// A container of the engine, which publishes the port.
    #[non_exhaustive]
    Container {
        /// Its name.
        name: String,
    },
    /// A process of this host, which has a socket at the port.
    #[non_exhaustive]
    Process {
        /// Its process id.
        pid: u32,
        /// The name of its program, of which the kernel keeps 15 bytes.
        name: String,
    },
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { name } => write!(f, "container {name}"),
            // A program may have any bytes for its name.
            Self::Process { pid, name } => write!(f, "process {pid} ({})", name.escape_debug()),
        }
    }
}

/// The name of a protocol, as engines and the kernel write it.
pub(crate) fn protocol(udp: bool) -> &'static str {
    if udp { "udp" } else { "tcp" }
}

/// The process that has a socket in the way of one at this address, in this thread's network namespace; `None` if this
/// user may not see it, and where the kernel is not Linux.
pub(crate) fn process_at(at: SocketAddr, udp: bool) -> Option<PortHolder> {
    let table = |suffix| {
        let path = format!("/proc/thread-self/net/{}{suffix}", protocol(udp));
        fs::read_to_string(path).unwrap_or_default()
    };
    let (ipv4, ipv6) = (table(""), table("6"));
    let sockets = || ipv4.lines().chain(ipv6.lines()).filter_map(|line| socket(line, udp));
    let mut inodes: Vec<_> =
        sockets().filter(|(it, _)| collide(*it, at)).map(|(_, inode)| inode).collect();
    if let ([], IpAddr::V4(_)) = (&*inodes, at.ip())
        && is_in_use(at, udp)
    {
        // A socket at all addresses of version 6 has those of version 4, too, unless it is told otherwise.
        let all = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), at.port());
        inodes.extend(sockets().filter(|(it, _)| *it == all).map(|(_, inode)| inode));
    }
    inodes.into_iter().find_map(process_with)
}

/// Returns true if no socket can be bound to this address.
fn is_in_use(at: SocketAddr, udp: bool) -> bool {
    let bound = if udp { UdpSocket::bind(at).map(drop) } else { TcpListener::bind(at).map(drop) };
    bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

/// The address and inode of a line of the kernel's table: number, local and remote address, state, queues, timer,
/// retransmits, user, timeout, inode. Of TCP, only those that listen.
fn socket(line: &str, udp: bool) -> Option<(SocketAddr, u64)> {
    const LISTENS: &str = "0A";
    let fields: Vec<_> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let at = SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?);
    let counts = udp || *fields.get(3)? == LISTENS;
    counts.then_some((at, fields.get(9)?.parse().ok()?))
}

/// One or four hexadecimal numbers in the machine's own order of bytes.
fn address(text: &str) -> Option<IpAddr> {
    let number =
        |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let numbers: Vec<_> = (0..text.len()).step_by(8).map(number).collect::<Option<_>>()?;
    match *numbers {
        [ipv4] => Some(ipv4.into()),
        [a, b, c, d] => {
            let ipv6 = <[u8; 16]>::try_from([a, b, c, d].concat()).ok()?;
            Some(IpAddr::from(ipv6).to_canonical())
        }
        _ => None,
    }
}

/// The first process with a socket of this inode.
fn process_with(inode: u64) -> Option<PortHolder> {
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let is_it = |file: fs::DirEntry| {
            fs::read_link(file.path()).is_ok_and(|it| it.as_os_str() == &*socket)
        };
        let mut files = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        files.any(is_it).then_some(())?;
        let name = fs::read(process.path().join("comm")).ok()?;
        let name = String::from_utf8_lossy(&name).trim_end().to_owned();
        Some(PortHolder::Process { pid, name })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_kernels_tables_of_sockets_are_read() {
        let hex = |ip: &str| {
            let octets = match ip.parse().unwrap() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let (numbers, _) = octets.as_chunks();
            let hex = |it: &[u8; 4]| format!("{:08X}", u32::from_ne_bytes(*it));
            numbers.iter().map(hex).collect::<Vec<_>>().concat()
        };
        let line = |ip: &str, state: &str| {
            format!(
                "   0: {}:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0",
                hex(ip)
            )
        };
        for (ip, said) in [
            ("127.0.0.1", "127.0.0.1:8080"),
            ("0.0.0.0", "0.0.0.0:8080"),
            ("fd48::1", "[fd48::1]:8080"),
            ("::", "[::]:8080"),
            ("::ffff:127.0.0.1", "127.0.0.1:8080"),
        ] {
            assert_eq!(socket(&line(ip, "0A"), false), Some((at(said), 4242)), "{ip}");
            // One that is connected holds a port of UDP alone.
            assert_eq!(socket(&line(ip, "01"), false), None, "{ip}");
            assert_eq!(socket(&line(ip, "07"), true), Some((at(said), 4242)), "{ip}");
        }
        for line in [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            "   0: 0100007F 00000000:0000 0A 0 0 0 0 0 1",
            "   0: 0100007F:1F90 00000000:0000 0A",
            "   0: 0100007F0:1F90 00000000:0000 0A 0:0 0:0 0 0 0 1",
            "   0: \u{fc}\u{fc}\u{fc}\u{fc}\u{fc}:1F90 00000000:0000 0A 0:0 0:0 0 0 0 1",
            "",
        ] {
            assert_eq!(socket(line, false), None, "{line}");
        }
    }

    #[test]
    fn an_address_and_all_addresses_are_in_each_others_way() {
        for (a, b, said) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::1]:80", "[::]:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "[::]:80", false),
        ] {
            assert_eq!(collide(at(a), at(b)), said, "{a} {b}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_for_ipv6_alone_is_in_the_way_of_no_port_of_ipv4() {
        use nix::sys::socket::{
            AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, bind, getsockname, listen,
            setsockopt, socket, sockopt::Ipv6V6Only,
        };
        use std::os::fd::AsRawFd;
        let flags = SockFlag::SOCK_CLOEXEC;
        let Ok(fd) = socket(AddressFamily::Inet6, SockType::Stream, flags, None) else { return };
        setsockopt(&fd, Ipv6V6Only, &true).unwrap();
        let any: std::net::SocketAddrV6 = "[::]:0".parse().unwrap();
        bind(fd.as_raw_fd(), &SockaddrIn6::from(any)).unwrap();
        listen(&fd, Backlog::new(1).unwrap()).unwrap();
        let port = getsockname::<SockaddrIn6>(fd.as_raw_fd()).unwrap().port();
        assert!(process_at(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port), false).is_some());
        assert_eq!(process_at(SocketAddr::new([127, 0, 0, 1].into(), port), false), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_found_at_its_own_sockets() {
        let me = |holder| {
            let pid = std::process::id();
            matches!(holder, Some(PortHolder::Process { pid: found, .. }) if found == pid)
        };
        for listens_at in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(listens_at) else { continue };
            let own = listener.local_addr().unwrap();
            assert!(me(process_at(own, false)), "{own}");
            // As far as Rust's sockets go, one at `::` is at both.
            let is_there = !listens_at.starts_with("[::1]");
            let ipv4 = SocketAddr::new([127, 0, 0, 1].into(), own.port());
            assert_eq!(me(process_at(ipv4, false)), is_there, "{own}");
            let socket = UdpSocket::bind(listens_at).unwrap();
            let own = socket.local_addr().unwrap();
            assert!(me(process_at(own, true)) && !me(process_at(own, false)), "{own}");
            drop((listener, socket));
            // A program that another test starts has all sockets for a moment.
            assert!(!me(process_at(own, true)), "{own}");
        }
    }
}
