//! What HTTP of all versions has in its events.

use std::borrow::Cow;

use super::{Context, Protocol, Side};
use crate::json::{JsonObject, append_number};

/// So many bytes of one field are in an event; the rest is left out.
const FIELD_MAX: usize = 8 * 1024;
/// So many interim statuses of one request are told.
const INTERIM_MAX: usize = 4;

/// Members of an event, made when a head was seen and kept until the event is written: at most a few fields of [`FIELD_MAX`]
/// bytes. They are in two runs, since members of request and response take turns in Suricata's order.
#[derive(Debug, Default)]
pub(super) struct Members {
    text: Vec<u8>,
    split: usize,
}

impl Members {
    fn new(
        mut text: Vec<u8>,
        first: impl FnOnce(&mut JsonObject<'_>),
        second: impl FnOnce(&mut JsonObject<'_>),
    ) -> Self {
        JsonObject::append_to(&mut text, first);
        let split = text.len();
        JsonObject::append_to(&mut text, second);
        Self { text, split }
    }

    /// The first run, without braces.
    pub(super) fn first(&self) -> &[u8] {
        within(self.text.get(..self.split))
    }

    /// The second run, without braces.
    pub(super) fn second(&self) -> &[u8] {
        within(self.text.get(self.split..))
    }

    /// The memory, for other members.
    pub(super) fn into_text(self) -> Vec<u8> {
        self.text
    }

    /// Memory that this takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.text.len()
    }
}

fn within(object: Option<&[u8]>) -> &[u8] {
    object.and_then(|object| object.get(1..object.len().checked_sub(1)?)).unwrap_or_default()
}

/// What a request says; `None` where it does not, or it was not seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestFields<'a> {
    pub(super) method: Option<&'a [u8]>,
    pub(super) target: Option<&'a [u8]>,
    pub(super) protocol: Option<&'a [u8]>,
    /// Host and port, from the target or the field `Host` or `:authority`.
    pub(super) authority: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) forwarded_for: Option<&'a [u8]>,
}

impl RequestFields<'_> {
    /// The members, in the memory of `text`, which is empty.
    pub(super) fn members(&self, text: Vec<u8>) -> Members {
        Members::new(
            text,
            |json| {
                if let Some(authority) = self.authority {
                    let (host, port) = split_authority(authority);
                    json.text("hostname", clip(&host_name(host)));
                    if let Some(port) = port {
                        json.number("http_port", port);
                    }
                }
                write_text(json, "url", self.target);
                write_text(json, "http_user_agent", self.user_agent);
                write_text(json, "xff", self.forwarded_for);
            },
            |json| {
                write_text(json, "http_refer", self.referer);
                write_text(json, "http_method", self.method);
                write_text(json, "protocol", self.protocol);
            },
        )
    }
}

/// What a response says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResponseFields<'a> {
    pub(super) status: u16,
    pub(super) content_type: Option<&'a [u8]>,
    pub(super) content_range: Option<&'a [u8]>,
    pub(super) location: Option<&'a [u8]>,
}

impl ResponseFields<'_> {
    /// The members, in the memory of `text`, which is empty.
    pub(super) fn members(&self, text: Vec<u8>) -> Members {
        Members::new(
            text,
            |json| {
                // The media type alone: parameters follow a semicolon (RFC 9110 8.3.1).
                let media_type = self.content_type.and_then(|value| value.split(|byte| *byte == b';').next());
                write_text(json, "http_content_type", media_type.map(<[u8]>::trim_ascii));
                if let Some(range) = self.content_range {
                    json.object("content_range", |json| write_range(json, range));
                }
            },
            |json| {
                let line = json.begin();
                line.extend_from_slice(b"\"status\":");
                append_number(line, u64::from(self.status));
                if (301..400).contains(&self.status) {
                    write_text(json, "redirect", self.location);
                }
            },
        )
    }
}

/// What was counted and measured of a request and its response.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measures {
    /// Bytes of the request's body that were seen.
    pub(super) request_length: u64,
    /// Bytes of the response's body that were seen.
    pub(super) length: u64,
    /// From the request's last byte to the response's first, in nanoseconds.
    pub(super) response_time_ns: Option<u64>,
    /// Statuses of interim responses.
    pub(super) interim: Interim,
    /// Not all that belongs to it was seen.
    pub(super) truncated: bool,
}

impl Measures {
    pub(super) fn write(&self, json: &mut JsonObject<'_>) {
        let line = json.next();
        line.extend_from_slice(b"\"length\":");
        append_number(line, self.length);
        line.extend_from_slice(b",\"request_length\":");
        append_number(line, self.request_length);
        if let Some(nanos) = self.response_time_ns {
            line.extend_from_slice(b",\"response_time_us\":");
            append_number(line, nanos / 1_000);
        }
        let interim = self.interim.statuses();
        if !interim.is_empty() {
            json.array("interim", |items| interim.iter().for_each(|status| items.number(*status)));
        }
        if self.truncated {
            json.flag("truncated", true);
        }
    }
}

/// Statuses of responses that are not the last one of their request (RFC 9110 15.2), the first few.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interim {
    statuses: [u16; INTERIM_MAX],
    count: usize,
}

impl Interim {
    pub(super) fn push(&mut self, status: u16) {
        if let Some(place) = self.statuses.get_mut(self.count) {
            *place = status;
            self.count += 1;
        }
    }

    fn statuses(&self) -> &[u16] {
        self.statuses.get(..self.count).unwrap_or_default()
    }
}

/// The anomalies that were told of a flow: each name once.
#[derive(Debug)]
pub(super) struct Anomalies {
    protocol: Protocol,
    told: Vec<&'static str>,
}

impl Anomalies {
    pub(super) const fn new(protocol: Protocol) -> Self {
        Self { protocol, told: Vec::new() }
    }

    pub(super) fn tell(&mut self, from: Side, name: &'static str, cx: &mut Context<'_>) {
        if !self.told.contains(&name) {
            self.told.push(name);
            cx.anomaly(from, self.protocol, name);
        }
    }
}

/// Host and port of `host:port` (RFC 3986 3.2), without what stands before an `@`. An IPv6 address keeps its brackets.
pub(super) fn split_authority(authority: &[u8]) -> (&[u8], Option<u16>) {
    let at = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
    let authority = authority.get(at..).unwrap_or_default();
    let Some(colon) = memchr::memrchr(b':', authority) else { return (authority, None) };
    let (host, port) = authority.split_at(colon);
    if host.contains(&b':') && !host.ends_with(b"]") {
        // An IPv6 address without brackets and port.
        return (authority, None);
    }
    (host, number(&port[1..]).and_then(|port| u16::try_from(port).ok()))
}

/// The number in `digits`; `None` where there are none, others, or too many for 64 bits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Names of hosts are the same in either case and with the root's dot: told in lower case without it, as Suricata does.
pub(super) fn host_name(host: &[u8]) -> Cow<'_, [u8]> {
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.iter().any(u8::is_ascii_uppercase) { host.to_ascii_lowercase().into() } else { host.into() }
}

/// As much of `value` as stands in an event.
pub(super) fn clip(value: &[u8]) -> &[u8] {
    value.get(..FIELD_MAX).unwrap_or(value)
}

/// Inlined, so that the length of the key is known where it is copied.
#[inline]
fn write_text(json: &mut JsonObject<'_>, key: &'static str, value: Option<&[u8]>) {
    if let Some(value) = value {
        json.text(key, clip(value));
    }
}

/// `bytes 0-99/1000` (RFC 9110 14.4); either half may be `*`.
fn write_range(json: &mut JsonObject<'_>, range: &[u8]) {
    json.text("raw", clip(range));
    let Some(range) = range.strip_prefix(b"bytes") else { return };
    let mut halves = range.trim_ascii().splitn(2, |byte| *byte == b'/');
    let mut ends = halves.next().unwrap_or_default().splitn(2, |byte| *byte == b'-');
    let ends = [ends.next(), ends.next()];
    for (key, digits) in [("start", ends[0]), ("end", ends[1]), ("size", halves.next())] {
        if let Some(value) = digits.and_then(|digits| number(digits.trim_ascii())) {
            json.number(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RequestFields, ResponseFields, split_authority};

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        assert_eq!(split_authority(b"example.com"), (&b"example.com"[..], None));
        assert_eq!(split_authority(b"me@example.com:8080"), (&b"example.com"[..], Some(8080)));
        assert_eq!(split_authority(b"[2001:db8::1]:80"), (&b"[2001:db8::1]"[..], Some(80)));
        assert_eq!(split_authority(b"2001:db8::1"), (&b"2001:db8::1"[..], None));
        assert_eq!(split_authority(b"example.com:99999"), (&b"example.com"[..], None));
    }

    #[test]
    fn a_range_is_told_raw_and_in_numbers() {
        let members = |range| {
            let fields = ResponseFields { status: 206, content_range: Some(range), ..ResponseFields::default() };
            String::from_utf8(fields.members(Vec::new()).first().to_vec()).unwrap()
        };
        assert_eq!(members(b"bytes 0-9/20"), r#""content_range":{"raw":"bytes 0-9/20","start":0,"end":9,"size":20}"#);
        assert_eq!(members(b"bytes */20"), r#""content_range":{"raw":"bytes */20","size":20}"#);
        assert_eq!(members(b"pages 1-2"), r#""content_range":{"raw":"pages 1-2"}"#);
    }

    #[test]
    fn names_of_hosts_are_in_lower_case_and_long_fields_are_cut() {
        let fields = RequestFields {
            authority: Some(b"WWW.Example.COM.:8080"),
            target: Some(&[b'a'; 10_000]),
            ..RequestFields::default()
        };
        let members = String::from_utf8(fields.members(Vec::new()).first().to_vec()).unwrap();
        assert!(members.starts_with(r#""hostname":"www.example.com","http_port":8080,"url":"aaa"#), "{members}");
        assert_eq!(members.matches('a').count(), 8192 + 2, "and two in the names");
    }
}
