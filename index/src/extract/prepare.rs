//! One capture before it is searched: its index, and by it what has to be read.

use std::io::{self, Cursor};
use std::path::Path;

use crate::builder::write_index;
use crate::capture::{Descriptions, Fault, Walker};
use crate::fingerprint::Fingerprint;
use crate::input::Input;
use crate::open::{Index, Unusable};
use crate::query::Query;
use crate::scan::{Unindexable, scan};
use crate::sweep::{Candidate, Stretch};

/// Prepares captures, one after the other.
pub(super) struct Prepare<'a> {
    query: &'a Query,
    keep_indexes: bool,
    walker: Walker,
}

/// What a search needs to know of a capture.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// What is to be read, if anything is.
    pub(super) candidate: Option<Candidate>,
    /// It is not there any more.
    pub(super) gone: bool,
    pub(super) had_index: bool,
    /// An index was made and kept.
    pub(super) kept: bool,
    pub(super) stored_bytes: u64,
    pub(super) bytes_read: u64,
    pub(super) damage: Option<String>,
}

impl<'a> Prepare<'a> {
    pub(super) fn new(query: &'a Query, keep_indexes: bool) -> Self {
        Self { query, keep_indexes, walker: Walker::default() }
    }

    pub(super) fn capture(&mut self, path: &Path) -> Prepared {
        let mut prepared = Prepared::default();
        let before = self.walker.bytes_read;
        match Input::open_wherever(path) {
            Ok((mut input, path)) => {
                if let Err(error) = self.fill(&path, &mut input, &mut prepared) {
                    prepared.damage = Some(format!("it cannot be read: {error}"));
                }
            }
            // Deleted since it was listed: nothing is wrong with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => prepared.gone = true,
            Err(error) => prepared.damage = Some(format!("it cannot be read: {error}")),
        }
        prepared.bytes_read = self.walker.bytes_read - before;
        prepared
    }

    fn fill(&mut self, path: &Path, input: &mut Input, prepared: &mut Prepared) -> io::Result<()> {
        prepared.stored_bytes = input.stored_bytes()?;
        if let Ok(index) = Index::open(&crate::index_path(path))
            && input.is(index.capture())?
            && self.plan(path, &index, prepared).is_ok()
        {
            prepared.had_index = true;
            return Ok(());
        }
        self.make(path, input, prepared)
    }

    /// Makes the index, and plans by it.
    fn make(&mut self, path: &Path, input: &mut Input, prepared: &mut Prepared) -> io::Result<()> {
        let scanned = match scan(input, &mut self.walker) {
            Ok(scanned) => scanned,
            Err(Unindexable::Io(error)) => return Err(error),
            Err(Unindexable::NoCapture) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it is not a capture file (pcap, pcapng, or one of these that a collector has compressed)",
                ));
            }
            Err(Unindexable::Untimed) => {
                prepared.candidate = Some(whole(path));
                return Ok(());
            }
        };
        // A file that has grown meanwhile, or cannot be known again, has an index for this once.
        let fingerprint = input.fingerprint()?;
        let complete = match (&*input, fingerprint) {
            (_, None) => false,
            (Input::Plain(_), Some(capture)) => capture.length == prepared.stored_bytes && scanned.is_complete(path),
            (Input::Compressed(_), Some(_)) => true,
        };
        // The end of a file that grows is no damage.
        let damage = scanned.damage.as_ref().filter(|damage| complete || !matches!(damage.what, Fault::Cut));
        let damage = damage.map(ToString::to_string);
        let capture = fingerprint.unwrap_or(Fingerprint { length: scanned.whole_bytes, head: 0, tail: 0 });
        let mut bytes = Cursor::new(Vec::new());
        if scanned.builder.encode(capture, scanned.whole_bytes, &mut bytes).is_err() {
            prepared.candidate = Some(whole(path));
            return Ok(());
        }
        let bytes = bytes.into_inner();
        if complete && self.keep_indexes {
            // Where it cannot be kept, it is made again the next time.
            prepared.kept = write_index(path, |file| io::Write::write_all(file, &bytes)).is_ok();
        }
        let planned = Index::from_bytes(bytes).and_then(|index| self.plan(path, &index, prepared));
        if planned.is_err() {
            prepared.candidate = Some(whole(path));
        }
        prepared.damage = damage;
        Ok(())
    }

    fn plan(&self, path: &Path, index: &Index, prepared: &mut Prepared) -> Result<(), Unusable> {
        let planned = self.query.plan(index)?;
        if !planned.pages.is_empty() {
            let descriptions = index.descriptions()?;
            if planned.pages.iter().any(|page| descriptions.section(page.section).is_none()) {
                return Err(Unusable);
            }
            prepared.candidate = Some(Candidate {
                path: path.to_owned(),
                descriptions,
                flows: planned.flows,
                stretch: Stretch::Pages(planned.pages),
            });
        }
        let header = index.header();
        if header.whole_bytes < header.capture.length {
            prepared.damage = Some(format!("it cannot be read beyond byte {}", header.whole_bytes));
        }
        Ok(())
    }
}

/// A capture that can have no index, all of which has to be read.
fn whole(path: &Path) -> Candidate {
    let (descriptions, flows) = (Descriptions::default(), Vec::new());
    Candidate { path: path.to_owned(), descriptions, flows, stretch: Stretch::Whole }
}
