use proptest::prelude::*;

use super::*;
use crate::captures;
use crate::flow::protocol;
use crate::frame::tests::build::{self, ethernet, extension, ipv4, ipv4_with, ipv6, tcp, udp};
use crate::vxlan::Vni;
use crate::{FrameView, Missing, Network};

const HASH: SteerHash = SteerHash::new(0xfeed_5eed);
const KINDS: [Kind; 3] = [Kind::Vxlan, Kind::VxlanGpe, Kind::Geneve];

mod encapsulations;

/// Runs `program` over `packet` as the kernel does: 32-bit arithmetic, and 0 from a load past the end.
fn run(program: &[BpfInstruction], packet: &[u8]) -> u32 {
    let load = |at: u64, len: usize| {
        let bytes = packet.get(usize::try_from(at).ok()?..)?.get(..len)?;
        Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    };
    let (mut a, mut x, mut m) = (0u32, 0u32, [0u32; 16]);
    let mut next = 0;
    loop {
        let BpfInstruction { code, jt, jf, k } = program[next];
        next += 1;
        let mut jump_if = |holds: bool| next += usize::from(if holds { jt } else { jf });
        let (absolute, indirect) = (u64::from(k), u64::from(x) + u64::from(k));
        match code {
            op::LDH_ABS => match load(absolute, 2) {
                Some(value) => a = value,
                None => return 0,
            },
            op::LDB_ABS => match load(absolute, 1) {
                Some(value) => a = value,
                None => return 0,
            },
            op::LDH_IND | op::LDB_IND | op::LD_IND => {
                let len = if code == op::LD_IND {
                    4
                } else if code == op::LDH_IND {
                    2
                } else {
                    1
                };
                match load(indirect, len) {
                    Some(value) => a = value,
                    None => return 0,
                }
            }
            op::LD_IMM => a = k,
            op::LDX_IMM => x = k,
            op::LD_MEM => a = m[k as usize],
            op::LDX_MEM => x = m[k as usize],
            op::ST => m[k as usize] = a,
            op::STX => m[k as usize] = x,
            op::TAX => x = a,
            op::TXA => a = x,
            op::ADD_K => a = a.wrapping_add(k),
            op::MUL_K => a = a.wrapping_mul(k),
            op::AND_K => a &= k,
            op::LSH_K => a <<= k,
            op::RSH_K => a >>= k,
            op::MOD_K => a %= k,
            op::XOR_K => a ^= k,
            op::ADD_X => a = a.wrapping_add(x),
            op::XOR_X => a ^= x,
            op::JA => next += k as usize,
            op::JEQ => jump_if(a == k),
            op::JGE => jump_if(a >= k),
            op::JSET => jump_if(a & k != 0),
            op::RET_K => return k,
            op::RET_A => return a,
            code => panic!("instruction {code:#x} is not known"),
        }
    }
}

/// What the program says of `frame` in a VXLAN datagram.
fn kernel(frame: &[u8], workers: u32) -> u32 {
    let datagram = [&vxlan::header(Vni::new(4242).unwrap())[..], frame].concat();
    run(&steer_program(Kind::Vxlan, HASH, workers), &datagram)
}

/// What the collector says.
fn owner(frame: &[u8], workers: u32) -> u32 {
    FrameView::parse(frame).five_tuple.map_or(0, |tuple| HASH.owner(&tuple, workers))
}

/// Whether the program looks as far as the view does.
fn is_known_to_the_program(frame: &[u8]) -> bool {
    let view = FrameView::parse(frame);
    let link_len = ETHERNET_HEADER_LEN + 4 * usize::from(view.vlans.count());
    let is_direct = view.tunnels == 0 && view.vlans.count() <= 2 && view.network_offset() == link_len;
    let next = frame.get(view.network_offset() + 6);
    let has_extensions = view.network == Network::Ipv6
        && view.fragment.is_none()
        && view.five_tuple.is_some_and(|tuple| next != Some(&tuple.protocol));
    let is_ah = view.network == Network::Ipv4 && frame.get(view.network_offset() + 9) == Some(&protocol::AH);
    let is_ip = view.five_tuple.is_some();
    let has_headers = view.missing <= Missing::Payload && view.malformed.is_none();
    is_ip && is_direct && !has_extensions && !is_ah && has_headers
}

#[test]
fn the_program_is_short_enough_for_its_jumps_and_only_jumps_forward_inside_itself() {
    for kind in KINDS {
        let program = steer_program(kind, HASH, 4);
        assert!(program.len() < 256, "{} instructions", program.len());
        for (at, instruction) in program.iter().enumerate() {
            let furthest = match instruction.code {
                op::JA => instruction.k as usize,
                _ => usize::from(instruction.jt.max(instruction.jf)),
            };
            assert!(at + 1 + furthest < program.len() || matches!(instruction.code, op::RET_A | op::RET_K));
        }
        // The kernel wants a return at the end.
        assert_eq!(program.last().unwrap().code, op::RET_K);
    }
}

#[test]
fn the_layout_is_that_of_the_kernel() {
    assert_eq!((size_of::<BpfInstruction>(), align_of::<BpfInstruction>()), (8, 4));
}

#[test]
fn the_program_owns_what_the_collector_owns_for_each_kind_of_frame_that_it_knows() {
    let (t, u) = (tcp(1000, 443, b"abc"), udp(2000, 53, b"abc"));
    let tag = |id: u8, next: u16, inside: &[u8]| [&[0, id][..], &next.to_be_bytes(), inside].concat();
    let one = tag(7, ethertype::IPV4, &ipv4(protocol::TCP, &t));
    let two = tag(8, ethertype::VLAN, &one);
    let fragment = [&[protocol::UDP, 0, 0, 1, 1, 2, 3, 4][..], &u].concat();
    let frames = [
        ("TCP in IPv4", ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &t))),
        ("UDP behind options", ethernet(ethertype::IPV4, &ipv4_with(&[1; 40], [0; 4], protocol::UDP, &u))),
        ("a first fragment", ethernet(ethertype::IPV4, &ipv4_with(&[], [1, 2, 0x20, 0], protocol::UDP, &u))),
        ("a last fragment", ethernet(ethertype::IPV4, &ipv4_with(&[], [1, 2, 0, 9], protocol::UDP, &u))),
        ("SCTP", ethernet(ethertype::IPV4, &ipv4(protocol::SCTP, &t))),
        ("UDP-Lite", ethernet(ethertype::IPV4, &ipv4(protocol::UDP_LITE, &u))),
        ("ICMP", ethernet(ethertype::IPV4, &ipv4(protocol::ICMP, &[8, 0, 0, 0, 1, 2, 3, 4]))),
        ("ESP", ethernet(ethertype::IPV4, &ipv4(protocol::ESP, &[1; 20]))),
        ("TCP in IPv6", ethernet(ethertype::IPV6, &ipv6(protocol::TCP, &t))),
        ("UDP in IPv6", ethernet(ethertype::IPV6, &ipv6(protocol::UDP, &u))),
        ("a fragment in IPv6", ethernet(ethertype::IPV6, &ipv6(protocol::IPV6_FRAGMENT, &fragment))),
        ("ICMPv6", ethernet(ethertype::IPV6, &ipv6(protocol::ICMPV6, &[128, 0, 0, 0, 1, 2, 3, 4]))),
        ("one tag", ethernet(ethertype::VLAN, &one)),
        ("an old tag", ethernet(ethertype::QINQ_OLD, &one)),
        ("two tags", ethernet(ethertype::QINQ, &two)),
    ];
    let mut workers_seen = [false; 31];
    for (name, frame) in &frames {
        assert!(is_known_to_the_program(frame), "{name}");
        for workers in [1, 2, 3, 4, 7, 16, 31] {
            assert_eq!(kernel(frame, workers), owner(frame, workers), "{name}, {workers} workers");
        }
        workers_seen[kernel(frame, 31) as usize] = true;
    }
    assert!(workers_seen.iter().filter(|seen| **seen).count() > 5, "the frames hardly differ");
}

#[test]
fn frames_without_a_five_tuple_go_to_worker_0_in_both() {
    let mut six = ipv6(protocol::TCP, &tcp(1, 2, b""));
    six[0] = 0x50;
    let mut four = ipv4(protocol::TCP, &tcp(1, 2, b""));
    let short = {
        four[0] = 0x44;
        four.clone()
    };
    four[0] = 0x55;
    for frame in [
        ethernet(ethertype::ARP, &[0; 28]),
        ethernet(0x88cc, &[0xff; 46]),
        ethernet(ethertype::IPV4, &four),
        ethernet(ethertype::IPV4, &short),
        ethernet(ethertype::IPV6, &six),
        ethernet(ethertype::VLAN, &[0, 1, 0x08, 0x06, 0, 0]),
        ethernet(ethertype::IPV4, &[0x45; 19]),
        vec![1; 9],
        vec![],
    ] {
        assert_eq!((kernel(&frame, 16), owner(&frame, 16)), (0, 0), "{frame:x?}");
    }
}

#[test]
fn no_workers_count_as_one() {
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &tcp(1, 2, b"")));
    assert_eq!(kernel(&frame, 0), 0);
}

#[test]
fn what_the_program_does_not_look_through_goes_by_the_outermost_addresses() {
    let packet = ipv4(protocol::TCP, &tcp(1000, 443, b""));
    for (protocol, inside) in [
        (protocol::IPV4, packet.clone()),
        (protocol::GRE, [&[0, 0, 8, 0][..], &packet].concat()),
        (protocol::AH, [&[protocol::TCP, 1, 0, 0][..], &[0; 8], &tcp(1000, 443, b"")].concat()),
    ] {
        let frame = ethernet(ethertype::IPV4, &ipv4(protocol, &inside));
        let addresses = ethernet(ethertype::IPV4, &ipv4(protocol::ESP, &[]));
        assert!(!is_known_to_the_program(&frame));
        assert_eq!(kernel(&frame, 31), owner(&addresses, 31), "protocol {protocol}");
        assert_ne!(kernel(&frame, 31), owner(&frame, 31), "protocol {protocol}");
    }
    let frame = ethernet(ethertype::IPV6, &ipv6(0, &extension(protocol::TCP, 0, &tcp(1000, 443, b""))));
    let addresses = ethernet(ethertype::IPV6, &ipv6(protocol::ESP, &[]));
    assert!(!is_known_to_the_program(&frame));
    assert_eq!(kernel(&frame, 31), owner(&addresses, 31));
}

#[test]
fn captured_frames_get_the_same_owner_from_both() {
    let Some(frames) = captures::all_frames() else { return };
    let (mut known, mut unknown) = (0, 0);
    let programs: Vec<_> = [2, 4, 16].map(|workers| (workers, steer_program(Kind::Vxlan, HASH, workers))).into();
    for (place, record) in frames.iter().filter(|(_, record)| record.is_ethernet) {
        let frame = &record.bytes;
        let datagram = [&vxlan::header(Vni::default())[..], frame].concat();
        for (workers, program) in &programs {
            let (kernel, owner) = (run(program, &datagram), owner(frame, *workers));
            assert!(kernel < *workers);
            if is_known_to_the_program(frame) {
                known += 1;
                assert_eq!(kernel, owner, "{place}, {workers} workers");
            } else {
                unknown += 1;
            }
        }
    }
    assert!(known > 40_000 && unknown < known / 10, "{known} frames known to the program, {unknown} not");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn generated_frames_get_the_same_owner_from_both(
        frame in build::frame(),
        seed in any::<u32>(),
        workers in 1..=64u32,
    ) {
        let hash = SteerHash::new(seed);
        let datagram = [&vxlan::header(Vni::default())[..], &frame.bytes].concat();
        let kernel = run(&steer_program(Kind::Vxlan, hash, workers), &datagram);
        prop_assert!(kernel < workers);
        if is_known_to_the_program(&frame.bytes) {
            let tuple = FrameView::parse(&frame.bytes).five_tuple.unwrap();
            prop_assert_eq!(kernel, hash.owner(&tuple, workers));
        }
    }

    #[test]
    fn no_datagram_makes_the_program_return_more_than_there_are_workers(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        workers in 1..=64u32,
    ) {
        for kind in KINDS {
            prop_assert!(run(&steer_program(kind, HASH, workers), &bytes) < workers);
        }
    }
}

#[test]
fn the_program_over_a_frame_in_no_tunnel_agrees_with_user_space() {
    let (alone, in_vxlan) = (program_at(0, HASH, 5), steer_program(Kind::Vxlan, HASH, 5));
    let payload = tcp(1234, 80, b"payload");
    let tagged = [&[2; 12][..], &[0x81, 0, 0, 7, 0x88, 0xa8, 0, 8]].concat();
    for (kind, packet) in
        [(ethertype::IPV4, ipv4(protocol::TCP, &payload)), (ethertype::IPV6, ipv6(protocol::TCP, &payload))]
    {
        let plain = ethernet(kind, &packet);
        let tuple = FrameView::parse(&plain).five_tuple.unwrap();
        for frame in [plain.clone(), [&tagged, &plain[12..]].concat()] {
            let datagram = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &frame].concat();
            assert_eq!(run(&alone, &frame), HASH.owner(&tuple, 5));
            assert_eq!(run(&in_vxlan, &datagram), HASH.owner(&tuple, 5));
        }
    }
    assert_eq!(run(&alone, &[0; 60]), 0);
}

#[test]
fn a_program_for_packet_sockets_counts_from_the_ethernet_header() {
    let (there, here) = (frame_steer_program(HASH, 4), program_at(0, HASH, 4));
    assert_eq!(there.len(), here.len());
    let mut moved = 0;
    for (there, here) in there.iter().zip(&here) {
        // Only where the Ethernet header is may differ: loads by number, and the index that all others are relative to.
        if there != here {
            assert!(matches!(here.code, op::LDH_ABS | op::LDX_IMM), "{here:?}");
            assert_eq!(*there, BpfInstruction { k: here.k + LINK_HEADER, ..*here });
            moved += 1;
        }
    }
    assert_eq!(moved, 2 * (MAX_TAGS + 1));
    assert!(there.iter().filter(|step| step.code == op::LDH_ABS).all(|step| step.k >= LINK_HEADER));
}
