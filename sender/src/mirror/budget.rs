//! Limits on packets and bits a second, of one session or of all.

use super::bucket::Bucket;
use super::shed::Shedder;
use crate::policy::{Budget, Shed};
use crate::summary::SkipReason;

/// How often what is given up is adapted, in packets' time.
const WINDOW_NS: u64 = 100_000_000;

/// A budget, and what it has left.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    packets: Option<Bucket>,
    bits: Option<Bucket>,
    /// None where packets are given up as they come: the buckets alone decide then, to the packet.
    shedder: Option<Shedder>,
    window: Window,
}

/// What passed the shedder in this while.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    from_ns: u64,
    packets: u64,
    bits: u64,
    longest: u32,
}

impl Meter {
    pub(super) fn new(budget: &Budget) -> Self {
        Self {
            packets: budget.max_pps.map(Bucket::of_packets),
            bits: budget.max_mbps.map(|mbps| Bucket::of_bits((mbps * 1e6) as u64)),
            shedder: match budget.shed {
                Shed::Packets => None,
                // Shorter packets are no fewer packets.
                Shed::Length if budget.max_mbps.is_none() => Some(Shedder::new(Shed::Flows)),
                how => Some(Shedder::new(how)),
            },
            window: Window::default(),
        }
    }

    /// Whether there is any limit.
    pub(super) const fn is_limited(&self) -> bool {
        self.packets.is_some() || self.bits.is_some()
    }

    /// What packets are cut to for now.
    #[inline]
    pub(super) fn length(&self) -> u32 {
        self.shedder.as_ref().map_or(u32::MAX, Shedder::length)
    }

    /// Whether a packet of the flow with the hash `flow` may pass that comes at `time_ns` and makes an outer packet of `outer_len` bytes; nothing is
    /// [taken](Self::take) yet. `frame_len` is the length of the frame in it.
    #[inline]
    pub(super) fn check(&mut self, flow: u32, time_ns: u64, outer_len: u32, frame_len: u32) -> Result<(), SkipReason> {
        if !self.is_limited() {
            return Ok(());
        }
        if let Some(shedder) = &mut self.shedder {
            if time_ns.saturating_sub(self.window.from_ns) >= WINDOW_NS {
                let used = self.window.used(time_ns, self.packets.as_ref(), self.bits.as_ref());
                if let Some(used) = used {
                    shedder.adapt(used, self.window.longest);
                }
                self.window = Window { from_ns: time_ns, ..Window::default() };
            }
            if !shedder.keeps(flow) {
                return Err(SkipReason::Shed);
            }
            self.window.packets += 1;
            self.window.bits += u64::from(outer_len) * 8;
            self.window.longest = self.window.longest.max(frame_len);
        }
        if let Some(packets) = &mut self.packets {
            packets.advance(time_ns);
            if !packets.is_open() {
                return Err(SkipReason::PacketBudget);
            }
        }
        if let Some(bits) = &mut self.bits {
            bits.advance(time_ns);
            if !bits.is_open() {
                return Err(SkipReason::RateBudget);
            }
        }
        Ok(())
    }

    /// Takes what one outer packet costs, which [may pass](Self::check).
    #[inline]
    pub(super) fn take(&mut self, outer_len: u32) {
        if let Some(packets) = &mut self.packets {
            packets.take(1);
        }
        if let Some(bits) = &mut self.bits {
            bits.take(outer_len * 8);
        }
    }
}

impl Window {
    /// What passed until `time_ns` as a share of what was allowed; `None` for the first window, which began before there was
    /// anything. After a silence it is next to nothing.
    fn used(&self, time_ns: u64, packets: Option<&Bucket>, bits: Option<&Bucket>) -> Option<f64> {
        if self.from_ns == 0 {
            return None;
        }
        let lasted = time_ns.saturating_sub(self.from_ns);
        let share = |passed: u64, bucket: Option<&Bucket>| {
            bucket.map_or(0.0, |bucket| passed as f64 / bucket.tokens_in(lasted).max(f64::MIN_POSITIVE))
        };
        Some(share(self.packets, packets).max(share(self.bits, bits)))
    }
}

#[cfg(test)]
mod tests;
