//! What a client asks for.

use super::attributes::text_behind;
use super::greeting::{Login, kept};
use super::packet::{Fields, HEADER_LEN, Packet, length};
use crate::json::JsonObject;
use crate::protocols::Guess;
use crate::protocols::statement::{STATEMENT_MAX, without_passwords};

/// Commands that something is known of besides their names.
pub(super) mod code {
    pub(in super::super) const QUIT: u8 = 0x01;
    pub(in super::super) const INIT_DB: u8 = 0x02;
    pub(in super::super) const QUERY: u8 = 0x03;
    pub(in super::super) const FIELD_LIST: u8 = 0x04;
    pub(in super::super) const STATISTICS: u8 = 0x09;
    pub(in super::super) const CHANGE_USER: u8 = 0x11;
    pub(in super::super) const BINLOG_DUMP: u8 = 0x12;
    pub(in super::super) const PREPARE: u8 = 0x16;
    pub(in super::super) const EXECUTE: u8 = 0x17;
    pub(in super::super) const LONG_DATA: u8 = 0x18;
    pub(in super::super) const CLOSE: u8 = 0x19;
    pub(in super::super) const RESET: u8 = 0x1a;
    pub(in super::super) const FETCH: u8 = 0x1c;
    pub(in super::super) const BINLOG_DUMP_GTID: u8 = 0x1e;
}

const fn name(command: u8) -> Option<&'static str> {
    Some(match command {
        code::QUIT => "quit",
        code::INIT_DB => "init_db",
        code::QUERY => "query",
        code::FIELD_LIST => "field_list",
        0x05 => "create_db",
        0x06 => "drop_db",
        0x07 => "refresh",
        0x08 => "shutdown",
        code::STATISTICS => "statistics",
        0x0a => "process_info",
        0x0c => "process_kill",
        0x0d => "debug",
        0x0e => "ping",
        code::CHANGE_USER => "change_user",
        code::BINLOG_DUMP => "binlog_dump",
        0x13 => "table_dump",
        0x15 => "register_slave",
        code::PREPARE => "stmt_prepare",
        code::EXECUTE => "stmt_execute",
        code::LONG_DATA => "stmt_send_long_data",
        code::CLOSE => "stmt_close",
        code::RESET => "stmt_reset",
        0x1b => "set_option",
        code::FETCH => "stmt_fetch",
        code::BINLOG_DUMP_GTID => "binlog_dump_gtid",
        0x1f => "reset_connection",
        0xfa => "stmt_bulk_execute",
        _ => return None,
    })
}

/// What has to be known of a command to read its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) code: u8,
    /// The sequence number that the answer begins with, modulo 256: one more than that of the command's last packet.
    pub(super) start: u8,
}

/// A command that waits for its answer.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) asked_ns: u64,
    pub(super) expected: Expected,
    kind: Kind,
    bytes: u64,
    /// Bytes of it that were wanted are missing.
    pub(super) cut: bool,
}

#[derive(Debug)]
enum Kind {
    Login(Login),
    /// Its text, where that is there.
    Statement(Option<Box<[u8]>>),
    Database(Box<[u8]>),
    Prepared(u32),
    Other,
}

impl Command {
    /// Memory that its text takes, in bytes.
    pub(super) fn size(&self) -> usize {
        match &self.kind {
            Kind::Statement(text) => text.as_ref().map_or(0, |text| text.len()),
            Kind::Database(name) => name.len(),
            Kind::Login(login) => login.user.len() + login.database.len() + login.plugin.len(),
            Kind::Prepared(_) | Kind::Other => 0,
        }
    }

    /// The client's answer to the greeting, which is a command in so far as it is answered.
    pub(super) fn login(login: Login, cut: bool, asked_ns: u64) -> Self {
        Self { asked_ns, expected: Expected { code: 0, start: 2 }, kind: Kind::Login(login), bytes: 0, cut }
    }

    /// `None` where the packet begins no command.
    pub(super) fn read(packet: &Packet<'_>, capabilities: Option<u32>, asked_ns: u64) -> Option<Self> {
        let (code, rest) = packet.payload.split_first()?;
        name(*code)?;
        let mut fields = Fields(rest);
        let is_whole = packet.payload.len() as u64 == packet.length;
        let mut cut = packet.cut;
        let kind = match *code {
            code::QUERY | code::PREPARE => {
                let text = if *code == code::QUERY { text_behind(rest, capabilities) } else { Some(rest) };
                let text = text.filter(|text| is_whole || !text.is_empty());
                cut |= !is_whole || text.is_none_or(|text| text.len() > STATEMENT_MAX);
                Kind::Statement(text.map(|text| text.get(..STATEMENT_MAX).unwrap_or(text).into()))
            }
            // The beginning of a name is another name.
            code::INIT_DB if packet.cut => Kind::Other,
            code::INIT_DB => Kind::Database(kept(rest)),
            code::CHANGE_USER => Kind::Login(Login::read_change(rest, packet.cut, capabilities.unwrap_or(0))),
            code::EXECUTE | code::LONG_DATA | code::CLOSE | code::RESET | code::FETCH => {
                fields.u32().map_or(Kind::Other, Kind::Prepared)
            }
            _ => Kind::Other,
        };
        let expected = Expected { code: *code, start: packet.sequence.wrapping_add(1) };
        Some(Self { asked_ns, expected, kind, bytes: packet.length, cut })
    }

    /// Another packet of it: it is longer than one can be.
    pub(super) fn goes_on(&mut self, packet: &Packet<'_>) {
        self.bytes += packet.length;
        self.expected.start = packet.sequence.wrapping_add(1);
    }

    /// Whether a command surely begins here: where bytes are missing in front, or the flow was picked up in the middle.
    pub(super) fn begins(bytes: &[u8]) -> Guess {
        let Some(length) = length(bytes) else { return Guess::Perhaps };
        if bytes.get(3) != Some(&0) || length == 0 {
            return Guess::No;
        }
        let payload = bytes.get(HEADER_LEN..).unwrap_or_default();
        let Some((code, rest)) = payload.split_first() else { return Guess::Perhaps };
        let length = length as usize;
        let fits = match *code {
            code::QUERY | code::PREPARE => {
                if rest.is_empty() {
                    return Guess::Perhaps;
                }
                let Some(text) = text_behind(rest.get(..length - 1).unwrap_or(rest), None) else { return Guess::No };
                let word = text.iter().take(16).copied();
                text.first().is_some_and(|byte| byte.is_ascii_alphabetic() || b"(/-# \n".contains(byte))
                    && word.clone().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
            }
            code::QUIT | code::STATISTICS | 0x0d | 0x0e | 0x1f => length == 1,
            code::CLOSE | code::RESET => length == 5,
            code::FETCH => length == 9,
            code::INIT_DB => length <= 65 && rest.iter().all(u8::is_ascii_graphic),
            // A table's name, which ends with a zero, and a pattern for columns.
            code::FIELD_LIST => {
                let text = rest.get(..length - 1).unwrap_or(rest);
                let mut parts = text.split(|byte| *byte == 0);
                let name = parts.next().unwrap_or_default();
                let ends = parts.next().is_some() || text.len() < length - 1;
                let is_text = text.iter().all(|byte| *byte == 0 || *byte >= b' ');
                (3..=512).contains(&length)
                    && ends
                    && is_text
                    && (text.is_empty() || !name.is_empty())
                    && parts.next().is_none()
            }
            code::EXECUTE => (10..=0x00ff_ffff).contains(&length),
            _ => false,
        };
        if fits { Guess::Yes } else { Guess::No }
    }

    /// Whether the command at the start of `bytes` has text, which is little likely by chance.
    pub(super) fn is_statement(bytes: &[u8]) -> bool {
        matches!(bytes.get(HEADER_LEN), Some(&(code::QUERY | code::PREPARE)))
    }

    /// Whether a server says nothing to it.
    pub(super) const fn is_silent(&self) -> bool {
        matches!(self.expected.code, code::QUIT | code::LONG_DATA | code::CLOSE)
    }

    /// Who logs in, if this is that.
    pub(super) const fn as_login(&self) -> Option<&Login> {
        if let Kind::Login(login) = &self.kind { Some(login) } else { None }
    }

    /// The server wants another way of authentication.
    pub(super) fn switch_plugin(&mut self, plugin: &[u8]) {
        if let Kind::Login(login) = &mut self.kind {
            login.plugin = kept(plugin);
        }
    }

    /// The members of `request`.
    pub(super) fn members(&self, json: &mut JsonObject<'_>) {
        json.text("command", name(self.expected.code).unwrap_or("login"));
        match &self.kind {
            Kind::Login(login) => {
                for (key, value) in
                    [("user", &login.user), ("database", &login.database), ("auth_plugin", &login.plugin)]
                {
                    if !value.is_empty() {
                        json.text(key, value);
                    }
                }
            }
            Kind::Statement(text) => {
                if let Some(text) = text {
                    json.text("query", without_passwords(text));
                }
                json.number("bytes", self.bytes);
            }
            Kind::Database(name) => json.text("database", name),
            Kind::Prepared(number) => {
                json.number("statement_id", *number);
                json.number("bytes", self.bytes);
            }
            Kind::Other => {}
        }
    }
}
