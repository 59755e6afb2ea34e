//! The message that begins the key exchange: lists of algorithms (RFC 4253, section 7.1).

use crate::protocols::Side;

const KEXINIT: u8 = 20;

/// How many lists there are before the languages: key exchange, host key, then encryption, MAC and compression, each once for
/// what the client sends and once for what the server does.
const LISTS: usize = 8;

/// The algorithms that one side offers.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    lists: [&'a str; LISTS],
}

impl<'a> Offer<'a> {
    /// Reads a packet from its length on; `None` where it is another message, or cut before its lists end.
    pub(super) fn read(packet: &'a [u8]) -> Option<Self> {
        /// Length, length of the padding, type and cookie.
        const LISTS_AT: usize = 4 + 1 + 1 + 16;
        if packet.get(5) != Some(&KEXINIT) {
            return None;
        }
        let mut rest = packet.get(LISTS_AT..)?;
        let mut lists = [""; LISTS];
        for list in &mut lists {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (names, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            *list = std::str::from_utf8(names).ok().filter(|names| names.is_ascii())?;
            rest = after;
        }
        Some(Self { lists })
    }

    /// What HASSH is the MD5 of: the lists for the direction in which `from` sends.
    pub(super) fn algorithms(&self, from: Side) -> Box<str> {
        let own = from.index();
        [self.lists[0], self.lists[2 + own], self.lists[4 + own], self.lists[6 + own]].join(";").into()
    }
}
