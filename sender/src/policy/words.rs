//! Values that a policy file writes as one of a few words.

use super::model::{Action, Encapsulation, NetworkService, Shed};
use super::provider::{BareRule, LengthCounts, NoMatch, Provider, RejectEnds, Scope};

/// A type whose values are words; the same words that serde writes.
pub(super) trait Word: Copy + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

impl Word for Provider {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("vxtap", Self::Vxtap),
        ("aws", Self::Aws),
        ("gcp", Self::Gcp),
        ("gcp-nsi", Self::GcpNsi),
        ("huawei", Self::Huawei),
        ("naver", Self::Naver),
        ("alibaba", Self::Alibaba),
        ("oci", Self::Oci),
        ("azure", Self::Azure),
    ];
}

impl Word for NoMatch {
    const WORDS: &'static [(&'static str, Self)] =
        &[("next", Self::Next), ("mirror", Self::Mirror), ("stop", Self::Stop)];
}

impl Word for RejectEnds {
    const WORDS: &'static [(&'static str, Self)] = &[("session", Self::Session), ("all", Self::All)];
}

impl Word for Scope {
    const WORDS: &'static [(&'static str, Self)] = &[("packet", Self::Packet), ("flow", Self::Flow)];
}

impl Word for BareRule {
    const WORDS: &'static [(&'static str, Self)] = &[("ipv4", Self::Ipv4), ("ip", Self::Ip), ("frames", Self::Frames)];
}

impl Word for LengthCounts {
    const WORDS: &'static [(&'static str, Self)] = &[("frame", Self::Frame), ("packet", Self::Packet)];
}

impl Word for Action {
    const WORDS: &'static [(&'static str, Self)] =
        &[("accept", Self::Accept), ("reject", Self::Reject), ("next", Self::Next)];
}

impl Word for Encapsulation {
    const WORDS: &'static [(&'static str, Self)] = &[("vxlan", Self::Vxlan), ("geneve", Self::Geneve)];
}

impl Word for Shed {
    const WORDS: &'static [(&'static str, Self)] =
        &[("flows", Self::Flows), ("length", Self::Length), ("packets", Self::Packets)];
}

impl Word for NetworkService {
    const WORDS: &'static [(&'static str, Self)] = &[("amazon-dns", Self::AmazonDns)];
}

/// The value that `text` is the word for, or what was expected.
pub(super) fn word<T: Word>(text: &str) -> Result<T, String> {
    T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        format!("'{text}' is not known here{}", meant(text, &words))
    })
}

/// What to say behind something unknown: what is near to it, or else what there is. In brackets, with a space before.
pub(super) fn meant(text: &str, known: &[&str]) -> String {
    match (nearest(text, known), known) {
        (Some(near), _) => format!(" (did you mean '{near}'?)"),
        (None, []) => " (there is none)".to_owned(),
        (None, [one]) => format!(" (expected '{one}')"),
        (None, [most @ .., last]) => format!(" (expected {} or {last})", most.join(", ")),
    }
}

/// The one of `known` that is near enough to `text` to be meant.
fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    // A long text takes quadratic time to compare and is near to nothing.
    if text.len() > 64 {
        return None;
    }
    let text = text.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(&text, &candidate.to_lowercase().replace('-', "_")), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(4).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
