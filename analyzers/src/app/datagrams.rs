//! The protocols over UDP.

use super::work::Work;
use crate::protocols::dns::DnsDatagrams;
use crate::protocols::quic::Quic;
use crate::protocols::{DatagramProtocol, Next, Protocol, Side};

/// So many datagrams that no protocol knows, and a flow is given up.
const UNKNOWN_MAX: u8 = 4;

/// The application layer of a UDP flow.
#[derive(Debug)]
pub(super) enum Datagrams {
    /// Not found yet, after so many datagrams.
    Unknown(u8),
    /// With the bytes that it keeps, as they are counted.
    Dns(DnsDatagrams, u32),
    /// Likewise.
    Quic(Box<Quic>, u32),
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
            Self::Dns(..) => Some(Protocol::Dns),
            Self::Quic(..) => Some(Protocol::Quic),
            Self::Done(protocol) => Some(*protocol),
        }
    }

    /// Who is the client, where the first datagram of a protocol says so.
    fn client(&self, from: Side, payload: &[u8], ports: (u16, u16)) -> Option<Side> {
        match self {
            Self::Dns(..) => DnsDatagrams::client(from, payload, ports),
            Self::Quic(..) => Quic::client(from, payload, ports),
            Self::Unknown(_) | Self::Done(_) | Self::Foreign => None,
        }
    }

    /// Takes a datagram of whose payload `missing` bytes were cut off.
    pub(super) fn take(&mut self, from: Side, payload: &[u8], missing: u32, work: &mut Work<'_>) {
        if let Self::Unknown(seen) = self {
            if payload.is_empty() {
                return;
            }
            let ports = (work.facts.tuple.source_port, work.facts.tuple.destination_port);
            *self = if DnsDatagrams::recognise(payload, ports) {
                Self::Dns(DnsDatagrams::default(), 0)
            } else if Quic::recognise(payload, ports) {
                Self::Quic(Box::default(), 0)
            } else if *seen + 1 >= UNKNOWN_MAX {
                Self::Foreign
            } else {
                Self::Unknown(*seen + 1)
            };
            if work.may_turn && self.client(from, payload, ports) == Some(Side::Responder) {
                work.turn();
            }
        }
        let from = if work.turned { from.other() } else { from };
        let (mut cx, memory) = work.parts();
        let (next, is_too_much) = match self {
            Self::Dns(dns, kept) => (dns.datagram(from, payload, missing, &mut cx), memory.change(kept, dns.kept())),
            Self::Quic(quic, kept) => {
                (quic.datagram(from, payload, missing, &mut cx), memory.change(kept, quic.kept()))
            }
            Self::Unknown(_) | Self::Done(_) | Self::Foreign => return,
        };
        memory.given_up += u64::from(is_too_much);
        if next != Next::More || is_too_much {
            self.end(work);
        }
    }

    /// The flow is over, or nothing more is wanted of it.
    pub(super) fn end(&mut self, work: &mut Work<'_>) {
        let (mut cx, memory) = work.parts();
        match self {
            Self::Dns(dns, kept) => {
                dns.end(&mut cx);
                memory.change(kept, 0);
            }
            Self::Quic(quic, kept) => {
                quic.end(&mut cx);
                memory.change(kept, 0);
            }
            Self::Unknown(_) | Self::Done(_) | Self::Foreign => {}
        }
        if let Some(protocol) = self.protocol() {
            *self = Self::Done(protocol);
        }
    }
}
