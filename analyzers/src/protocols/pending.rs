//! The beginning of a message whose end has not come yet.

/// Keeps what a parser could not use of a piece of a stream, up to a bound, and puts it in front of the next piece.
///
/// A message that lies within one piece is parsed where it lies; only one that is cut in two is copied.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    kept: Vec<u8>,
}

impl Pending {
    /// Has `parse` look at what was kept and `piece` as one run of bytes, and keeps what it does not use; `parse` gives how many it
    /// used. False where more than `most` bytes would have to be kept: then nothing is, and the message is too long for this.
    pub fn with(&mut self, piece: &[u8], most: usize, parse: impl FnOnce(&[u8]) -> usize) -> bool {
        if self.kept.is_empty() {
            let used = parse(piece).min(piece.len());
            let rest = &piece[used..];
            if rest.len() > most {
                return false;
            }
            self.kept.extend_from_slice(rest);
            return true;
        }
        self.kept.extend_from_slice(piece);
        let used = parse(&self.kept).min(self.kept.len());
        if self.kept.len() - used > most {
            self.clear();
            return false;
        }
        self.kept.drain(..used);
        if self.kept.is_empty() {
            // A flow that is quiet between messages holds no memory.
            self.clear();
        }
        true
    }

    /// What is kept.
    pub fn bytes(&self) -> &[u8] {
        &self.kept
    }

    /// Memory that this takes, in bytes.
    pub fn size(&self) -> usize {
        self.kept.capacity()
    }

    /// Forgets what is kept, and gives back its memory.
    pub fn clear(&mut self) {
        self.kept = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::Pending;

    #[test]
    fn what_is_not_used_comes_again_in_front_of_the_next_piece() {
        let mut pending = Pending::default();
        assert!(pending.with(b"abc", 10, |bytes| {
            assert_eq!(bytes, b"abc");
            2
        }));
        assert!(pending.with(b"de", 10, |bytes| {
            assert_eq!(bytes, b"cde");
            3
        }));
        assert_eq!(pending.bytes(), b"");
    }

    #[test]
    fn more_than_the_bound_is_not_kept() {
        let mut pending = Pending::default();
        assert!(!pending.with(b"abc", 2, |_| 0));
        assert!(pending.with(b"ab", 2, |_| 0));
        assert!(!pending.with(b"c", 2, |_| 0));
        assert_eq!(pending.bytes(), b"");
    }
}
