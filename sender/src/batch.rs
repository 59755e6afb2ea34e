//! Frames on their way from a source to the sockets.

/// Most frames in one batch. The deeper a batch, the longer the trains that flows of mixed frame sizes give (8192 frames
/// make a third of the trains that 1024 do in a replay at top speed); a paced run sends what is due, which is less.
pub(crate) const MAX_FRAMES: usize = 8192;
/// A batch that has so many bytes takes no more frames.
pub(crate) const ENOUGH_BYTES: usize = 8 << 20;

/// Free bytes before each frame of a source that leaves encapsulation to the transmitter, so that a datagram is one piece.
pub(crate) const HEADROOM: usize = vxtap_wire::vxlan::HEADER_LEN;

/// One frame of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Length of the tunnel's header; [`HEADROOM`] unless a mirror session says otherwise.
    pub(crate) head: u8,
    /// Who counts it, where not all is counted together: see [`Tally`](crate::transmit::Tally).
    pub(crate) tag: u16,
    /// Whether its end was cut off before it came into the batch.
    pub(crate) is_cut: bool,
    /// Nanoseconds since the frame before, by the capture's clock.
    pub(crate) gap_ns: u64,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            offset: 0,
            frame_len: 0,
            len: 0,
            flow: 0,
            port: 0,
            link: 0,
            head: HEADROOM as u8,
            tag: 0,
            is_cut: false,
            gap_ns: 0,
        }
    }
}

/// Gives frames, batch by batch.
pub(crate) trait Source {
    /// Puts the next frames into `slots`, which is empty and keeps its capacity of [`MAX_FRAMES`]; none at the end.
    /// The bytes stay where they are until the next call.
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), crate::error::SendError>;

    /// The bytes that the slots of the last [`Source::fill`] point into.
    fn bytes(&mut self) -> &mut [u8];
}
