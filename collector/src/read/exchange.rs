//! Shares of chunks on their way to the workers that own the frames.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use vxtap_analyzers::{BATCH_MAX, PacketMeta};
use vxtap_capfile::Chunk;
use vxtap_wire::Link;

use super::progress::Progress;
use super::reader::{FileReader, Numbered};
use crate::pipeline::{Entrant, FrameBatch, Pipeline};

/// Chunks that any worker may be behind, for each worker, before nobody reads further. Bounds the memory in use and, with it,
/// the channels, which get no more than one share of each of these chunks.
const CHUNKS_AHEAD: u64 = 2;

/// Looks that a worker with a CPU of its own takes for what it waits for before it goes to sleep: some 100 microseconds, twice as long as
/// falling asleep and waking up take.
const LOOKS_BEFORE_SLEEP: u32 = 5_000;

/// One frame of a chunk. Its owner looks into it once more: what was seen of it is more to hand over than its headers are.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedFrame {
    meta: PacketMeta,
    /// Where in the chunk's bytes it begins and ends.
    start: u32,
    end: u32,
    /// Length when it was sent, as far as the file tells; 0 for unknown.
    wire_len: u32,
    /// What it begins with.
    link: Link,
    /// It is a fragment that another worker counts.
    shown: bool,
}

impl SharedFrame {
    /// The frame at `place` of its chunk.
    #[inline]
    pub(super) const fn new(entrant: &Entrant<'_>, place: Range<usize>) -> Self {
        let Entrant { meta, link, wire_len, .. } = *entrant;
        Self { meta, start: place.start as u32, end: place.end as u32, wire_len, link, shown: false }
    }

    /// Its bytes in `chunk`, the one that it is of.
    #[inline]
    fn bytes<'a>(&self, chunk: &'a Chunk) -> &'a [u8] {
        chunk.bytes(self.start as usize..self.end as usize)
    }
}

/// The frames of one chunk, by owner.
pub(super) struct Shares {
    lists: Vec<Vec<SharedFrame>>,
    /// Time of the chunk's newest frame, whoever owns it.
    newest_ns: u64,
}

impl Shares {
    /// Empty shares for `workers` workers, of a chunk that `taker` took, in lists that `reader` keeps for use again: new ones of this size
    /// would be memory that the kernel gives and takes back for each chunk.
    pub(super) fn new(workers: u32, taker: usize, reader: &FileReader) -> Self {
        Self { lists: (0..workers).map(|_| reader.empty_list(taker)).collect(), newest_ns: 0 }
    }

    pub(super) fn push(&mut self, owner: u32, frame: SharedFrame) {
        self.newest_ns = self.newest_ns.max(frame.meta.time_ns);
        self.lists[owner as usize].push(frame);
    }

    /// Shows a fragment of `owner`'s to the others: who finds that it makes a packet of his flows whole goes on with it, in its place among the
    /// frames.
    pub(super) fn show_others(&mut self, owner: u32, frame: SharedFrame) {
        for (worker, frames) in self.lists.iter_mut().enumerate() {
            if worker != owner as usize {
                frames.push(SharedFrame { shown: true, ..frame });
            }
        }
    }
}

/// What one worker gets of one chunk.
pub(super) struct Share {
    number: u64,
    taker: usize,
    chunk: Arc<Chunk>,
    frames: Vec<SharedFrame>,
    newest_ns: u64,
}

impl Share {
    /// The chunk's place in the order of the files.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Counts the frames as received, and analyses and captures them.
    pub(super) fn analyse(&self, pipeline: &mut Pipeline) {
        self.in_batches(pipeline, |pipeline, batch| {
            pipeline.ledger.received += batch.len() as u64;
            pipeline.analyse(batch);
        });
    }

    /// Analyses the frames, which whoever read them has counted and captured.
    pub(super) fn observe(&self, pipeline: &mut Pipeline) {
        self.in_batches(pipeline, Pipeline::observe);
    }

    fn in_batches<'a>(&'a self, pipeline: &mut Pipeline, mut take: impl FnMut(&mut Pipeline, &FrameBatch<'a>)) {
        let mut batch = FrameBatch::new();
        for frames in self.frames.chunks(BATCH_MAX) {
            self.fetch(frames);
            for frame in frames {
                let SharedFrame { meta, wire_len, link, shown, .. } = *frame;
                let entrant = Entrant { meta, link, bytes: frame.bytes(&self.chunk), wire_len };
                if shown {
                    take(pipeline, &batch);
                    batch.clear();
                    pipeline.look_at_fragment(&entrant);
                } else {
                    batch.look(&entrant);
                }
            }
            take(pipeline, &batch);
            batch.clear();
        }
    }

    /// Reads something of the headers of each of `frames`, which are in another CPU's cache perhaps: the reads do not depend on each other, so the
    /// CPU waits for all of them together.
    fn fetch(&self, frames: &[SharedFrame]) {
        let read = frames.iter().fold(0, |read, frame| {
            let bytes = frame.bytes(&self.chunk);
            read ^ bytes.first().unwrap_or(&0) ^ bytes.get(53).unwrap_or(&0)
        });
        std::hint::black_box(read);
    }
}

enum Message {
    Share(Share),
    /// Another worker has done a chunk, which may leave room to read on.
    Done,
    /// There are so many chunks in all.
    End(u64),
}

/// One worker's end of the exchange.
pub(super) struct Exchange {
    number: usize,
    progress: Arc<Progress>,
    inboxes: Vec<Sender<Message>>,
    inbox: Receiver<Message>,
    /// Shares that came before their turn.
    early: BTreeMap<u64, Share>,
    /// The chunk whose share is next.
    turn: u64,
    /// The last chunk that this worker knows of is before this one.
    known: u64,
    chunks: Option<u64>,
    end_told: bool,
    /// Time of the newest frame of all that were sent, to whomever.
    newest_ns: u64,
    /// Whether nobody else needs the CPU while this worker waits.
    awake: bool,
}

impl Exchange {
    /// An end for each of `workers` workers.
    pub(super) fn connect(workers: u32) -> Vec<Self> {
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| unbounded()).unzip();
        let progress = Arc::new(Progress::new(workers));
        let end = |(number, inbox)| Self {
            number,
            progress: Arc::clone(&progress),
            inboxes: inboxes.clone(),
            inbox,
            early: BTreeMap::new(),
            turn: 0,
            known: 0,
            chunks: None,
            end_told: false,
            newest_ns: 0,
            awake: false,
        };
        receivers.into_iter().enumerate().map(end).collect()
    }

    /// Gives every worker its share of a chunk; this one keeps its own.
    pub(super) fn send(&mut self, Numbered { number, taker, chunk }: Numbered, shares: Shares) {
        let chunk = Arc::new(chunk);
        for (worker, frames) in shares.lists.into_iter().enumerate() {
            let share = Share { number, taker, chunk: Arc::clone(&chunk), frames, newest_ns: shares.newest_ns };
            if worker == self.number {
                self.keep(share);
            } else {
                // A worker that is gone has panicked: joining it will tell.
                let _ = self.inboxes[worker].send(Message::Share(share));
            }
        }
    }

    fn keep(&mut self, share: Share) {
        self.newest_ns = self.newest_ns.max(share.newest_ns);
        self.known = self.known.max(share.number + 1);
        self.early.insert(share.number, share);
    }

    /// The worker whose end it is.
    pub(super) const fn number(&self) -> usize {
        self.number
    }

    /// The share whose turn it is, if it has come.
    pub(super) fn next_in_order(&mut self) -> Option<Share> {
        while let Ok(message) = self.inbox.try_recv() {
            self.take(message);
        }
        self.early.remove(&self.turn)
    }

    /// How far packet time is when every chunk has had its turn.
    pub(super) const fn newest_ns(&self) -> u64 {
        self.newest_ns
    }

    /// Ends the turn of `share`; gives its list back, and the chunk when nobody else needs it.
    pub(super) fn done(&mut self, share: Share, reader: &FileReader) {
        let Share { number, taker, chunk, frames, .. } = share;
        self.turn = number + 1;
        reader.give_back_list(taker, frames);
        if let Some(chunk) = Arc::into_inner(chunk) {
            reader.give_back(taker, chunk);
        }
        for sleeper in self.progress.advance(self.number, self.turn) {
            let _ = self.inboxes[sleeper].send(Message::Done);
        }
    }

    /// Whether all workers are near enough to the end of what was read to read on. One that has nothing of its own in the chunks would
    /// otherwise read the whole file into memory for another that has all of it.
    pub(super) fn may_read(&self) -> bool {
        self.chunks.is_none()
            && self.known.saturating_sub(self.progress.slowest()) < CHUNKS_AHEAD * self.inboxes.len() as u64
    }

    /// Tells the others, once, that there are `chunks` chunks in all.
    pub(super) fn end_at(&mut self, chunks: u64) {
        self.chunks = Some(chunks);
        if !std::mem::replace(&mut self.end_told, true) {
            for (worker, inbox) in self.inboxes.iter().enumerate() {
                if worker != self.number {
                    let _ = inbox.send(Message::End(chunks));
                }
            }
        }
    }

    /// Whether every chunk had its turn.
    pub(super) fn is_finished(&self) -> bool {
        self.chunks == Some(self.turn)
    }

    /// From now on this worker looks for a while before it sleeps, since it has a CPU of its own.
    pub(super) const fn stay_awake(&mut self) {
        self.awake = true;
    }

    /// Waits for the next share from another worker, or for room to read on.
    ///
    /// Never do all of them wait: the first chunk that some worker has not done is being read, or may be.
    pub(super) fn wait(&mut self) {
        if self.is_finished() {
            return;
        }
        if self.awake && self.look() {
            return;
        }
        self.progress.begin_to_wait(self.number);
        if !self.may_read()
            && let Ok(message) = self.inbox.recv()
        {
            self.take(message);
        }
        self.progress.end_to_wait(self.number);
    }

    /// Looks whether there is anything to do, for as long as that is better than to sleep.
    fn look(&mut self) -> bool {
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if self.may_read() {
                return true;
            }
            if let Ok(message) = self.inbox.try_recv() {
                self.take(message);
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Share(share) => self.keep(share),
            Message::Done => {}
            Message::End(chunks) => self.chunks = Some(chunks),
        }
    }
}
