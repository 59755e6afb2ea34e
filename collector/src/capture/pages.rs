//! What a capture file's index is told while the file is written.

use vxtap_index::{IndexBuilder, PageRange};
use vxtap_wire::FlowKey;

use super::merge::Held;

/// A page of the index gets so many bytes before the next is begun: what a search reads for one flow at the least.
const PAGE_BYTES: u64 = 1 << 20;
/// The same where a worker's block ends: the rest of the page would be of the next block, and have the flows of both.
const PAGE_BYTES_AT_END_OF_BLOCK: u64 = PAGE_BYTES / 4 * 3;

/// Gathers appends to pages, and notes which flows are in them.
#[derive(Debug)]
pub(super) struct Pages {
    builder: IndexBuilder,
    page: Option<PageRange>,
    flows: Vec<FlowKey>,
    other_frames: bool,
    /// Blocks, by lane and ticket, whose flows are noted for this page.
    blocks: Vec<(usize, u64)>,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self { builder: IndexBuilder::new(), page: None, flows: Vec::new(), other_frames: false, blocks: Vec::new() }
    }

    /// Takes section headers, interface descriptions or a file header.
    pub(super) fn describe(&mut self, blocks: &[u8]) {
        if !blocks.is_empty() {
            self.builder.describe(blocks);
        }
    }

    /// Takes an append of `length` bytes at `offset`, whose records are of these blocks; `ends_block`: up to the end of the last of them.
    pub(super) fn add<'a>(
        &mut self,
        offset: u64,
        length: u64,
        records: u64,
        (first_ns, last_ns): (u64, u64),
        blocks: impl Iterator<Item = &'a Held>,
        ends_block: bool,
    ) {
        for held in blocks {
            let number = (held.lane, held.block.ticket());
            if !self.blocks.contains(&number) {
                self.blocks.push(number);
                self.flows.extend_from_slice(&held.block.marks.flows);
                self.other_frames |= held.block.marks.other_frames;
            }
        }
        let page = self.page.get_or_insert(PageRange { offset, length: 0, first_ns, last_ns, records: 0 });
        page.length = offset + length - page.offset;
        page.first_ns = page.first_ns.min(first_ns);
        page.last_ns = page.last_ns.max(last_ns);
        page.records += records;
        if page.length >= if ends_block { PAGE_BYTES_AT_END_OF_BLOCK } else { PAGE_BYTES } {
            self.end_page();
        }
    }

    fn end_page(&mut self) {
        if let Some(page) = self.page.take() {
            self.builder.page(page, &self.flows, self.other_frames);
        }
        self.flows.clear();
        self.blocks.clear();
        self.other_frames = false;
    }

    /// All that is known.
    pub(super) fn finish(mut self) -> IndexBuilder {
        self.end_page();
        self.builder
    }
}
