//! The fields of a header block that matter here.

use std::ops::Range;

use crate::protocols::http_event::{clip, number};

/// Their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Method,
    Path,
    Authority,
    Status,
    Host,
    UserAgent,
    Referer,
    ForwardedFor,
    ContentType,
    ContentRange,
    Location,
    GrpcStatus,
    GrpcMessage,
}

/// Most blocks have no more than so many bytes of these fields.
const USUAL: usize = 1024;
const COUNT: usize = Name::GrpcMessage as usize + 1;

/// What a block says; of fields that come more than once, the first.
#[derive(Debug, Default)]
pub(super) struct HeaderFields {
    text: Vec<u8>,
    places: [Option<Range<usize>>; COUNT],
}

impl HeaderFields {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        // What an unusual block took is given back.
        self.text.shrink_to(USUAL);
        self.places = Default::default();
    }

    /// Takes a field, as much of it as an event has.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        let name = match name {
            b":method" => Name::Method,
            b":path" => Name::Path,
            b":authority" => Name::Authority,
            b":status" => Name::Status,
            b"host" => Name::Host,
            b"user-agent" => Name::UserAgent,
            b"referer" => Name::Referer,
            b"x-forwarded-for" => Name::ForwardedFor,
            b"content-type" => Name::ContentType,
            b"content-range" => Name::ContentRange,
            b"location" => Name::Location,
            b"grpc-status" => Name::GrpcStatus,
            b"grpc-message" => Name::GrpcMessage,
            _ => return,
        };
        let place = &mut self.places[name as usize];
        if place.is_none() {
            let begin = self.text.len();
            self.text.extend_from_slice(clip(value));
            *place = Some(begin..self.text.len());
        }
    }

    pub(super) fn get(&self, name: Name) -> Option<&[u8]> {
        self.text.get(self.places[name as usize].clone()?)
    }

    /// A number of three digits.
    pub(super) fn status(&self) -> Option<u16> {
        number(self.get(Name::Status)?)
            .and_then(|status| u16::try_from(status).ok())
            .filter(|status| (100..1000).contains(status))
    }

    /// Whether there are fields that only a client sends, of which the first may be in the part of the table that was not seen.
    pub(super) fn are_of_request(&self) -> bool {
        use Name::{Authority, ForwardedFor, Host, Method, Path, Referer, UserAgent};
        self.has_any(&[Method, Path, Authority, Host, UserAgent, Referer, ForwardedFor])
    }

    /// Whether there are fields that only a server sends.
    pub(super) fn are_of_response(&self) -> bool {
        self.has_any(&[Name::Status, Name::Location, Name::GrpcStatus])
    }

    fn has_any(&self, names: &[Name]) -> bool {
        names.iter().any(|name| self.get(*name).is_some())
    }

    /// Whether it belongs to gRPC.
    pub(super) fn is_grpc(&self) -> bool {
        self.get(Name::ContentType).is_some_and(|value| value.starts_with(b"application/grpc"))
    }
}
