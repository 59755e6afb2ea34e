use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::*;

const UDP_SEGMENT: libc::c_int = 103;

fn pair(address: &str) -> (UdpSocket, UdpSocket) {
    let receiver = UdpSocket::bind((address, 0)).unwrap();
    let sender = UdpSocket::bind((address, 0)).unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    (receiver, sender)
}

/// Everything that arrives until `count` datagrams have.
fn take(batch: &mut Batch, receiver: &UdpSocket, count: usize) -> Vec<(IpAddr, Vec<u8>)> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} datagrams came", taken.len());
        batch.receive(receiver.as_fd()).unwrap();
        taken.extend(batch.datagrams().map(|datagram| (datagram.source, datagram.payload.to_vec())));
    }
    taken
}

#[test]
fn datagrams_of_every_length_come_whole_and_in_order() {
    for address in ["127.0.0.1", "::1"] {
        let (receiver, sender) = pair(address);
        let lengths = [0, 1, 8, 1450, 9001, 65_000, 0, 3];
        for length in lengths {
            sender.send(&vec![length as u8; length]).unwrap();
        }
        let taken = take(&mut Batch::new(), &receiver, lengths.len());
        assert_eq!(taken.iter().map(|(_, payload)| payload.len()).collect::<Vec<_>>(), lengths);
        assert!(taken.iter().all(|(source, _)| *source == address.parse::<IpAddr>().unwrap()));
    }
}

#[test]
fn more_datagrams_than_a_batch_holds_come_in_several() {
    let (receiver, sender) = pair("127.0.0.1");
    for number in 0..MESSAGES * 2 {
        sender.send(&number.to_be_bytes()).unwrap();
    }
    let mut batch = Batch::new();
    assert!(batch.receive(receiver.as_fd()).unwrap(), "a full batch says that there may be more");
    assert_eq!(batch.datagrams().count(), MESSAGES);
    take(&mut batch, &receiver, MESSAGES);
    assert!(!batch.receive(receiver.as_fd()).unwrap());
    assert!(batch.is_empty());
}

#[test]
fn an_ipv4_sender_to_a_socket_of_both_families_is_shown_as_ipv4() {
    let receiver = UdpSocket::bind("[::]:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"x", ("127.0.0.1", receiver.local_addr().unwrap().port())).unwrap();
    let taken = take(&mut Batch::new(), &receiver, 1);
    assert_eq!(taken, [("127.0.0.1".parse().unwrap(), b"x".to_vec())]);
}

#[test]
fn a_train_is_taken_apart_into_its_datagrams() {
    let (receiver, sender) = pair("127.0.0.1");
    set(&receiver, UDP_GRO, 1);
    set(&sender, UDP_SEGMENT, 1000);
    let payload: Vec<u8> = (0..10_500u32).map(|byte| (byte / 1000) as u8).collect();
    sender.send(&payload).unwrap();
    let mut batch = Batch::new();
    let taken = take(&mut batch, &receiver, 11);
    let lengths: Vec<usize> = taken.iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(lengths, [vec![1000; 10], vec![500]].concat());
    for (number, (_, payload)) in taken.iter().enumerate() {
        assert!(payload.iter().all(|byte| usize::from(*byte) == number), "datagram {number}");
    }
}

#[test]
fn the_kernels_time_is_given_where_it_is_asked_for() {
    let (receiver, sender) = pair("127.0.0.1");
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let mut batch = Batch::new();
    sender.send(b"x").unwrap();
    take(&mut batch, &receiver, 1);
    assert_eq!(batch.datagrams().next().unwrap().time_ns, None);
    let before = now();
    // SAFETY: the value is a live c_int and its size is given.
    let result = unsafe {
        let on: libc::c_int = 1;
        libc::setsockopt(
            receiver.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
    // The kernel switches time stamps on a moment later: ask until one comes.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        assert!(Instant::now() < deadline, "no time stamp came");
        sender.send(b"x").unwrap();
        take(&mut batch, &receiver, 1);
        if let Some(time_ns) = batch.datagrams().next().and_then(|datagram| datagram.time_ns) {
            assert!((before..=now()).contains(&time_ns));
            break;
        }
    }
}

fn set(socket: &UdpSocket, option: libc::c_int, value: libc::c_int) {
    // SAFETY: the value is a live c_int and its size is given.
    let result = unsafe {
        libc::setsockopt(
            SockRef::from(socket).as_raw_fd(),
            libc::SOL_UDP,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
