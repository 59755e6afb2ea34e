//! What is looked for, and which pages of a capture it may be in.

use std::ops::Range;

use vxtap_filter::{Filter, FlowFacts, Packet};
use vxtap_wire::{FiveTuple, FlowKey, NetworkId};

use crate::builder::Page;
use crate::capture::Record;
use crate::community_id::CommunityId;
use crate::format;
use crate::open::{Enough, Index, Unusable};
use crate::scan::{link, view};
use crate::tunnel::TunnelFacts;

/// What is looked for: records that all of these want. Nothing given wants every record.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// A filter wants Ethernet frames and IP packets that it matches, and never one of another link type.
    pub filter: Option<Filter>,
    /// A flow, in whatever network it is. The innermost five-tuple of a frame decides.
    pub community_id: Option<CommunityId>,
    /// Records of this time and later, nanoseconds since 1970.
    pub since_ns: Option<u64>,
    /// Records before this time, nanoseconds since 1970.
    pub until_ns: Option<u64>,
}

/// Pages of one capture that have to be read.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    pub(crate) pages: Vec<Page>,
    /// What the flow of the query may be, by the index.
    pub(crate) flows: Vec<FlowKey>,
}

impl Query {
    /// Whether a page with times from `first_ns` to `last_ns` may have a record that is wanted.
    const fn wants_times(&self, first_ns: u64, last_ns: u64) -> bool {
        let since = match self.since_ns {
            Some(since) => last_ns >= since,
            None => true,
        };
        let until = match self.until_ns {
            Some(until) => first_ns < until,
            None => true,
        };
        since && until
    }

    /// The pages of `index` that may have records that are wanted.
    pub(crate) fn plan(&self, index: &Index) -> Result<Planned, Unusable> {
        let header = index.header();
        if header.pages == 0 || !self.wants_times(header.first_ns, header.last_ns) {
            return Ok(Planned::default());
        }
        let pages = index.pages()?;
        let mut marks = Marks::new(&pages, |page| {
            let listed = match (&self.community_id, &self.filter) {
                (Some(_), _) => !page.anything,
                (None, Some(_)) => !page.anything && !page.other_frames,
                (None, None) => false,
            };
            match self.wants_times(page.range.first_ns, page.range.last_ns) {
                false => Mark::Out,
                true if listed => Mark::Open,
                true => Mark::In,
            }
        });
        let mut flows = Vec::new();
        if let Some(id) = &self.community_id {
            index.named(id.prefix(), |key, list| {
                flows.push(FlowKey { network: NetworkId::NONE, ..key });
                marks.take(list)
            })?;
        } else if let Some(filter) = self.filter.as_ref().filter(|_| marks.open > 0) {
            let vni_is_known =
                index.descriptions()?.interfaces().all(|interface| TunnelFacts::of(interface).has_one_vni());
            index.wanted(
                |key| filter.may_match(&facts(key, vni_is_known)),
                |list| {
                    marks.take(list)?;
                    Some(if marks.open == 0 { Enough::Yes } else { Enough::No })
                },
            )?;
        }
        let pages = pages.into_iter().zip(&marks.marks).filter(|(_, mark)| **mark == Mark::In).map(|(page, _)| page);
        Ok(Planned { pages: pages.collect(), flows })
    }

    /// Whether a record of time `time_ns` is wanted.
    #[inline]
    pub(crate) fn wants(&self, time_ns: u64, record: &Record<'_>, flows: &Flows<'_>, tunnel: &TunnelFacts) -> bool {
        self.wants_times(time_ns, time_ns)
            && self.community_id.as_ref().is_none_or(|id| {
                let tuple = view(record).and_then(|view| view.five_tuple);
                tuple.is_some_and(|tuple| flows.may_be(&tuple) && CommunityId::of(&tuple) == *id)
            })
            && self.filter.as_ref().is_none_or(|filter| {
                link(record.link_type).is_some_and(|link| {
                    let (frame, wire_len, tunnel) = (record.frame, record.wire_len, tunnel.tunnel());
                    filter.matches(&Packet { frame, link, wire_len, tunnel })
                })
            })
    }
}

/// What is known of a flow whose frames are plain: those of other frames are no reason to leave a page out.
///
/// A filter that asks for what a record's interface does not tell takes it for another VNI, so the VNI of the key is a fact only
/// where each interface tells its own. Of a named network the VNIs are not known.
fn facts(key: FlowKey, vni_is_known: bool) -> FlowFacts<'static> {
    let facts = FlowFacts::of(key).direct();
    if vni_is_known && key.network.0 < NetworkId::FIRST_NAMED { facts.with_vni(key.network.0) } else { facts }
}

/// What a record's flow may be, if it is the one that is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flows<'a> {
    /// One of these, network apart.
    These(&'a [FlowKey]),
    Any,
}

impl Flows<'_> {
    #[inline]
    fn may_be(&self, tuple: &FiveTuple) -> bool {
        match self {
            Self::These(flows) => flows.contains(&FlowKey::new(NetworkId::NONE, tuple).0),
            Self::Any => true,
        }
    }
}

/// Whether a page is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Out,
    /// If a flow that is wanted is in it.
    Open,
    In,
}

struct Marks {
    marks: Vec<Mark>,
    /// How many are open.
    open: usize,
}

impl Marks {
    fn new(pages: &[Page], mark: impl Fn(&Page) -> Mark) -> Self {
        let marks: Vec<Mark> = pages.iter().map(mark).collect();
        let open = marks.iter().filter(|mark| **mark == Mark::Open).count();
        Self { marks, open }
    }

    /// Marks the pages of a list; `None` where it is damaged.
    fn take(&mut self, list: &[u8]) -> Option<()> {
        format::decode_list(list, self.marks.len() as u64, |page| {
            if let Some(mark) = self.marks.get_mut(page as usize).filter(|mark| **mark == Mark::Open) {
                *mark = Mark::In;
                self.open -= 1;
            }
        })
    }
}

/// The ranges of `pages`, which are in order, those that touch made one.
pub(crate) fn ranges(pages: &[Page]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for page in pages {
        match ranges.last_mut() {
            Some(last) if last.end == page.range.offset => last.end = page.end(),
            _ => ranges.push(page.range.offset..page.end()),
        }
    }
    ranges
}
