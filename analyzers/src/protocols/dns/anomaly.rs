//! What can be wrong with a message, in Suricata's words.

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Anomaly {
    MalformedData,
    NotRequest,
    NotResponse,
    ZFlagSet,
    InvalidOpcode,
    NameTooLong,
    InfiniteLoop,
    TooManyLabels,
    InvalidAuthorities,
    InvalidAdditionals,
}

impl Anomaly {
    const ALL: [Self; 10] = [
        Self::MalformedData,
        Self::NotRequest,
        Self::NotResponse,
        Self::ZFlagSet,
        Self::InvalidOpcode,
        Self::NameTooLong,
        Self::InfiniteLoop,
        Self::TooManyLabels,
        Self::InvalidAuthorities,
        Self::InvalidAdditionals,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedData => "malformed_data",
            Self::NotRequest => "not_request",
            Self::NotResponse => "not_response",
            Self::ZFlagSet => "z_flag_set",
            Self::InvalidOpcode => "invalid_opcode",
            Self::NameTooLong => "name_too_long",
            Self::InfiniteLoop => "infinite_loop",
            Self::TooManyLabels => "too_many_labels",
            Self::InvalidAuthorities => "invalid_authorities",
            Self::InvalidAdditionals => "invalid_additionals",
        }
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Anomalies(u16);

impl Anomalies {
    pub(super) fn add(&mut self, anomaly: Anomaly) {
        self.0 |= 1 << anomaly as u8;
    }

    pub(super) fn remove(&mut self, anomaly: Anomaly) {
        self.0 &= !(1 << anomaly as u8);
    }

    /// Takes those of `found` in that are new; gives them.
    pub(super) fn learn(&mut self, found: Self) -> impl Iterator<Item = Anomaly> + use<> {
        let fresh = found.0 & !self.0;
        self.0 |= found.0;
        Anomaly::ALL.into_iter().filter(move |anomaly| fresh & 1 << *anomaly as u8 != 0)
    }
}
