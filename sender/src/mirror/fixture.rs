//! What the tests of a mirror need: policies, frames, captures, collectors.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use etherparse::PacketBuilder;
use tempfile::TempDir;

use super::ledger::Ledger;
use super::mailbox::Mailbox;
use super::steward::{Start, Steward, StewardSettings};
use super::{Depth, Frame, Mirror};
use crate::control::Control;
use crate::error::SendError;
use crate::policy::{Direction, Interface};
use crate::transmit::{LinkSettings, Method};

/// The mirrored host.
pub(super) const HOST: [u8; 4] = [10, 0, 0, 1];
/// When the first frame was captured.
pub(super) const START_NS: u64 = 1_700_000_000_000_000_000;

/// Source ports of its own for each test, so that they can run at the same time.
pub(super) fn port_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(32_100);
    NEXT.fetch_add(200, Ordering::Relaxed)
}

/// A policy file in a folder of its own.
pub(super) struct PolicyText {
    folder: TempDir,
    pub(super) path: PathBuf,
}

impl PolicyText {
    /// `text` behind a source that is the mirrored host.
    pub(super) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { path: folder.path().join("policy.toml"), folder };
        this.write(text);
        this
    }

    /// Replaces the file, as an editor does: written beside it and renamed.
    pub(super) fn write(&self, text: &str) {
        let beside = self.folder.path().join("beside");
        std::fs::write(&beside, format!("[[source]]\nname = \"host\"\naddresses = [\"10.0.0.1\"]\n\n{text}")).unwrap();
        std::fs::rename(beside, &self.path).unwrap();
    }

    /// A path for another file.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A target of that name with one member for each address and weight.
pub(super) fn target(name: &str, members: &[(SocketAddr, u32)]) -> String {
    let member = |(address, weight): &(SocketAddr, u32)| {
        let (ip, port) = (address.ip(), address.port());
        format!("[[target.member]]\naddress = \"{ip}\"\nport = {port}\nweight = {weight}\n")
    };
    let members: String = members.iter().map(member).collect();
    format!("[[target]]\nname = \"{name}\"\n{members}\n")
}

/// A session of the host's with these further lines.
pub(super) fn session(name: &str, number: u32, target: &str, lines: &str) -> String {
    format!(
        "[[session]]\nname = \"{name}\"\nnumber = {number}\nsource = \"host\"\ntarget = \"{target}\"\nvni = {}\n{lines}\n\n",
        100 + number
    )
}

/// Settings of a steward whose only interface is the host's.
pub(super) fn steward_settings(policy: &PolicyText, waits: bool) -> StewardSettings {
    let interface = Interface { name: "eth0".to_owned(), addresses: vec![HOST.into()], loopback: false, tags: vec![] };
    StewardSettings {
        policy: policy.path.clone(),
        links: LinkSettings {
            source_ports: 4,
            source_port_base: port_base(),
            udp_checksum: true,
            method: Method::Trains,
            waits,
        },
        resolve_interval: StewardSettings::RESOLVE_INTERVAL,
        tick: Duration::from_millis(10),
        interfaces: Arc::new(move |_| Ok(vec![interface.clone()])),
        ways: None,
    }
}

/// A mirror of live frames, its steward, and its books.
pub(super) struct Bench {
    pub(super) steward: Option<Steward>,
    pub(super) mirror: Mirror,
    pub(super) ledger: Arc<Ledger>,
    pub(super) control: Arc<Control>,
}

/// A mirror by `policy` whose links never wait.
pub(super) fn bench(policy: &PolicyText) -> Result<Bench, SendError> {
    let (ledger, mailbox) = (Arc::<Ledger>::default(), Arc::<Mailbox>::default());
    let control = Arc::<Control>::default();
    let settings = steward_settings(policy, false);
    let Start { steward, plan, exits } = Steward::prepare(settings, Arc::clone(&ledger), Arc::clone(&mailbox))?;
    let mirror = Mirror::new(plan, exits, 0, Depth::Live, Arc::clone(&ledger), Arc::clone(&control), mailbox);
    Ok(Bench { steward: Some(steward), mirror, ledger, control })
}

/// A UDP packet of the flow with that number, which the host sends or gets, with `payload` bytes.
pub(super) fn frame(flow: u16, direction: Direction, payload: usize) -> Vec<u8> {
    let [high, low] = flow.to_be_bytes();
    let (peer, ports) = ([192, 0, high, low], (20_000, 443));
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let builder = match direction {
        Direction::Outbound => builder.ipv4(HOST, peer, 64).udp(ports.0, ports.1),
        Direction::Inbound => builder.ipv4(peer, HOST, 64).udp(ports.1, ports.0),
    };
    let mut frame = Vec::new();
    builder.write(&mut frame, &vec![0x55; payload]).unwrap();
    frame
}

/// `bytes` as captured `after_ns` after the start.
pub(super) const fn captured(bytes: &[u8], direction: Direction, after_ns: u64) -> Frame<'_> {
    Frame {
        bytes,
        wire_len: bytes.len() as u32,
        time_ns: START_NS + after_ns,
        direction: Some(direction),
        interface: 0,
    }
}

/// A collector that keeps what comes until it is asked.
pub(super) struct Collector {
    socket: UdpSocket,
    pub(super) address: SocketAddr,
}

impl Collector {
    pub(super) fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    pub(super) fn at(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None).unwrap();
        // A few thousand small datagrams are to fit in.
        socket.set_recv_buffer_size(8 << 20).unwrap();
        socket.bind(&address.into()).unwrap();
        let socket = UdpSocket::from(socket);
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    /// All that is there: what was sent over loopback is there when the call that sent it returns.
    pub(super) fn datagrams(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        std::iter::from_fn(|| {
            let len = self.socket.recv(&mut buffer).ok()?;
            Some(buffer[..len].to_vec())
        })
        .collect()
    }
}

/// A capture of `frames`, each so many nanoseconds after the start.
pub(super) fn write_pcap<'a>(path: &std::path::Path, frames: impl IntoIterator<Item = (u64, &'a [u8])>) {
    let mut file = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (after_ns, frame) in frames {
        let time = START_NS + after_ns;
        let len = frame.len() as u32;
        for field in [(time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32, len, len] {
            file.extend(field.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    std::fs::write(path, file).unwrap();
}
