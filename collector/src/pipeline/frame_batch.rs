//! Frames that are analysed together.

use std::ops::Deref;

use arrayvec::ArrayVec;
use vxtap_analyzers::{BATCH_MAX, PacketMeta};
use vxtap_wire::{FrameView, Link};

/// Up to [`BATCH_MAX`] frames with what was found in them.
#[derive(Debug, Default)]
pub(crate) struct FrameBatch<'a>(ArrayVec<(PacketMeta, FrameView<'a>), BATCH_MAX>);

/// A frame that was let in, not yet looked into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrant<'a> {
    pub(crate) meta: PacketMeta,
    /// What the bytes begin with.
    pub(crate) link: Link,
    pub(crate) bytes: &'a [u8],
    /// Length when it was sent, as far as its sender or the file tells; 0 for unknown.
    pub(crate) wire_len: u32,
}

impl<'a> FrameBatch<'a> {
    /// Without frames.
    #[inline]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Whether no frame has room any more.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Forgets all frames.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Looks into a frame, in the place where what is found will stay: moving it would take as long as looking. The batch must not be full.
    #[inline]
    pub(crate) fn look(&mut self, entrant: &Entrant<'a>) -> &FrameView<'a> {
        let at = self.0.len();
        self.0.push((entrant.meta, FrameView::unseen(entrant.link, entrant.bytes)));
        let (_, view) = &mut self.0[at];
        view.look();
        view.wire_len = view.wire_len.max(entrant.wire_len);
        view
    }

    /// Takes the last frame out again.
    #[inline]
    pub(crate) fn take_back(&mut self) {
        let len = self.0.len().saturating_sub(1);
        self.0.truncate(len);
    }
}

impl<'a> Deref for FrameBatch<'a> {
    type Target = [(PacketMeta, FrameView<'a>)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
