//! The kernel takes the programs that we emit, and gives their verdicts.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;

use socket2::{SockFilter, SockRef};
use vxtap_filter::{BpfInstruction, Filter, Packet};
use vxtap_tests::captures::Captures;

use super::judge::{Frame, frames};
use super::verdicts::expressions;

const OUT_OF_MEMORY: i32 = 12;

/// Two ends of a local socket. The kernel runs the filter of the receiving end over each datagram before the sending
/// call is over, so a datagram that is not there then never comes.
struct Pair {
    sender: UnixDatagram,
    receiver: UnixDatagram,
}

impl Pair {
    fn new() -> Self {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        receiver.set_nonblocking(true).unwrap();
        Self { sender, receiver }
    }

    fn attach(&self, program: &[BpfInstruction]) -> std::io::Result<()> {
        let program: Vec<SockFilter> =
            program.iter().map(|one| SockFilter::new(one.code, one.jt, one.jf, one.k)).collect();
        SockRef::from(&self.receiver).attach_filter(&program)
    }

    fn lets_through(&self, frame: &[u8]) -> bool {
        let mut arrived = [0; 16];
        assert_eq!(self.sender.send(frame).unwrap(), frame.len());
        match self.receiver.recv(&mut arrived) {
            Ok(len) => {
                assert_eq!(&arrived[..len], &frame[..len]);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_kernel_runs_the_programs_with_the_same_verdicts() {
    let Some(captures) = Captures::open() else { return };
    let frames = frames(&captures);
    let step = frames.len() / 300;
    let whole = frames.iter().step_by(step).map(|frame| frame.bytes.clone());
    let cut = frames
        .iter()
        .step_by(step * 10)
        .flat_map(|frame| (14..frame.bytes.len().min(60)).step_by(7).map(|len| frame.bytes[..len].to_vec()));
    let sample: Vec<Frame> = whole
        .chain(cut)
        .filter(|bytes| !bytes.is_empty() && bytes.len() < 60_000)
        .map(|bytes| Frame { wire_len: bytes.len() as u32, bytes })
        .collect();
    let pair = Pair::new();
    let (mut programs, mut through) = (0, 0);
    for expression in expressions() {
        let filter = Filter::parse(&expression).unwrap();
        let Ok(program) = filter.program(u32::MAX) else { continue };
        match pair.attach(&program) {
            Ok(()) => programs += 1,
            // How much a socket's filter may take is a setting of the machine (net.core.optmem_max).
            Err(error) if error.raw_os_error() == Some(OUT_OF_MEMORY) && program.len() > 500 => continue,
            Err(error) => panic!("{expression:.200}: {error}"),
        }
        for frame in &sample {
            let packet = Packet { frame: &frame.bytes, wire_len: frame.wire_len, ..Packet::default() };
            let want = filter.matches(&packet);
            assert_eq!(pair.lets_through(&frame.bytes), want, "{expression:.200}: {:02x?}", frame.bytes);
            through += usize::from(want);
        }
    }
    println!("{programs} programs in the kernel, {} frames each, {through} let through", sample.len());
    assert!(programs > 600 && through > 10_000, "{programs} programs, {through} let through");
}

#[test]
fn a_filter_that_asks_for_the_mirror_tunnel_has_no_program() {
    for filter in
        ["vni 5", "tcp and network blue", "not outer src 10.0.0.1", "ip6 protochain 6", "ether[0xfffff000] = 1"]
    {
        assert!(Filter::parse(filter).unwrap().program(1).is_err(), "{filter}");
    }
}
