//! Where a message's body ends (RFC 9112 6.3).

use super::head::{Coding, Fields, Length};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Empty,
    /// After so many bytes.
    Bytes(u64),
    /// By its last chunk.
    Chunked,
    /// When the connection ends.
    UntilEnd,
    /// It is not said, or in contradictions.
    Unknown,
}

impl Framing {
    pub(super) fn of_request(fields: &Fields<'_>) -> Self {
        match (fields.coding, fields.content_length) {
            (Coding::Chunked, _) => Self::Chunked,
            (Coding::Other, _) | (_, Length::Invalid | Length::Differ) => Self::Unknown,
            (_, Length::Absent) => Self::Empty,
            (_, Length::Bytes(bytes)) => Self::bytes(bytes),
        }
    }

    /// `to_head`: the request's method was `HEAD`.
    pub(super) fn of_response(fields: &Fields<'_>, status: u16, to_head: bool) -> Self {
        if to_head || matches!(status, 100..200 | 204 | 304) {
            return Self::Empty;
        }
        match (fields.coding, fields.content_length) {
            (Coding::Chunked, _) => Self::Chunked,
            (Coding::Other, _) | (_, Length::Absent | Length::Invalid | Length::Differ) => Self::UntilEnd,
            (_, Length::Bytes(bytes)) => Self::bytes(bytes),
        }
    }

    const fn bytes(bytes: u64) -> Self {
        if bytes == 0 { Self::Empty } else { Self::Bytes(bytes) }
    }
}
