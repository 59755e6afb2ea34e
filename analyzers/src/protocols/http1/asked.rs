//! What a response needs of its request.

/// What a response needs of its request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) upgrade: Option<Upgrade>,
}

/// Which requests have responses of their own kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    #[default]
    Other,
}

/// A protocol to change to (RFC 9110 7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    WebSocket,
    Http2,
    Tls,
}

impl Upgrade {
    /// The first one that is known in a field `Upgrade`.
    pub(super) fn read(field: &[u8]) -> Option<Self> {
        field.split(|byte| *byte == b',').find_map(|token| match token.trim_ascii() {
            token if token.eq_ignore_ascii_case(b"websocket") => Some(Self::WebSocket),
            token if token.eq_ignore_ascii_case(b"h2c") => Some(Self::Http2),
            token if token.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"TLS/")) => Some(Self::Tls),
            _ => None,
        })
    }
}
