//! IP fragments, put together again.
//!
//! Fragments are steered by their addresses, so all of a packet come to one shard, from where the whole packet goes to the shard of its flow. [`Reassembler::add`] keeps them until the last is
//! there, and gives the whole packet as if it had never been cut, ready for [`FrameView::parse_ip`]. As long as no
//! fragment comes, nothing is allocated.
//!
//! - **Overlaps.** An IPv6 packet with fragments that overlap is given up, and what else comes of it (RFC 5722, RFC 8200 section 4.5); of an
//!   IPv4 packet the first copy is kept. The very same fragment again changes nothing.
//! - **Cut fragments.** The mirror may have cut them. The packet is then given up to the first byte that is missing, with lengths
//!   in its headers that say how long it was.
//! - **Bounds.** See [`Bounds`]; the oldest packet makes room.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use vxtap_wire::{FrameView, IpVersion, NetworkId};

mod header;
mod packet;

use crate::anomaly::Anomaly;
use packet::{Added, Key, Packet};

/// Bounds of a [`Reassembler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Packets that wait for fragments, at the most.
    pub packets: usize,
    /// Bytes that wait, 64 for each fragment included, at the most. Passed by one packet for as long as it takes to make room.
    pub bytes: usize,
    /// Fragments of one packet, at the most.
    pub fragments: usize,
    /// How long a packet is waited for since its first fragment came, in nanoseconds of packet time.
    pub wait_ns: u64,
}

impl Default for Bounds {
    /// 1024 packets; 4 MiB; 128 fragments, as 65,535 bytes have at the least MTU of IPv4 hosts, 576; 30 s, as Linux has.
    fn default() -> Self {
        Self { packets: 1024, bytes: 4 << 20, fragments: 128, wait_ns: 30_000_000_000 }
    }
}

/// After a packet was put together or given up, what comes of it is left out for so long: a mirror may show each fragment twice.
/// Short, since IPv4 identifications come again: 100 ms are a tenth of what a sender of 650,000 packets a second needs for all.
const OVER_NS: u64 = 100_000_000;

/// Of so many packets, the last ones, it is known that they are over.
const OVER_MAX: usize = 256;

/// What became of fragments; only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FragmentCounters {
    /// Fragments seen.
    pub fragments: u64,
    /// Packets put together, those that lack bytes included.
    pub reassembled: u64,
    /// Packets put together up to where the mirror had cut a fragment.
    pub cut: u64,
    /// Packets given up because fragments did not come in time.
    pub timed_out: u64,
    /// IPv6 packets given up because fragments overlapped.
    pub overlapping: u64,
    /// IPv4 fragments that overlap with others and have the same bytes.
    pub alike: u64,
    /// IPv4 fragments with other bytes than the ones that came first.
    pub different: u64,
    /// Packets given up for a bound.
    pub too_many: u64,
    /// Fragments that cannot be: behind the end of the packet, of a length that is no multiple of 8 before the end, or beyond
    /// what a packet can be long. They are left out.
    pub malformed: u64,
    /// Packets put together that are of a flow of another shard, which had no room for them: they are not analysed.
    pub hand_over_full: u64,
}

impl FragmentCounters {
    /// What is counted, each with its name.
    pub const fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("fragments", self.fragments),
            ("reassembled", self.reassembled),
            ("cut", self.cut),
            ("timed_out", self.timed_out),
            ("overlapping", self.overlapping),
            ("alike", self.alike),
            ("different", self.different),
            ("too_many", self.too_many),
            ("malformed", self.malformed),
            ("hand_over_full", self.hand_over_full),
        ]
    }

    /// Adds what another shard has counted.
    pub const fn merge(&mut self, other: &Self) {
        self.fragments += other.fragments;
        self.reassembled += other.reassembled;
        self.cut += other.cut;
        self.timed_out += other.timed_out;
        self.overlapping += other.overlapping;
        self.alike += other.alike;
        self.different += other.different;
        self.too_many += other.too_many;
        self.malformed += other.malformed;
        self.hand_over_full += other.hand_over_full;
    }
}

/// Puts the fragments of one shard together.
#[derive(Debug)]
pub struct Reassembler {
    bounds: Bounds,
    packets: HashMap<Key, Packet, foldhash::fast::RandomState>,
    /// Packets in the order in which they came, by their serial numbers; some may be gone.
    waiting: VecDeque<(Key, u64)>,
    /// The same of packets that are over, with the time.
    over: VecDeque<(Key, u64, u64)>,
    serial: u64,
    bytes: usize,
    collecting: usize,
    counters: FragmentCounters,
    whole: Vec<u8>,
    found: Option<Anomaly>,
}

impl Reassembler {
    /// One that has seen nothing.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            packets: HashMap::default(),
            waiting: VecDeque::new(),
            over: VecDeque::new(),
            serial: 0,
            bytes: 0,
            collecting: 0,
            counters: FragmentCounters::default(),
            whole: Vec::new(),
            found: None,
        }
    }

    /// What was counted.
    pub const fn counters(&self) -> &FragmentCounters {
        &self.counters
    }

    /// Counts a packet that the shard of its flow had no room for.
    pub(crate) const fn count_refused(&mut self) {
        self.counters.hand_over_full += 1;
    }

    /// What is wrong with the fragment that was added last.
    pub(crate) const fn found(&self) -> Option<Anomaly> {
        self.found
    }

    /// Bytes that wait, 64 for each fragment included.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the innermost packet of `view`, in `network`, which came at `time_ns`. Where it is the fragment that was missing,
    /// gives the whole packet, from its IP header on. A view that is no fragment gives nothing.
    pub fn add(&mut self, network: NetworkId, view: &FrameView<'_>, time_ns: u64) -> Option<&[u8]> {
        let (fragment, tuple) = (view.fragment?, view.five_tuple.as_ref()?);
        self.counters.fragments += 1;
        self.found = None;
        self.expire(time_ns);
        let key = Key::new(network, tuple, fragment.identification);
        let packet = match self.packets.get_mut(&key) {
            Some(packet) if packet.over => return None,
            Some(packet) => packet,
            None => {
                self.serial += 1;
                self.collecting += 1;
                self.waiting.push_back((key, self.serial));
                self.packets.entry(key).or_insert_with(|| Packet::new(self.serial, time_ns))
            }
        };
        let before = packet.cost();
        let added = packet.add(view, fragment, self.bounds.fragments, time_ns);
        self.bytes = self.bytes + packet.cost() - before;
        self.found = anomaly(added, tuple.version);
        match added {
            Added::Waits => {}
            Added::Alike => self.counters.alike += 1,
            Added::Different => self.counters.different += 1,
            Added::Malformed => self.counters.malformed += 1,
            Added::Overlaps => {
                self.counters.overlapping += 1;
                self.end(key, time_ns);
            }
            Added::TooMany => {
                self.counters.too_many += 1;
                self.end(key, time_ns);
            }
        }
        if self.packets.get(&key).is_some_and(Packet::is_whole) {
            return self.whole(key, time_ns);
        }
        while self.bytes > self.bounds.bytes || self.collecting > self.bounds.packets {
            let Some((oldest, serial)) = self.waiting.pop_front() else { break };
            if self.is_collecting(&oldest, serial) {
                self.counters.too_many += 1;
                self.forget(&oldest);
            }
        }
        None
    }

    /// Moves packet time on to `now_ns`, and gives up what has waited too long. Done at each fragment as well.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some(&(key, serial)) = self.waiting.front() {
            if self.is_collecting(&key, serial) {
                let first_ns = self.packets.get(&key).map_or(0, |packet| packet.first_ns);
                if now_ns < first_ns.saturating_add(self.bounds.wait_ns) {
                    break;
                }
                self.counters.timed_out += 1;
                self.forget(&key);
            }
            self.waiting.pop_front();
        }
        while let Some(&(key, serial, over_ns)) = self.over.front() {
            if self.over.len() <= OVER_MAX && now_ns < over_ns.saturating_add(OVER_NS) {
                break;
            }
            self.over.pop_front();
            if self.packets.get(&key).is_some_and(|packet| packet.serial == serial) {
                self.packets.remove(&key);
            }
        }
    }

    fn is_collecting(&self, key: &Key, serial: u64) -> bool {
        self.packets.get(key).is_some_and(|packet| packet.serial == serial && !packet.over)
    }

    fn forget(&mut self, key: &Key) {
        if let Some(packet) = self.packets.remove(key) {
            self.bytes -= packet.cost();
            self.collecting -= 1;
        }
    }

    /// The packet is over: what else comes of it is left out for a while.
    fn end(&mut self, key: Key, time_ns: u64) {
        let Some(packet) = self.packets.get_mut(&key) else { return };
        self.bytes -= packet.cost();
        self.collecting -= 1;
        packet.finish();
        self.over.push_back((key, packet.serial, time_ns));
        // Most packets are over soon; the places of those that are must not add up behind one that is not.
        if self.waiting.len() > 2 * self.bounds.packets.max(OVER_MAX) {
            let packets = &self.packets;
            self.waiting.retain(|(key, serial)| {
                packets.get(key).is_some_and(|packet| packet.serial == *serial && !packet.over)
            });
        }
    }

    /// Writes the packet of `key`, whose fragments are all there.
    fn whole(&mut self, key: Key, time_ns: u64) -> Option<&[u8]> {
        let is_cut = self.packets.get(&key)?.write(&mut self.whole);
        self.end(key, time_ns);
        self.counters.reassembled += 1;
        self.counters.cut += u64::from(is_cut);
        Some(&self.whole)
    }
}

/// What is wrong with a fragment that did so.
const fn anomaly(added: Added, version: IpVersion) -> Option<Anomaly> {
    match (added, version) {
        (Added::Waits | Added::TooMany, _) => None,
        (Added::Alike | Added::Different | Added::Overlaps, IpVersion::V4) => Some(Anomaly::Ipv4FragmentOverlap),
        (Added::Alike | Added::Different | Added::Overlaps, IpVersion::V6) => Some(Anomaly::Ipv6FragmentOverlap),
        (Added::Malformed, IpVersion::V4) => Some(Anomaly::Ipv4FragmentLength),
        (Added::Malformed, IpVersion::V6) => Some(Anomaly::Ipv6FragmentLength),
    }
}

#[cfg(test)]
mod tests;
