//! What became of every frame, by session and direction, as the clouds count it: mirrored and skipped, packets and
//! bytes, in and out.
//!
//! One thread counts, others read. The sums over all sessions are counted a second time in the run's own
//! [counters](crate::control::Counters); [`Ledger::check`] holds one against the other at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::control::{Counter, Counters};
use crate::policy::Direction;
use crate::summary::{Imbalance, Reasons, SendFault, SkipReason};

/// Sessions of which counts are kept, those that reloads took away included; the counts of more that went are put together.
const MOST_GONE: usize = 256;
/// What the counts of sessions that went long ago stand under.
const GONE: &str = "sessions that went";

/// Packets and bytes.
#[derive(Debug, Default)]
pub(super) struct Cell {
    packets: Counter,
    bytes: Counter,
}

impl Cell {
    #[inline]
    pub(super) fn add(&self, packets: u64, bytes: u64) {
        self.packets.add(packets);
        self.bytes.add(bytes);
    }

    fn get(&self) -> Amount {
        Amount { packets: self.packets.get(), bytes: self.bytes.get() }
    }

    fn absorb(&self, other: &Self) {
        self.add(other.packets.get(), other.bytes.get());
    }
}

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames, without tunnel headers.
    pub bytes: u64,
}

/// What became of the frames that a session took, one direction.
#[derive(Debug, Default)]
pub(super) struct DirectionLedger {
    /// Frames that the kernel took; bytes as far as they were sent.
    pub(super) mirrored: Cell,
    /// Bytes as far as they would have been sent, here and below.
    pub(super) skipped: [Cell; SkipReason::COUNT],
    pub(super) failed: [Cell; SendFault::COUNT],
    /// Sent shorter than they were.
    pub(super) truncated: Counter,
}

/// One session's counts.
#[derive(Debug)]
pub(super) struct SessionLedger {
    name: String,
    directions: [DirectionLedger; 2],
}

impl SessionLedger {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), directions: Default::default() }
    }

    #[inline]
    pub(super) fn direction(&self, direction: Direction) -> &DirectionLedger {
        &self.directions[index(direction)]
    }

    fn absorb(&self, other: &Self) {
        for (own, other) in self.directions.iter().zip(&other.directions) {
            own.mirrored.absorb(&other.mirrored);
            own.truncated.add(other.truncated.get());
            for (own, other) in own.skipped.iter().zip(&other.skipped).chain(own.failed.iter().zip(&other.failed)) {
                own.absorb(other);
            }
        }
    }

    fn summary(&self) -> SessionSummary {
        let [inbound, outbound] = self.directions.each_ref().map(DirectionSummary::of);
        SessionSummary { session: self.name.clone(), inbound, outbound }
    }
}

/// Inbound 0, outbound 1.
#[inline]
pub(super) const fn index(direction: Direction) -> usize {
    match direction {
        Direction::Inbound => 0,
        Direction::Outbound => 1,
    }
}

/// All counts of a mirror.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Frames that no session took, by direction (inbound, outbound, not known) and reason; bytes on the wire.
    passed: [[Cell; SkipReason::COUNT]; 3],
    sessions: Mutex<Vec<Arc<SessionLedger>>>,
    /// CPUs used lately, and the share of flows that the CPU budget leaves: bits of an `f64` each.
    load: [AtomicU64; 2],
}

impl Ledger {
    /// Tells how the CPU budget is.
    #[inline]
    pub(super) fn publish(&self, cpu: f64, kept: f64) {
        self.load[0].store(cpu.to_bits(), Ordering::Relaxed);
        self.load[1].store(kept.to_bits(), Ordering::Relaxed);
    }

    /// What was [published](Self::publish) last.
    pub(super) fn load(&self) -> (f64, f64) {
        let load = |at: usize| f64::from_bits(self.load[at].load(Ordering::Relaxed));
        (load(0), load(1))
    }

    /// Counts a frame that no session took.
    #[inline]
    pub(super) fn pass(&self, direction: Option<Direction>, reason: SkipReason, bytes: u64) {
        self.passed[direction.map_or(2, index)][reason as usize].add(1, bytes);
    }

    /// The counts of the session of that name, which go on wherever they were.
    pub(super) fn session(&self, name: &str) -> Arc<SessionLedger> {
        let mut sessions = self.sessions();
        if let Some(known) = sessions.iter().find(|session| session.name == name) {
            return Arc::clone(known);
        }
        let session = Arc::new(SessionLedger::new(name));
        sessions.push(Arc::clone(&session));
        session
    }

    /// Puts counts together of which nobody else has a hold, the oldest first, where there are too many. To be called where
    /// counting is done.
    pub(super) fn forget_gone(&self) {
        let mut sessions = self.sessions();
        let gone = sessions.iter().filter(|session| Arc::strong_count(session) == 1 && session.name != GONE).count();
        let mut excess = gone.saturating_sub(MOST_GONE);
        if excess == 0 {
            return;
        }
        let together = Arc::new(SessionLedger::new(GONE));
        sessions.retain(|session| {
            let goes = session.name == GONE || (excess > 0 && Arc::strong_count(session) == 1);
            if goes {
                excess -= usize::from(session.name != GONE);
                together.absorb(session);
            }
            !goes
        });
        sessions.push(together);
    }

    /// Counts of all sessions so far.
    pub(super) fn summary(&self) -> MirrorSummary {
        let passed = [0, 1, 2].map(|direction| SkipSummary::of(&self.passed[direction]));
        let [inbound, outbound, unknown] = passed;
        MirrorSummary {
            passed: PassedSummary { inbound, outbound, unknown },
            sessions: self.sessions().iter().map(|session| session.summary()).collect(),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Arc<SessionLedger>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the sums over all sessions are the run's own counts: frames in, sent, skipped and refused.
    pub(super) fn check(&self, counters: &Counters) -> Result<(), Imbalance> {
        let summary = self.summary();
        let (mut sent, mut other) = (0, 0);
        for direction in summary.sessions.iter().flat_map(|session| [&session.inbound, &session.outbound]) {
            sent += direction.mirrored.packets;
            other += direction.skipped.packets + direction.send_errors.total();
        }
        let passed = &summary.passed;
        other += passed.inbound.packets + passed.outbound.packets + passed.unknown.packets;
        // What is wrong with a record or a frame is counted by the run alone: it never came to a decision.
        other += [SkipReason::LinkType, SkipReason::FileDamaged, SkipReason::EmptyFrame, SkipReason::SuperFrame]
            .map(|reason| counters.skipped[reason as usize].get())
            .iter()
            .sum::<u64>();
        let read = counters.read.get();
        let is_same = sent == counters.sent.get() && sent + other == read;
        if is_same { Ok(()) } else { Err(Imbalance { read, accounted: sent + other }) }
    }
}

/// What became of frames, by session and direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MirrorSummary {
    /// Frames that no session took; bytes on the wire.
    pub passed: PassedSummary,
    /// What became of those that one took.
    pub sessions: Vec<SessionSummary>,
}

/// Frames that no session took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PassedSummary {
    /// Of those that came in.
    pub inbound: SkipSummary,
    /// Of those that went out.
    pub outbound: SkipSummary,
    /// Of those of which neither is known.
    pub unknown: SkipSummary,
}

/// Frames that were not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SkipSummary {
    /// All of them.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets by reason.
    pub reasons: Reasons,
}

impl SkipSummary {
    fn of(cells: &[Cell; SkipReason::COUNT]) -> Self {
        let all = cells.iter().map(Cell::get).fold(Amount::default(), |sum, cell| Amount {
            packets: sum.packets + cell.packets,
            bytes: sum.bytes + cell.bytes,
        });
        let reasons = SkipReason::ALL.iter().map(|reason| (reason.as_str(), &cells[*reason as usize].packets));
        Self { packets: all.packets, bytes: all.bytes, reasons: Reasons::collect(reasons) }
    }
}

/// What became of the frames that a session took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SessionSummary {
    /// Its name.
    pub session: String,
    /// Frames that came in.
    pub inbound: DirectionSummary,
    /// Frames that went out.
    pub outbound: DirectionSummary,
}

/// What became of the frames of one direction that a session took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DirectionSummary {
    /// Handed to the kernel; bytes as they were sent.
    pub mirrored: Amount,
    /// Taken and not sent, since something else came first.
    pub skipped: SkipSummary,
    /// Refused by the kernel, packets by reason.
    pub send_errors: Reasons,
    /// Mirrored, but not whole.
    pub truncated: u64,
}

impl DirectionSummary {
    fn of(ledger: &DirectionLedger) -> Self {
        let faults = SendFault::ALL.iter().map(|fault| (fault.as_str(), &ledger.failed[*fault as usize].packets));
        Self {
            mirrored: ledger.mirrored.get(),
            skipped: SkipSummary::of(&ledger.skipped),
            send_errors: Reasons::collect(faults),
            truncated: ledger.truncated.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Control;

    #[test]
    fn counts_of_a_session_that_comes_back_go_on() {
        let ledger = Ledger::default();
        ledger.session("a").direction(Direction::Inbound).mirrored.add(2, 200);
        ledger.session("b").direction(Direction::Outbound).skipped[SkipReason::Shed as usize].add(1, 100);
        ledger.session("a").direction(Direction::Inbound).mirrored.add(1, 50);
        let summary = ledger.summary();
        assert_eq!(summary.sessions.len(), 2);
        assert_eq!(summary.sessions[0].inbound.mirrored, Amount { packets: 3, bytes: 250 });
        assert_eq!(summary.sessions[1].outbound.skipped.reasons.get("shed"), 1);
    }

    #[test]
    fn a_frame_that_only_one_of_both_books_has_is_an_imbalance() {
        let (ledger, control) = (Ledger::default(), Control::default());
        let counters = control.counters();
        counters.read.add(2);
        counters.sent.add(1);
        counters.skipped[SkipReason::Unmatched as usize].add(1);
        ledger.session("a").direction(Direction::Inbound).mirrored.add(1, 100);
        assert_eq!(ledger.check(counters), Err(Imbalance { read: 2, accounted: 1 }));
        ledger.pass(None, SkipReason::Unmatched, 60);
        assert_eq!(ledger.check(counters), Ok(()));
    }

    #[test]
    fn however_many_sessions_come_and_go_the_sums_stay_and_the_memory_is_bounded() {
        let ledger = Ledger::default();
        for n in 0..1_000 {
            ledger.session(&n.to_string()).direction(Direction::Inbound).mirrored.add(1, 10);
            ledger.forget_gone();
        }
        let summary = ledger.summary();
        assert!(summary.sessions.len() <= MOST_GONE + 1, "{}", summary.sessions.len());
        assert_eq!(summary.sessions.iter().map(|session| session.inbound.mirrored.packets).sum::<u64>(), 1_000);
    }
}
