//! The memory of a window.

use std::ops::Deref;

use crate::mapping::Mapping;

/// A window's bytes: a copy of the file's, or the file's pages.
#[derive(Debug)]
pub(crate) enum WindowBytes {
    Copied(Vec<u8>),
    Mapped(Mapping),
}

impl WindowBytes {
    /// The memory for a copy, to write to. A mapping is let go.
    pub(crate) fn for_copy(&mut self) -> &mut Vec<u8> {
        self.let_mapping_go();
        match self {
            Self::Copied(bytes) => bytes,
            Self::Mapped(_) => unreachable!("it was just let go"),
        }
    }

    /// Lets a mapping go; memory for copies is kept.
    pub(crate) fn let_mapping_go(&mut self) {
        if let Self::Mapped(_) = self {
            *self = Self::default();
        }
    }

    pub(crate) const fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped(_))
    }
}

impl Default for WindowBytes {
    fn default() -> Self {
        Self::Copied(Vec::new())
    }
}

impl Deref for WindowBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Mapped(mapping) => mapping,
        }
    }
}
