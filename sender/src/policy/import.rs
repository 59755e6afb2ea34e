//! Policies from what a cloud's command line or API prints for its sessions, filters, rules and targets.
//!
//! ```text
//! files ── JSON ──▶ whose is it? ──▶ the cloud's reader ──▶ Findings ── assemble ──▶ Document ──▶ TOML
//!          document     recognise        aws, gcp, …              names, references, answers
//! ```
//!
//! A cloud's reader takes every field that means something for a policy. What it does not know, and what a policy cannot
//! express, becomes a [`Remark`] with its place: nothing is dropped silently. Where a rule cannot be expressed exactly, the
//! policy mirrors less than the cloud would, never more: such a rule is left out where it accepts, and asks for less where it
//! rejects.
//!
//! Sources and targets are identifiers in these documents, such as `eni-0123`. A source becomes the interface with its
//! address, and a target that address, where another document tells it (network interfaces, load balancers, subnets) or an
//! [`Answers`] does; a source of unknown address is chosen by the tag of its name, and a target has to be filled in.

mod alibaba;
mod assemble;
mod aws;
mod document;
mod findings;
mod gcp;
mod gcp_nsi;
mod huawei;
mod naver;
mod oci;
mod recognise;
mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use super::Document;
use super::problem::printable;
use document::Node;
use findings::Findings;

pub(in crate::policy) use aws::LOAD_BALANCER_LENGTH;
pub use document::Place;
pub use recognise::Origin;

/// A cloud whose documents can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cloud {
    /// AWS VPC Traffic Mirroring.
    Aws,
    /// Google Cloud: VPC Packet Mirroring, and the mirroring rules of Network Security Integration.
    Gcp,
    /// Huawei Cloud VPC Traffic Mirroring.
    Huawei,
    /// NAVER Cloud Packet Mirroring.
    Naver,
    /// Alibaba Cloud VPC Traffic Mirroring.
    Alibaba,
    /// Oracle Cloud Infrastructure VTAP.
    Oci,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Aws, Self::Gcp, Self::Huawei, Self::Naver, Self::Alibaba, Self::Oci];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Huawei => "huawei",
            Self::Naver => "naver",
            Self::Alibaba => "alibaba",
            Self::Oci => "oci",
        }
    }

    /// Which documents of it can be read.
    const fn documents(self) -> &'static str {
        match self {
            Self::Aws => {
                "what `aws ec2 describe-traffic-mirror-sessions`, `-filters`, `-filter-rules` or `-targets` prints"
            }
            Self::Gcp => {
                "what `gcloud compute packet-mirrorings list --format=json` or \
                 `gcloud compute network-firewall-policies describe … --format=json` prints"
            }
            Self::Huawei => {
                "answers of /v3/…/vpc/traffic-mirror-sessions, traffic-mirror-filters or traffic-mirror-filter-rules"
            }
            Self::Naver => "lists of mirror tunnels, mirror filters and mirror resources",
            Self::Alibaba => {
                "what `aliyun vpc ListTrafficMirrorSessions` or `ListTrafficMirrorFilters` prints, or a ROS template"
            }
            Self::Oci => "what `oci network vtap list` or `get`, or `oci network capture-filter list` or `get` prints",
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Cloud {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|cloud| cloud.name() == text).ok_or(())
    }
}

/// A file's name as it was given, and its text.
#[derive(Clone, Debug)]
pub struct Input {
    /// Name for messages.
    pub file: String,
    /// One JSON document, or several one after the other.
    pub text: String,
}

/// What stands for a cloud's identifiers here: an interface, an address or a network of this host for a source, an address
/// or a name for a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<String, String>);

impl Answers {
    /// Lets `value` stand for `id`; `false` when it has another one already.
    pub fn add(&mut self, id: &str, value: &str) -> bool {
        self.0.insert(id.to_owned(), value.to_owned()).is_none_or(|before| before == value)
    }
}

/// A policy, and what has to be said about it.
#[derive(Debug)]
pub struct Imported {
    /// The policy file's values.
    pub document: Document,
    /// What could not be expressed, and what is to be filled in.
    pub remarks: Remarks,
}

/// Something about a place in a document that the policy does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Where.
    pub place: Place,
    /// Whether the policy lacks something because of it.
    pub lost: bool,
    /// What.
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// All that was to be said, in the documents' order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks(Vec<Remark>);

impl Remarks {
    /// Whether the policy lacks something that the documents say, or that they leave open.
    pub fn any_lost(&self) -> bool {
        self.0.iter().any(|remark| remark.lost)
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Remark> {
        self.0.iter()
    }

    /// What is told has others' words in it: nothing of them may steer a terminal.
    fn add(&mut self, place: &Place, lost: bool, text: &str) {
        self.0.push(Remark { place: place.clone(), lost, text: printable(text) });
    }

    /// The policy lacks something.
    fn lost(&mut self, place: &Place, text: impl Into<String>) {
        self.add(place, true, &text.into());
    }

    /// The policy says all of it, in another way than one may think.
    fn note(&mut self, place: &Place, text: impl Into<String>) {
        self.add(place, false, &text.into());
    }
}

/// Why documents could not be read. Each is a fault of the arguments.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No JSON.
    #[error("{file}: line {line}, column {column}: no JSON: {message} (expected {expected})")]
    Json {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser said.
        message: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A document of another cloud.
    #[error("{place}: this is a document of {found}, not of {asked} (expected {})", asked.documents())]
    OtherCloud {
        /// What tells it.
        place: Place,
        /// Whose it is.
        found: Origin,
        /// Whose was expected.
        asked: Cloud,
    },
    /// A document of no cloud.
    #[error("{place}: no document of {asked} (expected {})", asked.documents())]
    Unknown {
        /// Where.
        place: Place,
        /// Whose was expected.
        asked: Cloud,
    },
    /// A value of a kind that the cloud does not write there.
    #[error("{place}: {found} (expected {expected})")]
    Value {
        /// Where.
        place: Place,
        /// What is there.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A field that has to be there.
    #[error("{place}: the field {field} is missing")]
    Missing {
        /// The object that lacks it.
        place: Place,
        /// Its name.
        field: String,
    },
    /// Two descriptions of one thing that differ.
    #[error("{place}: {what} differs from the one in {other} (give documents of one time)")]
    Contradiction {
        /// The later one.
        place: Place,
        /// What it is.
        what: String,
        /// The earlier one.
        other: Place,
    },
    /// An answer to a question that no document asks.
    #[error("--map {id}=…: no source and no target of these documents is '{id}' (there are: {known})")]
    NotAsked {
        /// The identifier.
        id: String,
        /// The identifiers that there are.
        known: String,
    },
    /// An answer that is none.
    #[error("--map {id}={value}: {expected}")]
    Answer {
        /// The identifier.
        id: String,
        /// What was given for it.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// Reads the documents of `cloud` in `inputs` and gives the policy that does the same.
pub fn import(cloud: Cloud, inputs: &[Input], answers: &Answers) -> Result<Imported, ImportError> {
    let mut remarks = Remarks::default();
    let mut findings = Findings::default();
    for input in inputs {
        let file: Arc<str> = Arc::from(input.file.as_str());
        let mut read = false;
        // A byte order mark, as PowerShell's redirection writes it, is no part of the JSON.
        let text = input.text.trim_start_matches('\u{feff}');
        for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
            let value = value.map_err(|error| not_json(&input.file, &error, cloud))?;
            let node = Node::new(&value, Place::document(&file));
            recognise::check(&node, cloud)?;
            match cloud {
                Cloud::Aws => aws::read(&node, &mut findings, &mut remarks)?,
                Cloud::Gcp => gcp::read(&node, &mut findings, &mut remarks)?,
                Cloud::Huawei => huawei::read(&node, &mut findings, &mut remarks)?,
                Cloud::Naver => naver::read(&node, &mut findings, &mut remarks)?,
                Cloud::Alibaba => alibaba::read(&node, &mut findings, &mut remarks)?,
                Cloud::Oci => oci::read(&node, &mut findings, &mut remarks)?,
            }
            read = true;
        }
        if !read {
            return Err(ImportError::Unknown { place: Place::document(&file), asked: cloud });
        }
    }
    let document = assemble::document(cloud, findings, answers, &mut remarks)?;
    Ok(Imported { document, remarks })
}

fn not_json(file: &str, error: &serde_json::Error, cloud: Cloud) -> ImportError {
    let told = error.to_string();
    // The message ends with the place, which is told in front.
    let message = told.split(" at line ").next().unwrap_or(&told).to_owned();
    let expected = match cloud {
        Cloud::Gcp => "JSON: gcloud prints it with --format=json",
        Cloud::Aws => "JSON: aws prints it with --output json",
        _ => "JSON",
    };
    ImportError::Json {
        file: file.escape_debug().to_string(),
        line: error.line(),
        column: error.column(),
        message,
        expected,
    }
}

#[cfg(test)]
pub(super) mod tests;
