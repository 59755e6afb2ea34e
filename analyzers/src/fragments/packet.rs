//! One packet, as far as its fragments have come.

use vxtap_wire::{FiveTuple, Fragment, FrameView, IpAddress, IpVersion, NetworkId};

use super::header::{LEN_MAX, counted_len, make_whole};
use crate::sparse::{Content, Piece, Run, Sparse};

/// What the fragments of a packet have in common: RFC 791 section 3.2, RFC 8200 section 4.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    source: IpAddress,
    destination: IpAddress,
    network: NetworkId,
    identification: u32,
    version: IpVersion,
    /// 0 for IPv6, where only the first fragment's counts.
    protocol: u8,
}

impl Key {
    pub(super) fn new(network: NetworkId, tuple: &FiveTuple, identification: u32) -> Self {
        let protocol = match tuple.version {
            IpVersion::V4 => tuple.protocol,
            IpVersion::V6 => 0,
        };
        let (source, destination, version) = (tuple.source, tuple.destination, tuple.version);
        Self { source, destination, network, identification, version, protocol }
    }
}

/// What a fragment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is kept, or was there already.
    Waits,
    /// Bytes of it were there, the same ones, and it is no copy.
    Alike,
    /// Bytes of it were there, other ones; they stay.
    Different,
    /// It contradicts what a packet can be, and is left out.
    Malformed,
    /// It overlaps, and the packet has to be given up.
    Overlaps,
    /// It is one too many.
    TooMany,
}

/// A packet of which fragments came.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) serial: u64,
    /// When its first fragment came.
    pub(super) first_ns: u64,
    /// It was put together or given up.
    pub(super) over: bool,
    version: IpVersion,
    /// Header of the fragment with offset 0, as far as it is there; empty before that has come.
    header: Vec<u8>,
    payload: Sparse,
    /// Length of the payload, from the last fragment.
    payload_len: Option<u64>,
    fragments: usize,
}

impl Packet {
    pub(super) fn new(serial: u64, first_ns: u64) -> Self {
        Self {
            serial,
            first_ns,
            over: false,
            version: IpVersion::V4,
            header: Vec::new(),
            payload: Sparse::default(),
            payload_len: None,
            fragments: 0,
        }
    }

    /// Memory that it takes, about, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.header.len() + self.payload.cost()
    }

    /// Forgets what was kept.
    pub(super) fn finish(&mut self) {
        self.over = true;
        self.header = Vec::new();
        self.payload = Sparse::default();
    }

    /// Takes the fragment that `view` shows.
    pub(super) fn add(&mut self, view: &FrameView<'_>, fragment: Fragment, most: usize, time_ns: u64) -> Added {
        let version = view.five_tuple.map_or(self.version, |tuple| tuple.version);
        let (payload, wire_len) = (view.payload(), view.payload_wire_len());
        let (start, header) = (u64::from(fragment.offset), header(view));
        let end = start + u64::from(wire_len);
        let too_long = end + counted_len(header.len().max(self.header.len()), version) > LEN_MAX;
        let odd = fragment.more && wire_len % 8 != 0;
        let contradicts = match self.payload_len {
            Some(len) => end > len || !fragment.more && end != len,
            None => !fragment.more && self.payload.end().is_some_and(|known| known > end),
        };
        if too_long || odd || contradicts || wire_len == 0 {
            return Added::Malformed;
        }
        self.version = version;
        if self.fragments >= most {
            return Added::TooMany;
        }
        self.fragments += 1;
        let cut = wire_len.saturating_sub(payload.len() as u32);
        let cut_start = start + payload.len() as u64;
        let there = self.payload.overlap(start, &Run::Bytes(payload));
        let there_cut = self.payload.overlap(cut_start, &Run::Cut(cut));
        let seen = there.bytes + there_cut.bytes;
        let again = seen == u64::from(wire_len) && !there.differs && self.has_edges(start, end);
        if version == IpVersion::V6 && seen > 0 && !again {
            return Added::Overlaps;
        }
        // Where the header was cut, all behind it was; a copy that has payload has the whole header.
        let lacks_first = |piece: &Piece| piece.start > 0 || matches!(piece.content, Content::Cut);
        if fragment.offset == 0 && self.payload.first().is_none_or(lacks_first) {
            self.header = header.to_vec();
        }
        self.payload.insert(start, &Run::Bytes(payload), time_ns);
        self.payload.insert(cut_start, &Run::Cut(cut), time_ns);
        if !fragment.more {
            self.payload_len = Some(end);
        }
        match (there.differs, seen > 0 && !again) {
            (true, _) => Added::Different,
            (false, true) => Added::Alike,
            (false, false) => Added::Waits,
        }
    }

    /// Whether a fragment began at `start` and one ended at `end`.
    fn has_edges(&self, start: u64, end: u64) -> bool {
        self.payload.iter().any(|piece| piece.start == start) && self.payload.iter().any(|piece| piece.end() == end)
    }

    /// Whether nothing is missing but what the mirror cut off.
    pub(super) fn is_whole(&self) -> bool {
        let mut end = 0;
        for piece in self.payload.iter() {
            if piece.start != end {
                return false;
            }
            end = piece.end();
        }
        !self.over && !self.header.is_empty() && self.payload_len == Some(end)
    }

    /// Writes the whole packet to `out`, up to what is missing first; gives whether something is.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> bool {
        out.clear();
        out.extend_from_slice(&self.header);
        make_whole(out, self.version, self.payload_len.unwrap_or(0));
        for piece in self.payload.iter() {
            let Content::Bytes(bytes) = &piece.content else { return true };
            out.extend_from_slice(bytes);
        }
        false
    }
}

/// The innermost IP header in `view`, up to the fragment's payload, as far as it is there.
fn header<'a>(view: &FrameView<'a>) -> &'a [u8] {
    view.bytes.get(view.network_offset()..view.headers_len()).unwrap_or_default()
}
