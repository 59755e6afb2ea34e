//! From the link header to the network header: VLAN tags, LLC, MPLS labels, PPPoE, and ARP.

use super::Walk;
use crate::frame::{ETHERNET_HEADER_LEN, FrameView, Missing, Network, ethertype};
use crate::link::{Behind, Link};

/// EtherType values below are lengths (IEEE 802.3 clause 3.2.6).
pub(super) const MIN_ETHERTYPE: u16 = 0x0600;
/// The LLC and SNAP header that carries EtherTypes (RFC 1042).
const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];

impl<'a> Walk<'a> {
    #[inline]
    pub(in crate::frame) fn ethernet(&mut self, view: &mut FrameView<'a>, at: usize) {
        match self.array::<ETHERNET_HEADER_LEN>(at) {
            Some(header) => {
                self.ether_type(view, u16::from_be_bytes([header[12], header[13]]), at + ETHERNET_HEADER_LEN);
            }
            None => self.lacks(view, Missing::LinkHeader),
        }
    }

    /// Goes on behind a link header that is not Ethernet's.
    #[cold]
    pub(in crate::frame) fn cooked(&mut self, view: &mut FrameView<'a>, link: Link) {
        match link.behind(self.readable) {
            Behind::Packet { ether_type, at } => self.ether_type(view, ether_type, at),
            Behind::Other(at) => self.found_no_packet(view, Network::Other, at),
            Behind::Cut => self.lacks(view, Missing::LinkHeader),
        }
    }

    /// What `kind`, an EtherType or IEEE 802.3 length, announces at `at`.
    #[inline]
    pub(super) fn ether_type(&mut self, view: &mut FrameView<'a>, mut kind: u16, mut at: usize) {
        loop {
            match kind {
                ethertype::IPV4 => return self.ipv4(view, at),
                ethertype::IPV6 => return self.ipv6(view, at),
                ethertype::ARP => return self.arp(view, at),
                ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD => {
                    let Some(tag) = self.array::<4>(at) else { return self.lacks(view, Missing::Shim) };
                    if !self.enter_shim(view) {
                        return;
                    }
                    if self.tunnels == 0 {
                        view.vlans.push(u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff);
                    }
                    kind = u16::from_be_bytes([tag[2], tag[3]]);
                    at += 4;
                }
                ethertype::MPLS | ethertype::MPLS_MULTICAST => return self.mpls(view, at),
                ethertype::PPPOE_SESSION => return self.pppoe(view, at),
                length if length < MIN_ETHERTYPE => {
                    let Some(inside) = self.snap(view, length, at) else { return };
                    kind = inside;
                    at += 8;
                }
                _ => return self.found_no_packet(view, Network::Other, at),
            }
        }
    }

    /// The EtherType in an LLC header at `at`, in an IEEE 802.3 frame that says its `length`.
    #[cold]
    fn snap(&mut self, view: &mut FrameView<'a>, length: u16, at: usize) -> Option<u16> {
        self.found_no_packet(view, Network::Other, at);
        view.note_end(at + usize::from(length));
        if length < 8 {
            return None;
        }
        if let Some([llc @ .., high, low]) = self.array::<8>(at) {
            let kind = u16::from_be_bytes([*high, *low]);
            return (*llc == SNAP && kind >= MIN_ETHERTYPE && self.enter_shim(view)).then_some(kind);
        }
        let there = self.readable.get(at..).unwrap_or_default();
        if SNAP.starts_with(&there[..there.len().min(SNAP.len())]) {
            self.lacks(view, Missing::Shim);
        }
        None
    }

    /// RFC 826. The addresses' lengths are in the header.
    #[cold]
    fn arp(&mut self, view: &mut FrameView<'a>, at: usize) {
        self.found_no_packet(view, Network::Arp, at);
        let Some(header) = self.array::<8>(at) else { return self.lacks(view, Missing::NetworkHeader) };
        let end = at + 8 + 2 * (usize::from(header[4]) + usize::from(header[5]));
        view.note_end(end);
        if end > self.readable.len() {
            self.lacks(view, Missing::NetworkHeader);
        }
    }

    /// RFC 3032: labels to the bottom of the stack, then a payload whose kind only its first nibble tells.
    #[cold]
    fn mpls(&mut self, view: &mut FrameView<'a>, mut at: usize) {
        loop {
            let Some(label) = self.array::<4>(at) else { return self.lacks(view, Missing::Shim) };
            if !self.enter_shim(view) {
                return;
            }
            at += 4;
            if label[2] & 1 != 0 {
                break;
            }
        }
        match self.readable.get(at).map(|byte| byte >> 4) {
            Some(4) => self.ipv4(view, at),
            Some(6) => self.ipv6(view, at),
            // RFC 4385: a zero nibble is a pseudo-wire control word in front of an Ethernet frame.
            Some(0) => self.enter_tunnel(view, at + 4, Self::ethernet),
            Some(_) => self.found_no_packet(view, Network::Other, at),
            None => self.lacks(view, Missing::Shim),
        }
    }

    /// RFC 2516 section 4 and RFC 1661: version and type 1, code 0, then the PPP protocol.
    #[cold]
    fn pppoe(&mut self, view: &mut FrameView<'a>, at: usize) {
        let Some(header) = self.array::<8>(at) else { return self.lacks(view, Missing::Shim) };
        match (header[0], header[1], [header[6], header[7]]) {
            (0x11, 0, [0x00, 0x21]) => self.ipv4(view, at + 8),
            (0x11, 0, [0x00, 0x57]) => self.ipv6(view, at + 8),
            _ => {
                view.note_end(at + 6 + usize::from(u16::from_be_bytes([header[4], header[5]])));
                self.found_no_packet(view, Network::Other, at + 8);
            }
        }
    }
}
