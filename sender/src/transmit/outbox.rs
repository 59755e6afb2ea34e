//! A batch on its way into the kernel: sorted by target and source port, joined to trains, and counted.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::fault_of;
use super::link::Link;
use super::message::Messages;
use super::train::Planner;
use crate::batch::{MAX_FRAMES, Slot};
use crate::summary::{SendFault, SkipReason};

/// How long a full queue is waited for before the datagrams at its door are given up.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);
const QUEUE_RETRY: Duration = Duration::from_micros(200);

/// Counts what became of frames, which are `members` (indices) of `slots`. Each frame is told once.
pub(crate) trait Tally {
    /// The kernel took one message with these frames, each of which has `outer` bytes of IP and UDP headers before its tunnel's.
    fn sent(&mut self, members: &[u16], slots: &[Slot], outer: u32);

    /// The kernel refused them.
    fn failed(&mut self, members: &[u16], slots: &[Slot], fault: SendFault);

    /// The kernel was not asked, since it had just refused others.
    fn withheld(&mut self, members: &[u16], slots: &[Slot], reason: SkipReason);
}

/// Sends batches over links.
pub(crate) struct Outbox {
    planner: Planner,
    messages: Messages,
    /// Slots of the batch in hand, link by link and port by port.
    by_port: Vec<u16>,
    /// Where each port of each link ends in `by_port`.
    ends: Vec<usize>,
    /// The first port of each link in `ends`.
    first: Vec<usize>,
}

/// What there is to send.
struct Load<'a, T> {
    bytes: &'a [u8],
    slots: &'a mut [Slot],
    tally: &'a mut T,
    is_over: &'a dyn Fn() -> bool,
}

/// The run was over before the slot at this place of `by_port`.
struct Stopped {
    at: usize,
}

impl Outbox {
    /// An outbox for links with so many source ports together; with more it still works, but allocates.
    pub(crate) fn new(ports: u32) -> Self {
        Self {
            planner: Planner::new(),
            messages: Messages::new(),
            by_port: Vec::with_capacity(MAX_FRAMES),
            ends: Vec::with_capacity(ports as usize),
            first: Vec::with_capacity(usize::from(u8::MAX) + 1),
        }
    }

    /// Sends every frame of `slots`, whose headers and frames are in `bytes`, each once, and tells `tally` what became of
    /// it. Frames with one source port go out in the order in which flows need them; see [`Planner`].
    ///
    /// Where the kernel takes no more for now on a link that waits, and the run `is_over`, the rest is withheld as stopped.
    pub(crate) fn send(
        &mut self,
        links: &mut [Link],
        bytes: &[u8],
        slots: &mut [Slot],
        tally: &mut impl Tally,
        is_over: &dyn Fn() -> bool,
    ) {
        self.sort(links, slots);
        let mut load = Load { bytes, slots, tally, is_over };
        let (mut start, mut place) = (0, 0);
        for (index, link) in links.iter_mut().enumerate() {
            for port in 0..link.ports() as usize {
                let end = self.ends[place];
                place += 1;
                if start < end
                    && let Err(Stopped { at }) = self.send_port(link, index as u8, port, start..end, &mut load)
                {
                    load.tally.withheld(&self.by_port[at..], load.slots, SkipReason::Stopped);
                    return;
                }
                start = end;
            }
        }
    }

    /// Fills `by_port` with the slots' indices, link after link, port after port and in order within each. Cuts the slots
    /// once more: the path may have turned out to carry less than when they were cut.
    fn sort(&mut self, links: &[Link], slots: &mut [Slot]) {
        self.first.clear();
        let mut ports = 0;
        for link in links {
            self.first.push(ports);
            ports += link.ports() as usize;
        }
        self.ends.clear();
        self.ends.resize(ports, 0);
        for slot in slots.iter_mut() {
            let link = usize::from(slot.link);
            slot.len = slot.len.min(links[link].max_frame(slot.head));
            self.ends[self.first[link] + usize::from(slot.port)] += 1;
        }
        let mut sum = 0;
        for end in &mut self.ends {
            let count = *end;
            *end = sum;
            sum += count;
        }
        self.by_port.clear();
        self.by_port.resize(slots.len(), 0);
        for (index, slot) in slots.iter().enumerate() {
            let place = &mut self.ends[self.first[usize::from(slot.link)] + usize::from(slot.port)];
            self.by_port[*place] = index as u16;
            *place += 1;
        }
    }

    /// Sends the slots of one port, which are `range` of `by_port`.
    fn send_port(
        &mut self,
        link: &mut Link,
        index: u8,
        port: usize,
        range: Range<usize>,
        load: &mut Load<'_, impl Tally>,
    ) -> Result<(), Stopped> {
        let Load { bytes, slots, tally, is_over } = load;
        let Self { planner, messages, by_port, .. } = self;
        if link.is_down() {
            // An error of another port of this batch.
            tally.withheld(&by_port[range], slots, SkipReason::TargetDown);
            return Ok(());
        }
        let mut start = range.start;
        let mut queue_full_since = None;
        let mut tried_again_at = None;
        // Each round plans what is left of the port, until nothing is. A new round begins when a refusal changed what a
        // message may be: shorter frames, or no trains.
        while start < range.end {
            planner.plan(slots, &by_port[start..range.end], link.method(), link.max_train());
            by_port[start..range.end].copy_from_slice(planner.order());
            let mut loaded = messages.load(bytes, slots, planner);
            let mut message = 0;
            while message < loaded.len() {
                let error = match loaded.send(link.socket(port), message, link.method(), link.waits()) {
                    Ok(taken) => {
                        queue_full_since = None;
                        // It blocked on a full buffer until its time was over.
                        let is_slow = message + taken < loaded.len();
                        for train in message..message + taken {
                            let members = planner.members(train);
                            start += members.len();
                            tally.sent(members, slots, link.outer_bytes());
                        }
                        message += taken;
                        if is_slow && link.waits() && is_over() {
                            return Err(Stopped { at: start });
                        }
                        continue;
                    }
                    Err(error) => error,
                };
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                let fault = fault_of(&error);
                if fault == SendFault::QueueFull && link.waits() {
                    if is_over() {
                        return Err(Stopped { at: start });
                    }
                    let since = *queue_full_since.get_or_insert_with(Instant::now);
                    if since.elapsed() < QUEUE_PATIENCE {
                        std::thread::sleep(QUEUE_RETRY);
                        continue;
                    }
                }
                if link.learn_from(&error, port, slots, index) {
                    break;
                }
                link.socket(port).forget_errors();
                if fault == SendFault::TooLong && tried_again_at != Some(start) {
                    // A router said so of an earlier datagram, before what it said was heeded.
                    tried_again_at = Some(start);
                    continue;
                }
                let is_left_alone = link.suffer(&error, fault);
                let members = planner.members(message);
                tally.failed(members, slots, fault);
                start += members.len();
                message += 1;
                let reason = match fault {
                    _ if is_left_alone => SkipReason::TargetDown,
                    SendFault::QueueFull if !link.waits() => SkipReason::QueueFull,
                    _ => continue,
                };
                tally.withheld(&by_port[start..range.end], slots, reason);
                return Ok(());
            }
        }
        Ok(())
    }
}
