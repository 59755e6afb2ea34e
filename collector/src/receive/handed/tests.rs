use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use super::*;

fn group(count: usize) -> (Vec<OwnedFd>, SocketAddr) {
    let mut address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let sockets = (0..count).map(|_| {
        let socket = Socket::new(socket2::Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        address = socket.local_addr().unwrap().as_socket().unwrap();
        OwnedFd::from(socket)
    });
    let sockets = sockets.collect();
    (sockets, address)
}

fn named(sockets: Vec<OwnedFd>, name: impl Fn(usize) -> String) -> Vec<(String, OwnedFd)> {
    sockets.into_iter().enumerate().map(|(number, socket)| (name(number), socket)).collect()
}

#[test]
fn the_environment_is_read_as_the_protocol_says() {
    let with = |pairs: &'static [(&str, &str)]| {
        let lookup = move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        names(lookup, 77).map_err(|error| error.to_string())
    };
    let none = Ok(Vec::new());
    assert_eq!(with(&[]), none);
    assert_eq!(with(&[("LISTEN_FDS", "2")]), none);
    assert_eq!(with(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "78")]), none, "for another process");
    assert_eq!(with(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "seventy")]), none);
    assert_eq!(with(&[("LISTEN_FDS", "0"), ("LISTEN_PID", "77"), ("LISTEN_FDNAMES", "")]), none);
    let two = |one: &str, two: &str| Ok(vec![one.to_owned(), two.to_owned()]);
    assert_eq!(with(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "77")]), two("unknown", "unknown"));
    let named = [("LISTEN_FDS", "2"), ("LISTEN_PID", "77"), ("LISTEN_FDNAMES", "data:he\x1balth")];
    let lookup = |name: &str| named.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
    assert_eq!(names(lookup, 77).map_err(|error| error.to_string()), two("data", "he\\u{1b}alth"));
    let few = with(&[("LISTEN_FDS", "3"), ("LISTEN_PID", "77"), ("LISTEN_FDNAMES", "a:b")]).unwrap_err();
    assert!(few.ends_with("LISTEN_FDNAMES is 'a:b': expected 3 names with colons between them"), "{few}");
    for count in ["", "-1", "4097", "99999999999999999999"] {
        let lookup = |name: &str| match name {
            "LISTEN_PID" => Some("77".into()),
            "LISTEN_FDS" => Some(count.into()),
            _ => None,
        };
        assert!(matches!(names(lookup, 77), Err(HandedError::Variable { .. })), "{count}");
    }
}

#[test]
fn datagram_sockets_are_found_by_their_address_and_streams_by_their_name() {
    let (sockets, address) = group(3);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let served = listener.local_addr().unwrap();
    let mut all = named(sockets, |_| "data".to_owned());
    all.push(("health".to_owned(), listener.into()));
    let mut handed = Handed::of(all).unwrap();
    assert!(handed.listener("api").is_none());
    assert_eq!(handed.listener("health").unwrap().local_addr().unwrap(), served);
    assert!(handed.datagrams("127.0.0.1:1".parse().unwrap()).unwrap().is_empty());
    let found = handed.datagrams(address).unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|socket| socket.local_addr().unwrap().as_socket() == Some(address)));
    assert!(handed.finish().unwrap().is_empty());
}

#[test]
fn sockets_that_were_kept_come_in_the_order_in_which_they_were_bound() {
    let (sockets, address) = group(12);
    let marks: Vec<u64> = (0..12).collect();
    for (socket, mark) in sockets.iter().zip(&marks) {
        // Something that tells them apart: their receive buffers.
        socket2::SockRef::from(socket).set_recv_buffer_size(10_000 + 1000 * *mark as usize).unwrap();
    }
    let mut all = named(sockets, |number| kept_name(number, address));
    all.reverse();
    let found = Handed::of(all).unwrap().datagrams(address).unwrap();
    let buffers: Vec<usize> = found.iter().map(|socket| socket.recv_buffer_size().unwrap()).collect();
    assert!(buffers.is_sorted() && buffers.len() == 12, "{buffers:?}");
}

#[test]
fn what_was_kept_for_a_listener_that_is_no_more_is_named_to_be_forgotten() {
    let (sockets, address) = group(2);
    let handed = Handed::of(named(sockets, |number| kept_name(number, address))).unwrap();
    let port = address.port();
    let names = [format!("vxtap-data-0-127.0.0.1_{port}"), format!("vxtap-data-1-127.0.0.1_{port}")];
    assert_eq!(handed.finish().unwrap(), names);
}

#[test]
fn a_socket_that_nobody_reads_is_refused_by_name() {
    let (sockets, _) = group(1);
    let error = Handed::of(named(sockets, |_| "mirror".to_owned())).unwrap().finish().unwrap_err().to_string();
    assert!(error.starts_with("socket 'mirror' on 127.0.0.1:") && error.contains("--listen"), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = Handed::of(vec![("web".to_owned(), listener.into())]).unwrap().finish().unwrap_err().to_string();
    assert!(error.contains("FileDescriptorName="), "{error}");
}

#[test]
fn sockets_of_other_kinds_are_refused() {
    let refused = |fd: OwnedFd| Handed::of(vec![("data".to_owned(), fd)]).unwrap_err().to_string();
    let unix = refused(UnixDatagram::unbound().unwrap().into());
    assert_eq!(unix, "cannot take over socket 'data' (descriptor 3): it is neither IPv4 nor IPv6");
    let unbound = Socket::new(socket2::Domain::IPV4, Type::DGRAM, None).unwrap();
    assert!(refused(unbound.into()).ends_with("it is not bound to a port"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(refused(connected.into()).ends_with("nor a TCP socket that listens"));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(refused(file.into()).contains("descriptor 3"));
}

#[test]
fn several_sockets_on_one_address_must_be_a_group() {
    let first = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    // The same socket twice: the only way to have two on an address that is not shared.
    let second = first.try_clone().unwrap();
    let sockets = vec![("data".to_owned(), first.into()), ("data".to_owned(), second.into())];
    let error = Handed::of(sockets).unwrap().datagrams(address).unwrap_err().to_string();
    assert!(error.contains("ReusePort=yes"), "{error}");
}
