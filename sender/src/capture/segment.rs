//! Super-frames cut into the packets that they stand for, and checksums that a network card would have filled in.
//!
//! With segmentation offload a host gives its network card one header and up to 64 KiB (and more) of payload; with receive
//! offload it merges packets into such a super-frame when they come in. A capture sees those, which were on no wire. What
//! comes out here is what a card sends: lengths, IPv4 identifications and sequence numbers that count on, FIN and PSH
//! on the last packet only, CWR on the first, and checksums over what each packet has.
//!
//! Pure: bytes in, bytes out, nothing allocated. Tunnels are cut too (VXLAN, GENEVE, GRE, IP in IP around TCP or UDP): the
//! outer header is repeated with its lengths put right.

use vxtap_ring::{Checksum, Offload, SuperFrame, SuperFrameKind};
use vxtap_wire::{ETHERNET_HEADER_LEN, ethertype};

use super::checksum::Sum;

/// Room for all headers in front of the payload: Ethernet and IP twice, UDP, VXLAN, TCP with options take about 200 bytes.
const MAX_HEADERS: usize = 256;
const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_LEN: usize = 8;
const DO_NOT_FRAGMENT: u8 = 0x40;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;
/// The hop-by-hop header that the kernel puts into IPv6 super-frames longer than 64 KiB, and takes out of their packets.
const JUMBO_LEN: usize = 8;
const JUMBO_OPTION: u8 = 0xc2;

/// The packets of one super-frame.
pub(crate) struct Segments<'a> {
    /// Headers as they are in front of each packet, checksums zero.
    header: [u8; MAX_HEADERS],
    header_len: usize,
    /// All the payload that there is.
    payload: &'a [u8],
    /// How much of it there was.
    payload_len: usize,
    segment_len: usize,
    /// The tunnel around.
    outer: Option<Outer>,
    ip: Ip,
    /// Where the transport header is.
    transport: usize,
    is_tcp: bool,
    /// CWR stays on all packets.
    keeps_cwr: bool,
    /// UDP packets have a checksum.
    has_checksum: bool,
}

/// An IP header.
#[derive(Clone, Copy)]
struct Ip {
    at: usize,
    is_v6: bool,
    /// All packets have the identification of the first.
    fixed_id: bool,
}

/// An IP header around a tunnel.
#[derive(Clone, Copy)]
struct Outer {
    ip: Ip,
    /// Its UDP header, and whether that has a checksum.
    udp: Option<(usize, bool)>,
}

impl<'a> Segments<'a> {
    /// How `frame`, which had `wire_len` bytes and came in unless `is_outgoing`, is cut; `None` if it is not what
    /// `offload` says, or of a kind that is not known.
    pub(crate) fn of(frame: &'a [u8], wire_len: u32, offload: &Offload, is_outgoing: bool) -> Option<Self> {
        let super_frame = offload.super_frame?;
        if super_frame.segment_bytes == 0 {
            return None;
        }
        let mut headers = Headers::of(frame, super_frame, offload.checksum)?;
        let header_len = headers.transport + headers.transport_len(frame)?;
        if header_len > MAX_HEADERS || header_len > frame.len() {
            return None;
        }
        let mut header = [0; MAX_HEADERS];
        let removed = if headers.is_jumbo { JUMBO_LEN } else { 0 };
        if headers.is_jumbo {
            let kept = headers.ip.at + 40;
            header[..kept].copy_from_slice(&frame[..kept]);
            header[headers.ip.at + 6] = frame[kept];
            header[kept..header_len - removed].copy_from_slice(&frame[kept + removed..header_len]);
            headers.transport -= removed;
        } else {
            header[..header_len].copy_from_slice(&frame[..header_len]);
        }
        let is_tcp = super_frame.kind != SuperFrameKind::Udp;
        let Headers { outer, mut ip, transport, .. } = headers;
        // A sender that counts no identifications leaves them 0, and has the merged packets' first at 0 as well; one that
        // cuts itself counts from wherever it is.
        ip.fixed_id = !ip.is_v6
            && is_tcp
            && !is_outgoing
            && header[ip.at + 6] & DO_NOT_FRAGMENT != 0
            && header[ip.at + 4..ip.at + 6] == [0, 0];
        let checksum = transport + if is_tcp { 16 } else { 6 };
        let has_checksum = is_tcp || offload.checksum.is_some() || header[checksum..checksum + 2] != [0, 0];
        header[checksum..checksum + 2].fill(0);
        Some(Self {
            header,
            header_len: header_len - removed,
            payload: &frame[header_len..],
            payload_len: (wire_len as usize).max(frame.len()) - header_len,
            segment_len: usize::from(super_frame.segment_bytes),
            outer,
            ip,
            transport,
            is_tcp,
            keeps_cwr: !super_frame.ecn,
            has_checksum,
        })
    }

    /// How many packets there are, at least one.
    pub(crate) fn count(&self) -> usize {
        self.payload_len.div_ceil(self.segment_len).max(1)
    }

    /// Length in bytes of packet `index` from its Ethernet header on.
    pub(crate) fn len(&self, index: usize) -> usize {
        self.header_len + self.segment_len.min(self.payload_len - index * self.segment_len)
    }

    /// Whether all bytes of packet `index` are there. Of others the checksum is not known; it is left 0.
    pub(crate) fn is_whole(&self, index: usize) -> bool {
        self.len(index) - self.header_len == self.piece(index).len()
    }

    /// Writes packet `index` into `out`, as much of it as `out` has room for and is there. Gives how many bytes that are.
    pub(crate) fn write(&self, index: usize, out: &mut [u8]) -> usize {
        let piece = self.piece(index);
        let mut header = self.header;
        let header = &mut header[..self.header_len];
        self.put_right(index, piece, header);
        let from_header = self.header_len.min(out.len());
        out[..from_header].copy_from_slice(&header[..from_header]);
        let from_piece = piece.len().min(out.len() - from_header);
        out[from_header..from_header + from_piece].copy_from_slice(&piece[..from_piece]);
        from_header + from_piece
    }

    /// The payload of packet `index`, as far as it is there.
    fn piece(&self, index: usize) -> &'a [u8] {
        let start = (index * self.segment_len).min(self.payload.len());
        let end = (start + self.segment_len).min(self.payload.len());
        &self.payload[start..end]
    }

    /// Makes the headers of packet `index`, whose payload is `piece`, what they must be.
    fn put_right(&self, index: usize, piece: &[u8], header: &mut [u8]) {
        let len = self.len(index);
        if let Some(outer) = self.outer {
            outer.ip.put_right(index, len, header);
        }
        self.ip.put_right(index, len, header);
        let at = self.transport;
        if self.is_tcp {
            let first = u32::from_be_bytes([header[at + 4], header[at + 5], header[at + 6], header[at + 7]]);
            let sequence = first.wrapping_add((index * self.segment_len) as u32);
            header[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
            if index + 1 < self.count() {
                header[at + 13] &= !(FIN | PSH);
            }
            if index > 0 && !self.keeps_cwr {
                header[at + 13] &= !CWR;
            }
        } else {
            header[at + 4..at + 6].copy_from_slice(&((len - at) as u16).to_be_bytes());
        }
        if !self.is_whole(index) {
            return;
        }
        let payload = Sum::default().add(piece);
        if self.has_checksum {
            let protocol = if self.is_tcp { TCP } else { UDP };
            // A transport header has an even length.
            let sum = self.ip.pseudo_header(protocol, len - at, header).add(&header[at..]).plus(payload);
            let (place, checksum) =
                if self.is_tcp { (at + 16, sum.checksum()) } else { (at + 6, sum.checksum_not_zero()) };
            header[place..place + 2].copy_from_slice(&checksum);
        }
        if let Some(Outer { ip, udp: Some((at, true)) }) = self.outer {
            header[at + 4..at + 6].copy_from_slice(&((len - at) as u16).to_be_bytes());
            header[at + 6..at + 8].fill(0);
            let payload = if (header.len() - at).is_multiple_of(2) { payload } else { payload.at_odd() };
            let sum = ip.pseudo_header(UDP, len - at, header).add(&header[at..]).plus(payload);
            header[at + 6..at + 8].copy_from_slice(&sum.checksum_not_zero());
        } else if let Some(Outer { udp: Some((at, false)), .. }) = self.outer {
            header[at + 4..at + 6].copy_from_slice(&((len - at) as u16).to_be_bytes());
        }
    }
}

impl Ip {
    /// Length, identification and checksum of packet `index`, which has `len` bytes.
    fn put_right(self, index: usize, len: usize, header: &mut [u8]) {
        let at = self.at;
        if self.is_v6 {
            header[at + 4..at + 6].copy_from_slice(&((len - at - 40) as u16).to_be_bytes());
            return;
        }
        header[at + 2..at + 4].copy_from_slice(&((len - at) as u16).to_be_bytes());
        if !self.fixed_id {
            let first = u16::from_be_bytes([header[at + 4], header[at + 5]]);
            header[at + 4..at + 6].copy_from_slice(&first.wrapping_add(index as u16).to_be_bytes());
        }
        header[at + 10..at + 12].fill(0);
        let end = at + usize::from(header[at] & 0x0f) * 4;
        let checksum = Sum::default().add(&header[at..end]).checksum();
        header[at + 10..at + 12].copy_from_slice(&checksum);
    }

    /// The sum of the pseudo-header of `len` bytes of `protocol`.
    fn pseudo_header(self, protocol: u8, len: usize, header: &[u8]) -> Sum {
        let addresses = if self.is_v6 { self.at + 8..self.at + 40 } else { self.at + 12..self.at + 20 };
        let [a, b, c, d] = (len as u32).to_be_bytes();
        Sum::default().add(&header[addresses]).add(&[0, protocol, a, b, c, d])
    }
}

/// Where what is in a super-frame.
struct Headers {
    outer: Option<Outer>,
    ip: Ip,
    is_jumbo: bool,
    transport: usize,
    is_tcp: bool,
}

impl Headers {
    fn of(frame: &[u8], super_frame: SuperFrame, checksum: Option<Checksum>) -> Option<Self> {
        let (is_tcp, protocol) = match super_frame.kind {
            SuperFrameKind::TcpV4 | SuperFrameKind::TcpV6 => (true, TCP),
            SuperFrameKind::Udp => (false, UDP),
            SuperFrameKind::Other(_) => return None,
        };
        let first = Walked::of(frame, network(frame)?)?;
        // Only the kernel knows where it will cut; without an unfinished checksum it is the first transport header.
        let transport = checksum.map_or(first.end, |checksum| usize::from(checksum.start));
        if first.end == transport {
            (first.protocol == protocol).then_some(())?;
            let Walked { ip, is_jumbo, .. } = first;
            return Some(Self { outer: None, ip, is_jumbo, transport, is_tcp });
        }
        if first.end > transport || first.is_jumbo {
            return None;
        }
        let udp = match first.protocol {
            UDP => Some((first.end, *frame.get(first.end + 6..first.end + 8)? != [0, 0])),
            _ => None,
        };
        // What is between is left as it is; the inner IP header is the one that ends where the transport header begins.
        let (from, end) = (first.end, transport);
        let ip = match super_frame.kind {
            SuperFrameKind::TcpV4 => inner_v4(frame, from, end, protocol),
            SuperFrameKind::TcpV6 => inner_v6(frame, from, end, protocol),
            _ => inner_v6(frame, from, end, protocol)
                .filter(|ip| ip.at == from || frame[..ip.at].ends_with(&ethertype::IPV6.to_be_bytes()))
                .or_else(|| inner_v4(frame, from, end, protocol)),
        }?;
        Some(Self { outer: Some(Outer { ip: first.ip, udp }), ip, is_jumbo: false, transport, is_tcp })
    }

    fn transport_len(&self, frame: &[u8]) -> Option<usize> {
        if !self.is_tcp {
            return Some(UDP_LEN);
        }
        let len = usize::from(frame.get(self.transport + 12)? >> 4) * 4;
        (len >= 20).then_some(len)
    }
}

/// Where the network header begins, and its EtherType.
fn network(frame: &[u8]) -> Option<(usize, u16)> {
    let mut at = ETHERNET_HEADER_LEN;
    loop {
        let kind = u16::from_be_bytes(*frame.get(at - 2..)?.first_chunk()?);
        if !matches!(kind, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD) {
            return Some((at, kind));
        }
        at += 4;
    }
}

/// An IP header with what follows it.
struct Walked {
    ip: Ip,
    protocol: u8,
    end: usize,
    is_jumbo: bool,
}

impl Walked {
    fn of(frame: &[u8], (at, kind): (usize, u16)) -> Option<Self> {
        let ip = Ip { at, is_v6: kind == ethertype::IPV6, fixed_id: false };
        match kind {
            ethertype::IPV4 => {
                let header = frame.get(at..at + 20)?;
                let len = usize::from(header[0] & 0x0f) * 4;
                (header[0] >> 4 == 4 && len >= 20).then_some(())?;
                Some(Self { ip, protocol: header[9], end: at + len, is_jumbo: false })
            }
            ethertype::IPV6 => {
                let header = frame.get(at..at + 40)?;
                (header[0] >> 4 == 6).then_some(())?;
                let (mut protocol, mut end) = (header[6], at + 40);
                let is_jumbo = protocol == 0 && header[4..6] == [0, 0] && *frame.get(end + 2)? == JUMBO_OPTION;
                // Hop-by-hop, routing, destination options: a length in 8 bytes without the first.
                while matches!(protocol, 0 | 43 | 60) {
                    let extension = frame.get(end..end + 2)?;
                    (protocol, end) = (extension[0], end + 8 + usize::from(extension[1]) * 8);
                }
                Some(Self { ip, protocol, end, is_jumbo })
            }
            _ => None,
        }
    }
}

/// The IPv6 header that ends at `end`, begins no earlier than `from`, and is followed by `protocol`.
fn inner_v6(frame: &[u8], from: usize, end: usize, protocol: u8) -> Option<Ip> {
    let at = end.checked_sub(40).filter(|at| *at >= from)?;
    let header = frame.get(at..end)?;
    (header[0] >> 4 == 6 && header[6] == protocol).then_some(Ip { at, is_v6: true, fixed_id: false })
}

/// The IPv4 header that ends at `end`, begins no earlier than `from`, and is followed by `protocol`.
fn inner_v4(frame: &[u8], from: usize, end: usize, protocol: u8) -> Option<Ip> {
    (5..=15_u8).find_map(|words| {
        let at = end.checked_sub(usize::from(words) * 4).filter(|at| *at >= from)?;
        let header = frame.get(at..end)?;
        (header[0] == 0x40 | words && header[9] == protocol).then_some(Ip { at, is_v6: false, fixed_id: false })
    })
}

/// The checksum that `frame` is to have at the place that is given with it; `None` where that is outside of the frame.
///
/// `frame` is whole and has the sum of the pseudo-header in that place.
pub(crate) fn finished_checksum(frame: &[u8], checksum: Checksum) -> Option<(usize, [u8; 2])> {
    let start = usize::from(checksum.start);
    let place = start + usize::from(checksum.offset);
    frame.get(place..place + 2)?;
    Some((place, Sum::default().add(&frame[start..]).checksum_not_zero()))
}

#[cfg(test)]
mod tests;
