//! What is noted of a capture file while it is written, and how little of it is kept.

mod flows;
mod names;
mod store;

use arrayvec::ArrayVec;
use vxtap_wire::{Behind, ETHERNET_HEADER_LEN, FlowKey, FrameView, IpVersion, Link, Missing};

use flows::Flows;
pub use store::IndexSize;
pub(crate) use store::write_index;

/// Where some whole blocks of a capture file are, and what times their records have.
///
/// Bytes of the capture that are in no page have no records in them (padding, statistics, the section header).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// Where in the file it begins, in bytes: at a block. Pages are told in the file's order and do not overlap.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// The least time of its records, nanoseconds since 1970.
    pub first_ns: u64,
    /// The greatest time of its records, nanoseconds since 1970.
    pub last_ns: u64,
    /// How many records it has.
    pub records: u64,
}

/// A page as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) range: PageRange,
    /// Which section of the capture it is in, from 0.
    pub(crate) section: u32,
    /// It has frames that are not plain; see [`IndexBuilder::is_plain`].
    pub(crate) other_frames: bool,
    /// Its list of flows is not complete: anything may be in it.
    pub(crate) anything: bool,
}

/// Flows of a page that are looked up together.
const FLOWS_TOGETHER: usize = 16;

/// A page that a flow has records in.
#[derive(Clone, Copy, Debug)]
struct Pair {
    flow: u32,
    page: u32,
}

/// Bounds of one builder.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    flows: usize,
    pairs: usize,
    pages: usize,
}

/// Notes which flows have records in which pages of one capture file, and writes the index beside it.
///
/// It takes memory for what it was told, up to [`IndexBuilder::MAX_FLOWS`] flows of some 60 bytes,
/// [`IndexBuilder::MAX_PAIRS`] pairs of a flow and a page of 8 bytes, and [`IndexBuilder::MAX_PAGES`] pages: at most some 110 MiB,
/// and as much again while the index is written. Beyond these bounds it grows coarser and never fails: with too many pairs or
/// pages, neighbours are made one page; with too many flows, a page with a flow that is not noted is marked as one that
/// anything may be in.
#[derive(Debug)]
pub struct IndexBuilder {
    flows: Flows,
    /// In the order of pages.
    pairs: Vec<Pair>,
    pages: Vec<Page>,
    /// Section headers and interface descriptions, or the header of a classic file.
    descriptions: Vec<u8>,
    sections: u32,
    /// A page is extended by what follows it up to this length.
    grain: u64,
    bounds: Bounds,
    /// What makes an index of this capture impossible.
    given_up: Option<&'static str>,
}

impl IndexBuilder {
    /// The most flows that are told apart.
    pub const MAX_FLOWS: usize = 917_504; // seven eighths of 2^20
    /// The most pairs of a flow and a page that it has records in.
    pub const MAX_PAIRS: usize = 1 << 22;
    /// The most pages.
    pub const MAX_PAGES: usize = 1 << 16;
    /// Pages are extended by what follows them up to this length in bytes, at first.
    pub const MIN_PAGE_BYTES: u64 = 64 << 10;
    /// The most bytes that section headers and interface descriptions may have.
    pub const MAX_DESCRIPTION_BYTES: usize = 16 << 20;

    /// A builder for a new capture file.
    pub fn new() -> Self {
        Self::with_bounds(Bounds { flows: Self::MAX_FLOWS, pairs: Self::MAX_PAIRS, pages: Self::MAX_PAGES })
    }

    fn with_bounds(bounds: Bounds) -> Self {
        Self {
            flows: Flows::default(),
            pairs: Vec::new(),
            pages: Vec::new(),
            descriptions: Vec::new(),
            sections: 0,
            grain: Self::MIN_PAGE_BYTES,
            bounds,
            given_up: None,
        }
    }

    /// Takes the section header and the interface descriptions that the capture has, as its bytes are, in the file's order:
    /// one or several whole blocks at a time, each before the first page with a record that needs it. Of a classic pcap file
    /// it takes the 24 bytes of the header.
    ///
    /// The writer of a capture gives what it puts in front of the records of an append.
    pub fn describe(&mut self, blocks: &[u8]) {
        if self.descriptions.len() + blocks.len() > Self::MAX_DESCRIPTION_BYTES {
            self.given_up = Some("its interface descriptions are too long");
            return;
        }
        self.sections += crate::capture::sections_in(blocks);
        self.descriptions.extend_from_slice(blocks);
    }

    /// Takes a page that was written: where it is, which flows have records in it, and whether it has frames that are not plain
    /// ([`IndexBuilder::is_plain`]).
    ///
    /// `flows` has the key of each frame that has a five-tuple, plain or not. It may have a key twice, and keys of flows that
    /// are not in the page; a key that is missing makes records unfindable. [`IndexBuilder::page_of_anything`] is for pages
    /// whose flows are not known.
    pub fn page<'a>(&mut self, page: PageRange, flows: impl IntoIterator<Item = &'a FlowKey>, other_frames: bool) {
        let Some(number) = self.begin_page(page) else { return };
        let mut anything = false;
        let mut flows = flows.into_iter().peekable();
        while flows.peek().is_some() {
            let together: ArrayVec<_, FLOWS_TOGETHER> =
                flows.by_ref().take(FLOWS_TOGETHER).map(|flow| (flow, self.flows.hash(flow))).collect();
            self.flows.fetch(together.iter().map(|(_, hash)| *hash));
            for (flow, hash) in together {
                anything |= !self.note(flow, hash, number);
            }
        }
        if let Some(page) = self.pages.last_mut() {
            page.other_frames |= other_frames;
            page.anything |= anything;
        }
        self.keep_bounds();
    }

    /// Takes a page that anything may be in: every query reads it, unless its times do not fit.
    pub fn page_of_anything(&mut self, page: PageRange) {
        if self.begin_page(page).is_some() {
            if let Some(page) = self.pages.last_mut() {
                page.anything = true;
            }
            self.keep_bounds();
        }
    }

    /// Whether the headers of a frame say no more to a filter than its flow key does.
    ///
    /// A flow key holds the innermost five-tuple of a frame, a filter looks at the outermost headers. They are of the same
    /// packet only in a frame that is a link header with IPv4 or IPv6 directly behind it, or IP alone, and a transport header directly behind
    /// that, no fragment, no tunnel inside, not malformed, and not cut before its payload. Every other frame is one of the
    /// "other frames" of its page: tagged, labelled, tunnelled, fragmented, cut, with extension headers, or not IP. A filter
    /// reads every page that has such frames; a search for one flow does not need to.
    pub fn is_plain(view: &FrameView) -> bool {
        let Some(tuple) = &view.five_tuple else { return false };
        // An authentication or extension header hides the protocol from one of the two.
        let link_len = match view.link {
            Link::Ethernet => ETHERNET_HEADER_LEN,
            link => match link.behind(view.bytes) {
                Behind::Packet { at, .. } => at,
                Behind::Other(_) | Behind::Cut => return false,
            },
        };
        let protocol_at = link_len
            + match tuple.version {
                IpVersion::V4 => 9,
                IpVersion::V6 => 6,
            };
        view.network_offset() == link_len
            && view.tunnels == 0
            && view.fragment.is_none()
            && view.malformed.is_none()
            && view.missing <= Missing::Payload
            && view.bytes.get(protocol_at) == Some(&tuple.protocol)
    }

    /// The number of the page that `range` goes into; `None` where it has no records.
    fn begin_page(&mut self, range: PageRange) -> Option<u32> {
        if range.records == 0 || self.given_up.is_some() {
            return None;
        }
        let section = self.sections.saturating_sub(1);
        let page = Page { range, section, other_frames: false, anything: false };
        match self.pages.last_mut() {
            Some(last) if last.section == section && last.length_with(&page) <= self.grain => last.extend(&page),
            last => {
                debug_assert!(last.is_none_or(|last| last.end() <= range.offset), "pages come in the file's order");
                self.pages.push(page);
            }
        }
        Some(self.pages.len() as u32 - 1)
    }

    /// Notes that `flow` has records in page `page`; `false` where there is no room for one more flow.
    #[inline]
    fn note(&mut self, flow: &FlowKey, hash: u32, page: u32) -> bool {
        let Some((flow, known)) = self.flows.note(flow, hash, page, self.bounds.flows) else { return false };
        if !known {
            self.pairs.push(Pair { flow, page });
        }
        true
    }

    /// Makes neighbours one page until pages and pairs are within their bounds.
    fn keep_bounds(&mut self) {
        while self.pages.len() > self.bounds.pages || self.pairs.len() > self.bounds.pairs {
            let before = self.pages.len();
            self.grain = self.grain.saturating_mul(2);
            self.coarsen();
            if self.grain == u64::MAX && self.pages.len() == before {
                // One page for each of so many sections.
                self.given_up = Some("it has too many sections");
                (self.pages, self.pairs) = (Vec::new(), Vec::new());
            }
        }
    }

    /// Makes one page of neighbours that together are no longer than the grain.
    fn coarsen(&mut self) {
        let mut kept: Vec<Page> = Vec::with_capacity(self.pages.len() / 2 + 1);
        let mut number_of = Vec::with_capacity(self.pages.len());
        for page in &self.pages {
            match kept.last_mut() {
                Some(last) if last.section == page.section && last.length_with(page) <= self.grain => last.extend(page),
                _ => kept.push(*page),
            }
            number_of.push(kept.len() as u32 - 1);
        }
        if kept.len() == self.pages.len() {
            return;
        }
        self.pages = kept;
        let number_of = |page: u32| number_of.get(page as usize).copied().unwrap_or(page);
        let mut last_of = vec![u32::MAX; self.flows.len()];
        self.pairs.retain_mut(|pair| {
            pair.page = number_of(pair.page);
            let Some(last) = last_of.get_mut(pair.flow as usize) else { return false };
            std::mem::replace(last, pair.page) != pair.page
        });
        self.flows.renumber_pages(number_of);
    }
}

impl Default for IndexBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl Page {
    /// Where it ends.
    pub(crate) const fn end(&self) -> u64 {
        self.range.offset.saturating_add(self.range.length)
    }

    /// Its length when it is extended to the end of `next`.
    const fn length_with(&self, next: &Self) -> u64 {
        next.end().saturating_sub(self.range.offset)
    }

    /// Makes one page of it and `next`, which follows it; what may lie between them has no records.
    fn extend(&mut self, next: &Self) {
        self.range = PageRange {
            offset: self.range.offset,
            length: self.length_with(next),
            first_ns: self.range.first_ns.min(next.range.first_ns),
            last_ns: self.range.last_ns.max(next.range.last_ns),
            records: self.range.records + next.range.records,
        };
        self.other_frames |= next.other_frames;
        self.anything |= next.anything;
    }
}

#[cfg(test)]
mod tests;
