//! Which mirror streams share their network with another one.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use vxtap_wire::NetworkId;

use crate::stream::StreamId;

/// The most streams that are told apart: as many as a collector tells apart.
const STREAMS_MAX: usize = 65_536;

/// What is known of each stream, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing: it has not been seen.
    Unseen,
    /// The only one of its network so far.
    Alone(NetworkId),
    /// One of several.
    Together(NetworkId),
}

/// Learns it from the packets.
#[derive(Debug, Default)]
pub(super) struct Streams {
    known: Vec<Known>,
    /// The first stream of each network.
    first: HashMap<NetworkId, StreamId, FixedState>,
}

impl Streams {
    /// Whether `network` has another stream than `stream`, as far as it was seen.
    #[inline]
    pub(super) fn has_others(&mut self, stream: StreamId, network: NetworkId) -> bool {
        match self.known.get(stream.0 as usize) {
            Some(Known::Alone(known)) if *known == network => false,
            Some(Known::Together(known)) if *known == network => true,
            _ => self.learn(stream, network),
        }
    }

    /// A stream is seen for the first time, or in another network than before.
    #[cold]
    fn learn(&mut self, stream: StreamId, network: NetworkId) -> bool {
        let number = stream.0 as usize;
        if number >= STREAMS_MAX {
            return false;
        }
        if number >= self.known.len() {
            self.known.resize(number + 1, Known::Unseen);
        }
        let first = *self.first.entry(network).or_insert(stream);
        let together = first != stream;
        self.known[number] = if together { Known::Together(network) } else { Known::Alone(network) };
        if together && self.known.get(first.0 as usize) == Some(&Known::Alone(network)) {
            self.known[first.0 as usize] = Known::Together(network);
        }
        together
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_others_once_a_second_one_of_its_network_was_seen() {
        let mut streams = Streams::default();
        let mut others = |stream, network| streams.has_others(StreamId(stream), NetworkId(network));
        assert!(!others(3, 7));
        assert!(!others(4, 8));
        assert!(!others(3, 7));
        assert!(others(5, 7));
        assert!(others(3, 7) && others(5, 7) && !others(4, 8));
        assert!(!others(65_536, 7), "all streams that are too many share this one: they may be anything");
    }
}
