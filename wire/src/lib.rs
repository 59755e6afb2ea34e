//! Bytes to headers and back, and the identity of a flow.
//!
//! This crate owns what can be computed from the bytes of one packet: the headers of VXLAN ([`vxlan`]), VXLAN-GPE ([`vxlan_gpe`]) and
//! GENEVE ([`geneve`]), what a mirror has put around a frame ([`envelope`]), a view of a frame down to its innermost five-tuple ([`FrameView`]), flow identity ([`FiveTuple`], [`FlowKey`]), the
//! hash that decides which worker a flow belongs to ([`SteerHash`], [`steer_program`]) and the [`community_id`].
//! It does no I/O, reads no clock, keeps no history and takes no configuration.

#[cfg(test)]
mod captures;
pub mod community_id;
pub mod envelope;
mod flow;
mod frame;
pub mod geneve;
mod link;
mod outermost;
mod proxy;
mod steer;
pub mod vxlan;
pub mod vxlan_gpe;

pub use flow::{Direction, FiveTuple, FlowKey, InvalidNetworkId, IpAddress, IpVersion, NetworkId, protocol};
pub use frame::{
    ETHERNET_HEADER_LEN, Fragment, FrameView, IcmpHeader, MAX_TUNNELS, Malformed, Missing, Network, TcpFlags,
    TcpHeader, Transport, VlanStack, ethertype, usual_five_tuple,
};
pub use link::{Behind, Link};
pub use outermost::outermost_addresses;
pub use steer::{BpfInstruction, SteerHash, frame_steer_program, steer_program};
