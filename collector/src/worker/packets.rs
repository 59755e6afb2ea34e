//! Frames of a raw mirror: told apart from this machine's own traffic, with their VLAN tags where they were.

use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use arrayvec::ArrayVec;
use ipnet::IpNet;
use vxtap_analyzers::{BATCH_MAX, DropReason, PacketMeta, StreamKey};
use vxtap_ring::{Condition, Frame};
use vxtap_wire::envelope::{Kind, is_fragment_of_datagram, outer_datagram};
use vxtap_wire::{Link, outermost_addresses};

use super::{Opening, Sorting};
use crate::local_addresses::{AddressSet, LocalAddresses};
use crate::pipeline::{Entrant, FrameBatch};
use crate::receive::{Datagram, PacketSource};

/// MAC addresses, behind which a VLAN tag is.
const MACS_LEN: usize = 12;

/// The rings of one worker, and what tells mirrored frames from others.
pub(crate) struct PacketIntake {
    sources: Vec<PacketSource>,
    /// Empty where there is no ring.
    local: Arc<LocalAddresses>,
    addresses: Arc<AddressSet>,
    generation: u64,
    /// Who asks whether this machine is well.
    probes: Vec<IpNet>,
    /// Frames of a batch with their tags back in place.
    tagged: Vec<u8>,
}

/// A frame of a ring that is to be looked at.
struct Taken<'a> {
    frame: Frame<'a>,
    /// Where it is in `tagged`.
    tagged: Option<Range<usize>>,
    /// What is to be taken off it.
    tunnel: Option<Kind>,
}

/// What came out of rings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TakenCount {
    /// Frames.
    pub(super) received: u64,
    /// Whether there may be more.
    pub(super) more: bool,
}

impl PacketIntake {
    /// One that takes from `sources` what is not for one of the `local` addresses; what is, and comes from `probes`, are
    /// health probes.
    pub(crate) fn new(sources: Vec<PacketSource>, local: Arc<LocalAddresses>, probes: Vec<IpNet>) -> Self {
        let (generation, addresses) = (local.generation(), local.get());
        Self { sources, local, addresses, generation, probes, tagged: Vec::new() }
    }

    /// Whether it has no ring.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Readable when there are frames.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> + Clone {
        self.sources.iter().map(PacketSource::fd)
    }

    /// Bytes of all rings.
    pub(super) fn buffer_bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.buffer_bytes).sum()
    }

    /// Frames that rings had no room for. Asks the kernel.
    pub(super) fn kernel_drops(&self) -> u64 {
        self.sources.iter().map(PacketSource::kernel_drops).sum()
    }

    /// Says so in the log where an interface went or came.
    pub(super) fn tell_conditions(&mut self) {
        for source in &mut self.sources {
            let interface = source.interface;
            match source.changed() {
                Some(Condition::Up) => tracing::info!("interface {interface} is up again"),
                Some(Condition::Down) => tracing::warn!("interface {interface} is down: nothing comes by it"),
                Some(Condition::Gone) => {
                    tracing::error!(
                        "interface {interface} is gone: nothing comes by it until the collector is started again"
                    );
                }
                None => {}
            }
        }
    }

    /// Takes a block out of each ring that has one.
    pub(super) fn take(&mut self, sorting: &mut Sorting<'_>, opening: Opening) -> TakenCount {
        if self.local.generation() != self.generation {
            // In this order: what changes in between is taken again.
            self.generation = self.local.generation();
            self.addresses = self.local.get();
        }
        let Self { sources, addresses, probes, tagged, .. } = self;
        let mut count = TakenCount::default();
        for source in sources {
            let (key, decapsulate) = (StreamKey::packet(source.interface), source.decapsulate);
            let Some(block) = source.next_block() else { continue };
            count.more = true;
            let mut frames = block.frames();
            loop {
                tagged.clear();
                let mut batch: ArrayVec<Taken<'_>, BATCH_MAX> = ArrayVec::new();
                let mut came = 0;
                for frame in frames.by_ref().take(BATCH_MAX) {
                    came += 1;
                    sorting.pipeline.ledger.received_bytes += frame.bytes.len() as u64;
                    let tunnel = if decapsulate { tunnel(frame.bytes) } else { None };
                    if tunnel.is_none()
                        && let Some(mut reason) = not_mirrored(frame.bytes, addresses, probes)
                    {
                        // To be mirrored traffic of a tunnel it would have to be whole.
                        if decapsulate && is_fragment_of_datagram(Link::Ethernet, frame.bytes) {
                            reason = DropReason::OuterFragment;
                        }
                        sorting.pipeline.ledger.drop_one(reason);
                        continue;
                    }
                    let tagged = restore_tag(&frame, tagged);
                    batch.push(Taken { frame, tagged, tunnel });
                }
                if came == 0 {
                    break;
                }
                sorting.pipeline.ledger.received += came;
                count.received += came;
                sort(sorting, opening, key, &batch, tagged);
            }
        }
        count
    }
}

/// Why a frame is none of the mirror's: it is for this machine.
#[inline]
fn not_mirrored(frame: &[u8], addresses: &AddressSet, probes: &[IpNet]) -> Option<DropReason> {
    let (source, destination) = outermost_addresses(frame)?;
    if !addresses.contains(&destination) {
        return None;
    }
    let probe = |source: IpAddr| probes.iter().any(|prefix| prefix.contains(&source));
    Some(if probe(source) { DropReason::HealthProbe } else { DropReason::OwnTraffic })
}

/// Appends `frame` to `tagged` with the VLAN tag that was taken out of it; gives where it is. `None` where there was no tag.
#[inline]
fn restore_tag(frame: &Frame<'_>, tagged: &mut Vec<u8>) -> Option<Range<usize>> {
    let tag = frame.vlan?;
    let (macs, rest) = frame.bytes.split_at_checked(MACS_LEN)?;
    let start = tagged.len();
    tagged.extend_from_slice(macs);
    tagged.extend_from_slice(&tag.to_bytes());
    tagged.extend_from_slice(rest);
    Some(start..tagged.len())
}

/// What a frame has around it on the port of an encapsulation.
fn tunnel(frame: &[u8]) -> Option<Kind> {
    let port = outer_datagram(Link::Ethernet, frame)?.destination_port;
    [Kind::Vxlan, Kind::Geneve, Kind::VxlanGpe].into_iter().find(|kind| kind.port() == port)
}

/// Takes the frames of a batch to where they belong.
fn sort(sorting: &mut Sorting<'_>, opening: Opening, key: StreamKey, batch: &[Taken<'_>], tagged: &[u8]) {
    let mut frames = FrameBatch::new();
    for Taken { frame, tagged: place, tunnel } in batch {
        let bytes = place.clone().and_then(|place| tagged.get(place)).unwrap_or(frame.bytes);
        if let Some(kind) = *tunnel
            && let Some(outer) = outer_datagram(Link::Ethernet, bytes)
        {
            let (source, payload) = (outer.source, outer.payload);
            let datagram = Datagram { source, payload, time_ns: Some(frame.time_ns), truncated: false };
            if let Some((entrant, reserved)) = opening.open(sorting.pipeline, kind, &datagram, frame.time_ns, &mut None)
            {
                sorting.sort(&entrant, reserved, &mut frames);
            }
            continue;
        }
        let wire_len = frame.wire_len + (bytes.len() - frame.bytes.len()) as u32;
        let Some(entry) = sorting.pipeline.admit(key, frame.time_ns, bytes.len()) else { continue };
        let meta = PacketMeta { time_ns: frame.time_ns, stream: entry.id, network: entry.network };
        let entrant = Entrant { meta, link: Link::Ethernet, bytes, wire_len };
        sorting.sort(&entrant, false, &mut frames);
    }
    sorting.analyse(&frames);
}

#[cfg(test)]
mod tests;
