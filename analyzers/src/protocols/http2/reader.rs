//! Where one side of a connection is.

use super::frame::{self, FrameHeader, FrameType, HEADER_LEN};
use super::hpack::Decoder;

/// After reading has begun somewhere in the middle, so many headers of frames have to be what they should be: bytes within a frame may look
/// like one header, and seldom like another where that one ends.
const DOUBTFUL_HEADERS: u8 = 3;

/// Where one side is.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) state: State,
    /// The beginning of a frame whose content matters.
    pub(super) kept: Vec<u8>,
    /// A header block of which more comes.
    pub(super) block: Option<Block>,
    pub(super) decoder: Decoder,
    /// A frame was seen, or bytes are missing.
    begun: bool,
    /// The first frame was one that a connection begins with, and nothing is missing since.
    opened: bool,
    /// So many headers have yet to show that frames are where they are thought to be.
    doubt: u8,
    pub(super) ended: bool,
}

#[derive(Debug, Default)]
pub(super) enum State {
    /// At the beginning, with so many bytes of the preface.
    #[default]
    Begin,
    Preface(usize),
    /// In the response of HTTP/1.1 that changes the protocol, with so many bytes of the empty line at its end.
    Switching(usize),
    /// In a frame's header, of which so many bytes are here.
    Header([u8; HEADER_LEN], usize),
    /// In a frame of data, with what is to come of body and padding.
    Data(Data),
    /// In a frame of which all is kept.
    Kept(FrameHeader),
    /// In a frame of which so many bytes are passed over, and then it is over.
    Passed(FrameHeader, u32),
    /// Where the next frame begins is not known.
    Lost,
}

impl State {
    /// Where a frame begins.
    pub(super) const FRAME: Self = Self::Header([0; HEADER_LEN], 0);
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    pub(super) header: FrameHeader,
    /// The length of the padding comes first.
    pub(super) unpadded: bool,
    pub(super) body: u32,
    pub(super) padding: u32,
}

/// A header block that goes on in the next frame.
#[derive(Debug)]
pub(super) struct Block {
    /// Of the frame that it began with.
    pub(super) header: FrameHeader,
    pub(super) promised: Option<u32>,
    pub(super) bytes: Vec<u8>,
    /// Bytes are missing, or it is too long: there is only its beginning.
    pub(super) broken: bool,
}

impl Reader {
    /// Memory that what is kept takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.kept.capacity() + self.block.as_ref().map_or(0, |block| block.bytes.capacity()) + self.decoder.size()
    }

    pub(super) fn block_len(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.bytes.len())
    }

    /// The header of a frame has come. `from_start` where what this side says first is how it begins.
    ///
    /// Both sides begin with SETTINGS (RFC 9113 3.4), which are sent later as well, and acknowledged: only where the beginning was seen
    /// are they one.
    pub(super) fn frame(&mut self, header: FrameHeader, from_start: bool) {
        if !std::mem::replace(&mut self.begun, true) {
            self.opened = header.opens_connection();
            if !(self.opened && from_start) {
                self.decoder.miss();
                self.doubt = DOUBTFUL_HEADERS;
            }
        }
    }

    /// Whether this header may be one; where it is known that a frame begins here, any may.
    pub(super) fn admits(&mut self, header: FrameHeader) -> bool {
        let admits = !self.is_doubtful() || header.is_plausible();
        self.doubt = self.doubt.saturating_sub(1);
        admits
    }

    /// Whether what is wrong here may well be no fault of the sender.
    pub(super) const fn is_doubtful(&self) -> bool {
        self.doubt > 0
    }

    /// The client's preface has come from this side: it begins.
    pub(super) fn begin(&mut self) {
        self.decoder = Decoder::default();
        self.begun = false;
        self.doubt = 0;
        self.state = State::FRAME;
    }

    /// The client's preface has come from the other side. What this one has said before it was its beginning.
    pub(super) fn peer_begins(&mut self) {
        if self.opened {
            self.decoder.has_all();
            self.doubt = 0;
        }
    }

    /// Where the next frame begins is not known any more.
    pub(super) fn lose(&mut self) {
        self.state = State::Lost;
        self.kept = Vec::new();
        self.begun = true;
        self.opened = false;
        self.decoder.miss();
    }

    /// A frame seems to begin here.
    pub(super) fn resume(&mut self) {
        self.state = State::FRAME;
        self.doubt = DOUBTFUL_HEADERS;
    }

    /// Whether all was read, from the beginning to the end of a frame.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.state, State::Begin | State::Header(_, 0)) && self.block.is_none() && !self.decoder.has_missed()
    }

    /// Of the frame of a header block only the beginning can be had.
    pub(super) fn break_block(&mut self, header: FrameHeader, payload: &[u8]) {
        match header.kind() {
            FrameType::Headers | FrameType::PushPromise => {
                self.block = frame::cut_fragment(header, payload).map(|(promised, fragment)| Block {
                    header,
                    promised,
                    bytes: fragment.to_vec(),
                    broken: true,
                });
            }
            FrameType::Continuation => {
                if let Some(block) = &mut self.block
                    && !std::mem::replace(&mut block.broken, true)
                {
                    block.bytes.extend_from_slice(payload);
                }
            }
            FrameType::Data | FrameType::Reset | FrameType::Other => return,
        }
        self.decoder.miss();
    }
}
