//! What a frame begins with: the header of the link that it was seen on.
//!
//! Mirrors deliver Ethernet frames or bare IP packets. Captures of a host's own interfaces have more: `tcpdump -i any` writes Linux's
//! "cooked" headers, loopback of BSD and macOS has an address family, and so on. All that matters of those is where the packet begins and
//! what it is, as an EtherType ([`Link::behind`]).

use crate::frame::{ETHERNET_HEADER_LEN, ethertype};

mod cooked;

/// What a frame begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// An IPv4 or IPv6 header, as its version says: mirrors that keep no link header.
    Ip,
    /// An address family in four bytes, of either order: the loopback interface of BSD and macOS.
    Loopback,
    /// The header in which Linux gives frames of any interface, 16 bytes.
    LinuxSll,
    /// Its second version, with the interface's number, 20 bytes.
    LinuxSll2,
    /// PPP, with or without address and control bytes.
    Ppp,
    /// A packet of Linux's firewall log, with attributes before it.
    Nflog,
}

/// What is behind a link header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// A packet at `at` that `ether_type` names.
    Packet {
        /// Its kind: an EtherType, or less than 1536 for the length that an IEEE 802.3 frame says.
        ether_type: u16,
        /// Where it begins, in bytes from the frame's beginning; perhaps behind its end.
        at: usize,
    },
    /// Something at this place that no EtherType names.
    Other(usize),
    /// The header is not there in full.
    Cut,
}

impl Link {
    /// Every link, in the order of [`Link::number`].
    pub const ALL: [Self; 7] =
        [Self::Ethernet, Self::Ip, Self::Loopback, Self::LinuxSll, Self::LinuxSll2, Self::Ppp, Self::Nflog];

    /// Its place in [`Link::ALL`].
    pub const fn number(self) -> usize {
        self as usize
    }

    /// A word for it, in names and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ethernet => "ethernet",
            Self::Ip => "ip",
            Self::Loopback => "loopback",
            Self::LinuxSll => "sll",
            Self::LinuxSll2 => "sll2",
            Self::Ppp => "ppp",
            Self::Nflog => "nflog",
        }
    }

    /// The link of a link type by its number in the registry that tcpdump.org keeps; `None` where packets of it are not found.
    pub const fn of_type(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Ethernet,
            // The second and third are what files of some systems have for the first, the others are for one version alone.
            101 | 12 | 14 | 228 | 229 => Self::Ip,
            // The second has the family in network order.
            0 | 108 => Self::Loopback,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            // The second always has address and control.
            9 | 50 => Self::Ppp,
            239 => Self::Nflog,
            _ => return None,
        })
    }

    /// The number of the link type that files have for it.
    pub const fn type_number(self) -> u32 {
        match self {
            Self::Ethernet => 1,
            Self::Ip => 101,
            Self::Loopback => 0,
            Self::LinuxSll => 113,
            Self::LinuxSll2 => 276,
            Self::Ppp => 9,
            Self::Nflog => 239,
        }
    }

    /// What is behind the link header of `frame`.
    #[inline]
    pub fn behind(self, frame: &[u8]) -> Behind {
        match self {
            Self::Ethernet => match frame.first_chunk::<ETHERNET_HEADER_LEN>() {
                Some([.., high, low]) => {
                    Behind::Packet { ether_type: u16::from_be_bytes([*high, *low]), at: ETHERNET_HEADER_LEN }
                }
                None => Behind::Cut,
            },
            Self::Ip => match frame.first() {
                Some(byte) if byte >> 4 == 6 => Behind::Packet { ether_type: ethertype::IPV6, at: 0 },
                Some(_) => Behind::Packet { ether_type: ethertype::IPV4, at: 0 },
                None => Behind::Cut,
            },
            _ => self.behind_cooked(frame),
        }
    }

    /// `frame` as one of Ethernet: a header, and where in the frame begins what belongs behind it. Addresses are zeros; what no EtherType
    /// names gets the one for local experiments (IEEE 802, 9.2.4).
    pub fn as_ethernet(self, frame: &[u8]) -> ([u8; ETHERNET_HEADER_LEN], usize) {
        let (ether_type, at) = match self.behind(frame) {
            Behind::Packet { ether_type, at } => (ether_type, at.min(frame.len())),
            Behind::Other(at) => (ethertype::LOCAL_EXPERIMENT, at.min(frame.len())),
            Behind::Cut => (ethertype::LOCAL_EXPERIMENT, 0),
        };
        let mut header = [0; ETHERNET_HEADER_LEN];
        header[ETHERNET_HEADER_LEN - 2..].copy_from_slice(&ether_type.to_be_bytes());
        (header, at)
    }
}

#[cfg(test)]
mod tests;
