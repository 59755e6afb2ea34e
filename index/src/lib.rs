//! An index beside each capture file, which says which flows are where in it, and searches that use it.
//!
//! This crate owns the index file: it is made as a capture is written ([`IndexBuilder`]), or from the capture where it is missing,
//! damaged or of what the capture was before. And it owns the search ([`Extract`]): by flow, by filter and by time, over many captures,
//! of which it reads what may have the records that are wanted, into one capture in the order of time. It does not
//! name, write, rotate or remove captures, knows nothing of the filter language (`vxtap-filter`) or of headers (`vxtap-wire`), and
//! takes no configuration. An index is only ever a help: without one a search finds the same.
//!
//! # Pages
//!
//! A capture is a sequence of pages: stretches of whole blocks, some 64 KiB to 1 MiB each. The index has for each page its times,
//! for each flow the pages with its records, and two marks. *Other frames*: the page has frames that are not plain
//! ([`IndexBuilder::is_plain`]), for which a flow key, which is of the innermost packet, says nothing about what a
//! filter sees, which looks at the outermost. *Anything*: its list of flows is not complete. A search by Community ID reads the
//! pages of flows of that name and those with anything; a search by filter reads the pages of flows that
//! the filter may match ([`Filter::may_match`](vxtap_filter::Filter::may_match)), those with other frames and those with anything.
//! Every record of a page that is read is then looked at, so a list may be too long but not too short.
//!
//! # The file
//!
//! The index of `NAME` is the hidden file `.NAME.vxidx` beside it ([`index_path`]); `NAME.zst`, the capture compressed, has the same
//! one. All numbers are little-endian.
//!
//! | Part | Contents |
//! |---|---|
//! | header | 18 fields of 8 bytes |
//! | body | descriptions, pages, names, keys, lists, without gaps |
//! | directory | checksum of each 16 KiB of the body, 8 bytes each; the last piece may be shorter |
//!
//! The fields of the header: `VXTAPIDX`; version (1); length of the index file; length of the capture; checksums of its
//! first and last 4096 bytes (or of all, if it has less); how many bytes of it are whole blocks; length of the body; checksum of the
//! directory; length of the descriptions; number of pages; number of names; length of the lists; number of records;
//! least and greatest time of a record; 0; checksum of the fields before.
//!
//! | Part of the body | Entry |
//! |---|---|
//! | descriptions | the capture's section header and interface description blocks as they are, or the header of a classic file |
//! | pages | offset (8 bytes), length (8), least time (8), greatest time (8), records (8), section from 0 (4), marks (4: 1 other frames, 2 anything) |
//! | names | first 8 bytes of the SHA-1 in a flow's Community ID as a number (8), place of its list (4); sorted |
//! | keys | flow key of each name: low address (16), high address (16), low port (2), high port (2), network (4), protocol (1), IP version (1) |
//! | lists | numbers of a flow's pages in rising order, each less the one before and less 1, in groups of 7 bits, the lowest first, the high bit set where more follow |
//!
//! A list ends where that of the next name begins. A flow of one-way ICMP messages has two names, one for each direction. Times are
//! nanoseconds since 1970. The checksum is described in `checksum.rs`. Each piece is checked when it is read: a search for one flow
//! reads the header, the directory, the pages and a few pieces of the other parts. An index that does not fit its capture's
//! length or ends, is of another version, or has a wrong checksum or a number out of range is not used.
//!
//! # Bounds
//!
//! | What | Bound | Beyond |
//! |---|---|---|
//! | a builder | see [`IndexBuilder`] | coarser pages, pages of anything |
//! | an index that is read | its parts that are looked at, never more than the file has | |
//! | captures prepared at once | 4 | one after the other |
//! | captures open at once in a search | 16 | the one used longest ago is opened again; a compressed one is unpacked again |
//! | records that wait for their place in time | 64 MiB | they are written; what comes too late is counted |
//! | interfaces of an extract | 262,144, with 64 MiB of names and descriptions | those of a link type share one |
//! | a block of a capture | 16 MiB, a frame 256 KiB | damage |

mod builder;
mod capture;
mod checksum;
mod community_id;
mod extract;
mod fingerprint;
mod format;
mod input;
mod open;
mod output;
mod query;
mod scan;
mod sweep;
mod tunnel;
mod whole;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use builder::{IndexBuilder, IndexSize, PageRange};
pub use community_id::{CommunityId, InvalidCommunityId};
pub use extract::{DamagedCapture, Extract, ExtractError, ExtractSummary, captures_in};
pub use query::Query;
pub use whole::{Whole, whole};

/// The index of `capture`: a hidden file beside it, `.NAME.vxidx`. A compressed capture, `NAME.zst`, has the index of what
/// was compressed. Who removes a capture removes its index as well.
pub fn index_path(capture: &Path) -> PathBuf {
    let plain = if is_compressed(capture) { capture.with_extension("") } else { capture.to_owned() };
    let mut name = OsString::from(".");
    name.push(plain.file_name().unwrap_or_default());
    name.push(".vxidx");
    plain.with_file_name(name)
}

/// Whether a capture is compressed: its name ends in `.zst`.
fn is_compressed(capture: &Path) -> bool {
    capture.extension().is_some_and(|extension| extension == "zst")
}
