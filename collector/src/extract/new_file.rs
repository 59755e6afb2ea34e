//! A file that appears under its name when it is complete, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// A file on its way: until then it is hidden beside its place, and gone when this is dropped.
#[derive(Debug)]
pub(super) struct NewFile {
    file: File,
    hidden: PathBuf,
    target: PathBuf,
    replace: bool,
}

/// Why there is no new file.
#[derive(Debug)]
pub(super) enum CreateError {
    /// A file is there, and is not to be replaced.
    Exists,
    /// What is there is none that could be replaced: a directory, a device, a link.
    NoFile,
    Io(io::Error),
}

impl NewFile {
    /// A file that will be `target`; in the place of one that is there if it may `replace` it.
    pub(super) fn create(target: &Path, replace: bool) -> Result<Self, CreateError> {
        match fs::symlink_metadata(target) {
            Ok(there) if !there.is_file() => return Err(CreateError::NoFile),
            Ok(_) if !replace => return Err(CreateError::Exists),
            _ => {}
        }
        let Some(name) = target.file_name() else { return Err(CreateError::NoFile) };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let hidden = target.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).open(&hidden).map_err(CreateError::Io)?;
        Ok(Self { file, hidden, target: target.to_owned(), replace })
    }

    pub(super) fn writer(&mut self) -> &mut File {
        &mut self.file
    }

    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the file its name. One that has come there meanwhile is not replaced unless it may be.
    pub(super) fn publish(self) -> io::Result<()> {
        if self.replace {
            return fs::rename(&self.hidden, &self.target);
        }
        match renameat_with(CWD, &self.hidden, CWD, &self.target, RenameFlags::NOREPLACE) {
            // A file system that cannot refuse is asked first.
            Err(Errno::INVAL | Errno::NOSYS) if !self.target.try_exists()? => fs::rename(&self.hidden, &self.target),
            Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
            renamed => Ok(renamed?),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // When it has its name this one is gone; where it cannot be removed nothing is left to do.
        let _ = fs::remove_file(&self.hidden);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out.pcapng");
        let mut file = NewFile::create(&target, false).unwrap();
        file.writer().write_all(b"half").unwrap();
        assert!(!target.exists());
        drop(file);
        assert_eq!(names(directory.path()), [""; 0]);
        let mut file = NewFile::create(&target, false).unwrap();
        file.writer().write_all(b"whole").unwrap();
        file.publish().unwrap();
        assert_eq!(names(directory.path()), ["out.pcapng"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
    }

    #[test]
    fn a_file_that_is_there_stays_unless_it_may_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out.pcapng");
        let late = NewFile::create(&target, false).unwrap();
        fs::write(&target, b"mine").unwrap();
        assert!(matches!(NewFile::create(&target, false), Err(CreateError::Exists)));
        assert_eq!(late.publish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        let mut file = NewFile::create(&target, true).unwrap();
        file.writer().write_all(b"new").unwrap();
        file.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["out.pcapng"]);
    }

    #[test]
    fn what_is_no_regular_file_is_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for target in [directory.path(), Path::new("/dev/null"), &link, Path::new("..")] {
            assert!(matches!(NewFile::create(target, true), Err(CreateError::NoFile)), "{}", target.display());
        }
        assert!(matches!(NewFile::create(&directory.path().join("no/such"), true), Err(CreateError::Io(_))));
    }
}
