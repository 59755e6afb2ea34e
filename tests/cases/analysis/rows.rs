//! What two programs say of a capture, as rows that can be counted against each other.

use std::collections::BTreeMap;
use std::fmt;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// An HTTP request or response, of any version.
    Http,
    /// A DNS message.
    Dns,
    /// A hello of TLS or QUIC.
    Tls,
    /// A server's certificate.
    Certificate,
    /// The frames and bytes of a five-tuple.
    Flow,
    /// One direction of a TCP connection, put in order.
    Stream,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [Self::Http, Self::Dns, Self::Tls, Self::Certificate, Self::Flow, Self::Stream];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Http => "http",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Flow => "flow",
            Self::Stream => "stream",
        })
    }
}

/// Rows, each with how often it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows(BTreeMap<(Kind, String), usize>);

impl Rows {
    pub(crate) fn add(&mut self, kind: Kind, row: String) {
        *self.0.entry((kind, row)).or_default() += 1;
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (key, times) in other.0 {
            *self.0.entry(key).or_default() += times;
        }
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.0.iter().filter(|((of, _), _)| *of == kind).map(|(_, times)| times).sum()
    }

    /// The rows that are not in `other`, or not so often.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let left = |(key, times): (&(Kind, String), &usize)| {
            let left = times.saturating_sub(other.0.get(key).copied().unwrap_or(0));
            (left > 0).then(|| (key.clone(), left))
        };
        Self(self.0.iter().filter_map(left).collect())
    }

    /// The rows of other kinds than `kind`.
    pub(crate) fn but(mut self, kind: Kind) -> Self {
        self.0.retain(|(of, _), _| *of != kind);
        self
    }

    /// Takes one `row` away.
    pub(crate) fn remove(&mut self, kind: Kind, row: &str) {
        let key = (kind, row.to_owned());
        if let Some(times) = self.0.get_mut(&key) {
            *times -= 1;
            if *times == 0 {
                self.0.remove(&key);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Kind, &str, usize)> {
        self.0.iter().map(|((kind, row), times)| (*kind, row.as_str(), *times))
    }
}

#[test]
fn rows_are_told_apart_by_kind_text_and_number() {
    let rows = |list: &[(Kind, &str)]| {
        let mut rows = Rows::default();
        for (kind, row) in list {
            rows.add(*kind, (*row).to_owned());
        }
        rows
    };
    let (one, two) = ((Kind::Dns, "a"), (Kind::Tls, "a"));
    assert_eq!(rows(&[one, one, two]).without(&rows(&[one])), rows(&[one, two]));
    assert_eq!(rows(&[one]).without(&rows(&[one, one])), Rows::default());
    assert_eq!(rows(&[one, one, two]).count(Kind::Dns), 2);
}
