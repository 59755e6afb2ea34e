//! Frames of interfaces as they cross them, each as it is on a wire.
//!
//! One thread reads the rings of all interfaces in turn. Frames of several interfaces then share trains towards the target,
//! one budget holds for all, and mirroring takes one core of the host at the most.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use vxtap_filter::{Filter, Packet};
use vxtap_ring::{Condition, Frame, FrameMut, Interface, LinkKind, Ring, Settings, Statistics, VlanTag, Wait};
use vxtap_wire::BpfInstruction;

use super::Way;
use super::error::CaptureError;
use super::guard::{LoopGuard, Wanted};
use super::segment::{Segments, finished_checksum};
use crate::control::Counters;
use crate::policy::LOOKED_THROUGH;
use crate::summary::SkipReason;

/// Blocks of one ring in a row, so that a busy interface does not keep the others waiting.
const MOST_BLOCKS: usize = 8;
/// How often interfaces are looked after without a sign of trouble, and counts of the rings taken.
const LOOK_AFTER: Duration = Duration::from_secs(1);
const BLOCK_BYTES: u32 = 1 << 19;
const TAG_LEN: usize = 4;
const MACS_LEN: usize = 12;

/// One packet as it is on a wire, lent for as long as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Captured<'a> {
    /// From the Ethernet header on, with its VLAN tag; at least as far as it was asked for. Never empty.
    pub(crate) bytes: &'a [u8],
    /// Length on the wire in bytes, at least that of `bytes`.
    pub(crate) wire_len: u32,
    /// When it crossed the interface, in nanoseconds since 1970.
    pub(crate) time_ns: u64,
    /// Whether it left by the interface.
    pub(crate) is_outgoing: bool,
    /// Index of the interface among those that were asked for.
    pub(crate) interface: u16,
}

impl<'a> Captured<'a> {
    fn of(frame: &Frame<'a>, interface: u16) -> Self {
        Self {
            bytes: frame.bytes,
            wire_len: frame.wire_len,
            time_ns: frame.time_ns,
            is_outgoing: frame.packet_type.is_outgoing(),
            interface,
        }
    }
}

/// What is captured.
pub(crate) struct LiveSettings<'a> {
    /// Names of interfaces.
    pub(crate) interfaces: &'a [String],
    /// Which way frames go.
    pub(crate) way: Way,
    /// What is never captured.
    pub(crate) guard: LoopGuard,
    /// Which frames are wanted; decided in the kernel, but for frames that its program cannot be right about.
    pub(crate) filter: Option<Filter>,
    /// So many bytes of each frame are needed.
    pub(crate) longest: usize,
    /// Bytes of each interface's ring, rounded up to whole blocks.
    pub(crate) ring_bytes: u32,
}

/// Rings on interfaces, and what makes packets of what comes.
pub(crate) struct Live<'a> {
    taps: Vec<Tap>,
    /// The tap whose turn it is.
    turn: usize,
    wait: Wait,
    maker: Maker<'a>,
    guard: LoopGuard,
    way: Way,
    looked_after: Instant,
    is_closing: bool,
}

/// One interface.
struct Tap {
    name: String,
    ring: Ring,
    /// Index of the interface that the ring is bound to.
    index: u32,
    condition: Condition,
    kind: LinkKind,
    /// Decides in the kernel which frames are wanted, and how much of them.
    program: Option<Vec<BpfInstruction>>,
    counted: Statistics,
    /// Packets of the next super-frame that were given already.
    given: usize,
}

impl<'a> Live<'a> {
    /// Opens a ring on each interface, all of which must be there. Frames come from now on.
    pub(crate) fn open(settings: LiveSettings<'_>, counters: &'a Counters) -> Result<Self, CaptureError> {
        let LiveSettings { interfaces, way, guard, filter, longest, ring_bytes } = settings;
        // What has no program is decided here alone.
        let program = filter.as_ref().and_then(|filter| filter.program(u32::MAX).ok());
        let maker = Maker {
            decides_all: filter.is_some() && program.is_none(),
            filter,
            longest: needed(longest),
            scratch: vec![0; BLOCK_BYTES as usize + TAG_LEN],
            counters,
        };
        let (wait, _) = Wait::new().map_err(CaptureError::Wait)?;
        let mut live = Self {
            taps: Vec::with_capacity(interfaces.len()),
            turn: 0,
            wait,
            maker,
            guard,
            way,
            looked_after: Instant::now(),
            is_closing: false,
        };
        for name in interfaces {
            let interface = Interface::named(name)?;
            if let LinkKind::Other(kind) = interface.kind {
                return Err(CaptureError::NoEthernet { name: name.clone(), kind });
            }
            let settings = Settings {
                block_bytes: BLOCK_BYTES,
                blocks: ring_bytes.div_ceil(BLOCK_BYTES).max(2),
                ignore_outgoing: way == Way::In && interface.kind != LinkKind::Loopback,
                filter: &live.kernel_program(interface.kind, program.as_deref()),
                ..Settings::default()
            };
            let ring = Ring::open(&settings)?;
            ring.bind(interface.index)?;
            let condition = ring.condition();
            if condition != Condition::Up {
                tracing::warn!("interface {name} is down; its frames are captured once it is up");
            }
            let (index, kind) = (interface.index, interface.kind);
            live.taps.push(Tap {
                name: name.clone(),
                ring,
                index,
                condition,
                kind,
                program: program.clone(),
                counted: Statistics::default(),
                given: 0,
            });
        }
        Ok(live)
    }

    fn kernel_program(&self, kind: LinkKind, program: Option<&[BpfInstruction]>) -> Vec<vxtap_ring::Instruction> {
        let is_loopback = kind == LinkKind::Loopback;
        self.guard.program(Wanted { way: self.way, is_loopback, program })
    }

    /// From now on the kernel decides otherwise: what is refused on all interfaces, what is wanted of each (`programs`, as long as
    /// there are; the rest wants all), and how many bytes. Frames that are in the rings were decided on before.
    pub(crate) fn decide(
        &mut self,
        guard: LoopGuard,
        mut programs: Vec<Option<Vec<BpfInstruction>>>,
        longest: usize,
    ) -> Result<(), CaptureError> {
        self.guard = guard;
        self.maker.longest = needed(longest);
        programs.resize(self.taps.len(), None);
        for (place, program) in programs.into_iter().enumerate() {
            let kernel = self.kernel_program(self.taps[place].kind, program.as_deref());
            self.taps[place].ring.set_filter(&kernel)?;
            self.taps[place].program = program;
        }
        Ok(())
    }

    /// Gives `sink` the packets that are there, those of one interface in their order, until it breaks; that packet is taken,
    /// too. Waits for the first for `patience` at most, and may return without one. Gives whether there may be more.
    pub(crate) fn give(&mut self, patience: Duration, mut sink: impl FnMut(&Captured<'_>) -> ControlFlow<()>) -> bool {
        let mut has_waited = patience.is_zero();
        loop {
            let mut blocks = 0;
            for _ in 0..self.taps.len() {
                let (tap, at) = (&mut self.taps[self.turn], self.turn as u16);
                let (more, flow) = tap.read(at, &mut self.maker, &mut sink);
                blocks += more;
                if flow.is_break() {
                    return true;
                }
                self.turn = if self.turn + 1 == self.taps.len() { 0 } else { self.turn + 1 };
            }
            if blocks > 0 || has_waited {
                return blocks > 0;
            }
            let is_troubled = self.wait.wait(self.taps.iter().map(|tap| &tap.ring), patience);
            has_waited = true;
            if is_troubled || self.looked_after.elapsed() >= LOOK_AFTER {
                self.look_after();
            }
        }
    }

    /// Names of the interfaces.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.taps.iter().map(|tap| tap.name.as_str())
    }

    /// Has no more frames come; those that are in the rings are still given.
    pub(crate) fn close(&mut self) {
        let refuse = LoopGuard::refuse_all();
        for tap in &self.taps {
            if let Err(error) = tap.ring.set_filter(&refuse) {
                tracing::warn!("{}: {error}", tap.name);
            }
        }
        self.is_closing = true;
    }

    /// How long a frame may be in a ring before it is given.
    pub(crate) fn latency() -> Duration {
        Settings::default().retire * 3
    }

    /// Takes what the rings have counted, and looks for interfaces that went or came back.
    pub(crate) fn look_after(&mut self) {
        self.looked_after = Instant::now();
        for place in 0..self.taps.len() {
            let tap = &mut self.taps[place];
            tap.count(&self.maker.counters.capture);
            if self.is_closing {
                continue;
            }
            let condition = tap.ring.condition();
            if condition != tap.condition {
                match condition {
                    // As loud as the news that it was gone, or whoever was woken by that would wait on.
                    Condition::Up => tracing::warn!("interface {} is up again", tap.name),
                    Condition::Down => tracing::warn!("interface {} is down; waiting for it", tap.name),
                    Condition::Gone => tracing::warn!("interface {} is gone; waiting for it", tap.name),
                }
                if tap.condition == Condition::Up {
                    self.maker.counters.capture.interfaces_lost.add(1);
                }
                tap.condition = condition;
            }
            // Under a name there may be another interface than before, also where the one before has only been renamed.
            let current = Interface::index_of(&tap.name);
            if current.is_some_and(|index| index != tap.index)
                && let Err(error) = self.bind_again(place)
            {
                tracing::warn!("{}: {error}; trying again", self.taps[place].name);
            }
        }
    }

    /// Binds a tap to the interface that has its name now. Takes no privilege.
    fn bind_again(&mut self, place: usize) -> Result<(), CaptureError> {
        let interface = Interface::named(&self.taps[place].name)?;
        let program = self.kernel_program(interface.kind, self.taps[place].program.as_deref());
        let tap = &mut self.taps[place];
        if let LinkKind::Other(kind) = interface.kind {
            return Err(CaptureError::NoEthernet { name: interface.name, kind });
        }
        tap.ring.set_filter(&program)?;
        tap.ring.bind(interface.index)?;
        (tap.index, tap.kind) = (interface.index, interface.kind);
        if tap.condition == Condition::Up {
            self.maker.counters.capture.interfaces_lost.add(1);
        }
        tap.condition = tap.ring.condition();
        self.maker.counters.capture.interfaces_back.add(1);
        tracing::warn!("interface {} is back", tap.name);
        Ok(())
    }
}

impl Tap {
    /// Gives the packets of up to [`MOST_BLOCKS`] blocks. Gives how many blocks there were, and whether `sink` broke.
    fn read(
        &mut self,
        interface: u16,
        maker: &mut Maker<'_>,
        sink: &mut impl FnMut(&Captured<'_>) -> ControlFlow<()>,
    ) -> (usize, ControlFlow<()>) {
        for blocks in 0..MOST_BLOCKS {
            let Some(mut block) = self.ring.next_block() else { return (blocks, ControlFlow::Continue(())) };
            let mut frames = 0;
            for mut frame in block.frames_mut() {
                let (given, flow) = maker.make(&mut frame, interface, self.given, sink);
                self.given = given;
                if given == 0 {
                    frames += 1;
                }
                if flow.is_break() {
                    maker.counters.capture.frames.add(frames as u64);
                    block.pause(frames);
                    return (blocks + 1, flow);
                }
            }
            maker.counters.capture.frames.add(frames as u64);
        }
        (MOST_BLOCKS, ControlFlow::Continue(()))
    }

    fn count(&mut self, captured: &crate::capture::CaptureCounters) {
        let counted = self.ring.statistics();
        captured.ring_frames.add(counted.received - self.counted.received);
        captured.ring_dropped.add(counted.dropped - self.counted.dropped);
        if counted.dropped > self.counted.dropped {
            let lost = counted.dropped - self.counted.dropped;
            tracing::debug!("interface {}: {lost} frames found no room in the ring", self.name);
        }
        self.counted = counted;
    }
}

/// How many bytes of a frame are needed where `longest` are sent: a copy that another tunnel carries stands behind that one's headers.
fn needed(longest: usize) -> usize {
    longest.max(LOOKED_THROUGH)
}

/// Makes packets of frames.
struct Maker<'a> {
    filter: Option<Filter>,
    /// The kernel has not decided on any frame.
    decides_all: bool,
    longest: usize,
    /// Where a packet is put together that is nowhere as a whole.
    scratch: Vec<u8>,
    counters: &'a Counters,
}

impl Maker<'_> {
    /// Gives the packets of `frame`, without the first `given`. Gives how many of them are done where `sink` broke before the last,
    /// and 0 where the whole frame is.
    #[inline]
    fn make(
        &mut self,
        frame: &mut FrameMut<'_>,
        interface: u16,
        given: usize,
        sink: &mut impl FnMut(&Captured<'_>) -> ControlFlow<()>,
    ) -> (usize, ControlFlow<()>) {
        let known = frame.frame();
        let (vlan, offload) = (known.vlan, known.offload);
        if given == 0 && self.filter.is_some() && (self.decides_all || vlan.is_some()) && !self.wants(&known) {
            self.counters.skip(SkipReason::Filter);
            return (0, ControlFlow::Continue(()));
        }
        if known.bytes.len() < MACS_LEN {
            self.counters.skip(SkipReason::EmptyFrame);
            return (0, ControlFlow::Continue(()));
        }
        if offload.super_frame.is_some() {
            return self.cut(&known, interface, given, sink);
        }
        if let Some(checksum) = offload.checksum {
            let is_whole = known.bytes.len() == known.wire_len as usize;
            let finished = if is_whole { finished_checksum(known.bytes, checksum) } else { None };
            match finished {
                // In the ring itself: the memory is ours until the block is given back.
                Some((place, checksum)) => frame.bytes_mut()[place..place + 2].copy_from_slice(&checksum),
                None => self.counters.capture.checksums_unknown.add(1),
            }
        }
        let known = frame.frame();
        let captured = Captured::of(&known, interface);
        if vlan.is_none() {
            return (0, sink(&captured));
        }
        // No more is copied than somebody will look at.
        let len = known.bytes.len().min(self.longest.max(MACS_LEN + TAG_LEN));
        self.scratch[TAG_LEN..TAG_LEN + len].copy_from_slice(&known.bytes[..len]);
        let start = self.put_tag(vlan);
        let bytes = &self.scratch[start..TAG_LEN + len];
        (0, sink(&Captured { bytes, wire_len: known.wire_len + TAG_LEN as u32, ..captured }))
    }

    fn cut(
        &mut self,
        frame: &Frame<'_>,
        interface: u16,
        given: usize,
        sink: &mut impl FnMut(&Captured<'_>) -> ControlFlow<()>,
    ) -> (usize, ControlFlow<()>) {
        let captured = Captured::of(frame, interface);
        let Some(segments) = Segments::of(frame.bytes, frame.wire_len, &frame.offload, captured.is_outgoing) else {
            self.counters.skip(SkipReason::SuperFrame);
            return (0, ControlFlow::Continue(()));
        };
        let count = segments.count();
        if given == 0 {
            self.counters.capture.super_frames.add(1);
            self.counters.capture.cut_into.add(count as u64);
        }
        let tag = if frame.vlan.is_some() { TAG_LEN } else { 0 };
        for index in given..count {
            let len = segments.len(index);
            let room = len.min(self.longest.max(MACS_LEN + TAG_LEN));
            let written = segments.write(index, &mut self.scratch[TAG_LEN..TAG_LEN + room]);
            if !segments.is_whole(index) {
                self.counters.capture.checksums_unknown.add(1);
            }
            let start = self.put_tag(frame.vlan);
            let bytes = &self.scratch[start..TAG_LEN + written];
            if sink(&Captured { bytes, wire_len: (len + tag) as u32, ..captured }).is_break() {
                let done = index + 1;
                return (if done == count { 0 } else { done }, ControlFlow::Break(()));
            }
        }
        (0, ControlFlow::Continue(()))
    }

    /// Puts `vlan` behind the addresses of the packet that begins behind room for it. Gives where the packet begins then.
    fn put_tag(&mut self, vlan: Option<VlanTag>) -> usize {
        let Some(vlan) = vlan else { return TAG_LEN };
        self.scratch.copy_within(TAG_LEN..TAG_LEN + MACS_LEN, 0);
        self.scratch[MACS_LEN..MACS_LEN + TAG_LEN].copy_from_slice(&vlan.to_bytes());
        0
    }

    /// Whether the filter wants `frame`, as tcpdump would decide: on a super-frame as a whole, with its tag in its place.
    #[cold]
    fn wants(&mut self, frame: &Frame<'_>) -> bool {
        let (mut bytes, mut wire_len) = (frame.bytes, frame.wire_len);
        if frame.vlan.is_some() && bytes.len() >= MACS_LEN {
            let end = TAG_LEN + bytes.len();
            self.scratch[TAG_LEN..end].copy_from_slice(bytes);
            self.put_tag(frame.vlan);
            (bytes, wire_len) = (&self.scratch[..end], wire_len + TAG_LEN as u32);
        }
        let packet = Packet { frame: bytes, wire_len, ..Packet::default() };
        self.filter.as_ref().is_none_or(|filter| filter.matches(&packet))
    }
}

#[cfg(test)]
mod tests;
