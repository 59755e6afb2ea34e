//! How fast a disk takes what a capture writes: blocks of 1 MiB around the page cache, one after the other.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// What one write takes, as the capture's do.
const BLOCK_BYTES: usize = 1 << 20;
/// The most that is written.
const MAX_BYTES: u64 = 256 << 20;
/// What is left free at least.
const SPARE_BYTES: u64 = 512 << 20;
/// Direct writes begin at a multiple of this, in memory and in the file.
const ALIGNMENT: usize = 4096;

/// What a write test found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteRate {
    /// Bytes a second, all of the test together.
    pub(super) bytes_per_second: u64,
    /// The longest that one block took.
    pub(super) longest: Duration,
    /// Whether the page cache was left out.
    pub(super) direct: bool,
}

/// Writes into a file of its own in `directory`, for `time` or until 256 MiB are written, and removes it.
pub(super) fn run(directory: &Path, time: Duration) -> io::Result<WriteRate> {
    let space = rustix::fs::statvfs(directory)?;
    if space.f_bavail.saturating_mul(space.f_frsize) < MAX_BYTES + SPARE_BYTES {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "less than 768 MiB are free"));
    }
    let file = Scratch(directory.join(format!(".vxtap-doctor-{}", std::process::id())));
    let open = |flags: OFlags| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.custom_flags((flags | OFlags::NOFOLLOW).bits().cast_signed()).open(&file.0)
    };
    // File systems in memory refuse direct writes.
    let (mut target, direct) = match open(OFlags::DIRECT) {
        Ok(target) => (target, true),
        Err(_) => (open(OFlags::empty())?, false),
    };
    let mut memory = vec![0x5a_u8; BLOCK_BYTES + ALIGNMENT];
    // Not all alike, so that no file system stores one block for all.
    for (number, byte) in memory.iter_mut().enumerate() {
        *byte = (number.wrapping_mul(0x9e37_79b9) >> 13) as u8;
    }
    let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    let begun = Instant::now();
    let (mut written, mut longest) = (0_u64, Duration::ZERO);
    while written < MAX_BYTES && begun.elapsed() < time {
        let before = Instant::now();
        target.write_all(&memory[start..start + BLOCK_BYTES])?;
        longest = longest.max(before.elapsed());
        written += BLOCK_BYTES as u64;
    }
    target.sync_data()?;
    let seconds = begun.elapsed().as_secs_f64().max(1e-6);
    Ok(WriteRate { bytes_per_second: (written as f64 / seconds) as u64, longest, direct })
}

/// A file that goes with its value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Where it never came to be there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_writes_in_its_time_and_leaves_nothing_behind() {
        let directory = tempfile::TempDir::new().unwrap();
        let begun = Instant::now();
        match run(directory.path(), Duration::from_millis(50)) {
            Ok(rate) => assert!(rate.bytes_per_second > 0 && rate.longest > Duration::ZERO, "{rate:?}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(run(Path::new("/no/such/directory"), Duration::from_millis(1)).is_err());
    }
}
