//! Mirror sessions: from a frame that was captured to datagrams on their way to collectors.
//!
//! ```text
//! frame ─▶ decision ─▶ sample ─▶ budgets ─▶ cut ─▶ header ─▶ batch ─▶ links, by target and port ─▶ kernel
//!             │           └─ skipped, counted by session, direction and reason ─┘        └─ refused, counted
//!             └─ passed: no session takes it
//! ```
//!
//! - Every frame is decided about by one [`Plan`], a whole policy: another one comes in between two batches.
//! - What production needs comes first: budgets of packets, of bits and of CPU time give up whole flows (or the ends of packets), and a
//!   target that is dead costs next to nothing. Nothing here waits, but for a replay, which would rather be late than lose.
//! - Names are looked up, files read and sockets opened by a [`Steward`](steward::Steward) in a thread of its own, which hands over what
//!   is ready through a [`Mailbox`](mailbox::Mailbox).

mod api;
mod attendants;
mod bucket;
mod budget;
mod exits;
pub mod files;
#[cfg(test)]
mod fixture;
mod frames;
mod governor;
mod ledger;
pub mod live;
mod mailbox;
mod plan;
mod settings;
mod shed;
mod spread;
mod status;
pub(crate) mod steward;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use vxtap_capfile::MAX_FRAME_BYTES;
use vxtap_wire::geneve::{Mark, MirrorDirection};
use vxtap_wire::{FrameView, SteerHash};

use crate::batch::{ENOUGH_BYTES, HEADROOM, MAX_FRAMES, Slot};
use crate::control::{Control, Counters};
use crate::policy::{self, Decision, Direction, Excluded, Pass};
use crate::source::flow_hash;
use crate::summary::{SendFault, SkipReason};
use crate::transmit::{Link, Method, Outbox, Tally};
pub use api::ControlSettings;
pub(crate) use api::{control_token, reason};
use budget::Meter;
use exits::Exits;
pub(crate) use frames::Frame;
pub use ledger::{Amount, DirectionSummary, MirrorSummary, PassedSummary, SessionSummary, SkipSummary};
pub use settings::MirrorSettings;

use governor::Governor;
use ledger::Ledger;
use mailbox::{Change, Mailbox};
use plan::{Plan, SessionRun};

/// A live batch is sent when it has so many frames or bytes: more would wait for longer than they gain.
const LIVE_FRAMES: usize = 1024;
const LIVE_BYTES: usize = 1 << 20;
const NANOSECONDS: u64 = 1_000_000_000;

/// How deep a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// For frames that come as they are captured.
    Live,
    /// For frames that are all there.
    Deep,
}

/// Takes frames and sends their copies.
pub(crate) struct Mirror {
    plan: Plan,
    exits: Exits,
    outbox: Outbox,
    governor: Governor,
    hash: SteerHash,
    /// The batch.
    buffer: Vec<u8>,
    used: usize,
    slots: Vec<Slot>,
    most_frames: usize,
    enough_bytes: usize,
    /// Whether frames are captured while their copies are sent, so that copies may be captured as well.
    is_live: bool,
    /// Time of the latest frame, and the time that passed since the last one in the batch.
    latest_ns: Option<u64>,
    gap_ns: u64,
    ledger: Arc<Ledger>,
    control: Arc<Control>,
    mailbox: Arc<Mailbox>,
    kernel_changed: bool,
}

impl Mirror {
    /// Decides by `plan`, for whose targets `exits` are the links.
    pub(crate) fn new(
        mut plan: Plan,
        mut exits: Exits,
        port_seed: u32,
        depth: Depth,
        ledger: Arc<Ledger>,
        control: Arc<Control>,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        plan.join(&mut exits);
        let (most_frames, enough_bytes) = match depth {
            Depth::Live => (LIVE_FRAMES, LIVE_BYTES),
            Depth::Deep => (MAX_FRAMES, ENOUGH_BYTES),
        };
        let ports = exits.links.iter().map(Link::ports).sum();
        Self {
            governor: Governor::new(plan.policy.max_cpu, plan.policy.budget.shed, Instant::now()),
            plan,
            exits,
            outbox: Outbox::new(ports),
            hash: SteerHash::new(port_seed),
            buffer: vec![0; enough_bytes + HEADROOM + MAX_FRAME_BYTES],
            used: 0,
            slots: Vec::with_capacity(most_frames),
            most_frames,
            enough_bytes,
            is_live: depth == Depth::Live,
            latest_ns: None,
            gap_ns: 0,
            ledger,
            control,
            mailbox,
            kernel_changed: true,
        }
    }

    /// A batch begins: what the steward has ready comes into force, what is due by time is done. The batch before was sent.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.begin_with(now, true);
    }

    /// The same, but for another policy where it is not to come into force yet: what comes behind it waits as well.
    pub(crate) fn begin_with(&mut self, now: Instant, takes_plans: bool) {
        self.slots.clear();
        self.used = 0;
        if self.mailbox.is_waiting() {
            while let Some(change) = self.mailbox.next(takes_plans) {
                self.apply(change);
            }
        }
        self.look(now);
        self.governor.begin(now);
        self.ledger.publish(self.governor.usage(), self.governor.kept());
    }

    /// Has links do what is due by time.
    pub(crate) fn look(&mut self, now: Instant) {
        for link in &mut self.exits.links {
            link.begin(now);
        }
    }

    /// Whether another policy waits to come into force.
    pub(crate) fn has_plan_waiting(&self) -> bool {
        self.mailbox.is_plan_next()
    }

    /// Whether the kernel's part of deciding is out of date: it was not asked for since the policy, or what is our own, changed.
    pub(crate) fn take_kernel_change(&mut self) -> bool {
        std::mem::take(&mut self.kernel_changed)
    }

    /// The policy as it is in force.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where copies go now.
    pub(crate) fn targets(&self) -> impl Iterator<Item = SocketAddr> {
        self.exits.links.iter().filter_map(Link::target)
    }

    fn apply(&mut self, change: Change) {
        self.kernel_changed = true;
        match change {
            Change::Plan { mut plan, exits } => {
                let unneeded = self.exits.rebuild(exits);
                plan.inherit(&mut self.plan);
                plan.join(&mut self.exits);
                self.governor.set(plan.policy.max_cpu, plan.policy.budget.shed);
                let old = std::mem::replace(&mut self.plan, *plan);
                self.mailbox.discard(Box::new((old, unneeded)));
                self.ledger.forget_gone();
            }
            Change::Exit { place, link } => {
                if let Some(old) = self.exits.replace(place, *link) {
                    self.mailbox.discard(Box::new(old));
                }
            }
            Change::Own(own) => {
                self.plan.set_own_traffic(&own);
                self.mailbox.discard(Box::new(own));
            }
        }
        self.mailbox.applied();
    }

    /// Takes one frame: puts its copy into the batch, or counts why there is none. Breaks when the batch is full.
    pub(crate) fn offer(&mut self, frame: &Frame<'_>) -> ControlFlow<()> {
        self.control.counters().read.add(1);
        let latest_ns = self.latest_ns.unwrap_or(frame.time_ns);
        self.gap_ns = self.gap_ns.saturating_add(frame.time_ns.saturating_sub(latest_ns));
        self.latest_ns = Some(latest_ns.max(frame.time_ns));
        match self.decide(frame) {
            Ok((direction, mirrored)) => self.take(frame, direction, mirrored),
            Err((reason, session)) => self.pass(frame, reason, session),
        }
        if self.slots.len() >= self.most_frames || self.used >= self.enough_bytes {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    #[inline]
    fn decide(&mut self, frame: &Frame<'_>) -> Result<(Direction, policy::Mirror), (SkipReason, Option<usize>)> {
        let direction = frame.direction.ok_or((SkipReason::DirectionUnknown, None))?;
        let decider = self.plan.deciders.get_mut(usize::from(frame.interface)).and_then(Option::as_mut);
        let decider = decider.ok_or((SkipReason::Unmatched, None))?;
        let view = FrameView::parse_outermost(frame.bytes);
        match decider.decide(direction, &view, (frame.time_ns / NANOSECONDS) as u32) {
            // Behind the decision, so that only what would be mirrored is looked through.
            Decision::Mirror(_) if self.is_live && self.plan.is_own_mirror(frame.bytes) => {
                Err((SkipReason::OwnMirror, None))
            }
            Decision::Mirror(mirrored) => Ok((direction, mirrored)),
            Decision::Pass(pass) => Err(match pass {
                Pass::Never(Excluded::Own) => (SkipReason::Own, None),
                Pass::Never(_) => (SkipReason::Never, None),
                Pass::Rejected(_) => (SkipReason::Rejected, None),
                Pass::Unmatched => (SkipReason::Unmatched, None),
                Pass::Sampled(session) => (SkipReason::Sample, Some(session)),
            }),
        }
    }

    /// Counts a frame that is not mirrored; it is a session's only where that would have taken it.
    fn pass(&self, frame: &Frame<'_>, reason: SkipReason, session: Option<usize>) {
        let bytes = u64::from(frame.wire_len);
        match (session.and_then(|session| self.plan.sessions.get(session)), frame.direction) {
            (Some(session), Some(direction)) => {
                session.ledger.direction(direction).skipped[reason as usize].add(1, bytes);
            }
            (_, direction) => self.ledger.pass(direction, reason, bytes),
        }
        self.control.counters().skipped[reason as usize].add(1);
    }

    /// Puts the copy of a frame that a session takes into the batch, unless something else comes first.
    fn take(&mut self, frame: &Frame<'_>, direction: Direction, mirrored: policy::Mirror) {
        let Self { plan, exits, governor, slots, buffer, .. } = self;
        let session = &mut plan.sessions[mirrored.session];
        let flow = flow_hash(self.hash, frame.bytes);
        let shed_hash = spread::mix(flow, spread::SHED);
        let place = plan.policy.targets[session.target].pick(mirrored.flow_hash);
        let way = session.ways[place];
        let link = &mut exits.links[usize::from(way.link)];
        let head = session.head.len();
        let longest = mirrored.length.min(MAX_FRAME_BYTES as u32);
        let limit = longest.min(governor.length()).min(plan.all.length()).min(session.meter.length()).max(1);
        let wanted = (frame.bytes.len() as u32).min(limit);
        let len = wanted.min(link.max_frame(head));
        let outer_len = link.outer_bytes() + u32::from(head) + len;
        // Only a source that does not stop when it is told to comes here with a full batch.
        let is_full = slots.len() == slots.capacity() || self.used >= self.enough_bytes;
        let admitted = admit(&mut session.meter, &mut plan.all, governor, shed_hash, frame.time_ns, outer_len, len)
            .and_then(|()| if is_full { Err(SkipReason::QueueFull) } else { link.admit() });
        if let Err(reason) = admitted {
            session.ledger.direction(direction).skipped[reason as usize].add(1, u64::from(wanted));
            self.control.counters().skipped[reason as usize].add(1);
            return;
        }
        session.meter.take(outer_len);
        plan.all.take(outer_len);
        let port = (flow % link.ports()) as u16;
        let header_at = self.used;
        let offset = header_at + usize::from(head);
        let copied = &frame.bytes[..wanted as usize];
        buffer[offset..offset + copied.len()].copy_from_slice(copied);
        let told_direction = mirror_direction(direction);
        session.head.write(&mut buffer[header_at..offset], || {
            let series = exits.number(usize::from(way.link), way.lane, port, told_direction);
            Mark {
                captured_ns: frame.time_ns,
                sequence: series.next,
                series: series.id,
                original_len: frame.wire_len,
                direction: Some(told_direction),
            }
        });
        self.used = offset + copied.len();
        slots.push(Slot {
            offset,
            frame_len: wanted,
            len,
            flow,
            port,
            link: way.link,
            head,
            tag: tag(mirrored.session, direction),
            gap_ns: std::mem::take(&mut self.gap_ns),
            captured_ns: frame.time_ns,
            wire_len: frame.wire_len,
            direction: Some(told_direction),
        });
    }

    /// Length in bytes of the outer headers of a copy, as far as they are the same for all: those of the first target.
    pub(crate) fn outer_bytes(&self) -> u32 {
        let head = self.plan.sessions.first().map_or(8, |session| u32::from(session.head.len()));
        self.exits.links.first().map_or(28, Link::outer_bytes) + head
    }

    /// How datagrams are sent now, on the link that does worst.
    pub(crate) fn method(&self) -> Method {
        self.exits.links.iter().map(Link::method).max().unwrap_or(Method::Batches)
    }

    /// The outer source ports of all links.
    pub(crate) fn source_ports(&self) -> Vec<u16> {
        self.exits.links.iter().flat_map(Link::source_ports).collect()
    }

    /// The frames of the batch, in order.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Sends `slots`, which are some of the batch, each once, and counts what became of them. Only with links that wait does `is_over` matter:
    /// the rest is then counted as stopped.
    pub(crate) fn send(&mut self, slots: &mut [Slot], is_over: &dyn Fn() -> bool) {
        let mut tally = SessionTally { sessions: &self.plan.sessions, counters: self.control.counters() };
        self.outbox.send(&mut self.exits.links, &self.buffer, slots, &mut tally, is_over);
    }

    /// Sends the whole batch.
    pub(crate) fn flush(&mut self) {
        let mut slots = std::mem::take(&mut self.slots);
        self.send(&mut slots, &|| false);
        self.slots = slots;
    }

    /// Counts `slots`, which are some of the batch, as not sent.
    pub(crate) fn abandon(&mut self, slots: &[Slot]) {
        let mut tally = SessionTally { sessions: &self.plan.sessions, counters: self.control.counters() };
        for slot in slots {
            tally.withheld(&[0], std::slice::from_ref(slot), SkipReason::Stopped);
        }
    }
}

/// Whether all budgets let a copy pass that makes an outer packet of `outer_len` bytes.
#[inline]
fn admit(
    session: &mut Meter,
    all: &mut Meter,
    governor: &mut Governor,
    shed_hash: u32,
    time_ns: u64,
    outer_len: u32,
    len: u32,
) -> Result<(), SkipReason> {
    if !governor.keeps(shed_hash, len) {
        return Err(SkipReason::CpuBudget);
    }
    session.check(shed_hash, time_ns, outer_len, len)?;
    all.check(shed_hash, time_ns, outer_len, len)
}

const fn mirror_direction(direction: Direction) -> MirrorDirection {
    match direction {
        Direction::Inbound => MirrorDirection::Ingress,
        Direction::Outbound => MirrorDirection::Egress,
    }
}

/// Says of a slot whose it is: session and direction.
const fn tag(session: usize, direction: Direction) -> u16 {
    (session * 2 + ledger::index(direction)) as u16
}

/// Counts by session and direction what became of a batch, and once more in the run's own counters.
struct SessionTally<'a> {
    sessions: &'a [SessionRun],
    counters: &'a Counters,
}

impl SessionTally<'_> {
    fn ledger(&self, slot: &Slot) -> &ledger::DirectionLedger {
        let direction = Direction::BOTH[usize::from(slot.tag & 1)];
        self.sessions[usize::from(slot.tag >> 1)].ledger.direction(direction)
    }
}

impl Tally for SessionTally<'_> {
    fn sent(&mut self, members: &[u16], slots: &[Slot], outer: u32) {
        let (mut frames, mut heads) = (0, 0);
        for member in members {
            let slot = &slots[usize::from(*member)];
            let ledger = self.ledger(slot);
            ledger.mirrored.add(1, u64::from(slot.len));
            frames += u64::from(slot.len);
            heads += u64::from(slot.head);
            if slot.len < slot.frame_len {
                self.counters.truncated_mtu.add(1);
                ledger.truncated.add(1);
            } else if slot.frame_len < slot.wire_len {
                self.counters.truncated_packet_length.add(1);
                ledger.truncated.add(1);
            }
        }
        self.counters.count_sent(members.len() as u64, frames, heads, outer);
        self.counters.messages.add(1);
    }

    fn failed(&mut self, members: &[u16], slots: &[Slot], fault: SendFault) {
        for member in members {
            let slot = &slots[usize::from(*member)];
            self.ledger(slot).failed[fault as usize].add(1, u64::from(slot.len));
        }
        self.counters.send_errors[fault as usize].add(members.len() as u64);
    }

    fn withheld(&mut self, members: &[u16], slots: &[Slot], reason: SkipReason) {
        for member in members {
            let slot = &slots[usize::from(*member)];
            self.ledger(slot).skipped[reason as usize].add(1, u64::from(slot.len));
        }
        self.counters.skipped[reason as usize].add(members.len() as u64);
    }
}

#[cfg(test)]
mod tests;
