//! How much of a capture is whole blocks: what a reader can have of a file whose writer was killed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use vxtap_capfile::pcapng::Padding;

use crate::capture::{Beginning, Content, Damage, Descriptions, Fault, Section, Visit, Walker};
use crate::input::Input;

/// So much of a file's end is looked at for padding. No storage wants more.
const TAIL_BYTES: usize = 64 << 10;
/// A writer that pads brings each write to a multiple of at least this.
const PADDED_TO: u64 = 4096;

/// How much of a file is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Bytes in front of the first block, or record, that is cut or makes no sense.
    pub bytes: u64,
    /// Bytes that the file has.
    pub length: u64,
}

/// Reads the capture at `path`, which is not compressed, block by block until one is cut or makes no sense. A pcapng file that ends with
/// padding to a whole page was written around the page cache, each write whole: of such a file the end is enough.
///
/// An error where the file cannot be read or is no capture, and [`io::ErrorKind::Interrupted`] once `stop` is set.
pub fn whole(path: &Path, stop: &AtomicBool) -> io::Result<Whole> {
    let mut input = Input::open(path)?;
    let length = input.stored_bytes()?;
    let (descriptions, start) = match Descriptions::begin(&mut input)? {
        Beginning::Classic(descriptions, header) => (descriptions, header.len() as u64),
        Beginning::Pcapng if is_padded(&mut input, length)? => return Ok(Whole { bytes: length, length }),
        Beginning::Pcapng => (Descriptions::default(), 0),
        Beginning::Unknown => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a capture file")),
    };
    let mut blocks = Blocks { descriptions, end: start, stop };
    match Walker::default().walk(&mut input, start..length, &mut blocks) {
        _ if stop.load(Ordering::Relaxed) => Err(io::ErrorKind::Interrupted.into()),
        Err(Damage { what: Fault::Io(error), .. }) => Err(error),
        Ok(()) | Err(Damage { what: Fault::Cut | Fault::Wrong(_), .. }) => Ok(Whole { bytes: blocks.end, length }),
    }
}

/// Whether the last block is padding up to a whole page.
fn is_padded(input: &mut Input, length: u64) -> io::Result<bool> {
    let Input::Plain(file) = input else { return Ok(false) };
    if length == 0 || !length.is_multiple_of(PADDED_TO) {
        return Ok(false);
    }
    let bytes = length.min(TAIL_BYTES as u64);
    read_exactly(file, length - bytes, bytes as usize).map(|tail| Padding::is_at_end_of(&tail))
}

fn read_exactly(file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut read = vec![0; bytes];
    file.read_exact_at(&mut read, offset)?;
    Ok(read)
}

struct Blocks<'a> {
    descriptions: Descriptions,
    /// Where the last whole block ends.
    end: u64,
    stop: &'a AtomicBool,
}

impl Visit for Blocks<'_> {
    fn section(&self) -> &Section {
        self.descriptions.current()
    }

    fn block(&mut self, offset: u64, length: usize, content: Content<'_>) -> Result<(), &'static str> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("it was not looked at to its end");
        }
        self.descriptions.follow(&content)?;
        self.end = offset + length as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use vxtap_capfile::LinkType;
    use vxtap_capfile::pcapng::{InterfaceDescription, PacketHeader, SectionHeader};

    use super::*;

    /// A pcapng file, and where its blocks end.
    fn pcapng() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        SectionHeader::default().append_to(&mut bytes);
        ends.push(bytes.len());
        InterfaceDescription { name: "", description: "", link_type: LinkType::ETHERNET }.append_to(&mut bytes);
        ends.push(bytes.len());
        for number in 0..5 {
            let header = PacketHeader { interface: 0, time_ns: 1_700_000_000_000_000_000 + number, wire_len: 100 };
            header.append_to(&mut bytes, &vec![number as u8; 60 + number as usize]);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    /// A classic file, and where its records end.
    fn classic() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        for word in [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 262_144, 1_u32] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let mut ends = vec![bytes.len()];
        for number in 0..5_u32 {
            for word in [1_700_000_000 + number, 0, 60 + number, 100] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            bytes.extend(vec![number as u8; 60 + number as usize]);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn whole_of(bytes: &[u8]) -> io::Result<Whole> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        whole(file.path(), &AtomicBool::new(false))
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_whole_up_to_the_block_in_front_of_the_cut() {
        for (bytes, ends) in [pcapng(), classic()] {
            for cut in ends[0]..=bytes.len() {
                let whole = whole_of(&bytes[..cut]).unwrap();
                let end = ends.iter().rev().find(|end| **end <= cut).unwrap();
                assert_eq!(whole, Whole { bytes: *end as u64, length: cut as u64 }, "cut at {cut}");
            }
        }
    }

    #[test]
    fn zeros_at_the_end_as_a_machine_that_lost_its_power_leaves_them_are_not_whole() {
        let (mut bytes, _) = pcapng();
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + 5000, 0);
        assert_eq!(whole_of(&bytes).unwrap(), Whole { bytes: end, length: end + 5000 });
    }

    #[test]
    fn a_file_that_was_padded_to_a_page_is_whole_and_one_that_only_has_its_length_is_looked_through() {
        let (mut padded, ends) = pcapng();
        Padding::append_to(&mut padded, PADDED_TO as usize);
        // What is in front of the padding is not looked at.
        padded[ends[2] + 4] ^= 1;
        let length = PADDED_TO;
        assert_eq!(whole_of(&padded).unwrap(), Whole { bytes: length, length });
        padded[PADDED_TO as usize - 1] ^= 1;
        assert_eq!(whole_of(&padded).unwrap(), Whole { bytes: ends[2] as u64, length });
    }

    #[test]
    fn what_is_no_capture_and_a_look_that_is_stopped_are_errors() {
        assert_eq!(whole_of(b"no capture, but long enough for one").unwrap_err().kind(), io::ErrorKind::InvalidData);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), pcapng().0).unwrap();
        let stopped = whole(file.path(), &AtomicBool::new(true)).unwrap_err();
        assert_eq!(stopped.kind(), io::ErrorKind::Interrupted);
    }
}
