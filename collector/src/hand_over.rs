//! Frames on their way from the worker that received them to the worker that owns their flow; and packets from the one that put them together of
//! fragments.
//!
//! Frames travel in parcels: one buffer with many frames, copied once. Parcels come back empty and are used again, so that
//! steady traffic allocates nothing. Each worker's inbox holds [`INBOX_PARCELS`] parcels; what does not fit is dropped and
//! counted. A parcel that finds the inbox full waits, and takes more frames
//! meanwhile: many small parcels must not fill an inbox that has room for many frames.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use vxtap_analyzers::{PacketMeta, Shown, StreamId, WholePacket};
use vxtap_wire::{Link, NetworkId};

use crate::pipeline::Entrant;
use crate::receive::Waker;

/// Bytes after which a parcel is sent; one frame may be longer.
const PARCEL_BYTES: usize = 64 << 10;
/// Parcels that wait for one worker at the most.
const INBOX_PARCELS: usize = 64;
/// Empty parcels that are kept for each worker at the most.
const SPARE_PARCELS: usize = 16;
/// Bytes in front of each frame or packet: time, stream, network, length on the wire, length, what it is.
const HEAD_BYTES: usize = 28;
/// What it is, of a packet: this bit, and what its last fragment has shown. Of a frame, the number of its link.
const WHOLE: u32 = 1 << 31;

/// What travels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    /// A frame, to be counted as analysed where it arrives.
    Frame(Entrant<'a>),
    /// A packet whose frames were counted where they came.
    Whole(WholePacket<'a>),
}

/// Frames for one worker.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    bytes: Vec<u8>,
    items: u64,
}

impl Item<'_> {
    const fn bytes(&self) -> &[u8] {
        match self {
            Item::Frame(frame) => frame.bytes,
            Item::Whole(packet) => packet.bytes,
        }
    }
}

impl Parcel {
    fn push(&mut self, item: &Item<'_>) {
        let (meta, wire_len, kind) = match item {
            Item::Frame(frame) => (&frame.meta, frame.wire_len, frame.link.number() as u32),
            Item::Whole(packet) => (&packet.meta, packet.wire_len, WHOLE | u32::from(packet.shown.to_bits())),
        };
        let bytes = item.bytes();
        self.bytes.reserve(HEAD_BYTES + bytes.len());
        let PacketMeta { time_ns, stream, network } = meta;
        self.bytes.extend_from_slice(&time_ns.to_ne_bytes());
        for word in [stream.0, network.0, wire_len, bytes.len() as u32, kind] {
            self.bytes.extend_from_slice(&word.to_ne_bytes());
        }
        self.bytes.extend_from_slice(bytes);
        self.items += 1;
    }

    /// What is in it, in the order it was put in.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<HEAD_BYTES>()?;
            let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (bytes, following) = tail.split_at_checked(word(20) as usize)?;
            rest = following;
            let time_ns = u64::from_ne_bytes(*head.first_chunk()?);
            let meta = PacketMeta { time_ns, stream: StreamId(word(8)), network: NetworkId(word(12)) };
            let (wire_len, kind) = (word(16), word(24));
            if kind & WHOLE != 0 {
                let shown = Shown::of_bits(kind as u16);
                return Some(Item::Whole(WholePacket { meta, wire_len, shown, bytes }));
            }
            let link = *Link::ALL.get(kind as usize)?;
            Some(Item::Frame(Entrant { meta, link, bytes, wire_len }))
        })
    }
}

/// Where one worker's parcels arrive.
#[derive(Debug)]
pub(crate) struct Inbox {
    parcels: Receiver<Parcel>,
    spare: Sender<Parcel>,
}

impl Inbox {
    /// The next parcel, if there is one.
    pub(crate) fn next(&self) -> Option<Parcel> {
        self.parcels.try_recv().ok()
    }

    /// Whether nothing has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Gives an empty parcel back for use.
    pub(crate) fn give_back(&self, mut parcel: Parcel) {
        parcel.bytes.clear();
        parcel.items = 0;
        // With the store full the buffer is freed.
        let _ = self.spare.try_send(parcel);
    }
}

/// Where one thread puts what is for other workers.
#[derive(Debug)]
pub(crate) struct Outbox {
    lanes: Vec<Lane>,
    spare: Receiver<Parcel>,
}

#[derive(Debug)]
struct Lane {
    pending: Parcel,
    inbox: Sender<Parcel>,
    waker: Option<Waker>,
}

impl Outbox {
    /// Adds `item` to what `worker` gets. Gives whether it was taken; it is not when the inbox is full and a whole
    /// parcel is waiting for it already.
    pub(crate) fn push(&mut self, worker: u32, item: &Item<'_>) -> bool {
        let lane = &mut self.lanes[worker as usize];
        let full = lane.pending.bytes.len() + HEAD_BYTES + item.bytes().len() > PARCEL_BYTES;
        if full && !lane.send(&self.spare) {
            return false;
        }
        lane.pending.push(item);
        true
    }

    /// Sends what is pending. Gives whether all of it could be sent; the rest stays pending, and the parcels of a worker
    /// that is behind grow until they are full.
    pub(crate) fn flush(&mut self) -> bool {
        // Every lane gets its turn, also behind one that is full.
        let mut all = true;
        for lane in &mut self.lanes {
            all &= lane.send(&self.spare);
        }
        all
    }
}

impl Lane {
    fn send(&mut self, spare: &Receiver<Parcel>) -> bool {
        if self.pending.items == 0 {
            return true;
        }
        let parcel = std::mem::take(&mut self.pending);
        let refused = self.inbox.try_send(parcel).map_err(TrySendError::into_inner);
        if let Some(waker) = &self.waker {
            waker.wake();
        }
        match refused {
            Ok(()) => {
                self.pending = spare.try_recv().unwrap_or_default();
                true
            }
            Err(parcel) => {
                self.pending = parcel;
                false
            }
        }
    }
}

/// An inbox and an outbox for each of `workers` workers. `wakers`, one for each worker, are called when something arrives.
pub(crate) fn connect(workers: u32, wakers: &[Waker]) -> (Vec<Inbox>, Vec<Outbox>) {
    let (spare_in, spare_out) = bounded(workers as usize * SPARE_PARCELS);
    let (inboxes, parcels): (Vec<_>, Vec<_>) = (0..workers)
        .map(|_| {
            let (sender, receiver) = bounded(INBOX_PARCELS);
            (Inbox { parcels: receiver, spare: spare_in.clone() }, sender)
        })
        .unzip();
    let outboxes = (0..workers).map(|_| {
        let lanes = parcels.iter().enumerate().map(|(worker, inbox)| Lane {
            pending: Parcel::default(),
            inbox: inbox.clone(),
            waker: wakers.get(worker).cloned(),
        });
        Outbox { lanes: lanes.collect(), spare: spare_out.clone() }
    });
    (inboxes, outboxes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(time_ns: u64, bytes: &[u8]) -> Item<'_> {
        let meta = PacketMeta { time_ns, stream: StreamId(3), network: NetworkId(4) };
        let link = if time_ns.is_multiple_of(2) { Link::Ethernet } else { Link::Ip };
        Item::Frame(Entrant { meta, wire_len: 99, link, bytes })
    }

    #[test]
    fn frames_arrive_in_order_with_what_is_known_of_them() {
        let (inboxes, mut outboxes) = connect(2, &[]);
        for at in 0..10u8 {
            assert!(outboxes[0].push(1, &frame(u64::from(at), &[at; 5])));
        }
        assert!(inboxes[1].is_empty(), "nothing is sent before the parcel is full or flushed");
        assert!(outboxes[0].flush());
        let parcel = inboxes[1].next().unwrap();
        let seen: Vec<_> = parcel
            .items()
            .map(|item| {
                let Item::Frame(frame) = item else { panic!("{item:?}") };
                (frame.meta.time_ns, frame.wire_len, frame.link == Link::Ip, frame.bytes.to_vec())
            })
            .collect();
        assert_eq!(seen, (0..10u8).map(|at| (u64::from(at), 99, at % 2 == 1, vec![at; 5])).collect::<Vec<_>>());
        assert!(inboxes[0].is_empty());
    }

    #[test]
    fn a_whole_packet_arrives_among_frames_with_what_its_last_fragment_has_shown() {
        let (inboxes, mut outboxes) = connect(2, &[]);
        let meta = PacketMeta { time_ns: 7, stream: StreamId(3), network: NetworkId(4) };
        let shown = Shown::of_bits(0x102);
        let whole = WholePacket { meta, wire_len: 1514, shown, bytes: &[0x45; 3000] };
        for item in [frame(1, &[0]), Item::Whole(whole), frame(2, &[0])] {
            assert!(outboxes[0].push(1, &item));
        }
        outboxes[0].flush();
        let parcel = inboxes[1].next().unwrap();
        let items: Vec<_> = parcel.items().collect();
        let [Item::Frame(_), Item::Whole(arrived), Item::Frame(_)] = &items[..] else { panic!("{items:?}") };
        assert_eq!((arrived.meta.time_ns, arrived.meta.stream, arrived.meta.network), (7, StreamId(3), NetworkId(4)));
        assert_eq!((arrived.wire_len, arrived.shown, arrived.bytes), (1514, shown, whole.bytes));
    }

    #[test]
    fn a_full_inbox_refuses_and_every_frame_is_taken_or_refused() {
        let (inboxes, mut outboxes) = connect(1, &[]);
        let payload = vec![7; 1000];
        let pushed = 20_000;
        let refused = (0..pushed).filter(|at| !outboxes[0].push(0, &frame(*at, &payload))).count() as u64;
        assert!(!outboxes[0].flush());
        let mut arrived = 0;
        while let Some(parcel) = inboxes[0].next() {
            arrived += parcel.items().count() as u64;
            outboxes[0].flush();
        }
        assert!(refused > 0 && arrived > 0);
        assert_eq!(arrived + refused, pushed);
    }

    #[test]
    fn small_parcels_for_a_worker_that_is_behind_grow_instead_of_being_dropped() {
        let (inboxes, mut outboxes) = connect(1, &[]);
        for at in 0..10 * INBOX_PARCELS as u64 {
            assert!(outboxes[0].push(0, &frame(at, &[1; 60])), "frame {at}");
            outboxes[0].flush();
        }
        let mut arrived = 0;
        while let Some(parcel) = inboxes[0].next() {
            arrived += parcel.items().count();
            outboxes[0].flush();
        }
        assert_eq!(arrived, 10 * INBOX_PARCELS);
    }

    #[test]
    fn a_frame_longer_than_a_parcel_travels_alone() {
        let (inboxes, mut outboxes) = connect(1, &[]);
        let long = vec![1; PARCEL_BYTES + 5];
        assert!(outboxes[0].push(0, &frame(1, &[0])));
        assert!(outboxes[0].push(0, &frame(2, &long)));
        assert!(outboxes[0].flush());
        assert_eq!(inboxes[0].next().unwrap().items().count(), 1);
        assert_eq!(inboxes[0].next().unwrap().items().next().unwrap().bytes().len(), long.len());
    }

    #[test]
    fn parcels_given_back_are_used_again() {
        let (inboxes, mut outboxes) = connect(1, &[]);
        outboxes[0].push(0, &frame(1, &[0; 500]));
        outboxes[0].flush();
        let parcel = inboxes[0].next().unwrap();
        let buffer = parcel.bytes.as_ptr();
        inboxes[0].give_back(parcel);
        outboxes[0].push(0, &frame(2, &[0; 10]));
        outboxes[0].flush();
        outboxes[0].push(0, &frame(3, &[0; 10]));
        outboxes[0].flush();
        let again: Vec<_> = std::iter::from_fn(|| inboxes[0].next()).map(|parcel| parcel.bytes.as_ptr()).collect();
        assert!(again.contains(&buffer));
    }
}
