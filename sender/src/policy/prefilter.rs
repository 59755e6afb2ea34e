//! The policy as a program for the kernel, so that packets that nobody wants are not copied out of it.
//!
//! The program lets through everything that the engine would mirror, and returns how much of it is wanted. What it cannot see
//! through (tags in the frame, extension headers, tunnels of other kinds, headers that are cut) it lets through whole; the
//! engine decides on all that arrives. So a mistake here can cost time, and never a packet, as long as it only errs that way:
//! tests hold both against each other.
//!
//! ```text
//! EtherType ─▶ IPv4 / IPv6 ─▶ ports into scratch words ─▶ never mirrored? ─▶ packet type ─▶ inbound  ─▶ sessions ─▶ rules
//!     └──▶ other frames                                                           └──────▶ outbound ─▶ …
//! ```

use ipnet::IpNet;
use vxtap_wire::{BpfInstruction, IpVersion, ethertype, protocol};

use super::engine::{Engine, OwnTraffic, value_of};
use super::model::{Action, Direction, Filter, PortRange, Rule, Session};
use super::never::Excluded;
use super::provider::{BareRule, LengthCounts, NoMatch, RejectEnds, Scope};

mod assembler;

use assembler::{Assembler, Label, Test};

/// The kernel's bound for a classic BPF program (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;
/// What the program returns for a frame that is wanted whole.
pub const WHOLE: u32 = 0x0004_0000;
/// The least that is taken of a frame that is wanted, so that the engine sees all headers that the program looked through,
/// and what an ICMP error quotes.
pub const LEAST: u32 = 256;
/// The most of our own targets that are left out in the kernel already.
const MAX_OWN: usize = 64;

/// Packet type and its place (linux/filter.h, `SKF_AD_OFF + SKF_AD_PKTTYPE`; linux/if_packet.h).
const PACKET_TYPE: u32 = 0xffff_f004;
const PACKET_OUTGOING: u32 = 4;

/// Scratch words for the ports.
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 1;
/// What is there where a packet has no port: more than any port.
const NO_PORT: u32 = 0x1_0000;

/// A program for `SO_ATTACH_FILTER` on a packet socket of type `SOCK_RAW`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefilter {
    /// The program: at most [`MAX_INSTRUCTIONS`].
    pub program: Vec<BpfInstruction>,
    /// Whether it drops every plain frame that the engine would not mirror. Plain is an Ethernet frame without tags whose IP
    /// header is whole and followed by a transport header, not by extension headers; or one of a kind that is not IP.
    pub exact: bool,
    /// Whether the policy was too long for the kernel, so that the program lets everything through.
    pub too_long: bool,
}

/// What the program has to know besides the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefilterSettings {
    /// Frames longer than this are several packets that are not cut apart yet, or not yet sent apart: they are taken whole,
    /// since every packet of them is mirrored by itself. `None`: there are none.
    pub whole_above: Option<u32>,
}

impl Engine {
    /// The program for the engine's interface. It has to be made anew when `own` changes.
    pub fn prefilter(&self, own: &OwnTraffic, settings: PrefilterSettings) -> Prefilter {
        if self.is_idle() {
            return Prefilter { program: vec![ret(0)], exact: true, too_long: false };
        }
        let mut writer = Writer::new(self, own, settings);
        writer.write();
        let exact = writer.exact;
        let program = if writer.is_full() { None } else { writer.code.finish() };
        match program {
            Some(program) if program.len() <= MAX_INSTRUCTIONS => Prefilter { program, exact, too_long: false },
            _ => {
                // All that is left is how much of a frame is wanted.
                Prefilter { program: vec![ret(WHOLE)], exact: false, too_long: true }
            }
        }
    }
}

const fn ret(k: u32) -> BpfInstruction {
    BpfInstruction { code: 0x06, jt: 0, jf: 0, k }
}

/// Where things are in a frame without tags.
#[derive(Clone, Copy)]
struct Layout {
    version: IpVersion,
    protocol: u32,
    source: u32,
    destination: u32,
}

const V4: Layout = Layout { version: IpVersion::V4, protocol: 23, source: 26, destination: 30 };
const V6: Layout = Layout { version: IpVersion::V6, protocol: 20, source: 22, destination: 38 };

struct Writer<'e> {
    engine: &'e Engine,
    own: &'e OwnTraffic,
    settings: PrefilterSettings,
    code: Assembler,
    whole: Label,
    drop: Label,
    /// Where frames go that a session takes, by the session's place in the policy.
    accepts: Vec<(usize, Label)>,
    exact: bool,
}

impl<'e> Writer<'e> {
    fn new(engine: &'e Engine, own: &'e OwnTraffic, settings: PrefilterSettings) -> Self {
        let mut code = Assembler::default();
        let (whole, drop) = (code.label(), code.label());
        let accepts = engine.sessions().map(|place| (place, code.label())).collect();
        let policy = engine.policy();
        let sampled =
            engine.sessions().filter_map(|at| policy.sessions.get(at)).any(|session| !session.sample.is_all());
        let exact =
            !sampled && policy.semantics.scope == Scope::Packet && (*own == OwnTraffic::default() || !policy.never.own);
        Self { engine, own, settings, code, whole, drop, accepts, exact }
    }

    /// Whether there is more than the kernel takes in any case. Then nothing more needs to be written.
    fn is_full(&self) -> bool {
        // Some jumps to the very next instruction go at the end.
        self.code.len() > 4 * MAX_INSTRUCTIONS
    }

    fn session(&self, place: usize) -> Option<&'e Session> {
        self.engine.policy().sessions.get(place)
    }

    fn write(&mut self) {
        let (whole, drop) = (self.whole, self.drop);
        let (v4, v6, frames) = (self.code.label(), self.code.label(), self.code.label());
        self.need_length(14);
        self.code.load_half(12);
        self.code.jump_if(Test::Equal, u32::from(ethertype::IPV4), v4);
        self.code.jump_if(Test::Equal, u32::from(ethertype::IPV6), v6);
        let arp = if self.engine.policy().never.arp { drop } else { frames };
        self.code.jump_if(Test::Equal, u32::from(ethertype::ARP), arp);
        // Lengths of IEEE 802.3: there may be IP behind an LLC header.
        self.code.jump_unless(Test::AtLeast, 0x0600, whole);
        for shim in [
            ethertype::VLAN,
            ethertype::QINQ,
            ethertype::QINQ_OLD,
            ethertype::MPLS,
            ethertype::MPLS_MULTICAST,
            ethertype::PPPOE_SESSION,
        ] {
            self.code.jump_if(Test::Equal, u32::from(shim), whole);
        }
        self.code.bind(frames);
        self.by_direction(Self::frames);
        self.code.bind(v4);
        self.ipv4();
        self.code.bind(v6);
        self.ipv6();
        for (place, label) in self.accepts.clone() {
            self.code.bind(label);
            self.accept(place);
        }
        self.code.bind(whole);
        self.code.ret(WHOLE);
        self.code.bind(drop);
        self.code.ret(0);
    }

    /// Lets a frame of less than `length` bytes through: what is missing is for the engine to judge.
    fn need_length(&mut self, length: u32) {
        self.code.load_length();
        self.code.jump_unless(Test::AtLeast, length, self.whole);
    }

    /// Returns how much of a frame the session at `place` wants.
    fn accept(&mut self, place: usize) {
        let counts = self.engine.policy().semantics.length_counts;
        let before = if counts == LengthCounts::Packet { 14 } else { 0 };
        let length = self.session(place).and_then(|session| session.length);
        match (length, self.settings.whole_above) {
            (None, _) => self.code.ret(WHOLE),
            (Some(length), above) => {
                if let Some(above) = above {
                    self.code.load_length();
                    self.code.jump_if(Test::Above, above, self.whole);
                }
                self.code.ret(length.saturating_add(before).clamp(LEAST, WHOLE));
            }
        }
    }

    fn ipv4(&mut self) {
        let (whole, known, unknown) = (self.whole, self.code.label(), self.code.label());
        self.need_length(34);
        // Version 4, and a header of 20 bytes or more.
        self.code.load_byte(14);
        self.code.jump_unless(Test::AtLeast, 0x45, whole);
        self.code.jump_if(Test::Above, 0x4f, whole);
        self.no_ports();
        self.code.load_byte(V4.protocol);
        self.code.jump_if(Test::Equal, u32::from(protocol::AH), whole);
        self.if_ports(unknown);
        // A fragment has no ports, not even the first one.
        self.code.load_half(20);
        self.code.jump_if(Test::AnyBit, 0x3fff, unknown);
        // Ports are there if the packet says so, and the frame has them. X is the header's length.
        let fits = self.code.label();
        self.code.index_header_length(14);
        self.code.load_half(16);
        self.code.jump_if(Test::Equal, 0, fits);
        self.at_least_behind_index(4, unknown);
        self.code.bind(fits);
        self.code.load_length();
        self.code.subtract(14);
        self.at_least_behind_index(4, unknown);
        self.code.load_half_indexed(14);
        self.code.store(SOURCE_PORT);
        self.code.load_half_indexed(16);
        self.code.store(DESTINATION_PORT);
        self.zero_ports(known);
        self.code.bind(unknown);
        self.code.bind(known);
        self.decide(V4);
    }

    fn ipv6(&mut self) {
        let (whole, known, unknown) = (self.whole, self.code.label(), self.code.label());
        self.need_length(54);
        self.code.load_byte(14);
        self.code.jump_unless(Test::AtLeast, 0x60, whole);
        self.code.jump_if(Test::Above, 0x6f, whole);
        self.no_ports();
        self.code.load_byte(V6.protocol);
        for extension in [0, 43, u32::from(protocol::IPV6_FRAGMENT), u32::from(protocol::AH), 60] {
            self.code.jump_if(Test::Equal, extension, whole);
        }
        self.if_ports(unknown);
        // A length of 0 is a jumbogram, or not yet filled in.
        self.code.load_half(18);
        self.code.jump_if(Test::Equal, 0, whole);
        self.code.jump_unless(Test::AtLeast, 4, unknown);
        self.code.load_length();
        self.code.jump_unless(Test::AtLeast, 58, unknown);
        self.code.load_half(54);
        self.code.store(SOURCE_PORT);
        self.code.load_half(56);
        self.code.store(DESTINATION_PORT);
        self.zero_ports(known);
        self.code.bind(unknown);
        self.code.bind(known);
        self.decide(V6);
    }

    /// The kernel refuses a program that may read a word before it is written.
    fn no_ports(&mut self) {
        self.code.load_number(NO_PORT);
        self.code.store(SOURCE_PORT);
        self.code.store(DESTINATION_PORT);
    }

    /// Goes on only with a protocol, which is in A, that has ports.
    fn if_ports(&mut self, otherwise: Label) {
        let has = self.code.label();
        for number in [protocol::TCP, protocol::UDP, protocol::SCTP] {
            self.code.jump_if(Test::Equal, u32::from(number), has);
        }
        self.code.jump_unless(Test::Equal, u32::from(protocol::UDP_LITE), otherwise);
        self.code.bind(has);
    }

    /// Goes on only if A is at least X + `more`.
    fn at_least_behind_index(&mut self, more: u32, otherwise: Label) {
        let longer = self.code.label();
        self.code.jump_if_index(Test::AtLeast, longer);
        self.code.goto(otherwise);
        self.code.bind(longer);
        self.code.subtract_index();
        self.code.jump_unless(Test::AtLeast, more, otherwise);
    }

    /// Two ports of 0 may be a header that was cut, which the engine tells from a whole one. A has the destination port.
    fn zero_ports(&mut self, known: Label) {
        self.code.jump_if(Test::Above, 0, known);
        self.code.load_scratch(SOURCE_PORT);
        self.code.jump_if(Test::Equal, 0, self.whole);
    }

    fn decide(&mut self, layout: Layout) {
        self.never(layout);
        if self.engine.policy().semantics.scope == Scope::Flow {
            // Whose rules are asked depends on who opened the flow.
            return self.code.goto(self.whole);
        }
        self.by_direction(|writer, direction| writer.sessions(layout, direction));
    }

    /// Both directions, each by itself.
    fn by_direction(&mut self, write: impl Fn(&mut Self, Direction)) {
        let outbound = self.code.label();
        self.code.load_word(PACKET_TYPE);
        self.code.jump_if(Test::Equal, PACKET_OUTGOING, outbound);
        write(self, Direction::Inbound);
        self.code.bind(outbound);
        write(self, Direction::Outbound);
    }

    fn filter(&self, session: &Session) -> Option<&'e Filter> {
        session.filter.and_then(|at| self.engine.policy().filters.get(at))
    }

    /// Frames that are not IP: what becomes of them is known.
    fn frames(&mut self, direction: Direction) {
        let semantics = self.engine.policy().semantics;
        for (place, label) in self.accepts.clone() {
            let Some(session) = self.session(place) else { continue };
            let said = match self.filter(session) {
                Some(filter) => filter.rules(direction).iter().find(|rule| rule.frames).map(|rule| rule.action),
                None => (semantics.bare_rule == BareRule::Frames).then_some(Action::Accept),
            };
            match said {
                Some(Action::Accept) => return self.code.goto(label),
                Some(Action::Reject) if semantics.reject_ends == RejectEnds::All => break,
                Some(Action::Reject | Action::Next) => {}
                None => match semantics.no_match {
                    NoMatch::Next => {}
                    NoMatch::Mirror => return self.code.goto(label),
                    NoMatch::Stop => break,
                },
            }
        }
        self.code.goto(self.drop);
    }

    fn sessions(&mut self, layout: Layout, direction: Direction) {
        let semantics = self.engine.policy().semantics;
        for (place, accept) in self.accepts.clone() {
            let Some(session) = self.session(place) else { continue };
            let next_session = self.code.label();
            match self.filter(session) {
                Some(filter) => {
                    for rule in filter.rules(direction) {
                        if self.is_full() {
                            return;
                        }
                        let to = match rule.action {
                            Action::Accept => accept,
                            Action::Reject if semantics.reject_ends == RejectEnds::All => self.drop,
                            Action::Reject | Action::Next => next_session,
                        };
                        self.rule(rule, layout, direction, to);
                    }
                }
                None if semantics.bare_rule != BareRule::Ipv4 || layout.version == IpVersion::V4 => {
                    self.code.goto(accept);
                }
                None => {}
            }
            match semantics.no_match {
                NoMatch::Next => {}
                NoMatch::Mirror => self.code.goto(accept),
                NoMatch::Stop => self.code.goto(self.drop),
            }
            self.code.bind(next_session);
        }
        self.code.goto(self.drop);
    }

    /// Goes to `to` if the rule matches, and on if it does not.
    fn rule(&mut self, rule: &Rule, layout: Layout, direction: Direction, to: Label) {
        if rule.family.is_some_and(|family| family != layout.version) {
            return;
        }
        let remote = if direction == Direction::Inbound { layout.source } else { layout.destination };
        let sides = [(&rule.source, layout.source), (&rule.destination, layout.destination), (&rule.remote, remote)];
        if sides.iter().any(|(nets, _)| !nets.is_empty() && !nets.iter().any(|net| is_of(net, layout.version))) {
            return;
        }
        let next_rule = self.code.label();
        if !rule.protocols.is_empty() {
            let matches = self.code.label();
            self.code.load_byte(layout.protocol);
            for protocol in &rule.protocols {
                self.code.jump_if(Test::Equal, u32::from(protocol.0), matches);
            }
            self.code.goto(next_rule);
            self.code.bind(matches);
        }
        for (nets, at) in sides {
            if !nets.is_empty() {
                let matches = self.code.label();
                self.nets(nets, layout.version, at, matches);
                self.code.goto(next_rule);
                self.code.bind(matches);
            }
        }
        for (ranges, word) in [(&rule.source_ports, SOURCE_PORT), (&rule.destination_ports, DESTINATION_PORT)] {
            if !ranges.is_empty() {
                let matches = self.code.label();
                self.code.load_scratch(word);
                self.ports(ranges, matches);
                self.code.goto(next_rule);
                self.code.bind(matches);
            }
        }
        self.code.goto(to);
        self.code.bind(next_rule);
    }

    /// Goes to `matches` if the address at `at` is in one of those of `nets` that are of `version`, and on if it is not.
    fn nets(&mut self, nets: &[IpNet], version: IpVersion, at: u32, matches: Label) {
        for net in nets.iter().filter(|net| is_of(net, version)) {
            if self.is_full() {
                return;
            }
            let next = self.code.label();
            let (value, mask) = value_of(net);
            for word in 0..4_u32 {
                let shift = 96 - 32 * word;
                let (value, mask) = ((value >> shift) as u32, (mask >> shift) as u32);
                if mask == 0 {
                    break;
                }
                self.code.load_word(at + 4 * word);
                if mask != u32::MAX {
                    self.code.and(mask);
                }
                self.code.jump_unless(Test::Equal, value, next);
            }
            self.code.goto(matches);
            self.code.bind(next);
        }
    }

    /// Goes to `matches` if the port in A is in one of `ranges`, and on if it is not.
    fn ports(&mut self, ranges: &[PortRange], matches: Label) {
        for range in ranges {
            if range.first() == range.last() {
                self.code.jump_if(Test::Equal, u32::from(range.first()), matches);
            } else {
                let next = self.code.label();
                self.code.jump_unless(Test::AtLeast, u32::from(range.first()), next);
                self.code.jump_unless(Test::Above, u32::from(range.last()), matches);
                self.code.bind(next);
            }
        }
    }

    /// Drops what is never mirrored.
    fn never(&mut self, layout: Layout) {
        let never = self.engine.policy().never.clone();
        let drop = self.drop;
        if never.own {
            self.own_targets(layout);
        }
        if never.dhcp {
            let (other, source, found) = (self.code.label(), self.code.label(), self.code.label());
            let (low, high) = if layout.version == IpVersion::V4 { (67, 68) } else { (546, 547) };
            self.code.load_byte(layout.protocol);
            self.code.jump_unless(Test::Equal, u32::from(protocol::UDP), other);
            self.code.load_scratch(SOURCE_PORT);
            self.code.jump_if(Test::Equal, low, source);
            self.code.jump_unless(Test::Equal, high, other);
            self.code.bind(source);
            self.code.load_scratch(DESTINATION_PORT);
            self.code.jump_if(Test::Equal, low, found);
            self.code.jump_unless(Test::Equal, high, other);
            self.code.bind(found);
            self.code.goto(drop);
            self.code.bind(other);
        }
        for reason in [Excluded::Metadata, Excluded::Networks] {
            self.nets(never.networks_of(reason), layout.version, layout.source, drop);
            self.nets(never.networks_of(reason), layout.version, layout.destination, drop);
        }
        self.service(layout, never.networks_of(Excluded::Ntp), &[protocol::UDP], 123, drop);
        self.service(layout, never.networks_of(Excluded::Activation), &[protocol::TCP], 1688, drop);
        let policy = self.engine.policy();
        let resolver = self
            .accepts
            .iter()
            .filter_map(|(place, _)| self.filter(policy.sessions.get(*place)?))
            .any(|filter| !filter.services.is_empty());
        self.exact &= !resolver;
        let to = if resolver { self.whole } else { drop };
        self.service(layout, never.networks_of(Excluded::Resolver), &[protocol::UDP, protocol::TCP], 53, to);
    }

    /// Goes to `found` if an end of the packet is in one of `nets` and has `port`.
    fn service(&mut self, layout: Layout, nets: &[IpNet], protocols: &[u8], port: u32, found: Label) {
        if !nets.iter().any(|net| is_of(net, layout.version)) {
            return;
        }
        let (other, is_protocol, destination) = (self.code.label(), self.code.label(), self.code.label());
        self.code.load_byte(layout.protocol);
        for protocol in protocols {
            self.code.jump_if(Test::Equal, u32::from(*protocol), is_protocol);
        }
        self.code.goto(other);
        self.code.bind(is_protocol);
        self.code.load_scratch(SOURCE_PORT);
        self.code.jump_unless(Test::Equal, port, destination);
        self.nets(nets, layout.version, layout.source, found);
        self.code.bind(destination);
        self.code.load_scratch(DESTINATION_PORT);
        self.code.jump_unless(Test::Equal, port, other);
        self.nets(nets, layout.version, layout.destination, found);
        self.code.bind(other);
    }

    /// Drops datagrams to and from our targets: without it each copy would be copied out of the kernel once more.
    fn own_targets(&mut self, layout: Layout) {
        let targets: Vec<_> =
            self.own.targets().filter(|(version, ..)| *version == layout.version).take(MAX_OWN).collect();
        if targets.is_empty() {
            return;
        }
        let other = self.code.label();
        self.code.load_byte(layout.protocol);
        self.code.jump_unless(Test::Equal, u32::from(protocol::UDP), other);
        let words = if layout.version == IpVersion::V4 { 1 } else { 4 };
        for (_, address, port) in targets {
            for (at, scratch) in [(layout.destination, DESTINATION_PORT), (layout.source, SOURCE_PORT)] {
                let next = self.code.label();
                self.code.load_scratch(scratch);
                self.code.jump_unless(Test::Equal, u32::from(port), next);
                for word in 0..words {
                    self.code.load_word(at + 4 * word);
                    self.code.jump_unless(Test::Equal, (address >> (96 - 32 * word)) as u32, next);
                }
                self.code.goto(self.drop);
                self.code.bind(next);
            }
        }
        self.code.bind(other);
    }
}

const fn is_of(net: &IpNet, version: IpVersion) -> bool {
    matches!((net, version), (IpNet::V4(_), IpVersion::V4) | (IpNet::V6(_), IpVersion::V6))
}

#[cfg(test)]
mod tests;
