//! Memory of texts that were written, for the next ones.

/// So many buffers are kept.
const KEPT_MAX: usize = 256;
/// One that has grown to more than so many bytes is given back: 256 KiB are kept at the most.
const SIZE_MAX: usize = 1024;
/// What most texts need, in bytes.
const SIZE: usize = 256;

/// Buffers of one shard. Texts of events come and go with each exchange, many times a second: asking for their memory each time took as
/// long as writing them.
#[derive(Debug, Default)]
pub(super) struct SpareTexts {
    buffers: Vec<Vec<u8>>,
}

impl SpareTexts {
    /// An empty buffer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(SIZE))
    }

    /// Takes a buffer whose text is not needed any more.
    pub(super) fn put(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < KEPT_MAX && (1..=SIZE_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_MAX, SIZE_MAX, SpareTexts};

    #[test]
    fn a_buffer_comes_back_empty() {
        let mut spare = SpareTexts::default();
        let mut text = spare.take();
        text.extend_from_slice(b"abc");
        let memory = text.as_ptr();
        spare.put(text);
        let again = spare.take();
        assert_eq!((again.as_ptr(), again.len()), (memory, 0));
    }

    #[test]
    fn neither_large_nor_many_buffers_are_kept() {
        let mut spare = SpareTexts::default();
        spare.put(Vec::with_capacity(SIZE_MAX + 1));
        spare.put(Vec::new());
        assert_eq!(spare.buffers.len(), 0);
        for _ in 0..=KEPT_MAX {
            spare.put(Vec::with_capacity(1));
        }
        assert_eq!(spare.buffers.len(), KEPT_MAX);
    }
}
