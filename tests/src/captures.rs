//! The captures that others made, and what trusted tools say is in them.
//!
//! They lie beside the repository (`../shared/captures`) or where `VXTAP_CAPTURES` says; their README explains the
//! tables.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::capture_file::{self, Record};
use crate::needs::{Need, skip};
use crate::programs;

/// The directory of captures.
#[derive(Clone, Debug)]
pub struct Captures {
    root: PathBuf,
}

/// One capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Name, without extension.
    pub name: String,
    /// Class: `vxlan`, `http`, `malformed`, …
    pub class: String,
    /// Link type as tshark names it; `ether` for Ethernet.
    pub link_type: String,
    /// What port has to be decoded as what; `None` if the usual ones are right.
    pub decode_as: Option<String>,
    /// The file.
    pub path: PathBuf,
    /// The directory with what trusted tools say.
    pub expected: PathBuf,
}

/// One line of a table, by column name.
pub type Row = HashMap<String, String>;

impl Captures {
    /// The captures, if they are there; skips otherwise.
    pub fn open() -> Option<Self> {
        let beside = || programs::workspace().join("../shared/captures");
        let root = env::var_os("VXTAP_CAPTURES").map_or_else(beside, PathBuf::from);
        if root.join("MANIFEST.tsv").is_file() {
            return Some(Self { root: root.canonicalize().expect("an existing directory has a path") });
        }
        skip(
            Need::Captures,
            &format!("there are no captures in {} (VXTAP_CAPTURES names another place)", root.display()),
        );
        None
    }

    /// The captures of `classes`, in the order of the manifest.
    ///
    /// # Panics
    /// When a class has none.
    pub fn of(&self, classes: &[&str]) -> Vec<Capture> {
        let all = table(&self.root.join("MANIFEST.tsv"));
        for class in classes {
            assert!(all.iter().any(|row| row["class"] == *class), "no capture is of class {class}");
        }
        all.iter().filter(|row| classes.contains(&row["class"].as_str())).map(|row| self.capture(row)).collect()
    }

    /// The capture called `name`.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(&self, name: &str) -> Capture {
        let all = table(&self.root.join("MANIFEST.tsv"));
        let row = all.iter().find(|row| row["name"] == name);
        self.capture(row.unwrap_or_else(|| panic!("no capture is called {name}")))
    }

    fn capture(&self, row: &Row) -> Capture {
        let (name, class, file) = (&row["name"], &row["class"], &row["file"]);
        Capture {
            name: name.clone(),
            class: class.clone(),
            link_type: row["linktype"].clone(),
            decode_as: Some(row["decode_as"].clone()).filter(|port| port != "-"),
            path: self.root.join(class).join(file),
            expected: self.root.join("expected").join(class).join(name),
        }
    }
}

impl Capture {
    /// Its records.
    pub fn records(&self) -> Vec<Record> {
        capture_file::read(&self.path)
    }

    /// The inner frames of each VNI of VXLAN: what a decapsulating writer must put out.
    pub fn decapsulated(&self) -> Vec<(u32, Vec<Record>)> {
        self.decapsulated_from("vxlan")
    }

    /// The same of any tunnel: `vxlan`, `geneve`.
    pub fn decapsulated_from(&self, tunnel: &str) -> Vec<(u32, Vec<Record>)> {
        let directory = self.expected.join("decap");
        if !directory.is_dir() {
            return Vec::new();
        }
        let mut found: Vec<(u32, Vec<Record>)> = fs::read_dir(&directory)
            .expect("a readable directory")
            .filter_map(|entry| {
                let path = entry.expect("a directory entry").path();
                let vni = path.file_stem()?.to_str()?.strip_prefix(tunnel)?.strip_prefix('_')?.parse().ok()?;
                Some((vni, capture_file::read(&path)))
            })
            .collect();
        found.sort_by_key(|(vni, _)| *vni);
        found
    }

    /// A table of the expected ones; empty if this capture has none.
    pub fn table(&self, name: &str) -> Vec<Row> {
        let path = self.expected.join(name);
        if path.is_file() { table(&path) } else { Vec::new() }
    }
}

/// The lines of a tab-separated file whose first line names the columns.
fn table(path: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .map(|line| {
            names.iter().zip(line.split('\t')).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_column_names() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a\tb\n1\t2\n3\t\n").unwrap();
        let rows = table(file.path());
        assert_eq!((rows[0]["b"].as_str(), rows[1]["a"].as_str(), rows[1]["b"].as_str()), ("2", "3", ""));
    }

    #[test]
    fn decapsulated_frames_are_those_at_the_offsets_that_tshark_names() {
        let Some(captures) = Captures::open() else { return };
        let mut checked = 0;
        for capture in captures.of(&["vxlan"]) {
            let decapsulated = capture.decapsulated();
            let outer = if decapsulated.is_empty() { Vec::new() } else { capture.records() };
            for (vni, inner) in decapsulated {
                let rows = capture.table("tunnel_frames.tsv");
                let cut: Vec<&[u8]> = rows
                    .iter()
                    .filter(|row| row["vni"] == vni.to_string())
                    .map(|row| {
                        let frame: usize = row["frame"].parse().unwrap();
                        &outer[frame - 1].data[row["inner_offset"].parse().unwrap()..]
                    })
                    .collect();
                assert_eq!(
                    cut,
                    inner.iter().map(|record| record.data.as_slice()).collect::<Vec<_>>(),
                    "{}",
                    capture.name
                );
                checked += inner.len();
            }
        }
        assert!(checked > 200, "{checked}");
    }
}
