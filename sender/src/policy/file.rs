//! A policy with the places of what it says: what is read from a file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::document::Document;
use super::model::Policy;
use super::problem::{Findings, Places, PolicyError, Problem};
use super::read::read;
use super::resolve::resolve;

/// The largest file that is taken for a policy.
const MAX_BYTES: u64 = 1 << 20;

/// A policy and where it says what.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    /// The file's name, as given.
    pub name: String,
    /// What it means.
    pub policy: Policy,
    /// What it says.
    pub document: Document,
    places: Places,
}

impl PolicyFile {
    /// Reads and checks the file at `path`. The only thing in this module that touches the system.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| PolicyError::whole(&name, format!("cannot read the policy: {error}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(PolicyError::whole(&name, "more than 1 MiB, so it is no policy"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&name, &text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                let problem = Places::new(&text).at("", Some(at..at + 1), "expected text in UTF-8");
                Err(PolicyError::new(&name, vec![problem]))
            }
        }
    }

    /// Reads and checks `text`, which the file called `name` holds.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        let (document, findings) = read(text);
        Self::checked(name, document, findings)
    }

    /// Checks `document`, which no file holds: problems say paths instead of places.
    pub fn from_document(document: Document) -> Result<Self, PolicyError> {
        Self::checked("", document, Findings::new(Places::default()))
    }

    fn checked(name: &str, document: Document, mut findings: Findings) -> Result<Self, PolicyError> {
        // Without any TOML there is nothing to resolve.
        let unread = findings.is_broken("");
        let policy = (!unread).then(|| resolve(&document, &mut findings));
        let (places, problems) = findings.into_problems();
        match policy {
            Some(policy) if problems.is_empty() => Ok(Self { name: name.to_owned(), policy, document, places }),
            _ => Err(PolicyError::new(name, problems)),
        }
    }

    /// `message` about what is at `path` (`session[0].vni`, `source[1].interfaces[0]`; places count from 0 in the file's
    /// order), with its place in the file.
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        self.places.problem(path, message)
    }

    /// The interfaces that sources name and that are not among those `present` on a host; patterns that none of them is like as well,
    /// if that matters.
    pub fn missing_interfaces(&self, present: &[String], patterns_matter: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (at, source) in self.policy.sources.iter().enumerate() {
            for (number, name) in source.interfaces.iter().enumerate() {
                let there = match name.strip_suffix('*') {
                    Some(prefix) => !patterns_matter || present.iter().any(|interface| interface.starts_with(prefix)),
                    None => present.contains(name),
                };
                if !there {
                    let path = format!("source[{at}].interfaces[{number}]");
                    let message =
                        format!("there is no interface '{name}' on this host (expected {})", present.join(", "));
                    problems.push(self.problem(&path, message));
                }
            }
        }
        problems
    }

    /// Problems that show only on a host, as an error of this file: an interface that is not there, a target that is
    /// our own collector.
    pub fn error(&self, problems: Vec<Problem>) -> PolicyError {
        PolicyError::new(&self.name, problems)
    }

    /// The place in the file of the session that is the `at`th in [`Policy::sessions`].
    pub fn session_place(&self, at: usize) -> usize {
        let name = self.policy.sessions.get(at).map(|session| session.name.as_str());
        self.document.sessions.iter().position(|session| Some(session.name.as_str()) == name).unwrap_or(at)
    }
}

impl Policy {
    /// Reads and checks the text of a policy file called `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        PolicyFile::parse(name, text).map(|file| file.policy)
    }

    /// Turns the session called `name` on or off. False where there is none.
    pub fn set_enabled(&mut self, name: &str, enabled: bool) -> bool {
        let session = self.sessions.iter_mut().find(|session| session.name == name);
        session.is_some_and(|session| {
            session.enabled = enabled;
            true
        })
    }
}

#[cfg(test)]
mod tests;
