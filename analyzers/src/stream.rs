//! Mirror streams: one tunnel as the operator sees it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vxtap_wire::NetworkId;
use vxtap_wire::vxlan::Vni;

/// How the frames of a mirror stream came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encapsulation {
    /// VXLAN in UDP.
    Vxlan,
    /// No tunnel: frames of a capture file taken as they are.
    None,
}

impl Encapsulation {
    /// Every kind of tunnel; not [`Encapsulation::None`], which is none.
    pub const TUNNELS: &[Self] = &[Self::Vxlan];

    /// Its name in flags, logs and snapshots.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::None => "none",
        }
    }
}

/// What makes two datagrams of one mirror stream: encapsulation, outer source and VNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// How the frames came.
    pub encapsulation: Encapsulation,
    /// Outer source address; `None` without encapsulation.
    pub source: Option<IpAddr>,
    /// VNI; `None` without encapsulation.
    pub vni: Option<Vni>,
}

impl StreamKey {
    /// Frames of a capture file that came in no tunnel.
    pub const PLAIN: Self = Self { encapsulation: Encapsulation::None, source: None, vni: None };

    /// The stream of VXLAN datagrams from `source` with `vni`.
    pub const fn vxlan(source: IpAddr, vni: Vni) -> Self {
        Self { encapsulation: Encapsulation::Vxlan, source: Some(source), vni: Some(vni) }
    }

    /// The network that flows of this stream are in unless configuration says otherwise.
    pub fn network(&self) -> NetworkId {
        self.vni.map_or(NetworkId::NONE, NetworkId::from)
    }
}

/// The name that Wireshark's interface column shows: `vni 4242 from 10.0.0.7`.
impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.vni, self.source) {
            (Some(vni), Some(source)) => write!(f, "vni {vni} from {source}"),
            (Some(vni), None) => write!(f, "vni {vni}"),
            _ => f.write_str("plain"),
        }
    }
}

/// What configuration calls a mirror stream; names are of letters, digits, `-`, `_` and `.`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamNames {
    /// The network that its flows are in.
    pub network: Option<&'static str>,
    /// Its VNI.
    pub vni: Option<&'static str>,
    /// Its outer source.
    pub source: Option<&'static str>,
}

/// Number of a mirror stream within one run, counted from 0 in order of appearance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u32);

/// What one worker saw of one mirror stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCounters {
    /// Inner frames.
    pub frames: u64,
    /// Bytes of inner frames as they came.
    pub bytes: u64,
    /// Frames that the mirror had cut.
    pub truncated: u64,
    /// The longest length on the wire of a frame that the mirror had cut, in bytes; 0 where none was cut.
    #[serde(default)]
    pub cut_wire_len: u32,
    /// The most bytes that came of a frame that the mirror had cut.
    #[serde(default)]
    pub cut_len: u32,
    /// Datagrams with a reserved VXLAN bit set.
    pub reserved_bits: u64,
    /// When the last frame came, in nanoseconds since 1970; 0 for none.
    pub last_seen_ns: u64,
}

impl StreamCounters {
    /// Adds what another worker saw of the same stream.
    pub fn merge(&mut self, other: &Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.truncated += other.truncated;
        self.cut_wire_len = self.cut_wire_len.max(other.cut_wire_len);
        self.cut_len = self.cut_len.max(other.cut_len);
        self.reserved_bits += other.reserved_bits;
        self.last_seen_ns = self.last_seen_ns.max(other.last_seen_ns);
    }
}
