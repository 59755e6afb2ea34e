use super::*;

fn settings() -> ReceiveSettings {
    ReceiveSettings { buffer_bytes: 1 << 20, ..ReceiveSettings::default() }
}

/// A group of which nothing was handed over.
fn open(
    listener: UdpListener,
    workers: u32,
    settings: &ReceiveSettings,
    steer: SteerHash,
) -> Result<Group, ListenError> {
    open_group(listener, workers, settings, steer, Vec::new())
}

fn listener(address: &str) -> UdpListener {
    UdpListener { kind: Kind::Vxlan, address: address.parse().unwrap() }
}

#[test]
fn a_free_port_is_never_that_of_another_group() {
    // By chance a pair of so many would have the same one of 28,000.
    let groups: Vec<Group> =
        (0..250).map(|_| open(listener("127.0.0.1:0"), 1, &settings(), SteerHash::new(1)).unwrap()).collect();
    let ports: std::collections::HashSet<u16> = groups.iter().map(|group| group.address.port()).collect();
    assert_eq!(ports.len(), groups.len());
}

#[test]
fn all_workers_share_the_port_that_the_first_one_got() {
    let Group { sockets, address, .. } = open(listener("127.0.0.1:0"), 3, &settings(), SteerHash::new(1)).unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(sockets.len(), 3);
    for socket in &sockets {
        assert_eq!(socket.socket.local_addr().unwrap(), address);
        assert!(socket.buffer_bytes > 0);
    }
}

#[test]
fn a_port_in_use_is_told_though_the_port_could_be_shared() {
    let held = open(listener("127.0.0.1:0"), 2, &settings(), SteerHash::new(1)).unwrap();
    let address = held.address;
    let error = open(UdpListener { kind: Kind::Vxlan, address }, 2, &settings(), SteerHash::new(1)).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&format!("vxlan://{address}")), "{error}");
}

#[test]
fn an_address_of_another_machine_is_refused_by_name() {
    let error = open(listener("192.0.2.1:4789"), 1, &settings(), SteerHash::new(1)).unwrap_err();
    assert!(error.to_string().starts_with("cannot listen on vxlan://192.0.2.1:4789: bind the address: "), "{error}");
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted_once() {
    let settings = ReceiveSettings { buffer_bytes: 4096, gro: false, ..settings() };
    let Group { mut sockets, address, .. } = open(listener("127.0.0.1:0"), 1, &settings, SteerHash::new(1)).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sent = 200;
    for _ in 0..sent {
        sender.send_to(&[0; 1000], address).unwrap();
    }
    let mut batch = crate::receive::Batch::new();
    let mut received = 0;
    loop {
        batch.receive(sockets[0].fd()).unwrap();
        if batch.is_empty() {
            break;
        }
        let datagrams = batch.datagrams().count() as u64;
        sockets[0].note_received(batch.messages(), datagrams);
        received += datagrams;
    }
    sockets[0].look();
    let dropped = sockets[0].drops().counted;
    assert!(received > 0 && dropped > 0);
    assert_eq!(received + dropped, sent);
    sockets[0].look();
    assert_eq!(sockets[0].drops(), KernelDrops { counted: dropped, trains: 0 });
}

/// An Ethernet frame with an IPv4 TCP packet of flow `number`, one way or the other.
fn frame(number: u32, reply: bool) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
    let client = (number | 0x0a00_0000).to_be_bytes();
    let server = [192, 0, 2, (number % 7) as u8];
    let ports = ((1024 + number % 60_000) as u16, 443u16);
    let (from, to) =
        if reply { ((server, ports.1), (client, ports.0)) } else { ((client, ports.0), (server, ports.1)) };
    frame.extend([from.0, to.0].concat());
    frame.extend([from.1.to_be_bytes(), to.1.to_be_bytes()].concat());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}

/// A datagram of `kind` around it: GENEVE in turn around Ethernet, IP alone, and VXLAN as gateway load balancers have it, behind options
/// of each length.
fn datagram(kind: Kind, number: u32, reply: bool) -> Vec<u8> {
    let frame = frame(number, reply);
    let vxlan = [&[8, 0, 0, 0, 0, 0, 9, 0][..], &frame].concat();
    match (kind, number % 3) {
        (Kind::Vxlan, _) => vxlan,
        (Kind::VxlanGpe, 0) => [&[0x0c, 0, 0, 1, 0, 0, 9, 0][..], &frame[14..]].concat(),
        (Kind::VxlanGpe, _) => [&[0x0c, 0, 0, 3, 0, 0, 9, 0][..], &frame].concat(),
        (Kind::Geneve, nested) => {
            let words = number / 3 % 32;
            let options = match words {
                0 => vec![],
                words => [&[1, 8, 3, words as u8 - 1][..], &vec![0; words as usize * 4 - 4]].concat(),
            };
            let length = ((20 + 8 + vxlan.len()) as u16).to_be_bytes();
            let ip = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 9, 9, 10, 8, 8, 8];
            let udp = [&[0xc0, 0, 0x12, 0xb5][..], &((8 + vxlan.len()) as u16).to_be_bytes(), &[0, 0]].concat();
            let (kind, payload) = match nested {
                0 => ([0x65, 0x58], frame),
                1 => ([8, 0], frame[14..].to_vec()),
                _ => ([8, 0], [&ip[..], &udp, &vxlan].concat()),
            };
            [&[words as u8, 0, kind[0], kind[1], 0, 0, 9, 0][..], &options, &payload].concat()
        }
    }
}

#[test]
fn the_kernel_gives_ten_thousand_flows_to_their_owners_in_both_directions_however_they_are_encapsulated() {
    const WORKERS: u32 = 4;
    let hash = SteerHash::new(0xfeed_beef);
    for kind in [Kind::Vxlan, Kind::VxlanGpe, Kind::Geneve] {
        let listener = UdpListener { kind, ..listener("127.0.0.1:0") };
        let Group { sockets, address, steered } = open(listener, WORKERS, &settings(), hash).unwrap();
        assert!(steered, "the kernel did not take the program");
        // Two senders, so that nothing in the outer headers keeps the directions of a flow together.
        let senders = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut batch = crate::receive::Batch::new();
        let mut per_worker = [0u32; WORKERS as usize];
        for first in (0..10_000).step_by(100) {
            for number in first..first + 100 {
                senders[0].send_to(&datagram(kind, number, false), address).unwrap();
                senders[1].send_to(&datagram(kind, number, true), address).unwrap();
            }
            for (worker, socket) in sockets.iter().enumerate() {
                loop {
                    batch.receive(socket.fd()).unwrap();
                    if batch.is_empty() {
                        break;
                    }
                    for datagram in batch.datagrams() {
                        let rules = vxtap_wire::envelope::Rules::default();
                        let opened =
                            vxtap_wire::envelope::open(kind, datagram.payload, datagram.source, rules).unwrap();
                        let view = vxtap_wire::FrameView::parse_link(opened.link, opened.frame);
                        assert_eq!(hash.owner(&view.five_tuple.unwrap(), WORKERS), worker as u32, "{kind:?}");
                        per_worker[worker] += 1;
                    }
                }
            }
        }
        assert_eq!(per_worker.iter().sum::<u32>(), 20_000);
        assert!(per_worker.iter().all(|count| (4000..6000).contains(count)), "{per_worker:?}");
    }
}

/// Trains of ten datagrams, of which only some fit into the queue.
struct Trains {
    socket: ReceiveSocket,
    sender: UdpSocket,
    received: u64,
}

impl Trains {
    fn to(mut sockets: Vec<ReceiveSocket>, address: SocketAddr) -> Self {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(address).unwrap();
        set_option(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 1000).unwrap();
        Self { socket: sockets.swap_remove(0), sender, received: 0 }
    }

    fn send(&self, trains: usize) {
        for _ in 0..trains {
            self.sender.send(&[7; 10_000]).unwrap();
        }
    }

    /// Empties the queue and looks. Gives how many buffers came out.
    fn receive(&mut self) -> usize {
        let mut batch = crate::receive::Batch::new();
        let mut messages = 0;
        loop {
            batch.receive(self.socket.fd()).unwrap();
            if batch.is_empty() {
                self.socket.look();
                return messages;
            }
            assert!(batch.datagrams().all(|datagram| datagram.payload.len() == 1000));
            let datagrams = batch.datagrams().count() as u64;
            self.socket.note_received(batch.messages(), datagrams);
            self.received += datagrams;
            messages += batch.messages();
        }
    }
}

#[test]
fn a_train_comes_in_one_piece_unless_none_are_wanted() {
    for (gro, messages) in [(true, 1), (false, 10)] {
        let settings = ReceiveSettings { gro, ..settings() };
        let Group { sockets, address, .. } = open(listener("127.0.0.1:0"), 1, &settings, SteerHash::new(1)).unwrap();
        let mut trains = Trains::to(sockets, address);
        trains.send(1);
        assert_eq!((trains.receive(), trains.received), (messages, 10));
    }
}

#[test]
fn what_the_kernel_drops_of_trains_is_counted_to_the_datagram_as_soon_as_the_queue_is_empty() {
    let settings = ReceiveSettings { buffer_bytes: 64 << 10, ..settings() };
    let Group { sockets, address, .. } = open(listener("127.0.0.1:0"), 1, &settings, SteerHash::new(1)).unwrap();
    let mut trains = Trains::to(sockets, address);
    let counts = OfferCounter::attach(UdpSocket::bind("127.0.0.1:0").unwrap().as_fd()).is_ok();
    for round in 1..=3 {
        let before = trains.socket.drops().counted;
        trains.send(40);
        trains.socket.look();
        let now = trains.socket.drops();
        assert!(now.trains > 0 && now.counted - before < 40, "each train counts once until then: {now:?}");
        trains.receive();
        let KernelDrops { counted, trains: in_doubt } = trains.socket.drops();
        if counts {
            assert_eq!((trains.received + counted, in_doubt), (round * 400, 0));
        } else {
            assert_eq!(in_doubt, counted, "no privilege to count what comes");
        }
    }
    if !counts {
        eprintln!("skipped: what came is not counted, which takes CAP_BPF");
    }
}

#[test]
fn at_a_socket_that_is_taken_over_drops_of_trains_are_counted_once_its_queue_was_empty() {
    let (mut handed, address) = bound_by_a_manager(1);
    let listener = UdpListener { kind: Kind::Vxlan, address };
    let kept = handed[0].try_clone().unwrap();
    let settings = ReceiveSettings { buffer_bytes: 64 << 10, ..settings() };
    // What a run before this one left: trains, with trains on.
    set_option(kept.as_fd(), libc::SOL_UDP, UDP_GRO, 1).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    set_option(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 1000).unwrap();
    sender.send_to(&[7; 10_000], address).unwrap();
    let group = open_group(listener, 1, &settings, SteerHash::new(1), vec![handed.remove(0)]).unwrap();
    let mut trains = Trains::to(group.sockets, address);
    assert_eq!((trains.receive(), trains.received), (1, 10));
    trains.socket.look();
    trains.send(100);
    trains.receive();
    let KernelDrops { counted, trains: in_doubt } = trains.socket.drops();
    if OfferCounter::attach(kept.as_fd()).is_ok() {
        assert!(counted > 0);
        assert_eq!((trains.received + counted, in_doubt), (1010, 0));
    } else {
        assert_eq!(in_doubt, counted);
        eprintln!("skipped: what came is not counted, which takes CAP_BPF");
    }
}

/// A manager's sockets: bound, shared, and as many as it likes.
fn bound_by_a_manager(count: usize) -> (Vec<Socket>, SocketAddr) {
    let mut address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let sockets = (0..count).map(|_| {
        let socket = new_socket(address).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_recv_buffer_size(150_000).unwrap();
        socket.bind(&address.into()).unwrap();
        address = socket.local_addr().unwrap().as_socket().unwrap();
        socket
    });
    let sockets = sockets.collect();
    (sockets, address)
}

#[test]
fn sockets_that_were_handed_over_are_used_and_none_besides() {
    for count in [1, 3, 5] {
        let (handed, address) = bound_by_a_manager(count);
        let group =
            open_group(UdpListener { kind: Kind::Vxlan, address }, 3, &settings(), SteerHash::new(1), handed).unwrap();
        assert_eq!((group.sockets.len(), group.address), (count, address));
        assert_eq!(group.steered, count >= 3, "{count} sockets for 3 workers");
    }
}

#[test]
fn what_waits_in_a_socket_that_was_handed_over_is_received() {
    let (handed, address) = bound_by_a_manager(1);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..10 {
        sender.send_to(&[number], address).unwrap();
    }
    let group =
        open_group(UdpListener { kind: Kind::Vxlan, address }, 1, &settings(), SteerHash::new(1), handed).unwrap();
    let queue = group.sockets[0].queue();
    assert!(queue.state().unwrap().waiting);
    let mut batch = crate::receive::Batch::new();
    batch.receive(group.sockets[0].fd()).unwrap();
    let first: Vec<u8> = batch.datagrams().map(|datagram| datagram.payload[0]).collect();
    assert_eq!(first, (0..10).collect::<Vec<u8>>());
    assert!(!queue.state().unwrap().waiting);
    drop(group);
    assert_eq!(queue.state(), None, "looking keeps no socket open");
}

#[test]
fn a_larger_buffer_of_the_manager_stays() {
    let (handed, address) = bound_by_a_manager(1);
    let before = handed[0].recv_buffer_size().unwrap() as u64;
    let small = ReceiveSettings { buffer_bytes: 4096, ..settings() };
    let group = open_group(UdpListener { kind: Kind::Vxlan, address }, 1, &small, SteerHash::new(1), handed).unwrap();
    assert_eq!(group.sockets[0].buffer_bytes, before);
}
