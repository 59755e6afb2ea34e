//! What a flow's layer works with while it takes a packet.

use super::memory::Memory;
use crate::protocols::{Context, Events, FlowFacts};
use crate::tcp::Delivery;

/// The flow's facts and the shard's places.
pub(super) struct Work<'a> {
    /// When what is told came. Does not go backwards within a flow.
    pub(super) time_ns: u64,
    pub(super) facts: &'a mut FlowFacts,
    pub(super) events: &'a mut Events,
    pub(super) kept_bytes: &'a mut usize,
    pub(super) memory: &'a mut Memory,
    /// Who opened the flow is a guess, and nothing was told yet.
    pub(super) may_turn: bool,
    /// The sides are the other way round since this packet: what comes with it has yet to be turned.
    pub(super) turned: bool,
    /// See [`Context::is_unseen`]; turned with the sides.
    pub(super) unseen: [bool; 2],
    /// See [`Context::is_joined`]; likewise.
    pub(super) joined: [bool; 2],
}

impl Work<'_> {
    /// What protocols are given, and where it is counted what they keep.
    pub(super) const fn parts(&mut self) -> (Context<'_>, &mut Memory) {
        let cx = Context {
            time_ns: self.time_ns,
            flow: self.facts,
            events: self.events,
            unseen: self.unseen,
            joined: self.joined,
        };
        (cx, self.memory)
    }

    /// The responder has opened the flow.
    pub(super) fn turn(&mut self) {
        self.facts.turn();
        self.unseen.swap(0, 1);
        self.joined.swap(0, 1);
        self.turned = true;
        self.may_turn = false;
    }

    /// `delivery`, by the side that it is really of.
    pub(super) const fn sided<'d>(&self, delivery: Delivery<'d>) -> Delivery<'d> {
        match (self.turned, delivery) {
            (false, delivery) => delivery,
            (true, Delivery::Data(from, bytes)) => Delivery::Data(from.other(), bytes),
            (true, Delivery::Gap(from, bytes)) => Delivery::Gap(from.other(), bytes),
            (true, Delivery::End(from)) => Delivery::End(from.other()),
            (true, came @ Delivery::Came(_)) => came,
        }
    }
}
