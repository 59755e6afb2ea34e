//! What a server says to one request.

use super::startup::Parameter;
use crate::json::JsonObject;

/// The most bytes of a text (command tag, field of an error, value of a parameter) that are kept.
const TEXT_MAX: usize = 256;

/// The most fields of an error, and the most parameters, that are kept.
const FIELDS_MAX: usize = 18;
const PARAMETERS_MAX: usize = 24;

/// A response as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// When it began, nanoseconds since 1970.
    pub(super) began_ns: Option<u64>,
    message: Option<&'static str>,
    encrypted: Option<bool>,
    error: Vec<(&'static str, Box<[u8]>)>,
    is_error: bool,
    parameters: Vec<Parameter>,
    process_id: Option<u32>,
    field_count: Option<u16>,
    rows: Option<u64>,
    row_bytes: u64,
    copied: u64,
    copied_bytes: u64,
    completed: Option<Box<[u8]>>,
    /// Bytes of it that were wanted are missing.
    pub(super) cut: bool,
}

fn kept(text: &[u8]) -> Box<[u8]> {
    text.get(..TEXT_MAX).unwrap_or(text).into()
}

/// Text up to the next zero byte, and what is behind it. What has no end is cut: `None`, unless more is there than is kept.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => Some((bytes.get(..end)?, bytes.get(end + 1..)?)),
        None => (bytes.len() >= TEXT_MAX).then_some((bytes, &[])),
    }
}

/// Whether a field of an error is prose, of which also the beginning says something.
const fn is_prose(field: u8) -> bool {
    matches!(field, b'M' | b'D' | b'H' | b'W')
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// Suricata's name for a field of an error or notice.
const fn field_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        b'S' => "severity_localizable",
        b'V' => "severity_non_localizable",
        b'C' => "code",
        b'M' => "message",
        b'D' => "detail",
        b'H' => "hint",
        b'P' => "position",
        b'W' => "where",
        b's' => "schema_name",
        b't' => "table_name",
        b'c' => "column_name",
        b'd' => "data_type",
        b'n' => "constraint_name",
        b'F' => "file",
        b'L' => "line",
        b'R' => "routine",
        _ => return None,
    })
}

/// What an authentication message asks for, as Suricata calls it; and whether the client answers with SASL. `None` where that is missing.
pub(super) fn authentication(body: &[u8]) -> Option<(&'static str, bool)> {
    Some(match u32_at(body, 0)? {
        0 => ("authentication_ok", false),
        2 => ("authentication_kerberos", false),
        3 => ("authentication_cleartext_password", false),
        5 => ("authentication_md5_password", false),
        7 => ("authentication_gss", false),
        8 => ("authentication_gss_continue", false),
        9 => ("authentication_sspi", false),
        10 => ("authentication_sasl", true),
        11 => ("authentication_sasl_continue", false),
        12 => ("authentication_sasl_final", false),
        _ => ("authentication_unknown", false),
    })
}

impl Response {
    /// What kind of authentication is asked for, or that it is done.
    pub(super) fn says(&mut self, message: &'static str) {
        self.message = Some(message);
    }

    pub(super) fn encryption(&mut self, granted: bool) {
        self.encrypted = Some(granted);
    }

    pub(super) fn error(&mut self, body: &[u8]) {
        self.is_error = true;
        self.error.clear();
        let mut rest = body;
        while let Some((kind, after)) = rest.split_first().filter(|(kind, _)| **kind != 0) {
            let beginning = Some((after, &[][..])).filter(|_| is_prose(*kind) && !after.is_empty());
            let Some((value, behind)) = text(after).or(beginning) else { return };
            if let Some(name) = field_name(*kind).filter(|_| self.error.len() < FIELDS_MAX) {
                self.error.push((name, kept(value)));
            }
            rest = behind;
        }
    }

    pub(super) const fn is_error(&self) -> bool {
        self.is_error
    }

    pub(super) fn parameter(&mut self, body: &[u8]) {
        if let Some((name, rest)) = text(body)
            && let Some((value, _)) = text(rest)
            && self.parameters.len() < PARAMETERS_MAX
        {
            self.parameters.push(Parameter { name: kept(name), value: kept(value) });
        }
    }

    pub(super) fn process(&mut self, body: &[u8]) {
        self.process_id = u32_at(body, 0);
    }

    pub(super) fn columns(&mut self, body: &[u8]) {
        self.field_count = u16_at(body, 0);
    }

    /// A row of `length` bytes without its type; what counts are the values.
    pub(super) fn row(&mut self, body: &[u8], length: u64) {
        let columns = u64::from(u16_at(body, 0).unwrap_or_default());
        self.rows = Some(self.rows.unwrap_or_default() + 1);
        self.row_bytes += length.saturating_sub(4 + 2 + 4 * columns);
    }

    /// A message of a copy, in either direction, with so many bytes in it.
    pub(super) fn copy(&mut self, bytes: u64) {
        self.copied += 1;
        self.copied_bytes += bytes;
    }

    /// Whether anything was copied, in either direction.
    pub(super) const fn copies(&self) -> bool {
        self.copied > 0
    }

    /// Gives whether this is the first command that completes.
    pub(super) fn complete(&mut self, body: &[u8]) {
        self.completed = text(body).map(|(tag, _)| kept(tag));
    }

    /// Whether anything of it is known.
    pub(super) const fn has_begun(&self) -> bool {
        self.began_ns.is_some()
    }

    /// The members of `response`.
    pub(super) fn members(&self, json: &mut JsonObject<'_>) {
        if let Some(granted) = self.encrypted {
            json.flag("ssl_accepted", granted);
        }
        // An error has a message of its own.
        if let Some(message) = self.message.filter(|_| !self.is_error) {
            json.text("message", message);
        }
        for (name, value) in &self.error {
            json.text(name, value);
        }
        if !self.parameters.is_empty() {
            json.array("parameter_status", |items| {
                for Parameter { name, value } in &self.parameters {
                    items.object(|json| json.text_by(&snake_case(name), value));
                }
            });
        }
        if let Some(process_id) = self.process_id {
            json.number("process_id", process_id);
        }
        if let Some(count) = self.field_count {
            json.number("field_count", count);
        }
        if let Some(rows) = self.rows {
            json.number("data_rows", rows);
            json.number("data_size", self.row_bytes);
        }
        if self.copied > 0 {
            json.number("copy_messages", self.copied);
            json.number("copy_size", self.copied_bytes);
        }
        if let Some(tag) = &self.completed {
            json.text("command_completed", tag);
        }
    }
}

/// Servers write the names of some parameters in capitals: `TimeZone`, `DateStyle`.
fn snake_case(name: &[u8]) -> Vec<u8> {
    let mut snake = Vec::with_capacity(name.len() + 2);
    for (index, byte) in name.iter().enumerate() {
        if byte.is_ascii_uppercase() && index > 0 {
            snake.push(b'_');
        }
        snake.push(byte.to_ascii_lowercase());
    }
    snake
}
