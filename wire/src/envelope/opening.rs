//! Taking a mirror's envelope off.
//!
//! An envelope is of one layer, or of several: a gateway load balancer puts GENEVE around the mirror's IP, UDP and VXLAN. Which
//! layers are the mirror's own is known by the balancer's options, or told by configuration ([`Layers`]). Whatever else is in the
//! frame, tunnels included, is what the mirrored host sent, and stays.

use std::fmt;
use std::net::IpAddr;

use super::{first_fragment_port, outer_datagram};
use crate::geneve::{self, Cookie, GeneveError, Mark, MirrorDirection};
use crate::link::Link;
use crate::proxy;
use crate::vxlan::{self, Vni, VxlanError};
use crate::vxlan_gpe::{self, GpeError};

/// The most layers that one envelope has; what is deeper belongs to the frame.
pub const MAX_LAYERS: usize = 4;

/// What is expected behind a UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// VXLAN (RFC 7348).
    Vxlan,
    /// VXLAN with the generic protocol extension.
    VxlanGpe,
    /// GENEVE (RFC 8926).
    Geneve,
}

impl Kind {
    /// Its name: `vxlan`, `vxlan-gpe`, `geneve`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::VxlanGpe => "vxlan-gpe",
            Self::Geneve => "geneve",
        }
    }

    /// The port that IANA assigned to it.
    pub const fn port(self) -> u16 {
        match self {
            Self::Vxlan => vxlan::PORT,
            Self::VxlanGpe => vxlan_gpe::PORT,
            Self::Geneve => geneve::PORT,
        }
    }
}

/// How many layers the mirror has put around a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layers {
    /// The outermost; and where a gateway load balancer has put GENEVE around VXLAN, both.
    #[default]
    Known,
    /// So many, 1 to [`MAX_LAYERS`], as far as there are VXLAN or GENEVE on their own ports directly in each other.
    UpTo(u8),
}

/// What opening goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How many layers are taken off.
    pub layers: Layers,
    /// Whether GENEVE with an unknown critical option is taken all the same, against RFC 8926.
    pub accept_unknown_critical: bool,
}

/// VNIs, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vnis {
    list: [Vni; MAX_LAYERS],
    count: u8,
}

impl Vnis {
    /// None.
    pub const NONE: Self = Self { list: [Vni::ZERO; MAX_LAYERS], count: 0 };

    /// Adds one inside all others; one too many is left out.
    pub fn push(&mut self, vni: Vni) {
        if let Some(place) = self.list.get_mut(usize::from(self.count)) {
            *place = vni;
            self.count += 1;
        }
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Vni] {
        &self.list[..usize::from(self.count)]
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A mirrored frame, and what was around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The frame or packet.
    pub frame: &'a [u8],
    /// Where in the datagram it begins.
    pub offset: usize,
    /// What it begins with.
    pub link: Link,
    /// VNI of the innermost layer.
    pub vni: Vni,
    /// VNIs of the layers around that one.
    pub around: Vnis,
    /// Who sent the innermost layer: a balancer that put another around it says nothing of the mirror's source.
    pub source: IpAddr,
    /// Where the frame is from, by a cloud's options.
    pub cookie: Cookie,
    /// Which way the frame went.
    pub direction: Option<MirrorDirection>,
    /// What vxtap's sender said of it.
    pub mark: Option<Mark>,
    /// Whether a layer has reserved bits set.
    pub reserved_bits_set: bool,
    /// Whether the frame is the first fragment of a datagram to the port of a tunnel, and that layer would have come off if it were whole: the frame
    /// and its further fragments stay as they are.
    pub layer_in_fragments: bool,
}

/// Why there is no frame in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnvelopeError {
    /// It is no VXLAN.
    Vxlan(VxlanError),
    /// It is no VXLAN-GPE, or has no frame in it.
    Gpe(GpeError),
    /// It is no GENEVE, or has no frame in it.
    Geneve(GeneveError),
    /// GENEVE with an option that must not be passed over, and that nobody here knows.
    UnknownCritical,
    /// A header of the PROXY protocol where the tunnel's should begin.
    ProxyHeader,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vxlan(error) => error.fmt(f),
            Self::Gpe(error) => error.fmt(f),
            Self::Geneve(error) => error.fmt(f),
            Self::UnknownCritical => f.write_str("GENEVE with a critical option that is not known"),
            Self::ProxyHeader => f.write_str("header of the PROXY protocol where the tunnel should begin"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

/// One layer.
struct Layer<'a> {
    vni: Vni,
    link: Link,
    reserved_bits_set: bool,
    cookie: Cookie,
    direction: Option<MirrorDirection>,
    mark: Option<Mark>,
    frame: &'a [u8],
}

/// Takes the envelope off `datagram`, which came from `source` to a port of `kind`.
pub fn open(kind: Kind, datagram: &[u8], source: IpAddr, rules: Rules) -> Result<Opened<'_>, EnvelopeError> {
    let layer = layer(kind, datagram, rules)
        .map_err(|error| if proxy::begins(datagram) { EnvelopeError::ProxyHeader } else { error })?;
    let Layer { vni, link, reserved_bits_set, cookie, direction, mark, frame } = layer;
    let offset = datagram.len() - frame.len();
    let around = Vnis::NONE;
    let mut opened = Opened {
        frame,
        offset,
        link,
        vni,
        around,
        source,
        cookie,
        direction,
        mark,
        reserved_bits_set,
        layer_in_fragments: false,
    };
    let is_balancer = matches!(cookie, Cookie::Balancer(_));
    let layers = match rules.layers {
        Layers::Known if is_balancer => 2,
        Layers::Known => 1,
        Layers::UpTo(layers) => usize::from(layers).min(MAX_LAYERS),
    };
    for _ in 1..layers {
        if !opened.take_layer(rules) {
            let port = first_fragment_port(opened.link, opened.frame);
            opened.layer_in_fragments = port.and_then(kind_inside).is_some();
            break;
        }
    }
    Ok(opened)
}

impl Opened<'_> {
    /// Takes one more layer off, if there is one in the frame.
    fn take_layer(&mut self, rules: Rules) -> bool {
        let Some(datagram) = outer_datagram(self.link, self.frame) else { return false };
        let Some(kind) = kind_inside(datagram.destination_port) else { return false };
        // What is no such tunnel is a packet that the mirrored host sent.
        let Ok(layer) = layer(kind, datagram.payload, rules) else { return false };
        self.around.push(self.vni);
        self.offset += datagram.payload_offset + datagram.payload.len() - layer.frame.len();
        self.vni = layer.vni;
        self.link = layer.link;
        self.frame = layer.frame;
        self.source = datagram.source;
        self.reserved_bits_set |= layer.reserved_bits_set;
        self.direction = self.direction.or(layer.direction);
        self.mark = self.mark.or(layer.mark);
        if self.cookie == Cookie::None {
            self.cookie = layer.cookie;
        }
        true
    }
}

/// What is behind a UDP header to this port, inside another layer.
const fn kind_inside(port: u16) -> Option<Kind> {
    match port {
        vxlan::PORT => Some(Kind::Vxlan),
        geneve::PORT => Some(Kind::Geneve),
        _ => None,
    }
}

fn layer(kind: Kind, datagram: &[u8], rules: Rules) -> Result<Layer<'_>, EnvelopeError> {
    let plain = |header: vxlan::VxlanHeader, link, frame| Layer {
        vni: header.vni,
        link,
        reserved_bits_set: header.reserved_bits_set,
        cookie: Cookie::None,
        direction: None,
        mark: None,
        frame,
    };
    match kind {
        Kind::Vxlan => {
            let (header, frame) = vxlan::decapsulate(datagram).map_err(EnvelopeError::Vxlan)?;
            Ok(plain(header, Link::Ethernet, frame))
        }
        Kind::VxlanGpe => {
            let (header, link, frame) = vxlan_gpe::decapsulate(datagram).map_err(EnvelopeError::Gpe)?;
            Ok(plain(header, link, frame))
        }
        Kind::Geneve => {
            let (header, frame) = geneve::decapsulate(datagram).map_err(EnvelopeError::Geneve)?;
            let metadata = header.metadata;
            if metadata.unknown_critical && !rules.accept_unknown_critical {
                return Err(EnvelopeError::UnknownCritical);
            }
            Ok(Layer {
                vni: header.vni,
                link: header.link,
                reserved_bits_set: header.reserved_bits_set,
                cookie: metadata.cookie,
                direction: metadata.direction,
                mark: metadata.mark,
                frame,
            })
        }
    }
}

#[cfg(test)]
mod tests;
