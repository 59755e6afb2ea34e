//! Datagrams out: one connected UDP socket for each outer source port.
//!
//! - A frame never becomes an outer fragment: path MTU discovery is on (the kernel sets DF and refuses what is too
//!   long), and frames are cut to what the path carries before they are handed over.
//! - The kernel gets as many datagrams as one call can carry: trains of equal length as one message with UDP
//!   segmentation offload, many messages in one `sendmmsg`, and plain calls where the kernel knows neither. What works
//!   is found out by trying, at the start and again on each refusal.
//! - A datagram that the kernel does not take is counted by its reason; the run goes on.

mod message;
mod socket;
mod train;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use vxtap_wire::vxlan::{self, Vni};

use crate::batch::{HEADROOM, Slot};
use crate::control::Counters;
use crate::error::SendError;
use crate::summary::SendFault;
use crate::target::Target;
use message::Messages;
use socket::PortSocket;
use train::Planner;

/// How the frames are encapsulated and handed to the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct TransmitSettings {
    /// Where the datagrams go.
    pub target: Target,
    /// The VNI of all of them.
    pub vni: Vni,
    /// Longest frame sent, in bytes behind the VXLAN header; longer ones are cut. At least 1; `None` cuts only what
    /// the path cannot carry.
    pub packet_length: Option<u32>,
    /// How many outer source ports to spread the flows over, 1 to [`TransmitSettings::MAX_SOURCE_PORTS`].
    pub source_ports: u16,
    /// First of them; ports in use are passed over.
    pub source_port_base: u16,
    /// Seed of the hash that picks a flow's source port. A collector that steers under the same seed, with a number of
    /// workers that divides the number of ports, finds every flow of one port on one worker.
    pub port_seed: u32,
    /// Whether outer UDP checksums are filled in. Receivers aggregate only datagrams that have one.
    pub udp_checksum: bool,
    /// The most that is asked of the kernel.
    pub method: Method,
}

impl TransmitSettings {
    /// The most outer source ports.
    pub const MAX_SOURCE_PORTS: u16 = 256;
    /// Source ports unless told otherwise.
    pub const DEFAULT_SOURCE_PORTS: u16 = 16;
    /// First port of the range that RFC 7348 section 5 recommends.
    pub const DEFAULT_SOURCE_PORT_BASE: u16 = 49_152;

    /// Frames of network `vni` to `target`, everything else by default.
    pub const fn new(target: Target, vni: Vni) -> Self {
        Self {
            target,
            vni,
            packet_length: None,
            source_ports: Self::DEFAULT_SOURCE_PORTS,
            source_port_base: Self::DEFAULT_SOURCE_PORT_BASE,
            port_seed: 0,
            udp_checksum: true,
            method: Method::Batches,
        }
    }
}

/// How datagrams are handed to the kernel, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Trains with UDP segmentation offload, several in one `sendmmsg`.
    Trains,
    /// Several datagrams in one `sendmmsg`.
    Batches,
    /// One datagram a call.
    Single,
}

impl Method {
    /// The name in flags and in the summary.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trains => "trains",
            Self::Batches => "batches",
            Self::Single => "single",
        }
    }

    /// What to try when the kernel refuses this with `error`; `None` where the error is about the datagram.
    fn fallback(self, error: &io::Error) -> Option<Self> {
        match (self, error.raw_os_error()?) {
            // EIO: the interface cannot fill in checksums (or IPsec is in the way); EINVAL: the kernel does not know
            // UDP_SEGMENT, or refuses it for this socket.
            (Self::Trains, libc::EIO | libc::EINVAL | libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Some(Self::Batches),
            (Self::Trains | Self::Batches, libc::ENOSYS) => Some(Self::Single),
            _ => None,
        }
    }
}

/// How long a full queue is waited for before the datagrams at its door are given up.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);
const QUEUE_RETRY: Duration = Duration::from_micros(200);
/// How often the path MTU is asked for, so that a path that carries more again is noticed.
const MTU_REFRESH: Duration = Duration::from_secs(1);
/// How often one kind of trouble is told.
const NOTICE_INTERVAL: Duration = Duration::from_mins(1);

/// Sends batches of frames to one target.
pub(crate) struct Transmitter {
    link: Link,
    header: [u8; vxlan::HEADER_LEN],
    packet_length: u32,
    planner: Planner,
    messages: Messages,
    /// Slots of the batch in hand, port by port.
    by_port: Vec<u16>,
    port_ends: Vec<usize>,
}

/// The sockets, and what was learned about the way to the target.
struct Link {
    target: SocketAddr,
    sockets: Vec<PortSocket>,
    method: Method,
    /// Longest frame that the path carries behind the VXLAN header.
    max_frame: u32,
    mtu_read: Instant,
    last_notice: Option<Instant>,
}

impl Transmitter {
    /// Opens the sockets. Tries the target's addresses in order and takes the first that has a route.
    pub(crate) fn open(settings: &TransmitSettings) -> Result<Self, SendError> {
        if settings.source_ports == 0 || settings.source_ports > TransmitSettings::MAX_SOURCE_PORTS {
            let most = TransmitSettings::MAX_SOURCE_PORTS;
            return Err(SendError::Setting(format!("{} source ports (expected 1 to {most})", settings.source_ports)));
        }
        if settings.packet_length == Some(0) {
            return Err(SendError::Setting("packet length 0 (expected 1 or more)".to_owned()));
        }
        let mut first_error = None;
        for target in settings.target.resolve()? {
            match Self::open_to(settings, target) {
                Ok(transmitter) => return Ok(transmitter),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| SendError::Setting(format!("{} has no address", settings.target))))
    }

    fn open_to(settings: &TransmitSettings, target: SocketAddr) -> Result<Self, SendError> {
        let sockets = socket::open_ports(settings, target)?;
        // Without a checksum the kernel refuses to segment (its receivers could not put the trains together again).
        let method = if settings.udp_checksum { settings.method } else { settings.method.max(Method::Batches) };
        let method = match sockets[0].probe_segmentation() {
            Err(error) if method == Method::Trains => {
                tracing::info!(%error, "the kernel has no UDP segmentation offload, sending datagrams one by one");
                Method::Batches
            }
            _ => method,
        };
        let ports = sockets.len();
        let mut link = Link { target, sockets, method, max_frame: 0, mtu_read: Instant::now(), last_notice: None };
        let mtu = link.read_path_mtu();
        if link.max_frame == 0 {
            return Err(SendError::PathMtu { target, mtu });
        }
        Ok(Self {
            link,
            header: vxlan::header(settings.vni),
            packet_length: settings.packet_length.unwrap_or(u32::MAX),
            planner: Planner::new(max_payload(target)),
            messages: Messages::new(),
            by_port: Vec::with_capacity(crate::batch::MAX_FRAMES),
            port_ends: Vec::with_capacity(ports),
        })
    }

    /// How many source ports there are.
    pub(crate) fn ports(&self) -> u32 {
        self.link.sockets.len() as u32
    }

    /// The source ports.
    pub(crate) fn source_ports(&self) -> Vec<u16> {
        self.link.sockets.iter().map(PortSocket::port).collect()
    }

    /// Where the datagrams go.
    pub(crate) const fn target(&self) -> SocketAddr {
        self.link.target
    }

    /// How datagrams are sent now.
    pub(crate) const fn method(&self) -> Method {
        self.link.method
    }

    /// Length in bytes of the outer IP, UDP and VXLAN headers.
    pub(crate) const fn outer_bytes(&self) -> u32 {
        outer_bytes(self.link.target)
    }

    /// Puts the VXLAN header before every frame of `slots`, which point into `bytes`, and cuts it to the packet length
    /// and to what the path carries.
    pub(crate) fn encapsulate(&mut self, now: Instant, bytes: &mut [u8], slots: &mut [Slot]) {
        if now.duration_since(self.link.mtu_read) >= MTU_REFRESH {
            self.link.mtu_read = now;
            self.link.read_path_mtu();
        }
        let longest = self.packet_length.min(self.link.max_frame);
        for slot in slots {
            slot.len = slot.frame_len.min(longest);
            bytes[slot.offset - HEADROOM..slot.offset].copy_from_slice(&self.header);
        }
    }

    /// Sends every frame of `slots`, which point into `bytes` and were [encapsulated](Self::encapsulate), each once, and counts what
    /// became of it. Frames with one source port go out in the order in which flows need them; see [`Planner`].
    ///
    /// Where the kernel takes no more for now and the run `is_over`, the rest is left, neither sent nor counted.
    pub(crate) fn send(&mut self, bytes: &[u8], slots: &mut [Slot], counters: &Counters, is_over: &dyn Fn() -> bool) {
        self.sort_by_port(slots);
        let mut start = 0;
        for port in 0..self.link.sockets.len() {
            let end = self.port_ends[port];
            if start < end {
                let share = Share { port, range: start..end, bytes, counters, is_over };
                if !self.send_port(slots, &share) {
                    return;
                }
            }
            start = end;
        }
    }

    /// Fills `by_port` with the slots' indices, port after port and in order within each. Cuts the slots once more: the
    /// path may have turned out to carry less than when they were cut.
    fn sort_by_port(&mut self, slots: &mut [Slot]) {
        self.port_ends.clear();
        self.port_ends.resize(self.link.sockets.len(), 0);
        for slot in slots.iter_mut() {
            slot.len = slot.len.min(self.link.max_frame);
            self.port_ends[usize::from(slot.port)] += 1;
        }
        let mut sum = 0;
        for end in &mut self.port_ends {
            let count = *end;
            *end = sum;
            sum += count;
        }
        self.by_port.clear();
        self.by_port.resize(slots.len(), 0);
        for (index, slot) in slots.iter().enumerate() {
            let place = &mut self.port_ends[usize::from(slot.port)];
            self.by_port[*place] = index as u16;
            *place += 1;
        }
    }

    /// Sends the slots of one port; `false` if it stopped before the last.
    fn send_port(&mut self, slots: &mut [Slot], share: &Share<'_>) -> bool {
        let Share { port, range, bytes, counters, is_over } = share;
        let port = *port;
        let mut start = range.start;
        let mut queue_full_since = None;
        let mut tried_again_at = None;
        // Each round plans what is left of the port, until nothing is. A new round begins when a refusal changed what a
        // message may be: shorter frames, or no trains.
        while start < range.end {
            let Self { link, planner, messages, by_port, .. } = self;
            planner.plan(slots, &by_port[start..range.end], link.method);
            by_port[start..range.end].copy_from_slice(planner.order());
            let mut loaded = messages.load(bytes, slots, planner);
            let mut message = 0;
            while message < loaded.len() {
                let error = match loaded.send(&link.sockets[port], message, link.method) {
                    Ok(taken) => {
                        queue_full_since = None;
                        // It blocked on a full buffer until its time was over.
                        let is_slow = message + taken < loaded.len();
                        for train in message..message + taken {
                            let members = planner.members(train);
                            start += members.len();
                            count_sent(members, slots, self.packet_length, counters);
                        }
                        message += taken;
                        if is_slow && is_over() {
                            return false;
                        }
                        continue;
                    }
                    Err(error) => error,
                };
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                let fault = fault_of(&error);
                if fault == SendFault::QueueFull {
                    if is_over() {
                        return false;
                    }
                    let since = *queue_full_since.get_or_insert_with(Instant::now);
                    if since.elapsed() < QUEUE_PATIENCE {
                        std::thread::sleep(QUEUE_RETRY);
                        continue;
                    }
                }
                if link.learn_from(&error, port, slots) {
                    break;
                }
                link.sockets[port].forget_errors();
                if fault == SendFault::TooLong && tried_again_at != Some(start) {
                    // A router said so of an earlier datagram, before what it said was heeded.
                    tried_again_at = Some(start);
                    continue;
                }
                link.notice(&error);
                let members = planner.members(message).len();
                counters.read.add(members as u64);
                counters.send_errors[fault as usize].add(members as u64);
                start += members;
                message += 1;
            }
        }
        true
    }
}

/// What one port has to send of a batch.
struct Share<'a> {
    port: usize,
    /// Of the slots in order of port.
    range: std::ops::Range<usize>,
    bytes: &'a [u8],
    counters: &'a Counters,
    is_over: &'a dyn Fn() -> bool,
}

impl Link {
    /// Whether `error` taught something that makes another try worth while: a smaller path MTU (then all frames of
    /// `slots` are cut again) or a method that the kernel lacks.
    fn learn_from(&mut self, error: &io::Error, port: usize, slots: &mut [Slot]) -> bool {
        if matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::EINVAL)) {
            let before = self.max_frame;
            if let Ok(mtu) = self.sockets[port].path_mtu() {
                self.max_frame = self.max_frame.min(max_frame(self.target, mtu));
            }
            if self.max_frame < before && self.max_frame > 0 {
                for slot in slots {
                    slot.len = slot.len.min(self.max_frame);
                }
                return true;
            }
            self.max_frame = before;
        }
        if let Some(method) = self.method.fallback(error) {
            tracing::warn!(%error, from = self.method.as_str(), to = method.as_str(), "the kernel refuses how datagrams are sent");
            self.method = method;
            return true;
        }
        false
    }

    /// Reads what the path carries on all sockets (routes may differ by port) and keeps the least.
    fn read_path_mtu(&mut self) -> u32 {
        let mtu = self.sockets.iter().filter_map(|socket| socket.path_mtu().ok()).min().unwrap_or(0);
        let frame = max_frame(self.target, mtu);
        if frame > 0 || self.max_frame == 0 {
            self.max_frame = frame;
        }
        mtu
    }

    fn notice(&mut self, error: &io::Error) {
        if self.last_notice.is_none_or(|last| last.elapsed() >= NOTICE_INTERVAL) {
            self.last_notice = Some(Instant::now());
            tracing::warn!("datagrams to {} are not sent: {error} (told at most once a minute)", self.target);
        }
    }
}

/// Counts the datagrams of one message that the kernel took.
fn count_sent(members: &[u16], slots: &[Slot], packet_length: u32, counters: &Counters) {
    let (mut bytes, mut by_length, mut by_mtu) = (0, 0, 0);
    for member in members {
        let slot = &slots[usize::from(*member)];
        bytes += u64::from(slot.len) + vxlan::HEADER_LEN as u64;
        if slot.len < slot.frame_len {
            if slot.len < packet_length {
                by_mtu += 1;
            } else {
                by_length += 1;
            }
        }
    }
    counters.read.add(members.len() as u64);
    counters.sent.add(members.len() as u64);
    counters.bytes_sent.add(bytes);
    counters.truncated_packet_length.add(by_length);
    counters.truncated_mtu.add(by_mtu);
    counters.messages.add(1);
}

fn fault_of(error: &io::Error) -> SendFault {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => SendFault::Refused,
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN | libc::ENONET) => {
            SendFault::Unreachable
        }
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => SendFault::QueueFull,
        Some(libc::EPERM | libc::EACCES) => SendFault::Denied,
        Some(libc::EMSGSIZE) => SendFault::TooLong,
        _ => SendFault::Other,
    }
}

/// Length of the outer headers on the way to `target`.
const fn outer_bytes(target: SocketAddr) -> u32 {
    match target {
        SocketAddr::V4(_) => vxlan::OVERHEAD_IPV4 as u32,
        SocketAddr::V6(_) => vxlan::OVERHEAD_IPV6 as u32,
    }
}

/// Longest UDP payload that one outer packet to `target` can have at all: the length fields have 16 bits, and the one
/// of IPv4 counts its own header.
const fn max_payload(target: SocketAddr) -> u32 {
    match target.ip() {
        IpAddr::V4(_) => 65_535 - 28,
        IpAddr::V6(_) => 65_535 - 8,
    }
}

/// Longest frame that fits one outer packet of `mtu` bytes; 0 where none does.
const fn max_frame(target: SocketAddr, mtu: u32) -> u32 {
    let by_mtu = mtu.saturating_sub(outer_bytes(target));
    let by_length = max_payload(target) - vxlan::HEADER_LEN as u32;
    if by_mtu < by_length { by_mtu } else { by_length }
}

#[cfg(test)]
mod tests;
