//! What a server answers to a command: OK, an error, or result sets.

use super::command::code;
use super::packet::{Fields, Packet};
use crate::json::JsonObject;

/// The most bytes of an error's message that are kept.
pub(super) const ERROR_MAX: usize = 512;

/// The first byte of the payload.
pub(super) mod kind {
    pub(in super::super) const OK: u8 = 0x00;
    pub(in super::super) const LOCAL_INFILE: u8 = 0xfb;
    /// The end of columns or rows; of rows also an OK in this guise, where the end of columns has no packet of its own.
    pub(in super::super) const EOF: u8 = 0xfe;
    pub(in super::super) const ERROR: u8 = 0xff;
}

/// MariaDB says with an error of this number how far it is; no answer, and no error.
const PROGRESS_REPORT: u16 = 0xffff;

/// What a column's or parameter's definition begins with.
const DEFINITION: &[u8] = b"\x03def";

const CURSOR_EXISTS: u16 = 0x0040;
const MORE_RESULTS: u16 = 0x0008;

/// Length of an EOF packet's payload, by which it is told from an OK in its guise.
const EOF_LEN: u64 = 5;

/// Whether the answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    /// The client sends a file first.
    File,
    Complete,
    /// What follows has no end: replication.
    Endless,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    First,
    /// The answer to a file that the client sends.
    Infile,
    Columns {
        left: u64,
    },
    BehindColumns,
    Rows,
}

/// An answer on its way.
#[derive(Debug, Default)]
pub(super) struct Reply {
    stage: Stage,
    /// Packets in front of it that were no part of it, modulo 256 as all numbers of packets.
    before: u8,
    /// When it began, nanoseconds since 1970.
    pub(super) began_ns: Option<u64>,
    results: u64,
    columns: u64,
    rows: u64,
    bytes: u64,
    affected: Option<u64>,
    insert_id: u64,
    warnings: u16,
    statement_id: Option<u32>,
    error: Option<Error>,
    /// Bytes of it that were wanted are missing.
    pub(super) cut: bool,
}

#[derive(Debug)]
struct Error {
    code: Option<u16>,
    state: Option<[u8; 5]>,
    message: Box<[u8]>,
}

impl Reply {
    /// Whether a packet can be the first of an answer whose numbers begin with `start`, if that is what is waited for.
    pub(super) fn takes(&self, start: u8, packet: &Packet<'_>) -> bool {
        if !matches!(self.stage, Stage::First) || self.results > 0 {
            return true;
        }
        // What follows the answer to a statement's preparation is numbered on.
        let ends_list = packet.kind() == Some(kind::EOF) && packet.length <= EOF_LEN;
        let is_listed = start != 1 && (ends_list || packet.payload.starts_with(DEFINITION));
        packet.sequence == self.before.wrapping_add(start) && !is_listed
    }

    /// Skips a packet that tells no more than how far the server is; whether it was one.
    pub(super) fn skips(&mut self, packet: &Packet<'_>) -> bool {
        let Some((&kind::ERROR, rest)) = packet.payload.split_first() else { return false };
        let reports = Fields(rest).u16() == Some(PROGRESS_REPORT);
        self.before = self.before.wrapping_add(u8::from(reports));
        reports
    }

    /// How many bytes of a payload that begins with `first` are wanted.
    pub(super) const fn wanted(first: u8) -> usize {
        match first {
            kind::ERROR => 9 + ERROR_MAX,
            kind::OK | kind::EOF => 48,
            _ => 10,
        }
    }

    /// Bytes of a payload that is more than one packet long.
    pub(super) fn goes_on(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// The next packet of the answer to `command`.
    pub(super) fn packet(&mut self, command: u8, packet: &Packet<'_>) -> Progress {
        let Some(first) = packet.kind() else { return Progress::More };
        self.cut |= packet.cut;
        if first == kind::ERROR {
            self.error = Some(Error::read(packet.payload.get(1..).unwrap_or_default()));
            return Progress::Complete;
        }
        match &mut self.stage {
            Stage::First | Stage::Infile => self.first(command, first, packet),
            Stage::Columns { left } => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.stage = Stage::BehindColumns;
                }
                Progress::More
            }
            Stage::BehindColumns => {
                self.stage = Stage::Rows;
                if first != kind::EOF || packet.length != EOF_LEN {
                    return self.row(first, packet);
                }
                // Where the status is cut no row may follow, and what comes next be another command's.
                let status = Fields(packet.payload.get(3..).unwrap_or_default()).u16();
                if status.is_none_or(|status| status & CURSOR_EXISTS != 0) {
                    Progress::Complete
                } else {
                    Progress::More
                }
            }
            Stage::Rows => self.row(first, packet),
        }
    }

    fn first(&mut self, command: u8, first: u8, packet: &Packet<'_>) -> Progress {
        match command {
            code::STATISTICS => return Progress::Complete,
            code::BINLOG_DUMP | code::BINLOG_DUMP_GTID => return Progress::Endless,
            code::FETCH | code::FIELD_LIST => {
                self.stage = Stage::Rows;
                return self.row(first, packet);
            }
            code::PREPARE if first == kind::OK => {
                // The definitions of parameters and columns that follow belong to no answer.
                let mut fields = Fields(packet.payload.get(1..).unwrap_or_default());
                self.statement_id = fields.u32();
                self.columns = u64::from(fields.u16().unwrap_or_default());
                return Progress::Complete;
            }
            _ => {}
        }
        match first {
            kind::EOF if packet.length <= EOF_LEN => Progress::Complete,
            kind::OK | kind::EOF => self.ok(packet),
            kind::LOCAL_INFILE => {
                self.stage = Stage::Infile;
                Progress::File
            }
            _ => {
                let mut fields = Fields(packet.payload);
                let Some(columns) = fields.number() else { return Progress::Complete };
                self.columns = columns;
                // One byte behind the count: MariaDB says with it whether definitions follow that the client may have kept. The end of
                // columns comes in either case.
                let kept_by_client = fields.0 == [0] && packet.length == packet.payload.len() as u64;
                self.stage = if kept_by_client { Stage::BehindColumns } else { Stage::Columns { left: self.columns } };
                self.results += 1;
                Progress::More
            }
        }
    }

    fn row(&mut self, first: u8, packet: &Packet<'_>) -> Progress {
        if first != kind::EOF || packet.continues() {
            self.rows += 1;
            self.bytes += packet.length;
            return Progress::More;
        }
        if packet.length > EOF_LEN {
            return self.ok(packet);
        }
        let mut fields = Fields(packet.payload.get(1..).unwrap_or_default());
        self.warnings = fields.u16().unwrap_or_default();
        self.after(fields.u16().unwrap_or_default())
    }

    fn ok(&mut self, packet: &Packet<'_>) -> Progress {
        let mut fields = Fields(packet.payload.get(1..).unwrap_or_default());
        if let Some(affected) = fields.number()
            && packet.kind() == Some(kind::OK)
        {
            self.affected = Some(self.affected.unwrap_or_default().saturating_add(affected));
        }
        self.insert_id = fields.number().unwrap_or_default();
        let status = fields.u16().unwrap_or_default();
        self.warnings = fields.u16().unwrap_or_default();
        self.after(status)
    }

    fn after(&mut self, status: u16) -> Progress {
        if status & MORE_RESULTS == 0 {
            return Progress::Complete;
        }
        self.stage = Stage::First;
        // Also an OK is a result when another one follows it.
        self.results = self.results.max(1);
        Progress::More
    }

    /// The members of `response`.
    pub(super) fn members(&self, json: &mut JsonObject<'_>) {
        if let Some(error) = &self.error {
            json.text("status", "error");
            if let Some(code) = error.code {
                json.number("code", code);
            }
            if let Some(state) = &error.state {
                json.text("sqlstate", state);
            }
            if !error.message.is_empty() {
                json.text("message", &error.message);
            }
            return;
        }
        json.text("status", "ok");
        if let Some(affected) = self.affected {
            json.number("affected_rows", affected);
        }
        if self.insert_id > 0 {
            json.number("last_insert_id", self.insert_id);
        }
        if self.warnings > 0 {
            json.number("warnings", self.warnings);
        }
        if let Some(number) = self.statement_id {
            json.number("statement_id", number);
        }
        if self.columns > 0 {
            json.number("columns", self.columns);
        }
        if self.results > 0 || self.rows > 0 {
            json.number("rows", self.rows);
            json.number("bytes", self.bytes);
        }
        if self.results > 1 {
            json.number("result_sets", self.results);
        }
    }
}

impl Error {
    fn read(body: &[u8]) -> Self {
        let mut fields = Fields(body);
        let code = fields.u16();
        let mut state = None;
        if fields.0.first() == Some(&b'#')
            && let Some((five, rest)) = fields.0.get(1..).and_then(<[u8]>::split_first_chunk::<5>)
        {
            state = Some(*five);
            fields = Fields(rest);
        } else if fields.0.first() == Some(&b'#') {
            // The state is cut.
            fields = Fields(&[]);
        }
        Self { code, state, message: fields.0.get(..ERROR_MAX).unwrap_or(fields.0).into() }
    }
}
