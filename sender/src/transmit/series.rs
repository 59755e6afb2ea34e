//! The series in which datagrams are numbered.
//!
//! All datagrams of a series have one outer source port and one direction, so that they take one way, and what is missing between
//! two of them was lost.

use std::hash::{BuildHasher as _, RandomState};

use vxtap_wire::geneve::MirrorDirection;

/// A number for the series, and the next of its datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    /// Chosen at random.
    pub(crate) id: u32,
    /// Counted from 0.
    pub(crate) next: u64,
}

/// The series of one VNI on one link.
#[derive(Debug)]
pub(crate) struct Numbering {
    /// By port and direction, the one that is not known first.
    series: Vec<[Series; 3]>,
}

impl Numbering {
    /// New series for so many source ports.
    pub(crate) fn new(ports: u32) -> Self {
        Self { series: (0..ports).map(|_| [(); 3].map(|()| Series { id: random(), next: 0 })).collect() }
    }

    /// The series, and the number in it, of the next datagram.
    #[inline]
    pub(crate) fn number(&mut self, port: u16, direction: Option<MirrorDirection>) -> Series {
        let place = match direction {
            None => 0,
            Some(MirrorDirection::Ingress) => 1,
            Some(MirrorDirection::Egress) => 2,
        };
        let series = &mut self.series[usize::from(port)][place];
        let number = *series;
        series.next += 1;
        number
    }
}

/// A number that nobody else has chosen lately: the standard library seeds its hashers from the system.
fn random() -> u32 {
    RandomState::new().hash_one(0) as u32
}
