//! Transport headers.

use super::Walk;
use crate::flow::{IpVersion, protocol};
use crate::frame::icmp_counterpart;
use crate::frame::{FrameView, IcmpHeader, Malformed, Missing, TcpFlags, TcpHeader, Transport};
use crate::{geneve, vxlan};

impl<'a> Walk<'a> {
    /// The header of `protocol` at `at`, and on through it when it is a tunnel's.
    #[inline]
    pub(super) fn transport(&mut self, view: &mut FrameView<'a>, version: IpVersion, protocol: u8, at: usize) {
        match (protocol, version) {
            (protocol::TCP, _) => self.tcp(view, at),
            (protocol::UDP | protocol::UDP_LITE, _) => self.udp(view, protocol, at),
            (protocol::SCTP, _) => self.sctp(view, at),
            (protocol::ICMP, IpVersion::V4) | (protocol::ICMPV6, IpVersion::V6) => self.icmp(view, version, at),
            (protocol::IPV4, _) => self.enter_tunnel(view, at, Self::ipv4),
            (protocol::IPV6, _) => self.enter_tunnel(view, at, Self::ipv6),
            (protocol::GRE, _) => self.gre(view, at),
            _ => {}
        }
    }

    /// A header of `len` bytes at `at` that begins with ports and is not there in full.
    #[cold]
    fn lacks_transport(&self, view: &mut FrameView<'a>, at: usize, len: usize) {
        self.lacks(view, Missing::TransportHeader);
        self.payload(view, at + len, self.end());
        if let Some(header) = self.array::<4>(at) {
            view.note_ports(ports(header));
        }
    }

    /// RFC 9293 section 3.1.
    #[inline]
    fn tcp(&mut self, view: &mut FrameView<'a>, at: usize) {
        let Some(header) = self.array::<20>(at) else { return self.lacks_transport(view, at, 20) };
        view.note_ports(ports(header));
        view.transport = Transport::Tcp(TcpHeader {
            sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            acknowledgement: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            flags: TcpFlags(header[13]),
            window: u16::from_be_bytes([header[14], header[15]]),
        });
        let header_len = usize::from(header[12] >> 4) * 4;
        let payload = at + header_len.max(20);
        self.payload(view, payload, self.end());
        if header_len < 20 || self.end.is_some_and(|end| payload > end) {
            view.note_malformed(Malformed::TcpDataOffset);
        } else if payload > self.readable.len() {
            self.lacks(view, Missing::TransportHeader);
        }
    }

    /// RFC 768, and RFC 3828 for UDP-Lite.
    #[inline]
    fn udp(&mut self, view: &mut FrameView<'a>, protocol: u8, at: usize) {
        let Some(header) = self.array::<8>(at) else { return self.lacks_transport(view, at, 8) };
        let ports = ports(header);
        view.note_ports(ports);
        view.transport = Transport::Udp;
        let mut end = self.end();
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        // UDP-Lite has the checksum's coverage there, and 0 is a jumbogram's length (RFC 2675 section 4).
        if protocol == protocol::UDP && length != 0 {
            if length < 8 || self.end.is_some_and(|end| at + length > end) {
                view.note_malformed(Malformed::UdpLength);
            } else {
                end = at + length;
            }
        }
        self.payload(view, at + 8, end);
        match ports.1 {
            vxlan::PORT => self.vxlan(view, at + 8),
            geneve::PORT => self.geneve(view, at + 8),
            _ => {}
        }
    }

    /// RFC 9260 section 3.1.
    #[cold]
    fn sctp(&mut self, view: &mut FrameView<'a>, at: usize) {
        let Some(header) = self.array::<12>(at) else { return self.lacks_transport(view, at, 12) };
        view.note_ports(ports(header));
        view.transport = Transport::Sctp;
        self.payload(view, at + 12, self.end());
    }

    /// RFC 792 and RFC 4443 section 2.1.
    #[inline]
    fn icmp(&mut self, view: &mut FrameView<'a>, version: IpVersion, at: usize) {
        self.payload(view, at + 8, self.end());
        let Some(&[kind, code]) = self.array::<2>(at) else { return self.lacks(view, Missing::TransportHeader) };
        view.note_ports((u16::from(kind), u16::from(icmp_counterpart(version, kind).unwrap_or(code))));
        view.transport = Transport::Icmp(IcmpHeader { kind, code });
        if at + 8 > self.readable.len() {
            self.lacks(view, Missing::TransportHeader);
        }
    }
}

/// Source and destination port, the first four bytes of TCP, UDP, UDP-Lite and SCTP alike.
#[inline]
fn ports<const N: usize>(header: &[u8; N]) -> (u16, u16) {
    const { assert!(N >= 4) };
    (u16::from_be_bytes([header[0], header[1]]), u16::from_be_bytes([header[2], header[3]]))
}
