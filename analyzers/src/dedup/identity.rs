//! What all copies of one packet have in common.
//!
//! | Part | In the identity | Since |
//! |---|---|---|
//! | IPv4 | addresses, protocol, identification, fragment bits and offset, total length | routers change TTL and checksum, may change DSCP and ECN (RFC 2474, RFC 3168), and some options (RFC 791 section 3.1) |
//! | IPv6 | addresses, flow label, payload length, protocol, fragment header | routers change hop limit, traffic class, hop-by-hop options |
//! | TCP | ports, sequence, acknowledgement, flags, window; options where they are known and no SYN | checksums may be left to hardware at one of the two places; the MSS of a SYN may be clamped on the way |
//! | UDP | ports; the length is IP's | |
//! | ICMP | type, code, rest of the header | |
//! | SCTP | ports, verification tag | |
//! | payload | the first 8 bytes, and the first 24, where they are known | one copy may be cut shorter |
//!
//! Datagrams without an identification (IPv6, or DF and 0) have little else in their headers to tell them apart by. Theirs have to be
//! found by their payload: a copy that is cut within its first 24 bytes meets only those that are cut there too.
//!
//! MAC addresses, VLAN tags, labels and a tunnel around the packet are not in it. Nor is what a mirror has cut off: lengths are those that
//! the IP header tells. The innermost packet counts, as in the flow table.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use vxtap_wire::{FrameView, IpVersion, Missing, NetworkId, TcpFlags, Transport, protocol};

/// Payload bytes that are looked at, where they are there. Sequence numbers, counters and what is encrypted of a QUIC packet begin
/// before the end of the longer one, which a frame of 96 bytes has even behind a tag, IPv6 and UDP.
const HEAD: usize = 8;
const LONG: usize = 24;
const IPV6_HEADER: usize = 40;
/// Two for each of the pairs that are told apart.
const SECRETS: usize = 32;
const TCP_HEADER: usize = 20;

/// Of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// What any copy has that is not cut in its headers.
    pub(super) hash: u64,
    /// What a copy may lack.
    pub(super) extras: Extras,
}

/// Digests of parts that a copy may lack; 0 where it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extras(pub(super) [u16; 3]);

impl Extras {
    /// Whether two copies may be of one packet: what both have is equal.
    #[inline]
    pub(super) fn fit(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(one, other)| *one == 0 || other == 0 || *one == other)
    }
}

/// Makes identities.
///
/// Words are hashed in pairs that do not wait for each other: both halves of the product of two words, each with a secret added.
#[derive(Clone, Debug)]
pub(super) struct Identifier {
    secrets: [u64; SECRETS],
}

impl Identifier {
    pub(super) fn new(seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        Self { secrets: std::array::from_fn(|number| state.hash_one(number as u64) | 1) }
    }

    /// Hashes a pair, in a way of its own for each `place`.
    #[inline]
    fn pair(&self, place: usize, one: u64, other: u64) -> u64 {
        let secret = |at: usize| self.secrets[at % SECRETS];
        let product = u128::from(one ^ secret(2 * place)) * u128::from(other ^ secret(2 * place + 1));
        product as u64 ^ (product >> 64) as u64
    }

    /// The identity of a packet of `network`; `None` where it is not IP, or cut or broken before the end of its headers.
    #[inline]
    pub(super) fn identify(&self, network: NetworkId, view: &FrameView<'_>) -> Option<Identity> {
        let tuple = view.five_tuple.as_ref()?;
        let ip = view.bytes.get(view.network_offset()..)?;
        let (own, numbered, header_len) = match tuple.version {
            IpVersion::V4 => {
                // Total length, identification, flags and offset.
                let header: &[u8; 20] = ip.first_chunk()?;
                let word = u64::from_be_bytes(*header.first_chunk()?);
                let identification = [header[4], header[5]];
                (word & 0xffff_ffff_ffff, identification != [0; 2], Some(usize::from(header[0] & 15) * 4))
            }
            IpVersion::V6 => {
                // Flow label, payload length.
                let header: &[u8; IPV6_HEADER] = ip.first_chunk()?;
                let word = u64::from_be_bytes(*header.first_chunk()?) >> 16;
                // Behind extension headers TCP is where only the walk knows: its options stay unknown.
                let header_len = (header[6] == protocol::TCP).then_some(IPV6_HEADER);
                (word & 0xf_ffff_ffff, view.fragment.is_some(), header_len)
            }
        };
        let (payload, whole) = (view.payload(), view.payload_wire_len() as usize);
        let long = self.beginning(payload, whole, LONG);
        let found_by = if numbered || matches!(view.transport, Transport::Tcp(_)) { 0 } else { long };
        let fragment = view.fragment.filter(|_| tuple.version == IpVersion::V6).map_or(0, |fragment| {
            let place = u64::from(fragment.offset) << 1 | u64::from(fragment.more);
            u64::from(fragment.identification) << 32 | place
        });
        let ports = u64::from(tuple.source_port) << 16 | u64::from(tuple.destination_port);
        let kind = u64::from(tuple.protocol) << 8 | tuple.version as u64;
        let (transport, flags) = transport(view)?;
        let (source, destination) = (halves(tuple.source.0), halves(tuple.destination.0));
        let hash = self.pair(0, source.0, source.1)
            ^ self.pair(1, destination.0, destination.1)
            ^ self.pair(2, own, ports << 32 | u64::from(network.0))
            ^ self.pair(3, transport, kind << 32 | flags)
            ^ self.pair(4, fragment, found_by);
        // The pairs spread in the middle of a word; what chooses the bucket is at its end.
        let hash = self.pair(5, hash, hash.rotate_left(32));
        let options = match view.transport {
            Transport::Tcp(tcp) if !tcp.flags.has(TcpFlags::SYN) => header_len.map_or(0, |at| self.options(ip, at)),
            _ => 0,
        };
        let head = self.beginning(payload, whole, HEAD);
        Some(Identity { hash, extras: Extras([short(options), short(head), short(long)]) })
    }

    /// A digest of the options of the TCP header at `at` of the packet.
    #[inline]
    fn options(&self, packet: &[u8], at: usize) -> u64 {
        let Some(header) = packet.get(at..) else { return 0 };
        let long = header.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        header.get(TCP_HEADER..long).filter(|options| !options.is_empty()).map_or(0, |options| self.digest(options))
    }

    /// A digest of the first `most` bytes of a payload that had `whole` bytes; 0 where they are not there.
    #[inline]
    fn beginning(&self, payload: &[u8], whole: usize, most: usize) -> u64 {
        let long = whole.min(most);
        if long == 0 {
            return 0;
        }
        payload.get(..long).map_or(0, |bytes| self.digest(bytes))
    }

    /// A digest of up to 64 bytes; of more, each counts together with the one 64 bytes before.
    #[inline]
    fn digest(&self, bytes: &[u8]) -> u64 {
        let mut digest = bytes.len() as u64;
        for (place, pair) in bytes.chunks(16).enumerate() {
            let (one, other) = match pair.as_chunks::<8>() {
                ([one, other], _) => (u64::from_le_bytes(*one), u64::from_le_bytes(*other)),
                ([one], rest) => (u64::from_le_bytes(*one), word(rest)),
                (_, rest) => (word(rest), 0),
            };
            digest ^= self.pair(6 + place % 4, one, other);
        }
        digest
    }
}

/// Up to 8 bytes as a number.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    match *bytes {
        [] => 0,
        // TCP options come in fours.
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        _ => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Both halves of an address.
#[inline]
const fn halves(address: [u8; 16]) -> (u64, u64) {
    let address = u128::from_le_bytes(address);
    (address as u64, (address >> 64) as u64)
}

/// As few bits as an entry has for a digest, and 0 for none alone.
#[inline]
fn short(digest: u64) -> u16 {
    let mixed = (digest >> 48 ^ digest >> 16) as u16;
    if digest == 0 { 0 } else { mixed.max(1) }
}

/// What the transport header has besides ports, in two numbers; `None` where it is cut.
#[inline]
fn transport(view: &FrameView<'_>) -> Option<(u64, u64)> {
    // The last bytes of a header that is there.
    let before_payload = |back: usize| {
        let at = view.headers_len().checked_sub(back)?;
        view.bytes.get(at..)?.first_chunk().map(|bytes| u64::from(u32::from_be_bytes(*bytes)))
    };
    Some(match view.transport {
        Transport::Tcp(tcp) => (
            u64::from(tcp.sequence) << 32 | u64::from(tcp.acknowledgement),
            u64::from(tcp.flags.0) << 16 | u64::from(tcp.window),
        ),
        _ if view.missing > Missing::Payload => return None,
        Transport::Icmp(icmp) => (before_payload(4)?, u64::from(icmp.kind) << 8 | u64::from(icmp.code)),
        Transport::Sctp => (before_payload(8)?, 0),
        Transport::Udp | Transport::Other => (0, 0),
    })
}
