//! A follower's side: filters and encodes at the pace of its client.

use std::sync::Arc;
use std::task::{Context, Poll};

use vxtap_filter::Filter;

use super::encoder::Encoder;
use super::queue::{Next, Queue, Segment};
use super::{Hub, unix_ns};

/// A chunk goes out when it has so many bytes, or when nothing more waits.
const CHUNK_BYTES: usize = 64 << 10;
/// So many bytes of records are looked at before others get their turn, however few of them are wanted.
const LOOK_BYTES: usize = 256 << 10;

/// One follower of the live capture: a pcapng stream in chunks of whole blocks. Dropping it makes room for another.
#[derive(Debug)]
pub struct Follower {
    hub: Hub,
    pub(super) queue: Arc<Queue>,
    encoder: Encoder,
    /// Being worked on, from this byte on.
    current: Option<(Arc<Segment>, usize)>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was given yet.
    New,
    Following,
    Ended,
}

impl Follower {
    pub(super) fn new(hub: Hub, queue: Arc<Queue>, filter: Filter) -> Self {
        let encoder = Encoder::new(Arc::clone(&hub.shared.streams), filter, queue.since_ns());
        Self { hub, queue, encoder, current: None, stage: Stage::New }
    }

    /// The next blocks of the stream: at first its header, at once; then records as they come; at last statistics; then
    /// `None`. Nothing is lost where the wait is given up.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    /// [`Follower::chunk`], to be polled.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut chunk = Vec::new();
        match self.stage {
            Stage::New => {
                Encoder::begin(&mut chunk);
                self.stage = Stage::Following;
                return Poll::Ready(Some(chunk));
            }
            Stage::Following => {}
            Stage::Ended => return Poll::Ready(None),
        }
        let mut to_look_at = LOOK_BYTES;
        while chunk.len() < CHUNK_BYTES && to_look_at > 0 && self.stage == Stage::Following {
            if let Some((segment, from)) = self.current.take() {
                let records = &segment.records()[from..];
                let progress = self.encoder.append(records, to_look_at, CHUNK_BYTES, &mut chunk);
                self.queue.count_sent(progress.sent);
                to_look_at = to_look_at.saturating_sub(progress.looked_at);
                let to = from + progress.looked_at;
                if to < segment.records().len() {
                    self.current = Some((segment, to));
                }
                continue;
            }
            match self.queue.poll_next(context) {
                Poll::Ready(Next::Records(segment)) => self.current = Some((segment, 0)),
                Poll::Ready(Next::Lost(lost)) => self.encoder.append_lost(&lost, unix_ns(), &mut chunk),
                Poll::Ready(Next::End) => {
                    self.encoder.end(unix_ns(), &mut chunk);
                    self.stage = Stage::Ended;
                }
                Poll::Pending if chunk.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        match (chunk.is_empty(), self.stage) {
            (false, _) => Poll::Ready(Some(chunk)),
            (true, Stage::Ended) => Poll::Ready(None),
            (true, _) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.hub.leave(&self.queue);
    }
}
