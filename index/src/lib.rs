//! An index beside each capture file, which says which flows are where in it.

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

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use builder::{IndexBuilder, IndexSize, PageRange};
pub use community_id::{CommunityId, InvalidCommunityId};
pub use extract::{DamagedCapture, Extract, ExtractError, ExtractSummary, captures_in};
pub use query::Query;

/// The index of `capture`: a hidden file beside it, `.NAME.vxidx`. A compressed capture, `NAME.zst`, has the index of what
/// was compressed.
pub fn index_path(capture: &Path) -> PathBuf {
    let plain = if capture.extension().is_some_and(|extension| extension == "zst") {
        capture.with_extension("")
    } else {
        capture.to_owned()
    };
    let mut name = OsString::from(".");
    name.push(plain.file_name().unwrap_or_default());
    name.push(".vxidx");
    plain.with_file_name(name)
}
