//! Start lines: what is one, and what it says.

use memchr::{memchr, memmem};

use crate::protocols::Guess;
use crate::protocols::http_event::number;

/// Methods that servers know (RFC 9110, `WebDAV`, `UPnP`): where no version is seen, they tell HTTP from other things.
const METHODS: [&str; 24] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "SEARCH",
    "REPORT",
    "BIND",
    "MERGE",
    "PURGE",
    "NOTIFY",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
];
/// The shortest that is surely the beginning of a response.
const STATUS: &[u8; 12] = b"HTTP/1.# ###";
/// So many bytes tell whether a response begins.
pub(super) const STATUS_LINE_MIN: usize = STATUS.len();
/// What the preface of HTTP/2 looks like here: a head without fields, and more (RFC 9113 3.4).
const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// A first line is looked at so far when the protocol is guessed.
const LINE_MAX: usize = 8 * 1024;

/// The first line of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: Option<&'a [u8]>,
    /// `HTTP/1.1`.
    pub(super) protocol: Option<&'a [u8]>,
}

impl<'a> RequestLine<'a> {
    pub(super) fn read(line: &'a [u8]) -> Self {
        let line = line.trim_ascii();
        let Some(blank) = line.iter().position(|byte| is_blank(*byte)) else {
            return Self { method: line, target: None, protocol: None };
        };
        let (method, rest) = (&line[..blank], line[blank..].trim_ascii());
        // What stands behind the last blank is the version if it looks like one: targets with blanks are seen.
        if let Some(blank) = rest.iter().rposition(|byte| is_blank(*byte)) {
            let protocol = &rest[blank + 1..];
            if protocol.starts_with(b"HTTP/") {
                return Self { method, target: Some(rest[..blank].trim_ascii_end()), protocol: Some(protocol) };
            }
        }
        Self { method, target: Some(rest), protocol: None }
    }

    /// The same of a line whose end may not be there: a part of the version at its end is none of the target.
    pub(super) fn read_cut(line: &'a [u8]) -> Self {
        let read = Self::read(line);
        let Self { target: Some(target), protocol: None, .. } = read else { return read };
        let Some(blank) = target.iter().rposition(|byte| is_blank(*byte)) else { return read };
        if b"HTTP/".starts_with(&target[blank + 1..]) {
            return Self { target: Some(target[..blank].trim_ascii_end()), ..read };
        }
        read
    }

    /// Whether it is what a client begins HTTP/2 with (RFC 9113 3.4).
    pub(super) fn is_preface(&self) -> bool {
        self.method == b"PRI" && self.target == Some(b"*") && self.protocol == Some(b"HTTP/2.0")
    }

    /// Host and port in the target: its form is absolute, or the method's is the authority alone (RFC 9112 3.2).
    pub(super) fn authority(&self) -> Option<&'a [u8]> {
        let target = self.target?;
        if self.method == b"CONNECT" {
            return (!target.starts_with(b"/")).then_some(target);
        }
        if matches!(target.first(), None | Some(b'/' | b'*')) {
            return None;
        }
        let scheme = memmem::find(target.get(..16).unwrap_or(target), b"://")?;
        let rest = &target[scheme + 3..];
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        Some(&rest[..end])
    }
}

/// The status in the first line of a response; `None` where there is none from 100 to 999.
pub(super) fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/")?;
    // Nearly all are so.
    if let [b'1', b'.', b'0'..=b'9', b' ', hundreds @ b'1'..=b'9', tens, ones, behind @ ..] = rest
        && tens.is_ascii_digit()
        && ones.is_ascii_digit()
        && behind.first().is_none_or(|byte| is_blank(*byte))
    {
        let digit = |byte: &u8| u16::from(byte - b'0');
        return Some(digit(hundreds) * 100 + digit(tens) * 10 + digit(ones));
    }
    let blank = rest.iter().position(|byte| is_blank(*byte))?;
    let rest = rest[blank..].trim_ascii_start();
    let digits = rest.split(|byte| is_blank(*byte)).next().unwrap_or_default();
    number(digits).and_then(|status| u16::try_from(status).ok()).filter(|status| (100..1000).contains(status))
}

/// Whether `bytes` begin with the first line of a request.
pub(super) fn guess_request(bytes: &[u8]) -> Guess {
    let bytes = skip_empty_lines(bytes);
    let line = bytes.get(..LINE_MAX).unwrap_or(bytes);
    let (line, whole) = match memchr(b'\n', line) {
        Some(end) => (&line[..end], true),
        None => (line, bytes.len() >= LINE_MAX),
    };
    if line.first().is_some_and(|byte| *byte <= b' ') || line.starts_with(b"HTTP/") {
        return Guess::No;
    }
    // It stands at the end of nearly all lines; elsewhere it has to be searched for.
    let trimmed = line.strip_suffix(b"\r").unwrap_or(line);
    let is_last = trimmed.split_last().is_some_and(|(_, rest)| rest.ends_with(b"HTTP/1."));
    if (is_last || memmem::find(line, b"HTTP/1.").is_some()) && begins_with_method(line) {
        return Guess::Yes;
    }
    // No version: HTTP/0.9, or the mirror has cut it off. `PRI * HTTP/2.0` is not ours.
    match METHODS.iter().find(|method| line.starts_with(method.as_bytes())) {
        Some(method) => match line.get(method.len()..).unwrap_or_default() {
            [] | [b' '] if !whole => Guess::Perhaps,
            [b' ', b'/', ..] => Guess::Yes,
            [b' ', rest @ ..] if rest.starts_with(b"http://") => Guess::Yes,
            _ if whole => Guess::No,
            _ => Guess::Perhaps,
        },
        None if whole => Guess::No,
        None if line.iter().all(|byte| (b' '..0x7f).contains(byte)) => Guess::Perhaps,
        None => Guess::No,
    }
}

/// Whether the first word of a line with a version may be a method. Of those that nobody knows, none has small letters: text that speaks of
/// HTTP has them, and a flow that was picked up in the middle may begin with it.
fn begins_with_method(line: &[u8]) -> bool {
    if METHODS
        .iter()
        .any(|method| line.get(..method.len()).is_some_and(|it| it.eq_ignore_ascii_case(method.as_bytes())))
    {
        return true;
    }
    let word = line.split(|byte| is_blank(*byte)).next().unwrap_or_default();
    // Characters of a token (RFC 9110 5.6.2).
    let is_of_method =
        |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte);
    word.len() < line.len() && !word.is_empty() && word.iter().all(is_of_method)
}

/// Whether `bytes` begin with the first line of a response.
pub(super) fn guess_response(bytes: &[u8]) -> Guess {
    guess_status_line(skip_empty_lines(bytes))
}

/// The same without empty lines in front of it.
pub(super) fn guess_status_line(bytes: &[u8]) -> Guess {
    for (index, pattern) in STATUS.iter().enumerate() {
        match bytes.get(index) {
            None => return Guess::Perhaps,
            Some(byte) if *pattern == b'#' && byte.is_ascii_digit() => {}
            Some(byte) if byte == pattern => {}
            Some(_) => return Guess::No,
        }
    }
    Guess::Yes
}

/// Whether a message may begin with `bytes`, as tolerant as can be; what is not told yet may.
pub(super) fn may_begin(bytes: &[u8], response: bool) -> bool {
    if response {
        bytes.iter().zip(b"HTTP/").all(|(byte, expected)| byte == expected)
    } else {
        bytes.first().is_none_or(|byte| *byte > b' ' && *byte != 0x7f)
    }
}

/// Whether a message may begin with `bytes` that follow others that were not understood: only what seldom is anything else.
pub(super) fn resumes(bytes: &[u8], response: bool) -> bool {
    if response {
        return !matches!(bytes.first(), Some(b'\r' | b'\n')) && guess_response(bytes) != Guess::No;
    }
    if bytes.iter().zip(PREFACE_HEAD).all(|(byte, expected)| byte == expected) {
        return true;
    }
    let begins = |method: &&str| {
        let mut expected = method.bytes().chain(*b" ");
        let mut bytes = bytes.iter();
        loop {
            match (expected.next(), bytes.next()) {
                (_, None) => return true,
                (None, Some(byte)) => return matches!(byte, b'/' | b'h' | b'*') || *method == "CONNECT",
                (Some(expected), Some(byte)) if expected == *byte => {}
                _ => return false,
            }
        }
    };
    if !METHODS.iter().any(begins) {
        return false;
    }
    let line = bytes.get(..LINE_MAX).unwrap_or(bytes);
    memchr(b'\n', line).is_none_or(|end| memmem::find(&line[..end], b"HTTP/1.").is_some())
}

/// `bytes` without empty lines at the beginning (RFC 9112 2.2).
pub(super) fn skip_empty_lines(bytes: &[u8]) -> &[u8] {
    let text = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    &bytes[text..]
}

/// Whether servers know the method.
pub(super) fn is_known_method(method: &[u8]) -> bool {
    METHODS.iter().any(|known| known.as_bytes() == method)
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::{RequestLine, guess_request, guess_response, status};
    use crate::protocols::Guess;

    #[test]
    fn a_request_line_is_taken_apart_as_far_as_it_can_be() {
        let read = |line: &'static str| {
            let RequestLine { method, target, protocol } = RequestLine::read(line.as_bytes());
            [Some(method), target, protocol].map(|part| part.map(|part| std::str::from_utf8(part).unwrap()))
        };
        assert_eq!(read("GET /a HTTP/1.1"), [Some("GET"), Some("/a"), Some("HTTP/1.1")]);
        assert_eq!(read("GET /a b HTTP/1."), [Some("GET"), Some("/a b"), Some("HTTP/1.")]);
        assert_eq!(read("OPTIONS HTTP/1.1"), [Some("OPTIONS"), Some("HTTP/1.1"), None]);
        assert_eq!(read("OPTIONSHTTP/1.1"), [Some("OPTIONSHTTP/1.1"), None, None]);
    }

    #[test]
    fn a_target_may_have_the_authority() {
        let authority = |line: &'static str| RequestLine::read(line.as_bytes()).authority();
        assert_eq!(authority("GET http://a.example:81/x HTTP/1.1"), Some(&b"a.example:81"[..]));
        assert_eq!(authority("CONNECT a.example:443 HTTP/1.1"), Some(&b"a.example:443"[..]));
        assert_eq!(authority("GET /?u=http://b/ HTTP/1.1"), None);
    }

    #[test]
    fn statuses_have_three_digits() {
        assert_eq!(status(b"HTTP/1.1 204"), Some(204));
        assert_eq!(status(b"HTTP/1.0  404 Not Found"), Some(404));
        assert_eq!(status(b"HTTP/1.1 200"), Some(200));
        assert_eq!(status(b"HTTP/1.1 099 No"), None);
        assert_eq!(status(b"HTTP/1.1 20"), None);
        assert_eq!(status(b"HTTP/1.1 2000 OK"), None);
        assert_eq!(status(b"ICY 200 OK"), None);
    }

    #[test]
    fn first_lines_are_known_by_version_or_by_method() {
        assert_eq!(guess_request(b"\r\nBREW /pot HTTP/1.1\r\n"), Guess::Yes);
        assert_eq!(guess_request(b"GET /a/very/long/path/that/the/mirror/has/c"), Guess::Yes);
        assert_eq!(guess_request(b"PO"), Guess::Perhaps);
        assert_eq!(guess_request(b"get / HTTP/1.0\r\n"), Guess::Yes);
        assert_eq!(guess_request(b"CCM_POST /HTTP/1.1\r\n"), Guess::Yes);
        assert_eq!(guess_request(b"so that HTTP/1.1 says\n"), Guess::No);
        assert_eq!(guess_request(b"<p>HTTP/1.1 is old</p>\n"), Guess::No);
        assert_eq!(guess_request(b"PRI * HTTP/2.0\r\n"), Guess::No);
        assert_eq!(guess_request(b"EHLO mail.example\r\n"), Guess::No);
        assert_eq!(guess_request(b"\x16\x03\x01"), Guess::No);
        assert_eq!(guess_response(b"HTTP/1.1 200 OK\r\n"), Guess::Yes);
        assert_eq!(guess_response(b"HTTP/1."), Guess::Perhaps);
        assert_eq!(guess_response(b"HTTP/2.0 200"), Guess::No);
    }
}
