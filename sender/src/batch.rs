//! Frames on their way from a source to the sockets.

/// Most frames in one batch: enough for a train of 64 on each of 16 source ports.
pub(crate) const MAX_FRAMES: usize = 1024;
/// A batch that has so many bytes takes no more frames, so that what is copied into it stays in the cache.
pub(crate) const ENOUGH_BYTES: usize = 2 << 20;

/// One frame of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Where the frame begins in the source's bytes.
    pub(crate) offset: usize,
    /// Length of the frame there, never 0.
    pub(crate) frame_len: u32,
    /// Length to send: the frame's, or less where it is cut.
    pub(crate) len: u32,
    /// Steer hash of the flow, equal for both directions. Frames of one flow are never sent out of order.
    pub(crate) flow: u32,
    /// Index of the source port.
    pub(crate) port: u16,
    /// Nanoseconds since the frame before, by the capture's clock.
    pub(crate) gap_ns: u64,
}

/// Gives frames, batch by batch.
pub(crate) trait Source {
    /// Puts the next frames into `slots`, which is empty and keeps its capacity of [`MAX_FRAMES`]; none at the end.
    /// The bytes stay where they are until the next call.
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), crate::error::SendError>;

    /// The bytes that the slots of the last [`Source::fill`] point into.
    fn bytes(&self) -> &[u8];
}
