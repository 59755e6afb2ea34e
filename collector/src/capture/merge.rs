//! The records of several workers in one order.
//!
//! Each worker's records come in blocks, nearly in the order of time. [`Merge`] holds blocks back until every lane has got
//! past a moment, and gives what is before that moment in runs: stretches of one block that come before the head of every other.
//! Records are not copied for it.
//!
//! It holds back no longer than its window, and no block of a lane that has half of its blocks here: order is worth less than frames.
//! A record that comes when later ones are out already goes out at once and is counted as late.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vxtap_capfile::pcapng::PacketView;

use super::lane::{CaptureMarks, LaneProgress};
use super::stretch::Stretch;
use crate::blocks::Block;

/// Frames on their way from one worker to another, and batches whose clock was read before they were received, are not older than this.
const SLACK: Duration = Duration::from_millis(10);
/// A lane whose worker does not say how far it is holds the others back for this long at most.
const WINDOW: Duration = Duration::from_millis(500);

/// What orders records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joining {
    /// One lane: each block as it comes, and as it is.
    AsIs,
    /// One lane: each block as it comes, its records by time.
    One,
    /// Time; the records are of now.
    Time,
    /// The turns of the workers over one input, within a turn time.
    Turns,
}

/// Blocks being merged.
#[derive(Debug)]
pub(super) struct Merge {
    joining: Joining,
    held: Vec<Held>,
    /// Blocks held of each lane.
    of_lane: Vec<usize>,
    /// A lane with so many blocks here is not held back any more.
    lane_blocks_max: usize,
    progress: Vec<Arc<LaneProgress>>,
    /// What every lane had got past when it was last looked.
    limit: Limit,
    /// What every lane has got past, as it says itself: what comes has no earlier time.
    past_ns: u64,
    /// The latest time that is out.
    out_ns: u64,
    late: u64,
}

/// A block, and how far it is out.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) lane: usize,
    pub(super) block: Block<CaptureMarks>,
    /// Records in the order of time, where the block has them in another.
    places: Option<Vec<Place>>,
    /// Of the next record in the block, or its number in `places`.
    at: usize,
    /// Time of the next record; meaningless when nothing is left.
    head_ns: u64,
    records_left: u64,
    since: Instant,
}

impl Held {
    /// The stretch of the block that `run` begins with, if it has all of it.
    pub(super) fn stretch(&self, run: &Run) -> Option<&Stretch> {
        // In another order a run is a single record.
        let stretches = self.places.is_none().then_some(&self.block.marks.stretches)?;
        stretches.at(run.bytes.start).filter(|stretch| stretch.end <= run.bytes.end)
    }
}

/// One record of a block.
#[derive(Clone, Copy, Debug)]
struct Place {
    time_ns: u64,
    start: u32,
    length: u32,
}

/// Records that follow each other in a block and in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which of the blocks that are held.
    pub(super) held: usize,
    /// Where in it.
    pub(super) bytes: Range<usize>,
    pub(super) records: u64,
}

/// What may go out: records before this turn, or in it and before this time.
#[derive(Clone, Copy, Debug)]
struct Limit {
    turn: u64,
    time_ns: u64,
}

impl Merge {
    /// Merges lanes of which each has `lane_blocks` blocks.
    pub(super) fn new(joining: Joining, progress: Vec<Arc<LaneProgress>>, lane_blocks: usize) -> Self {
        Self {
            joining,
            held: Vec::new(),
            of_lane: vec![0; progress.len()],
            lane_blocks_max: (lane_blocks / 2).max(1),
            progress,
            limit: Limit { turn: 0, time_ns: 0 },
            past_ns: 0,
            out_ns: 0,
            late: 0,
        }
    }

    /// Takes a block.
    pub(super) fn push(&mut self, lane: usize, block: Block<CaptureMarks>) {
        let places =
            (!block.marks.sorted && matches!(self.joining, Joining::One | Joining::Time)).then(|| places(&block.bytes));
        let head_ns = match &places {
            Some(places) => places.first().map_or(0, |place| place.time_ns),
            None => PacketView::first(&block.bytes).map_or(0, |record| record.time_ns()),
        };
        self.of_lane[lane] += 1;
        let records_left = block.records;
        self.held.push(Held { lane, block, places, at: 0, head_ns, records_left, since: Instant::now() });
    }

    /// The blocks that runs are of.
    pub(super) fn held(&mut self) -> &mut [Held] {
        &mut self.held
    }

    /// Records that came when later ones were out.
    pub(super) const fn late(&self) -> u64 {
        self.late
    }

    /// Looks how far the lanes are. `now_ns` is the wall clock. What the lanes hand over before they say how far they are must be
    /// taken after this look, and before runs are.
    pub(super) fn look(&mut self, now_ns: u64) {
        let progress = self.progress.iter().map(|progress| progress.get());
        self.past_ns = progress.clone().min().unwrap_or(now_ns).min(now_ns);
        self.limit = match self.joining {
            Joining::AsIs | Joining::One => Limit { turn: u64::MAX, time_ns: 0 },
            Joining::Turns => Limit { turn: progress.min().unwrap_or(u64::MAX), time_ns: 0 },
            Joining::Time => {
                let oldest = now_ns.saturating_sub(WINDOW.as_nanos() as u64);
                let progress = progress.map(|progress| progress.clamp(oldest, now_ns)).min();
                Limit { turn: 0, time_ns: progress.unwrap_or(now_ns).saturating_sub(SLACK.as_nanos() as u64) }
            }
        };
    }

    /// What every lane had got past at the last look, nanoseconds since 1970, and had handed over but for what is held.
    pub(super) fn past_ns(&self) -> u64 {
        let held = self.held.iter().map(|held| held.block.marks.first_ns).min();
        held.map_or(self.past_ns, |held_ns| held_ns.min(self.past_ns))
    }

    /// Nothing more will come: everything may go out.
    pub(super) fn end(&mut self) {
        self.limit = Limit { turn: u64::MAX, time_ns: u64::MAX };
    }

    /// Fills `runs` with what may go out, up to some `bytes_max` bytes. The caller is to be done with them when it calls [`Merge::release`], and
    /// calls again until there are none.
    pub(super) fn take_runs(&mut self, bytes_max: usize, runs: &mut Vec<Run>) {
        let limit = self.limit_with_what_is_old();
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some((held, bound_ns)) = self.earliest() else { break };
            let Held { block, head_ns, .. } = &self.held[held];
            let bound_ns = if block.marks.turn < limit.turn {
                bound_ns
            } else if *head_ns < limit.time_ns {
                bound_ns.min(limit.time_ns - 1)
            } else {
                break;
            };
            let run = self.run(held, bound_ns, bytes_max - bytes, bytes_max);
            bytes += run.bytes.len();
            runs.push(run);
        }
    }

    /// The limit, or a later one where a block must not be held back any longer.
    fn limit_with_what_is_old(&self) -> Limit {
        let mut limit = self.limit;
        if self.joining == Joining::Time {
            for held in &self.held {
                // The clock may have been set back: then only the time that a block has been here tells its age.
                if self.of_lane[held.lane] >= self.lane_blocks_max || held.since.elapsed() > WINDOW + SLACK {
                    limit.time_ns = limit.time_ns.max(held.block.marks.last_ns.saturating_add(1));
                }
            }
        }
        limit
    }

    /// The block whose head is the earliest, and the time of the head of the next one.
    fn earliest(&self) -> Option<(usize, u64)> {
        let mut first: Option<(u64, u64, usize)> = None;
        let mut second: Option<(u64, u64)> = None;
        for (number, held) in self.held.iter().enumerate().filter(|(_, held)| held.records_left > 0) {
            let key = (held.block.marks.turn, held.head_ns);
            match first {
                Some((turn, head_ns, _)) if (turn, head_ns) <= key => {
                    second = Some(second.map_or(key, |second| second.min(key)));
                }
                _ => {
                    second = first.map(|(turn, head_ns, _)| (turn, head_ns));
                    first = Some((key.0, key.1, number));
                }
            }
            if matches!(self.joining, Joining::AsIs | Joining::One) {
                break;
            }
        }
        let (turn, _, number) = first?;
        // A head of a later turn bounds nothing in this one.
        let bound = second.filter(|(other, _)| *other == turn).map_or(u64::MAX, |(_, head_ns)| head_ns);
        Some((number, bound))
    }

    /// Takes records of one block, up to the time `bound_ns` and some `bytes_max` bytes, but at least one; or the whole block, if that
    /// has no more than `block_max` bytes.
    fn run(&mut self, number: usize, bound_ns: u64, bytes_max: usize, block_max: usize) -> Run {
        let held = &mut self.held[number];
        let late_before = self.out_ns;
        if let Some(places) = &held.places {
            let Place { time_ns, start, length } = places[held.at];
            held.at += 1;
            held.records_left -= 1;
            held.head_ns = places.get(held.at).map_or(0, |place| place.time_ns);
            self.late += u64::from(time_ns < late_before);
            self.out_ns = late_before.max(time_ns);
            return Run { held: number, bytes: start as usize..(start + length) as usize, records: 1 };
        }
        let start = held.at;
        // To look for a record that ends the run costs more than a few bytes too many.
        let whole = held.block.marks.last_ns <= bound_ns && held.block.bytes.len() <= block_max;
        if whole && held.head_ns >= late_before {
            let run = Run { held: number, bytes: start..held.block.bytes.len(), records: held.records_left };
            (held.at, held.records_left) = (held.block.bytes.len(), 0);
            self.out_ns = late_before.max(held.block.marks.last_ns);
            return run;
        }
        let mut run = Run { held: number, bytes: start..start, records: 0 };
        while let Some(record) = PacketView::first(&held.block.bytes[run.bytes.end..]) {
            let (length, time_ns) = (record.block().len(), record.time_ns());
            held.head_ns = time_ns;
            if run.records > 0 && (time_ns > bound_ns || run.bytes.len() + length > bytes_max) {
                break;
            }
            self.late += u64::from(time_ns < late_before);
            self.out_ns = self.out_ns.max(time_ns);
            run.bytes.end += length;
            run.records += 1;
        }
        held.at = run.bytes.end;
        held.records_left = held.records_left.saturating_sub(run.records);
        run
    }

    /// Gives the blocks back of which everything is out.
    pub(super) fn release(&mut self, mut give_back: impl FnMut(usize, Block<CaptureMarks>)) {
        let mut number = 0;
        while number < self.held.len() {
            if self.held[number].records_left > 0 {
                number += 1;
                continue;
            }
            // In order, since the order of blocks decides between records of the same time.
            let Held { lane, block, .. } = self.held.remove(number);
            self.of_lane[lane] -= 1;
            give_back(lane, block);
        }
    }

    /// How long the writer may sleep without looking again.
    pub(super) fn pause(&self) -> Option<Duration> {
        const LOOK: Duration = Duration::from_millis(5);
        (!self.held.is_empty()).then_some(LOOK)
    }
}

/// The records of a block in the order of time; those of the same time as they are.
fn places(bytes: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut start = 0;
    while let Some(record) = PacketView::first(&bytes[start..]) {
        let length = record.block().len();
        places.push(Place { time_ns: record.time_ns(), start: start as u32, length: length as u32 });
        start += length;
    }
    places.sort_by_key(|place| place.time_ns);
    places
}

#[cfg(test)]
mod tests;
