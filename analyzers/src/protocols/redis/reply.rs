//! What a server answers, or sends by itself.

use arrayvec::ArrayVec;

use super::command::is_subscription;
use super::resp::Step;
use crate::json::JsonObject;

/// The most bytes of a status or an error that are kept.
const TEXT_MAX: usize = 200;

/// The most bytes of an array's first value that are kept: enough for `punsubscribe`.
const FIRST_MAX: usize = 16;

/// One answer as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// When it began, nanoseconds since 1970.
    pub(super) began_ns: Option<u64>,
    kind: u8,
    elements: Option<u64>,
    is_null: bool,
    text: ArrayVec<u8, TEXT_MAX>,
    values: u64,
    first: ArrayVec<u8, FIRST_MAX>,
    pub(super) bytes: u64,
    /// Bytes of it are missing.
    pub(super) cut: bool,
    /// It began when no command waited.
    pub(super) unasked: bool,
}

impl Reply {
    /// Takes what comes next of it.
    pub(super) fn take(&mut self, step: Step<'_>) {
        let is_top = self.kind == 0;
        match step {
            Step::Aggregate { kind, elements } if is_top => {
                self.kind = kind;
                self.elements = Some(elements);
            }
            Step::Line { kind, text, length } => {
                if is_top {
                    self.kind = kind;
                    // Integers and doubles are data, as values are.
                    if matches!(kind, b'+' | b'-') {
                        self.text.extend(without_arguments(text).iter().copied().take(TEXT_MAX));
                    }
                }
                self.bytes += length;
                self.values += 1;
            }
            Step::Bulk { length } => {
                if is_top {
                    self.kind = b'$';
                    self.is_null = length.is_none();
                }
                self.bytes += length.unwrap_or_default();
                self.values += 1;
            }
            Step::Bytes(bytes) if self.values == 1 && self.elements.is_some() => {
                self.first.extend(bytes.iter().copied().take(self.first.remaining_capacity()));
            }
            Step::Aggregate { .. } | Step::Inline { .. } | Step::Bytes(_) | Step::Complete => {}
        }
    }

    /// RESP3's sign for what no command asked for.
    pub(super) const fn is_push(&self) -> bool {
        self.kind == b'>'
    }

    /// A line of `MONITOR`: when a command came, the database and the client's address in brackets, and its words.
    pub(super) fn is_monitoring(&self) -> bool {
        self.kind == b'+'
            && self.text.first().is_some_and(u8::is_ascii_digit)
            && self.text.windows(2).any(|two| two == b" [")
    }

    /// A message of a channel.
    pub(super) fn is_message(&self) -> bool {
        matches!(&self.first[..], b"message" | b"pmessage" | b"smessage")
    }

    /// The answer to a subscription.
    pub(super) fn confirms(&self) -> bool {
        is_subscription(&self.first)
    }

    pub(super) const fn is_error(&self) -> bool {
        self.kind == b'-'
    }

    /// The members of `response`.
    pub(super) fn members(&self, json: &mut JsonObject<'_>) {
        let kind = match self.kind {
            b'+' => "status",
            b'-' | b'!' => "error",
            b':' => "integer",
            b'$' if self.is_null => "null",
            b'$' | b'=' => "bulk",
            b'*' => "array",
            b'%' => "map",
            b'~' => "set",
            b'>' => "push",
            b'_' => "null",
            b',' => "double",
            b'#' => "boolean",
            b'(' => "big_number",
            b'|' => "attribute",
            _ => "unknown",
        };
        json.text("type", kind);
        match self.kind {
            b'+' => json.text("status", &self.text),
            b'-' => json.text("error", &self.text),
            _ => {}
        }
        if let Some(elements) = self.elements {
            json.number("elements", elements);
        }
        json.number("bytes", self.bytes);
    }
}

/// Servers repeat the arguments of a command that they do not know; a password may be among them.
fn without_arguments(text: &[u8]) -> &[u8] {
    const ARGUMENTS: &[u8] = b", with args";
    let end = text.windows(ARGUMENTS.len()).position(|window| window == ARGUMENTS);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}
