//! Mirror streams by what can be said of them from outside: how they come, their VNI, where they come from, and by which of a cloud's
//! endpoints.
//!
//! The same words everywhere: in the configuration, over the API, in the file of decisions.
//!
//! ```text
//! all
//! vni 100-199,4242
//! vxlan vni 7 from 10.0.0.0/8,fd00::/8
//! geneve vni 0 from 10.0.0.7 endpoint 0x1a2b
//! vni 4242 (web) from 10.0.0.7          as the dashboard names a stream; what is in brackets is passed over
//! ```

mod extent;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use vxtap_analyzers::{Encapsulation, StreamKey};
use vxtap_wire::geneve::Cookie;
use vxtap_wire::vxlan::Vni;

pub(crate) use extent::Extent;

/// What a selector can ask of a mirror stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How its frames come.
    pub encapsulation: Encapsulation,
    /// Outer source address.
    pub source: Option<IpAddr>,
    /// VNI.
    pub vni: Option<Vni>,
    /// The endpoint of a cloud's cookie: behind one gateway load balancer all mirrors have its address and no VNI. Not where no cookie
    /// tells one.
    pub endpoint: Option<Endpoint>,
}

/// A cloud's number of an endpoint: 64 bits of gateway load balancers, 128 of Google's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint([u8; 16]);

impl Endpoint {
    /// The one with this number.
    pub const fn new(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// The one that `cookie` tells; 0 is none.
    fn of(cookie: &Cookie) -> Option<Self> {
        let number = match cookie {
            Cookie::None => 0,
            Cookie::Balancer(balancer) => balancer.endpoint.into(),
            Cookie::Google(google) => u128::from_be_bytes(google.endpoint),
        };
        (number != 0).then_some(Self::new(number))
    }
}

/// As streams' names have it: `0x1a2b`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for Endpoint {
    type Err = SelectorError;

    /// Takes `0x1a2b` and decimal numbers.
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let number = match text.strip_prefix("0x") {
            Some(digits) if !digits.starts_with('+') => u128::from_str_radix(digits, 16).ok(),
            Some(_) => None,
            None => text.parse().ok(),
        };
        let number = number.filter(|number| *number != 0);
        number.map(Self::new).ok_or_else(|| {
            SelectorError(format!("'{}' is no endpoint: expected a number other than 0, such as 0x1a2b", brief(text)))
        })
    }
}

impl From<&StreamKey> for Origin {
    fn from(key: &StreamKey) -> Self {
        let endpoint = Endpoint::of(&key.cookie);
        Self { encapsulation: key.encapsulation, source: key.source, vni: key.vni, endpoint }
    }
}

/// Without what the cookie says: of that an origin has the endpoint alone.
impl From<Origin> for StreamKey {
    fn from(origin: Origin) -> Self {
        Self { encapsulation: origin.encapsulation, source: origin.source, vni: origin.vni, ..Self::PLAIN }
    }
}

/// Some mirror streams: those that fit in everything that is said; what is not said may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    encapsulation: Option<Encapsulation>,
    vnis: Vec<VniRange>,
    sources: Vec<IpNet>,
    endpoints: Vec<Endpoint>,
}

/// VNIs from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VniRange {
    first: u32,
    last: u32,
}

/// What is wrong with a selector, in words that say what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

/// The most VNIs, sources and endpoints of one selector.
const ITEMS_MAX: usize = 256;
/// The most VNIs that are taken one by one.
const VNIS_APART: u64 = 4096;
const EXPECTED: &str = "expected 'all', or any of an encapsulation, 'vni NUMBERS', 'from ADDRESSES' and 'endpoint \
                        NUMBERS', such as 'vxlan vni 100-199,4242 from 10.0.0.0/8'";

impl Origin {
    /// The same by whatever endpoint.
    #[must_use]
    pub fn everywhere(self) -> Self {
        Self { endpoint: None, ..self }
    }
}

impl Selector {
    /// Every mirror stream.
    pub const ALL: Self = Self { encapsulation: None, vnis: Vec::new(), sources: Vec::new(), endpoints: Vec::new() };

    /// The streams of these VNIs that come from these sources; of any where there are none.
    pub fn new(encapsulation: Option<Encapsulation>, vnis: Vec<VniRange>, sources: Vec<IpNet>) -> Self {
        Self { encapsulation, vnis, sources, endpoints: Vec::new() }
    }

    /// Those of them that come by one of these endpoints; by any where there are none.
    #[must_use]
    pub fn by(self, endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, ..self }
    }

    /// The streams of `origin`.
    pub fn of(origin: &Origin) -> Self {
        let vnis = origin.vni.map(|vni| VniRange { first: vni.get(), last: vni.get() });
        Self {
            encapsulation: Some(origin.encapsulation),
            vnis: vnis.into_iter().collect(),
            sources: origin.source.map(IpNet::from).into_iter().collect(),
            endpoints: origin.endpoint.into_iter().collect(),
        }
    }

    /// Whether a stream of `origin` is one of these.
    #[inline]
    pub fn matches(&self, origin: &Origin) -> bool {
        self.encapsulation.is_none_or(|wanted| wanted == origin.encapsulation)
            && (self.vnis.is_empty() || origin.vni.is_some_and(|vni| self.vnis.iter().any(|range| range.has(vni))))
            && (self.sources.is_empty()
                || origin.source.is_some_and(|source| self.sources.iter().any(|net| net.contains(&source))))
            && (self.endpoints.is_empty() || origin.endpoint.is_some_and(|of| self.endpoints.contains(&of)))
    }

    /// The one origin that it stands for; `None` where there may be several. Where no endpoint is said, the origin stands for those of
    /// all endpoints ([`Origin::everywhere`]).
    pub fn origin(&self) -> Option<Origin> {
        let encapsulation = self.encapsulation?;
        let ([vni], [source]) = (self.vnis.as_slice(), self.sources.as_slice()) else { return None };
        let one_source = source.prefix_len() == source.max_prefix_len();
        let vni = Vni::new(vni.first).filter(|_| vni.first == vni.last && one_source)?;
        let endpoint = match self.endpoints.as_slice() {
            [] => None,
            [endpoint] => Some(*endpoint),
            _ => return None,
        };
        Some(Origin { encapsulation, source: Some(source.addr()), vni: Some(vni), endpoint })
    }

    /// Its only VNI where nothing else is said.
    pub fn only_vni(&self) -> Option<u32> {
        match self.vnis.as_slice() {
            [range] if range.first == range.last && Self { vnis: Vec::new(), ..self.clone() } == Self::ALL => {
                Some(range.first)
            }
            _ => None,
        }
    }
}

impl Selector {
    /// Its only source where nothing else is said.
    pub fn only_source(&self) -> Option<IpAddr> {
        match self.sources.as_slice() {
            [net]
                if net.prefix_len() == net.max_prefix_len()
                    && Self { sources: Vec::new(), ..self.clone() } == Self::ALL =>
            {
                Some(net.addr())
            }
            _ => None,
        }
    }

    /// The streams of each VNI by itself, where nothing is said but a few VNIs.
    pub(crate) fn vni_by_vni(&self) -> Vec<Self> {
        let count: u64 = self.vnis.iter().map(|range| u64::from(range.last - range.first) + 1).sum();
        let of_vnis_alone = Self { vnis: Vec::new(), ..self.clone() } == Self::ALL;
        if !of_vnis_alone || !(1..=VNIS_APART).contains(&count) {
            return vec![self.clone()];
        }
        let vnis = self.vnis.iter().flat_map(|range| range.first..=range.last);
        vnis.map(|vni| Self { vnis: vec![VniRange { first: vni, last: vni }], ..Self::ALL }).collect()
    }
}

impl VniRange {
    /// Whether `vni` is in it.
    #[inline]
    fn has(self, vni: Vni) -> bool {
        (self.first..=self.last).contains(&vni.get())
    }
}

impl FromStr for VniRange {
    type Err = SelectorError;

    /// Takes `7` and `100-199`.
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.replace('_', "").parse::<u32>().ok().filter(|number| *number <= Vni::MAX);
        match (number(first.trim()), number(last.trim())) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(SelectorError(format!(
                "'{}' is no VNI: expected a number from 0 to {}, or a range such as 100-199",
                brief(text),
                Vni::MAX
            ))),
        }
    }
}

/// An address or a prefix, as a flag or a file has it.
pub fn source(text: &str) -> Result<IpNet, SelectorError> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(|net| as_ipv4(net.trunc())).map_err(|_| {
        SelectorError(format!("'{}' is no address: expected for example 10.0.0.7 or 10.0.0.0/8", brief(text)))
    })
}

/// An IPv4 network where `net` is one in IPv6 (`::ffff:10.0.0.7`): sources are told as IPv4 whatever socket they came by, but other
/// programs show those of a socket for both as IPv6, and what is copied from them has to mean the same.
fn as_ipv4(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    let four = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    four.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(net, IpNet::V4)
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut selector = Self::ALL;
        let mut words = text.split_whitespace().filter(|word| !(word.starts_with('(') && word.ends_with(')')));
        let mut said = 0;
        while let Some(word) = words.next() {
            said += 1;
            let mut operand = |what: &str| {
                words.next().ok_or_else(|| SelectorError(format!("'{word}' wants {what} behind it: {EXPECTED}")))
            };
            match word {
                "all" if said == 1 && text.trim() == "all" => {}
                "vni" => {
                    for item in operand("VNIs")?.split(',') {
                        selector.vnis.push(item.parse()?);
                    }
                }
                "from" => {
                    for item in operand("addresses")?.split(',') {
                        selector.sources.push(source(item)?);
                    }
                }
                "endpoint" => {
                    for item in operand("numbers")?.split(',') {
                        selector.endpoints.push(item.parse()?);
                    }
                }
                name => {
                    let known = Encapsulation::TUNNELS.iter().find(|known| known.as_str() == name);
                    let known = known.ok_or_else(|| SelectorError(format!("'{}': {EXPECTED}", brief(name))))?;
                    if selector.encapsulation.replace(*known).is_some() {
                        return Err(SelectorError("two encapsulations: expected one".into()));
                    }
                }
            }
            if selector.vnis.len() + selector.sources.len() + selector.endpoints.len() > ITEMS_MAX {
                let expected = format!("too long: expected at most {ITEMS_MAX} VNIs, addresses and endpoints");
                return Err(SelectorError(expected));
            }
        }
        if said == 0 { Err(SelectorError(EXPECTED.into())) } else { Ok(selector) }
    }
}

/// The beginning of a text that may be anybody's, with nothing in it that acts on a terminal.
fn brief(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

/// In the words that are read.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("all");
        }
        let mut space = "";
        if let Some(encapsulation) = self.encapsulation {
            f.write_str(encapsulation.as_str())?;
            space = " ";
        }
        for (number, range) in self.vnis.iter().enumerate() {
            let before = if number == 0 { format!("{space}vni ") } else { ",".into() };
            match range {
                VniRange { first, last } if first == last => write!(f, "{before}{first}")?,
                VniRange { first, last } => write!(f, "{before}{first}-{last}")?,
            }
            space = " ";
        }
        for (number, net) in self.sources.iter().enumerate() {
            let before = if number == 0 { format!("{space}from ") } else { ",".into() };
            if net.prefix_len() == net.max_prefix_len() {
                write!(f, "{before}{}", net.addr())?;
            } else {
                write!(f, "{before}{net}")?;
            }
            space = " ";
        }
        for (number, endpoint) in self.endpoints.iter().enumerate() {
            let before = if number == 0 { format!("{space}endpoint ") } else { ",".into() };
            write!(f, "{before}{endpoint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
