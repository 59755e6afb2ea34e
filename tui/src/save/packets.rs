//! Counts the packets of a pcapng stream on its way into a file, and sees how much of the stream is whole.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Type and total length, which every block begins with.
const HEADER: usize = 8;
/// The shortest block: header, and the total length again.
const SHORTEST: u32 = 12;
const SECTION: u32 = 0x0a0d_0d0a;
const ENHANCED_PACKET: u32 = 6;

/// What a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Packets that are there with all their bytes.
    pub(crate) packets: u64,
    /// Bytes up to the end of the last block that is whole.
    pub(crate) bytes: u64,
    /// Nothing else came: no half block, and nothing that is no pcapng.
    pub(crate) is_whole: bool,
}

/// Why no more is taken.
#[derive(Debug)]
enum Fault {
    /// The file could not be written.
    File(io::Error),
    /// What came is no pcapng.
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
    written: Written,
    fault: Option<Fault>,
}

impl<'a, W: Write> PacketCounter<'a, W> {
    pub(crate) fn new(to: W, stop: &'a AtomicBool) -> Self {
        let written = Written { packets: 0, bytes: 0, is_whole: false };
        Self { to, stop, header: [0; HEADER], filled: 0, rest: 0, written, fault: None }
    }

    /// What is in the file, which may be what came before it was told to stop; an error if the file could not be written.
    pub(crate) fn finish(mut self) -> io::Result<Written> {
        let is_pcapng = match self.fault {
            Some(Fault::File(error)) => return Err(error),
            Some(Fault::Content) => false,
            None => true,
        };
        self.to.flush()?;
        let is_whole = is_pcapng && self.written.bytes > 0 && (self.filled, self.rest) == (0, 0);
        Ok(Written { is_whole, ..self.written })
    }

    fn look(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = self.rest.min(bytes.len());
                self.rest -= passed;
                bytes = bytes.get(passed..).unwrap_or_default();
                if self.rest == 0 {
                    self.end_block();
                }
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

    /// Type and length of the block whose header is there.
    fn block(&self) -> (u32, u32) {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| self.header[at + byte]));
        (word(0), word(4))
    }

    fn begin_block(&mut self) -> Result<(), Fault> {
        let (kind, length) = self.block();
        if length < SHORTEST || !length.is_multiple_of(4) || (self.written.bytes == 0 && kind != SECTION) {
            return Err(Fault::Content);
        }
        self.rest = length as usize - HEADER;
        self.filled = 0;
        Ok(())
    }

    fn end_block(&mut self) {
        let (kind, length) = self.block();
        self.written.packets += u64::from(kind == ENHANCED_PACKET);
        self.written.bytes += u64::from(length);
    }
}

impl<W: Write> Write for PacketCounter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::SeqCst) || self.fault.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let looked = self.look(bytes);
        // Also what is no pcapng: whole blocks may be before it.
        if let Err(fault) = self.to.write_all(bytes).map_err(Fault::File).and(looked) {
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

    fn count(bytes: &[u8], piece: usize) -> Written {
        let mut file = Vec::new();
        let mut counter = PacketCounter::new(&mut file, &GO);
        let taken = bytes.chunks(piece).try_for_each(|piece| counter.write_all(piece));
        let written = counter.finish().unwrap();
        assert_eq!(file[..written.bytes as usize], bytes[..written.bytes as usize]);
        if written.is_whole {
            assert!(taken.is_ok());
            assert_eq!(file, bytes);
        }
        written
    }

    #[test]
    fn packets_are_counted_however_the_stream_is_cut() {
        let bytes = capture(5);
        for piece in 1..=bytes.len() {
            assert_eq!(
                count(&bytes, piece),
                Written { packets: 5, bytes: bytes.len() as u64, is_whole: true },
                "{piece}"
            );
        }
        assert_eq!(count(&capture(0), 7), Written { packets: 0, bytes: 48, is_whole: true });
    }

    #[test]
    fn a_stream_that_breaks_off_has_the_packets_before_and_is_not_whole() {
        let bytes = capture(2);
        for end in 0..bytes.len() {
            let (whole, packets) = match end {
                0..28 => (0, 0),
                28..48 => (28, 0),
                48..80 => (48, 0),
                _ => (80, 1),
            };
            let is_whole = end == whole && end > 0;
            let written = Written { packets, bytes: whole as u64, is_whole };
            assert_eq!(count(&bytes[..end], 64), written, "{end}");
        }
        for behind in [&b"<html>no capture</html>"[..], &[6, 0, 0, 0, 13, 0, 0, 0], &[6, 0, 0, 0, 0, 0, 0, 0]] {
            let written = count(&[&capture(1), behind].concat(), 64);
            assert_eq!(written, Written { packets: 1, bytes: 80, is_whole: false }, "{behind:?}");
        }
        for bytes in [&b"<html>no capture</html>"[..], &block(6, &[0; 20]), &[0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0]] {
            assert_eq!(count(bytes, 64), Written { packets: 0, bytes: 0, is_whole: false }, "{bytes:?}");
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
        assert_eq!(counter.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let stop = AtomicBool::new(true);
        let mut written = Vec::new();
        assert!(PacketCounter::new(&mut written, &stop).write_all(&capture(1)).is_err());
        assert_eq!(written, b"");
    }
}
