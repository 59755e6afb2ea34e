//! What clouds' documents say, before names and references are resolved.

use std::collections::BTreeMap;

use super::super::{Direction, NetworkService, Provider, RuleDocument};
use super::document::Place;
use super::{ImportError, Remarks};

/// All that was found so far, in all documents.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The profile that the documents are for, where they tell it, and what told it.
    pub(super) provider: Option<(Provider, Place)>,
    pub(super) filters: Vec<FoundFilter>,
    /// Rules that came apart from their filter.
    pub(super) rules: Vec<FoundRule>,
    pub(super) targets: Vec<FoundTarget>,
    pub(super) sessions: Vec<FoundSession>,
    /// Addresses, names and networks by the identifiers of what has them.
    pub(super) whereabouts: BTreeMap<String, String>,
}

/// A filter.
#[derive(Debug)]
pub(super) struct FoundFilter {
    /// What sessions and rules refer to it by.
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) services: Vec<NetworkService>,
    pub(super) inbound: Vec<RuleDocument>,
    pub(super) outbound: Vec<RuleDocument>,
    /// Whether all that is known of it is what was added to it.
    pub(super) is_addition: bool,
    pub(super) place: Place,
}

impl FoundFilter {
    pub(super) const fn new(place: Place) -> Self {
        Self {
            id: None,
            name: None,
            description: None,
            services: Vec::new(),
            inbound: Vec::new(),
            outbound: Vec::new(),
            is_addition: false,
            place,
        }
    }

    pub(super) const fn rules(&mut self, direction: Direction) -> &mut Vec<RuleDocument> {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }
}

/// A rule of a filter that is described elsewhere.
#[derive(Debug)]
pub(super) struct FoundRule {
    pub(super) filter: String,
    pub(super) direction: Direction,
    pub(super) rule: RuleDocument,
    pub(super) place: Place,
}

/// A target.
#[derive(Debug)]
pub(super) struct FoundTarget {
    /// What sessions refer to it by.
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    /// The identifier of the interface, load balancer or endpoint that it is.
    pub(super) endpoint: String,
    /// What it is, where its identifier does not tell: the cloud's word.
    pub(super) kind: Option<String>,
    /// Its address, where the document itself tells it.
    pub(super) address: Option<String>,
    /// The packet length of sessions that say none, where it is not the profile's.
    pub(super) default_length: Option<u32>,
    pub(super) place: Place,
}

impl FoundTarget {
    /// A target that is nothing but an identifier.
    pub(super) fn of(endpoint: &str, place: &Place) -> Self {
        Self {
            id: None,
            name: None,
            endpoint: endpoint.to_owned(),
            kind: None,
            address: None,
            default_length: None,
            place: place.clone(),
        }
    }
}

/// What a source is in its cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceKind {
    /// A network interface, or a machine: something with an address.
    Interface,
    /// A subnet.
    Subnet,
    /// A label that machines have, or another thing that no address tells.
    Tag,
}

/// A source.
#[derive(Clone, Debug)]
pub(super) struct FoundSource {
    pub(super) kind: SourceKind,
    pub(super) id: String,
    /// A shorter name than the identifier.
    pub(super) name: Option<String>,
    /// Identifier and place of the network that its interfaces are in, where the document says one.
    pub(super) network: Option<(String, Place)>,
    pub(super) place: Place,
}

impl FoundSource {
    /// A source that is nothing but an identifier.
    pub(super) fn of(kind: SourceKind, id: impl Into<String>, place: &Place) -> Self {
        Self { kind, id: id.into(), name: None, network: None, place: place.clone() }
    }
}

/// A session.
#[derive(Debug)]
pub(super) struct FoundSession {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) number: Option<u32>,
    pub(super) sources: Vec<FoundSource>,
    /// What the filter is referred to by; `None` mirrors everything.
    pub(super) filter: Option<String>,
    /// What the target is referred to by.
    pub(super) target: String,
    pub(super) vni: Option<u32>,
    pub(super) length: Option<u32>,
    pub(super) enabled: Option<bool>,
    pub(super) place: Place,
}

impl Findings {
    /// Notes which profile a document is for. Documents for two profiles cannot be one policy.
    pub(super) fn is_for(&mut self, provider: Provider, place: &Place) -> Result<(), ImportError> {
        match &self.provider {
            Some((other, before)) if *other != provider => Err(ImportError::Contradiction {
                place: place.clone(),
                what: format!("a document for the profile {provider}"),
                other: before.clone(),
            }),
            Some(_) => Ok(()),
            None => {
                self.provider = Some((provider, place.clone()));
                Ok(())
            }
        }
    }

    /// Notes a target, once for each identifier.
    pub(super) fn add_target(&mut self, target: FoundTarget) {
        if !self.targets.iter().any(|known| known.endpoint == target.endpoint) {
            self.targets.push(target);
        }
    }

    /// Notes where something is.
    pub(super) fn locate(&mut self, id: &str, address: &str) {
        self.whereabouts.insert(id.to_owned(), address.to_owned());
    }

    /// The machine `id` has this address in `network`.
    pub(super) fn locate_in(&mut self, id: &str, network: &str, address: &str) {
        self.locate(&in_network(id, network), address);
    }
}

/// What the interfaces of machine `id` in a network are known by.
pub(super) fn in_network(id: &str, network: &str) -> String {
    format!("{id} in {network}")
}

/// Tells of a list that goes on: a policy of its first page alone would lack what is on the others.
pub(super) fn goes_on(place: &Place, remarks: &mut Remarks) {
    remarks.lost(place, "the list goes on: there is another page, which is not in this document");
}
