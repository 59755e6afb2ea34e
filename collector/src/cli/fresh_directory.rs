//! A new directory for the captures of a demo.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use time::OffsetDateTime;
use time::macros::format_description;

/// How many demos may begin in one second.
const MAX_SAME_NAME: u32 = 100;

/// Makes `vxtap-demo-<UTC>` below `parent`, which nobody else has and only its owner may read: in a directory that all
/// may write to, a name that is already there may be somebody's trap.
pub(super) fn create(parent: &Path) -> anyhow::Result<PathBuf> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let name = format!("vxtap-demo-{}", OffsetDateTime::now_utc().format(&format)?);
    for number in 1..=MAX_SAME_NAME {
        let name = if number == 1 { name.clone() } else { format!("{name}-{number}") };
        let directory = parent.join(name);
        match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                let context =
                    format!("cannot make {} for captures (--write DIR takes another place)", directory.display());
                return Err(error).context(context);
            }
        }
    }
    Err(anyhow!("{MAX_SAME_NAME} directories {name} are in {} already: remove some", parent.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_demo_gets_a_directory_of_its_own_that_only_its_owner_reads() {
        let parent = tempfile::tempdir().unwrap();
        let (one, two) = (create(parent.path()).unwrap(), create(parent.path()).unwrap());
        assert_ne!(one, two);
        for directory in [one, two] {
            assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
            assert!(directory.file_name().unwrap().to_str().unwrap().starts_with("vxtap-demo-2"));
        }
    }

    #[test]
    fn a_parent_that_is_not_there_is_named_with_the_way_out() {
        let parent = tempfile::tempdir().unwrap();
        let error = format!("{:#}", create(&parent.path().join("gone")).unwrap_err());
        assert!(error.contains("/gone/vxtap-demo-"), "{error}");
        assert!(error.contains("(--write DIR takes another place): No such file or directory"), "{error}");
    }
}
