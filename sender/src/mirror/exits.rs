//! The ways out: a link for each place that copies go to, and the series in which GENEVE copies are numbered.

use vxtap_wire::geneve::MirrorDirection;
use vxtap_wire::vxlan::Vni;

use crate::transmit::{Link, Numbering, Series};

/// Links, and what is counted for each.
#[derive(Default)]
pub(crate) struct Exits {
    pub(super) links: Vec<Link>,
    /// Beside each link.
    lanes: Vec<Vec<Lane>>,
}

/// The series of one VNI on one link.
struct Lane {
    vni: Vni,
    numbering: Numbering,
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
            lane.numbering = Numbering::new(self.links[place].ports());
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
            lanes.push(Lane { vni, numbering: Numbering::new(self.links[link].ports()) });
            lanes.len() - 1
        })
    }

    /// The series, and the number in it, of the next datagram.
    #[inline]
    pub(super) fn number(&mut self, link: usize, lane: usize, port: u16, direction: MirrorDirection) -> Series {
        self.lanes[link][lane].numbering.number(port, Some(direction))
    }
}
