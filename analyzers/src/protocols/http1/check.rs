//! What contradicts the protocol in a head, by Suricata's names.

use super::head::{Coding, Fields, Length};
use super::start::{RequestLine, is_known_method};

/// What is wrong with a request, of whose head the end may be `cut`.
pub(super) fn request(line: &RequestLine<'_>, fields: &Fields<'_>, cut: bool) -> impl Iterator<Item = &'static str> {
    let authority = line.authority().filter(|_| line.method != b"CONNECT");
    let differs = authority.zip(fields.host).is_some_and(|(authority, host)| !authority.eq_ignore_ascii_case(host));
    let host_is_missing = !cut && line.protocol == Some(b"HTTP/1.1") && fields.host.is_none();
    let found = [(differs || fields.hosts_differ, "host_header_ambiguous"), (host_is_missing, "missing_host_header")];
    request_line(line, cut).into_iter().chain(names(found))
}

/// What is wrong with a request's first line.
fn request_line(line: &RequestLine<'_>, cut: bool) -> Option<&'static str> {
    let known = is_known_method(line.method);
    match line.protocol {
        Some(_) if !known => Some("request_line_unknown_method"),
        None if cut => None,
        None if !known => Some("request_line_unknown_method_no_protocol"),
        None => Some("request_line_missing_protocol"),
        Some(_) => None,
    }
}

/// Whether [`fields`] finds nothing, told at a glance.
pub(super) fn is_none_in(fields: &Fields<'_>) -> bool {
    let has_length = match fields.content_length {
        Length::Absent => false,
        Length::Bytes(_) => true,
        Length::Invalid | Length::Differ => return false,
    };
    match fields.coding {
        _ if fields.colon_missing => false,
        Coding::Absent | Coding::Identity => true,
        Coding::Chunked => !has_length,
        Coding::Other => false,
    }
}

/// What is wrong with the fields of a request, or else of a response.
pub(super) fn fields(fields: &Fields<'_>, in_request: bool) -> impl Iterator<Item = &'static str> {
    let name = |request, response| if in_request { request } else { response };
    names([
        (fields.colon_missing, name("request_field_missing_colon", "response_field_missing_colon")),
        (
            fields.content_length == Length::Invalid,
            name("invalid_content_length_field_in_request", "invalid_content_length_field_in_response"),
        ),
        (
            fields.content_length == Length::Differ,
            name("duplicate_content_length_field_in_request", "duplicate_content_length_field_in_response"),
        ),
        (
            fields.coding == Coding::Other,
            name("invalid_transfer_encoding_value_in_request", "invalid_transfer_encoding_value_in_response"),
        ),
        // Suricata has no name for this, by which requests are smuggled (RFC 9112 6.3).
        (
            fields.coding == Coding::Chunked && fields.content_length != Length::Absent,
            name("content_length_and_transfer_encoding_in_request", "content_length_and_transfer_encoding_in_response"),
        ),
    ])
}

fn names<const N: usize>(found: [(bool, &'static str); N]) -> impl Iterator<Item = &'static str> {
    found.into_iter().filter_map(|(found, name)| found.then_some(name))
}
