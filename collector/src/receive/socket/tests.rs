use super::*;

fn settings() -> ReceiveSettings {
    ReceiveSettings { buffer_bytes: 1 << 20, ..ReceiveSettings::default() }
}

fn listener(address: &str) -> Listener {
    Listener::Vxlan(address.parse().unwrap())
}

#[test]
fn all_workers_share_the_port_that_the_first_one_got() {
    let (sockets, address, _) = open_group(listener("127.0.0.1:0"), 3, &settings(), SteerHash::new(1)).unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(sockets.len(), 3);
    for socket in &sockets {
        assert_eq!(socket.socket.local_addr().unwrap(), address);
        assert!(socket.buffer_bytes > 0);
    }
}

#[test]
fn a_port_in_use_is_told_though_the_port_could_be_shared() {
    let (_held, address, _) = open_group(listener("127.0.0.1:0"), 2, &settings(), SteerHash::new(1)).unwrap();
    let error = open_group(Listener::Vxlan(address), 2, &settings(), SteerHash::new(1)).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&format!("vxlan://{address}")), "{error}");
}

#[test]
fn an_address_of_another_machine_is_refused_by_name() {
    let error = open_group(listener("192.0.2.1:4789"), 1, &settings(), SteerHash::new(1)).unwrap_err();
    assert!(error.to_string().starts_with("cannot listen on vxlan://192.0.2.1:4789: bind the address: "), "{error}");
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted_once() {
    let (mut sockets, address, _) = open_group(
        listener("127.0.0.1:0"),
        1,
        &ReceiveSettings { buffer_bytes: 4096, ..settings() },
        SteerHash::new(1),
    )
    .unwrap();
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
        received += batch.datagrams().count() as u64;
    }
    let dropped = sockets[0].new_kernel_drops();
    assert!(received > 0 && dropped > 0);
    assert_eq!(received + dropped, sent);
    assert_eq!(sockets[0].new_kernel_drops(), 0);
}
