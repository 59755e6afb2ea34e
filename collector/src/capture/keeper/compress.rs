//! Compressing one closed file with zstd.
//!
//! The compressed file is a row of independent frames of [`FRAME_BYTES`] of the capture each, so that a reader can
//! begin at any of them, and a last frame, which decoders skip, that says how long each one is: the layout that zstd's
//! own `contrib/seekable_format` describes. Any decoder of zstd reads it as one stream.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write as _};
use std::num::NonZeroU64;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, OFlags};

use super::CompressionLevel;
use super::entry::Identity;

/// Bytes of the capture in each frame.
pub(super) const FRAME_BYTES: usize = 1 << 20;
/// Of a frame that decoders skip; the seekable format uses this one of the sixteen.
const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
/// Ends a table of frames.
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
/// The nicest: all who want the CPU go first.
const NICE: i32 = 19;

/// One file to compress.
#[derive(Debug)]
pub(super) struct Compression {
    pub(super) name: String,
    pub(super) source: PathBuf,
    pub(super) identity: Identity,
    /// A name that only this process uses.
    pub(super) temporary: PathBuf,
    pub(super) level: CompressionLevel,
    /// Set to have it given up.
    pub(super) cancel: Arc<AtomicBool>,
}

/// Why a file was not compressed.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// It was given up; it can be tried again.
    Cancelled,
    Failed(io::Error),
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Compression {
    /// Writes the temporary file, with mode and time of the source. Leaves none after an error. The calling thread
    /// gives way to all others from then on.
    pub(super) fn run(&self) -> Result<(), Unfinished> {
        give_way();
        let done = self.write();
        if done.is_err() {
            let _ = std::fs::remove_file(&self.temporary);
        }
        done
    }

    fn write(&self) -> Result<(), Unfinished> {
        let mut options = OpenOptions::new();
        let mut source = options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&self.source)?;
        let before = source.metadata()?;
        if !self.identity.is_of(&before) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another file has its name").into());
        }
        let _ = std::fs::remove_file(&self.temporary);
        let mut options = OpenOptions::new();
        let target = options.write(true).create_new(true).mode(0o600).open(&self.temporary)?;
        let mut target = BufWriter::new(target);
        let length = self.write_frames(&mut source, &mut target)?;
        let after = source.metadata()?;
        if length != before.len() || after.len() != before.len() || after.modified()? != before.modified()? {
            return Err(io::Error::other("it was changed meanwhile").into());
        }
        let target = target.into_inner().map_err(io::IntoInnerError::into_error)?;
        target.set_permissions(std::fs::Permissions::from_mode(before.mode() & 0o777))?;
        target.set_times(std::fs::FileTimes::new().set_modified(before.modified()?))?;
        Ok(())
    }

    /// Gives the bytes that were compressed.
    fn write_frames(&self, source: &mut File, target: &mut BufWriter<File>) -> Result<u64, Unfinished> {
        let mut compressor = zstd::bulk::Compressor::new(self.level.0)?;
        compressor.include_checksum(true)?;
        let mut plain = Vec::with_capacity(FRAME_BYTES);
        let mut frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME_BYTES));
        let mut table = Vec::new();
        let (mut length, mut frames) = (0_u64, 0_u32);
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Unfinished::Cancelled);
            }
            plain.clear();
            let read = Read::take(&mut *source, FRAME_BYTES as u64).read_to_end(&mut plain)?;
            if read == 0 && frames > 0 {
                break;
            }
            frame.clear();
            let bytes = compressor.compress_to_buffer(&plain, &mut frame)?;
            target.write_all(&frame)?;
            table.extend_from_slice(&(bytes as u32).to_le_bytes());
            table.extend_from_slice(&(read as u32).to_le_bytes());
            // It will not be read again: the page cache is for others. It is advice, an error changes nothing.
            let _ = rustix::fs::fadvise(&*source, length, NonZeroU64::new(read as u64), Advice::DontNeed);
            length += read as u64;
            frames += 1;
        }
        target.write_all(&SKIPPABLE_MAGIC.to_le_bytes())?;
        target.write_all(&(table.len() as u32 + 9).to_le_bytes())?;
        target.write_all(&table)?;
        target.write_all(&frames.to_le_bytes())?;
        // No checksums in the table: each frame has its own.
        target.write_all(&[0])?;
        target.write_all(&SEEKABLE_MAGIC.to_le_bytes())?;
        Ok(length)
    }
}

/// Has the calling thread give way to all others.
pub(super) fn give_way() {
    // Where this is refused, it competes with the rest; no more than that.
    let _ = rustix::process::nice(NICE);
}
