//! The steer hash as a classic BPF program for `SO_ATTACH_REUSEPORT_CBPF`: the kernel then gives a datagram to the
//! socket of the worker that owns the inner flow.
//!
//! The program runs over the UDP payload (offset 0 is the first byte of the VXLAN or GENEVE header) and returns the index of a socket,
//! which is the worker's number when sockets are bound in that order. It knows Ethernet with 0 to 2 VLAN tags, IPv4 with
//! options, fragments by their addresses, and IPv6 with the transport header right behind the fixed header; behind GENEVE, which has
//! options of any length, also IP without Ethernet, and VXLAN in that, as gateway load balancers send it. For those
//! it returns what [`SteerHash::owner`] says. What is not IP goes to worker 0, as does a datagram that ends before a
//! byte that the program reads, because the kernel ends the program with 0 then. What it does not look into (IPv6
//! extension headers other than the fragment header, authentication headers, tunnels in the frame, MPLS, PPPoE, LLC,
//! more tags) reaches some worker, and the collector hands it over.

use super::{PROTOCOLS_WITH_PORTS, SteerHash};
use crate::envelope::Kind;
use crate::flow::protocol;
use crate::frame::{ETHERNET_HEADER_LEN, ethertype};
use crate::{geneve, vxlan};

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BpfInstruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip where a comparison holds.
    pub jt: u8,
    /// How many instructions to skip where it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// The classic BPF instruction set (Linux, Documentation/networking/filter.rst), as far as it is used here: the
/// accumulator A, the index register X, the scratch words M.
mod op {
    /// A = a number of the packet at k, or at X + k, of 16, 8 or 32 bits.
    pub(super) const LDH_ABS: u16 = 0x28;
    pub(super) const LDB_ABS: u16 = 0x30;
    pub(super) const LDH_IND: u16 = 0x48;
    pub(super) const LDB_IND: u16 = 0x50;
    pub(super) const LD_IND: u16 = 0x40;
    /// `A = k`, `X = k`; `A = M[k]`, `X = M[k]`; `M[k] = A`, `M[k] = X`; `X = A`, `A = X`.
    pub(super) const LD_IMM: u16 = 0x00;
    pub(super) const LDX_IMM: u16 = 0x01;
    pub(super) const LD_MEM: u16 = 0x60;
    pub(super) const LDX_MEM: u16 = 0x61;
    pub(super) const ST: u16 = 0x02;
    pub(super) const STX: u16 = 0x03;
    pub(super) const TAX: u16 = 0x07;
    pub(super) const TXA: u16 = 0x87;
    /// A = A op k, A = A op X.
    pub(super) const ADD_K: u16 = 0x04;
    pub(super) const MUL_K: u16 = 0x24;
    pub(super) const AND_K: u16 = 0x54;
    pub(super) const LSH_K: u16 = 0x64;
    pub(super) const RSH_K: u16 = 0x74;
    pub(super) const MOD_K: u16 = 0x94;
    pub(super) const XOR_K: u16 = 0xa4;
    pub(super) const ADD_X: u16 = 0x0c;
    pub(super) const XOR_X: u16 = 0xac;
    /// Jumps: always, by k; if A == k, if A >= k, if A & k != 0.
    pub(super) const JA: u16 = 0x05;
    pub(super) const JEQ: u16 = 0x15;
    pub(super) const JGE: u16 = 0x35;
    pub(super) const JSET: u16 = 0x45;
    /// Ends with k, with A.
    pub(super) const RET_K: u16 = 0x06;
    pub(super) const RET_A: u16 = 0x16;
}

/// Scratch words.
mod scratch {
    /// Folded addresses.
    pub(super) const SOURCE: u32 = 0;
    pub(super) const DESTINATION: u32 = 1;
    /// Ports; 0 where there are none.
    pub(super) const SOURCE_PORT: u32 = 2;
    pub(super) const DESTINATION_PORT: u32 = 3;
    /// Where the IP header is.
    pub(super) const NETWORK: u32 = 4;
    /// What is being computed.
    pub(super) const PARTIAL: u32 = 5;
    /// The mixed first end.
    pub(super) const MIXED: u32 = 6;
}

/// How many VLAN tags are walked over.
const MAX_TAGS: u32 = 2;

/// The program that computes `hash` over the frame in a datagram of `kind` and returns which of `workers` sockets gets it;
/// 0 workers count as one.
pub fn steer_program(kind: Kind, hash: SteerHash, workers: u32) -> Vec<BpfInstruction> {
    let mut program = Program::begin();
    match kind {
        Kind::Vxlan => program.ethernet(vxlan::HEADER_LEN as u32),
        Kind::VxlanGpe => {
            program.next_protocol();
            program.ethernet(vxlan::HEADER_LEN as u32);
        }
        Kind::Geneve => {
            program.protocol_type();
            program.vxlan_in_ip();
            program.ethernet_anywhere();
        }
    }
    program.end(hash, workers)
}

/// Offsets from here on count from the Ethernet header, wherever the kernel is in the packet (`SKF_LL_OFF` of `linux/filter.h`).
const LINK_HEADER: u32 = 0xffe0_0000;

/// The program that computes `hash` over a frame which is in no tunnel, for the packet sockets of a fan-out group
/// (`PACKET_FANOUT_CBPF`). What [`steer_program`] says of a frame in VXLAN holds for it, except that a VLAN tag which the card has taken out
/// counts as none.
pub fn frame_steer_program(hash: SteerHash, workers: u32) -> Vec<BpfInstruction> {
    program_at(LINK_HEADER, hash, workers)
}

/// The program over the frame whose Ethernet header is at offset `start`.
fn program_at(start: u32, hash: SteerHash, workers: u32) -> Vec<BpfInstruction> {
    let mut program = Program::begin();
    program.ethernet(start);
    program.end(hash, workers)
}

/// A place that is jumped to, always further on: there are no loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    /// Behind this many tags.
    Tag(u32),
    /// X is where an Ethernet header is, or so much further as it has tags.
    Ethernet,
    /// One tag more.
    NextTag(u32),
    /// An Ethernet header at X, tags left out, is followed by such a packet.
    EthernetIpv4,
    EthernetIpv6,
    /// X is where the header of an IP packet is that may have VXLAN in it.
    OuterIpv4,
    OuterIpv6,
    /// X is behind the IP header, and there is no VXLAN.
    NoVxlan,
    /// X is where the IP header is.
    Ipv4,
    Ipv6,
    /// The protocol has ports; the number tells the two places apart.
    HasPorts(usize),
    /// X is where the ports are, addresses are in their scratch words.
    Ports,
    /// Addresses and ports are in their scratch words.
    Mix,
    /// There is no five-tuple.
    NotIp,
}

/// An instruction whose jumps still name labels; `None` is the next instruction.
struct Unresolved {
    code: u16,
    k: u32,
    yes: Option<Label>,
    no: Option<Label>,
}

#[derive(Default)]
struct Program {
    instructions: Vec<Unresolved>,
    labels: Vec<(Label, usize)>,
}

impl Program {
    /// What every program begins with.
    fn begin() -> Self {
        let mut program = Self::default();
        program.add(op::LD_IMM, 0);
        program.add(op::ST, scratch::SOURCE_PORT);
        program.add(op::ST, scratch::DESTINATION_PORT);
        program
    }

    /// What every program ends with, from IP headers on.
    fn end(mut self, hash: SteerHash, workers: u32) -> Vec<BpfInstruction> {
        self.ipv4();
        self.ipv6();
        self.ports();
        self.mix(hash, workers.max(1));
        self.resolve()
    }

    /// Finds the IP header behind the Ethernet header at offset `start`.
    fn ethernet(&mut self, start: u32) {
        for tags in 0..=MAX_TAGS {
            self.label(Label::Tag(tags));
            let network = start + ETHERNET_HEADER_LEN as u32 + 4 * tags;
            self.add(op::LDX_IMM, network);
            self.add(op::LDH_ABS, network - 2);
            self.jump(op::JEQ, u32::from(ethertype::IPV4), Some(Label::Ipv4), None);
            self.jump(op::JEQ, u32::from(ethertype::IPV6), Some(Label::Ipv6), None);
            if tags < MAX_TAGS {
                self.jump_if_tag(Label::Tag(tags + 1));
            }
            self.goto(Label::NotIp);
        }
    }

    /// By what VXLAN-GPE says is behind it. Without the P bit that is Ethernet.
    fn next_protocol(&mut self) {
        self.add(op::LDB_ABS, 0);
        self.jump(op::JSET, 0x04, None, Some(Label::Tag(0)));
        self.add(op::LDX_IMM, vxlan::HEADER_LEN as u32);
        self.add(op::LDB_ABS, 3);
        self.jump(op::JEQ, 3, Some(Label::Tag(0)), None);
        // What is neither has no version of IP where IP has it, or is dropped anyway.
        self.by_version(Label::Ipv4, Label::Ipv6);
    }

    /// By what GENEVE says is behind it, and behind its options.
    fn protocol_type(&mut self) {
        self.add(op::LDB_ABS, 0);
        self.add(op::AND_K, 0x3f);
        self.add(op::LSH_K, 2);
        self.add(op::ADD_K, geneve::HEADER_LEN as u32);
        self.add(op::TAX, 0);
        self.add(op::LDH_ABS, 2);
        self.jump(op::JEQ, u32::from(ethertype::TRANSPARENT_ETHERNET), Some(Label::Ethernet), None);
        self.by_version(Label::OuterIpv4, Label::OuterIpv6);
    }

    /// By the version of the IP header at X.
    fn by_version(&mut self, four: Label, six: Label) {
        self.add(op::LDB_IND, 0);
        self.add(op::AND_K, 0xf0);
        self.jump(op::JEQ, 0x40, Some(four), None);
        self.jump(op::JEQ, 0x60, Some(six), None);
        self.goto(Label::NotIp);
    }

    /// Goes on at the Ethernet header in VXLAN, where the packet at X has that.
    fn vxlan_in_ip(&mut self) {
        self.label(Label::OuterIpv4);
        self.add(op::LDH_IND, 6);
        self.jump(op::JSET, 0x3fff, Some(Label::Ipv4), None);
        self.add(op::LDB_IND, 9);
        self.jump(op::JEQ, u32::from(protocol::UDP), None, Some(Label::Ipv4));
        self.add(op::STX, scratch::NETWORK);
        self.skip_ipv4_header();
        self.vxlan_in_udp(0, Label::NoVxlan);
        self.label(Label::NoVxlan);
        self.add(op::LDX_MEM, scratch::NETWORK);
        self.goto(Label::Ipv4);

        self.label(Label::OuterIpv6);
        self.add(op::LDB_IND, 6);
        self.jump(op::JEQ, u32::from(protocol::UDP), None, Some(Label::Ipv6));
        self.vxlan_in_udp(40, Label::Ipv6);
    }

    /// Goes on at the Ethernet header in VXLAN, where there is such a header behind the UDP header at X + `udp`, or else at `otherwise`.
    fn vxlan_in_udp(&mut self, udp: u32, otherwise: Label) {
        self.add(op::LDH_IND, udp + 2);
        self.jump(op::JEQ, u32::from(vxlan::PORT), None, Some(otherwise));
        self.add(op::LDB_IND, udp + 8);
        self.jump(op::JSET, 0x08, None, Some(otherwise));
        self.advance(udp + 8 + vxlan::HEADER_LEN as u32);
        self.goto(Label::Ethernet);
    }

    /// Finds the IP header behind the Ethernet header at X.
    fn ethernet_anywhere(&mut self) {
        self.label(Label::Ethernet);
        for tags in 0..=MAX_TAGS {
            if tags > 0 {
                self.label(Label::NextTag(tags));
                self.advance(4);
            }
            self.add(op::LDH_IND, ETHERNET_HEADER_LEN as u32 - 2);
            self.jump(op::JEQ, u32::from(ethertype::IPV4), Some(Label::EthernetIpv4), None);
            self.jump(op::JEQ, u32::from(ethertype::IPV6), Some(Label::EthernetIpv6), None);
            if tags < MAX_TAGS {
                self.jump_if_tag(Label::NextTag(tags + 1));
            }
            self.goto(Label::NotIp);
        }
        for (found, network) in [(Label::EthernetIpv4, Label::Ipv4), (Label::EthernetIpv6, Label::Ipv6)] {
            self.label(found);
            self.advance(ETHERNET_HEADER_LEN as u32);
            self.goto(network);
        }
    }

    /// Goes to `label` if A is the EtherType of a VLAN tag.
    fn jump_if_tag(&mut self, label: Label) {
        for tag in [ethertype::VLAN, ethertype::QINQ, ethertype::QINQ_OLD] {
            self.jump(op::JEQ, u32::from(tag), Some(label), None);
        }
    }

    /// Adds `bytes` to X.
    fn advance(&mut self, bytes: u32) {
        self.add(op::TXA, 0);
        self.add(op::ADD_K, bytes);
        self.add(op::TAX, 0);
    }

    /// Adds the length of the IPv4 header at X to X.
    fn skip_ipv4_header(&mut self) {
        self.add(op::LDB_IND, 0);
        self.add(op::AND_K, 0x0f);
        self.add(op::LSH_K, 2);
        self.add(op::ADD_X, 0);
        self.add(op::TAX, 0);
    }

    fn ipv4(&mut self) {
        self.label(Label::Ipv4);
        // Version 4 and a header of 5 words at least, both in the first byte.
        self.add(op::LDB_IND, 0);
        self.jump(op::JGE, 0x45, None, Some(Label::NotIp));
        self.jump(op::JGE, 0x50, Some(Label::NotIp), None);
        for (from, to) in [(12, scratch::SOURCE), (16, scratch::DESTINATION)] {
            self.add(op::LD_IND, from);
            self.add(op::ST, to);
        }
        self.add(op::LDH_IND, 6);
        self.jump(op::JSET, 0x3fff, Some(Label::Mix), None);
        self.add(op::LDB_IND, 9);
        self.skip_ports_unless_present();
        self.skip_ipv4_header();
        self.goto(Label::Ports);
    }

    fn ipv6(&mut self) {
        self.label(Label::Ipv6);
        self.add(op::LDB_IND, 0);
        self.add(op::AND_K, 0xf0);
        self.jump(op::JEQ, 0x60, None, Some(Label::NotIp));
        self.add(op::STX, scratch::NETWORK);
        for (from, to) in [(8, scratch::SOURCE), (24, scratch::DESTINATION)] {
            self.add(op::LD_IND, from);
            for word in 1..4 {
                self.add(op::MUL_K, SteerHash::ADDRESS_FACTOR);
                self.add(op::ST, scratch::PARTIAL);
                self.add(op::LD_IND, from + 4 * word);
                self.add(op::LDX_MEM, scratch::PARTIAL);
                self.add(op::ADD_X, 0);
                self.add(op::LDX_MEM, scratch::NETWORK);
            }
            self.add(op::ST, to);
        }
        self.add(op::LDB_IND, 6);
        self.skip_ports_unless_present();
        self.add(op::LD_MEM, scratch::NETWORK);
        self.add(op::ADD_K, 40);
        self.add(op::TAX, 0);
        self.goto(Label::Ports);
    }

    /// Goes on only if A is a protocol with ports.
    fn skip_ports_unless_present(&mut self) {
        let [others @ .., last] = PROTOCOLS_WITH_PORTS;
        let label = Label::HasPorts(self.instructions.len());
        for protocol in others {
            self.jump(op::JEQ, u32::from(protocol), Some(label), None);
        }
        self.jump(op::JEQ, u32::from(last), None, Some(Label::Mix));
        self.label(label);
    }

    fn ports(&mut self) {
        self.label(Label::Ports);
        for (from, to) in [(0, scratch::SOURCE_PORT), (2, scratch::DESTINATION_PORT)] {
            self.add(op::LDH_IND, from);
            self.add(op::ST, to);
        }
    }

    /// [`SteerHash::mix`], and the end of the program.
    fn mix(&mut self, hash: SteerHash, workers: u32) {
        self.label(Label::Mix);
        self.mix_end(hash, scratch::SOURCE, scratch::SOURCE_PORT);
        self.add(op::ST, scratch::MIXED);
        self.mix_end(hash, scratch::DESTINATION, scratch::DESTINATION_PORT);
        self.add(op::LDX_MEM, scratch::MIXED);
        self.add(op::ADD_X, 0);
        self.add(op::MUL_K, SteerHash::FINISH_FACTOR);
        self.shift_down();
        self.add(op::MOD_K, workers);
        self.add(op::RET_A, 0);
        self.label(Label::NotIp);
        self.add(op::RET_K, 0);
    }

    fn mix_end(&mut self, hash: SteerHash, address: u32, port: u32) {
        self.add(op::LD_MEM, address);
        self.add(op::XOR_K, hash.seed());
        self.add(op::MUL_K, SteerHash::ADDRESS_FACTOR);
        self.shift_down();
        self.add(op::ST, scratch::PARTIAL);
        self.add(op::LD_MEM, port);
        self.add(op::MUL_K, SteerHash::PORT_FACTOR);
        self.add(op::LDX_MEM, scratch::PARTIAL);
        self.add(op::XOR_X, 0);
        self.add(op::MUL_K, SteerHash::FINISH_FACTOR);
        self.shift_down();
    }

    fn shift_down(&mut self) {
        self.add(op::TAX, 0);
        self.add(op::RSH_K, SteerHash::SHIFT);
        self.add(op::XOR_X, 0);
    }

    fn add(&mut self, code: u16, k: u32) {
        self.jump(code, k, None, None);
    }

    /// Goes to `yes` where the comparison of A with `k` holds, to `no` where it does not.
    fn jump(&mut self, code: u16, k: u32, yes: Option<Label>, no: Option<Label>) {
        self.instructions.push(Unresolved { code, k, yes, no });
    }

    fn goto(&mut self, label: Label) {
        self.jump(op::JA, 0, Some(label), None);
    }

    /// The next instruction is at `label`.
    fn label(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    /// Puts distances in place of labels. The program has fewer than 256 instructions, so that each distance fits.
    fn resolve(self) -> Vec<BpfInstruction> {
        let distance = |from: usize, to: Option<Label>| {
            let place = self.labels.iter().find(|(label, _)| Some(*label) == to).map_or(from + 1, |(_, place)| *place);
            place - from - 1
        };
        let resolve = |(at, step): (usize, &Unresolved)| {
            let (yes, no) = (distance(at, step.yes), distance(at, step.no));
            match step.code {
                op::JA => BpfInstruction { code: op::JA, jt: 0, jf: 0, k: yes as u32 },
                code => BpfInstruction { code, jt: yes as u8, jf: no as u8, k: step.k },
            }
        };
        self.instructions.iter().enumerate().map(resolve).collect()
    }
}

#[cfg(test)]
mod tests;
