//! Counts the packets of a pcapng stream on its way into a file, and sees whether the stream is whole.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Type and total length, which every block begins with.
const HEADER: usize = 8;
/// The shortest block: header, and the total length again.
const SHORTEST: u32 = 12;
const SECTION: u32 = 0x0a0d_0d0a;
const ENHANCED_PACKET: u32 = 6;

/// Why a file has not what it should.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It could not be written.
    File(io::Error),
    /// What came is no pcapng, or not all of it.
    Content,
}

/// Writes what it is given, little-endian pcapng as collectors make it, until it is told to `stop`.
pub(crate) struct PacketCounter<'a, W> {
    to: W,
    stop: &'a AtomicBool,
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    filled: usize,
    /// Bytes that the block still has behind its header.
    rest: usize,
    blocks: u64,
    packets: u64,
    fault: Option<Fault>,
}

impl<'a, W: Write> PacketCounter<'a, W> {
    pub(crate) fn new(to: W, stop: &'a AtomicBool) -> Self {
        Self { to, stop, header: [0; HEADER], filled: 0, rest: 0, blocks: 0, packets: 0, fault: None }
    }

    /// How many packets were written, where all that came was written and was whole.
    pub(crate) fn finish(mut self) -> Result<u64, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.to.flush().map_err(Fault::File)?;
        let whole = self.blocks > 0 && (self.filled, self.rest) == (0, 0);
        if whole { Ok(self.packets) } else { Err(Fault::Content) }
    }

    fn look(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = self.rest.min(bytes.len());
                self.rest -= passed;
                bytes = bytes.get(passed..).unwrap_or_default();
                continue;
            }
            let taken = (HEADER - self.filled).min(bytes.len());
            let (here, behind) = bytes.split_at(taken);
            self.header[self.filled..self.filled + taken].copy_from_slice(here);
            self.filled += taken;
            bytes = behind;
            if self.filled == HEADER {
                self.begin_block()?;
            }
        }
        Ok(())
    }

    fn begin_block(&mut self) -> Result<(), Fault> {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| self.header[at + byte]));
        let (kind, length) = (word(0), word(4));
        if length < SHORTEST || !length.is_multiple_of(4) || (self.blocks == 0 && kind != SECTION) {
            return Err(Fault::Content);
        }
        self.blocks += 1;
        self.packets += u64::from(kind == ENHANCED_PACKET);
        self.rest = length as usize - HEADER;
        self.filled = 0;
        Ok(())
    }
}

impl<W: Write> Write for PacketCounter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::SeqCst) || self.fault.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let written = self.look(bytes).and_then(|()| self.to.write_all(bytes).map_err(Fault::File));
        if let Err(fault) = written {
            self.fault = Some(fault);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A block of `kind` with `body`.
#[cfg(test)]
pub(crate) fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + SHORTEST).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

/// A capture with so many packets.
#[cfg(test)]
pub(crate) fn capture(packets: usize) -> Vec<u8> {
    let mut bytes = [block(SECTION, &[0; 16]), block(1, &[0; 8])].concat();
    bytes.extend((0..packets).flat_map(|packet| block(ENHANCED_PACKET, &vec![6; 20 + 4 * packet])));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    static GO: AtomicBool = AtomicBool::new(false);

    fn count(bytes: &[u8], piece: usize) -> Result<u64, Fault> {
        let mut written = Vec::new();
        let mut counter = PacketCounter::new(&mut written, &GO);
        let taken = bytes.chunks(piece).try_for_each(|piece| counter.write_all(piece));
        let finished = counter.finish();
        if taken.is_ok() {
            assert_eq!(written, bytes);
        }
        finished
    }

    #[test]
    fn packets_are_counted_however_the_stream_is_cut() {
        let bytes = capture(5);
        for piece in 1..=bytes.len() {
            assert!(matches!(count(&bytes, piece), Ok(5)), "{piece}");
        }
        assert!(matches!(count(&capture(0), 7), Ok(0)));
    }

    #[test]
    fn a_stream_that_is_cut_or_something_else_is_not_taken_for_whole() {
        let bytes = capture(1);
        for end in 0..bytes.len() {
            let at_a_block = [28, 48].contains(&end);
            assert_eq!(count(&bytes[..end], 64).is_ok(), at_a_block, "{end}");
        }
        for bytes in [&b"<html>no capture</html>"[..], &block(6, &[0; 20]), &[0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0]] {
            assert!(matches!(count(bytes, 64), Err(Fault::Content)), "{bytes:?}");
        }
    }

    #[test]
    fn what_cannot_be_written_and_what_is_stopped_ends_at_once() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut counter = PacketCounter::new(Full, &GO);
        assert!(counter.write_all(&capture(1)).is_err());
        assert!(matches!(counter.finish(), Err(Fault::File(error)) if error.kind() == io::ErrorKind::StorageFull));
        let stop = AtomicBool::new(true);
        let mut written = Vec::new();
        assert!(PacketCounter::new(&mut written, &stop).write_all(&capture(1)).is_err());
        assert_eq!(written, b"");
    }
}
