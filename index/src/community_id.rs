//! Community IDs as a search is given them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use vxtap_wire::community_id::{DIGEST_LEN, digest, to_text};
use vxtap_wire::{Direction, FiveTuple, FlowKey};

/// A Community ID version 1 of seed 0, as EVE lines and Wireshark show it: `1:` and 28 characters of base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommunityId([u8; DIGEST_LEN]);

/// Text that is no Community ID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{}' is not a Community ID: expected '1:' and 28 characters of base64, such as '1:LQU9qZlK+B5F3KDmev6m5PMibrg='", text.escape_default())]
pub struct InvalidCommunityId {
    text: String,
}

impl CommunityId {
    /// Of a packet with `tuple`.
    pub fn of(tuple: &FiveTuple) -> Self {
        Self(digest(0, tuple))
    }

    /// Of a flow: one, or two where it has one-way ICMP messages in both directions, which go by names of their own.
    pub(crate) fn of_flow(key: &FlowKey) -> (Self, Option<Self>) {
        let tuple = key.five_tuple(Direction::LowToHigh);
        let id = Self::of(&tuple);
        let back = tuple.is_icmp().then(|| Self::of(&tuple.reversed()));
        (id, back.filter(|back| *back != id))
    }

    /// The first eight bytes of its SHA-1 as a big-endian number.
    pub(crate) fn prefix(&self) -> u64 {
        self.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

impl FromStr for CommunityId {
    type Err = InvalidCommunityId;

    fn from_str(text: &str) -> Result<Self, InvalidCommunityId> {
        let hash = text.strip_prefix("1:").and_then(|hash| STANDARD.decode(hash).ok());
        let hash = hash.and_then(|hash| <[u8; DIGEST_LEN]>::try_from(hash).ok());
        hash.map(Self).ok_or_else(|| InvalidCommunityId { text: text.chars().take(64).collect() })
    }
}

impl fmt::Display for CommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&to_text(&self.0)).unwrap_or_default())
    }
}

impl fmt::Debug for CommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommunityId({self})")
    }
}

#[cfg(test)]
mod tests {
    use vxtap_wire::{IpAddress, IpVersion, NetworkId, protocol};

    use super::*;

    fn tuple(protocol: u8, source_port: u16, destination_port: u16) -> FiveTuple {
        FiveTuple {
            source: IpAddress::v4([128, 232, 110, 120]),
            destination: IpAddress::v4([66, 35, 250, 204]),
            source_port,
            destination_port,
            protocol,
            version: IpVersion::V4,
        }
    }

    #[test]
    fn an_id_is_read_back_from_its_text() {
        // The first example of the Community ID specification.
        let id = CommunityId::of(&tuple(protocol::TCP, 34855, 80));
        assert_eq!(id.to_string(), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        assert_eq!("1:LQU9qZlK+B5F3KDmev6m5PMibrg=".parse(), Ok(id));
        assert_eq!(id.prefix(), 0x2d05_3da9_994a_f81e);
    }

    #[test]
    fn a_text_that_is_no_id_is_refused_and_shown_without_control_characters() {
        for text in ["", "1:", "LQU9qZlK+B5F3KDmev6m5PMibrg=", "2:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:LQU9qZlK"] {
            assert!(text.parse::<CommunityId>().is_err(), "{text}");
        }
        assert!("1:LQU9qZlK+B5F3KDmev6m5PMibr==".parse::<CommunityId>().is_err(), "19 bytes");
        let error = "\x1b[31m1:x".parse::<CommunityId>().unwrap_err().to_string();
        assert!(error.starts_with("'\\u{1b}[31m1:x' is not a Community ID"), "{error}");
    }

    #[test]
    fn a_flow_of_one_way_messages_has_an_id_for_each_direction() {
        let unreachable = tuple(protocol::ICMP, 3, 1);
        let (key, direction) = FlowKey::new(NetworkId::NONE, &unreachable);
        assert_eq!(direction, Direction::HighToLow);
        let (one, other) = CommunityId::of_flow(&key);
        assert_eq!(other, Some(CommunityId::of(&unreachable)));
        assert_ne!(one, CommunityId::of(&unreachable));
        let echo = FlowKey::new(NetworkId::NONE, &tuple(protocol::ICMP, 8, 0)).0;
        assert_eq!(CommunityId::of_flow(&echo).1, None);
    }
}
