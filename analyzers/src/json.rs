//! Writing JSON, without anything in between: events are lines, made where they happen.

/// An object under construction: its members go straight into the line.
///
/// Keys are the program's own and need no escapes. A key that is given twice is there twice: nothing is remembered.
#[derive(Debug)]
pub struct JsonObject<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

/// An array under construction.
#[derive(Debug)]
pub struct JsonArray<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl JsonObject<'_> {
    /// Appends an object whose members `write` gives to `out`.
    #[inline]
    pub fn append_to(out: &mut Vec<u8>, write: impl FnOnce(&mut JsonObject<'_>)) {
        out.push(b'{');
        write(&mut JsonObject { out, empty: true });
        out.push(b'}');
    }

    /// Inlined, so that the length of each key is known where it is copied.
    #[inline]
    fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        let out = self.next();
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A member with text from the wire; see [`append_text`] for what is no UTF-8.
    #[inline]
    pub fn text(&mut self, key: &'static str, value: impl AsRef<[u8]>) {
        append_text(self.key(key), value.as_ref());
    }

    /// A member with a word of the program's own, which needs no escapes.
    #[inline]
    pub fn word(&mut self, key: &'static str, word: &str) {
        debug_assert!(is_all_plain(word.as_bytes()));
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(word.as_bytes());
        out.push(b'"');
    }

    /// A member with a number.
    #[inline]
    pub fn number(&mut self, key: &'static str, value: impl Into<u64>) {
        append_number(self.key(key), value.into());
    }

    /// A member that is true or false.
    #[inline]
    pub fn flag(&mut self, key: &'static str, value: bool) {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A member that is an object.
    #[inline]
    pub fn object(&mut self, key: &'static str, write: impl FnOnce(&mut JsonObject<'_>)) {
        JsonObject::append_to(self.key(key), write);
    }

    /// A member that is an array.
    pub fn array(&mut self, key: &'static str, write: impl FnOnce(&mut JsonArray<'_>)) {
        let out = self.key(key);
        out.push(b'[');
        write(&mut JsonArray { out, empty: true });
        out.push(b']');
    }

    /// The buffer, for members that are written as they are, each with a comma before it: keys that are always there, and what stands
    /// around them, go out in one copy of known length. Only for an object that has a member.
    #[inline]
    pub(crate) fn behind(&mut self) -> &mut Vec<u8> {
        debug_assert!(!self.empty);
        self.out
    }

    /// The same for an object that has none: the first one has no comma.
    #[inline]
    pub(crate) fn begin(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.empty);
        self.empty = false;
        self.out
    }

    /// The same for an object of which that is not known: a comma is written where one is needed.
    #[inline]
    pub(crate) fn next(&mut self) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out
    }

    /// A member whose value `write` appends; it has to be JSON.
    #[inline]
    pub fn raw(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.key(key));
    }

    /// A member whose key is from the wire as well.
    pub fn text_by(&mut self, key: &[u8], value: impl AsRef<[u8]>) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        append_text(self.out, key);
        self.out.push(b':');
        append_text(self.out, value.as_ref());
    }

    /// Bytes in the buffer so far, those before this object included.
    pub const fn position(&self) -> usize {
        self.out.len()
    }

    /// Members that are JSON already, without a comma at either end; none is none.
    pub fn members(&mut self, members: &[u8]) {
        if members.is_empty() {
            return;
        }
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.extend_from_slice(members);
    }
}

impl JsonArray<'_> {
    /// Bytes in the buffer so far, those before this array included.
    pub const fn position(&self) -> usize {
        self.out.len()
    }

    fn item(&mut self) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out
    }

    /// Text from the wire.
    pub fn text(&mut self, value: impl AsRef<[u8]>) {
        append_text(self.item(), value.as_ref());
    }

    /// A number.
    pub fn number(&mut self, value: impl Into<u64>) {
        append_number(self.item(), value.into());
    }

    /// An object.
    pub fn object(&mut self, write: impl FnOnce(&mut JsonObject<'_>)) {
        JsonObject::append_to(self.item(), write);
    }

    /// An item that `write` appends; it has to be JSON.
    pub fn raw(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.item());
    }
}

/// Appends `number` in decimal.
#[inline]
pub fn append_number(out: &mut Vec<u8>, number: u64) {
    // Most are small.
    if number < 10 {
        out.push(b'0' + number as u8);
    } else {
        append_digits(out, number);
    }
}

/// A number of more than one digit. Not inlined, so that the others save no registers for it.
#[inline(never)]
fn append_digits(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `text` as a JSON string.
///
/// UTF-8 stays as it is, but for what JSON wants escaped, other control characters (`\u001b`) and those that turn text around (`\u202e`), so that
/// a line on a terminal does nothing and shows what it says. Where the text is no UTF-8, each byte that is not printable ASCII, tab, line feed or carriage return is shown as the four
/// characters `\x..`, as Suricata does.
pub fn append_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if is_all_plain(text) {
        out.extend_from_slice(text);
    } else if let Ok(text) = std::str::from_utf8(text) {
        for c in text.chars() {
            append_char(out, c);
        }
    } else {
        for &byte in text {
            match byte {
                b'\t' | b'\n' | b'\r' | 0x20..=0x7e => append_char(out, char::from(byte)),
                _ => out.extend([b'\\', b'\\', b'x', hex(byte >> 4), hex(byte & 15)]),
            }
        }
    }
    out.push(b'"');
}

/// Whether all of `text` can stand in a string as it is. In runs of fixed length, which the compiler makes vectors of; the last run
/// overlaps the one before.
fn is_all_plain(text: &[u8]) -> bool {
    let (runs, _) = text.as_chunks::<16>();
    if let Some(last) = text.last_chunk::<16>() {
        return runs.iter().fold(true, |plain, run| plain & is_plain_run(run)) & is_plain_run(last);
    }
    match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(first), Some(last)) => is_plain_run(first) & is_plain_run(last),
        _ => text.iter().fold(true, |plain, byte| plain & is_plain(*byte)),
    }
}

#[inline]
fn is_plain_run<const N: usize>(run: &[u8; N]) -> bool {
    run.iter().fold(true, |plain, byte| plain & is_plain(*byte))
}

#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "without branches, runs of bytes are looked at together")]
const fn is_plain(byte: u8) -> bool {
    (byte.wrapping_sub(0x20) < 0x5f) & (byte != b'"') & (byte != b'\\')
}

fn append_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        // C0, DEL and C1: the last are two bytes of UTF-8 that terminals obey as well.
        c if c.is_control() || rearranges(c) => {
            let digit = |place: u32| hex((c as u32 >> (4 * place)) as u8);
            out.extend([b'\\', b'u', digit(3), digit(2), digit(1), digit(0)]);
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Whether `c` shows nothing itself, and has what is around it shown in another order or on another line.
const fn rearranges(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

const fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[(digit & 15) as usize]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{JsonObject, append_number, append_text, rearranges};

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        append_text(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_that_is_no_utf8_is_shown_byte_by_byte_as_suricata_does() {
        assert_eq!(text(b"a\xffb\x00\"\n"), r#""a\\xffb\\x00\"\n""#);
        assert_eq!(text("grüße\u{1b}[31m\u{9b}".as_bytes()), "\"grüße\\u001b[31m\\u009b\"");
    }

    #[test]
    fn text_does_not_turn_the_line_around_that_it_is_in() {
        assert_eq!(
            text("exe.\u{202e}gpj\u{2066}\u{200f}\u{2028}é€😀".as_bytes()),
            "\"exe.\\u202egpj\\u2066\\u200f\\u2028é€😀\""
        );
    }

    #[test]
    fn objects_nest() {
        let mut out = Vec::new();
        JsonObject::append_to(&mut out, |json| {
            json.text("a", "x");
            json.object("o", |json| json.number("n", 7u32));
            json.array("l", |items| {
                items.number(1u8);
                items.text("two");
                items.object(|json| json.flag("t", true));
            });
        });
        assert_eq!(out, br#"{"a":"x","o":{"n":7},"l":[1,"two",{"t":true}]}"#);
    }

    #[test]
    fn numbers_have_no_zeros_in_front() {
        let powers = (0..20).map(|power| 10u64.pow(power));
        for number in powers.flat_map(|power| [power - 1, power, power + 1, power / 4 * 7]).chain([u64::MAX]) {
            let mut out = b"x".to_vec();
            append_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_become_one_json_string_without_control_characters(bytes: Vec<u8>) {
            let written = text(&bytes);
            prop_assert!(!written.chars().any(|c| c.is_control() || rearranges(c)));
            let read: String = serde_json::from_str(&written).unwrap();
            if let Ok(utf8) = std::str::from_utf8(&bytes) {
                prop_assert_eq!(read, utf8);
            }
        }
    }
}
