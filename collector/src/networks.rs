//! Networks that are mirrored under several VNIs.

use std::collections::HashMap;

use vxtap_analyzers::StreamKey;
use vxtap_wire::NetworkId;
use vxtap_wire::vxlan::Vni;

/// A network with a name: what comes under any of its VNIs is of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedNetwork {
    /// Its name, for people and filters.
    pub name: String,
    /// Its VNIs. One that another network has as well is the first one's.
    pub vnis: Vec<Vni>,
}

/// Which network a mirror stream is of.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    /// Kept for the life of the program, as configuration is: filters look at them for each packet.
    names: Vec<&'static str>,
    of_vni: HashMap<u32, u32>,
}

impl Networks {
    /// The networks of `named`; every other VNI is a network of its own.
    pub fn new(named: &[NamedNetwork]) -> Self {
        let name = |one: &NamedNetwork| -> &'static str { one.name.clone().leak() };
        let mut networks = Self { names: named.iter().map(name).collect(), of_vni: HashMap::new() };
        for (number, one) in (0..).zip(named) {
            for vni in &one.vnis {
                networks.of_vni.entry(vni.get()).or_insert(number);
            }
        }
        networks
    }

    /// The network of what comes by `stream`.
    pub fn network(&self, stream: &StreamKey) -> NetworkId {
        let named = stream.vni.and_then(|vni| self.of_vni.get(&vni.get()));
        named.map_or_else(|| stream.network(), |number| NetworkId(NetworkId::FIRST_NAMED + number))
    }

    /// The name of the network of what comes by `stream`; `None` where it has none.
    pub fn name(&self, stream: &StreamKey) -> Option<&'static str> {
        let number = *self.of_vni.get(&stream.vni?.get())?;
        self.names.get(number as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(vni: u32) -> StreamKey {
        StreamKey::vxlan([10, 0, 0, 7].into(), Vni::new(vni).unwrap())
    }

    #[test]
    fn vnis_of_one_name_are_one_network_and_others_are_their_own() {
        let vnis = |vnis: &[u32]| vnis.iter().map(|vni| Vni::new(*vni).unwrap()).collect();
        let networks = Networks::new(&[
            NamedNetwork { name: "blue".to_owned(), vnis: vnis(&[1, 2]) },
            NamedNetwork { name: "red".to_owned(), vnis: vnis(&[2, 3]) },
        ]);
        assert_eq!(networks.network(&stream(1)), networks.network(&stream(2)));
        assert_ne!(networks.network(&stream(1)), networks.network(&stream(3)));
        assert_eq!(networks.network(&stream(4)), NetworkId(4));
        assert_eq!(networks.network(&StreamKey::PLAIN), NetworkId::NONE);
        let names = [1, 2, 3, 4].map(|vni| networks.name(&stream(vni)));
        assert_eq!(names, [Some("blue"), Some("blue"), Some("red"), None]);
    }
}
