//! The service manager that started this process: what it is told, and what it keeps for the next process.
//!
//! This is the protocol of `sd_notify(3)`, which systemd and others speak: datagrams of `NAME=value` lines to the socket that
//! `NOTIFY_SOCKET` names. Without one, nothing is told.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::Context as _;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// A manager that does not read keeps nobody waiting for longer.
const PATIENCE: Duration = Duration::from_millis(100);

/// The service manager; nobody where there is none.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        Self::new(|name| std::env::var_os(name), std::process::id())
    }

    /// The one that `variable` names to the process `pid`.
    fn new(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> anyhow::Result<Self> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(Self::default()) };
        let socket = connect(&name)
            .with_context(|| format!("tell the service manager at NOTIFY_SOCKET '{}'", name.to_string_lossy()))?;
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        // Without a process named it is for whoever has the variable.
        let ours = number("WATCHDOG_PID").is_none_or(|for_pid| for_pid == u64::from(pid));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0).map(Duration::from_micros);
        Ok(Self { socket: Some(socket), watchdog })
    }

    /// One that listens at `path`, with this watchdog.
    #[cfg(test)]
    pub(crate) fn at(path: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        Ok(Self { socket: Some(connect(path)?), watchdog })
    }

    /// Whether there is one.
    pub(crate) const fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// It kills a process that has not said `WATCHDOG=1` for so long.
    pub(crate) const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells it these lines. Gives whether they are on their way.
    pub(crate) fn tell(&self, lines: &str) -> bool {
        let Some(socket) = &self.socket else { return false };
        let told = socket.send(lines.as_bytes());
        if let Err(error) = &told {
            tracing::debug!("cannot tell the service manager '{}': {error}", lines.escape_debug());
        }
        told.is_ok()
    }

    /// Has it keep `socket` open and hand it to the next process under `name`, in case it is set up to (`FileDescriptorStoreMax=`).
    pub(crate) fn keep(&self, name: &str, socket: BorrowedFd<'_>) {
        let Some(manager) = &self.socket else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket];
        let fits = control.push(SendAncillaryMessage::ScmRights(&sockets));
        debug_assert!(fits, "there is room for one descriptor");
        // It is to stay even when the network reports an error on it.
        let lines = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}");
        let sent = sendmsg(manager, &[IoSlice::new(lines.as_bytes())], &mut control, SendFlags::NOSIGNAL);
        if let Err(error) = sent {
            tracing::warn!("the service manager cannot keep socket {name}: {error}; a restart may lose datagrams");
        }
    }

    /// Has it close what it keeps under `name`.
    pub(crate) fn forget(&self, name: &str) {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }
}

/// A socket that sends to `name`: a path, or with `@` before it a name that is in no file system.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::{AsFd as _, AsRawFd as _};

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;

    fn manager(variables: &[(&str, &OsStr)]) -> anyhow::Result<Manager> {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Manager::new(lookup, 77)
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1000];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn without_a_socket_nobody_is_told() {
        for variables in [&[][..], &[("NOTIFY_SOCKET", OsStr::new(""))], &[("WATCHDOG_USEC", OsStr::new("5"))]] {
            let manager = manager(variables).unwrap();
            assert!(!manager.is_there() && !manager.tell("READY=1") && manager.watchdog().is_none());
        }
    }

    #[test]
    fn what_is_told_arrives_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("vxtap-test-{}-{:p}", std::process::id(), &raw const path);
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let at_name = UnixDatagram::bind_addr(&address).unwrap();
        let abstract_name = format!("@{name}");
        for (socket, variable) in [(at_path, path.as_os_str()), (at_name, OsStr::new(&abstract_name))] {
            let manager = manager(&[("NOTIFY_SOCKET", variable)]).unwrap();
            assert!(manager.tell("READY=1\nSTATUS=receiving"));
            assert_eq!(received(&socket), "READY=1\nSTATUS=receiving");
        }
    }

    #[test]
    fn a_manager_that_is_not_there_is_told_of_by_its_name() {
        let error = manager(&[("NOTIFY_SOCKET", OsStr::new("/nowhere/notify"))]).unwrap_err();
        assert!(error.to_string().contains("'/nowhere/notify'"), "{error}");
        assert!(manager(&[("NOTIFY_SOCKET", OsStr::new("x".repeat(200).as_str()))]).is_err());
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        let watchdog = |pid: Option<&str>, micros: &str| {
            let mut variables = vec![("NOTIFY_SOCKET", path.as_os_str()), ("WATCHDOG_USEC", OsStr::new(micros))];
            variables.extend(pid.map(|pid| ("WATCHDOG_PID", OsStr::new(pid))));
            manager(&variables).unwrap().watchdog()
        };
        let seconds = Some(Duration::from_secs(3));
        assert_eq!(watchdog(Some("77"), "3000000"), seconds);
        assert_eq!(watchdog(None, "3000000"), seconds);
        assert_eq!(watchdog(Some("78"), "3000000"), None);
        assert_eq!((watchdog(None, "0"), watchdog(None, "-3"), watchdog(None, "soon")), (None, None, None));
    }

    #[test]
    fn a_socket_that_is_to_be_kept_arrives_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = manager(&[("NOTIFY_SOCKET", path.as_os_str())]).unwrap();
        let kept = UdpSocket::bind("127.0.0.1:0").unwrap();
        manager.keep("vxtap-data-0", kept.as_fd());
        let (mut bytes, mut space) = ([0; 200], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let buffers = &mut [io::IoSliceMut::new(&mut bytes)];
        let len = recvmsg(&socket, buffers, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
        assert_eq!(&bytes[..len], b"FDSTORE=1\nFDPOLL=0\nFDNAME=vxtap-data-0");
        let Some(RecvAncillaryMessage::ScmRights(mut sockets)) = control.drain().next() else {
            panic!("no descriptor")
        };
        let other = UdpSocket::from(sockets.next().unwrap());
        assert_ne!(other.as_raw_fd(), kept.as_raw_fd());
        assert_eq!(other.local_addr().unwrap(), kept.local_addr().unwrap());
        manager.forget("vxtap-data-0");
        assert_eq!(received(&socket), "FDSTOREREMOVE=1\nFDNAME=vxtap-data-0");
    }
}
