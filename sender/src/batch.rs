//! Frames on their way from a source to the sockets.

use vxtap_wire::geneve::MirrorDirection;

use crate::transmit::Head;

/// Most frames in one batch. The deeper a batch, the longer the trains that flows of mixed frame sizes give (8192 frames
/// make a third of the trains that 1024 do in a replay at top speed); a paced run sends what is due, which is less.
pub(crate) const MAX_FRAMES: usize = 8192;
/// A batch that has so many bytes takes no more frames.
pub(crate) const ENOUGH_BYTES: usize = 8 << 20;

/// Free bytes before each frame of a source that leaves encapsulation to the transmitter, so that a datagram is one piece: enough
/// for every header.
pub(crate) const HEADROOM: usize = Head::LONGEST;

/// One frame of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Where the frame begins in the source's bytes. The `head` bytes before it are, or are free for, the tunnel's header.
    pub(crate) offset: usize,
    /// Length of the frame there, never 0.
    pub(crate) frame_len: u32,
    /// Length to send: the frame's, or less where it is cut.
    pub(crate) len: u32,
    /// Steer hash of the flow, equal for both directions. Frames of one flow are never sent out of order.
    pub(crate) flow: u32,
    /// Index of the source port.
    pub(crate) port: u16,
    /// Index of the link to the target.
    pub(crate) link: u8,
    /// Length of the tunnel's header.
    pub(crate) head: u8,
    /// Who counts it, where not all is counted together: see [`Tally`](crate::transmit::Tally).
    pub(crate) tag: u16,
    /// Nanoseconds since the frame before, by the capture's clock.
    pub(crate) gap_ns: u64,
    /// When the frame was captured, nanoseconds since 1970; 0 for one that is made now.
    pub(crate) captured_ns: u64,
    /// Length of the frame before anybody cut it, at least `frame_len`; 0 where it is that.
    pub(crate) wire_len: u32,
    /// Which way it went, where that is known.
    pub(crate) direction: Option<MirrorDirection>,
}

/// Gives frames, batch by batch.
pub(crate) trait Source {
    /// Puts the next frames into `slots`, which is empty and keeps its capacity of [`MAX_FRAMES`]; none at the end.
    /// The bytes stay where they are until the next call.
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), crate::error::SendError>;

    /// The bytes that the slots of the last [`Source::fill`] point into.
    fn bytes(&mut self) -> &mut [u8];
}
