//! Datagrams out: one connected UDP socket for each outer source port.
//!
//! - A frame never becomes an outer fragment: path MTU discovery is on (the kernel sets DF and refuses what is too
//!   long), and frames are cut to what the path carries before they are handed over.
//! - The kernel gets as many datagrams as one call can carry: trains of equal length as one message with UDP
//!   segmentation offload, many messages in one `sendmmsg`, and plain calls where the kernel knows neither. What works
//!   is found out by trying, at the start and again on each refusal.
//! - A datagram that the kernel does not take is counted by its reason; the run goes on.

mod head;
mod link;
mod message;
mod outbox;
mod series;
mod socket;
mod train;

use std::io;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use vxtap_wire::geneve::Mark;
use vxtap_wire::vxlan::Vni;

use crate::batch::Slot;
use crate::control::Counters;
use crate::error::SendError;
use crate::policy::Encapsulation;
use crate::summary::{SendFault, SkipReason};
use crate::target::Target;
pub(crate) use head::Head;
pub(crate) use link::{Link, LinkSettings};
pub(crate) use outbox::{Outbox, Tally};
pub(crate) use series::{Numbering, Series};

/// How the frames are encapsulated and handed to the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct TransmitSettings {
    /// Where the datagrams go.
    pub target: Target,
    /// The VNI of all of them.
    pub vni: Vni,
    /// What frames travel in.
    pub encapsulation: Encapsulation,
    /// Longest frame sent, in bytes behind the tunnel's header; longer ones are cut. At least 1; `None` cuts only what
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

    /// Frames of network `vni` to `target` in VXLAN, everything else by default.
    pub const fn new(target: Target, vni: Vni) -> Self {
        Self {
            target,
            vni,
            encapsulation: Encapsulation::Vxlan,
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

/// Sends batches of frames to one target, all under one VNI.
pub(crate) struct Transmitter {
    link: Link,
    head: Head,
    /// For headers with a mark.
    numbering: Numbering,
    packet_length: u32,
    outbox: Outbox,
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
        let link_settings = LinkSettings {
            source_ports: settings.source_ports,
            source_port_base: settings.source_port_base,
            udp_checksum: settings.udp_checksum,
            method: settings.method,
            waits: true,
        };
        let link = Link::open_any(link_settings, &settings.target.resolve()?, &settings.target)?;
        Ok(Self {
            outbox: Outbox::new(link.ports()),
            numbering: Numbering::new(link.ports()),
            link,
            head: Head::new(settings.encapsulation, settings.vni),
            packet_length: settings.packet_length.unwrap_or(u32::MAX),
        })
    }

    /// How many source ports there are.
    pub(crate) const fn ports(&self) -> u32 {
        self.link.ports()
    }

    /// The source ports.
    pub(crate) fn source_ports(&self) -> Vec<u16> {
        self.link.source_ports()
    }

    /// Where the datagrams come from: addresses of this host and the source ports.
    pub(crate) fn sockets(&self) -> Vec<SocketAddr> {
        self.link.sockets()
    }

    /// Where the datagrams go.
    pub(crate) const fn target(&self) -> SocketAddr {
        self.link.address()
    }

    /// Whether the datagrams come from elsewhere since this was asked last.
    pub(crate) const fn take_move(&mut self) -> bool {
        self.link.take_move()
    }

    /// How datagrams are sent now.
    pub(crate) const fn method(&self) -> Method {
        self.link.method()
    }

    /// Length in bytes of the outer IP and UDP headers and of the tunnel's.
    pub(crate) const fn outer_bytes(&self) -> u32 {
        self.link.outer_bytes() + self.head.len() as u32
    }

    /// Has the link do what is due by time.
    pub(crate) fn look(&mut self, now: Instant) {
        self.link.begin(now);
    }

    /// Puts the tunnel's header before every frame of `slots`, which point into `bytes`, and cuts it to the packet length
    /// and to what the path carries.
    pub(crate) fn encapsulate(&mut self, now: Instant, bytes: &mut [u8], slots: &mut [Slot]) {
        self.link.begin(now);
        let Self { link, head, numbering, packet_length, .. } = self;
        let longest = (*packet_length).min(link.max_frame(head.len()));
        let made_ns = if matches!(head, Head::Geneve(_)) { since_1970() } else { 0 };
        for slot in slots {
            slot.len = slot.frame_len.min(longest);
            slot.head = head.len();
            let room = &mut bytes[slot.offset - usize::from(slot.head)..slot.offset];
            head.write(room, || {
                let series = numbering.number(slot.port, slot.direction);
                Mark {
                    captured_ns: if slot.captured_ns == 0 { made_ns } else { slot.captured_ns },
                    sequence: series.next,
                    series: series.id,
                    original_len: slot.wire_len.max(slot.frame_len),
                    direction: slot.direction,
                }
            });
        }
    }

    /// Sends every frame of `slots`, which point into `bytes` and were [encapsulated](Self::encapsulate), each once, and counts what
    /// became of it.
    ///
    /// Where the kernel takes no more for now and the run `is_over`, the rest is left, neither sent nor counted.
    pub(crate) fn send(&mut self, bytes: &[u8], slots: &mut [Slot], counters: &Counters, is_over: &dyn Fn() -> bool) {
        let mut tally = RunTally { counters, packet_length: self.packet_length };
        self.outbox.send(std::slice::from_mut(&mut self.link), bytes, slots, &mut tally, is_over);
    }
}

/// Nanoseconds since 1970; 0 by a clock that is before it.
fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Counts all frames of a run together.
struct RunTally<'a> {
    counters: &'a Counters,
    packet_length: u32,
}

impl Tally for RunTally<'_> {
    fn sent(&mut self, members: &[u16], slots: &[Slot], outer: u32) {
        let (mut frames, mut heads, mut by_length, mut by_mtu) = (0, 0, 0, 0);
        for member in members {
            let slot = &slots[usize::from(*member)];
            frames += u64::from(slot.len);
            heads += u64::from(slot.head);
            // A capture copies no more than the packet length: there the frame is as long as what was sent of it, and the packet was longer.
            if slot.len >= self.packet_length {
                by_length += u64::from(slot.len < slot.frame_len.max(slot.wire_len));
            } else {
                by_mtu += u64::from(slot.len < slot.frame_len);
            }
        }
        let counters = self.counters;
        counters.read.add(members.len() as u64);
        counters.count_sent(members.len() as u64, frames, heads, outer);
        counters.truncated_packet_length.add(by_length);
        counters.truncated_mtu.add(by_mtu);
        counters.messages.add(1);
    }

    fn failed(&mut self, members: &[u16], _: &[Slot], fault: SendFault) {
        self.counters.read.add(members.len() as u64);
        self.counters.send_errors[fault as usize].add(members.len() as u64);
    }

    fn withheld(&mut self, members: &[u16], _: &[Slot], reason: SkipReason) {
        // Frames of a run that was stopped are as if they had not been read.
        if reason != SkipReason::Stopped {
            self.counters.read.add(members.len() as u64);
            self.counters.skipped[reason as usize].add(members.len() as u64);
        }
    }
}

fn fault_of(error: &io::Error) -> SendFault {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => SendFault::Refused,
        // The last two: the way was lost, and there was none, or no address of this host for it, when it was looked up again.
        Some(
            libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ENONET
            | libc::EDESTADDRREQ
            | libc::EADDRNOTAVAIL,
        ) => SendFault::Unreachable,
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => SendFault::QueueFull,
        Some(libc::EPERM | libc::EACCES) => SendFault::Denied,
        Some(libc::EMSGSIZE) => SendFault::TooLong,
        _ => SendFault::Other,
    }
}

#[cfg(test)]
mod tests;
