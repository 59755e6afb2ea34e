//! The sender's ledger at the end of a run.
//!
//! `read = sent + skipped + send_errors`, to the frame.

use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::capture::{CaptureImbalance, CaptureSummary};
use crate::control::{Control, Counter};
use crate::mirror::MirrorSummary;

macro_rules! reasons {
    ($(#[doc = $type_doc:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $type_doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable name, as in the summary.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

reasons! {
    /// Why a record was read and not sent. The names are stable.
    SkipReason {
        /// Record of a capture file without a packet of a network: of another link type, or something else behind its link header.
        LinkType = "link_type",
        /// Capture file that ends in the middle of a record, or whose next record makes no sense.
        FileDamaged = "file_damaged",
        /// Record without a single byte of its frame.
        EmptyFrame = "empty_frame",
        /// No session takes it.
        Unmatched = "unmatched",
        /// A rule rejects it.
        Rejected = "rejected",
        /// Our own tunnels and health checks, and what comes back because of them.
        Own = "own",
        /// Packet of another tunnel with one of our copies in it: the way to a target goes through that tunnel.
        OwnMirror = "own_mirror",
        /// What is never mirrored: ARP, DHCP, services of the cloud, networks that the policy names.
        Never = "never",
        /// Which way it went is not known: neither end is the mirrored host's.
        DirectionUnknown = "direction_unknown",
        /// Of a flow that the session's sample leaves out.
        Sample = "sample",
        /// Of a flow that is given up, so that others fit into a budget whole.
        Shed = "shed",
        /// One more than a budget of packets allows.
        PacketBudget = "packet_budget",
        /// More than a budget of bits allows.
        RateBudget = "rate_budget",
        /// Given up since the process is over its CPU budget.
        CpuBudget = "cpu_budget",
        /// The target's name has no address, or there is no route to it but one on which copies would be captured again.
        NoTarget = "no_target",
        /// The target answers with errors, and is left alone for a while.
        TargetDown = "target_down",
        /// The queue towards the target was found full by another frame of the batch.
        QueueFull = "queue_full",
        /// The filter of a capture does not want it, which the kernel could not tell.
        Filter = "filter",
        /// Super-frame that cannot be cut into packets: of an unknown protocol, or in more than one tunnel.
        SuperFrame = "super_frame",
        /// It was captured, or waited for its time, when the run had to end.
        Stopped = "stopped",
    }
}

reasons! {
    /// Why the kernel did not take a datagram. The names are stable.
    SendFault {
        /// Nothing listens at the target: an ICMP port unreachable came back.
        Refused = "refused",
        /// No route to the target, or an ICMP error that says so.
        Unreachable = "unreachable",
        /// The interface's or the socket's queue stayed full.
        QueueFull = "queue_full",
        /// A local rule (netfilter, a security module) forbids it.
        Denied = "denied",
        /// Longer than the path carries, though cut to what the kernel said it carries.
        TooLong = "too_long",
        /// Anything else.
        Other = "other",
    }
}

/// Counts by reason; as JSON an object of the reasons that occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons(Vec<(&'static str, u64)>);

impl Reasons {
    /// The count for the reason of that name.
    pub fn get(&self, name: &str) -> u64 {
        self.0.iter().find(|(reason, _)| *reason == name).map_or(0, |(_, count)| *count)
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Reasons that occurred, with their counts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }

    fn merge(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            match self.0.iter_mut().find(|(reason, _)| reason == name) {
                Some((_, sum)) => *sum += count,
                None => self.0.push((name, *count)),
            }
        }
    }

    pub(crate) fn collect<'a>(counts: impl Iterator<Item = (&'static str, &'a Counter)>) -> Self {
        Self(counts.map(|(name, count)| (name, count.get())).filter(|(_, count)| *count > 0).collect())
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.0.iter().enumerate() {
            write!(f, "{}{name} {count}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, count) in &self.0 {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

/// Frames sent with their end cut off, by what cut them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Truncated {
    /// Cut to the packet length asked for.
    pub packet_length: u64,
    /// Cut so that the outer packet fits the path without being fragmented.
    pub mtu: u64,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Frames read from files or generated.
    pub read: u64,
    /// Frames read and not sent, by reason.
    pub skipped: Reasons,
    /// Datagrams that the kernel took, one for each frame.
    pub sent: u64,
    /// Frames that the kernel did not take.
    pub send_errors: u64,
    /// The same by reason.
    pub send_error_reasons: Reasons,
    /// Bytes of the datagrams sent: tunnel header and frame, without outer IP and UDP headers.
    pub bytes_sent: u64,
    /// Bytes of the frames in them.
    pub frame_bytes: u64,
    /// Bytes of the outer IP packets that they travelled in, which is what rates and budgets in bits are about.
    pub packet_bytes: u64,
    /// Frames sent cut.
    pub truncated: Truncated,
    /// How often all files were replayed to their end.
    pub loops: u64,
    /// From the first frame to the last, in seconds.
    pub seconds: f64,
    /// By how many seconds the run fell behind the rate asked for, in all.
    pub behind_seconds: f64,
    /// Messages handed to the kernel; with segmentation offload one carries many datagrams.
    pub messages: u64,
    /// How datagrams were sent at the end of the run.
    pub transmit: &'static str,
    /// The outer source ports.
    pub source_ports: Vec<u16>,
    /// The same by mirror session and direction, where a policy decided.
    #[serde(flatten)]
    pub mirror: Option<MirrorSummary>,
    /// Frames that crossed a captured interface, were wanted, and found no room in its ring.
    pub ring_dropped: u64,
    /// What a capture did besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureSummary>,
}

/// A summary whose sum does not hold: a fault of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger does not balance: read {read}, sent + skipped + send_errors {accounted}")]
pub struct Imbalance {
    /// Left side.
    pub read: u64,
    /// Right side.
    pub accounted: u64,
}

impl Summary {
    /// Checks that every frame read went somewhere.
    pub fn check(&self) -> Result<(), Imbalance> {
        let accounted = self.sent + self.skipped.total() + self.send_errors;
        if self.read == accounted { Ok(()) } else { Err(Imbalance { read: self.read, accounted }) }
    }

    /// Checks that every frame that was captured is among those that were read.
    pub fn check_capture(&self) -> Result<(), CaptureImbalance> {
        self.capture.map_or(Ok(()), |capture| capture.check(self.read))
    }

    /// Adds what another run beside this one did. Loops and seconds are those of the longer one.
    pub fn merge(&mut self, other: &Self) {
        self.read += other.read;
        self.skipped.merge(&other.skipped);
        self.sent += other.sent;
        self.send_errors += other.send_errors;
        self.send_error_reasons.merge(&other.send_error_reasons);
        self.bytes_sent += other.bytes_sent;
        self.frame_bytes += other.frame_bytes;
        self.packet_bytes += other.packet_bytes;
        self.truncated.packet_length += other.truncated.packet_length;
        self.truncated.mtu += other.truncated.mtu;
        self.messages += other.messages;
        self.loops = self.loops.max(other.loops);
        self.seconds = self.seconds.max(other.seconds);
        self.behind_seconds = self.behind_seconds.max(other.behind_seconds);
        self.transmit = other.transmit;
        self.source_ports.extend(&other.source_ports);
        self.ring_dropped += other.ring_dropped;
    }

    /// What `control` has counted.
    pub(crate) fn of(control: &Control) -> Self {
        let counters = control.counters();
        let skipped = SkipReason::ALL.iter().map(|reason| (reason.as_str(), &counters.skipped[*reason as usize]));
        let faults = SendFault::ALL.iter().map(|fault| (fault.as_str(), &counters.send_errors[*fault as usize]));
        let send_error_reasons = Reasons::collect(faults);
        Self {
            read: counters.read.get(),
            skipped: Reasons::collect(skipped),
            sent: counters.sent.get(),
            send_errors: send_error_reasons.total(),
            send_error_reasons,
            bytes_sent: counters.bytes_sent.get(),
            frame_bytes: counters.frame_bytes.get(),
            packet_bytes: counters.packet_bytes.get(),
            truncated: Truncated {
                packet_length: counters.truncated_packet_length.get(),
                mtu: counters.truncated_mtu.get(),
            },
            loops: counters.loops.get(),
            messages: counters.messages.get(),
            ring_dropped: counters.capture.ring_dropped.get(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_nowhere_unbalances_the_summary() {
        let control = Control::default();
        control.counters().read.add(3);
        control.counters().sent.add(1);
        control.counters().skip(SkipReason::LinkType);
        control.counters().send_errors[SendFault::Refused as usize].add(1);
        assert_eq!(Summary::of(&control).check(), Err(Imbalance { read: 4, accounted: 3 }));
        control.counters().sent.add(1);
        assert_eq!(Summary::of(&control).check(), Ok(()));
    }

    #[test]
    fn json_has_the_contract_names_and_only_reasons_that_occurred() {
        let control = Control::default();
        control.counters().skip(SkipReason::FileDamaged);
        let json = serde_json::to_value(Summary::of(&control)).unwrap();
        assert_eq!(json["skipped"], serde_json::json!({"file_damaged": 1}));
        assert_eq!(json["send_error_reasons"], serde_json::json!({}));
        for name in ["read", "sent", "send_errors", "bytes_sent", "seconds", "loops"] {
            assert!(json[name].is_number(), "{name}");
        }
        assert_eq!(json["truncated"], serde_json::json!({"packet_length": 0, "mtu": 0}));
    }
}
