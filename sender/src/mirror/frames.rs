//! Frames as they come to a mirror: from the rings of interfaces ([`crate::capture`]) or from files ([`super::files`]).

use crate::policy::Direction;

/// One frame, lent for as long as it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// From the Ethernet header on, VLAN tags in their place, one packet of a wire (super-frames are cut before they come
    /// here); as far as it is there. Never empty.
    pub(crate) bytes: &'a [u8],
    /// Length on the wire in bytes, at least that of `bytes`.
    pub(crate) wire_len: u32,
    /// When it was captured, in nanoseconds since 1970. Budgets go by it.
    pub(crate) time_ns: u64,
    /// Which way it went, as the mirrored host sees it; `None` where that is not known.
    pub(crate) direction: Option<Direction>,
    /// Index of the interface among those that the [plan](super::plan::Plan) was made for.
    pub(crate) interface: u16,
}
