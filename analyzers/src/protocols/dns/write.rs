//! The `dns` object of an event, version 3 of Suricata's.

use super::anomaly::{Anomalies, Anomaly};
use super::data;
use super::message::{Message, Record, Section, read_u16, read_u32};
use super::name::{self, Fault, Text};
use super::names::{kind, record_type, response_code};
use crate::eve;
use crate::json::{JsonObject, append_number};

/// Bytes of JSON after which no more records are listed. A name of 255 bytes can be pointed to by thousands of records of one message, 12
/// bytes each (RFC 1035, section 4.1.4).
const LISTED_MAX: usize = 128 << 10;
/// Bytes that are shown of what is told in hexadecimal: a fingerprint, an EDNS option.
const HEX_MAX: usize = 2048;

/// What is told of a message besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// Number of the message in its flow, from 0.
    pub(super) tx_id: u64,
    /// How long the answer took, nanoseconds.
    pub(super) response_ns: Option<u64>,
    /// Bytes of it are missing.
    pub(super) cut: bool,
}

/// Writes the members of `message`; gives what was found wrong on the way.
pub(super) fn members(json: &mut JsonObject<'_>, message: &Message<'_>, about: About) -> Anomalies {
    let header = message.header;
    let mut writer = Writer {
        message,
        owner: Text::new(),
        owner_at: None,
        text: Text::new(),
        found: Anomalies::default(),
        end: json.position() + LISTED_MAX,
        full: false,
    };
    // Every message has these: what stands around their values is written as it is.
    let line = json.begin();
    if header.is_response() {
        line.extend_from_slice(b"\"version\":3,\"type\":\"response\",\"tx_id\":");
    } else {
        line.extend_from_slice(b"\"version\":3,\"type\":\"request\",\"tx_id\":");
    }
    append_number(line, about.tx_id);
    line.extend_from_slice(b",\"id\":");
    append_number(line, u64::from(header.id));
    line.extend_from_slice(b",\"flags\":");
    append_hex_number(line, header.flags);
    // One by one, so that each is of known length.
    macro_rules! flags {
        ($($bit:literal $member:literal),+) => {
            $(if header.flags & $bit != 0 {
                line.extend_from_slice($member);
            })+
        };
    }
    flags!(
        0x8000 b",\"qr\":true",
        0x0400 b",\"aa\":true",
        0x0200 b",\"tc\":true",
        0x0100 b",\"rd\":true",
        0x0080 b",\"ra\":true",
        0x0040 b",\"z\":true"
    );
    line.extend_from_slice(b",\"opcode\":");
    append_number(line, u64::from(header.opcode()));
    line.extend_from_slice(b",\"rcode\":");
    append_name(line, response_code(header.flags & 15), header.flags & 15);
    writer.questions(json);
    let kinds = writer.records(json, "answers", Section::Answers);
    let may_be_grouped = kinds != 0 || message.broken != Some(Section::Answers);
    if may_be_grouped && message.entries(Section::Answers).next().is_some() {
        json.object("grouped", |json| writer.grouped(json, kinds));
    }
    writer.records(json, "authorities", Section::Authorities);
    writer.records(json, "additionals", Section::Additionals);
    if let Some(nanos) = about.response_ns {
        json.number("response_time_us", nanos / 1000);
    }
    if about.cut || message.broken.is_some() || writer.full {
        json.flag("truncated", true);
    }
    writer.found
}

/// The types that Suricata groups answers by, in the order that ours stand in.
const GROUPED: [u16; 11] = [
    kind::A,
    kind::AAAA,
    kind::CNAME,
    kind::MX,
    kind::NS,
    kind::NULL,
    kind::PTR,
    kind::SOA,
    kind::SRV,
    kind::SSHFP,
    kind::TXT,
];

struct Writer<'a> {
    message: &'a Message<'a>,
    /// The name that entries have, and where its labels begin: most have the one that the entry before them has.
    owner: Text,
    owner_at: Option<usize>,
    text: Text,
    found: Anomalies,
    /// Where [`LISTED_MAX`] is in the buffer.
    end: usize,
    /// Something was not told for that.
    full: bool,
}

impl Writer<'_> {
    /// Whether there is room for one more entry behind `written` bytes.
    const fn has_room(&mut self, written: usize) -> bool {
        self.full |= written >= self.end;
        !self.full
    }

    /// The name at `at`, in `text`.
    fn name(&mut self, at: usize) {
        self.text.clear();
        let read = name::read(self.message.bytes, at, &mut self.text);
        self.note(read);
    }

    /// The name of an entry, in `owner`.
    fn owner(&mut self, at: usize) {
        let labels_at = match read_u16(self.message.bytes, at) {
            Some(pointer) if pointer >= 0xc000 => usize::from(pointer & 0x3fff),
            _ => at,
        };
        if self.owner_at != Some(labels_at) {
            self.owner.clear();
            let read = name::read(self.message.bytes, at, &mut self.owner);
            self.owner_at = read.is_ok().then_some(labels_at);
            self.note(read);
        }
    }

    fn note<T>(&mut self, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|fault| self.found.add(fault.into())).ok()
    }

    fn questions(&mut self, json: &mut JsonObject<'_>) {
        let mut questions = self.message.entries(Section::Questions).peekable();
        if questions.peek().is_none() {
            return;
        }
        json.array("queries", |items| {
            for question in questions {
                if !self.has_room(items.position()) {
                    break;
                }
                self.owner(question.name_at);
                items.object(|json| {
                    json.text("rrname", &self.owner);
                    json.raw("rrtype", |line| append_name(line, record_type(question.kind), question.kind));
                });
            }
        });
    }

    /// Gives a bit for each type of [`GROUPED`] that was there.
    fn records(&mut self, json: &mut JsonObject<'_>, key: &'static str, section: Section) -> u16 {
        let mut kinds = 0;
        let told = |record: &Record| record.kind != kind::OPT || record.data_end > record.data_at;
        if !self.message.entries(section).any(|record| told(&record)) {
            return 0;
        }
        json.array(key, |items| {
            for record in self.message.entries(section).filter(told) {
                if !self.has_room(items.position()) {
                    break;
                }
                let group = GROUPED.iter().position(|kind| *kind == record.kind).filter(|_| record.whole);
                kinds |= group.map_or(0, |index| 1 << index);
                // Each string of a TXT record is an answer of its own.
                let mut strings = Strings::of(self.message, &record);
                let mut string = strings.next();
                while self.has_room(items.position()) {
                    self.owner(record.name_at);
                    items.object(|json| {
                        json.text("rrname", &self.owner);
                        json.raw("rrtype", |line| append_name(line, record_type(record.kind), record.kind));
                        json.number("ttl", record.ttl);
                        match string {
                            Some(string) => json.text("rdata", string),
                            None => self.data(json, &record),
                        }
                    });
                    string = strings.next();
                    if string.is_none() {
                        break;
                    }
                }
            }
        });
        kinds
    }

    fn data(&mut self, json: &mut JsonObject<'_>, record: &Record) {
        if !record.whole {
            return;
        }
        let bytes = self.message.data(record);
        match record.kind {
            kind::A | kind::AAAA => {
                if let Some(address) = data::ip(bytes) {
                    json.raw("rdata", |line| eve::append_address(line, address));
                }
            }
            kind::SOA => json.object("soa", |json| self.authority(json, record)),
            kind::SRV => json.object("srv", |json| self.service(json, record)),
            kind::SSHFP => json.object("sshfp", |json| fingerprint(json, bytes)),
            kind::OPT => self.options(json, bytes),
            _ => {
                if self.text_of(record) {
                    json.text("rdata", &self.text);
                }
            }
        }
    }

    /// The data of `record` in `text`, if it can be told so.
    fn text_of(&mut self, record: &Record) -> bool {
        self.text.clear();
        let place = (record.data_at, record.data_end);
        let told = data::append(self.message.bytes, record.kind, place, &mut self.text);
        self.note(told) == Some(true)
    }

    fn authority(&mut self, json: &mut JsonObject<'_>, record: &Record) {
        let mut at = record.data_at;
        for key in ["mname", "rname"] {
            self.name(at);
            json.text(key, &self.text);
            at = name::skip(self.message.bytes, at).unwrap_or(self.message.bytes.len());
        }
        for (index, key) in ["serial", "refresh", "retry", "expire", "minimum"].into_iter().enumerate() {
            if let Some(number) = read_u32(self.message.bytes, at + index * 4) {
                json.number(key, number);
            }
        }
    }

    fn service(&mut self, json: &mut JsonObject<'_>, record: &Record) {
        let bytes = self.message.data(record);
        for (index, key) in ["priority", "weight", "port"].into_iter().enumerate() {
            if let Some(number) = read_u16(bytes, index * 2) {
                json.number(key, number);
            }
        }
        self.name(record.data_at + 6);
        json.text("name", &self.text);
    }

    /// EDNS options (RFC 6891, section 6.1.2).
    fn options(&mut self, json: &mut JsonObject<'_>, mut options: &[u8]) {
        const CLIENT_SUBNET: u16 = 8;
        json.array("opt", |items| {
            while let (Some(code), Some(length)) = (read_u16(options, 0), read_u16(options, 2)) {
                if !self.has_room(items.position()) {
                    break;
                }
                let end = (4 + usize::from(length)).min(options.len());
                let (option, rest) = options.split_at(end);
                let value = option.get(4..).unwrap_or_default();
                items.object(|json| {
                    json.number("code", code);
                    json.raw("data", |line| append_hex(line, value, b""));
                    self.text.clear();
                    if code == CLIENT_SUBNET && data::client_subnet(value, &mut self.text).is_some() {
                        json.text("client_subnet", &self.text);
                    }
                });
                options = rest;
            }
        });
    }

    fn grouped(&mut self, json: &mut JsonObject<'_>, kinds: u16) {
        for (index, number) in GROUPED.into_iter().enumerate().filter(|(index, _)| kinds & 1 << index != 0) {
            let Some(key) = record_type(GROUPED[index]) else { continue };
            json.array(key, |items| {
                let of_group = |record: &Record| record.kind == number && record.whole;
                for record in self.message.entries(Section::Answers).filter(of_group) {
                    if !self.has_room(items.position()) {
                        break;
                    }
                    let bytes = self.message.data(&record);
                    match number {
                        kind::A | kind::AAAA => {
                            if let Some(address) = data::ip(bytes) {
                                items.raw(|line| eve::append_address(line, address));
                            }
                        }
                        kind::TXT => {
                            for string in Strings::of(self.message, &record) {
                                if self.has_room(items.position()) {
                                    items.text(string);
                                }
                            }
                        }
                        kind::SOA => items.object(|json| self.authority(json, &record)),
                        kind::SRV => items.object(|json| self.service(json, &record)),
                        kind::SSHFP => items.object(|json| fingerprint(json, bytes)),
                        _ => {
                            if self.text_of(&record) {
                                items.text(&self.text);
                            }
                        }
                    }
                }
            });
        }
    }
}

impl From<Fault> for Anomaly {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed => Self::MalformedData,
            Fault::InfiniteLoop => Self::InfiniteLoop,
            Fault::TooManyLabels => Self::TooManyLabels,
            Fault::NameTooLong => Self::NameTooLong,
        }
    }
}

/// SSHFP (RFC 4255, section 3.1).
fn fingerprint(json: &mut JsonObject<'_>, data: &[u8]) {
    if let [algorithm, kind, fingerprint @ ..] = data {
        json.raw("fingerprint", |line| append_hex(line, fingerprint, b":"));
        json.number("algo", *algorithm);
        json.number("type", *kind);
    }
}

/// The strings of a TXT record; nothing of other types.
struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    fn of(message: &Message<'a>, record: &Record) -> Self {
        Self(if record.kind == kind::TXT && record.whole { message.data(record) } else { &[] })
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first()?;
        let (string, rest) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
        self.0 = rest;
        Some(string)
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A JSON string: the first [`HEX_MAX`] bytes in hexadecimal, with `between` between each two.
fn append_hex(line: &mut Vec<u8>, bytes: &[u8], between: &[u8]) {
    line.push(b'"');
    for (index, byte) in bytes.iter().take(HEX_MAX).enumerate() {
        if index > 0 {
            line.extend_from_slice(between);
        }
        line.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    line.push(b'"');
}

/// A JSON string: a number in hexadecimal without leading zeros.
fn append_hex_number(line: &mut Vec<u8>, number: u16) {
    let zeros = (number.leading_zeros() / 4).min(3) as usize;
    let text = [12, 8, 4, 0].map(|shift| HEX[usize::from(number >> shift & 15)]);
    line.push(b'"');
    line.extend_from_slice(&text[zeros..]);
    line.push(b'"');
}

/// A JSON string: the name, or the number where there is none.
fn append_name(line: &mut Vec<u8>, name: Option<&'static str>, number: u16) {
    line.push(b'"');
    match name {
        Some(name) => line.extend_from_slice(name.as_bytes()),
        None => append_number(line, u64::from(number)),
    }
    line.push(b'"');
}
