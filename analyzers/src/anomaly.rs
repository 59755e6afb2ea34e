//! What is wrong with packets and streams: `anomaly` events of the types `decode` and `stream`.
//!
//! Names are Suricata's where it has one. Nothing is told for what a mirror does when it cuts frames: only lengths and flags that contradict
//! each other in what was sent. Each name is told once for a flow, and of a shard at most [`FLOWS_PER_SECOND`] events in a second of packet
//! time, and [`FRAMES_PER_SECOND`] of frames in no flow; the rest is counted.

use std::collections::BTreeMap;

use vxtap_wire::{FrameView, IpVersion, Malformed, Missing, Network, TcpFlags, Transport, ethertype};

use crate::json::JsonObject;

mod encapsulation;

/// Anomalies of flows that are told in one second of packet time.
pub const FLOWS_PER_SECOND: u32 = 256;

/// Anomalies of frames in no flow that are told in one second of packet time.
pub const FRAMES_PER_SECOND: u32 = 16;

/// Packet time that goes back further than this, in seconds, was set back: seconds are counted from there.
const SET_BACK: u64 = 60;

/// Declares the anomalies with their names; the type is what stands before the first dot.
macro_rules! anomalies {
    ($($(#[$doc:meta])* $arm:ident = $name:literal),+ $(,)?) => {
        /// Something that is wrong with a packet or a stream.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Anomaly {
            $($(#[$doc])* $arm),+
        }

        impl Anomaly {
            /// All, in the order of their numbers.
            pub(crate) const ALL: &[Self] = &[$(Self::$arm),+];

            /// The name in `anomaly.event`.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$arm => $name),+
                }
            }
        }
    };
}

anomalies! {
    Ipv4Version = "decoder.ipv4.wrong_ip_version",
    Ipv6Version = "decoder.ipv6.wrong_ip_version",
    Ipv4HeaderLength = "decoder.ipv4.hlen_too_small",
    Ipv4TotalLength = "decoder.ipv4.iplen_smaller_than_hlen",
    Ipv4TooShort = "decoder.ipv4.pkt_too_small",
    Ipv6TooShort = "decoder.ipv6.trunc_exthdr",
    /// Ours: more extension headers than anybody walks.
    Ipv6Chain = "decoder.ipv6.exthdr_too_many",
    Ipv4FragmentOverlap = "decoder.ipv4.frag_overlap",
    Ipv6FragmentOverlap = "decoder.ipv6.frag_overlap",
    /// Also what is no multiple of 8 before the end: Suricata has one name for all of them.
    Ipv4FragmentLength = "decoder.ipv4.frag_pkt_too_large",
    Ipv6FragmentLength = "decoder.ipv6.frag_invalid_length",
    TcpHeaderLength = "decoder.tcp.hlen_too_small",
    TcpTooShort = "decoder.tcp.pkt_too_small",
    UdpLength = "decoder.udp.hlen_invalid",
    UdpTooShort = "decoder.udp.pkt_too_small",
    /// Ours, as all of flags: Suricata leaves them to rules.
    TcpSynFin = "decoder.tcp.flags_syn_fin",
    TcpSynRst = "decoder.tcp.flags_syn_rst",
    TcpNull = "decoder.tcp.flags_null",
    TcpXmas = "decoder.tcp.flags_xmas",
    TcpFinAlone = "decoder.tcp.flags_fin_without_ack",
    VlanLayers = "decoder.vlan.too_many_layers",
    VlanType = "decoder.vlan.unknown_type",
    EthernetType = "decoder.ethernet.unknown_ethertype",
    TooManyLayers = "decoder.too_many_layers",
    GreVersion = "decoder.gre.wrong_version",
    GreVersion1 = "decoder.gre.version1_wrong_protocol",
    VxlanType = "decoder.vxlan.unknown_payload_type",
    GeneveType = "decoder.geneve.unknown_payload_type",
    StreamOverlap = "stream.reassembly_overlap_different_data",
}

impl Anomaly {
    /// What the flags of a TCP header contradict (RFC 9293 section 3.5 has the handshake, 3.10 which segments have no ACK).
    #[inline]
    const fn of_flags(flags: TcpFlags) -> Option<Self> {
        const SYN_FIN: u8 = TcpFlags::SYN | TcpFlags::FIN;
        const SYN_RST: u8 = TcpFlags::SYN | TcpFlags::RST;
        const PSH_URG: u8 = TcpFlags::PSH | TcpFlags::URG;
        // ECE and CWR say nothing of the connection.
        let flags = flags.0 & !(TcpFlags::ECE | TcpFlags::CWR);
        if flags & SYN_FIN == SYN_FIN {
            Some(Self::TcpSynFin)
        } else if flags & SYN_RST == SYN_RST {
            Some(Self::TcpSynRst)
        } else if flags & (TcpFlags::ACK | TcpFlags::SYN | TcpFlags::RST) != 0 {
            None
        } else if flags & TcpFlags::FIN != 0 {
            Some(if flags & PSH_URG == PSH_URG { Self::TcpXmas } else { Self::TcpFinAlone })
        } else if flags == 0 {
            Some(Self::TcpNull)
        } else {
            None
        }
    }

    /// The name for what contradicts itself in `view`.
    #[cold]
    fn of_malformed(malformed: Malformed, view: &FrameView<'_>) -> Self {
        let is_v6 = match view.five_tuple {
            Some(tuple) => tuple.version == IpVersion::V6,
            None => view.network == Network::Ipv6,
        };
        match malformed {
            // Named by the header that was announced: the other one is what it looks like.
            Malformed::IpVersion if is_v6 => Self::Ipv6Version,
            Malformed::IpVersion => Self::Ipv4Version,
            Malformed::Ipv4HeaderLength => Self::Ipv4HeaderLength,
            Malformed::Ipv4TotalLength => Self::Ipv4TotalLength,
            Malformed::Ipv6ExtensionChain => Self::Ipv6Chain,
            Malformed::TcpDataOffset => Self::TcpHeaderLength,
            Malformed::UdpLength => Self::UdpLength,
            Malformed::ShimChain => Self::VlanLayers,
            Malformed::PacketTooShort => match view.five_tuple.map(|tuple| tuple.protocol) {
                Some(vxtap_wire::protocol::TCP) => Self::TcpTooShort,
                Some(vxtap_wire::protocol::UDP) => Self::UdpTooShort,
                _ if is_v6 => Self::Ipv6TooShort,
                _ => Self::Ipv4TooShort,
            },
        }
    }

    /// What is in `view`, of a frame in a flow.
    #[inline]
    pub(crate) fn of_packet(view: &FrameView<'_>) -> AnomalySet {
        let mut found = AnomalySet::default();
        if let Transport::Tcp(header) = view.transport
            && let Some(anomaly) = Self::of_flags(header.flags)
        {
            found.insert(anomaly);
        }
        if let Some(malformed) = view.malformed {
            found.insert(Self::of_malformed(malformed, view));
        }
        if view.too_deep {
            found.insert(Self::TooManyLayers);
        }
        if let Some(anomaly) = encapsulation::find(view) {
            found.insert(anomaly);
        }
        found
    }

    /// Whether [`Anomaly::of_packet`] finds nothing in `view`, told at a glance: a TCP segment as nearly all are. Where this says no, it
    /// may find nothing all the same.
    #[inline]
    pub(crate) const fn is_none_in(view: &FrameView<'_>) -> bool {
        const ALL: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::ACK;
        match view.transport {
            // What is a TCP segment is no tunnel.
            Transport::Tcp(header) => {
                header.flags.0 & ALL == TcpFlags::ACK && view.malformed.is_none() && !view.too_deep
            }
            _ => false,
        }
    }

    /// What is in `view`, of a frame in no flow.
    pub(crate) fn of_frame(view: &FrameView<'_>) -> Option<Self> {
        if let Some(malformed) = view.malformed {
            return Some(Self::of_malformed(malformed, view));
        }
        if view.network != Network::Other || view.missing != Missing::Nothing || view.tunnels > 0 {
            return None;
        }
        let tags = usize::from(view.vlans.count());
        let kind: [u8; 2] = view.bytes.get(12 + 4 * tags..)?.first_chunk().copied()?;
        match u16::from_be_bytes(kind) {
            kind if is_known_type(kind) => None,
            _ if tags > 0 => Some(Self::VlanType),
            _ => Some(Self::EthernetType),
        }
    }

    /// What stands in `anomaly.type`.
    const fn kind(self) -> &'static str {
        match self {
            Self::StreamOverlap => "stream",
            _ => "decode",
        }
    }

    /// Writes the members behind the envelope.
    pub(crate) fn write(self, json: &mut JsonObject<'_>) {
        json.text("pkt_src", "wire/pcap");
        json.object("anomaly", |json| {
            json.text("type", self.kind());
            json.text("event", self.as_str());
        });
    }
}

/// Whether an EtherType is one that is looked into, or one of neighbours on a wire; or a length.
const fn is_known_type(kind: u16) -> bool {
    // Below that it is a length (IEEE 802.3 section 3.2.6).
    matches!(
        kind,
        0..0x0600
            | ethertype::IPV4
            | ethertype::IPV6
            | ethertype::ARP
            | ethertype::VLAN
            | ethertype::QINQ
            | ethertype::QINQ_OLD
            | ethertype::MPLS
            | ethertype::MPLS_MULTICAST
            | ethertype::PPPOE_SESSION
            | PPPOE_DISCOVERY
            | LLDP
            | SLOW_PROTOCOLS
            | EAPOL
    )
}

/// EtherTypes of neighbours on a wire, which are no anomaly.
const LLDP: u16 = 0x88CC;
const SLOW_PROTOCOLS: u16 = 0x8809;
const EAPOL: u16 = 0x888E;
const PPPOE_DISCOVERY: u16 = 0x8863;

/// A set of anomalies, for instance those that were told of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnomalySet(u32);

// One bit for each.
const _: () = assert!(Anomaly::ALL.len() <= 32);

impl AnomalySet {
    #[inline]
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Puts `anomaly` in; gives whether it was not in it before.
    pub(crate) const fn insert(&mut self, anomaly: Anomaly) -> bool {
        let bit = 1 << anomaly as u32;
        let is_new = self.0 & bit == 0;
        self.0 |= bit;
        is_new
    }

    /// What is in it, in the order of their numbers.
    pub(crate) fn iter(self) -> impl Iterator<Item = Anomaly> {
        Anomaly::ALL.iter().copied().filter(move |anomaly| self.0 & 1 << *anomaly as u32 != 0)
    }
}

/// What anomalies a shard has found, and how many it may tell.
#[derive(Debug, Default)]
pub struct AnomalyCounters {
    found: BTreeMap<&'static str, u64>,
    suppressed: u64,
    second: u64,
    /// Told in this second: of flows, of frames.
    told: [u32; 2],
}

/// What an anomaly was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Flow,
    Frame,
}

impl AnomalyCounters {
    /// How often each was found, by its name: once for a flow, or for each frame in no flow. Also those that were not told.
    pub fn found(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.found.iter().map(|(name, count)| (*name, *count))
    }

    /// Those that were not told since there were too many in a second.
    pub const fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Counts one; gives whether it may be told.
    pub(crate) fn admit(&mut self, subject: Subject, name: &'static str, time_ns: u64) -> bool {
        *self.found.entry(name).or_default() += 1;
        let second = time_ns / 1_000_000_000;
        // Flows' times may differ a little; that must not begin a second anew.
        if second > self.second || self.second - second > SET_BACK {
            self.second = second;
            self.told = [0; 2];
        }
        let (told, most) = match subject {
            Subject::Flow => (&mut self.told[0], FLOWS_PER_SECOND),
            Subject::Frame => (&mut self.told[1], FRAMES_PER_SECOND),
        };
        let may = *told < most;
        *told += u32::from(may);
        self.suppressed += u64::from(!may);
        may
    }
}

#[cfg(test)]
mod tests;
