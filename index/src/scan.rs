//! The index of a capture that has none: made from its records.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use vxtap_capfile::LinkType;
use vxtap_wire::{FlowKey, FrameView, Link, NetworkId};

use crate::builder::{IndexBuilder, PageRange};
use crate::capture::{Beginning, Content, Damage, Descriptions, Record, Section, Visit, Walker};
use crate::input::Input;
use crate::tunnel::TunnelFacts;

/// Pages are of so many bytes, or a block more.
const PAGE_BYTES: u64 = 256 << 10;

/// A file without statistics at its end that was written less than so long ago is taken to grow still.
const QUIET: Duration = Duration::from_mins(1);

/// What was found in a capture.
pub(crate) struct Scanned {
    pub(crate) builder: IndexBuilder,
    /// How many bytes are whole blocks.
    pub(crate) whole_bytes: u64,
    /// What is behind them, if anything is.
    pub(crate) damage: Option<Damage>,
    /// The capture ends with statistics, as its writer leaves it.
    ends_with_statistics: bool,
}

/// A capture that can have no index.
#[derive(Debug)]
pub(crate) enum Unindexable {
    /// It begins like no capture.
    NoCapture,
    /// It has records without a time of their own.
    Untimed,
    Io(io::Error),
}

/// Looks at all records of `input`.
pub(crate) fn scan(input: &mut Input, walker: &mut Walker) -> Result<Scanned, Unindexable> {
    let mut builder = IndexBuilder::new();
    let (descriptions, start) = match Descriptions::begin(input).map_err(Unindexable::Io)? {
        Beginning::Classic(descriptions, header) => {
            builder.describe(&header);
            (descriptions, header.len() as u64)
        }
        Beginning::Pcapng => (Descriptions::default(), 0),
        Beginning::Unknown => return Err(Unindexable::NoCapture),
    };
    let mut scan = Scan {
        builder,
        descriptions,
        page: None,
        networks: Vec::new(),
        end: start,
        ends_with_statistics: false,
        untimed: false,
    };
    let walked = walker.walk(input, start..u64::MAX, &mut scan);
    if scan.untimed {
        return Err(Unindexable::Untimed);
    }
    scan.end_page();
    let Scan { builder, end, ends_with_statistics, .. } = scan;
    Ok(Scanned { builder, whole_bytes: end, damage: walked.err(), ends_with_statistics })
}

impl Scanned {
    /// Whether the file at `path` is complete, so that its index is worth keeping. One that is still being written gets its
    /// index from its writer.
    pub(crate) fn is_complete(&self, path: &Path) -> bool {
        let modified = || std::fs::metadata(path).and_then(|metadata| metadata.modified());
        let age = || SystemTime::now().duration_since(modified().ok()?).ok();
        self.ends_with_statistics || age().is_some_and(|age| age >= QUIET)
    }
}

struct Scan {
    builder: IndexBuilder,
    descriptions: Descriptions,
    page: Option<OpenPage>,
    /// The network of each interface of the section.
    networks: Vec<NetworkId>,
    /// Where the last whole block ends.
    end: u64,
    ends_with_statistics: bool,
    untimed: bool,
}

/// The page that records are added to.
struct OpenPage {
    range: PageRange,
    flows: Vec<FlowKey>,
    other_frames: bool,
}

impl Visit for Scan {
    fn section(&self) -> &Section {
        self.descriptions.current()
    }

    fn block(&mut self, offset: u64, length: usize, content: Content<'_>) -> Result<(), &'static str> {
        self.ends_with_statistics = matches!(content, Content::Statistics);
        match &content {
            Content::Record(record) => self.record(offset, length, record)?,
            Content::SectionHeader(whole) | Content::Interface(whole) => {
                self.descriptions.follow(&content)?;
                if matches!(content, Content::SectionHeader(_)) {
                    // A page is in one section.
                    self.end_page();
                    self.networks.clear();
                }
                self.builder.describe(whole);
            }
            Content::Statistics | Content::Other => {}
        }
        self.end = offset + length as u64;
        Ok(())
    }
}

impl Scan {
    fn record(&mut self, offset: u64, length: usize, record: &Record<'_>) -> Result<(), &'static str> {
        let Some(time_ns) = record.time_ns else {
            self.untimed = true;
            return Err("a record without a time of its own");
        };
        let network = self.network(record.interface);
        let page = self.page.get_or_insert_with(|| OpenPage {
            range: PageRange { offset, length: 0, first_ns: u64::MAX, last_ns: 0, records: 0 },
            flows: Vec::new(),
            other_frames: false,
        });
        page.add(time_ns, network, record);
        page.range.length = offset + length as u64 - page.range.offset;
        if page.range.length >= PAGE_BYTES {
            self.end_page();
        }
        Ok(())
    }

    fn end_page(&mut self) {
        if let Some(OpenPage { range, flows, other_frames }) = self.page.take() {
            self.builder.page(range, &flows, other_frames);
        }
    }

    fn network(&mut self, interface: u32) -> NetworkId {
        let known = self.networks.len();
        for interface in self.descriptions.current().interfaces().iter().skip(known) {
            self.networks.push(TunnelFacts::of(interface).network());
        }
        self.networks.get(interface as usize).copied().unwrap_or(NetworkId::NONE)
    }
}

impl OpenPage {
    fn add(&mut self, time_ns: u64, network: NetworkId, record: &Record<'_>) {
        self.range.first_ns = self.range.first_ns.min(time_ns);
        self.range.last_ns = self.range.last_ns.max(time_ns);
        self.range.records += 1;
        let view = view(record);
        self.other_frames |= !view.as_ref().is_some_and(IndexBuilder::is_plain);
        if let Some(tuple) = view.and_then(|view| view.five_tuple) {
            let key = FlowKey::new(network, &tuple).0;
            if self.flows.last() != Some(&key) {
                self.flows.push(key);
            }
        }
    }
}

/// What frames of a link type begin with, where it is one that is looked into.
#[inline]
pub(crate) fn link(link_type: LinkType) -> Option<Link> {
    Link::of_type(link_type.0)
}

/// The frame of a record, where its link type is one that is looked into.
#[inline]
pub(crate) fn view<'a>(record: &Record<'a>) -> Option<FrameView<'a>> {
    link(record.link_type).map(|link| FrameView::parse_link(link, record.frame))
}
