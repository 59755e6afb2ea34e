//! The protocols over UDP.

use crate::protocols::dns::DnsDatagrams;
use crate::protocols::quic::Quic;
use crate::protocols::{Context, DatagramProtocol, Next, Protocol, Side};

/// So many datagrams that no protocol knows, and a flow is given up.
const UNKNOWN_MAX: u8 = 4;

/// The application layer of a UDP flow.
#[derive(Debug)]
pub(super) enum Datagrams {
    /// Not found yet, after so many datagrams.
    Unknown(u8),
    Dns(Box<DnsDatagrams>),
    Quic(Box<Quic>),
    /// Nothing more is wanted of it.
    Done(Protocol),
    /// Of none that is known.
    Foreign,
}

impl Default for Datagrams {
    fn default() -> Self {
        Self::Unknown(0)
    }
}

impl Datagrams {
    pub(super) const fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Unknown(_) | Self::Foreign => None,
            Self::Dns(_) => Some(Protocol::Dns),
            Self::Quic(_) => Some(Protocol::Quic),
            Self::Done(protocol) => Some(*protocol),
        }
    }

    /// Takes a datagram of whose payload `missing` bytes were cut off.
    pub(super) fn take(&mut self, from: Side, payload: &[u8], missing: u32, cx: &mut Context<'_>) {
        if let Self::Unknown(seen) = self {
            if payload.is_empty() {
                return;
            }
            let ports = (cx.flow.tuple.source_port, cx.flow.tuple.destination_port);
            *self = if DnsDatagrams::recognise(payload, ports) {
                Self::Dns(Box::default())
            } else if Quic::recognise(payload, ports) {
                Self::Quic(Box::default())
            } else if *seen + 1 >= UNKNOWN_MAX {
                Self::Foreign
            } else {
                Self::Unknown(*seen + 1)
            };
        }
        let next = match self {
            Self::Dns(dns) => dns.datagram(from, payload, missing, cx),
            Self::Quic(quic) => quic.datagram(from, payload, missing, cx),
            Self::Unknown(_) | Self::Done(_) | Self::Foreign => return,
        };
        if next != Next::More {
            self.end(cx);
        }
    }

    /// The flow is over, or nothing more is wanted of it.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Dns(dns) => dns.end(cx),
            Self::Quic(quic) => quic.end(cx),
            Self::Unknown(_) | Self::Done(_) | Self::Foreign => {}
        }
        if let Some(protocol) = self.protocol() {
            *self = Self::Done(protocol);
        }
    }
}
