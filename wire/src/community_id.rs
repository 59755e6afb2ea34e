//! Community ID version 1: a flow's name that Suricata, Zeek, Arkime and Wireshark compute alike.
//!
//! `1:` and the base64 of SHA-1 over seed, ordered addresses, protocol, a zero byte and ordered ports, all in network
//! byte order. See <https://github.com/corelight/community-id-spec>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::flow::{FiveTuple, IpVersion, protocol};

/// Length of a Community ID in bytes: `1:` and 28 characters of base64.
pub const LEN: usize = 30;
/// Length of the SHA-1 in it, in bytes.
pub const DIGEST_LEN: usize = 20;

/// The Community ID of the flow of `tuple` as ASCII. It is equal for both directions; an ICMP message that has no
/// counterpart (an error) goes in one direction only and has its own.
///
/// `seed` keeps apart deployments that must not be matched; everybody else uses 0.
pub fn community_id(seed: u16, tuple: &FiveTuple) -> [u8; LEN] {
    to_text(&digest(seed, tuple))
}

/// The text of a Community ID with this digest.
pub fn to_text(digest: &[u8; DIGEST_LEN]) -> [u8; LEN] {
    let mut id = *b"1:                            ";
    // 20 bytes are always 28 characters, so the slice is of the right length.
    let _ = STANDARD.encode_slice(digest, &mut id[2..]);
    id
}

/// The SHA-1 that a Community ID is the text of.
pub fn digest(seed: u16, tuple: &FiveTuple) -> [u8; DIGEST_LEN] {
    let address_len = match tuple.version {
        IpVersion::V4 => 4,
        IpVersion::V6 => 16,
    };
    let source = &tuple.source.0[..address_len];
    let destination = &tuple.destination.0[..address_len];
    let ports = (tuple.source_port, tuple.destination_port);
    // A one-way ICMP message has its code in the second place: such a pair is never put in order.
    let ordered = (source, ports.0) <= (destination, ports.1) || (tuple.is_icmp() && !icmp_is_two_way(tuple));
    let (low, high, low_port, high_port) =
        if ordered { (source, destination, ports.0, ports.1) } else { (destination, source, ports.1, ports.0) };

    let mut sha = Sha1::new();
    sha.update(seed.to_be_bytes());
    sha.update(low);
    sha.update(high);
    sha.update([tuple.protocol, 0]);
    // The specification's list of protocols with ports; UDP-Lite is not in it.
    if tuple.is_icmp() || matches!(tuple.protocol, protocol::TCP | protocol::UDP | protocol::SCTP) {
        sha.update(low_port.to_be_bytes());
        sha.update(high_port.to_be_bytes());
    }
    sha.finalize().into()
}

fn icmp_is_two_way(tuple: &FiveTuple) -> bool {
    let Ok(kind) = u8::try_from(tuple.source_port) else { return false };
    crate::frame::icmp_counterpart(tuple.version, kind).is_some()
}

#[cfg(test)]
mod tests;
