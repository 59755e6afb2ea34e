//! Names of protocols and events.

/// An application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// HTTP/1.0 and 1.1.
    Http1,
    /// HTTP/2 in clear, gRPC in it.
    Http2,
    /// WebSocket, after an upgrade.
    WebSocket,
    /// DNS over either transport.
    Dns,
    /// TLS.
    Tls,
    /// QUIC versions 1 and 2.
    Quic,
    /// SSH.
    Ssh,
    /// MySQL and MariaDB.
    MySql,
    /// PostgreSQL.
    PostgreSql,
    /// Redis.
    Redis,
}

impl Protocol {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Http1,
        Self::Http2,
        Self::WebSocket,
        Self::Dns,
        Self::Tls,
        Self::Quic,
        Self::Ssh,
        Self::MySql,
        Self::PostgreSql,
        Self::Redis,
    ];

    /// The name in `app_proto` of EVE.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::Http2 => "http2",
            Self::WebSocket => "websocket",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Ssh => "ssh",
            Self::MySql => "mysql",
            Self::PostgreSql => "pgsql",
            Self::Redis => "redis",
        }
    }
}

/// What an event is about: `event_type` of EVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventKind {
    /// A flow, or a part of one, that is over.
    Flow,
    /// An HTTP request and its response, of any version.
    Http,
    /// A DNS message.
    Dns,
    /// A TLS handshake.
    Tls,
    /// A QUIC handshake.
    Quic,
    /// The banners of an SSH connection.
    Ssh,
    /// A MySQL command and its answer.
    MySql,
    /// A PostgreSQL command and its answer.
    PostgreSql,
    /// A Redis command and its answer.
    Redis,
    /// Something that contradicts a protocol.
    Anomaly,
    /// Counters of the run.
    Stats,
}

impl EventKind {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Flow,
        Self::Http,
        Self::Dns,
        Self::Tls,
        Self::Quic,
        Self::Ssh,
        Self::MySql,
        Self::PostgreSql,
        Self::Redis,
        Self::Anomaly,
        Self::Stats,
    ];

    /// The name in `event_type` of EVE.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Http => "http",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Ssh => "ssh",
            Self::MySql => "mysql",
            Self::PostgreSql => "pgsql",
            Self::Redis => "redis",
            Self::Anomaly => "anomaly",
            Self::Stats => "stats",
        }
    }
}

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventKinds(u16);

impl EventKinds {
    /// Every kind.
    pub const ALL: Self = Self((1 << EventKind::ALL.len()) - 1);
    /// None.
    pub const NONE: Self = Self(0);

    /// The set with `kind` in it as well.
    #[must_use]
    pub const fn with(self, kind: EventKind) -> Self {
        Self(self.0 | 1 << kind as u16)
    }

    /// What is in either of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kinds in it, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = EventKind> {
        EventKind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// Whether `kind` is in it.
    #[inline]
    pub const fn has(self, kind: EventKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }
}
