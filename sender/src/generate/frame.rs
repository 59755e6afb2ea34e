//! Writes Ethernet frames with right lengths and checksums.
//!
//! The sum over a payload is computed when the payload is made, the one over the addresses when a flow begins; a frame
//! then costs a copy of its payload and a few additions.

use vxtap_wire::{ETHERNET_HEADER_LEN, FiveTuple, IpAddress, IpVersion, TcpFlags, ethertype, protocol};

const IPV4_HEADER_LEN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;
const TCP_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;

/// The one's complement sum of `bytes` as 16-bit numbers, folded to 16 bits; an odd last byte counts as the upper
/// half (RFC 1071).
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let mut total = 0_u64;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        total += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut rest = [0; 4];
    rest[..words.remainder().len()].copy_from_slice(words.remainder());
    total += u64::from(u32::from_be_bytes(rest));
    fold(total)
}

/// The sum over what `a` and `b` were summed over.
#[inline]
pub(super) const fn add(a: u16, b: u16) -> u16 {
    fold(a as u64 + b as u64)
}

#[inline]
const fn fold(mut total: u64) -> u16 {
    total = (total & 0xffff_ffff) + (total >> 32);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    ((total & 0xffff) + (total >> 16)) as u16
}

/// One end of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) mac: [u8; 6],
    pub(super) ip: IpAddress,
    pub(super) port: u16,
}

/// Who talks to whom, and what checksums need of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    version: IpVersion,
    protocol: u8,
    client: End,
    server: End,
    /// Sum over addresses, protocol and ports: the same in both directions.
    sum: u32,
}

/// The TCP fields of one segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    /// A multiple of four bytes, at most 40.
    pub(super) options: &'a [u8],
}

/// A payload with the sum over it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) sum: u16,
}

impl Ends {
    pub(super) fn new(version: IpVersion, protocol: u8, client: End, server: End) -> Self {
        let addresses = fold(u64::from(sum(&client.ip.0)) + u64::from(sum(&server.ip.0)));
        let sum = u32::from(addresses) + u32::from(protocol) + u32::from(client.port) + u32::from(server.port);
        Self { version, protocol, client, server, sum }
    }

    pub(super) const fn protocol(&self) -> u8 {
        self.protocol
    }

    pub(super) const fn five_tuple(&self) -> FiveTuple {
        FiveTuple {
            source: self.client.ip,
            destination: self.server.ip,
            source_port: self.client.port,
            destination_port: self.server.port,
            protocol: self.protocol,
            version: self.version,
        }
    }

    /// Length of a frame with `payload` bytes and `options` bytes of TCP options.
    pub(super) const fn frame_len(&self, options: usize, payload: usize) -> usize {
        let transport = if self.protocol == protocol::TCP { TCP_HEADER_LEN + options } else { UDP_HEADER_LEN };
        self.network_end() + transport + payload
    }

    const fn network_end(&self) -> usize {
        ETHERNET_HEADER_LEN
            + match self.version {
                IpVersion::V4 => IPV4_HEADER_LEN,
                IpVersion::V6 => IPV6_HEADER_LEN,
            }
    }

    /// Writes a TCP frame into `frame`, which has the length of [`Ends::frame_len`].
    pub(super) fn write_tcp(
        &self,
        frame: &mut [u8],
        to_server: bool,
        ident: u16,
        tcp: &Segment<'_>,
        data: Payload<'_>,
    ) {
        let header_len = TCP_HEADER_LEN + tcp.options.len();
        let body = self.write_network(frame, to_server, ident, header_len + data.bytes.len());
        let (from, to) = self.ports(to_server);
        let (header, payload) = body.split_at_mut(header_len);
        header[0..2].copy_from_slice(&from.to_be_bytes());
        header[2..4].copy_from_slice(&to.to_be_bytes());
        header[4..8].copy_from_slice(&tcp.sequence.to_be_bytes());
        header[8..12].copy_from_slice(&tcp.acknowledgement.to_be_bytes());
        header[12] = (header_len as u8 / 4) << 4;
        header[13] = tcp.flags;
        header[14..16].copy_from_slice(&tcp.window.to_be_bytes());
        header[16..20].fill(0);
        header[20..].copy_from_slice(tcp.options);
        payload.copy_from_slice(data.bytes);
        // Ports are in the flow's sum already.
        let total = u64::from(self.sum)
            + (header_len + data.bytes.len()) as u64
            + u64::from(sum(&header[4..]))
            + u64::from(data.sum);
        header[16..18].copy_from_slice(&(!fold(total)).to_be_bytes());
    }

    /// Writes a UDP frame into `frame`, which has the length of [`Ends::frame_len`].
    pub(super) fn write_udp(&self, frame: &mut [u8], to_server: bool, ident: u16, data: Payload<'_>) {
        let len = UDP_HEADER_LEN + data.bytes.len();
        let body = self.write_network(frame, to_server, ident, len);
        let (from, to) = self.ports(to_server);
        let (header, payload) = body.split_at_mut(UDP_HEADER_LEN);
        header[0..2].copy_from_slice(&from.to_be_bytes());
        header[2..4].copy_from_slice(&to.to_be_bytes());
        header[4..6].copy_from_slice(&(len as u16).to_be_bytes());
        payload.copy_from_slice(data.bytes);
        // The length is in the pseudo-header as well.
        let total = u64::from(self.sum) + 2 * len as u64 + u64::from(data.sum);
        // 0 would mean "no checksum" (RFC 768).
        let checksum = match !fold(total) {
            0 => 0xffff,
            checksum => checksum,
        };
        header[6..8].copy_from_slice(&checksum.to_be_bytes());
    }

    const fn ports(&self, to_server: bool) -> (u16, u16) {
        if to_server { (self.client.port, self.server.port) } else { (self.server.port, self.client.port) }
    }

    /// Writes Ethernet and IP headers for `len` bytes of transport, and gives the rest of the frame.
    fn write_network<'f>(&self, frame: &'f mut [u8], to_server: bool, ident: u16, len: usize) -> &'f mut [u8] {
        let (from, to) = if to_server { (&self.client, &self.server) } else { (&self.server, &self.client) };
        // Servers are some hops away, clients are not.
        let hops = if to_server { 64 } else { 57 };
        let (header, body) = frame.split_at_mut(self.network_end());
        header[0..6].copy_from_slice(&to.mac);
        header[6..12].copy_from_slice(&from.mac);
        let (ethernet, ip) = header.split_at_mut(ETHERNET_HEADER_LEN);
        match self.version {
            IpVersion::V4 => {
                ethernet[12..14].copy_from_slice(&ethertype::IPV4.to_be_bytes());
                ip[0..2].copy_from_slice(&[0x45, 0]);
                ip[2..4].copy_from_slice(&((IPV4_HEADER_LEN + len) as u16).to_be_bytes());
                ip[4..6].copy_from_slice(&ident.to_be_bytes());
                // Don't Fragment.
                ip[6..8].copy_from_slice(&[0x40, 0]);
                ip[8] = hops;
                ip[9] = self.protocol;
                ip[10..12].fill(0);
                ip[12..16].copy_from_slice(&from.ip.first_four());
                ip[16..20].copy_from_slice(&to.ip.first_four());
                let checksum = !sum(ip);
                ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            IpVersion::V6 => {
                ethernet[12..14].copy_from_slice(&ethertype::IPV6.to_be_bytes());
                ip[0..4].copy_from_slice(&[0x60, 0, 0, 0]);
                ip[4..6].copy_from_slice(&(len as u16).to_be_bytes());
                ip[6] = self.protocol;
                ip[7] = hops;
                ip[8..24].copy_from_slice(&from.ip.0);
                ip[24..40].copy_from_slice(&to.ip.0);
            }
        }
        body
    }
}

/// The flags of a segment that carries data which the receiver should not wait to hand on.
pub(super) const PUSH: u8 = TcpFlags::PSH | TcpFlags::ACK;

#[cfg(test)]
pub(super) mod tests;
