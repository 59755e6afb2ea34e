//! IPv4 and IPv6 headers, options and extension headers.

use super::{Addresses, Walk};
use crate::flow::{IpAddress, IpVersion, protocol};
use crate::frame::{Fragment, FrameView, MAX_EXTENSIONS, Malformed, Missing, Network};

impl<'a> Walk<'a> {
    pub(in crate::frame) fn ip_by_version(&mut self, view: &mut FrameView<'a>, at: usize) {
        match self.readable.get(at).map(|byte| byte >> 4) {
            Some(4) => self.ipv4(view, at),
            Some(6) => self.ipv6(view, at),
            Some(_) => view.note_malformed(Malformed::IpVersion),
            None => self.lacks(view, Missing::NetworkHeader),
        }
    }

    /// RFC 791 section 3.1.
    #[inline]
    pub(super) fn ipv4(&mut self, view: &mut FrameView<'a>, at: usize) {
        let Some(header) = self.array::<20>(at) else {
            self.found_no_packet(view, Network::Ipv4, at);
            return self.lacks(view, Missing::NetworkHeader);
        };
        let header_len = usize::from(header[0] & 0x0f) * 4;
        if header[0] >> 4 != 4 || header_len < 20 {
            self.found_no_packet(view, Network::Ipv4, at);
            let wrong = if header[0] >> 4 == 4 { Malformed::Ipv4HeaderLength } else { Malformed::IpVersion };
            return view.note_malformed(wrong);
        }
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        // A total length of 0 is what segmentation offload leaves in a packet that was captured before it was cut.
        self.enter_packet(view, (total_len != 0).then_some(at + total_len));
        let addresses = Addresses {
            version: IpVersion::V4,
            source: IpAddress::v4([header[12], header[13], header[14], header[15]]),
            destination: IpAddress::v4([header[16], header[17], header[18], header[19]]),
        };
        let (protocol, behind) = (header[9], at + header_len);
        self.found(view, at, addresses, protocol, behind);
        if behind > self.readable.len() {
            if total_len != 0 && total_len < header_len {
                view.note_malformed(Malformed::Ipv4TotalLength);
            }
            self.lacks(view, Missing::NetworkExtension);
        }
        let fragment_word = u16::from_be_bytes([header[6], header[7]]);
        if fragment_word & 0x3fff != 0 {
            view.fragment = Some(Fragment {
                identification: u32::from(u16::from_be_bytes([header[4], header[5]])),
                offset: u32::from(fragment_word & 0x1fff) * 8,
                more: fragment_word & 0x2000 != 0,
            });
        } else if protocol == protocol::AH {
            self.extensions(view, IpVersion::V4, protocol, behind);
        } else {
            self.transport(view, IpVersion::V4, protocol, behind);
        }
    }

    /// RFC 8200 section 3.
    #[inline]
    pub(super) fn ipv6(&mut self, view: &mut FrameView<'a>, at: usize) {
        let Some(header) = self.array::<40>(at) else {
            self.found_no_packet(view, Network::Ipv6, at);
            return self.lacks(view, Missing::NetworkHeader);
        };
        if header[0] >> 4 != 6 {
            self.found_no_packet(view, Network::Ipv6, at);
            return view.note_malformed(Malformed::IpVersion);
        }
        let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let (next, behind) = (header[6], at + 40);
        // A payload length of 0 with something behind the header is a jumbogram (RFC 2675) or an offloaded packet, of protocols that
        // can be so long. Of others it is an empty packet, and what is behind it is padding.
        let has_len = payload_len != 0 || !may_be_long(next);
        self.enter_packet(view, has_len.then_some(behind + payload_len));
        let address = |from: usize| IpAddress(*header[from..].first_chunk().unwrap_or(&[0; 16]));
        let addresses = Addresses { version: IpVersion::V6, source: address(8), destination: address(24) };
        self.found(view, at, addresses, next, behind);
        match next {
            protocol::TCP | protocol::UDP | protocol::ICMPV6 => self.transport(view, IpVersion::V6, next, behind),
            _ => self.extensions(view, IpVersion::V6, next, behind),
        }
    }

    /// RFC 8200 section 4, and the authentication header of either IP version. Ends at a fragment header: all
    /// fragments of a packet have the same protocol then, whatever extension headers only the first one has.
    #[cold]
    fn extensions(&mut self, view: &mut FrameView<'a>, version: IpVersion, mut next: u8, mut at: usize) {
        for _ in 0..MAX_EXTENSIONS {
            if next != protocol::AH && (version == IpVersion::V4 || !is_extension(next)) {
                return self.transport(view, version, next, at);
            }
            let Some(&header) = self.array::<8>(at) else {
                self.payload(view, at + 8, self.end());
                return self.lacks(view, Missing::NetworkExtension);
            };
            let fragment = if next == protocol::IPV6_FRAGMENT { fragment(header) } else { None };
            at += match next {
                // Where the others have a length, this one has a reserved byte.
                protocol::IPV6_FRAGMENT => 8,
                // RFC 4302 section 2.2: length in 4 bytes, minus 2.
                protocol::AH => (usize::from(header[1]) + 2) * 4,
                // RFC 8200 section 4.3: length in 8 bytes, minus 1.
                _ => (usize::from(header[1]) + 1) * 8,
            };
            next = header[0];
            if let Some(tuple) = &mut view.five_tuple {
                tuple.protocol = next;
            }
            self.payload(view, at, self.end());
            if at > self.readable.len() {
                return self.lacks(view, Missing::NetworkExtension);
            }
            if fragment.is_some() {
                view.fragment = fragment;
                return;
            }
        }
        view.note_malformed(Malformed::Ipv6ExtensionChain);
    }
}

/// Whether packets of protocol `next`, or of one behind it, are made longer than a length field tells.
const fn may_be_long(next: u8) -> bool {
    is_extension(next)
        || matches!(next, protocol::TCP | protocol::UDP | protocol::IPV4 | protocol::IPV6 | protocol::GRE)
}

/// Whether `next` is an IPv6 extension header with something behind it: hop-by-hop, routing, fragment, destination
/// options. Mobility, HIP and Shim6 headers end their packet but for experiments: they say more than "no next header".
const fn is_extension(next: u8) -> bool {
    matches!(next, 0 | 43 | protocol::IPV6_FRAGMENT | 60)
}

/// RFC 8200 section 4.5. RFC 6946: an "atomic" fragment, alone in its packet, is none.
fn fragment(header: [u8; 8]) -> Option<Fragment> {
    let word = u16::from_be_bytes([header[2], header[3]]);
    let identification = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    (word & 0xfff9 != 0).then_some(Fragment { identification, offset: u32::from(word & 0xfff8), more: word & 1 != 0 })
}
