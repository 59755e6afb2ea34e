//! The bytes of an index file. `lib.rs` describes the format.

use vxtap_wire::{FlowKey, IpAddress, IpVersion, NetworkId};

use crate::builder::{Page, PageRange};
use crate::checksum::checksum;
use crate::fingerprint::Fingerprint;

pub(crate) const MAGIC: [u8; 8] = *b"VXTAPIDX";
pub(crate) const VERSION: u64 = 1;
/// Length of the header in bytes, its checksum included.
pub(crate) const HEADER_BYTES: usize = HEADER_FIELDS * 8;
const HEADER_FIELDS: usize = 18;
/// The body has one checksum for so many bytes.
pub(crate) const CHUNK_BYTES: usize = 16 << 10;
pub(crate) const PAGE_BYTES: usize = 48;
pub(crate) const NAME_BYTES: usize = 12;
pub(crate) const KEY_BYTES: usize = 42;

const OTHER_FRAMES: u32 = 1;
const ANYTHING: u32 = 2;

/// The header: what the index is of, and how long its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Length of the index file, in bytes.
    pub(crate) index_bytes: u64,
    /// The capture that it is of.
    pub(crate) capture: Fingerprint,
    /// How many bytes of the capture are whole blocks, counted from its beginning.
    pub(crate) whole_bytes: u64,
    /// Length of the body, in bytes.
    pub(crate) body_bytes: u64,
    /// Checksum of the directory.
    pub(crate) directory: u64,
    /// Length of the descriptions, in bytes.
    pub(crate) description_bytes: u64,
    /// Pages.
    pub(crate) pages: u64,
    /// Names of flows; some flows have two.
    pub(crate) names: u64,
    /// Length of the lists of pages, in bytes.
    pub(crate) list_bytes: u64,
    /// Records in the capture.
    pub(crate) records: u64,
    /// The least time of a record, nanoseconds since 1970.
    pub(crate) first_ns: u64,
    /// The greatest time of a record, nanoseconds since 1970.
    pub(crate) last_ns: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let fields: [u64; HEADER_FIELDS - 1] = [
            u64::from_le_bytes(MAGIC),
            VERSION,
            self.index_bytes,
            self.capture.length,
            self.capture.head,
            self.capture.tail,
            self.whole_bytes,
            self.body_bytes,
            self.directory,
            self.description_bytes,
            self.pages,
            self.names,
            self.list_bytes,
            self.records,
            self.first_ns,
            self.last_ns,
            0,
        ];
        let mut bytes = [0; HEADER_BYTES];
        let (places, _) = bytes.as_chunks_mut::<8>();
        for (place, field) in places.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        let sum = checksum(&bytes[..HEADER_BYTES - 8]);
        bytes[HEADER_BYTES - 8..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The header in `bytes`; `None` where they are none, or one whose parts do not make up the index.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut fields = [0; HEADER_FIELDS];
        for (field, place) in fields.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *field = u64::from_le_bytes(*place);
        }
        let [magic, version, index_bytes, length, head, tail, whole_bytes, body_bytes, directory, rest @ ..] = fields;
        let [description_bytes, pages, names, list_bytes, records, first_ns, last_ns, _, sum] = rest;
        if magic != u64::from_le_bytes(MAGIC) || version != VERSION || sum != checksum(&bytes[..HEADER_BYTES - 8]) {
            return None;
        }
        let capture = Fingerprint { length, head, tail };
        let header = Self {
            index_bytes,
            capture,
            whole_bytes,
            body_bytes,
            directory,
            description_bytes,
            pages,
            names,
            list_bytes,
            records,
            first_ns,
            last_ns,
        };
        header.adds_up().then_some(header)
    }

    fn adds_up(&self) -> bool {
        let body = (self.pages.checked_mul(PAGE_BYTES as u64))
            .zip(self.names.checked_mul((NAME_BYTES + KEY_BYTES) as u64))
            .and_then(|(pages, names)| pages.checked_add(names)?.checked_add(self.description_bytes))
            .and_then(|sum| sum.checked_add(self.list_bytes));
        let index = self.chunks().checked_mul(8).and_then(|sum| sum.checked_add(self.body_bytes));
        body == Some(self.body_bytes)
            && index.and_then(|sum| sum.checked_add(HEADER_BYTES as u64)) == Some(self.index_bytes)
            && self.whole_bytes <= self.capture.length
            && u32::try_from(self.list_bytes).is_ok()
            && u32::try_from(self.pages).is_ok()
    }

    /// How many chunks the body has.
    pub(crate) const fn chunks(&self) -> u64 {
        self.body_bytes.div_ceil(CHUNK_BYTES as u64)
    }

    /// Where in the body the parts begin. The descriptions begin at 0.
    pub(crate) const fn pages_at(&self) -> u64 {
        self.description_bytes
    }

    pub(crate) const fn names_at(&self) -> u64 {
        self.pages_at() + self.pages * PAGE_BYTES as u64
    }

    pub(crate) const fn keys_at(&self) -> u64 {
        self.names_at() + self.names * NAME_BYTES as u64
    }

    pub(crate) const fn lists_at(&self) -> u64 {
        self.keys_at() + self.names * KEY_BYTES as u64
    }
}

/// An entry of the list of names: a flow by the beginning of its Community ID, and where its list of pages begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) prefix: u64,
    pub(crate) list_at: u32,
}

impl Name {
    pub(crate) fn encode(self) -> [u8; NAME_BYTES] {
        let mut bytes = [0; NAME_BYTES];
        bytes[..8].copy_from_slice(&self.prefix.to_le_bytes());
        bytes[8..].copy_from_slice(&self.list_at.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; NAME_BYTES]) -> Self {
        let [p0, p1, p2, p3, p4, p5, p6, p7, list @ ..] = *bytes;
        Self { prefix: u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7]), list_at: u32::from_le_bytes(list) }
    }
}

pub(crate) fn encode_key(key: &FlowKey) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    bytes[..16].copy_from_slice(&key.low.0);
    bytes[16..32].copy_from_slice(&key.high.0);
    bytes[32..34].copy_from_slice(&key.low_port.to_le_bytes());
    bytes[34..36].copy_from_slice(&key.high_port.to_le_bytes());
    bytes[36..40].copy_from_slice(&key.network.0.to_le_bytes());
    bytes[40] = key.protocol;
    bytes[41] = key.version as u8;
    bytes
}

/// `None` where the version of IP is none.
pub(crate) fn decode_key(bytes: &[u8; KEY_BYTES]) -> Option<FlowKey> {
    let (addresses, rest) = bytes.split_first_chunk::<32>()?;
    let (low, high) = addresses.split_first_chunk::<16>()?;
    let [l0, l1, h0, h1, n0, n1, n2, n3, protocol, version] = *rest.first_chunk::<10>()?;
    Some(FlowKey {
        low: IpAddress(*low),
        high: IpAddress(*high.first_chunk()?),
        low_port: u16::from_le_bytes([l0, l1]),
        high_port: u16::from_le_bytes([h0, h1]),
        network: NetworkId(u32::from_le_bytes([n0, n1, n2, n3])),
        protocol,
        version: match version {
            4 => IpVersion::V4,
            6 => IpVersion::V6,
            _ => return None,
        },
    })
}

pub(crate) fn encode_page(page: &Page) -> [u8; PAGE_BYTES] {
    let flags = u32::from(page.other_frames) * OTHER_FRAMES + u32::from(page.anything) * ANYTHING;
    let PageRange { offset, length, first_ns, last_ns, records } = page.range;
    let mut bytes = [0; PAGE_BYTES];
    let (places, _) = bytes.as_chunks_mut::<8>();
    let last = u64::from(page.section) | u64::from(flags) << 32;
    for (place, field) in places.iter_mut().zip([offset, length, first_ns, last_ns, records, last]) {
        *place = field.to_le_bytes();
    }
    bytes
}

pub(crate) fn decode_page(bytes: &[u8; PAGE_BYTES]) -> Page {
    let mut fields = [0; PAGE_BYTES / 8];
    for (field, place) in fields.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *field = u64::from_le_bytes(*place);
    }
    let [offset, length, first_ns, last_ns, records, last] = fields;
    let flags = (last >> 32) as u32;
    Page {
        range: PageRange { offset, length, first_ns, last_ns, records },
        section: last as u32,
        other_frames: flags & OTHER_FRAMES != 0,
        anything: flags & ANYTHING != 0,
    }
}

/// Appends `number` in groups of seven bits, the lowest first; the high bit says that more follow.
pub(crate) fn encode_number(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the head of `bytes`.
pub(crate) fn decode_number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok();
        }
    }
    None
}

/// Appends a list of pages, which are in rising order: each as its distance from the one before.
pub(crate) fn encode_list(out: &mut Vec<u8>, pages: &[u32]) {
    let mut next = 0;
    for page in pages {
        encode_number(out, page - next);
        next = page + 1;
    }
}

/// Calls `each` with the pages of the list that `bytes` are; `None` where they are none, or one with a page that is not below
/// `pages`.
pub(crate) fn decode_list(mut bytes: &[u8], pages: u64, mut each: impl FnMut(u32)) -> Option<()> {
    let mut next = 0_u32;
    while !bytes.is_empty() {
        let page = next.checked_add(decode_number(&mut bytes)?)?;
        if u64::from(page) >= pages {
            return None;
        }
        each(page);
        next = page + 1;
    }
    Some(())
}
