//! Keys of Initial packets (RFC 9001 section 5, RFC 9369 section 3.3). Everybody who sees the client's first packet can
//! derive them.

use std::ops::Range;

use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::{Array, BlockCipherEncrypt as _};
use aes_gcm::{AeadInOut as _, Aes128Gcm, KeyInit as _};
use hkdf::Hkdf;
use sha2::Sha256;

use super::packet::{Initial, Version};

const SALT_1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f,
    0x0a,
];
const SALT_2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e,
    0xd9,
];

const TAG_LEN: usize = 16;
const SAMPLE_LEN: usize = 16;
/// Where the sample for header protection is, counted from the packet number, which is taken to be of its full length.
const SAMPLE_AT: usize = 4;

/// The keys of both directions of a connection.
pub(crate) struct Keys {
    pub(crate) client: Direction,
    pub(crate) server: Direction,
}

/// The keys of what one side sends.
pub(crate) struct Direction {
    payload: Aes128Gcm,
    /// For what is cut, which cannot be authenticated.
    block: Aes128,
    header: Aes128,
    iv: [u8; 12],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// From the connection id that the client's first packet was sent to.
    pub(crate) fn derive(version: Version, destination: &[u8]) -> Option<Self> {
        let salt = match version {
            Version::One => &SALT_1,
            Version::Two => &SALT_2,
        };
        let initial = Hkdf::<Sha256>::new(Some(salt), destination);
        let direction = |label| {
            let secret = Hkdf::<Sha256>::from_prk(&expand::<32>(&initial, label)?).ok()?;
            let [key, iv, header] = match version {
                Version::One => ["quic key", "quic iv", "quic hp"],
                Version::Two => ["quicv2 key", "quicv2 iv", "quicv2 hp"],
            };
            let key = Array(expand::<16>(&secret, key)?);
            Some(Direction {
                payload: Aes128Gcm::new(&key),
                block: Aes128::new(&key),
                header: Aes128::new(&Array(expand::<16>(&secret, header)?)),
                iv: expand(&secret, iv)?,
            })
        };
        Some(Self { client: direction("client in")?, server: direction("server in")? })
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1). Nothing only where the label or the output were too
/// long.
fn expand<const LEN: usize>(secret: &Hkdf<Sha256>, label: &str) -> Option<[u8; LEN]> {
    let mut out = [0; LEN];
    let lengths = [0, LEN as u8, b"tls13 ".len() as u8 + label.len() as u8];
    secret.expand_multi_info(&[&lengths, b"tls13 ", label.as_bytes(), &[0]], &mut out).ok()?;
    Some(out)
}

impl Direction {
    /// Opens a packet into `scratch` and gives where in it its frames are; nothing where it was made with other keys.
    /// Frames of a cut packet are not authenticated, and cut as well.
    pub(crate) fn open(&self, packet: &Initial<'_>, scratch: &mut Vec<u8>) -> Option<Range<usize>> {
        scratch.clear();
        scratch.extend_from_slice(packet.bytes);
        let mask = self.mask(packet)?;
        let first = scratch.first_mut()?;
        *first ^= mask[0] & 0x0f;
        // Reserved bits are 0; here they show whether the keys fit.
        if *first & 0x0c != 0 {
            return None;
        }
        let number_len = usize::from(*first & 3) + 1;
        let payload_at = packet.number_at + number_len;
        let (header, payload) = scratch.split_at_mut_checked(payload_at)?;
        let mut nonce = self.iv;
        // The first packets of a connection have small numbers, which are there in full.
        let number = &mut header[packet.number_at..];
        for (byte, mask) in number.iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        for (byte, number) in nonce[12 - number_len..].iter_mut().zip(number) {
            *byte ^= *number;
        }
        if !packet.whole {
            self.apply_key_stream(&nonce, payload);
            return Some(payload_at..scratch.len());
        }
        let (payload, tag) = payload.split_at_mut_checked(payload.len().checked_sub(TAG_LEN)?)?;
        let tag = Array::try_from(&*tag).ok()?;
        self.payload.decrypt_inout_detached(&Array(nonce), header, payload.into(), &tag).ok()?;
        Some(payload_at..scratch.len() - TAG_LEN)
    }

    /// What the first byte and the packet number are protected with (RFC 9001 section 5.4.3).
    fn mask(&self, packet: &Initial<'_>) -> Option<[u8; SAMPLE_LEN]> {
        let sample = packet.bytes.get(packet.number_at + SAMPLE_AT..)?.first_chunk::<SAMPLE_LEN>()?;
        let mut block = Array(*sample);
        self.header.encrypt_block(&mut block);
        Some(block.0)
    }

    /// The cipher of GCM without its tag: counter mode, whose first block is for the tag (NIST SP 800-38D section 7.2).
    fn apply_key_stream(&self, nonce: &[u8; 12], payload: &mut [u8]) {
        for (counter, chunk) in (2u32..).zip(payload.chunks_mut(16)) {
            let mut block = Array([0; 16]);
            block[..12].copy_from_slice(nonce);
            block[12..].copy_from_slice(&counter.to_be_bytes());
            self.block.encrypt_block(&mut block);
            for (byte, key) in chunk.iter_mut().zip(block) {
                *byte ^= key;
            }
        }
    }
    /// Makes the packet that [`Direction::open`] opens, out of a header with its packet number of four bytes.
    #[cfg(test)]
    pub(crate) fn seal(&self, header: &[u8], frames: &[u8]) -> Vec<u8> {
        let number_at = header.len() - 4;
        let mut nonce = self.iv;
        for (byte, number) in nonce[8..].iter_mut().zip(&header[number_at..]) {
            *byte ^= number;
        }
        let mut payload = frames.to_vec();
        let tag = self.payload.encrypt_inout_detached(&Array(nonce), header, payload.as_mut_slice().into()).unwrap();
        let mut packet = [header, &payload, &tag].concat();
        let mut mask = Array([0; 16]);
        mask.copy_from_slice(&packet[number_at + SAMPLE_AT..][..SAMPLE_LEN]);
        self.header.encrypt_block(&mut mask);
        packet[0] ^= mask[0] & 0x0f;
        for (byte, mask) in packet[number_at..].iter_mut().zip(&mask[1..5]) {
            *byte ^= mask;
        }
        packet
    }
}
