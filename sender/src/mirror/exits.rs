//! The ways out: a link for each place that copies go to, and the series in which GENEVE copies are numbered.

use std::hash::{BuildHasher as _, RandomState};

use vxtap_wire::vxlan::Vni;

use crate::policy::Direction;
use crate::transmit::Link;

/// Links, and what is counted for each.
#[derive(Default)]
pub(crate) struct Exits {
    pub(super) links: Vec<Link>,
    /// Beside each link.
    lanes: Vec<Vec<Lane>>,
}

/// The series of one VNI on one link: all datagrams of a series have one outer source port and one direction, so that they
/// take one way and what is missing between two of them was lost.
struct Lane {
    vni: Vni,
    /// By port and direction.
    series: Vec<[Series; 2]>,
}

/// A number for the series, and the next of its datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) id: u32,
    pub(super) next: u64,
}

/// How an exit comes about.
pub(crate) enum ExitChange {
    /// The link at this place stays.
    Keep(usize),
    /// This one is new.
    Open(Link),
}

impl Exits {
    /// Takes `changes`, one for each link from now on; gives the links that are no longer needed.
    pub(super) fn rebuild(&mut self, changes: Vec<ExitChange>) -> Vec<Link> {
        let mut old: Vec<_> =
            std::mem::take(&mut self.links).into_iter().zip(std::mem::take(&mut self.lanes)).map(Some).collect();
        for change in changes {
            let (link, lanes) = match change {
                ExitChange::Open(link) => (link, Vec::new()),
                ExitChange::Keep(place) => match old.get_mut(place).and_then(Option::take) {
                    Some(kept) => kept,
                    // Whoever made the changes keeps each place once; a lost frame would be worse than a panic's absence.
                    None => continue,
                },
            };
            self.links.push(link);
            self.lanes.push(lanes);
        }
        old.into_iter().flatten().map(|(link, _)| link).collect()
    }

    /// Puts `link` in the place of another, which it gives. Its series begin anew: it may lead to another collector.
    pub(super) fn replace(&mut self, place: usize, link: Link) -> Option<Link> {
        let slot = self.links.get_mut(place)?;
        let old = std::mem::replace(slot, link);
        for lane in &mut self.lanes[place] {
            lane.series = new_series(self.links[place].ports());
        }
        Some(old)
    }

    /// Leaves no lanes but those for which `is_used` (by link and VNI).
    pub(super) fn retain_lanes(&mut self, is_used: impl Fn(usize, Vni) -> bool) {
        for (link, lanes) in self.lanes.iter_mut().enumerate() {
            lanes.retain(|lane| is_used(link, lane.vni));
        }
    }

    /// The place of the lane for `vni` on a link, which is made if there is none.
    pub(super) fn lane(&mut self, link: usize, vni: Vni) -> usize {
        let lanes = &mut self.lanes[link];
        lanes.iter().position(|lane| lane.vni == vni).unwrap_or_else(|| {
            lanes.push(Lane { vni, series: new_series(self.links[link].ports()) });
            lanes.len() - 1
        })
    }

    /// The series, and the number in it, of the next datagram.
    #[inline]
    pub(super) fn number(&mut self, link: usize, lane: usize, port: u16, direction: Direction) -> Series {
        let series = &mut self.lanes[link][lane].series[usize::from(port)][super::ledger::index(direction)];
        let number = *series;
        series.next += 1;
        number
    }
}

fn new_series(ports: u32) -> Vec<[Series; 2]> {
    let one = || Series { id: random(), next: 0 };
    (0..ports).map(|_| [one(), one()]).collect()
}

/// A number that nobody else has chosen lately: the standard library seeds its hashers from the system.
fn random() -> u32 {
    RandomState::new().hash_one(0) as u32
}
