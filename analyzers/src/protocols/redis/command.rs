//! What a client asks for.

use arrayvec::ArrayVec;

use super::resp::{Step, Words};
use crate::json::JsonObject;
use crate::protocols::Guess;

/// The most bytes of a command's name, and of its first argument, that are kept.
const NAME_MAX: usize = 32;
const KEY_MAX: usize = 128;

/// Commands whose arguments are, or may be, secrets or programs: nothing of them is told.
const SILENT: [&[u8]; 8] = [b"AUTH", b"HELLO", b"MIGRATE", b"EVAL", b"EVAL_RO", b"SCRIPT", b"FUNCTION", b"RESTORE"];

/// Commands that a person at a terminal begins with.
const INLINE: [&[u8]; 10] =
    [b"PING", b"INFO", b"GET", b"SET", b"AUTH", b"KEYS", b"QUIT", b"SELECT", b"MONITOR", b"CONFIG"];

/// Whether a command that is a line begins here.
pub(super) fn begins_inline(bytes: &[u8]) -> Guess {
    let word = bytes.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    if INLINE.iter().any(|name| name.eq_ignore_ascii_case(word)) && word.len() < bytes.len() {
        return Guess::Yes;
    }
    let begins = |name: &&[u8]| name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if word.len() == bytes.len() && INLINE.iter().any(begins) { Guess::Perhaps } else { Guess::No }
}

/// Whether this is the name of a command that subscribes, or ends that; servers answer with the name in lower case.
pub(super) fn is_subscription(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] =
        [b"SUBSCRIBE", b"UNSUBSCRIBE", b"PSUBSCRIBE", b"PUNSUBSCRIBE", b"SSUBSCRIBE", b"SUNSUBSCRIBE"];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// One command.
#[derive(Clone, Debug, Default)]
pub(super) struct Command {
    pub(super) asked_ns: u64,
    name: ArrayVec<u8, NAME_MAX>,
    key: ArrayVec<u8, KEY_MAX>,
    /// Values that have begun, the name among them.
    values: u64,
    bytes: u64,
    /// Bytes of it are missing.
    pub(super) cut: bool,
    /// It was on its way when answers were missed: its own may be among them.
    pub(super) doubted: bool,
}

impl Command {
    /// Takes what comes next of it.
    pub(super) fn take(&mut self, step: Step<'_>) {
        match step {
            Step::Bulk { length } => {
                self.values += 1;
                self.bytes += length.unwrap_or_default();
            }
            Step::Bytes(bytes) => match self.values {
                1 => keep(&mut self.name, bytes),
                2 => keep(&mut self.key, bytes),
                _ => {}
            },
            Step::Inline { text, words } => {
                let mut read = Words::default();
                for byte in text {
                    if read.take(*byte) {
                        self.values = read.count;
                        self.take(Step::Bytes(&[*byte]));
                    }
                }
                self.values = words.count;
                self.bytes += words.bytes;
            }
            Step::Line { .. } | Step::Aggregate { .. } | Step::Complete => {}
        }
    }

    /// Whether anything of it has come.
    pub(super) const fn has_begun(&self) -> bool {
        self.values > 0
    }

    pub(super) fn is(&self, names: &[&[u8]]) -> bool {
        names.iter().any(|name| name.eq_ignore_ascii_case(&self.name))
    }

    /// The server answers it, each of its channels once, among what it pushes.
    pub(super) fn subscribes(&self) -> bool {
        is_subscription(&self.name)
    }

    /// Whether it may be answered as late as it likes.
    pub(super) fn blocks(&self) -> bool {
        const NAMES: [&[u8]; 13] = [
            b"BLPOP",
            b"BRPOP",
            b"BLMOVE",
            b"BLMPOP",
            b"BRPOPLPUSH",
            b"BZPOPMIN",
            b"BZPOPMAX",
            b"BZMPOP",
            b"XREAD",
            b"XREADGROUP",
            b"WAIT",
            b"WAITAOF",
            b"DEBUG",
        ];
        matches!(self.name.first(), Some(b'B' | b'b' | b'X' | b'x' | b'W' | b'w' | b'D' | b'd')) && self.is(&NAMES)
    }

    /// Whether its answers may be left out by itself.
    pub(super) fn changes_replies(&self) -> bool {
        self.is(&[b"CLIENT"]) && self.key.eq_ignore_ascii_case(b"REPLY")
    }

    /// The members of `request`.
    pub(super) fn members(&self, json: &mut JsonObject<'_>) {
        let mut name = self.name.clone();
        name.make_ascii_uppercase();
        json.text("command", &name);
        if self.values > 1 && !self.is(&SILENT) {
            json.text("key", &self.key);
        }
        json.number("arguments", self.values.saturating_sub(1));
        json.number("bytes", self.bytes);
    }
}

fn keep<const MOST: usize>(kept: &mut ArrayVec<u8, MOST>, bytes: &[u8]) {
    kept.extend(bytes.iter().copied().take(kept.remaining_capacity()));
}
