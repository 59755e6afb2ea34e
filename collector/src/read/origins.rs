//! Which mirror streams the interfaces of a file stand for, where a collector has written it: its frames have no envelope any more, and only the
//! descriptions of their interfaces tell which network they are of.
//!
//! What a file says is anybody's. It says no more here than a datagram of VXLAN in a file would, and is let in by the same rules; names that it
//! gives are not read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use vxtap_analyzers::StreamKey;
use vxtap_capfile::{Interpret, LinkType};
use vxtap_wire::Link;

use crate::section;
use crate::streams::StreamRegistry;

/// Streams that are known by the descriptions of interfaces: as many as are told apart in a run. Frames of an interface beyond them count as those of one
/// that has no description.
const STREAMS_MAX: usize = StreamRegistry::DEFAULT_LIMIT as usize;

/// The streams of all interfaces so far; whoever reads adds to them, and workers look them up.
#[derive(Debug, Default)]
pub(super) struct Origins {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// The first has number 1.
    streams: Vec<StreamKey>,
    numbers: HashMap<StreamKey, u32>,
}

impl Origins {
    /// What gives interfaces their numbers.
    pub(super) fn interpret(self: &Arc<Self>) -> Interpret {
        let origins = Arc::clone(self);
        Arc::new(move |link_type, description| origins.number(link_type, description))
    }

    /// The number of the stream that an interface with this description stands for; 0 where it stands for none.
    fn number(&self, link_type: LinkType, description: &str) -> u32 {
        let link = Link::of_type(link_type.0);
        let Some(key) = link.and_then(|link| section::stream_of(description, link)) else { return 0 };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = told.numbers.get(&key) {
            return *number;
        }
        if told.streams.len() == STREAMS_MAX {
            return 0;
        }
        told.streams.push(key);
        let number = told.streams.len() as u32;
        told.numbers.insert(key, number);
        number
    }
}

/// What one worker knows of [`Origins`]: it asks them once for each stream, not for each record.
#[derive(Debug)]
pub(super) struct KnownOrigins {
    origins: Arc<Origins>,
    streams: RefCell<Vec<StreamKey>>,
}

impl KnownOrigins {
    pub(super) fn new(origins: &Arc<Origins>) -> Self {
        Self { origins: Arc::clone(origins), streams: RefCell::default() }
    }

    /// The stream of records of this origin; `None` for 0.
    pub(super) fn stream(&self, origin: u32) -> Option<StreamKey> {
        let at = (origin as usize).checked_sub(1)?;
        let mut streams = self.streams.borrow_mut();
        if at >= streams.len() {
            let told = self.origins.told.lock().unwrap_or_else(PoisonError::into_inner);
            let known = streams.len();
            streams.extend_from_slice(told.streams.get(known..).unwrap_or_default());
        }
        streams.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use vxtap_wire::vxlan::Vni;

    use super::*;

    #[test]
    fn interfaces_of_one_stream_have_one_number_and_what_stands_for_none_has_zero() {
        let origins = Arc::new(Origins::default());
        let interpret = origins.interpret();
        let known = KnownOrigins::new(&origins);
        let describe = |vni: u32| format!("inner frames of a mirror stream: vni={vni} source=10.0.0.7");
        let numbers = [7, 8, 7].map(|vni| interpret(LinkType::ETHERNET, &describe(vni)));
        assert_eq!(numbers, [1, 2, 1]);
        assert_eq!(interpret(LinkType::ETHERNET, "the office's uplink"), 0);
        assert_eq!(interpret(LinkType(253), &describe(9)), 0, "a link that is not known");
        let vnis = [0, 1, 2, 3].map(|origin| known.stream(origin).and_then(|key| key.vni).map(Vni::get));
        assert_eq!(vnis, [None, Some(7), Some(8), None]);
        assert_eq!(
            interpret(LinkType(101), &describe(7)),
            3,
            "the same VNI with frames of another link is another stream"
        );
        assert_eq!(known.stream(3).map(|key| key.link), Some(Link::Ip));
    }

    #[test]
    fn no_more_streams_are_known_than_a_run_tells_apart() {
        let origins = Arc::new(Origins::default());
        let interpret = origins.interpret();
        let describe = |vni: usize| format!("inner frames of a mirror stream: vni={vni} source=10.0.0.7");
        (0..STREAMS_MAX).for_each(|vni| assert_eq!(interpret(LinkType::ETHERNET, &describe(vni)), vni as u32 + 1));
        assert_eq!(interpret(LinkType::ETHERNET, &describe(STREAMS_MAX)), 0);
        assert_eq!(interpret(LinkType::ETHERNET, &describe(5)), 6);
    }
}
