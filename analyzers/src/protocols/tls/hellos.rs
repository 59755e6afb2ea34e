//! What is kept of the two hellos until the event is written.

use super::extension::{self, Extensions};
use super::fingerprint::{self, Carrier, Ja3};
use super::hello::{ClientHello, ServerHello};
use crate::json::JsonObject;

/// A longer server name is cut here; a host name has 255 bytes at most.
pub(crate) const SERVER_NAME_MAX: usize = 1024;
/// Application protocols beyond this many are left out, which is told; clients that try everything name some dozens.
pub(crate) const PROTOCOLS_MAX: usize = 128;
/// Likewise beyond so many bytes of them.
pub(crate) const PROTOCOLS_BYTES: usize = 8 * 1024;

/// The application protocols that a hello names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Protocols {
    pub(crate) names: Vec<Vec<u8>>,
    /// There are more of them.
    pub(crate) cut: bool,
}

impl Protocols {
    /// In the content of an `application_layer_protocol_negotiation` extension.
    pub(crate) fn of(content: &[u8]) -> Self {
        let mut protocols = Self::default();
        let mut room = PROTOCOLS_BYTES;
        for name in extension::protocols(content) {
            room = room.saturating_sub(name.len());
            if protocols.names.len() == PROTOCOLS_MAX || room == 0 {
                protocols.cut = true;
                break;
            }
            protocols.names.push(name.to_vec());
        }
        protocols
    }

    fn in_extensions(extensions: Extensions<'_>) -> Self {
        extensions.find(extension::ALPN).map(Self::of).unwrap_or_default()
    }

    /// Writes them, if there are any, and the member `cut_key` if there are more.
    pub(crate) fn write(&self, json: &mut JsonObject<'_>, key: &'static str, cut_key: &'static str) {
        if !self.names.is_empty() {
            json.array(key, |items| self.names.iter().for_each(|name| items.text(name)));
        }
        if self.cut {
            json.flag(cut_key, true);
        }
    }
}

/// Of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) server_name: Option<Vec<u8>>,
    pub(crate) protocols: Protocols,
    pub(crate) ja3: Option<Ja3>,
    pub(crate) ja4: Option<String>,
}

impl Client {
    pub(crate) fn of(hello: &ClientHello<'_>, carrier: Carrier) -> Self {
        let name = hello.extensions.find(extension::SERVER_NAME).and_then(extension::host_name);
        Self {
            server_name: name.map(|name| name[..name.len().min(SERVER_NAME_MAX)].to_vec()),
            protocols: Protocols::in_extensions(hello.extensions),
            ja3: Ja3::of_client(hello),
            ja4: fingerprint::ja4(hello, carrier),
        }
    }

    pub(crate) fn write_server_name(&self, json: &mut JsonObject<'_>) {
        if let Some(name) = &self.server_name {
            json.text("sni", name);
        }
    }
}

/// Of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// The version that both speak.
    pub(crate) version: u16,
    pub(crate) cipher: Option<u16>,
    pub(crate) protocols: Protocols,
    pub(crate) ja3: Option<Ja3>,
    /// The hello says that an earlier session goes on.
    pub(crate) resumes: bool,
}

impl Server {
    pub(crate) fn of(hello: &ServerHello<'_>) -> Self {
        Self {
            version: hello.version(),
            cipher: hello.cipher,
            protocols: Protocols::in_extensions(hello.extensions),
            ja3: Ja3::of_server(hello),
            resumes: hello.resumes(),
        }
    }
}
