//! An index that is there, and its parts as far as they are asked for.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use vxtap_wire::FlowKey;

use crate::builder::Page;
use crate::capture::Descriptions;
use crate::checksum::checksum;
use crate::fingerprint::Fingerprint;
use crate::format::{self, CHUNK_BYTES, HEADER_BYTES, Header, KEY_BYTES, NAME_BYTES, Name, PAGE_BYTES};

/// Keys are looked through so many bytes at a time.
const KEYS_AT_ONCE: u64 = 4096;

/// An index that is damaged, or is of another version or another capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unusable;

/// An open index. Whatever is read of it is checked first, and is never more than it has.
pub(crate) struct Index {
    store: Store,
    header: Header,
    /// A checksum of each chunk of the body.
    directory: Vec<u8>,
}

/// Where the bytes of an index are.
enum Store {
    File(File),
    Memory(Vec<u8>),
}

impl Index {
    /// Opens the index at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Unusable> {
        // Asked first: to open a pipe is to wait for who writes it.
        if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
            return Err(Unusable);
        }
        let file = File::open(path).map_err(|_| Unusable)?;
        let length = file.metadata().map_err(|_| Unusable)?.len();
        Self::of(Store::File(file), length)
    }

    /// An index in memory.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<Self, Unusable> {
        let length = bytes.len() as u64;
        Self::of(Store::Memory(bytes), length)
    }

    fn of(store: Store, length: u64) -> Result<Self, Unusable> {
        let mut bytes = [0; HEADER_BYTES];
        store.read(&mut bytes, 0)?;
        let header = Header::decode(&bytes).filter(|header| header.index_bytes == length).ok_or(Unusable)?;
        // Not longer than the index: the header adds up.
        let mut directory = vec![0; header.chunks() as usize * 8];
        store.read(&mut directory, HEADER_BYTES as u64 + header.body_bytes)?;
        if checksum(&directory) != header.directory {
            return Err(Unusable);
        }
        Ok(Self { store, header, directory })
    }

    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) const fn capture(&self) -> &Fingerprint {
        &self.header.capture
    }

    /// All pages, checked to be in order and within the capture.
    pub(crate) fn pages(&self) -> Result<Vec<Page>, Unusable> {
        let mut view = View::of(self);
        let bytes = view.read(self.header.pages_at(), self.header.pages * PAGE_BYTES as u64)?;
        let pages: Vec<Page> = bytes.as_chunks::<PAGE_BYTES>().0.iter().map(format::decode_page).collect();
        let mut end = 0;
        for page in &pages {
            if page.range.offset < end || page.end() > self.header.whole_bytes || page.range.length == 0 {
                return Err(Unusable);
            }
            end = page.end();
        }
        Ok(pages)
    }

    pub(crate) fn descriptions(&self) -> Result<Descriptions, Unusable> {
        let mut view = View::of(self);
        Descriptions::parse(view.read(0, self.header.description_bytes)?).ok_or(Unusable)
    }

    /// Calls `each` with every flow whose name begins with `prefix` and its list of pages.
    pub(crate) fn named(
        &self,
        prefix: u64,
        mut each: impl FnMut(FlowKey, &[u8]) -> Option<()>,
    ) -> Result<(), Unusable> {
        let (mut keys, mut lists) = (View::of(self), Lists::of(self));
        let (mut low, mut high) = (0, self.header.names);
        while low < high {
            let middle = low.midpoint(high);
            if lists.name(middle)?.prefix < prefix {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        while low < self.header.names && lists.name(low)?.prefix == prefix {
            each(self.key(&mut keys, low)?, lists.list(low)?).ok_or(Unusable)?;
            low += 1;
        }
        Ok(())
    }

    /// Calls `each` with the list of pages of every flow that `is_wanted`, until it says that it has enough.
    pub(crate) fn wanted(
        &self,
        is_wanted: impl Fn(FlowKey) -> bool,
        mut each: impl FnMut(&[u8]) -> Option<Enough>,
    ) -> Result<(), Unusable> {
        let (mut keys, mut lists) = (View::of(self), Lists::of(self));
        for from in (0..self.header.names).step_by(KEYS_AT_ONCE as usize) {
            let count = KEYS_AT_ONCE.min(self.header.names - from);
            let bytes = keys.read(self.header.keys_at() + from * KEY_BYTES as u64, count * KEY_BYTES as u64)?;
            for (flow, bytes) in (from..).zip(bytes.as_chunks::<KEY_BYTES>().0) {
                let key = format::decode_key(bytes).ok_or(Unusable)?;
                if is_wanted(key) && each(lists.list(flow)?).ok_or(Unusable)? == Enough::Yes {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn key(&self, view: &mut View<'_>, flow: u64) -> Result<FlowKey, Unusable> {
        let bytes = view.read(self.header.keys_at() + flow * KEY_BYTES as u64, KEY_BYTES as u64)?;
        bytes.first_chunk().and_then(format::decode_key).ok_or(Unusable)
    }
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enough {
    Yes,
    No,
}

/// The names of flows, and their lists of pages.
struct Lists<'a> {
    index: &'a Index,
    names: View<'a>,
    lists: View<'a>,
}

impl<'a> Lists<'a> {
    fn of(index: &'a Index) -> Self {
        Self { index, names: View::of(index), lists: View::of(index) }
    }

    fn name(&mut self, flow: u64) -> Result<Name, Unusable> {
        let at = self.index.header.names_at() + flow * NAME_BYTES as u64;
        self.names.read(at, NAME_BYTES as u64)?.first_chunk().map(Name::decode).ok_or(Unusable)
    }

    fn list(&mut self, flow: u64) -> Result<&[u8], Unusable> {
        let header = &self.index.header;
        let from = u64::from(self.name(flow)?.list_at);
        let to = if flow + 1 < header.names { self.name(flow + 1)?.list_at.into() } else { header.list_bytes };
        if to < from || to > header.list_bytes {
            return Err(Unusable);
        }
        self.lists.read(header.lists_at() + from, to - from)
    }
}

/// A place of the body that is being looked at: whole chunks, whose checksums were right.
struct View<'a> {
    index: &'a Index,
    first_chunk: u64,
    bytes: Vec<u8>,
}

impl<'a> View<'a> {
    const fn of(index: &'a Index) -> Self {
        Self { index, first_chunk: 0, bytes: Vec::new() }
    }

    /// `length` bytes of the body from `at` on.
    fn read(&mut self, at: u64, length: u64) -> Result<&[u8], Unusable> {
        const CHUNK: u64 = CHUNK_BYTES as u64;
        let body_bytes = self.index.header.body_bytes;
        let end = at.checked_add(length).filter(|end| *end <= body_bytes).ok_or(Unusable)?;
        let start = self.first_chunk * CHUNK;
        if at < start || end > start + self.bytes.len() as u64 {
            self.first_chunk = at / CHUNK;
            let from = self.first_chunk * CHUNK;
            let to = (end.div_ceil(CHUNK) * CHUNK).min(body_bytes);
            // Emptied first, so that nothing unchecked stays where a checksum is wrong.
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize((to - from) as usize, 0);
            self.index.store.read(&mut bytes, HEADER_BYTES as u64 + from)?;
            let sums = self.index.directory.as_chunks::<8>().0.iter().skip(self.first_chunk as usize);
            if !bytes.chunks(CHUNK_BYTES).zip(sums).all(|(chunk, sum)| checksum(chunk) == u64::from_le_bytes(*sum)) {
                return Err(Unusable);
            }
            self.bytes = bytes;
        }
        let from = (at - self.first_chunk * CHUNK) as usize;
        self.bytes.get(from..from + length as usize).ok_or(Unusable)
    }
}

impl Store {
    fn read(&self, into: &mut [u8], at: u64) -> Result<(), Unusable> {
        match self {
            Self::File(file) => file.read_exact_at(into, at).map_err(|_| Unusable),
            Self::Memory(bytes) => {
                let from = bytes.get(at as usize..).and_then(|bytes| bytes.get(..into.len())).ok_or(Unusable)?;
                into.copy_from_slice(from);
                Ok(())
            }
        }
    }
}
