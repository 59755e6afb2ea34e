//! A handshake as far as both sides have come, and the event it ends in.

use super::super::{Context, EventKind, Protocol, Side};
use super::alert::Alert;
use super::certificate::Certificate;
use super::extension::Extensions;
use super::fingerprint::Carrier;
use super::hello::{ClientHello, ServerHello};
use super::hellos::{Client, Server};
use super::reader::Reader;
use super::version;

pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_HELLO_DONE: u8 = 14;

/// Length of a handshake message's header (RFC 8446 section 4).
pub(crate) const HEADER_LEN: usize = 4;

/// Whether `kind` is that of a message that goes in clear.
pub(crate) const fn is_message(kind: u8) -> bool {
    matches!(kind, 0..=4 | 6 | 11..=16 | 20..=24 | 67)
}

/// Whether there is more to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    More,
    /// The handshake is over, or the rest of it is encrypted.
    Complete,
}

/// What was said so far.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    client: Option<Client>,
    server: Option<Server>,
    certificate: Option<Certificate>,
    chain: u64,
    alert: Option<Alert>,
    /// Which side is the client, once a hello told.
    client_side: Option<Side>,
    /// When the client's hello was there; nothing once it was answered.
    asked_ns: Option<u64>,
    /// The server asked for another hello.
    retried: bool,
    /// The server has said all that it says in clear; what the client thinks of it may follow.
    served: bool,
    truncated: bool,
}

impl Handshake {
    /// Memory that the names in a certificate take, in bytes: all else is small.
    pub(crate) fn size(&self) -> usize {
        self.certificate.as_ref().map_or(0, Certificate::size)
    }

    /// Which side is the client; the originator until a hello tells otherwise.
    pub(crate) fn client_side(&self) -> Side {
        self.client_side.unwrap_or(Side::Originator)
    }

    /// Whether a server has said which version and cipher it takes.
    pub(crate) const fn has_server(&self) -> bool {
        self.server.is_some()
    }

    /// Whether a client has said hello.
    pub(crate) const fn has_client(&self) -> bool {
        self.client.is_some()
    }

    /// Whether it is known that the bytes of that side were seen from their beginning on: its hello was, or the client's, which is the first
    /// of both.
    pub(crate) fn begins_with(&self, from: Side) -> bool {
        self.client.is_some() || from != self.client_side() && (self.server.is_some() || self.retried)
    }

    /// Whether a server asked for another hello and that has not been answered yet.
    pub(crate) const fn is_retrying(&self) -> bool {
        self.retried && self.server.is_none()
    }

    /// Something is missing, which matters until the server has said all.
    pub(crate) fn lack(&mut self) {
        self.truncated |= !self.served;
    }

    /// Whether the server has said all that it says in clear.
    pub(crate) const fn is_served(&self) -> bool {
        self.served
    }

    /// A message from one side, `whole` or cut at the end.
    pub(crate) fn message(
        &mut self,
        from: Side,
        message: Message<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Progress, &'static str> {
        let Message { kind, body, whole } = message;
        // The client's hello may be shown behind all that the server says to it.
        self.truncated |= !whole && matches!(kind, CLIENT_HELLO | SERVER_HELLO | CERTIFICATE);
        match kind {
            CLIENT_HELLO => {
                let Some(hello) = ClientHello::read(body, whole) else {
                    return if whole { Err("invalid_handshake_message") } else { Ok(Progress::More) };
                };
                if whole && !hello.whole {
                    return Err("invalid_handshake_message");
                }
                self.client_hello(from, &hello, cx);
                Ok(Progress::More)
            }
            SERVER_HELLO => {
                let Some(hello) = ServerHello::read(body, whole) else {
                    return if whole { Err("invalid_handshake_message") } else { Ok(Progress::More) };
                };
                if whole && !hello.whole {
                    return Err("invalid_handshake_message");
                }
                Ok(self.server_hello(from, &hello, cx))
            }
            CERTIFICATE if from != self.client_side() && self.certificate.is_none() => {
                self.certificates(body);
                Ok(Progress::More)
            }
            SERVER_HELLO_DONE if from != self.client_side() => {
                self.served = true;
                Ok(Progress::More)
            }
            _ => Ok(Progress::More),
        }
    }

    fn client_hello(&mut self, from: Side, hello: &ClientHello<'_>, cx: &Context<'_>) {
        // The second one, after a retry, differs in keys only.
        if self.client.is_some() {
            return;
        }
        self.client_side.get_or_insert(from);
        self.asked_ns = Some(cx.time_ns);
        self.client =
            Some(if cx.events.wants(EventKind::Tls) { Client::of(hello, Carrier::Tcp) } else { Client::default() });
    }

    fn server_hello(&mut self, from: Side, hello: &ServerHello<'_>, cx: &mut Context<'_>) -> Progress {
        if self.server.is_some() {
            return Progress::More;
        }
        self.client_side.get_or_insert(from.other());
        if let Some(asked) = self.asked_ns.take() {
            cx.response_time(Protocol::Tls, cx.time_ns.saturating_sub(asked));
        }
        if hello.is_retry {
            self.retried = true;
            return Progress::More;
        }
        let server = Server::of(hello);
        let is_1_3 = version::is_1_3(server.version);
        self.server = Some(server);
        // Everything behind the hello of 1.3 is encrypted.
        if is_1_3 && hello.whole { Progress::Complete } else { Progress::More }
    }

    /// The chain, the server's own certificate first (RFC 5246 section 7.4.2).
    fn certificates(&mut self, body: &[u8]) {
        let mut reader = Reader::new(body);
        let Some(length) = reader.u24() else {
            return;
        };
        let mut list = Reader::new(reader.up_to(length));
        while let Some(length) = list.u24() {
            let bytes = list.up_to(length);
            self.chain += 1;
            if self.certificate.is_none() {
                let certificate = Certificate::read(bytes, bytes.len() == length);
                self.certificate = Some(certificate).filter(Certificate::is_known);
            }
        }
    }

    /// The client's hello in the form of version 2, without its two bytes of length (RFC 5246 appendix E.2).
    pub(crate) fn hello_of_version_2(&mut self, from: Side, body: &[u8], cx: &Context<'_>) -> Result<(), &'static str> {
        let mut reader = Reader::new(body);
        let mut read = || (reader.u8() == Some(CLIENT_HELLO)).then(|| reader.u16()).flatten();
        let version = read().ok_or("invalid_sslv2_header")?;
        // Its ciphers are not those of the hello that fingerprints are defined for.
        let hello = ClientHello { version, ciphers: &[], extensions: Extensions::default(), whole: false };
        self.client_hello(from, &hello, cx);
        Ok(())
    }

    /// A side turns encryption on.
    pub(crate) fn change_cipher(&mut self, from: Side) -> Progress {
        if self.served {
            return Progress::Complete;
        }
        if from == self.client_side() || self.is_retrying() {
            return Progress::More;
        }
        // No certificate and no end of the server's hellos: an earlier session goes on (RFC 5246 figure 2, RFC 5077
        // section 3.1).
        if let Some(server) = self.server.as_mut().filter(|_| self.certificate.is_none() && !self.truncated) {
            server.resumes = true;
        }
        Progress::Complete
    }

    /// An alert in clear.
    pub(crate) const fn alert(&mut self, alert: Alert) -> Progress {
        self.alert = Some(alert);
        if alert.ends() { Progress::Complete } else { Progress::More }
    }

    /// Writes the event, where there was a hello, and forgets the hellos.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>) {
        if self.client.is_none() && self.server.is_none() {
            return;
        }
        // A server only answers a hello (RFC 8446 section 4.1.3); and it may have answered, but nothing of it was shown, or not its beginning.
        let server_side = self.client_side().other();
        let may_have_answered = cx.is_unseen(server_side) || cx.is_joined(server_side);
        let is_one_sided = self.client.is_none() || self.server.is_none() && may_have_answered;
        let truncated = self.truncated || is_one_sided;
        let client = self.client.take().unwrap_or_default();
        let server = self.server.take().unwrap_or_default();
        cx.event(EventKind::Tls, self.client_side(), None, |json| {
            json.object("tls", |json| {
                if let Some(certificate) = &self.certificate {
                    certificate.write_identity(json);
                }
                if server.resumes {
                    json.flag("session_resumed", true);
                }
                client.write_server_name(json);
                json.text("version", version::name(server.version));
                if let Some(certificate) = &self.certificate {
                    certificate.write_validity(json);
                    json.number("chain_length", self.chain);
                }
                if let Some(ja3) = &client.ja3 {
                    ja3.write(json, "ja3");
                }
                if let Some(ja3) = &server.ja3 {
                    ja3.write(json, "ja3s");
                }
                if let Some(ja4) = &client.ja4 {
                    json.text("ja4", ja4);
                }
                client.protocols.write(json, "client_alpns", "client_alpns_cut");
                server.protocols.write(json, "server_alpns", "server_alpns_cut");
                if let Some(cipher) = server.cipher {
                    json.object("server_handshake", |json| json.number("cipher", cipher));
                }
                if let Some(alert) = self.alert {
                    alert.write(json);
                }
                if truncated {
                    json.flag("truncated", true);
                }
            });
        });
    }
}

/// A handshake message, or the beginning of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
    pub(crate) whole: bool,
}

impl<'a> Message<'a> {
    /// The message at the beginning of `bytes`, cut where they end, and its length with header; nothing where the
    /// header is not there.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let length = reader.u24()?;
        let body = reader.up_to(length);
        Some((Self { kind, body, whole: body.len() == length }, HEADER_LEN + length))
    }
}
