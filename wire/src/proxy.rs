//! The PROXY protocol (version 2, HAProxy's `proxy-protocol.txt`): a header that a load balancer puts in front of what it passes on, to say who sent it.
//!
//! Its first byte has the I flag of VXLAN, so in front of a mirror's datagram it would pass for a header of VNI 3338, with a frame that is none.

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Its first eight bytes, where a tunnel's header would be.
pub(crate) const SIGNATURE_BITS: u64 = match SIGNATURE.first_chunk() {
    Some(bytes) => u64::from_be_bytes(*bytes),
    None => unreachable!(),
};

/// Whether `datagram` begins with such a header.
pub(crate) fn begins(datagram: &[u8]) -> bool {
    datagram.starts_with(&SIGNATURE)
}
