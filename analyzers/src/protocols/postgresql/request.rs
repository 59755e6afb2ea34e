//! What a client wants and waits for.

use super::startup::Startup;
use crate::json::JsonObject;
use crate::protocols::statement::{STATEMENT_MAX, without_passwords};

/// The most bytes of the name of a prepared statement that are kept.
const NAME_MAX: usize = 64;

/// One request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) asked_ns: u64,
    pub(super) kind: Kind,
    /// Bytes of it that were wanted are missing.
    pub(super) cut: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Startup(Startup),
    /// Authentication data, which is never told; the mechanism where it is named.
    Authentication {
        mechanism: Option<Box<[u8]>>,
    },
    Query(Box<[u8]>),
    Extended(Extended),
    /// The end of a series of extended statements.
    Sync,
    Function,
    Terminate,
}

/// Parse, Bind and Execute of one statement.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) statement: Box<[u8]>,
    pub(super) text: Option<Box<[u8]>>,
    /// Only what it takes and gives was asked so far, of a statement or a portal of before.
    described: bool,
    bound: bool,
    /// Execute has come: what is parsed or bound next is another one.
    pub(super) executed: bool,
    /// What it copies in has come to its end.
    pub(super) copied: bool,
}

/// Text up to the next zero byte, and what is behind it; up to the end where there is none.
fn split_text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(end);
    (text, rest.get(1..).unwrap_or_default())
}

/// The name that ends with a zero byte, as much of it as is kept. One whose end is not there is none: its beginning is another name.
fn name(bytes: &[u8]) -> Box<[u8]> {
    let name = split_text(bytes).0;
    if name.len() < bytes.len() { kept(name, NAME_MAX) } else { Box::default() }
}

fn kept(text: &[u8], most: usize) -> Box<[u8]> {
    text.get(..most).unwrap_or(text).into()
}

impl Request {
    /// Memory that its text takes, in bytes.
    pub(super) fn size(&self) -> usize {
        match &self.kind {
            Kind::Query(text) => text.len(),
            Kind::Extended(extended) => extended.statement.len() + extended.text.as_ref().map_or(0, |text| text.len()),
            Kind::Authentication { mechanism } => mechanism.as_ref().map_or(0, |name| name.len()),
            Kind::Startup(startup) => startup.size(),
            Kind::Sync | Kind::Function | Kind::Terminate => 0,
        }
    }
}

impl Kind {
    pub(super) fn query(body: &[u8]) -> Self {
        Self::Query(kept(split_text(body).0, STATEMENT_MAX))
    }

    /// What answers a request for authentication. Only SASL's first answer begins with the name of a mechanism.
    pub(super) fn authentication(body: &[u8], sasl: bool) -> Self {
        let name = name(body);
        let is_name = sasl && name.starts_with(b"SCRAM-") || &*name == b"OAUTHBEARER";
        Self::Authentication { mechanism: is_name.then_some(name) }
    }
}

impl Extended {
    /// Whether it asks what a statement takes and gives, and does nothing more.
    const fn is_description(&self) -> bool {
        self.described && !self.bound && !self.executed
    }

    pub(super) fn parse(&mut self, body: &[u8]) {
        self.statement = name(body);
        let (_, rest) = split_text(body);
        self.text = Some(kept(split_text(rest).0, STATEMENT_MAX));
    }

    /// A statement or a portal, as the first byte says. What was just parsed or bound is named already.
    pub(super) fn describe(&mut self, body: &[u8]) {
        self.described = self.text.is_none() && !self.bound;
        if let Some((b'S', statement)) = body.split_first().filter(|_| self.described) {
            self.statement = name(statement);
        }
    }

    /// Portal, then statement.
    pub(super) fn bind(&mut self, body: &[u8]) {
        self.bound = true;
        self.statement = name(split_text(body).1);
    }
}

impl Request {
    /// The members of `request`.
    pub(super) fn members(&self, json: &mut JsonObject<'_>) {
        match &self.kind {
            Kind::Startup(startup) => startup.members(json),
            Kind::Authentication { mechanism: Some(name) } => {
                // Suricata's spelling of the mechanisms that it knows.
                let name = match &**name {
                    b"SCRAM-SHA-256" => b"scram_SHA256",
                    b"SCRAM-SHA-256-PLUS" => &b"scram_SHA256_plus"[..],
                    other => other,
                };
                json.text("sasl_authentication_mechanism", name);
            }
            Kind::Authentication { mechanism: None } => json.text("message", "authentication"),
            Kind::Query(text) => json.text("simple_query", without_passwords(text)),
            Kind::Extended(extended) => {
                match &extended.text {
                    Some(text) => json.text("extended_query", without_passwords(text)),
                    None if extended.is_description() => json.text("message", "describe"),
                    None => json.text("message", "execute"),
                }
                if !extended.statement.is_empty() {
                    json.text("statement", &extended.statement);
                }
            }
            Kind::Sync => json.text("message", "sync"),
            Kind::Function => json.text("message", "function_call"),
            Kind::Terminate => json.text("message", "termination_message"),
        }
    }
}
