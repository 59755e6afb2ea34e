//! Where bytes are missing or make no sense: what ends, what is counted over, and where reading goes on.

use super::exchange::Place;
use super::framing::Framing;
use super::reader::State;
use super::{Http1, start};
use crate::protocols::{Context, Guess, Next, Side};

/// No whole request is shorter: `GET / HTTP/1.1` and an empty line.
const REQUEST_MIN: u64 = 18;

impl Http1 {
    /// So many bytes are missing.
    pub(super) fn missing(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next {
        if self.tunnel {
            return Next::Done;
        }
        self.is_whole = false;
        let reader = &self.readers[from.index()];
        let between = matches!(reader.state, State::Head) && reader.kept.is_empty();
        // The beginning of a request that is too short to be told.
        let begun = matches!(reader.state, State::Head)
            && !reader.fresh
            && !reader.kept.is_empty()
            && start::guess_request(&reader.kept) == Guess::Perhaps
            && (!reader.doubtful || reader.kept.contains(&b' '));
        if between && self.client == Some(from.other()) {
            self.exchanges.gap_before_response();
        }
        let next = match reader.state {
            State::Head => self.last_head(from, cx),
            // Of a body that may not be there it is not known whether the next message was in what is missing.
            State::HeadRest(..) | State::BodyOrHead(_) => {
                self.readers[from.index()].kept = Vec::new();
                self.finish(from, true, cx);
                Next::More
            }
            State::Body(left) => {
                self.mark_gap(from);
                match left.checked_sub(bytes) {
                    Some(0) => {
                        self.finish(from, false, cx);
                        return Next::More;
                    }
                    Some(left) => {
                        self.readers[from.index()].state = State::Body(left);
                        return Next::More;
                    }
                    None => self.finish(from, true, cx),
                }
                Next::More
            }
            State::Chunked(mut body) => {
                self.mark_gap(from);
                if body.gap(bytes) {
                    self.readers[from.index()].state = State::Chunked(body);
                    return Next::More;
                }
                self.finish(from, true, cx);
                Next::More
            }
            State::UntilEnd => {
                self.mark_gap(from);
                return Next::More;
            }
            State::Lost if self.client == Some(from) => {
                self.exchanges.request_goes_on(cx.time_ns);
                Next::More
            }
            State::Lost => Next::More,
        };
        let reader = &mut self.readers[from.index()];
        reader.state = State::Lost;
        if reader.place == Place::Next {
            reader.place = Place::BehindGap;
        }
        if self.client.is_none_or(|client| client == from) {
            self.exchanges.lose_requests(between && bytes >= REQUEST_MIN || begun);
        }
        next
    }

    /// What follows a response's head is the next one's where the response has no body, as the answer to HEAD has none: nobody knows whether
    /// this is one. Gives how many bytes were used.
    pub(super) fn body_or_head(&mut self, from: Side, framing: Framing, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        let reader = &mut self.readers[from.index()];
        let before = reader.kept.len();
        if before == 0 {
            reader.started_ns = cx.time_ns;
        }
        reader.kept.extend_from_slice(bytes.get(..start::STATUS_LINE_MIN).unwrap_or(bytes));
        match start::guess_status_line(&reader.kept) {
            Guess::Perhaps => return bytes.len(),
            Guess::Yes => {
                reader.kept.truncate(before);
                self.finish(from, false, cx);
                return 0;
            }
            Guess::No => {}
        }
        reader.kept.truncate(before);
        self.settle_body(from, framing, cx);
        0
    }

    /// There is a body; what was kept is its beginning.
    fn settle_body(&mut self, from: Side, framing: Framing, cx: &mut Context<'_>) {
        let kept = std::mem::take(&mut self.readers[from.index()].kept);
        self.begin_body(from, framing, cx);
        let mut rest = &kept[..];
        // Too little for a head: nothing is kept again, and nothing changes but the state.
        while !rest.is_empty() {
            let (used, _) = self.step(from, rest, cx);
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// What stands where a head should be is none.
    pub(super) fn not_a_head(&mut self, from: Side, response: bool, cx: &mut Context<'_>) {
        let reader = &mut self.readers[from.index()];
        reader.state = State::Lost;
        // A flow that was picked up in the middle may begin within a body.
        if !std::mem::take(&mut reader.doubtful) && !reader.fresh && self.is_all_seen(cx) {
            let name = if response { "response_invalid_protocol" } else { "request_line_invalid" };
            self.anomalies.tell(from, name, cx);
        }
    }

    /// Whether all that both sides have said was seen from its beginning. Where a message ends is known only then: an answer to HEAD
    /// is taken for one to another request where those that were lost are.
    pub(super) fn is_all_seen(&self, cx: &Context<'_>) -> bool {
        let is_joined = cx.is_joined(Side::Originator) || cx.is_joined(Side::Responder);
        let lacks_requests = self.client.is_some_and(|client| cx.is_unseen(client));
        self.is_whole && !is_joined && !lacks_requests
    }

    /// Looks for the beginning of a message, at the beginning of `bytes` and of each line; gives how many bytes are none.
    pub(super) fn look_for_start(&mut self, from: Side, bytes: &[u8]) -> usize {
        let response = self.client.map(|client| client != from);
        let reader = &mut self.readers[from.index()];
        reader.doubtful = true;
        let mut at = 0;
        while let Some(line) = bytes.get(at..).filter(|line| !line.is_empty()) {
            if reader.begins(line, response) {
                reader.state = State::Head;
                return at;
            }
            match memchr::memchr(b'\n', line) {
                Some(end) => at += end + 1,
                None => break,
            }
        }
        bytes.len()
    }
}
