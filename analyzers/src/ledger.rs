//! The ledger: where every packet went.
//!
//! Two sums must hold at the end of every run:
//!
//! ```text
//! received = analysed + dropped(by reason)
//! analysed = captured + capture_dropped + not_captured
//! ```
//!
//! For a single worker the first one also has what went to and came from other workers
//! ([`Ledger::check_worker`]).
//!
//! `kernel_dropped` stands beside them: datagrams that the kernel took from the network and threw away before the collector
//! could read them, so that a sender's `sent` = `received` + `kernel_dropped`.

use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vxtap_wire::envelope::EnvelopeError;
use vxtap_wire::geneve::GeneveError;
use vxtap_wire::vxlan::VxlanError;
use vxtap_wire::vxlan_gpe::GpeError;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why the collector discarded something that it had received. The names are stable: metric labels, summary
        /// keys and screens use them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant,)+ }

        impl DropReason {
            /// Every reason, in the order of the ledger.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What happened, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// Datagram shorter than a VXLAN header (8 bytes).
    VxlanTooShort = "vxlan_too_short",
    /// VXLAN I flag clear: no valid VNI.
    VxlanFlagClear = "vxlan_flag_clear",
    /// VXLAN header with no inner frame behind it.
    VxlanEmptyFrame = "vxlan_empty_frame",
    /// Datagram shorter than a GENEVE header (8 bytes).
    GeneveTooShort = "geneve_too_short",
    /// GENEVE of a version other than 0.
    GeneveVersion = "geneve_version",
    /// GENEVE control packet (O bit): a message between tunnel endpoints.
    GeneveControl = "geneve_control",
    /// GENEVE options longer than the datagram, or an option longer than their room.
    GeneveOptionOverrun = "geneve_option_overrun",
    /// GENEVE with a critical option that is not known (--accept-unknown-critical takes it).
    GeneveUnknownCritical = "geneve_unknown_critical",
    /// GENEVE around neither Ethernet nor IP.
    GenevePayload = "geneve_payload",
    /// GENEVE header with nothing behind it.
    GeneveEmptyFrame = "geneve_empty_frame",
    /// VXLAN-GPE of a version other than 0.
    VxlanGpeVersion = "vxlan_gpe_version",
    /// VXLAN-GPE control packet (O bit): a message between tunnel endpoints.
    VxlanGpeControl = "vxlan_gpe_control",
    /// VXLAN-GPE around neither Ethernet nor IP: NSH, or an unknown protocol.
    VxlanGpePayload = "vxlan_gpe_payload",
    /// Header of the PROXY protocol where the tunnel's should begin: a load balancer puts it there, and has to be told not to.
    ProxyHeader = "proxy_header",
    /// Datagram longer than the receive buffer: its end is gone.
    DatagramTruncated = "datagram_truncated",
    /// Frame of a raw mirror for this machine itself: not mirrored.
    OwnTraffic = "own_traffic",
    /// Frame of a raw mirror for this machine, from a load balancer's prober (--probes): not mirrored.
    HealthProbe = "health_probe",
    /// Handed over to the worker that owns the flow, whose queue was full.
    HandOverFull = "hand_over_full",
    /// Record of a capture file of a link type that cannot be read.
    LinkType = "link_type",
    /// Capture file that ends in the middle of a record, or whose next record makes no sense.
    FileDamaged = "file_damaged",
    /// Frame of a capture file that is in no tunnel, when only tunnelled ones were asked for.
    NotEncapsulated = "not_encapsulated",
    /// Fragment of an outer datagram: a receiving host puts those together first, but not those of an interface or a capture file.
    OuterFragment = "outer_fragment",
    /// Frame of a mirror stream that waits to be accepted.
    NotAdmitted = "not_admitted",
    /// Frame of a mirror stream that was rejected.
    Rejected = "rejected",
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether something is missing then that was wanted: not where it was to be left out, or was none of the mirror's.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::NotAdmitted | Self::Rejected | Self::OwnTraffic | Self::HealthProbe)
    }
}

impl From<VxlanError> for DropReason {
    fn from(error: VxlanError) -> Self {
        match error {
            VxlanError::HeaderTooShort => Self::VxlanTooShort,
            VxlanError::FlagClear => Self::VxlanFlagClear,
            VxlanError::ProxyHeader => Self::ProxyHeader,
            VxlanError::EmptyFrame => Self::VxlanEmptyFrame,
        }
    }
}

impl From<GeneveError> for DropReason {
    fn from(error: GeneveError) -> Self {
        match error {
            GeneveError::HeaderTooShort => Self::GeneveTooShort,
            GeneveError::Version => Self::GeneveVersion,
            GeneveError::Control => Self::GeneveControl,
            GeneveError::OptionOverrun => Self::GeneveOptionOverrun,
            GeneveError::Payload => Self::GenevePayload,
            GeneveError::EmptyFrame => Self::GeneveEmptyFrame,
        }
    }
}

impl From<EnvelopeError> for DropReason {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Vxlan(error) | EnvelopeError::Gpe(GpeError::Vxlan(error)) => error.into(),
            EnvelopeError::Gpe(GpeError::Version) => Self::VxlanGpeVersion,
            EnvelopeError::Gpe(GpeError::Control) => Self::VxlanGpeControl,
            EnvelopeError::Gpe(GpeError::Payload(_)) => Self::VxlanGpePayload,
            EnvelopeError::Geneve(error) => error.into(),
            EnvelopeError::UnknownCritical => Self::GeneveUnknownCritical,
            EnvelopeError::ProxyHeader => Self::ProxyHeader,
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Packets dropped, by reason. As JSON an object of the reasons that occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::COUNT]);

impl Drops {
    /// Counts `packets` more for `reason`.
    #[inline]
    pub fn add(&mut self, reason: DropReason, packets: u64) {
        self.0[reason as usize] += packets;
    }

    /// The count for `reason`.
    pub const fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, count| sum.saturating_add(*count))
    }

    /// Each reason with its count, those that never occurred included.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|reason| (*reason, self.get(*reason)))
    }
}

impl Serialize for Drops {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let occurred = self.iter().filter(|(_, count)| *count > 0);
        let mut map = serializer.serialize_map(None)?;
        for (reason, count) in occurred {
            map.serialize_entry(reason.as_str(), &count)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Drops {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = std::collections::BTreeMap::<String, u64>::deserialize(deserializer)?;
        let mut drops = Self::default();
        for reason in DropReason::ALL {
            drops.add(*reason, counts.get(reason.as_str()).copied().unwrap_or(0));
        }
        Ok(drops)
    }
}

/// Where the packets of one worker, or of all, went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Datagrams read from the sockets (frames read from the files).
    pub received: u64,
    /// Bytes of those datagrams, without outer headers.
    pub received_bytes: u64,
    /// Inner frames that went through analysis.
    pub analysed: u64,
    /// Datagrams discarded, by reason.
    pub dropped: Drops,
    /// Datagrams that the kernel discarded because the receive queue was full or the checksum wrong.
    pub kernel_dropped: u64,
    /// Of `kernel_dropped`, what may stand for several datagrams each: the kernel hands over several as one, and counts them as one when it
    /// drops them. It becomes 0, and `kernel_dropped` exact, as soon as a receive queue was empty, where what comes
    /// can be counted (`CAP_BPF`), or where nothing comes in one piece (`--no-gro`).
    #[serde(default)]
    pub kernel_dropped_trains: u64,
    /// Inner frames written to a capture file.
    pub captured: u64,
    /// Inner frames that should have been written and were not: the disk was too slow, full or gone.
    pub capture_dropped: u64,
    /// Inner frames for which no capture was asked.
    pub not_captured: u64,
    /// Flows that began.
    pub flows: u64,
    /// Copies of a packet already seen on another mirror stream, removed before analysis counts it twice.
    pub duplicates: u64,
    /// Frames that the kernel gave to another worker than the flow's owner: handed over, or dropped as `hand_over_full`.
    pub misdelivered: u64,
    /// Frames that a worker got from others because it owns their flow.
    pub taken_over: u64,
}

/// A ledger whose sums do not hold: a fault of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imbalance {
    /// `received` is not `analysed` + `dropped`.
    Received {
        /// Left side.
        received: u64,
        /// Right side.
        accounted: u64,
    },
    /// `analysed` is not `captured` + `capture_dropped` + `not_captured`.
    Analysed {
        /// Left side.
        analysed: u64,
        /// Right side.
        accounted: u64,
    },
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received { received, accounted } => {
                write!(f, "the ledger does not balance: received {received}, analysed + dropped {accounted}")
            }
            Self::Analysed { analysed, accounted } => write!(
                f,
                "the ledger does not balance: analysed {analysed}, captured + capture_dropped + not_captured {accounted}"
            ),
        }
    }
}

impl std::error::Error for Imbalance {}

impl Ledger {
    /// Adds another worker's ledger.
    pub fn merge(&mut self, other: &Self) {
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.analysed += other.analysed;
        for (sum, count) in self.dropped.0.iter_mut().zip(other.dropped.0) {
            *sum += count;
        }
        self.kernel_dropped += other.kernel_dropped;
        self.kernel_dropped_trains += other.kernel_dropped_trains;
        self.captured += other.captured;
        self.capture_dropped += other.capture_dropped;
        self.not_captured += other.not_captured;
        self.flows += other.flows;
        self.duplicates += other.duplicates;
        self.misdelivered += other.misdelivered;
        self.taken_over += other.taken_over;
    }

    /// Counts one datagram that was received and discarded.
    #[inline]
    pub fn drop_one(&mut self, reason: DropReason) {
        self.dropped.add(reason, 1);
    }

    /// Checks both sums for all workers together. Only of meaning when nothing is under way: at the end of a run.
    pub fn check(&self) -> Result<(), Imbalance> {
        self.check_sums(self.received, self.analysed.saturating_add(self.dropped.total()))
    }

    /// Checks both sums for one worker.
    pub fn check_worker(&self) -> Result<(), Imbalance> {
        let (received, accounted) = self.sides_of_worker();
        self.check_sums(received, accounted)
    }

    /// Checks the first sum for one worker. It holds after each batch; what was captured is known when a writer has written it.
    pub fn check_worker_received(&self) -> Result<(), Imbalance> {
        let (received, accounted) = self.sides_of_worker();
        Self::check_received(received, accounted)
    }

    /// What one worker got, and what became of it.
    fn sides_of_worker(&self) -> (u64, u64) {
        // What was dropped on the way to another worker is in both `dropped` and `misdelivered`.
        let handed_over = self.misdelivered.saturating_sub(self.dropped.get(DropReason::HandOverFull));
        let accounted = self.analysed.saturating_add(self.dropped.total()).saturating_add(handed_over);
        (self.received.saturating_add(self.taken_over), accounted)
    }

    const fn check_received(received: u64, accounted: u64) -> Result<(), Imbalance> {
        if received == accounted { Ok(()) } else { Err(Imbalance::Received { received, accounted }) }
    }

    fn check_sums(&self, received: u64, accounted: u64) -> Result<(), Imbalance> {
        Self::check_received(received, accounted)?;
        // A ledger may come from another machine: sums of hostile numbers must not overflow.
        let accounted = self.captured.saturating_add(self.capture_dropped).saturating_add(self.not_captured);
        if self.analysed != accounted {
            return Err(Imbalance::Analysed { analysed: self.analysed, accounted });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_nowhere_unbalances_the_ledger() {
        let mut ledger = Ledger { received: 3, analysed: 2, not_captured: 1, captured: 1, ..Ledger::default() };
        assert_eq!(ledger.check(), Err(Imbalance::Received { received: 3, accounted: 2 }));
        ledger.drop_one(DropReason::VxlanFlagClear);
        assert_eq!(ledger.check(), Ok(()));
        ledger.captured = 0;
        assert_eq!(ledger.check(), Err(Imbalance::Analysed { analysed: 2, accounted: 1 }));
    }

    #[test]
    fn handing_over_moves_a_packet_from_one_workers_sum_to_the_others() {
        let mut giver = Ledger { received: 3, analysed: 1, not_captured: 1, misdelivered: 2, ..Ledger::default() };
        giver.drop_one(DropReason::HandOverFull);
        let taker = Ledger { taken_over: 1, analysed: 1, not_captured: 1, ..Ledger::default() };
        assert_eq!((giver.check_worker(), taker.check_worker()), (Ok(()), Ok(())));
        giver.merge(&taker);
        assert_eq!(giver.check(), Ok(()));
        giver.misdelivered += 1;
        assert!(giver.check_worker().is_err());
    }

    #[test]
    fn between_two_batches_what_is_captured_is_not_known_and_what_was_received_is() {
        let mut ledger = Ledger { received: 2, taken_over: 1, analysed: 3, ..Ledger::default() };
        assert_eq!((ledger.check_worker_received(), ledger.check_worker().is_err()), (Ok(()), true));
        ledger.received += 1;
        assert_eq!(ledger.check_worker_received(), Err(Imbalance::Received { received: 4, accounted: 3 }));
    }

    #[test]
    fn json_names_the_reasons_that_occurred_and_reads_back() {
        let mut ledger = Ledger { received: 1, ..Ledger::default() };
        ledger.drop_one(DropReason::VxlanTooShort);
        let json = serde_json::to_value(ledger).unwrap();
        assert_eq!(json["dropped"], serde_json::json!({"vxlan_too_short": 1}));
        assert_eq!(serde_json::from_value::<Ledger>(json).unwrap(), ledger);
    }

    #[test]
    fn merging_adds_every_field() {
        let mut drops = Drops::default();
        drops.add(DropReason::LinkType, 4);
        let one = Ledger {
            received: 1,
            received_bytes: 2,
            analysed: 3,
            dropped: drops,
            kernel_dropped: 5,
            kernel_dropped_trains: 13,
            captured: 6,
            capture_dropped: 7,
            not_captured: 8,
            flows: 9,
            duplicates: 10,
            misdelivered: 11,
            taken_over: 12,
        };
        let mut sum = one;
        sum.merge(&one);
        let (one, sum) = (serde_json::to_value(one).unwrap(), serde_json::to_value(sum).unwrap());
        for (name, value) in one.as_object().unwrap() {
            match value.as_u64() {
                Some(value) => assert_eq!(sum[name], 2 * value, "{name}"),
                None => assert_eq!(sum[name]["link_type"], 8),
            }
        }
    }
}
