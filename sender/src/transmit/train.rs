//! Which frames of one source port travel together.
//!
//! With segmentation offload one message carries a train: datagrams of one length, of which the last may be shorter,
//! at most [`MAX_MEMBERS`] of them and at most one IP packet's length together. The gain grows with the train, so frames of
//! different flows change places where that makes trains longer; frames of one flow, in either direction, never do.
//!
//! Each frame joins the first train of its length that has room and comes no earlier than the last train with a
//! frame of its flow. Afterwards, a train of one joins the end of an earlier, longer-framed train under the same rule.

use super::Method;
use crate::batch::{MAX_FRAMES, Slot};

/// Most datagrams in one train: what every kernel with segmentation offload takes, and all that a receiver aggregates.
const MAX_MEMBERS: u16 = 64;
/// How many trains back a frame may join. Bounds the search; farther ones are hardly ever a better place.
const WINDOW: usize = 32;
/// Flows are told apart by so many bits of their hash; two that agree in them keep their common order, which costs
/// nothing but chances.
const FLOW_BITS: u32 = 11;

#[derive(Clone, Copy, Default)]
struct Train {
    /// Datagram length of all members but a shorter last one.
    datagram: u32,
    /// Bytes of all members.
    bytes: u32,
    members: u16,
    /// The earliest train that the first member may be in.
    earliest: u16,
    /// Whether the last member is shorter, so that none may follow.
    closed: bool,
    /// The train that it was joined to; itself if none.
    joined: u16,
    /// Where its members begin in the order of all frames.
    start: u16,
    /// How many of them were put there.
    placed: u16,
}

/// Plans the trains of one port's frames. Keeps its memory from plan to plan.
pub(super) struct Planner {
    trains: Vec<Train>,
    /// The train of each frame, in the order in which the frames were given.
    train_of: Vec<u16>,
    /// For each flow the last train with one of its frames, plus one; 0 for none.
    last_train: Vec<u16>,
    /// Frames, train by train.
    order: Vec<u16>,
    /// Where each train that was not joined to another ends in `order`.
    ends: Vec<u16>,
}

impl Planner {
    pub(super) fn new() -> Self {
        Self {
            trains: Vec::with_capacity(MAX_FRAMES),
            train_of: Vec::with_capacity(MAX_FRAMES),
            last_train: vec![0; 1 << FLOW_BITS],
            order: Vec::with_capacity(MAX_FRAMES),
            ends: Vec::with_capacity(MAX_FRAMES),
        }
    }

    /// Plans `frames`, indices into `slots`, all of one port and in the order in which they came. `max_bytes` bounds the UDP
    /// payload of a whole train.
    pub(super) fn plan(&mut self, slots: &[Slot], frames: &[u16], method: Method, max_bytes: u32) {
        self.order.clear();
        self.ends.clear();
        if method != Method::Trains || frames.len() == 1 {
            self.order.extend_from_slice(frames);
            self.ends.extend(1..=frames.len() as u16);
            return;
        }
        self.assign(slots, frames, max_bytes);
        self.join_singles(max_bytes);
        self.lay_out(frames);
    }

    /// How many trains there are.
    pub(super) fn trains(&self) -> usize {
        self.ends.len()
    }

    /// The frames of all trains in turn.
    pub(super) fn order(&self) -> &[u16] {
        &self.order
    }

    /// The frames of one train, in order.
    pub(super) fn members(&self, train: usize) -> &[u16] {
        let start = if train == 0 { 0 } else { self.ends[train - 1] };
        &self.order[usize::from(start)..usize::from(self.ends[train])]
    }

    fn assign(&mut self, slots: &[Slot], frames: &[u16], max_bytes: u32) {
        self.trains.clear();
        self.train_of.clear();
        self.last_train.fill(0);
        for frame in frames {
            let slot = &slots[usize::from(*frame)];
            let datagram = slot.len + u32::from(slot.head);
            let flow = &mut self.last_train[(slot.flow >> (u32::BITS - FLOW_BITS)) as usize];
            let earliest = flow.saturating_sub(1);
            let from = usize::from(earliest).max(self.trains.len().saturating_sub(WINDOW));
            let fits = |train: &Train| {
                train.datagram == datagram && train.members < MAX_MEMBERS && train.bytes + datagram <= max_bytes
            };
            let train = if let Some(offset) = self.trains[from..].iter().position(fits) {
                let train = &mut self.trains[from + offset];
                train.members += 1;
                train.bytes += datagram;
                from + offset
            } else {
                let index = self.trains.len();
                let joined = index as u16;
                self.trains.push(Train { datagram, bytes: datagram, members: 1, earliest, joined, ..Train::default() });
                index
            };
            *flow = train as u16 + 1;
            self.train_of.push(train as u16);
        }
    }

    /// Joins trains of one to the end of earlier trains.
    fn join_singles(&mut self, max_bytes: u32) {
        for index in 0..self.trains.len() {
            let single = self.trains[index];
            if single.members != 1 {
                continue;
            }
            let from = usize::from(single.earliest).max(index.saturating_sub(WINDOW));
            let takes = |train: &Train| {
                train.members > 0
                    && train.members < MAX_MEMBERS
                    && !train.closed
                    && train.datagram > single.datagram
                    && train.bytes + single.datagram <= max_bytes
            };
            if let Some(offset) = self.trains[from..index].iter().position(takes) {
                let host = &mut self.trains[from + offset];
                host.members += 1;
                host.bytes += single.datagram;
                host.closed = true;
                self.trains[index].members = 0;
                self.trains[index].joined = (from + offset) as u16;
            }
        }
    }

    /// Puts the frames into `order`, train by train.
    fn lay_out(&mut self, frames: &[u16]) {
        let mut end = 0;
        for train in &mut self.trains {
            train.start = end;
            end += train.members;
            if train.members > 0 {
                self.ends.push(end);
            }
        }
        self.order.resize(frames.len(), 0);
        for (frame, train) in frames.iter().zip(&self.train_of) {
            let joined = self.trains[usize::from(*train)].joined;
            let host = &mut self.trains[usize::from(joined)];
            let place = if joined == *train {
                host.placed += 1;
                host.start + host.placed - 1
            } else {
                // The shorter frame is the last, though longer ones of other flows may have come behind it.
                host.start + host.members - 1
            };
            self.order[usize::from(place)] = *frame;
        }
    }
}

#[cfg(test)]
mod tests;
