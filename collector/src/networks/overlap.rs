//! Networks that have mirror streams in common: the one that asks for more has them, and where neither does, somebody has to say.

use super::NamedNetwork;
use crate::selector::{Extent, Selector};

/// Two networks of which nobody can tell which one has some streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    /// Their places in the configuration, the first one's first.
    pub(crate) places: (usize, usize),
    /// What both have.
    pub(crate) shared: Selector,
}

/// How specific each network is; of several that have a stream it is that of the one with the most: whether it names endpoints, then how
/// many others have all of its streams, and more.
pub(super) fn specificities(named: &[NamedNetwork]) -> Vec<(bool, usize)> {
    let extents: Vec<Extent> = named.iter().map(|network| Extent::of(&network.streams)).collect();
    let wider = |one: &Extent| extents.iter().filter(|other| other.is_wider_than(one)).count();
    extents.iter().map(|one| (one.names_endpoints(), wider(one))).collect()
}

/// Pairs of networks with streams in common of which neither is a part of the other, unless what they have in common is of a third
/// network that is a part of both. Networks of one name are one, and one that names endpoints goes before one that does not.
pub(crate) fn clashes(named: &[NamedNetwork]) -> impl Iterator<Item = Clash> {
    let extents: Vec<Extent> = named.iter().map(|network| Extent::of(&network.streams)).collect();
    (0..named.len()).flat_map(move |second| {
        let clashes = (0..second).filter_map(|first| {
            let (one, other) = (&extents[first], &extents[second]);
            if named[first].name == named[second].name || one.names_endpoints() != other.names_endpoints() {
                return None;
            }
            let shared = one.shared_with(other)?;
            let is_told = one.is_wider_than(other)
                || other.is_wider_than(one)
                || extents
                    .iter()
                    .any(|third| third.contains(&shared) && one.is_wider_than(third) && other.is_wider_than(third));
            (!is_told).then(|| Clash { places: (first, second), shared: shared.to_selector() })
        });
        clashes.collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(networks: &[(&str, &str)]) -> Vec<(usize, usize, String)> {
        let network = |(name, streams): &(&str, &str)| NamedNetwork {
            name: (*name).to_owned(),
            streams: streams.parse().unwrap(),
        };
        let named: Vec<NamedNetwork> = networks.iter().map(network).collect();
        clashes(&named).map(|Clash { places: (first, second), shared }| (first, second, shared.to_string())).collect()
    }

    #[test]
    fn networks_clash_where_nobody_can_tell_whose_a_stream_is() {
        let clash = |first, second, shared: &str| vec![(first, second, shared.to_owned())];
        assert_eq!(found(&[("blue", "vni 1,2"), ("red", "vni 2,3")]), clash(0, 1, "vni 2"));
        assert_eq!(found(&[("blue", "vni 1"), ("lab", "from 10.0.0.0/8")]), clash(0, 1, "vni 1 from 10.0.0.0/8"));
        assert_eq!(found(&[("a", "vni 9"), ("b", "vni 7"), ("c", "vni 7")]), clash(1, 2, "vni 7"));
    }

    #[test]
    fn networks_do_not_clash_that_are_parts_of_each_other_or_apart_or_of_one_name_or_that_a_third_one_settles() {
        for networks in [
            &[("blue", "vni 1-9"), ("red", "vni 5"), ("lab", "vni 5 from 10.0.0.0/8")][..],
            &[("blue", "vni 1"), ("red", "vni 2"), ("lab", "geneve vni 0 endpoint 0x1")],
            &[("blue", "vni 0"), ("lab", "endpoint 0x1"), ("red", "endpoint 0x2")],
            &[("wide", "from 10.0.0.0/8"), ("lab", "geneve endpoint 0x1")],
            &[("blue", "vni 1,2"), ("blue", "vni 2,3")],
            &[("blue", "vni 1,2"), ("red", "vni 2,3"), ("red", "vni 2")],
            &[("blue", "vni 1"), ("lab", "from 10.0.0.0/8"), ("lab", "vni 1 from 10.0.0.0/8")],
        ] {
            assert_eq!(found(networks), [], "{networks:?}");
        }
    }
}
