//! Policies as documents that a cloud takes: the way back from [`super::import`].
//!
//! A cloud makes its objects one after the other, and gives each an identifier that later ones need. So an export is a set of
//! JSON documents and a shell script that hands them to the cloud's command line or API in the right order. In a document an
//! object is referred to by the name that it has in the policy; the script puts the identifier in its place. The documents alone are read
//! back by an import as the same policy, but for what is not in them: where sources and targets are on this host.
//!
//! What a cloud cannot express is a [`Lack`] with the path of it in the policy. As an import does, an export gives less than
//! the policy mirrors where it cannot give the same.

mod alibaba;
mod aws;
mod flat;
mod gcp;
mod gcp_nsi;
mod huawei;
mod oci;

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use super::{Document, Encapsulation, Provider, SessionDocument, SourceDocument, TargetDocument};

/// What a cloud is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// Documents by the names of their files, in the order in which they are to be used.
    pub documents: Vec<(String, Value)>,
    /// A POSIX shell script that makes the cloud's objects of them, to be run where the documents are.
    pub script: String,
    /// What the documents do not say.
    pub lacks: Vec<Lack>,
    /// What they say, and the cloud does not do to the letter.
    pub notes: Vec<Lack>,
}

/// Something of a policy that a cloud's documents do not say, or that the cloud does otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Path in the policy, such as `session[0].sample`; places count from 0.
    pub about: String,
    /// What is not said, and what is said instead.
    pub text: String,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, super::problem::printable(&self.text))
    }
}

/// Why there is no export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The cloud takes no documents.
    #[error("{0} takes no document that describes its mirrors (expected {known})", known = known())]
    NoDocuments(Provider),
    /// It is for ourselves.
    #[error(
        "vxtap mirrors by the policy itself, so nothing is to be exported (expected {known}; `vxtap-sender capture --policy` mirrors)",
        known = known()
    )]
    Ourselves,
    /// The policy behaves like another cloud.
    #[error(
        "the policy has the provider '{policy}', not '{asked}' (expected provider = \"{asked}\", and `policy check`)"
    )]
    OtherProvider {
        /// The policy's.
        policy: Provider,
        /// The one that it was to be exported for.
        asked: Provider,
    },
}

/// Clouds that take documents.
pub const PROVIDERS: [Provider; 6] =
    [Provider::Aws, Provider::Gcp, Provider::GcpNsi, Provider::Huawei, Provider::Alibaba, Provider::Oci];

fn known() -> String {
    let names: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name()).collect();
    names.join(", ")
}

/// The documents with which `provider` mirrors as `document`, a policy that was checked, says.
pub fn export(provider: Provider, document: &Document) -> Result<Exported, ExportError> {
    let write: fn(&mut Export<'_>) = match provider {
        Provider::Aws => aws::write,
        Provider::Gcp => gcp::write,
        Provider::GcpNsi => gcp_nsi::write,
        Provider::Huawei => huawei::write,
        Provider::Alibaba => alibaba::write,
        Provider::Oci => oci::write,
        Provider::Vxtap => return Err(ExportError::Ourselves),
        Provider::Naver | Provider::Azure => return Err(ExportError::NoDocuments(provider)),
    };
    let policy = document.provider.unwrap_or_default();
    if policy != provider {
        return Err(ExportError::OtherProvider { policy, asked: provider });
    }
    let mut export = Export::new(document);
    export.common();
    write(&mut export);
    let script = if export.commands.is_empty() {
        String::new()
    } else {
        format!("#!/bin/sh\n# Run this where the documents are.\nset -eu\n{}\n", export.commands.join("\n"))
    };
    Ok(Exported { documents: export.documents, script, lacks: export.lacks, notes: export.notes })
}

/// An export on its way.
struct Export<'a> {
    policy: &'a Document,
    sources: HashMap<&'a str, &'a SourceDocument>,
    targets: HashMap<&'a str, &'a TargetDocument>,
    documents: Vec<(String, Value)>,
    commands: Vec<String>,
    lacks: Vec<Lack>,
    notes: Vec<Lack>,
}

impl<'a> Export<'a> {
    fn new(policy: &'a Document) -> Self {
        Self {
            policy,
            sources: policy.sources.iter().map(|source| (source.name.as_str(), source)).collect(),
            targets: policy.targets.iter().map(|target| (target.name.as_str(), target)).collect(),
            documents: Vec::new(),
            commands: Vec::new(),
            lacks: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn lack(&mut self, about: impl Into<String>, text: impl Into<String>) {
        self.lacks.push(Lack { about: about.into(), text: text.into() });
    }

    fn note(&mut self, about: impl Into<String>, text: impl Into<String>) {
        self.notes.push(Lack { about: about.into(), text: text.into() });
    }

    fn document(&mut self, name: String, value: Value) {
        self.documents.push((name, value));
    }

    /// What no cloud has.
    fn common(&mut self) {
        let policy = self.policy;
        if policy.semantics != super::SemanticsDocument::default() {
            self.lack("semantics", "the cloud decides as it does");
        }
        if policy.never != super::NeverDocument::default() {
            self.lack("never", "the cloud leaves out what it leaves out");
        }
        if policy.budget != super::BudgetDocument::default() {
            self.lack("budget", "the cloud has no budgets");
        }
        for (at, session) in policy.sessions.iter().enumerate() {
            if session.sample.is_some_and(|share| share < 1.0) {
                self.lack(format!("session[{at}].sample"), "the cloud mirrors all flows");
            }
            if session.budget != super::BudgetDocument::default() {
                self.lack(format!("session[{at}]"), "the cloud has no budgets");
            }
            if session.encapsulation == Some(Encapsulation::Geneve) {
                self.lack(format!("session[{at}].encapsulation"), "the cloud sends what it sends");
            }
        }
        for (at, target) in policy.targets.iter().enumerate() {
            if !target.members.is_empty() {
                self.lack(format!("target[{at}].member"), "one load balancer stands in their place");
            }
        }
    }

    /// The cloud's identifier of a source: its description, where an import puts it, or else its name.
    fn source_id(&self, name: &'a str) -> &'a str {
        self.sources.get(name).and_then(|source| source.description.as_deref()).unwrap_or(name)
    }

    /// The cloud's identifier of a target.
    fn target_id(&self, name: &'a str) -> &'a str {
        self.targets.get(name).and_then(|target| target.description.as_deref()).unwrap_or(name)
    }

    /// The sources of a session for a cloud whose sessions have one each: a name for the session of each of them.
    fn one_source_each(&mut self, at: usize, session: &'a SessionDocument) -> Vec<(String, &'a str)> {
        if let [source] = session.source.as_slice() {
            return vec![(session.name.clone(), self.source_id(source))];
        }
        self.lack(
            format!("session[{at}].source"),
            "the cloud's sessions have one source: there is one for each of them",
        );
        let named = |(number, source): (usize, &'a String)| {
            let name = if number == 0 { session.name.clone() } else { format!("{}-{}", session.name, number + 1) };
            (name, self.source_id(source))
        };
        session.source.iter().enumerate().map(named).collect()
    }
}

/// An object of the fields that are there.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

#[cfg(test)]
mod tests;
