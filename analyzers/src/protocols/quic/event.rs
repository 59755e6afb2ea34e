//! The two hellos inside of QUIC, and the event that they end in.

use super::super::tls::extension::{self, Extensions, is_grease};
use super::super::tls::fingerprint::{Carrier, signature_algorithms};
use super::super::tls::hello::{ClientHello, ServerHello};
use super::super::tls::hellos::{Client, Protocols, Server};
use super::super::tls::reader::{Reader, numbers};
use super::super::tls::{CLIENT_HELLO, HandshakeMessage, SERVER_HELLO};
use super::super::{Context, EventKind, Protocol, Side};
use super::packet::version_name;
use crate::json::JsonObject;

/// Extensions beyond this many are not listed.
pub(crate) const EXTENSIONS_MAX: usize = 64;
/// Numbers that an extension lists beyond this many are left out, which is told.
pub(crate) const NUMBERS_MAX: usize = 128;

/// What both sides have said.
#[derive(Debug, Default)]
pub(crate) struct Hellos {
    client: Option<Client>,
    /// The client's extensions as a member of the event.
    extensions: Vec<u8>,
    server: Option<Server>,
    /// A hello is cut, or missing for that reason.
    cut: bool,
    /// When the client's hello was there; nothing once it was answered.
    asked_ns: Option<u64>,
}

impl Hellos {
    /// Whether this side has said hello.
    pub(crate) const fn has(&self, is_client: bool) -> bool {
        if is_client { self.client.is_some() } else { self.server.is_some() }
    }

    pub(crate) const fn are_complete(&self) -> bool {
        self.has(true) && self.has(false)
    }

    /// What is missing was cut off.
    pub(crate) const fn lack(&mut self) {
        self.cut = true;
    }

    /// Takes a message, or the beginning of one. False where it is whole, but malformed.
    pub(crate) fn message(&mut self, is_client: bool, message: HandshakeMessage<'_>, cx: &mut Context<'_>) -> bool {
        let HandshakeMessage { kind, body, whole } = message;
        let is_whole = match kind {
            CLIENT_HELLO if is_client && self.client.is_none() => {
                ClientHello::read(body, whole).is_some_and(|hello| self.client_hello(&hello, cx))
            }
            SERVER_HELLO if !is_client && self.server.is_none() => {
                ServerHello::read(body, whole).is_some_and(|hello| self.server_hello(&hello, cx))
            }
            _ => return true,
        };
        self.cut |= !is_whole;
        is_whole || !whole
    }

    fn client_hello(&mut self, hello: &ClientHello<'_>, cx: &Context<'_>) -> bool {
        self.asked_ns = Some(cx.time_ns);
        let mut client = Client::default();
        if cx.events.wants(EventKind::Quic) {
            client = Client::of(hello, Carrier::Quic);
            self.extensions = extensions_member(hello);
        }
        self.client = Some(client);
        hello.whole
    }

    fn server_hello(&mut self, hello: &ServerHello<'_>, cx: &mut Context<'_>) -> bool {
        if let Some(asked) = self.asked_ns.take() {
            cx.response_time(Protocol::Quic, cx.time_ns.saturating_sub(asked));
        }
        // Another hello follows.
        if !hello.is_retry {
            self.server = Some(Server::of(hello));
        }
        hello.whole
    }

    /// Writes the event, where anything is known; `version` is 0 where no packet could be read.
    pub(crate) fn write(&self, version: u32, client_side: Side, cx: &mut Context<'_>) {
        if version == 0 {
            return;
        }
        cx.event(EventKind::Quic, client_side, None, |json| {
            json.object("quic", |json| {
                json.text("version", version_name(version));
                if let Some(client) = &self.client {
                    client.write_server_name(json);
                    if let Some(ja3) = &client.ja3 {
                        ja3.write(json, "ja3");
                    }
                }
                if let Some(ja3) = self.server.as_ref().and_then(|server| server.ja3.as_ref()) {
                    ja3.write(json, "ja3s");
                }
                if let Some(ja4) = self.client.as_ref().and_then(|client| client.ja4.as_ref()) {
                    json.text("ja4", ja4);
                }
                json.members(&self.extensions);
                if self.cut {
                    json.flag("truncated", true);
                }
            });
        });
    }
}

/// The member that lists the extensions of a client, without braces around it; nothing where none is there of a cut hello, which is not
/// to say that it has none.
fn extensions_member(hello: &ClientHello<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    if !hello.whole && hello.extensions.iter().next().is_none() {
        return out;
    }
    JsonObject::append_to(&mut out, |json| {
        json.array("extensions", |items| {
            for (kind, content) in hello.extensions.iter().take(EXTENSIONS_MAX) {
                items.object(|json| write_extension(json, kind, content, hello.extensions));
            }
        });
    });
    out.pop();
    out.remove(0);
    out
}

fn write_extension(json: &mut JsonObject<'_>, kind: u16, content: &[u8], all: Extensions<'_>) {
    if let Some(name) = extension::name(kind) {
        json.text("name", name);
    }
    json.number("type", kind);
    match kind {
        extension::SERVER_NAME => {
            if let Some(name) = extension::host_name(content) {
                json.array("values", |items| items.text(name));
            }
        }
        extension::ALPN => Protocols::of(content).write(json, "values", VALUES_CUT),
        extension::SIGNATURE_ALGORITHMS => {
            write_values(json, signature_algorithms(all).iter().map(ToString::to_string));
        }
        extension::SUPPORTED_VERSIONS => {
            let list = Reader::new(content).vector8().unwrap_or_default();
            write_values(json, numbers(list).filter(|version| !is_grease(*version)).map(tls_name));
        }
        _ => {}
    }
}

/// Says that an extension lists more values than are told.
const VALUES_CUT: &str = "values_cut";

fn write_values(json: &mut JsonObject<'_>, mut values: impl Iterator<Item = String>) {
    json.array("values", |items| values.by_ref().take(NUMBERS_MAX).for_each(|value| items.text(value)));
    if values.next().is_some() {
        json.flag(VALUES_CUT, true);
    }
}

/// A version of TLS as this list names it.
fn tls_name(version: u16) -> String {
    match version {
        0x0301..=0x0304 => format!("Tls1{}", version - 0x0301),
        _ => format!("0x{version:04x}"),
    }
}
