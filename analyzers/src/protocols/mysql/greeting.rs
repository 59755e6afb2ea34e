//! What server and client say of themselves first.

use super::packet::{Fields, HEADER_LEN, Packet, length};
use crate::protocols::Guess;

/// The version of the protocol that all servers since 3.21 speak.
const VERSION: u8 = 10;

/// The most bytes of a name (version, user, database, plugin) that are kept.
const NAME_MAX: usize = 128;

/// Capabilities of a client.
pub(super) mod capability {
    pub(in super::super) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(in super::super) const COMPRESS: u32 = 1 << 5;
    pub(in super::super) const PROTOCOL_41: u32 = 1 << 9;
    pub(in super::super) const SSL: u32 = 1 << 11;
    pub(in super::super) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(in super::super) const PLUGIN_AUTH: u32 = 1 << 19;
    pub(in super::super) const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
    pub(in super::super) const ZSTD: u32 = 1 << 26;
    pub(in super::super) const QUERY_ATTRIBUTES: u32 = 1 << 27;
}

/// Whether a server's greeting begins here.
pub(super) fn begins(bytes: &[u8]) -> Guess {
    let Some(length) = length(bytes) else { return Guess::Perhaps };
    if !(40..=512).contains(&length) || bytes.get(3) != Some(&0) {
        return Guess::No;
    }
    let Some((version, rest)) = bytes.get(HEADER_LEN..).and_then(<[u8]>::split_first) else { return Guess::Perhaps };
    if *version != VERSION {
        return Guess::No;
    }
    let text = rest.iter().take_while(|byte| byte.is_ascii_graphic() || **byte == b' ').count();
    match rest.get(text) {
        None if text < NAME_MAX => Guess::Perhaps,
        Some(0) if text >= 3 && rest.first().is_some_and(u8::is_ascii_digit) => Guess::Yes,
        _ => Guess::No,
    }
}

/// The server's version of itself, empty where it is cut.
pub(super) fn version(packet: &Packet<'_>) -> Option<Box<[u8]>> {
    let (first, rest) = packet.payload.split_first()?;
    (*first == VERSION).then(|| kept(Fields(rest).name(packet.cut)))
}

/// A name to keep.
pub(super) fn kept(name: &[u8]) -> Box<[u8]> {
    name.get(..NAME_MAX).unwrap_or(name).into()
}

/// What the client says of itself.
#[derive(Debug, Default)]
pub(super) struct Login {
    pub(super) capabilities: u32,
    pub(super) user: Box<[u8]>,
    pub(super) database: Box<[u8]>,
    pub(super) plugin: Box<[u8]>,
}

impl Login {
    /// Whether a client's answer to a greeting surely begins here: where that was not seen.
    pub(super) fn begins(bytes: &[u8]) -> Guess {
        let Some(length) = length(bytes) else { return Guess::Perhaps };
        if bytes.get(3).is_some_and(|sequence| *sequence != 1) || !(32..=4096).contains(&length) {
            return Guess::No;
        }
        let Some(payload) = bytes.get(HEADER_LEN..HEADER_LEN + 32) else { return Guess::Perhaps };
        let is_new = Fields(payload).u32().is_some_and(|capabilities| capabilities & capability::PROTOCOL_41 != 0);
        // 23 bytes are reserved; MariaDB has the last four for capabilities of its own.
        if is_new && payload[9..28].iter().all(|byte| *byte == 0) { Guess::Yes } else { Guess::No }
    }

    /// Whether what follows is TLS: capabilities alone, and among them that of TLS.
    pub(super) fn asks_for_tls(payload: &[u8], length: u64) -> bool {
        length == 32 && Fields(payload).u32().is_some_and(|capabilities| capabilities & capability::SSL != 0)
    }

    /// Reads what is there. The authentication data is skipped.
    pub(super) fn read(packet: &Packet<'_>) -> Option<Self> {
        let (payload, cut) = (packet.payload, packet.cut);
        let mut fields = Fields(payload);
        let capabilities = fields.u32()?;
        let mut login = Self { capabilities, ..Self::default() };
        if capabilities & capability::PROTOCOL_41 == 0 {
            // 16 bits of capabilities and 24 of the largest packet.
            login.capabilities &= 0xffff;
            let mut fields = Fields(payload.get(5..).unwrap_or_default());
            login.user = kept(fields.name(cut));
            return Some(login);
        }
        if fields.take(4 + 1 + 23).is_none() {
            return Some(login);
        }
        login.user = kept(fields.name(cut));
        let Some(()) = skip_authentication(&mut fields, capabilities) else { return Some(login) };
        if capabilities & capability::CONNECT_WITH_DB != 0 {
            login.database = kept(fields.name(cut));
        }
        if capabilities & capability::PLUGIN_AUTH != 0 {
            login.plugin = kept(fields.name(cut));
        }
        Some(login)
    }

    /// Reads a request to go on as another user.
    pub(super) fn read_change(body: &[u8], cut: bool, capabilities: u32) -> Self {
        let mut fields = Fields(body);
        let mut login = Self { capabilities, user: kept(fields.name(cut)), ..Self::default() };
        if let Some(length) = fields.u8()
            && fields.take(usize::from(length)).is_some()
        {
            login.database = kept(fields.name(cut));
            if fields.u16().is_some() {
                login.plugin = kept(fields.name(cut));
            }
        }
        login
    }

    pub(super) fn compresses(&self) -> bool {
        self.capabilities & (capability::COMPRESS | capability::ZSTD) != 0
    }
}

fn skip_authentication(fields: &mut Fields<'_>, capabilities: u32) -> Option<()> {
    if capabilities & capability::PLUGIN_AUTH_LENENC != 0 {
        fields.string()?;
    } else if capabilities & capability::SECURE_CONNECTION != 0 {
        let length = fields.u8()?;
        fields.take(usize::from(length))?;
    } else {
        fields.text();
    }
    Some(())
}
