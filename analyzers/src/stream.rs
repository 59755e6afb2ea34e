//! Mirror streams: one tunnel as the operator sees it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vxtap_wire::envelope::{Kind, Opened, Vnis};
use vxtap_wire::geneve::{Balancer, Cookie, GoogleCookie, MirrorDirection};
use vxtap_wire::vxlan::Vni;
use vxtap_wire::{Link, NetworkId};

use crate::interface_name::InterfaceName;

/// How the frames of a mirror stream came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encapsulation {
    /// VXLAN in UDP.
    Vxlan,
    /// VXLAN with the generic protocol extension.
    VxlanGpe,
    /// GENEVE in UDP.
    Geneve,
    /// No tunnel: frames of an interface taken as they are.
    Packet,
    /// No tunnel: frames of a capture file taken as they are.
    #[default]
    None,
}

impl Encapsulation {
    /// Every way in which mirrored frames come; not [`Encapsulation::None`], which is for files.
    pub const TUNNELS: &[Self] = &[Self::Vxlan, Self::VxlanGpe, Self::Geneve, Self::Packet];

    /// Its name in flags, logs and snapshots.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vxlan => Kind::Vxlan.as_str(),
            Self::VxlanGpe => Kind::VxlanGpe.as_str(),
            Self::Geneve => Kind::Geneve.as_str(),
            Self::Packet => "packet",
            Self::None => "none",
        }
    }
}

impl From<Kind> for Encapsulation {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Vxlan => Self::Vxlan,
            Kind::VxlanGpe => Self::VxlanGpe,
            Kind::Geneve => Self::Geneve,
        }
    }
}

/// What makes two datagrams of one mirror stream: encapsulation, source, VNIs, and what a cloud's options say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// How the frames came: the outermost layer.
    pub encapsulation: Encapsulation,
    /// Source address of the innermost layer that was the mirror's; `None` without encapsulation.
    pub source: Option<IpAddr>,
    /// VNI of the innermost layer; `None` without encapsulation.
    pub vni: Option<Vni>,
    /// VNIs of the layers around that one.
    pub around: Vnis,
    /// Where the frames are from, by a cloud's options.
    pub cookie: Cookie,
    /// Which way the frames went, where the mirror tells.
    pub direction: Option<MirrorDirection>,
    /// What the frames begin with.
    pub link: Link,
    /// The interface that frames in no tunnel came by.
    pub interface: Option<InterfaceName>,
}

/// The first network that is told by more than a VNI: [`NetworkId`]s of Google's cookies.
const GOOGLE_NETWORKS: u32 = 0x4000_0000;
/// Networks that are told by several VNIs, or by the endpoint of a gateway load balancer: the rest of the number is a hash of them.
const HASHED_NETWORKS: u32 = 0x8000_0000;

impl StreamKey {
    /// Frames of a capture file that came in no tunnel.
    pub const PLAIN: Self = Self {
        encapsulation: Encapsulation::None,
        source: None,
        vni: None,
        around: Vnis::NONE,
        cookie: Cookie::None,
        direction: None,
        link: Link::Ethernet,
        interface: None,
    };

    /// The stream of frames in no tunnel that come by `interface`.
    pub const fn packet(interface: InterfaceName) -> Self {
        Self { encapsulation: Encapsulation::Packet, interface: Some(interface), ..Self::PLAIN }
    }

    /// The stream of VXLAN datagrams from `source` with `vni`.
    pub const fn vxlan(source: IpAddr, vni: Vni) -> Self {
        Self { encapsulation: Encapsulation::Vxlan, source: Some(source), vni: Some(vni), ..Self::PLAIN }
    }

    /// The stream of what was `opened`, and came to a port of `kind`.
    pub fn of(kind: Kind, opened: &Opened<'_>) -> Self {
        Self {
            encapsulation: kind.into(),
            source: Some(opened.source),
            vni: Some(opened.vni),
            around: opened.around,
            cookie: opened.cookie,
            direction: opened.direction,
            link: opened.link,
            interface: None,
        }
    }

    /// The network that flows of this stream are in unless configuration says otherwise: the VNI; Google's network cookie where there is
    /// one. Several VNIs in each other, or a load balancer's endpoint without a VNI, make a number of 31 bits that two networks share as
    /// seldom as that allows; VNIs of 0 around another say nothing.
    pub fn network(&self) -> NetworkId {
        let Some(vni) = self.vni else { return NetworkId::NONE };
        if let Cookie::Google(GoogleCookie { network, .. }) = self.cookie {
            return NetworkId(GOOGLE_NETWORKS | network);
        }
        let around = self.around.as_slice();
        if around.iter().any(|vni| *vni != Vni::ZERO) {
            return hashed(around.iter().chain([&vni]).map(|vni| u64::from(vni.get())));
        }
        match self.cookie {
            Cookie::Balancer(Balancer { cloud, endpoint, attachment }) if vni == Vni::ZERO => {
                // The first word is no VNI.
                hashed([u64::MAX, cloud as u64, endpoint, attachment].into_iter())
            }
            _ => vni.into(),
        }
    }

    /// The VNIs of all layers, outermost first.
    pub fn vnis(&self) -> impl Iterator<Item = Vni> + '_ {
        self.around.as_slice().iter().copied().chain(self.vni)
    }
}

/// FNV-1a over `words`: the same in every run, since numbers of networks are in flow numbers and indexes.
fn hashed(words: impl Iterator<Item = u64>) -> NetworkId {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in words.flat_map(u64::to_be_bytes) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let folded = (hash ^ hash >> 32) as u32 & !HASHED_NETWORKS;
    // The last number is that of no network.
    NetworkId(HASHED_NETWORKS | folded.min(!HASHED_NETWORKS - 1))
}

/// The name that Wireshark's interface column shows: `vni 4242 from 10.0.0.7`, and more where more tells streams apart:
/// `geneve vni 0/4242 from 10.0.0.7 endpoint aws 0x1`.
impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.encapsulation {
            Encapsulation::None => f.write_str("plain")?,
            Encapsulation::Packet => f.write_str("packet")?,
            Encapsulation::Vxlan => f.write_str("vni")?,
            other => write!(f, "{} vni", other.as_str())?,
        }
        for (number, vni) in self.vnis().enumerate() {
            write!(f, "{}{vni}", if number == 0 { " " } else { "/" })?;
        }
        if let Some(interface) = self.interface {
            write!(f, " {interface}")?;
        }
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        match self.cookie {
            Cookie::None => {}
            Cookie::Balancer(Balancer { cloud, endpoint, attachment }) => {
                write!(f, " endpoint {} {endpoint:#x}", cloud.as_str())?;
                if attachment != 0 {
                    write!(f, "/{attachment:#x}")?;
                }
            }
            Cookie::Google(GoogleCookie { network, endpoint, profile }) => {
                write!(f, " network {network:#x} endpoint {:#x}", u128::from_be_bytes(endpoint))?;
                if profile != 0 {
                    write!(f, " profile {profile:#x}")?;
                }
            }
        }
        if let Some(direction) = self.direction {
            write!(f, " {}", direction.as_str())?;
        }
        if self.link != Link::Ethernet {
            write!(f, " {}", self.link.as_str())?;
        }
        Ok(())
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
    /// Datagrams with a reserved bit set in the tunnel's header.
    pub reserved_bits: u64,
    /// Frames whose sender's clock was more than a second away from ours, so that they have our time.
    #[serde(default)]
    pub clock_apart: u64,
    /// Datagrams of one more layer of the envelope that were in fragments: those stayed as they were.
    #[serde(default)]
    pub layer_in_fragments: u64,
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
        self.clock_apart += other.clock_apart;
        self.layer_in_fragments += other.layer_in_fragments;
        self.last_seen_ns = self.last_seen_ns.max(other.last_seen_ns);
    }
}

#[cfg(test)]
mod tests;
