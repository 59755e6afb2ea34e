//! What is kept of the two hellos until the event is written.

use super::extension;
use super::fingerprint::{self, Carrier, Ja3};
use super::hello::{ClientHello, ServerHello};
use crate::json::{JsonArray, JsonObject};

/// A longer server name is cut here; a host name has 255 bytes at most.
pub(crate) const SERVER_NAME_MAX: usize = 1024;
/// Application protocols beyond this many are left out.
pub(crate) const PROTOCOLS_MAX: usize = 32;

/// Of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) server_name: Option<Vec<u8>>,
    pub(crate) protocols: Vec<Vec<u8>>,
    pub(crate) ja3: Option<Ja3>,
    pub(crate) ja4: Option<String>,
}

impl Client {
    pub(crate) fn of(hello: &ClientHello<'_>, carrier: Carrier) -> Self {
        let name = hello.extensions.find(extension::SERVER_NAME).and_then(extension::host_name);
        Self {
            server_name: name.map(|name| name[..name.len().min(SERVER_NAME_MAX)].to_vec()),
            protocols: protocols_of(hello.extensions.find(extension::ALPN)),
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
    pub(crate) protocols: Vec<Vec<u8>>,
    pub(crate) ja3: Option<Ja3>,
    /// The hello says that an earlier session goes on.
    pub(crate) resumes: bool,
}

impl Server {
    pub(crate) fn of(hello: &ServerHello<'_>) -> Self {
        Self {
            version: hello.version(),
            cipher: hello.cipher,
            protocols: protocols_of(hello.extensions.find(extension::ALPN)),
            ja3: Ja3::of_server(hello),
            resumes: hello.resumes(),
        }
    }
}

fn protocols_of(content: Option<&[u8]>) -> Vec<Vec<u8>> {
    let listed = content.into_iter().flat_map(extension::protocols);
    listed.take(PROTOCOLS_MAX).map(<[u8]>::to_vec).collect()
}

/// Writes a list of protocols, if there are any.
pub(crate) fn write_protocols(json: &mut JsonObject<'_>, key: &'static str, protocols: &[Vec<u8>]) {
    if !protocols.is_empty() {
        json.array(key, |items: &mut JsonArray<'_>| protocols.iter().for_each(|name| items.text(name)));
    }
}
