//! Extensions of hello messages (RFC 8446 section 4.2).

use super::reader::Reader;

pub(crate) const SERVER_NAME: u16 = 0;
pub(crate) const SUPPORTED_GROUPS: u16 = 10;
pub(crate) const EC_POINT_FORMATS: u16 = 11;
pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(crate) const ALPN: u16 = 16;
pub(crate) const PRE_SHARED_KEY: u16 = 41;
pub(crate) const SUPPORTED_VERSIONS: u16 = 43;

/// The extensions of a hello, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extensions<'a> {
    list: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Over the content of an extension list, which may be cut at the end.
    pub(crate) const fn new(list: &'a [u8]) -> Self {
        Self { list }
    }

    /// Type and content of each that is there in full.
    pub(crate) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> + Clone {
        let mut reader = Reader::new(self.list);
        std::iter::from_fn(move || Some((reader.u16()?, reader.vector16()?)))
    }

    /// Whether the last one ends where the list does.
    pub(crate) fn is_whole(self) -> bool {
        self.iter().map(|(_, content)| 4 + content.len()).sum::<usize>() == self.list.len()
    }

    /// The content of the first of type `kind`.
    pub(crate) fn find(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(other, _)| *other == kind).map(|(_, content)| content)
    }
}

/// Whether a cipher, group, version or extension is one of the values that clients throw in to keep servers tolerant
/// (RFC 8701).
pub(crate) const fn is_grease(number: u16) -> bool {
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}

/// The host name in the content of a `server_name` extension of a client (RFC 6066 section 3).
pub(crate) fn host_name(content: &[u8]) -> Option<&[u8]> {
    let mut names = Reader::new(Reader::new(content).vector16()?);
    while let Some(kind) = names.u8() {
        let name = names.vector16()?;
        if kind == 0 {
            return Some(name);
        }
    }
    None
}

/// The protocols in the content of an `application_layer_protocol_negotiation` extension (RFC 7301 section 3.1); empty
/// ones are left out.
pub(crate) fn protocols(content: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut list = Reader::new(Reader::new(content).vector16().unwrap_or_default());
    std::iter::from_fn(move || list.vector8()).filter(|name| !name.is_empty())
}

/// The registered name of an extension (IANA, "TLS ExtensionType Values").
pub(crate) const fn name(kind: u16) -> Option<&'static str> {
    Some(match kind {
        SERVER_NAME => "server_name",
        1 => "max_fragment_length",
        5 => "status_request",
        SUPPORTED_GROUPS => "supported_groups",
        EC_POINT_FORMATS => "ec_point_formats",
        SIGNATURE_ALGORITHMS => "signature_algorithms",
        14 => "use_srtp",
        15 => "heartbeat",
        ALPN => "alpn",
        17 => "status_request_v2",
        18 => "signed_certificate_timestamp",
        19 => "client_certificate_type",
        20 => "server_certificate_type",
        21 => "padding",
        22 => "encrypt_then_mac",
        23 => "extended_master_secret",
        24 => "token_binding",
        25 => "cached_info",
        27 => "compress_certificate",
        28 => "record_size_limit",
        34 => "delegated_credentials",
        35 => "session_ticket",
        PRE_SHARED_KEY => "pre_shared_key",
        42 => "early_data",
        SUPPORTED_VERSIONS => "supported_versions",
        44 => "cookie",
        45 => "psk_key_exchange_modes",
        47 => "certificate_authorities",
        48 => "oid_filters",
        49 => "post_handshake_auth",
        50 => "signature_algorithms_cert",
        51 => "key_share",
        57 => "quic_transport_parameters",
        0xfe0d => "encrypted_client_hello",
        0xff01 => "renegotiation_info",
        _ => return None,
    })
}
