//! A connection to a socket of this host.

use std::io;
#[cfg(target_os = "linux")]
use std::io::ErrorKind;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};

/// Connects to a socket. On Linux, the queue of one whose engine is stopped may be full, and a connect then waits.
pub(super) fn connect(path: &Path, timeout: Option<Duration>) -> io::Result<UnixStream> {
    #[cfg(target_os = "linux")]
    {
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let stream = UnixStream::from(socket);
        stream.set_write_timeout(timeout)?;
        let connected = nix::sys::socket::connect(stream.as_raw_fd(), &UnixAddr::new(path)?);
        stream.set_write_timeout(None)?;
        match connected {
            Err(Errno::EAGAIN) => Err(ErrorKind::TimedOut.into()),
            connected => Ok(connected.map(|()| stream)?),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = timeout;
        UnixStream::connect(path)
    }
}
