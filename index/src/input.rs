//! The bytes of a capture file, compressed or not.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use zstd::Decoder;
use zstd::zstd_safe::get_frame_content_size;

use crate::checksum::checksum;
use crate::fingerprint::{Fingerprint, SAMPLE_BYTES};

/// The largest seek table that is read, in bytes: that of a capture of a tebibyte in frames of one mebibyte.
const MAX_SEEK_TABLE_BYTES: u64 = 16 << 20;

/// An open capture. Offsets are those of the capture itself, whether it is compressed or not.
pub(crate) enum Input {
    Plain(File),
    Compressed(Box<Compressed>),
}

/// A capture that is read through a decoder: forward, and again from its beginning to go back.
pub(crate) struct Compressed {
    file: File,
    decoder: Decoder<'static, BufReader<File>>,
    /// How many bytes the decoder has given.
    position: u64,
    head: Vec<u8>,
    /// The last bytes that the decoder has given, and some more in front of them.
    tail: Vec<u8>,
}

impl Input {
    /// Opens the capture at `path`; one whose name ends in `.zst` is compressed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Asked first: to open a pipe is to wait for who writes it.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let file = File::open(path)?;
        if !crate::is_compressed(path) {
            return Ok(Self::Plain(file));
        }
        let decoder = Decoder::new(file.try_clone()?)?;
        let (head, tail) = (Vec::new(), Vec::new());
        Ok(Self::Compressed(Box::new(Compressed { file, decoder, position: 0, head, tail })))
    }

    /// The same; where `path` is gone since it was listed, under the name that it has once its collector has compressed it. Gives the name
    /// as well.
    pub(crate) fn open_wherever(path: &Path) -> io::Result<(Self, PathBuf)> {
        match Self::open(path) {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound && !crate::is_compressed(path) => {
                let mut name = OsString::from(path);
                name.push(".zst");
                let path = PathBuf::from(name);
                Ok((Self::open(&path)?, path))
            }
            opened => Ok((opened?, path.to_owned())),
        }
    }

    /// How many bytes the file has on the disk.
    pub(crate) fn stored_bytes(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Compressed(compressed) => Ok(compressed.file.metadata()?.len()),
        }
    }

    /// Reads at most `into.len()` bytes from `offset` on; 0 at the end.
    pub(crate) fn read_at(&mut self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => loop {
                match file.read_at(into, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            },
            Self::Compressed(compressed) => compressed.read_at(into, offset),
        }
    }

    /// Whether `known` is of this capture, as far as can be told without reading it. Of a compressed capture that does not
    /// say how long it is that cannot be told.
    pub(crate) fn is(&mut self, known: &Fingerprint) -> io::Result<bool> {
        match self {
            Self::Plain(file) => {
                Ok(file.metadata()?.len() == known.length && Fingerprint::of(file, known.length)? == *known)
            }
            Self::Compressed(compressed) => {
                let mut head = [0; SAMPLE_BYTES];
                let head = &mut head[..known.length.min(SAMPLE_BYTES as u64) as usize];
                Ok(compressed.stated_length()? == Some(known.length)
                    && fill(|into, at| compressed.read_at(into, at), head)? == head.len()
                    && checksum(head) == known.head)
            }
        }
    }

    /// What the capture is to be known by. Of a compressed capture, which has to be read to the end for it, that is `None` if it
    /// cannot be read so far.
    pub(crate) fn fingerprint(&mut self) -> io::Result<Option<Fingerprint>> {
        match self {
            Self::Plain(file) => Fingerprint::of(file, file.metadata()?.len()).map(Some),
            Self::Compressed(compressed) => Ok(compressed.fingerprint()),
        }
    }
}

impl Compressed {
    fn read_at(&mut self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.position {
            self.restart()?;
        }
        let mut passed = [0; 1 << 14];
        while self.position < offset {
            let most = (offset - self.position).min(passed.len() as u64) as usize;
            if self.read(&mut passed[..most])? == 0 {
                return Ok(0);
            }
        }
        self.read(into)
    }

    fn restart(&mut self) -> io::Result<()> {
        let mut file = self.file.try_clone()?;
        io::Seek::rewind(&mut file)?;
        self.decoder = Decoder::new(file)?;
        self.position = 0;
        self.head.clear();
        self.tail.clear();
        Ok(())
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(into)?;
        let bytes = into.get(..count).unwrap_or_default();
        self.position += count as u64;
        let wanted = SAMPLE_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..count.min(wanted)]);
        self.tail.extend_from_slice(&bytes[count.saturating_sub(SAMPLE_BYTES)..]);
        if self.tail.len() > 8 * SAMPLE_BYTES {
            self.tail.drain(..self.tail.len() - SAMPLE_BYTES);
        }
        Ok(count)
    }

    /// The length that the compressed file says it has, unpacked: in the seek table at its end where it has one, since it then has
    /// many frames, otherwise in its only frame.
    fn stated_length(&self) -> io::Result<Option<u64>> {
        if let Some(length) = self.length_by_seek_table()? {
            return Ok(Some(length));
        }
        // The longest header of a frame (RFC 8878 section 3.1.1).
        let mut header = [0; 18];
        let length = fill(|into, at| self.file.read_at(into, at), &mut header)?;
        Ok(get_frame_content_size(&header[..length]).ok().flatten())
    }

    /// The sum of the frames' lengths in a seek table (zstd, contrib/seekable_format): a skippable frame with an entry for each frame, that
    /// ends with the number of entries, what they have, and a magic number.
    fn length_by_seek_table(&self) -> io::Result<Option<u64>> {
        const MAGIC: u32 = 0x8f92_eab1;
        const HAS_CHECKSUMS: u8 = 0x80;
        const FOOTER_LEN: usize = 9;
        let end = self.file.metadata()?.len();
        let mut footer = [0; FOOTER_LEN];
        let Some(footer_at) = end.checked_sub(FOOTER_LEN as u64) else { return Ok(None) };
        let length = fill(|into, at| self.file.read_at(into, footer_at + at), &mut footer)?;
        let [n0, n1, n2, n3, descriptor, magic @ ..] = footer;
        if length < FOOTER_LEN || magic != MAGIC.to_le_bytes() {
            return Ok(None);
        }
        let entry_len = if descriptor & HAS_CHECKSUMS == 0 { 8 } else { 12 };
        let table_len = u64::from(u32::from_le_bytes([n0, n1, n2, n3])) * entry_len as u64;
        // A table is never larger than its file, and of a capture it is small.
        let Some(table_at) = footer_at.checked_sub(table_len).filter(|_| table_len <= MAX_SEEK_TABLE_BYTES) else {
            return Ok(None);
        };
        let mut table = vec![0; table_len as usize];
        if fill(|into, at| self.file.read_at(into, table_at + at), &mut table)? < table.len() {
            return Ok(None);
        }
        let unpacked =
            |entry: &[u8]| entry.get(4..8).and_then(|field| field.try_into().ok()).map_or(0, u32::from_le_bytes);
        Ok(Some(table.chunks_exact(entry_len).map(|entry| u64::from(unpacked(entry))).sum()))
    }

    fn fingerprint(&mut self) -> Option<Fingerprint> {
        let mut passed = vec![0; 1 << 16];
        loop {
            match self.read(&mut passed) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        let tail = &self.tail[self.tail.len().saturating_sub(SAMPLE_BYTES)..];
        Some(Fingerprint { length: self.position, head: checksum(&self.head), tail: checksum(tail) })
    }
}

/// Reads until `into` is full or the end has come; gives how much was read.
fn fill(mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>, into: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < into.len() {
        match read_at(&mut into[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
