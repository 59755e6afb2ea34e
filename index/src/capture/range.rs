//! A stretch of a capture, block by block.

use std::fmt;
use std::io;
use std::ops::Range;

use super::{Content, Section, Step};
use crate::input::Input;

/// What is done with the blocks of a stretch.
pub(crate) trait Visit {
    /// The section that the next block is in.
    fn section(&self) -> &Section;
    /// Takes the block of `length` bytes at `offset`. An error ends the walk in front of it.
    fn block(&mut self, offset: u64, length: usize, content: Content<'_>) -> Result<(), &'static str>;
}

/// Where a capture cannot be read further, and why.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) offset: u64,
    pub(crate) what: Fault,
}

#[derive(Debug)]
pub(crate) enum Fault {
    /// The stretch ends inside a block.
    Cut,
    Wrong(&'static str),
    Io(io::Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it cannot be read beyond byte {}: ", self.offset)?;
        match &self.what {
            Fault::Cut => f.write_str("it ends inside a record or block"),
            Fault::Wrong(what) => f.write_str(what),
            Fault::Io(error) => error.fmt(f),
        }
    }
}

/// So much is read at a time, unless a block is longer: little enough to stay in a cache until it is looked at.
const READ_BYTES: usize = 128 << 10;

/// A buffer that stretches are read through.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    buffer: Vec<u8>,
    /// Bytes read so far, all stretches together.
    pub(crate) bytes_read: u64,
}

impl Walker {
    /// Shows `visit` each block in `range` of `input`, which begins at a block, up to the end of the range or of the file. What
    /// is in front of any damage has been shown.
    pub(crate) fn walk(&mut self, input: &mut Input, range: Range<u64>, visit: &mut impl Visit) -> Result<(), Damage> {
        // What is in the buffer and not yet looked at, and where in the file it begins.
        let mut there = 0..0;
        let mut offset = range.start;
        loop {
            let bytes = self.buffer.get(there.clone()).unwrap_or_default();
            let wanted = match visit.section().step(bytes) {
                Step::Whole { length, content } => {
                    if let Err(what) = visit.block(offset, length, content) {
                        return Err(Damage { offset, what: Fault::Wrong(what) });
                    }
                    there.start += length;
                    offset += length as u64;
                    continue;
                }
                Step::Incomplete { needed } => needed,
                Step::Damaged(what) => return Err(Damage { offset, what: Fault::Wrong(what) }),
            };
            let present = bytes.len();
            let left = range.end.saturating_sub(offset);
            if (wanted as u64) <= left {
                self.fill(input, &mut there, offset, wanted.max(READ_BYTES.min(left as usize)))
                    .map_err(|error| Damage { offset, what: Fault::Io(error) })?;
            }
            if there.len() == present {
                // Nothing more has come.
                let ended = present == 0 && (left == 0 || wanted as u64 <= left);
                return if ended { Ok(()) } else { Err(Damage { offset, what: Fault::Cut }) };
            }
        }
    }

    /// Moves what is `there`, which is at `offset` in the file, to the head of the buffer, and reads until there are `wanted`
    /// bytes or the file ends.
    fn fill(&mut self, input: &mut Input, there: &mut Range<usize>, offset: u64, wanted: usize) -> io::Result<()> {
        self.buffer.copy_within(there.clone(), 0);
        *there = 0..there.len();
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while there.end < wanted {
            let at = offset + there.end as u64;
            let Some(room) = self.buffer.get_mut(there.end..wanted) else { break };
            let count = input.read_at(room, at)?;
            if count == 0 {
                break;
            }
            there.end += count;
            self.bytes_read += count as u64;
        }
        Ok(())
    }
}
