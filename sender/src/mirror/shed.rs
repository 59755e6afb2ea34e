//! What is given up when there is more than may be mirrored, and how much of it.
//!
//! A [`Shedder`] is told again and again how what is allowed stands to what was wanted, and turns that into what a packet
//! can be asked at once: is its flow among those that are kept, and how long may it be. Flows are kept by their hash:
//! below a bound all are, so that what is mirrored is whole flows, and the same ones as long as the bound stands.

use crate::policy::Shed;

/// All flows.
const ALL: u64 = 1 << 32;
/// Never fewer than this share of the flows by one step, so that one bad moment is not the end of all.
const SMALLEST_STEP: f64 = 0.25;
/// What is kept at least.
const LEAST: u64 = ALL / 1024;
/// Packets are not cut shorter than this: headers, and what tells a protocol.
const SHORTEST: u32 = 128;
/// With less room than this to spare nothing more is let in: flows would come and go.
const ROOM: f64 = 1.25;
/// What is aimed at, as a share of what is allowed: the rest is for bursts.
const AIM: f64 = 0.9;

/// Gives up as much as is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shedder {
    how: Shed,
    /// Flows whose hash is below it are kept.
    keep: u64,
    /// What packets are cut to.
    length: u32,
    /// Packets so far, where each is decided about by itself.
    count: u32,
}

impl Shedder {
    pub(super) const fn new(how: Shed) -> Self {
        Self { how, keep: ALL, length: u32::MAX, count: 0 }
    }

    /// Whether packets of the flow with this hash are mirrored for now.
    #[inline]
    pub(super) fn keeps(&mut self, hash: u32) -> bool {
        if self.keep == ALL {
            return true;
        }
        let hash = if self.how == Shed::Packets {
            self.count = self.count.wrapping_add(1);
            super::spread::mix(self.count, super::spread::PACKETS)
        } else {
            hash
        };
        u64::from(hash) < self.keep
    }

    /// What packets are cut to for now.
    #[inline]
    pub(super) const fn length(&self) -> u32 {
        self.length
    }

    /// How it gives up.
    pub(super) const fn how(&self) -> Shed {
        self.how
    }

    /// Whether anything is given up.
    #[cfg(test)]
    pub(super) const fn is_active(&self) -> bool {
        self.keep != ALL || self.length != u32::MAX
    }

    /// The share of flows that is kept.
    pub(super) fn kept(&self) -> f64 {
        self.keep as f64 / ALL as f64
    }

    /// Adapts: what passed in the last while was `used` of what is allowed (1 is all of it). `longest` is the longest packet that passed.
    pub(super) fn adapt(&mut self, used: f64, longest: u32) {
        if used > 1.0 {
            let factor = (AIM / used).max(SMALLEST_STEP);
            if self.how == Shed::Length && self.length > SHORTEST {
                let from = f64::from(self.length.min(longest.max(SHORTEST)));
                self.length = ((from * factor) as u32).max(SHORTEST);
            } else {
                self.keep = ((self.keep as f64 * factor) as u64).max(LEAST);
            }
        } else if used * ROOM < AIM {
            // Half of the room: what is let in again is not known yet.
            let factor = 1.0 + (AIM / used.max(0.1) - 1.0) / 2.0;
            if self.keep < ALL {
                self.keep = ((self.keep as f64 * factor) as u64).min(ALL);
            } else if self.length != u32::MAX {
                let length = f64::from(self.length) * factor;
                self.length = if length > 65_535.0 { u32::MAX } else { length as u32 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adapts for a load of `flows` equal flows of `used` in all, until it stands.
    fn settle(shedder: &mut Shedder, used: f64, rounds: u32) -> f64 {
        let mut now = 0.0;
        for _ in 0..rounds {
            let length = f64::from(shedder.length().min(1_500)) / 1_500.0;
            now = used * shedder.kept() * length;
            shedder.adapt(now, shedder.length().min(1_500));
        }
        now
    }

    #[test]
    fn flows_are_given_up_until_the_rest_is_within_what_is_allowed_and_stay_then() {
        let mut shedder = Shedder::new(Shed::Flows);
        assert!(shedder.keeps(u32::MAX));
        let used = settle(&mut shedder, 4.0, 20);
        assert!((0.5..=1.0).contains(&used), "{used}");
        let keep = shedder.keep;
        settle(&mut shedder, 4.0, 50);
        assert_eq!(shedder.keep, keep, "the bound moves under a steady load");
        assert!(shedder.keeps(0) && !shedder.keeps(u32::MAX));
        settle(&mut shedder, 0.2, 100);
        assert!(!shedder.is_active() && shedder.keeps(u32::MAX));
    }

    #[test]
    fn packets_are_cut_before_flows_are_given_up() {
        let mut shedder = Shedder::new(Shed::Length);
        settle(&mut shedder, 4.0, 20);
        assert!(shedder.keep == ALL && (SHORTEST..=375).contains(&shedder.length()), "{shedder:?}");
        let used = settle(&mut shedder, 40.0, 40);
        assert!(shedder.length() == SHORTEST && shedder.keep < ALL && used <= 1.0, "{shedder:?}");
        settle(&mut shedder, 0.1, 200);
        assert!(!shedder.is_active(), "{shedder:?}");
    }

    #[test]
    fn however_bad_it_is_something_is_kept() {
        let mut shedder = Shedder::new(Shed::Flows);
        settle(&mut shedder, 1e9, 100);
        assert_eq!(shedder.keep, LEAST);
    }

    #[test]
    fn where_packets_are_given_up_one_flow_loses_its_share_of_them() {
        let mut shedder = Shedder::new(Shed::Packets);
        settle(&mut shedder, 2.0, 20);
        let kept = (0..10_000).filter(|_| shedder.keeps(u32::MAX)).count() as f64 / 10_000.0;
        assert!((kept - shedder.kept()).abs() < 0.05, "{kept} of {}", shedder.kept());
    }
}
