//! From what was noted to an index file.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use vxtap_wire::FlowKey;

use super::{IndexBuilder, names};
use crate::checksum::checksum;
use crate::fingerprint::Fingerprint;
use crate::format::{self, CHUNK_BYTES, HEADER_BYTES, Header, Name};

/// What became of a builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexSize {
    /// Length of the index file, in bytes.
    pub bytes: u64,
    /// Flows in it.
    pub flows: u64,
    /// Pages in it.
    pub pages: u64,
}

impl IndexBuilder {
    /// Writes the index of `capture`, the first `capture_length` bytes of which it was told of, and gives it its name,
    /// [`index_path`](crate::index_path). Until then it has a temporary name in the same directory, so an index is never half
    /// there; an older one is replaced. Who may read the capture may read the index.
    ///
    /// The capture is opened to look at its ends. This takes about 0.3 µs for each flow, so a writer that must not wait gives it to
    /// another thread.
    pub fn write(self, capture: &Path, capture_length: u64) -> io::Result<IndexSize> {
        let fingerprint = Fingerprint::of(&File::open(capture)?, capture_length)?;
        write_index(capture, |file| self.encode(fingerprint, capture_length, file))
    }

    /// Writes the index into `file`, which is empty. The first `whole_bytes` of the capture are whole blocks.
    pub(crate) fn encode(
        self,
        capture: Fingerprint,
        whole_bytes: u64,
        file: &mut (impl Write + Seek),
    ) -> io::Result<IndexSize> {
        if let Some(reason) = self.given_up {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("this capture cannot have an index: {reason}"),
            ));
        }
        let Self { flows, pairs, pages, descriptions, .. } = self;
        let keys: Vec<FlowKey> = flows.keys().copied().collect();
        drop(flows);
        let lists = Lists::new(keys.len(), &pairs);
        drop(pairs);
        let named = names::in_order(&keys);

        file.write_all(&[0; HEADER_BYTES])?;
        let mut body = Body::new(file);
        body.write(&descriptions)?;
        for page in &pages {
            body.write(&format::encode_page(page))?;
        }
        let mut list_bytes = Vec::new();
        for (prefix, flow) in &named {
            // Bounded by the bounds on pairs.
            body.write(&Name { prefix: *prefix, list_at: list_bytes.len() as u32 }.encode())?;
            format::encode_list(&mut list_bytes, lists.of(*flow));
        }
        for key in named.iter().filter_map(|(_, flow)| keys.get(*flow as usize)) {
            body.write(&format::encode_key(key))?;
        }
        body.write(&list_bytes)?;
        let (body_bytes, directory) = body.finish()?;
        let header = Header {
            index_bytes: (HEADER_BYTES + directory.len()) as u64 + body_bytes,
            capture,
            whole_bytes,
            body_bytes,
            directory: checksum(&directory),
            description_bytes: descriptions.len() as u64,
            pages: pages.len() as u64,
            names: named.len() as u64,
            list_bytes: list_bytes.len() as u64,
            records: pages.iter().map(|page| page.range.records).sum(),
            first_ns: pages.iter().map(|page| page.range.first_ns).min().unwrap_or(u64::MAX),
            last_ns: pages.iter().map(|page| page.range.last_ns).max().unwrap_or(0),
        };
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header.encode())?;
        Ok(IndexSize { bytes: header.index_bytes, flows: keys.len() as u64, pages: header.pages })
    }
}

/// The pages of each flow, in rising order.
struct Lists {
    /// Where the list of each flow begins, and where the last one ends.
    starts: Vec<u32>,
    pages: Vec<u32>,
}

impl Lists {
    /// Sorts `pairs`, which are in the order of pages, by flow.
    fn new(flows: usize, pairs: &[super::Pair]) -> Self {
        let mut starts = vec![0_u32; flows + 1];
        for pair in pairs {
            if let Some(count) = starts.get_mut(pair.flow as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut pages = vec![0; pairs.len()];
        for pair in pairs {
            let Some(place) = next.get_mut(pair.flow as usize) else { continue };
            if let Some(page) = pages.get_mut(*place as usize) {
                *page = pair.page;
            }
            *place += 1;
        }
        Self { starts, pages }
    }

    fn of(&self, flow: u32) -> &[u32] {
        let bounds = self.starts.get(flow as usize..).and_then(|starts| starts.first_chunk::<2>());
        bounds.and_then(|[from, to]| self.pages.get(*from as usize..*to as usize)).unwrap_or_default()
    }
}

/// The body of an index: written chunk by chunk, with a checksum of each.
struct Body<'a, W> {
    file: &'a mut W,
    chunk: Vec<u8>,
    directory: Vec<u8>,
    length: u64,
    ready: Vec<u8>,
}

/// So much of the body is written at once, in chunks.
const WRITE_CHUNKS: usize = 16;

impl<'a, W: Write> Body<'a, W> {
    fn new(file: &'a mut W) -> Self {
        Self { file, chunk: Vec::with_capacity(CHUNK_BYTES), directory: Vec::new(), length: 0, ready: Vec::new() }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(fits);
            bytes = rest;
            if self.chunk.len() == CHUNK_BYTES {
                self.end_chunk()?;
            }
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        self.directory.extend_from_slice(&checksum(&self.chunk).to_le_bytes());
        self.ready.append(&mut self.chunk);
        if self.ready.len() >= WRITE_CHUNKS * CHUNK_BYTES {
            self.file.write_all(&self.ready)?;
            self.ready.clear();
        }
        Ok(())
    }

    /// Writes the rest and the directory; gives the length of the body, and the directory.
    fn finish(mut self) -> io::Result<(u64, Vec<u8>)> {
        if !self.chunk.is_empty() {
            self.end_chunk()?;
        }
        self.file.write_all(&self.ready)?;
        self.file.write_all(&self.directory)?;
        Ok((self.length, self.directory))
    }
}

/// Has `write` fill a file, which then becomes the index of `capture`.
pub(crate) fn write_index<T>(capture: &Path, write: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mode = std::fs::metadata(capture)?.permissions().mode() & 0o666;
    let path = crate::index_path(capture);
    let mut temporary = path.clone().into_os_string();
    temporary.push(format!(".{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let written = write(&mut file).and_then(|written| {
        std::fs::rename(&temporary, &path)?;
        Ok(written)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
