//! The walk over a frame's headers.
//!
//! Each step reads one header through bounds-checked slices, notes in the view what it says, and goes on to the
//! next. A packet is put into the view by [`Walk::found`] once its addresses are known, in place of the packet around
//! it, so that a tunnel with no whole packet in it stays what the view shows.
//!
//! Offsets are `usize`: none passes the end of the readable bytes by more than one header, and those end below 2^31,
//! so sums stay in range on every target.

mod link;
mod network;
mod transport;
mod tunnel;

use super::{FrameView, MAX_READABLE, MAX_SHIMS, Malformed, Missing, Network, Transport};
use crate::flow::{FiveTuple, IpAddress, IpVersion};

/// Where a walk is. The view that it fills is an argument of each step rather than a field: that keeps it in its final
/// place, and moving it would take as long as the walk.
pub(super) struct Walk<'a> {
    /// The frame up to the end of the packet that the walk is in, so that Ethernet padding is never taken for a header.
    readable: &'a [u8],
    /// Where the packet that the walk is in ended when it was sent; `None` as long as no header has told.
    end: Option<usize>,
    /// VLAN tags, labels and the like seen so far; bounds the walk.
    shims: u8,
    /// Tunnels entered so far; bounds the walk.
    tunnels: u8,
    /// How many may be entered.
    max_tunnels: u8,
}

impl<'a> Walk<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], max_tunnels: u8) -> Self {
        Self { readable: &bytes[..bytes.len().min(MAX_READABLE)], end: None, shims: 0, tunnels: 0, max_tunnels }
    }

    #[inline]
    fn array<const N: usize>(&self, at: usize) -> Option<&'a [u8; N]> {
        self.readable.get(at..)?.first_chunk::<N>()
    }

    /// Where the packet that the walk is in ended when it was sent, as far as that is known.
    #[inline]
    fn end(&self) -> usize {
        self.end.unwrap_or(self.readable.len())
    }

    /// Whether bytes of the packet that the walk is in are missing; assumed where its length is not known.
    fn is_cut(&self) -> bool {
        self.end.is_none_or(|end| end > self.readable.len())
    }

    /// The header `what` is not there in full, because the frame was cut or because its packet is too short for it.
    #[cold]
    fn lacks(&self, view: &mut FrameView<'a>, what: Missing) {
        if !self.is_cut() {
            view.note_malformed(Malformed::PacketTooShort);
        } else if view.missing == Missing::Nothing {
            view.missing = what;
        }
    }

    /// Whether one more shim may be walked.
    fn enter_shim(&mut self, view: &mut FrameView<'a>) -> bool {
        self.shims += 1;
        if self.shims > MAX_SHIMS {
            view.note_malformed(Malformed::ShimChain);
            return false;
        }
        true
    }

    /// Goes on at `at`, behind a tunnel's header, unless the walk is as deep as it may go.
    #[inline(never)]
    fn enter_tunnel(
        &mut self,
        view: &mut FrameView<'a>,
        at: usize,
        walk: impl FnOnce(&mut Self, &mut FrameView<'a>, usize),
    ) {
        if self.tunnels < self.max_tunnels {
            self.tunnels += 1;
            walk(self, view, at);
        } else {
            view.too_deep = true;
        }
    }

    /// Enters a packet that ended at `end`; where its header does not tell, it ends with what is around it.
    #[inline]
    fn enter_packet(&mut self, view: &mut FrameView<'a>, end: Option<usize>) {
        if let Some(end) = end {
            view.note_end(end);
            self.readable = &self.readable[..end.min(self.readable.len())];
            self.end = Some(end);
        }
    }

    /// Puts an IP packet with its header at `at` into the view, in place of the packet around it: all that is known
    /// without its transport header, which would be at `payload`.
    #[inline]
    fn found(&self, view: &mut FrameView<'a>, at: usize, addresses: Addresses, protocol: u8, payload: usize) {
        view.network = match addresses.version {
            IpVersion::V4 => Network::Ipv4,
            IpVersion::V6 => Network::Ipv6,
        };
        view.network_offset = at as u32;
        view.transport = Transport::Other;
        view.five_tuple = Some(FiveTuple {
            source: addresses.source,
            destination: addresses.destination,
            source_port: 0,
            destination_port: 0,
            protocol,
            version: addresses.version,
        });
        view.fragment = None;
        view.tunnels = self.tunnels;
        self.payload(view, payload, self.end());
    }

    /// Puts what is at `at` into the view as `network` without a five-tuple. Inside a tunnel the packet that
    /// carries it stays instead: it is the innermost one that belongs to a flow.
    #[inline(never)]
    fn found_no_packet(&self, view: &mut FrameView<'a>, network: Network, at: usize) {
        if view.five_tuple.is_none() {
            view.network = network;
            view.network_offset = at as u32;
            // What is left of an IP header is no payload.
            let header_len = match network {
                Network::Ipv4 => 20,
                Network::Ipv6 => 40,
                Network::Arp | Network::Other => 0,
            };
            self.payload(view, at + header_len, self.end());
        }
    }

    /// Notes that the payload begins at `at` and ended at `end` when it was sent.
    #[inline]
    fn payload(&self, view: &mut FrameView<'a>, at: usize, end: usize) {
        view.payload_offset = at as u32;
        view.payload_len = end.min(self.readable.len()).saturating_sub(at) as u32;
        view.payload_wire_len = end.saturating_sub(at) as u32;
    }
}

/// Both addresses of an IP header.
#[derive(Clone, Copy)]
struct Addresses {
    version: IpVersion,
    source: IpAddress,
    destination: IpAddress,
}

/// What a step adds to the view.
impl FrameView<'_> {
    #[cold]
    fn note_malformed(&mut self, what: Malformed) {
        self.malformed.get_or_insert(what);
    }

    /// Takes the frame's length on the wire from a header that says where the frame's contents end. Only the
    /// outermost one counts: what is in a tunnel may be a part of something longer.
    #[inline]
    fn note_end(&mut self, end: usize) {
        if self.five_tuple.is_none() {
            self.wire_len = self.wire_len.max(end as u32);
        }
    }

    #[inline]
    fn note_ports(&mut self, (source, destination): (u16, u16)) {
        if let Some(tuple) = &mut self.five_tuple {
            tuple.source_port = source;
            tuple.destination_port = destination;
        }
    }
}
