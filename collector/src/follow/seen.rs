//! A pcapng stream as a reader that is not ours sees it. For tests.

use pcap_parser::pcapng::{Block as Parsed, PcapNGOption, parse_block_le};

/// One block, with the name of its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Header,
    Interface(String),
    /// Time in nanoseconds since 1970, and frame.
    Record(String, u64, Vec<u8>),
    /// Received and dropped.
    Statistics(String, u64, u64),
}

/// Reads a stream piece by piece, each of them whole blocks.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    names: Vec<String>,
}

impl Reader {
    /// The blocks of the next piece, but those without meaning.
    ///
    /// # Panics
    /// When it is not whole blocks, or they do not fit together.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Vec<Block> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (rest, block) = parse_block_le(bytes).expect("whole blocks");
            bytes = rest;
            found.extend(self.take(&block));
        }
        found
    }

    fn take(&mut self, block: &Parsed<'_>) -> Option<Block> {
        Some(match block {
            Parsed::SectionHeader(_) => Block::Header,
            Parsed::InterfaceDescription(interface) => {
                assert_eq!((interface.linktype.0, interface.if_tsresol), (1, 9));
                let name = String::from_utf8(option(&interface.options, 2).to_vec()).unwrap();
                self.names.push(name.clone());
                Block::Interface(name)
            }
            Parsed::EnhancedPacket(packet) => {
                let time_ns = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let frame = packet.data[..packet.caplen as usize].to_vec();
                Block::Record(self.names[packet.if_id as usize].clone(), time_ns, frame)
            }
            Parsed::InterfaceStatistics(statistics) => {
                let count = |code| u64::from_le_bytes(option(&statistics.options, code).try_into().unwrap());
                Block::Statistics(self.names[statistics.if_id as usize].clone(), count(4), count(5))
            }
            _ => return None,
        })
    }
}

fn option<'a>(options: &'a [PcapNGOption<'_>], code: u16) -> &'a [u8] {
    let option = options.iter().find(|option| option.code.0 == code).expect("the option");
    &option.value[..option.len as usize]
}

/// The blocks of a whole stream.
pub(crate) fn blocks(stream: &[u8]) -> Vec<Block> {
    Reader::default().read(stream)
}
