//! The IP header of a first fragment, made the header of the whole packet.

use vxtap_wire::{IpVersion, protocol};

/// The IPv6 fragment header (RFC 8200 section 4.5).
const FRAGMENT_HEADER_LEN: usize = 8;

/// What a whole packet's header and payload may have together, in bytes: the length fields have 16 bits.
pub(super) const LEN_MAX: u64 = 65_535;

/// Makes of `header`, a first fragment's, the header of the whole packet with `payload_len` bytes of payload behind it. What is cut
/// off of it stays away.
pub(super) fn make_whole(header: &mut Vec<u8>, version: IpVersion, payload_len: u64) {
    match version {
        IpVersion::V4 => ipv4(header, payload_len),
        IpVersion::V6 => ipv6(header, payload_len),
    }
}

/// Length of the header that the whole packet has: what counts for its length, without the fixed header of IPv6.
pub(super) fn counted_len(header_len: usize, version: IpVersion) -> u64 {
    match version {
        IpVersion::V4 => header_len as u64,
        IpVersion::V6 => header_len.saturating_sub(40 + FRAGMENT_HEADER_LEN) as u64,
    }
}

/// RFC 791 section 3.1.
fn ipv4(header: &mut [u8], payload_len: u64) {
    let Some(fixed) = header.first_chunk_mut::<20>() else { return };
    let total = u64::from(fixed[0] & 0x0f) * 4 + payload_len;
    let [high, low] = u16::try_from(total).unwrap_or(u16::MAX).to_be_bytes();
    // No fragment, and no checksum while one is made.
    [fixed[2], fixed[3]] = [high, low];
    [fixed[6], fixed[7]] = [0, 0];
    [fixed[10], fixed[11]] = [0, 0];
    let sum = checksum(header);
    if let Some(fixed) = header.first_chunk_mut::<20>() {
        [fixed[10], fixed[11]] = sum.to_be_bytes();
    }
}

fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    // At most 30 words: no overflow, and two folds take up every carry.
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// RFC 8200 section 4.5: the fragment header, which is the last of `header`, goes, and the header before it names what is behind.
fn ipv6(header: &mut Vec<u8>, payload_len: u64) {
    let Some(fragment) = header.len().checked_sub(FRAGMENT_HEADER_LEN).filter(|at| *at >= 40) else { return };
    let next = header.get(fragment).copied().unwrap_or(protocol::NO_NEXT_HEADER);
    let names = naming_field(header, fragment);
    if let Some(field) = header.get_mut(names) {
        *field = next;
    }
    header.truncate(fragment);
    let len = (fragment - 40) as u64 + payload_len;
    let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(field) = header.get_mut(4..6) {
        field.copy_from_slice(&len);
    }
}

/// Where the field is that names the header at `target`: in the fixed header or in an extension header before it.
fn naming_field(header: &[u8], target: usize) -> usize {
    let (mut field, mut at) = (6, 40);
    while at < target {
        let kind = header.get(field).copied().unwrap_or(0);
        let Some(len) = header.get(at + 1).map(|len| usize::from(*len)) else { break };
        field = at;
        at += match kind {
            // RFC 4302 section 2.2: length in 4 bytes, minus 2.
            protocol::AH => (len + 2) * 4,
            // RFC 8200 section 4.3: length in 8 bytes, minus 1.
            _ => (len + 1) * 8,
        };
    }
    field
}
