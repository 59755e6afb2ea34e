//! Reading capture files of either format, record by record, without a copy.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::classic::{Classic, FILE_HEADER_LEN};
use crate::refill::Refill;
use crate::sections::{SECTION_HEADER, Sections};
use crate::{Chunk, Fault, LinkType, OpenError, ReadError, Windows};

/// One record of a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Time, nanoseconds since 1970. A pcapng simple packet block has no time: it gets that of the record before.
    pub time_ns: u64,
    /// What kind of frame it is.
    pub link_type: LinkType,
    /// What was made of the description of its interface ([`CaptureReader::interpret_descriptions`]); 0 where it has none.
    pub origin: u32,
    /// Length that the frame had on the wire, in bytes; never less than `data` has.
    pub wire_len: u32,
    /// The frame as far as it was captured; at most [`crate::MAX_FRAME_BYTES`].
    pub data: &'a [u8],
}

/// Makes a number of the link type and the description of an interface.
pub type Interpret = Arc<dyn Fn(LinkType, &str) -> u32 + Send + Sync>;

/// A record whose frame lies in the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    pub(crate) time_ns: u64,
    pub(crate) link_type: LinkType,
    pub(crate) origin: u32,
    pub(crate) wire_len: u32,
    /// Where in the window.
    pub(crate) at: usize,
    pub(crate) length: usize,
}

enum Format {
    Classic(Classic),
    Sections(Sections),
}

/// Reads pcap (microseconds, nanoseconds) and pcapng in both byte orders, from files, pipes and standard input; also what is compressed
/// with zstd, as the collector compresses its captures.
///
/// Its memory is bounded by one window of 256 KiB, or by the largest block read ([`crate::MAX_BLOCK_BYTES`] at most),
/// and the interfaces of one section; what is compressed takes the window that its frames say as well, 128 MiB at most, and those of the collector
/// 1 MiB. No record allocates.
pub struct CaptureReader {
    format: Format,
    refill: Refill,
    /// The file, where it is one that can be read at any place.
    regular: Option<Arc<File>>,
    name: String,
    /// Whether it is unpacked on the way.
    compressed: bool,
    /// Records delivered.
    records: u64,
    size: Option<u64>,
    ended: bool,
    /// What was found behind the records of the last chunk.
    postponed: Option<ReadError>,
}

impl CaptureReader {
    /// Opens the file at `path`; `-` is standard input.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        if path == Path::new("-") {
            return Self::from_reader(std::io::stdin(), "standard input");
        }
        let name = path.to_string_lossy();
        let file = File::open(path).map_err(|source| OpenError::Open { file: printable(&name), source })?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
        let file = Arc::new(file);
        let mut reader = Self::from_reader(Arc::clone(&file), &name)?;
        reader.size = size;
        // What is compressed can only be read from its beginning on.
        reader.regular = size.filter(|_| !reader.compressed).map(|_| file);
        Ok(reader)
    }

    /// Reads from `source`; `name` is what errors call it.
    pub fn from_reader(source: impl Read + Send + 'static, name: &str) -> Result<Self, OpenError> {
        let file = printable(name);
        let mut refill = Refill::new(Box::new(source));
        let compressed = match begin(&mut refill) {
            Ok(compressed) => compressed,
            Err(source) => return Err(OpenError::Read { file, source }),
        };
        let format = match recognise(refill.available()) {
            Ok(format) => format,
            Err(reason) => return Err(reason(file)),
        };
        if let Format::Classic(_) = format {
            refill.consume(FILE_HEADER_LEN);
        }
        let (regular, size) = (None, None);
        Ok(Self { format, refill, regular, name: file, compressed, records: 0, size, ended: false, postponed: None })
    }

    /// Has `interpret` make a number of the description of each interface that comes (pcapng, `if_description`), which the records of that
    /// interface then have as their origin. It is called once for each interface; what a file says is anybody's.
    pub fn interpret_descriptions(&mut self, interpret: Interpret) {
        if let Format::Sections(sections) = &mut self.format {
            sections.interpret_with(interpret);
        }
    }

    /// The next record; `None` at the end. After an error nothing more comes.
    #[inline]
    pub fn next_record(&mut self) -> Option<Result<Record<'_>, ReadError>> {
        if self.ended {
            return None;
        }
        let located = match &mut self.format {
            Format::Classic(classic) => classic.next(&mut self.refill),
            Format::Sections(sections) => sections.next(&mut self.refill),
        };
        match located {
            Ok(Some(Located { time_ns, link_type, origin, wire_len, at, length })) => {
                self.records += 1;
                Some(Ok(Record { time_ns, link_type, origin, wire_len, data: self.refill.window(at, length) }))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(fault) => Some(Err(self.fail(fault))),
        }
    }

    /// Reads on, and fills `chunk` with the records that then lie in one piece of memory; gives whether there were any.
    /// After an error, and after the end, nothing more comes; the records in front of an error come first.
    pub fn next_chunk(&mut self, chunk: &mut Chunk) -> Result<bool, ReadError> {
        self.collect(chunk, false)
    }

    /// Has the file read by windows, in any order and by anybody, instead of by this reader, which from now on only says what
    /// records are in them: [`CaptureReader::records_in`]. `None` for what is no regular file, or compressed.
    pub fn windows(&mut self) -> Option<Windows> {
        let file = self.regular.take()?;
        self.refill.detach();
        Some(Windows::new(file, self.refill.offset()))
    }

    /// Finds the records in the window that `chunk` has read; gives whether there were any. The windows have to come in their
    /// order; the part of a record that a window ends with is kept for the next one. When no window is left,
    /// [`CaptureReader::next_chunk`] tells whether the file ended where a record did.
    pub fn records_in(&mut self, chunk: &mut Chunk) -> Result<bool, ReadError> {
        if let Some(source) = chunk.read_error.take() {
            chunk.records.clear();
            return Err(self.fail(source.into()));
        }
        if !self.ended {
            let window = chunk.window.clone();
            self.refill.adopt(&mut chunk.bytes, window.start, window.end);
        }
        self.collect(chunk, true)
    }

    /// The records of a window that is `given`, or that the first of them may have read anew: the others must not, since the
    /// chunk takes the window with it.
    fn collect(&mut self, chunk: &mut Chunk, given: bool) -> Result<bool, ReadError> {
        chunk.records.clear();
        if let Some(error) = self.postponed.take() {
            return Err(error);
        }
        while !self.ended {
            if given || !chunk.records.is_empty() {
                self.refill.hold();
            }
            if let Format::Classic(classic) = &self.format {
                let before = chunk.records.len();
                classic.take_whole(&mut self.refill, &mut chunk.records);
                self.records += (chunk.records.len() - before) as u64;
                if !chunk.records.is_empty() {
                    self.refill.hold();
                }
            }
            let located = match &mut self.format {
                Format::Classic(classic) => classic.next(&mut self.refill),
                Format::Sections(sections) => sections.next(&mut self.refill),
            };
            if self.refill.is_wanting() {
                break;
            }
            match located {
                Ok(Some(located)) => {
                    self.records += 1;
                    chunk.records.push(located);
                }
                Ok(None) => self.ended = true,
                Err(fault) => {
                    let error = self.fail(fault);
                    if chunk.records.is_empty() {
                        return Err(error);
                    }
                    self.postponed = Some(error);
                }
            }
        }
        self.refill.release(&mut chunk.bytes);
        Ok(!chunk.records.is_empty())
    }

    #[cold]
    fn fail(&mut self, fault: Fault) -> ReadError {
        self.ended = true;
        let fault = match fault {
            // What the system says has a number; the rest is what the decoder says.
            Fault::Io(error) if self.compressed && error.raw_os_error().is_none() => Fault::Packed(error),
            fault => fault,
        };
        ReadError { file: self.name.clone(), record: self.records + 1, offset: self.refill.offset(), fault }
    }

    /// The link type of every record, where the format has one for the whole file; `None` for pcapng.
    pub const fn link_type(&self) -> Option<LinkType> {
        match &self.format {
            Format::Classic(classic) => Some(classic.link_type()),
            Format::Sections(_) => None,
        }
    }

    /// What errors call the file; no control characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records delivered so far.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of the file read so far, unpacked, up to the end of the last record.
    pub const fn offset(&self) -> u64 {
        self.refill.offset()
    }

    /// Length of the file in bytes when it was opened; `None` for pipes.
    pub const fn size(&self) -> Option<u64> {
        self.size
    }
}

impl std::fmt::Debug for CaptureReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureReader")
            .field("name", &self.name)
            .field("records", &self.records)
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

/// Reads the first bytes, enough to recognise a format by, and tells whether they had to be unpacked.
fn begin(refill: &mut Refill) -> std::io::Result<bool> {
    refill.fill(FILE_HEADER_LEN)?;
    let compressed = refill.available().first_chunk::<4>().is_some_and(|magic| is_zstd(*magic));
    if compressed {
        refill.unpack()?;
        refill.fill(FILE_HEADER_LEN)?;
    }
    Ok(compressed)
}

/// RFC 8878: a frame of zstd, or one that decoders skip, which some programs begin with (section 3.1.2).
const fn is_zstd(magic: [u8; 4]) -> bool {
    matches!(magic, [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

/// Tells the format by the first bytes, or makes the error for a file of the name that it is given.
fn recognise(begins: &[u8]) -> Result<Format, Box<dyn FnOnce(String) -> OpenError>> {
    let Some(magic) = begins.first_chunk::<4>().copied() else {
        let length = begins.len();
        return Err(Box::new(move |file| OpenError::TooShort { file, length }));
    };
    if let Some(method) = compression(magic) {
        return Err(Box::new(move |file| OpenError::Compressed { file, method }));
    }
    if magic == SECTION_HEADER.to_be_bytes() {
        return Ok(Format::Sections(Sections::new()));
    }
    match Classic::new(begins) {
        Some((classic, 2)) => Ok(Format::Classic(classic)),
        Some((_, version)) => Err(Box::new(move |file| OpenError::UnknownVersion { file, format: "pcap", version })),
        None if begins.len() < FILE_HEADER_LEN => {
            let length = begins.len();
            Err(Box::new(move |file| OpenError::TooShort { file, length }))
        }
        None => Err(Box::new(move |file| OpenError::UnknownFormat { file, begins: magic })),
    }
}

const fn compression(magic: [u8; 4]) -> Option<&'static str> {
    match magic {
        [0x1f, 0x8b, ..] => Some("gzip"),
        // Of what was unpacked once.
        magic if is_zstd(magic) => Some("zstd a second time"),
        [0x04, 0x22, 0x4d, 0x18] => Some("lz4"),
        [0xfd, b'7', b'z', b'X'] => Some("xz"),
        [b'B', b'Z', b'h', _] => Some("bzip2"),
        _ => None,
    }
}

/// A file name can have any byte in it, and goes into messages for a terminal.
fn printable(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests;
