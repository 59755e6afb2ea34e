//! Fragments of outer datagrams: the kernel puts them together before a socket gets them, and counts what it could not.
//!
//! It counts for all datagrams of this network namespace; besides mirrored ones few are so long.

use std::fs;

use vxtap_analyzers::snapshot::OuterFragments;

/// What the kernel had counted when a run began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FragmentCounter {
    before: OuterFragments,
}

impl FragmentCounter {
    /// One that counts from now on.
    pub(crate) fn start() -> Self {
        Self { before: counted() }
    }

    /// What was counted since.
    pub(crate) fn since(&self) -> OuterFragments {
        let now = counted();
        OuterFragments {
            received: now.received.saturating_sub(self.before.received),
            given_up: now.given_up.saturating_sub(self.before.given_up),
        }
    }
}

fn counted() -> OuterFragments {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    parse(&text("/proc/net/snmp"), &text("/proc/net/snmp6"))
}

/// `four` has a line of names and a line of values for each protocol, `six` a name and a value in each line.
fn parse(four: &str, six: &str) -> OuterFragments {
    let mut lines = four.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let of_four = |wanted: &str| {
        let place = names.split(' ').position(|name| name == wanted);
        place.and_then(|place| values.split(' ').nth(place)).and_then(|value| value.parse::<u64>().ok())
    };
    let of_six = |wanted: &str| {
        let mut pairs = six.lines().filter_map(|line| line.split_once(char::is_whitespace));
        let value = pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.trim());
        value.and_then(|value| value.parse::<u64>().ok())
    };
    let sum = |four: &str, six: &str| of_four(four).unwrap_or(0).saturating_add(of_six(six).unwrap_or(0));
    OuterFragments { received: sum("ReasmReqds", "Ip6ReasmReqds"), given_up: sum("ReasmFails", "Ip6ReasmFails") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_of_both_versions_are_summed_and_what_makes_no_sense_is_nothing() {
        let four =
            "Ip: Forwarding ReasmTimeout ReasmReqds ReasmOKs ReasmFails\nIp: 1 2 30 10 5\nIcmp: ReasmReqds\nIcmp: 99\n";
        let six = "Ip6InReceives                   \t7\nIp6ReasmReqds                   \t400\nIp6ReasmFails \t1\n";
        assert_eq!(parse(four, six), OuterFragments { received: 430, given_up: 6 });
        assert_eq!(parse(four, ""), OuterFragments { received: 30, given_up: 5 });
        for text in ["", "Ip: ReasmReqds\n", "Ip: ReasmReqds\nIp: x\n", "Ip6ReasmReqds\n", "\u{0}"] {
            assert_eq!(parse(text, text), OuterFragments::default(), "{text:?}");
        }
    }
}
