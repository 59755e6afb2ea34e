//! The head of a message: its start line and its fields.
//!
//! More tolerant than RFC 9112 asks: lines may end in a bare LF, names may have blanks before the colon, lines without a colon are
//! passed over. What a message means to its receiver is told, not whether it is well formed.

use memchr::memchr;

use crate::protocols::http_event::number;

/// A head, or the beginning of one.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    /// Its first line, without the line's end.
    pub(super) start: &'a [u8],
    pub(super) fields: Fields<'a>,
}

/// The fields that matter here; of those that come more than once, the first.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) host: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) forwarded_for: Option<&'a [u8]>,
    pub(super) content_type: Option<&'a [u8]>,
    pub(super) content_range: Option<&'a [u8]>,
    pub(super) location: Option<&'a [u8]>,
    pub(super) upgrade: Option<&'a [u8]>,
    pub(super) content_length: Length,
    pub(super) coding: Coding,
    /// `Host` came again with another value.
    pub(super) hosts_differ: bool,
    /// A line had no colon.
    pub(super) colon_missing: bool,
}

/// What the fields `Content-Length` say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Length {
    #[default]
    Absent,
    Bytes(u64),
    /// No number.
    Invalid,
    /// Two numbers that are not the same.
    Differ,
}

/// What the fields `Transfer-Encoding` say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    #[default]
    Absent,
    /// The last one is `chunked`.
    Chunked,
    /// `identity` alone: as if absent.
    Identity,
    /// Another one.
    Other,
}

impl<'a> Head<'a> {
    /// The head that `bytes` are the beginning of. Its last line may be there in part.
    pub(super) fn cut(bytes: &'a [u8]) -> Self {
        let mut head = Self::default();
        let (used, _) = head.read(bytes);
        let line = bytes.get(used..).unwrap_or_default();
        if used == 0 {
            head.start = line;
        } else if line.contains(&b':') {
            // A part of a number is another number.
            let (content_length, coding) = (head.fields.content_length, head.fields.coding);
            let hosts_differ = head.fields.hosts_differ;
            head.fields.read(line);
            head.fields = Fields { content_length, coding, hosts_differ, ..head.fields };
        }
        head
    }

    /// Reads the head that `bytes` begin with, which is empty so far: in place, since it is large. Gives the length of the lines that
    /// are there to their end, and whether the empty line is among them, which is the last of a head.
    pub(super) fn read(&mut self, bytes: &'a [u8]) -> (usize, bool) {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..) {
            let Some(length) = memchr(b'\n', rest) else { break };
            let line = &rest[..length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if used == 0 {
                self.start = line;
            } else if line.is_empty() {
                return (used + length + 1, true);
            } else {
                self.fields.read(line);
            }
            used += length + 1;
        }
        (used, false)
    }
}

/// A field that matters here.
#[derive(Clone, Copy, Debug)]
enum Name {
    Host,
    UserAgent,
    Referer,
    ForwardedFor,
    ContentType,
    ContentRange,
    ContentLength,
    Location,
    Upgrade,
    TransferEncoding,
}

impl Name {
    /// The field with this name.
    fn of(name: &[u8]) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        Some(match name.len() {
            4 if is("host") => Self::Host,
            7 if is("referer") => Self::Referer,
            7 if is("upgrade") => Self::Upgrade,
            8 if is("location") => Self::Location,
            10 if is("user-agent") => Self::UserAgent,
            12 if is("content-type") => Self::ContentType,
            13 if is("content-range") => Self::ContentRange,
            14 if is("content-length") => Self::ContentLength,
            15 if is("x-forwarded-for") => Self::ForwardedFor,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            _ => return None,
        })
    }

    /// The field of a line that begins with a name and a colon right behind it, as nearly all do, and what stands behind. Told by letters
    /// that the names do not share, so that only one is compared.
    #[inline]
    fn split(line: &[u8]) -> Option<(Self, &[u8])> {
        const LETTER: u8 = b'a' - b'A';
        let letter = |at: usize| line.get(at).map_or(0, |byte| byte | LETTER);
        Some(match (letter(0), letter(8)) {
            (b'h', _) => (Self::Host, behind(line, b"host:")?),
            (b'u', b'e') => (Self::UserAgent, behind(line, b"user-agent:")?),
            (b'u', _) => (Self::Upgrade, behind(line, b"upgrade:")?),
            (b'c', b't') => (Self::ContentType, behind(line, b"content-type:")?),
            (b'c', b'l') => (Self::ContentLength, behind(line, b"content-length:")?),
            (b'c', b'r') => (Self::ContentRange, behind(line, b"content-range:")?),
            (b'r', _) => (Self::Referer, behind(line, b"referer:")?),
            (b'l', _) => (Self::Location, behind(line, b"location:")?),
            (b'x', _) => (Self::ForwardedFor, behind(line, b"x-forwarded-for:")?),
            (b't', _) => (Self::TransferEncoding, behind(line, b"transfer-encoding:")?),
            _ => return None,
        })
    }
}

/// What stands behind `name` in a line that begins with it, in either case. The name is given in lower case; its length is known
/// where it is compared, so that no loop is left.
#[inline]
fn behind<'a, const N: usize>(line: &'a [u8], name: &[u8; N]) -> Option<&'a [u8]> {
    let (there, value) = line.split_first_chunk::<N>()?;
    let differs = there.iter().zip(name).fold(0, |differs, (byte, expected)| {
        // Only letters have a case.
        differs | ((byte | u8::from(expected.is_ascii_lowercase()) << 5) ^ expected)
    });
    (differs == 0).then_some(value)
}

impl<'a> Fields<'a> {
    fn read(&mut self, line: &'a [u8]) {
        if let Some((name, value)) = Name::split(line) {
            return self.take(name, value.trim_ascii());
        }
        // Most other lines are of no interest here: their first letter tells.
        match line.first().map(u8::to_ascii_lowercase) {
            // The rest of the line before (RFC 9112 5.2): what stands in the first line is enough.
            Some(b' ' | b'\t') => return,
            Some(b'h' | b'u' | b'r' | b'c' | b'l' | b'x' | b't') => {}
            _ => {
                self.colon_missing |= !line.contains(&b':');
                return;
            }
        }
        // Names are short: a plain loop is quicker than a search by vectors.
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            self.colon_missing = true;
            return;
        };
        if let Some(name) = Name::of(line[..colon].trim_ascii_end()) {
            self.take(name, line[colon + 1..].trim_ascii());
        }
    }

    fn take(&mut self, name: Name, value: &'a [u8]) {
        let place = match name {
            Name::Host => {
                self.hosts_differ |= self.host.is_some_and(|host| !host.eq_ignore_ascii_case(value));
                &mut self.host
            }
            Name::Referer => &mut self.referer,
            Name::Upgrade => &mut self.upgrade,
            Name::Location => &mut self.location,
            Name::UserAgent => &mut self.user_agent,
            Name::ContentType => &mut self.content_type,
            Name::ContentRange => &mut self.content_range,
            Name::ForwardedFor => &mut self.forwarded_for,
            Name::ContentLength => return self.content_length.read(value),
            Name::TransferEncoding => return self.coding.read(value),
        };
        place.get_or_insert(value);
    }
}

impl Length {
    /// A list of the same number again and again is that number (RFC 9112 6.3).
    fn read(&mut self, value: &[u8]) {
        if *self == Self::Absent
            && let Some(bytes) = number(value)
        {
            *self = Self::Bytes(bytes);
            return;
        }
        for item in value.split(|byte| *byte == b',') {
            let new = number(item.trim_ascii()).map_or(Self::Invalid, Self::Bytes);
            *self = match (*self, new) {
                (Self::Absent, new) => new,
                (old, new) if old == new => old,
                (Self::Invalid, _) | (_, Self::Invalid) => Self::Invalid,
                _ => Self::Differ,
            };
        }
    }
}

impl Coding {
    fn read(&mut self, value: &[u8]) {
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        *self = if last.eq_ignore_ascii_case(b"chunked") {
            Self::Chunked
        } else if value.eq_ignore_ascii_case(b"identity") {
            Self::Identity
        } else {
            Self::Other
        };
    }
}

/// Where the head in `bytes` ends, behind its empty line, if it ends behind `from`.
pub(super) fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr(b'\n', bytes.get(at..)?)? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Coding, Head, Length, end_of_head};

    /// The head that `bytes` begin with, and its length, where it is there to its end.
    fn whole(bytes: &[u8]) -> Option<(Head<'_>, usize)> {
        let mut head = Head::default();
        let (used, whole) = head.read(bytes);
        whole.then_some((head, used))
    }

    #[test]
    fn lines_may_end_in_a_bare_line_feed_and_names_may_be_in_any_case() {
        let bytes = b"GET / HTTP/1.1\nHOST : a.example \nuser-AGENT:x\r\n folded\nno colon\n\nbody";
        let (head, used) = whole(bytes).unwrap();
        assert_eq!(head.start, b"GET / HTTP/1.1");
        assert_eq!(head.fields.host, Some(&b"a.example"[..]));
        assert_eq!(head.fields.user_agent, Some(&b"x"[..]));
        assert!(head.fields.colon_missing);
        assert_eq!(&bytes[used..], b"body");
        assert_eq!(end_of_head(bytes, 0), Some(used));
    }

    #[test]
    fn a_cut_head_gives_what_is_there() {
        assert!(whole(b"GET / HTTP/1.1\r\nHost: a\r\n").is_none());
        let head = Head::cut(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: cur");
        assert_eq!((head.fields.host, head.fields.user_agent), (Some(&b"a"[..]), Some(&b"cur"[..])));
        assert_eq!(Head::cut(b"GET /ind").start, b"GET /ind");
        assert_eq!(Head::cut(b"\nContent-Length: 10").fields.content_length, Length::Absent, "of 100, perhaps");
    }

    #[test]
    fn names_are_known_in_any_case_and_only_as_a_whole() {
        let fields = |line: &str| {
            let bytes = format!("\n{line}\n\n");
            format!("{:?}", whole(bytes.as_bytes()).unwrap().0.fields)
        };
        let names = [
            "host",
            "referer",
            "upgrade",
            "location",
            "user-agent",
            "content-type",
            "content-range",
            "content-length",
            "x-forwarded-for",
            "transfer-encoding",
        ];
        let nothing = fields("accept: 5");
        for name in names {
            let told = fields(&format!("{name}: 5"));
            assert_ne!(told, nothing, "{name}");
            assert_eq!(fields(&format!("{}:5", name.to_uppercase())), told, "{name}");
            assert_eq!(fields(&format!("{name} :5")), told, "{name}");
            for other in
                [format!("{name}x: 5"), format!("{}: 5", &name[1..]), format!("{}: 5", &name[..name.len() - 1])]
            {
                assert_eq!(fields(&other), nothing, "{other}");
            }
            // What becomes a hyphen or a colon in the other case is none.
            let (hyphen, colon) = (name.replace('-', "\r"), format!("{name}\x1a"));
            assert_eq!(fields(&format!("{colon} 5: 5")), nothing, "{name}");
            assert!(hyphen == name || fields(&format!("{hyphen}: 5")) == nothing, "{name}");
        }
    }

    #[test]
    fn lengths_that_agree_are_one_and_others_are_told() {
        let length = |fields: &str| {
            let bytes = format!("\n{fields}\n\n");
            whole(bytes.as_bytes()).unwrap().0.fields.content_length
        };
        assert_eq!(length("Content-Length: 5\nContent-Length: 5, 5"), Length::Bytes(5));
        assert_eq!(length("Content-Length: 5\nContent-Length: 6"), Length::Differ);
        assert_eq!(length("Content-Length: +5"), Length::Invalid);
        assert_eq!(length("Content-Length: 99999999999999999999"), Length::Invalid);
    }

    #[test]
    fn chunked_counts_as_the_last_coding_only() {
        let coding = |value: &str| {
            let bytes = format!("\nTransfer-Encoding: {value}\n\n");
            whole(bytes.as_bytes()).unwrap().0.fields.coding
        };
        assert_eq!(coding("gzip, Chunked"), Coding::Chunked);
        assert_eq!(coding("chunked, gzip"), Coding::Other);
        assert_eq!(coding("identity"), Coding::Identity);
    }
}
