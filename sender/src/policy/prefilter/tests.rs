//! The program in the kernel's stead, and in the kernel, against the engine.

mod captures;

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use socket2::{SockFilter, SockRef};
use vxtap_wire::FrameView;

use super::*;
use crate::policy::testing::{Random, Universe, document, interface, packet, packet_of};
use crate::policy::{Decider, Decision, Interface, PolicyFile, Provider};

/// Runs a program as the kernel does: a load behind the frame's end returns 0.
pub(super) fn run(program: &[BpfInstruction], frame: &[u8], packet_type: u32) -> u32 {
    run_checked(program, frame, packet_type).unwrap_or(0)
}

fn run_checked(program: &[BpfInstruction], frame: &[u8], packet_type: u32) -> Option<u32> {
    let load = |at: u32, size: usize| -> Option<u32> {
        if at == PACKET_TYPE {
            return Some(packet_type);
        }
        let bytes = frame.get(at as usize..)?.get(..size)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    };
    let (mut a, mut x, mut scratch, mut at) = (0_u32, 0_u32, [0_u32; 16], 0_usize);
    loop {
        let BpfInstruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut branch = |yes: bool| at += usize::from(if yes { jt } else { jf });
        match code {
            0x00 => a = k,
            0x02 => scratch[k as usize] = a,
            0x05 => at += k as usize,
            0x06 => return Some(k),
            0x14 => a = a.wrapping_sub(k),
            0x15 => branch(a == k),
            0x1c => a = a.wrapping_sub(x),
            0x20 => a = load(k, 4)?,
            0x25 => branch(a > k),
            0x28 => a = load(k, 2)?,
            0x30 => a = load(k, 1)?,
            0x35 => branch(a >= k),
            0x3d => branch(a >= x),
            0x45 => branch(a & k != 0),
            0x48 => a = load(x + k, 2)?,
            0x54 => a &= k,
            0x60 => a = scratch[k as usize],
            0x80 => a = frame.len() as u32,
            0xb1 => x = (load(k, 1)? & 15) * 4,
            other => panic!("an instruction that is never emitted: {other:#x}"),
        }
    }
}

/// Packet types as linux/if_packet.h has them.
pub(super) const fn packet_type(direction: Direction) -> u32 {
    match direction {
        Direction::Inbound => 0,
        Direction::Outbound => 4,
    }
}

/// What "plain" is in [`Prefilter::exact`], said once more.
pub(super) fn is_plain(frame: &[u8]) -> bool {
    let Some(kind) = frame.get(12..14).map(|kind| u16::from_be_bytes([kind[0], kind[1]])) else { return false };
    let ports_told = |at: usize| frame.get(at..at + 4).is_none_or(|ports| *ports != [0; 4]);
    match kind {
        0x0800 => {
            frame.len() >= 34
                && (0x45..=0x4f).contains(&frame[14])
                && frame[23] != 51
                && ports_told(14 + usize::from(frame[14] & 15) * 4)
        }
        0x86dd => {
            frame.len() >= 54
                && frame[14] >> 4 == 6
                && ![0, 43, 44, 51, 60].contains(&frame[20])
                && !(frame[18..20] == [0, 0] && [6, 17, 132, 136].contains(&frame[20]))
                && ports_told(54)
        }
        0x8100 | 0x88a8 | 0x9100 | 0x8847 | 0x8848 | 0x8864 => false,
        other => other >= 0x0600,
    }
}

/// Holds what a program returned against the engine's decision. Says whether the frame was dropped.
pub(super) fn agrees(prefilter: &Prefilter, decider: &mut Decider, direction: Direction, frame: &[u8]) -> bool {
    let view = FrameView::parse_outermost(frame);
    let decision = decider.decide(direction, &view, 0);
    let taken = run(&prefilter.program, frame, packet_type(direction));
    match decision {
        Decision::Mirror(mirror) => {
            let wanted = mirror.length.min(frame.len() as u32);
            assert!(taken >= wanted, "{wanted} wanted, {taken} taken: {direction} {frame:02x?}");
        }
        Decision::Pass(why) if prefilter.exact && is_plain(frame) => {
            assert_eq!(taken, 0, "not wanted, {why:?}: {direction} {frame:02x?}");
        }
        Decision::Pass(_) => {}
    }
    taken == 0
}

/// A program and a decider of a random policy.
pub(super) fn random_policy(random: &mut Random, provider: Provider, universe: &Universe) -> (Prefilter, Decider) {
    let file = PolicyFile::from_document(document(random, provider, universe)).unwrap();
    let engine = Arc::new(Engine::new(&Arc::new(file.policy), &interface()).unwrap());
    let mut own = OwnTraffic::default();
    if random.one_in(3) {
        // Then the program is not exact, but must not drop more than the engine.
        own.add_target(SocketAddr::new(random.of(&universe.v4), random.of(&universe.ports)));
        own.add_target(SocketAddr::new(random.of(&universe.v6), random.of(&universe.ports)));
        own.add_health(SocketAddr::new(random.of(&universe.v4), random.of(&universe.ports)));
    }
    let own = Arc::new(own);
    (engine.prefilter(&own, PrefilterSettings::default()), Decider::new(engine, own))
}

#[test]
fn what_the_engine_takes_of_random_packets_the_program_lets_through_and_plain_ones_exactly() {
    let (mut random, universe) = (Random::new(2), Universe::default());
    let (mut dropped, mut exact) = (0, 0);
    for round in 0..3_000 {
        let provider = Provider::ALL[round % Provider::ALL.len()];
        let (prefilter, mut decider) = random_policy(&mut random, provider, &universe);
        exact += usize::from(prefilter.exact);
        for _ in 0..15 {
            let packet = packet(&mut random);
            let mut bytes = packet.bytes();
            // Cut anywhere now and then: the engine judges what is there.
            if random.one_in(5) {
                bytes.truncate(random.below(bytes.len() + 1));
            }
            dropped += usize::from(agrees(&prefilter, &mut decider, packet.direction, &bytes));
        }
    }
    assert!(dropped > 10_000 && exact > 1_000, "{dropped} {exact}");
}

fn engine(text: &str) -> Arc<Engine> {
    let text = format!(
        "{text}\n[[source]]\nname = \"here\"\ninterfaces = \"eth0\"\n[[target]]\nname = \"there\"\naddress = \"192.0.2.7\"\n"
    );
    let policy = PolicyFile::parse("p", &text).unwrap_or_else(|error| panic!("{error}")).policy;
    Arc::new(Engine::new(&Arc::new(policy), &Interface { name: "eth0".into(), ..Interface::default() }).unwrap())
}

const HTTP: &str = "[[filter]]\nname = \"http\"\ninbound = [{ action = \"accept\", protocol = \"tcp\", destination_ports = 80 }]\n\
     [[session]]\nname = \"s\"\nsource = \"here\"\ntarget = \"there\"\nfilter = \"http\"\nlength = 300\n";

#[test]
fn a_frame_is_taken_as_long_as_its_session_wants_it_and_super_frames_whole() {
    let engine = engine(HTTP);
    let prefilter = engine.prefilter(&OwnTraffic::default(), PrefilterSettings { whole_above: Some(1514) });
    let mut frame = packet_of(Direction::Inbound, 6, ("10.0.0.1", 9), ("10.0.0.2", 80)).bytes();
    assert_eq!(run(&prefilter.program, &frame, 0), 300);
    // The same, going out.
    assert_eq!(run(&prefilter.program, &frame, 4), 0);
    frame.resize(1514, 0);
    assert_eq!(run(&prefilter.program, &frame, 0), 300);
    frame.resize(1515, 0);
    assert_eq!(run(&prefilter.program, &frame, 0), WHOLE);
    assert!(prefilter.exact && !prefilter.too_long);
}

#[test]
fn datagrams_to_our_own_targets_stay_in_the_kernel() {
    let engine = engine("[[session]]\nname = \"s\"\nsource = \"here\"\ntarget = \"there\"\n");
    let mut own = OwnTraffic::default();
    own.add_target("192.0.2.7:4789".parse().unwrap());
    own.add_target("[2001:db8::7]:4789".parse().unwrap());
    let program = engine.prefilter(&own, PrefilterSettings::default()).program;
    for (source, destination, taken) in [
        (("10.0.0.1", 5), ("192.0.2.7", 4789), false),
        (("192.0.2.7", 4789), ("10.0.0.1", 5), false),
        (("2001:db8::1", 5), ("2001:db8::7", 4789), false),
        (("2001:db8::1", 5), ("2001:db8::8", 4789), true),
        (("10.0.0.1", 4789), ("192.0.2.7", 5), true),
        (("10.0.0.1", 5), ("192.0.2.8", 4789), true),
    ] {
        let frame = packet_of(Direction::Outbound, 17, source, destination).bytes();
        assert_eq!(run(&program, &frame, 4) != 0, taken, "{source:?} {destination:?}");
    }
}

/// A policy of `rules` rules, each with ranges of ports.
fn long(rules: usize) -> Arc<Engine> {
    let rules: Vec<String> = (0..rules)
        .map(|at| format!("{{ action = \"accept\", protocol = \"tcp\", source = \"10.{}.{}.0/24\", source_ports = [\"1-9\", 77], destination_ports = [80, 443] }},\n", at / 256, at % 256))
        .collect();
    let rules = rules.concat();
    engine(&format!(
        "[[filter]]\nname = \"f\"\ninbound = [{rules}]\n[[session]]\nname = \"s\"\nsource = \"here\"\ntarget = \"there\"\nfilter = \"f\"\n"
    ))
}

#[test]
fn a_policy_that_is_too_long_for_the_kernel_lets_everything_through() {
    let (fits, too_long) = (long(150), long(1_000));
    let fits = fits.prefilter(&OwnTraffic::default(), PrefilterSettings::default());
    assert!(
        !fits.too_long && fits.exact && (1_000..=MAX_INSTRUCTIONS).contains(&fits.program.len()),
        "{}",
        fits.program.len()
    );
    let too_long = too_long.prefilter(&OwnTraffic::default(), PrefilterSettings::default());
    assert!(too_long.too_long && !too_long.exact);
    assert_eq!(run(&too_long.program, &[0; 60], 0), WHOLE);
    // Jumps over more than 255 instructions arrive.
    let frame = packet_of(Direction::Inbound, 6, ("10.0.149.1", 77), ("10.0.0.2", 443)).bytes();
    assert_eq!(run(&fits.program, &frame, 0), WHOLE);
    let frame = packet_of(Direction::Inbound, 6, ("10.0.150.1", 77), ("10.0.0.2", 443)).bytes();
    assert_eq!(run(&fits.program, &frame, 0), 0);
}

/// A pair of sockets with a program on the receiving one.
struct Kernel {
    sender: UnixDatagram,
    receiver: UnixDatagram,
}

impl Kernel {
    fn new(program: &[BpfInstruction]) -> Self {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        receiver.set_nonblocking(true).unwrap();
        let program: Vec<SockFilter> =
            program.iter().map(|one| SockFilter::new(one.code, one.jt, one.jf, one.k)).collect();
        SockRef::from(&receiver).attach_filter(&program).unwrap();
        Self { sender, receiver }
    }

    /// How much of `frame` gets through.
    fn taken(&self, frame: &[u8]) -> u32 {
        self.sender.send(frame).unwrap();
        let mut buffer = vec![0; frame.len() + 1];
        self.receiver.recv(&mut buffer).map_or(0, |taken| taken as u32)
    }
}

#[test]
fn the_kernel_takes_every_program_and_says_what_our_interpreter_says() {
    let (mut random, universe) = (Random::new(3), Universe::default());
    for round in 0..200 {
        let (prefilter, _) = random_policy(&mut random, Provider::ALL[round % Provider::ALL.len()], &universe);
        let kernel = Kernel::new(&prefilter.program);
        for _ in 0..10 {
            let mut frame = packet(&mut random).bytes();
            frame.resize(frame.len() + random.below(600), 0);
            // Sockets of a pair have packets of type 0.
            let expected = run(&prefilter.program, &frame, 0).min(frame.len() as u32);
            assert_eq!(kernel.taken(&frame), expected, "{frame:02x?}");
        }
    }
    Kernel::new(&long(150).prefilter(&OwnTraffic::default(), PrefilterSettings::default()).program);
}
