//! The program that the kernel runs over frames before any is copied: what must never be mirrored is refused first of all.
//!
//! Refused are our own tunnels (datagrams to a target's port, whoever sends them: two senders on one host would mirror
//! each other's), ICMP errors about those, connections with services that show what was mirrored, and everything from and to the far ends
//! of tunnels in which nobody can tell our datagrams from others. Each of them would
//! make one more of itself for ever. They are found behind up to two VLAN tags in the frame, and where the tag was
//! taken out of it. A fragment that is not the first has no port and is not refused; our own datagrams are never fragmented.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use vxtap_ring::Instruction;
use vxtap_wire::{BpfInstruction, ETHERNET_HEADER_LEN, ethertype};

use super::Way;

/// What is never captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoopGuard {
    /// Where our datagrams go.
    pub targets: Vec<SocketAddr>,
    /// TCP services that show what was mirrored, as the collector's API does.
    pub services: Vec<SocketAddr>,
    /// Far ends of tunnels that hide what they carry: among it may be our datagrams.
    pub far_ends: Vec<IpAddr>,
}

mod op {
    /// A = word, half word, byte at k.
    pub(super) const LD: u16 = 0x20;
    pub(super) const LDH: u16 = 0x28;
    pub(super) const LDB: u16 = 0x30;
    /// The same at X + k.
    pub(super) const LD_IND: u16 = 0x40;
    pub(super) const LDH_IND: u16 = 0x48;
    pub(super) const LDB_IND: u16 = 0x50;
    /// A = length of the frame.
    pub(super) const LD_LEN: u16 = 0x80;
    /// X = 4 * (lower half of the byte at k).
    pub(super) const LDX_MSH: u16 = 0xb1;
    pub(super) const SUB_X: u16 = 0x1c;
    pub(super) const JA: u16 = 0x05;
    pub(super) const JEQ: u16 = 0x15;
    pub(super) const JGE: u16 = 0x35;
    pub(super) const JSET: u16 = 0x45;
    pub(super) const RET: u16 = 0x06;
}

/// What the kernel knows of a frame and is not in its bytes.
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
const VLAN_TAG_PRESENT: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG_PRESENT).cast_unsigned();

const ALL: u32 = u32::MAX;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;
const IPV6_LEN: u32 = 40;
const FRAGMENT_OFFSET: u32 = 0x1fff;
/// Unreachable, redirect, time exceeded, parameter problem: those that quote a packet.
const ICMP_ERRORS: [u32; 4] = [3, 5, 11, 12];
const ICMP_V6_ERRORS: [u32; 4] = [1, 2, 3, 4];

/// What else the program does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Which way frames go.
    pub(super) way: Way,
    /// On loopback each frame crosses twice; it is taken when it comes in.
    pub(super) is_loopback: bool,
    /// Decides on what is not refused, but for frames with a VLAN tag that was taken out, of which its offsets are wrong: those
    /// go through. `None` wants all.
    pub(super) program: Option<&'a [BpfInstruction]>,
}

impl LoopGuard {
    /// The whole program.
    pub(super) fn program(&self, wanted: Wanted<'_>) -> Vec<Instruction> {
        let mut code = Vec::new();
        if wanted.is_loopback || wanted.way == Way::Out {
            code.push(load(op::LD, PACKET_TYPE));
            let outgoing = u32::from(libc::PACKET_OUTGOING);
            if wanted.is_loopback {
                code.extend(when(op::JEQ, outgoing, refuse()));
            } else {
                code.extend(unless(op::JEQ, outgoing, refuse()));
            }
        }
        code.extend(self.behind_tags(ETHERNET_HEADER_LEN as u32, 2));
        match wanted.program {
            None => code.push(load(op::RET, ALL)),
            Some(program) => {
                code.push(load(op::LD, VLAN_TAG_PRESENT));
                code.extend(unless(op::JEQ, 0, vec![load(op::RET, ALL)]));
                code.extend(program.iter().map(|&BpfInstruction { code, jt, jf, k }| Instruction { code, jt, jf, k }));
            }
        }
        code
    }

    /// The program that refuses everything.
    pub(super) fn refuse_all() -> Vec<Instruction> {
        refuse()
    }

    /// Refuses by the network header at `at`, or behind up to `tags` tags more.
    fn behind_tags(&self, at: u32, tags: u32) -> Vec<Instruction> {
        let kind = load(op::LDH, at - 2);
        let mut code = vec![kind];
        code.extend(when(op::JEQ, ethertype::IPV4.into(), when_longer(at + 20, self.ipv4(at))));
        code.push(kind);
        code.extend(when(op::JEQ, ethertype::IPV6.into(), when_longer(at + IPV6_LEN, self.ipv6(at))));
        if tags > 0 {
            let tagged = when_longer(at + 4, self.behind_tags(at + 4, tags - 1));
            code.push(kind);
            code.extend(when_any(&[ethertype::VLAN, ethertype::QINQ, ethertype::QINQ_OLD].map(u32::from), tagged));
        }
        // A frame of nothing but its header has no more to load.
        when_longer(at, code)
    }

    fn ipv4(&self, at: u32) -> Vec<Instruction> {
        let to = |address_code, address_at, port_at| {
            let is_it = |(address, port)| is_v4(address_code, address_at, address, is_port(op::LDH_IND, port_at, port));
            v4(&self.targets).flat_map(is_it).collect::<Vec<_>>()
        };
        let udp = behind_options(at, 4, to(op::LD, at + 16, at + 2));
        // The packet that an error is about, which has no options since it is ours.
        let quoted = at + 8;
        let about = is_protocol(op::LDB_IND, quoted + 9, UDP, to(op::LD_IND, quoted + 16, quoted + 22));
        let icmp = behind_options(at, 8 + 24, is_any(op::LDB_IND, at, &ICMP_ERRORS, about));
        let mut tcp = Vec::new();
        for (address, port) in v4(&self.services) {
            for (address_at, port_at) in [(at + 16, at + 2), (at + 12, at)] {
                tcp.extend(is_v4(op::LD, address_at, address, is_port(op::LDH_IND, port_at, port)));
            }
        }
        let tcp = behind_options(at, 4, tcp);
        let protocols = [(UDP, udp), (ICMP, icmp), (TCP, tcp)];
        let by_protocol =
            protocols.into_iter().flat_map(|(protocol, body)| is_protocol(op::LDB, at + 9, protocol, body));
        let mut code = Vec::new();
        // Fragments as well, of which nothing but the addresses is there.
        for address in self.far_ends_v4() {
            for address_at in [at + 12, at + 16] {
                code.extend(is_v4(op::LD, address_at, address, refuse()));
            }
        }
        code.push(load(op::LDH, at + 6));
        code.extend(unless(op::JSET, FRAGMENT_OFFSET, by_protocol.collect()));
        code
    }

    fn ipv6(&self, at: u32) -> Vec<Instruction> {
        let behind = at + IPV6_LEN;
        let to = |address_at, port_at| {
            let is_it = |(address, port)| is_v6(address_at, address, is_port(op::LDH, port_at, port));
            v6(&self.targets).flat_map(is_it).collect::<Vec<_>>()
        };
        let udp = when_longer(behind + 4, to(at + 24, behind + 2));
        let quoted = behind + 8;
        let about = is_protocol(op::LDB, quoted + 6, UDP, to(quoted + 24, quoted + IPV6_LEN + 2));
        let icmp = when_longer(quoted + IPV6_LEN + 4, is_any(op::LDB, behind, &ICMP_V6_ERRORS, about));
        let mut tcp = Vec::new();
        for (address, port) in v6(&self.services) {
            for (address_at, port_at) in [(at + 24, behind + 2), (at + 8, behind)] {
                tcp.extend(is_v6(address_at, address, is_port(op::LDH, port_at, port)));
            }
        }
        let protocols = [(UDP, udp), (ICMP_V6, icmp), (TCP, when_longer(behind + 4, tcp))];
        let by_protocol =
            protocols.into_iter().flat_map(|(protocol, body)| is_protocol(op::LDB, at + 6, protocol, body));
        let mut code = Vec::new();
        for address in self.far_ends_v6() {
            for address_at in [at + 8, at + 24] {
                code.extend(is_v6(address_at, address, refuse()));
            }
        }
        code.extend(by_protocol);
        code
    }

    fn far_ends_v4(&self) -> impl Iterator<Item = u32> {
        self.far_ends.iter().filter_map(|address| match address.to_canonical() {
            IpAddr::V4(ip) => Some(u32::from(ip)),
            IpAddr::V6(_) => None,
        })
    }

    fn far_ends_v6(&self) -> impl Iterator<Item = [u32; 4]> {
        self.far_ends.iter().filter_map(|address| match address.to_canonical() {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(words(ip)),
        })
    }
}

fn v4(addresses: &[SocketAddr]) -> impl Iterator<Item = (u32, u16)> {
    addresses.iter().filter_map(|address| match address.ip().to_canonical() {
        IpAddr::V4(ip) => Some((u32::from(ip), address.port())),
        IpAddr::V6(_) => None,
    })
}

fn v6(addresses: &[SocketAddr]) -> impl Iterator<Item = ([u32; 4], u16)> {
    addresses.iter().filter_map(|address| match address.ip().to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some((words(ip), address.port())),
    })
}

/// An address as the program loads it.
fn words(ip: Ipv6Addr) -> [u32; 4] {
    let bits = ip.to_bits();
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
}

const fn load(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn refuse() -> Vec<Instruction> {
    vec![load(op::RET, 0)]
}

/// `body` where the comparison of A with `k` holds. What stands behind it goes on in any case, as in all of these.
fn when(code: u16, k: u32, body: Vec<Instruction>) -> Vec<Instruction> {
    match u8::try_from(body.len()) {
        Ok(len) => [vec![Instruction { code, jt: 0, jf: len, k }], body].concat(),
        Err(_) => [vec![Instruction { code, jt: 1, jf: 0, k }, load(op::JA, body.len() as u32)], body].concat(),
    }
}

/// `body` where it does not hold.
fn unless(code: u16, k: u32, body: Vec<Instruction>) -> Vec<Instruction> {
    match u8::try_from(body.len()) {
        Ok(len) => [vec![Instruction { code, jt: len, jf: 0, k }], body].concat(),
        Err(_) => [vec![Instruction { code, jt: 0, jf: 1, k }, load(op::JA, body.len() as u32)], body].concat(),
    }
}

/// `body` where A is one of `numbers`.
fn when_any(numbers: &[u32], body: Vec<Instruction>) -> Vec<Instruction> {
    let over = load(op::JA, body.len() as u32);
    let tests = numbers.iter().enumerate().map(|(index, k)| {
        // Over the other tests and the jump that is taken when none holds.
        let jt = (numbers.len() - index) as u8;
        Instruction { code: op::JEQ, jt, jf: 0, k: *k }
    });
    tests.chain([over]).chain(body).collect()
}

/// `body` where the frame has at least `len` bytes: a load behind its end would refuse it.
fn when_longer(len: u32, body: Vec<Instruction>) -> Vec<Instruction> {
    if body.is_empty() {
        return body;
    }
    [vec![load(op::LD_LEN, 0)], when(op::JGE, len, body)].concat()
}

/// `body` with X the length of the IPv4 header at `at`, where `len` bytes stand behind that.
fn behind_options(at: u32, len: u32, body: Vec<Instruction>) -> Vec<Instruction> {
    if body.is_empty() {
        return body;
    }
    let header = [load(op::LDX_MSH, at), load(op::LD_LEN, 0), load(op::SUB_X, 0)];
    [header.to_vec(), when(op::JGE, at + len, body)].concat()
}

fn is_any(code: u16, at: u32, numbers: &[u32], body: Vec<Instruction>) -> Vec<Instruction> {
    if body.is_empty() { body } else { [vec![load(code, at)], when_any(numbers, body)].concat() }
}

fn is_protocol(code: u16, at: u32, protocol: u8, body: Vec<Instruction>) -> Vec<Instruction> {
    if body.is_empty() { body } else { [vec![load(code, at)], when(op::JEQ, protocol.into(), body)].concat() }
}

fn is_v4(code: u16, at: u32, address: u32, body: Vec<Instruction>) -> Vec<Instruction> {
    [vec![load(code, at)], when(op::JEQ, address, body)].concat()
}

fn is_v6(at: u32, address: [u32; 4], body: Vec<Instruction>) -> Vec<Instruction> {
    (0..4).rev().fold(body, |body, word: u32| {
        [vec![load(op::LD, at + word * 4)], when(op::JEQ, address[word as usize], body)].concat()
    })
}

/// Refuses where the port is `port`.
fn is_port(code: u16, at: u32, port: u16) -> Vec<Instruction> {
    [vec![load(code, at)], when(op::JEQ, port.into(), refuse())].concat()
}

#[cfg(test)]
mod tests;
