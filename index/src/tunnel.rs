//! Which mirror stream the frames of an interface came in: the one place where its texts are read.

use std::net::IpAddr;

use vxtap_filter::Tunnel;
use vxtap_wire::NetworkId;
use vxtap_wire::envelope::Vnis;
use vxtap_wire::vxlan::Vni;

use crate::capture::Interface;

/// What an interface says of the mirror stream that it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TunnelFacts {
    vni: Option<u32>,
    /// VNIs of layers around that one.
    around: Vnis,
    source: Option<IpAddr>,
    network: Option<String>,
}

impl TunnelFacts {
    /// From the words `vni=100`, `around=1,2`, `source=10.0.0.1` and `network=NAME` in the interface's description, in any place and order;
    /// where it has no such word, from a name such as `vni 100 from 10.0.0.1`.
    pub(crate) fn of(interface: &Interface) -> Self {
        let mut facts = Self::default();
        for word in interface.description.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("vni", vni)) => facts.vni = vni.parse().ok().filter(|vni| is_vni(*vni)),
                Some(("around", vnis)) => {
                    vnis.split(',')
                        .filter_map(|vni| Vni::new(vni.parse().ok()?))
                        .for_each(|vni| facts.around.push(vni));
                }
                Some(("source", source)) => facts.source = source.parse().ok(),
                Some(("network", network)) => facts.network = Some(network.to_owned()),
                _ => {}
            }
        }
        if facts == Self::default() {
            let mut words = interface.name.split(' ');
            if let (Some("vni"), Some(vni)) = (words.next(), words.next()) {
                facts.vni = vni.parse().ok().filter(|vni| is_vni(*vni));
                if words.next() == Some("from") {
                    facts.source = words.next().and_then(|source| source.parse().ok());
                }
            }
        }
        facts
    }

    /// As a filter takes it.
    pub(crate) fn tunnel(&self) -> Tunnel<'_> {
        let Self { vni, around, source, network } = self;
        Tunnel { vni: *vni, around: *around, network: network.as_deref(), outer_source: *source }
    }

    /// Whether the interface tells the VNI, and there is no other.
    pub(crate) const fn has_one_vni(&self) -> bool {
        self.vni.is_some() && self.around.is_empty()
    }

    /// The network that flows of the stream are in, as far as the interface tells: the VNI.
    pub(crate) fn network(&self) -> NetworkId {
        self.vni.map_or(NetworkId::NONE, NetworkId)
    }
}

const fn is_vni(vni: u32) -> bool {
    vni < NetworkId::FIRST_NAMED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::tests::interface;

    #[test]
    fn a_description_says_vni_source_and_network() {
        let facts = TunnelFacts::of(&interface("anything", "a mirror stream: vni=7 source=2001:db8::1 network=blue"));
        assert_eq!((facts.vni, facts.network.as_deref()), (Some(7), Some("blue")));
        assert_eq!(facts.source, "2001:db8::1".parse().ok());
        assert_eq!(facts.network(), NetworkId(7));
    }

    #[test]
    fn a_name_is_read_where_the_description_says_nothing() {
        let facts = TunnelFacts::of(&interface("vni 4242 from 10.0.0.7", "inner frames of a mirror stream"));
        assert_eq!((facts.vni, facts.source), (Some(4242), "10.0.0.7".parse().ok()));
        let facts = TunnelFacts::of(&interface("vni 4242 from 10.0.0.7", "vni=1"));
        assert_eq!((facts.vni, facts.source), (Some(1), None));
    }

    #[test]
    fn other_interfaces_and_impossible_values_say_nothing() {
        for (name, description) in
            [("plain", ""), ("eth0", "vni=16777216 source=x"), ("vni x from y", ""), ("other streams", ""), ("", "")]
        {
            let facts = TunnelFacts::of(&interface(name, description));
            assert_eq!(facts, TunnelFacts::default(), "{name} {description}");
            assert_eq!(facts.network(), NetworkId::NONE);
        }
    }
}
