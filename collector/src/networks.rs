//! What configuration calls things: networks that are mirrored under several VNIs or from several sources, and names of VNIs and
//! sources.

mod overlap;

use std::collections::HashMap;
use std::net::IpAddr;

use vxtap_analyzers::{StreamKey, StreamNames};
use vxtap_wire::NetworkId;
use vxtap_wire::vxlan::Vni;

use crate::selector::{Origin, Selector};
pub(crate) use overlap::{Clash, clashes};

/// A network with a name: what comes by any of its mirror streams is of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedNetwork {
    /// Its name, for people and filters. Networks of one name are one.
    pub name: String,
    /// Its streams. One that several networks have is the most specific one's: of that which is a part of the others ([`clashes`]).
    pub streams: Selector,
}

/// A name of a VNI or of an outer source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: String,
    /// What has it.
    pub of: Named,
}

/// What can have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A VNI, whoever sends it.
    Vni(u32),
    /// An outer source.
    Source(IpAddr),
}

/// Which network a mirror stream is of, and what it is called.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    /// Kept for the life of the program, as configuration is: filters look at them for each packet.
    names: Vec<&'static str>,
    /// Networks of one VNI, by it; a place in `names`, and in the order of looking: what is more specific comes first.
    of_vni: HashMap<u32, (usize, u32)>,
    /// Other networks: the order, the streams, and a place in `names`.
    others: Vec<(usize, Selector, u32)>,
    vni_names: HashMap<u32, &'static str>,
    source_names: HashMap<IpAddr, &'static str>,
}

impl Networks {
    /// The most networks.
    pub const MAX: usize = 4096;
    /// The most that are more than one VNI, all of which are looked at for each new stream.
    pub const MAX_WIDE: usize = 256;
    /// The most names.
    pub const MAX_NAMES: usize = 65_536;

    /// The networks of `named`; every other VNI is a network of its own.
    pub fn new(named: &[NamedNetwork]) -> Self {
        let mut networks = Self::default();
        let mut numbers = Vec::with_capacity(named.len());
        for one in named {
            let known = networks.names.iter().position(|name| *name == one.name);
            let number = known.unwrap_or(networks.names.len()) as u32;
            if known.is_none() {
                networks.names.push(one.name.clone().leak());
            }
            numbers.push(number);
        }
        let specificities = overlap::specificities(named);
        let mut places: Vec<usize> = (0..named.len()).collect();
        places.sort_by_key(|place| std::cmp::Reverse(specificities[*place]));
        for (order, place) in places.into_iter().enumerate() {
            let (one, number) = (&named[place], numbers[place]);
            for streams in one.streams.vni_by_vni() {
                match streams.only_vni() {
                    Some(vni) => {
                        networks.of_vni.entry(vni).or_insert((order, number));
                    }
                    None => networks.others.push((order, streams, number)),
                }
            }
        }
        networks
    }

    /// The same with names of VNIs and sources.
    #[must_use]
    pub fn with_names(mut self, names: &[Name]) -> Self {
        for Name { name, of } in names {
            let name: &'static str = name.clone().leak();
            match of {
                Named::Vni(vni) => self.vni_names.insert(*vni, name),
                Named::Source(source) => self.source_names.insert(*source, name),
            };
        }
        self
    }

    fn number(&self, origin: &Origin) -> Option<u32> {
        let by_vni = origin.vni.and_then(|vni| self.of_vni.get(&vni.get())).copied();
        let before = by_vni.map_or(usize::MAX, |(order, _)| order);
        let mut others = self.others.iter().take_while(|(order, ..)| *order < before);
        let other = others.find(|(_, streams, _)| streams.matches(origin)).map(|(.., number)| *number);
        other.or(by_vni.map(|(_, number)| number))
    }

    /// The network of what comes by `stream`.
    pub fn network(&self, stream: &StreamKey) -> NetworkId {
        let named = self.number(&Origin::from(stream));
        named.map_or_else(|| stream.network(), |number| NetworkId(NetworkId::FIRST_NAMED + number))
    }

    /// The name of the network of what comes by `stream`; `None` where it has none.
    pub fn name(&self, stream: &StreamKey) -> Option<&'static str> {
        self.names.get(self.number(&Origin::from(stream))? as usize).copied()
    }

    /// The name of the network with this number; `None` where it has none.
    pub fn name_of(&self, network: NetworkId) -> Option<&'static str> {
        let number = network.0.checked_sub(NetworkId::FIRST_NAMED)?;
        self.names.get(number as usize).copied()
    }

    /// What `stream` and its parts are called.
    pub fn names(&self, stream: &StreamKey) -> StreamNames {
        StreamNames {
            network: self.name(stream),
            vni: stream.vni.and_then(|vni| self.vni_names.get(&vni.get())).copied(),
            source: stream.source.and_then(|source| self.source_names.get(&source)).copied(),
        }
    }

    /// `vni 4242 (web) from 10.0.0.7 (gateway)`: the stream with the names of its VNI and its source behind them.
    pub fn called(&self, stream: &StreamKey) -> String {
        let mut called = stream.to_string();
        let names = self.names(stream);
        let numbers = [
            (stream.vni.map(|vni| format!("vni {}", Vni::get(vni))), names.vni),
            (stream.source.map(|source| format!("from {source}")), names.source),
        ];
        for (number, name) in numbers {
            if let (Some(number), Some(name)) = (number, name) {
                called = called.replacen(&number, &format!("{number} ({name})"), 1);
            }
        }
        called
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(vni: u32) -> StreamKey {
        from(vni, "10.0.0.7")
    }

    fn from(vni: u32, source: &str) -> StreamKey {
        StreamKey::vxlan(source.parse().unwrap(), Vni::new(vni).unwrap())
    }

    fn network(name: &str, streams: &str) -> NamedNetwork {
        NamedNetwork { name: name.to_owned(), streams: streams.parse().unwrap() }
    }

    #[test]
    fn vnis_of_one_name_are_one_network_and_others_are_their_own() {
        let networks = Networks::new(&[network("blue", "vni 1,2"), network("red", "vni 3"), network("blue", "vni 2")]);
        assert_eq!(networks.network(&stream(1)), networks.network(&stream(2)));
        assert_ne!(networks.network(&stream(1)), networks.network(&stream(3)));
        assert_eq!(networks.network(&stream(4)), NetworkId(4));
        assert_eq!(networks.network(&StreamKey::PLAIN), NetworkId::NONE);
        let names = [1, 2, 3, 4].map(|vni| networks.name(&stream(vni)));
        assert_eq!(names, [Some("blue"), Some("blue"), Some("red"), None]);
        assert_eq!(networks.name_of(networks.network(&stream(3))), Some("red"));
        assert_eq!(networks.name_of(NetworkId(4)), None);
        assert_eq!(networks.name_of(NetworkId::NONE), None);
    }

    #[test]
    fn a_network_may_be_known_by_its_sources_and_the_most_specific_that_fits_has_a_stream_in_whatever_order_they_are() {
        let mut named = [
            network("lab", "from 10.9.0.0/16"),
            network("blue", "vni 5"),
            network("lab", "vni 5 from 10.9.0.0/16"),
            network("red", "vni 5 from 10.8.0.0/16"),
            network("blue", "vni 6-9 from 10.0.0.0/16"),
            network("wide", "vni 1-5000"),
        ];
        for _ in 0..named.len() {
            named.rotate_left(1);
            let networks = Networks::new(&named);
            for (vni, source, name) in [
                (5, "10.9.0.1", Some("lab")),
                (5, "10.8.0.1", Some("red")),
                (5, "10.0.0.1", Some("blue")),
                (6, "10.0.0.1", Some("blue")),
                (6, "11.0.0.1", Some("wide")),
                (5001, "10.9.0.1", Some("lab")),
                (5001, "11.0.0.1", None),
            ] {
                assert_eq!(networks.name(&from(vni, source)), name, "vni {vni} from {source} of {named:?}");
            }
            assert_eq!(networks.network(&from(5, "10.0.0.1")), networks.network(&from(6, "10.0.1.1")));
            assert_eq!(networks.network(&from(5001, "11.0.0.1")), NetworkId(5001));
        }
    }

    #[test]
    fn a_network_of_an_endpoint_goes_before_those_of_vnis_and_sources() {
        use vxtap_wire::geneve::{Balancer, BalancerCloud, Cookie};
        let networks = Networks::new(&[
            network("wide", "vni 0 from 10.0.0.7"),
            network("web", "endpoint 0x1a2b"),
            network("all", "vni 0"),
        ]);
        let by = |endpoint| StreamKey {
            cookie: Cookie::Balancer(Balancer { cloud: BalancerCloud::Aws, endpoint, attachment: 5 }),
            ..from(0, "10.0.0.7")
        };
        assert_eq!((networks.name(&by(0x1a2b)), networks.name(&by(7))), (Some("web"), Some("wide")));
        assert_eq!(networks.name(&from(0, "10.0.0.8")), Some("all"));
    }

    #[test]
    fn a_stream_is_called_by_the_names_of_its_vni_and_its_source() {
        let networks = Networks::new(&[network("blue", "vni 7")]).with_names(&[
            Name { name: "web".into(), of: Named::Vni(7) },
            Name { name: "gateway".into(), of: Named::Source("10.0.0.7".parse().unwrap()) },
        ]);
        assert_eq!(networks.called(&stream(7)), "vni 7 (web) from 10.0.0.7 (gateway)");
        assert_eq!(networks.called(&stream(77)), "vni 77 from 10.0.0.7 (gateway)");
        assert_eq!(networks.called(&from(7, "10.0.0.70")), "vni 7 (web) from 10.0.0.70");
        let names = networks.names(&stream(7));
        assert_eq!((names.network, names.vni, names.source), (Some("blue"), Some("web"), Some("gateway")));
        let read: Selector = networks.called(&stream(7)).parse().unwrap();
        assert!(read.matches(&Origin::from(&stream(7))), "a stream's name stands for it in a decision");
    }
}
