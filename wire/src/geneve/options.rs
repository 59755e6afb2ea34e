//! GENEVE options: walking them, and what those of the clouds say.

use super::Mark;

/// The option area of a GENEVE header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    bytes: &'a [u8],
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneveOption<'a> {
    /// Who defines the types.
    pub class: u16,
    /// Type, the critical bit ([`GeneveOption::CRITICAL`]) included.
    pub kind: u8,
    /// Its data: 0 to 124 bytes.
    pub data: &'a [u8],
}

impl GeneveOption<'_> {
    /// The bit of the type that forbids to pass over an unknown option (RFC 8926 section 3.5).
    pub const CRITICAL: u8 = 0x80;

    /// Whether whoever does not know the option has to drop the datagram.
    pub const fn is_critical(&self) -> bool {
        self.kind & Self::CRITICAL != 0
    }
}

impl<'a> Options<'a> {
    /// The options in `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// All of it.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its options, up to one that does not fit into what is left of it.
    pub const fn iter(&self) -> OptionWalk<'a> {
        OptionWalk { bytes: self.bytes }
    }
}

impl<'a> IntoIterator for &Options<'a> {
    type Item = GeneveOption<'a>;
    type IntoIter = OptionWalk<'a>;

    fn into_iter(self) -> OptionWalk<'a> {
        self.iter()
    }
}

/// A walk over options.
#[derive(Clone, Debug)]
pub struct OptionWalk<'a> {
    /// What is left of the area.
    bytes: &'a [u8],
}

impl<'a> Iterator for OptionWalk<'a> {
    type Item = GeneveOption<'a>;

    fn next(&mut self) -> Option<GeneveOption<'a>> {
        let ([high, low, kind, length], behind) = self.bytes.split_first_chunk::<4>()?;
        let (data, rest) = behind.split_at_checked(usize::from(length & 0x1f) * 4)?;
        self.bytes = rest;
        Some(GeneveOption { class: u16::from_be_bytes([*high, *low]), kind: *kind, data })
    }
}

/// Which way a mirrored packet went, seen from the interface that is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MirrorDirection {
    /// To the mirrored interface.
    Ingress,
    /// From the mirrored interface.
    Egress,
}

impl MirrorDirection {
    /// `ingress` or `egress`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// What a cloud says of where the mirrored packet is from. Part of the identity of a mirror stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cookie {
    /// Nothing.
    #[default]
    None,
    /// A gateway load balancer's.
    Balancer(Balancer),
    /// Google Network Security Integration's.
    Google(GoogleCookie),
}

/// Whose gateway load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BalancerCloud {
    /// AWS: option class 0x0108.
    Aws,
    /// Tencent: option class 0x0167.
    Tencent,
}

impl BalancerCloud {
    /// `aws` or `tencent`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Tencent => "tencent",
        }
    }
}

/// What a gateway load balancer says of a packet, but for the cookie that each flow has by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Balancer {
    /// Whose it is.
    pub cloud: BalancerCloud,
    /// The endpoint that the packet came by; 0 where it is not told.
    pub endpoint: u64,
    /// The attachment behind it; 0 where it is not told.
    pub attachment: u64,
}

/// What Google Network Security Integration says of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GoogleCookie {
    /// The VPC network: 28 bits. Tells networks with the same addresses apart.
    pub network: u32,
    /// The network interface that was mirrored.
    pub endpoint: [u8; 16],
    /// The security profile group that asked for it.
    pub profile: u64,
}

/// What the options of one datagram say, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Where the packet is from.
    pub cookie: Cookie,
    /// A gateway load balancer's number of the flow: 32 bits of AWS, 29 of Tencent.
    pub flow_cookie: Option<u32>,
    /// Tencent's three bits of direction, whose meaning is not published.
    pub flow_direction: Option<u8>,
    /// Which way the packet went.
    pub direction: Option<MirrorDirection>,
    /// The T bit beside Google's direction.
    pub google_t: bool,
    /// What vxtap's own sender says.
    pub mark: Option<Mark>,
    /// An option that is critical is none of these.
    pub unknown_critical: bool,
}

const AWS: u16 = 0x0108;
const GOOGLE: u16 = 0x0132;
const TENCENT: u16 = 0x0167;

impl Metadata {
    /// What `options` say; `None` where one of them is longer than what is left of their room.
    pub(super) fn of(options: Options<'_>) -> Option<Self> {
        let mut metadata = Self::default();
        let mut walk = options.iter();
        for option in walk.by_ref() {
            let known = metadata.take(&option);
            metadata.unknown_critical |= option.is_critical() && known.is_none();
        }
        walk.bytes.is_empty().then_some(metadata)
    }

    /// `None` where the option is not known, or is not what one of its type has to be.
    fn take(&mut self, option: &GeneveOption<'_>) -> Option<()> {
        let word = || Some(u32::from_be_bytes(*option.data.first_chunk::<4>()?));
        let long = || Some(u64::from_be_bytes(*option.data.first_chunk::<8>()?));
        let cloud = if option.class == AWS { BalancerCloud::Aws } else { BalancerCloud::Tencent };
        match (option.class, option.kind) {
            (AWS | TENCENT, 1) => {
                let endpoint = long()?;
                self.balancer(cloud, |balancer| balancer.endpoint = endpoint);
            }
            (AWS | TENCENT, 2) => {
                let attachment = long()?;
                self.balancer(cloud, |balancer| balancer.attachment = attachment);
            }
            (AWS | TENCENT, 3) => {
                let word = word()?;
                let (cookie, direction) =
                    if option.class == AWS { (word, None) } else { (word & 0x1fff_ffff, Some((word >> 29) as u8)) };
                (self.flow_cookie, self.flow_direction) = (Some(cookie), direction);
                self.balancer(cloud, |_| ());
            }
            (GOOGLE, 1) => {
                let word = word()?;
                self.google(|google| google.network = word >> 4);
                self.google_t = word & 2 != 0;
                let egress = word & 1 != 0;
                self.direction = Some(if egress { MirrorDirection::Egress } else { MirrorDirection::Ingress });
            }
            (GOOGLE, 2) => {
                let endpoint = *option.data.first_chunk::<16>()?;
                self.google(|google| google.endpoint = endpoint);
            }
            (GOOGLE, 3) => {
                let profile = long()?;
                self.google(|google| google.profile = profile);
            }
            (Mark::CLASS, Mark::KIND) => {
                let mark = Mark::from_data(option.data)?;
                self.direction = mark.direction.or(self.direction);
                self.mark = Some(mark);
            }
            _ => return None,
        }
        Some(())
    }

    fn balancer(&mut self, cloud: BalancerCloud, set: impl FnOnce(&mut Balancer)) {
        let mut balancer = match self.cookie {
            Cookie::Balancer(balancer) if balancer.cloud == cloud => balancer,
            _ => Balancer { cloud, endpoint: 0, attachment: 0 },
        };
        set(&mut balancer);
        self.cookie = Cookie::Balancer(balancer);
    }

    fn google(&mut self, set: impl FnOnce(&mut GoogleCookie)) {
        let mut google = match self.cookie {
            Cookie::Google(google) => google,
            _ => GoogleCookie::default(),
        };
        set(&mut google);
        self.cookie = Cookie::Google(google);
    }
}
