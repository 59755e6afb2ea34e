//! Link types: what kind of frame a record holds.

use std::fmt;

/// A link type by its number in the registry that tcpdump.org keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u32);

impl LinkType {
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);

    /// Its name, for the link types that captures of networks commonly have.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "null",
            1 => "ethernet",
            6 => "token-ring",
            8 => "slip",
            9 => "ppp",
            10 => "fddi",
            50 => "ppp-hdlc",
            51 => "ppp-ether",
            101 => "raw-ip",
            104 => "cisco-hdlc",
            105 => "ieee802.11",
            107 => "frame-relay",
            108 => "loop",
            113 => "linux-sll",
            117 => "pflog",
            119 => "ieee802.11-prism",
            127 => "ieee802.11-radiotap",
            189 => "usb-linux",
            192 => "ppi",
            195 => "ieee802.15.4",
            197 => "erf",
            201 => "bluetooth-hci",
            220 => "usb-linux-mmapped",
            227 => "can-socketcan",
            228 => "ipv4",
            229 => "ipv6",
            239 => "nflog",
            249 => "usbpcap",
            251 => "bluetooth-le",
            252 => "upper-pdu",
            253 => "netlink",
            258 => "pktap",
            271 => "vsock",
            276 => "linux-sll2",
            _ => return None,
        })
    }
}

/// `linux-sll2 (276)`, or `link type 4711` where the number has no name here.
impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "link type {}", self.0),
        }
    }
}
