//! What is looked for, as people say it on a command line or in a URL.

use vxtap_filter::Filter;
use vxtap_index::{CommunityId, Query};

use super::Moment;
use crate::capture::CaptureFilter;

/// What is looked for: packets for which all of these hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criteria {
    /// Packets that this matches; an empty one says nothing.
    pub filter: Option<CaptureFilter>,
    /// Packets of this flow.
    pub flow: Option<CommunityId>,
    /// Packets from then on.
    pub since: Option<Moment>,
    /// Packets before then.
    pub until: Option<Moment>,
}

/// Criteria that make no search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CriteriaError {
    /// There are none: everything would be copied.
    Nothing,
    /// No time is between `since` and `until`.
    NoTime,
}

impl CriteriaError {
    /// What is wrong, for people who write the names of criteria behind `prefix`.
    pub fn told_with(self, prefix: &str) -> String {
        match self {
            Self::Nothing => format!(
                "nothing is looked for: expected at least one of {prefix}filter, {prefix}flow, {prefix}since and {prefix}until"
            ),
            Self::NoTime => format!("no time is between {prefix}since and {prefix}until: the first has to be earlier"),
        }
    }
}

impl Criteria {
    /// The search for them, at `now_ns` nanoseconds since 1970.
    pub fn query(&self, now_ns: u64) -> Result<Query, CriteriaError> {
        let filter = self.filter.as_ref().map(|CaptureFilter(filter)| filter).filter(|filter| says_something(filter));
        let query = Query {
            filter: filter.cloned(),
            community_id: self.flow,
            since_ns: self.since.map(|since| since.unix_ns(now_ns)),
            until_ns: self.until.map(|until| until.unix_ns(now_ns)),
        };
        match (query.since_ns, query.until_ns) {
            (None, None) if query.filter.is_none() && query.community_id.is_none() => Err(CriteriaError::Nothing),
            (Some(since), Some(until)) if since >= until => Err(CriteriaError::NoTime),
            _ => Ok(query),
        }
    }
}

fn says_something(filter: &Filter) -> bool {
    !filter.text().trim().is_empty()
}
