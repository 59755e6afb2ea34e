//! Where bytes are missing or make no sense: what is counted over, what is marked, and where reading goes on.

use super::frame::{FrameType, HEADER_LEN, find_frames, guess_frames, guess_preface};
use super::reader::State;
use super::{Context, Guess, Http2, Side};

impl Http2 {
    /// So many bytes are missing.
    pub(super) fn missing(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) {
        let reader = &mut self.readers[from.index()];
        let mut state = std::mem::replace(&mut reader.state, State::Lost);
        if let State::Kept(header) = state {
            let left = header.length - reader.kept.len() as u32;
            let kept = std::mem::take(&mut reader.kept);
            reader.break_block(header, &kept);
            if header.kind() == FrameType::Reset
                && let Some(stream) = self.streams.get(header.stream)
            {
                stream.cut();
            }
            state = State::Passed(header, left);
        }
        match state {
            State::Passed(header, left) => {
                let after = u64::from(left).checked_sub(bytes);
                if let Some(left @ 1..) = after {
                    self.readers[from.index()].state = State::Passed(header, left as u32);
                    return;
                }
                self.passed(from, header, cx);
                if after.is_none() {
                    self.lose(from, cx);
                }
            }
            State::Data(mut data) => {
                let body = bytes.min(u64::from(data.body)) as u32;
                let padding = (bytes - u64::from(body)).min(u64::from(data.padding)) as u32;
                let beyond = bytes - u64::from(body) - u64::from(padding);
                if let Some(stream) = self.streams.get(data.header.stream) {
                    stream.gap(from, u64::from(body));
                }
                // A length of padding that is missing makes body of it: not to be told.
                data.unpadded = false;
                data.body -= body;
                data.padding -= padding;
                if data.body > 0 || data.padding > 0 {
                    self.readers[from.index()].state = State::Data(data);
                } else {
                    self.frame_over(from, data.header, cx);
                    if beyond > 0 {
                        self.lose(from, cx);
                    }
                }
            }
            _ => self.lose(from, cx),
        }
    }

    /// The end of a frame was missed, and perhaps frames after it: of any stream that this side has not ended.
    pub(super) fn lose(&mut self, from: Side, cx: &mut Context<'_>) {
        if let Some(mut block) = self.readers[from.index()].block.take() {
            // Its beginning is all that is to be had of it.
            block.broken = true;
            let bytes = std::mem::take(&mut block.bytes);
            self.block(from, &block, &bytes, cx);
        }
        self.readers[from.index()].lose();
        self.streams.lose(from);
    }

    /// What came is not what should be here, and where the next frame begins is not known then.
    pub(super) fn misread(&mut self, from: Side, name: &'static str, cx: &mut Context<'_>) {
        self.fault(from, name, cx);
        self.lose(from, cx);
    }

    /// Tells what is wrong with what a side says, if it is known that this is what it says.
    pub(super) fn fault(&mut self, from: Side, name: &'static str, cx: &mut Context<'_>) {
        if !self.readers[from.index()].is_doubtful() {
            self.anomalies.tell(from, name, cx);
        }
    }

    /// Looks for a frame in a piece, after bytes that are missing or were not understood; gives where it begins.
    pub(super) fn resume(&mut self, from: Side, bytes: &[u8]) -> Option<usize> {
        let reader = &mut self.readers[from.index()];
        if guess_preface(bytes) == Guess::Yes {
            reader.state = State::Begin;
            return Some(0);
        }
        // Of less than a header nobody can tell what it is.
        if bytes.len() >= HEADER_LEN && guess_frames(bytes) != Guess::No {
            reader.resume();
            return Some(0);
        }
        // These may have been of any stream, also of those that were opened since bytes are missing.
        self.streams.lose(from);
        let found = find_frames(bytes);
        if found.is_some() {
            self.readers[from.index()].resume();
        }
        found
    }
}
