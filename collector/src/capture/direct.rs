//! Writing around the page cache (O_DIRECT).
//!
//! Such a write needs a length, a place in the file and a place in memory that are multiples of what the storage wants, so
//! records are gathered in an aligned buffer and the file is brought to the next multiple with a padding block, which
//! readers pass over. Each write is whole records, and the file's length changes once, when all of it is there.

use std::fs::File;
use std::io::{self, Write as _};

use rustix::fs::{AtFlags, OFlags, StatxFlags};
use vxtap_capfile::pcapng::Padding;

/// The least that a write is aligned to, although most storage takes 512 bytes: a page of the page cache. If the file ended
/// within a page, a reader that caches this page while the next write is under way could for a moment find zeros where the
/// new records begin.
const MIN_ALIGNMENT: usize = 4096;

/// Gathers what one write takes.
#[derive(Debug)]
pub(super) struct Gather {
    /// Records, then a padding block, from an aligned address on.
    gathered: Vec<u8>,
    alignment: usize,
}

impl Gather {
    /// Asks what `file`, opened with O_DIRECT, needs.
    pub(super) fn new(file: &File) -> Self {
        let told = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
        let told = told.filter(|statx| statx.stx_mask & StatxFlags::DIOALIGN.bits() != 0);
        let wanted = told.map_or(0, |statx| statx.stx_dio_offset_align.max(statx.stx_dio_mem_align) as usize);
        let alignment = if wanted.is_power_of_two() { wanted.max(MIN_ALIGNMENT) } else { MIN_ALIGNMENT };
        Self { gathered: Vec::new(), alignment }
    }

    /// The most that the padding of one write takes.
    pub(super) const fn padding_bytes(&self) -> u64 {
        self.alignment as u64 + Padding::MIN_LEN as u64
    }

    /// Writes `parts`, which are whole pcapng blocks, and padding. Gives the bytes that the file has grown by.
    pub(super) fn write(&mut self, mut file: &File, parts: &[&[u8]]) -> io::Result<u64> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        // Room for the records, their padding, and the way to an aligned address.
        let room = bytes + 3 * self.alignment + Padding::MIN_LEN;
        if self.gathered.capacity() < room {
            self.gathered = Vec::with_capacity(room.next_power_of_two());
        }
        self.gathered.clear();
        let start = self.gathered.as_ptr().align_offset(self.alignment);
        if start >= self.alignment {
            return Err(io::Error::other("no aligned memory"));
        }
        self.gathered.resize(start, 0);
        for part in parts {
            self.gathered.extend_from_slice(part);
        }
        Padding::append_after(&mut self.gathered, start, self.alignment);
        let aligned = &self.gathered[start..];
        let length = aligned.len();
        file.write_all(aligned)?;
        Ok(length as u64)
    }
}

/// Has `file` written through the page cache after all.
pub(super) fn turn_off(file: &File) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    Ok(rustix::fs::fcntl_setfl(file, flags.difference(OFlags::DIRECT))?)
}
