//! vxtap's own option: when the sender captured the frame, its number, how long it was, which way it went.

use super::options::MirrorDirection;

/// What vxtap's sender says of each frame. `docs/geneve-option.md` has the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// When the frame was captured, nanoseconds since 1970 by the sender's clock.
    pub captured_ns: u64,
    /// Place in its series, counted from 0. What is missing between two that arrived was lost, at the sender or on the way.
    pub sequence: u64,
    /// Number of the series, chosen at random. All its datagrams have one outer source port, VNI and direction, so that they take one way and
    /// reach one collector; each start of a sender begins new ones.
    pub series: u32,
    /// Length of the frame before the sender cut it, in bytes, at most [`Mark::MAX_ORIGINAL_LEN`]; 0 where it is not known.
    pub original_len: u32,
    /// Which way the frame went, seen from the mirrored interface; `None` where the sender does not know.
    pub direction: Option<MirrorDirection>,
}

impl Mark {
    /// The option's class: of the range that RFC 8926 section 7 leaves to experiments.
    pub const CLASS: u16 = 0xff56;
    /// The option's type; its high bit is clear, so those who do not know it pass over it.
    pub const KIND: u8 = 1;
    /// Length of the option in bytes, its own header included.
    pub const OPTION_LEN: usize = 28;
    /// The longest original length that can be told; longer ones are told as this.
    pub const MAX_ORIGINAL_LEN: u32 = 0x00ff_ffff;

    const DATA_LEN: usize = Self::OPTION_LEN - 4;
    const INGRESS: u8 = 1;
    const EGRESS: u8 = 2;

    /// The option as it is on the wire.
    #[inline]
    pub fn to_option(&self) -> [u8; Self::OPTION_LEN] {
        let direction = match self.direction {
            None => 0,
            Some(MirrorDirection::Ingress) => Self::INGRESS,
            Some(MirrorDirection::Egress) => Self::EGRESS,
        };
        let length = u32::from(direction) << 24 | self.original_len.min(Self::MAX_ORIGINAL_LEN);
        let mut option = [0; Self::OPTION_LEN];
        option[..2].copy_from_slice(&Self::CLASS.to_be_bytes());
        option[2] = Self::KIND;
        option[3] = (Self::DATA_LEN / 4) as u8;
        option[4..12].copy_from_slice(&self.captured_ns.to_be_bytes());
        option[12..20].copy_from_slice(&self.sequence.to_be_bytes());
        option[20..24].copy_from_slice(&self.series.to_be_bytes());
        option[24..].copy_from_slice(&length.to_be_bytes());
        option
    }

    /// From the option's data; `None` where it is too short. What is behind the part that is known is left alone: a later version may add to it.
    pub(super) fn from_data(data: &[u8]) -> Option<Self> {
        let data = data.first_chunk::<{ Self::DATA_LEN }>()?;
        let long = |at: usize| data[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let word = |at: usize| data[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let direction = match data[20] {
            Self::INGRESS => Some(MirrorDirection::Ingress),
            Self::EGRESS => Some(MirrorDirection::Egress),
            _ => None,
        };
        let original_len = word(20) & Self::MAX_ORIGINAL_LEN;
        Some(Self { captured_ns: long(0), sequence: long(8), series: word(16), original_len, direction })
    }
}
