//! In a network namespace of its own, whose devices and addresses go and come.
#![allow(unsafe_code)]

use std::process::Command;

use super::*;

/// Runs `test` where there is nothing but the device `a0`, with an address of either family, and the other end of its cable.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        // SAFETY: no pointers; it concerns this thread, which ends with the test.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let no_skip = std::env::var("VXTAP_NO_SKIP").unwrap_or_default();
            let forbidden = no_skip == "1" || no_skip.split(',').any(|need| need == "root");
            assert!(!forbidden, "VXTAP_NO_SKIP is set, and this needs root");
            println!("skipped: this needs root, for a network namespace");
            return;
        }
        ip("link add a0 type veth peer name b0");
        ip("link set b0 up");
        ip("link set a0 up");
        add_address(1);
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().expect("the program ip");
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn add_address(host: u8) {
    ip(&format!("addr add 10.9.0.{host}/24 dev a0"));
    ip(&format!("addr add fd09::{host}/64 dev a0 nodad"));
}

fn remove_address(host: u8) {
    ip(&format!("addr del 10.9.0.{host}/24 dev a0"));
    ip(&format!("addr del fd09::{host}/64 dev a0"));
}

const TARGETS: [&str; 2] = ["10.9.0.2:4789", "[fd09::2]:4789"];

fn links() -> [Link; 2] {
    let settings = LinkSettings {
        source_ports: 3,
        source_port_base: 50_000,
        udp_checksum: true,
        method: Method::Batches,
        waits: false,
    };
    TARGETS.map(|target| Link::open(settings, target.parse().unwrap()).unwrap())
}

/// Lets each link look at its way.
fn look(links: &mut [Link], now: &mut Instant) {
    *now += WAY_REFRESH;
    for link in links {
        link.begin(*now);
    }
}

fn carried(links: &[Link]) -> Vec<u32> {
    links.iter().map(|link| link.max_frame(8)).collect()
}

/// Waits until the kernel has taken the device, which is down, out of the way that the sockets know.
fn wait_until_forgotten(link: &Link) {
    let until = Instant::now() + Duration::from_secs(20);
    while link.socket(0).path_mtu().is_ok_and(|mtu| mtu == 1500) {
        assert!(Instant::now() < until, "a device that is down goes on carrying");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_way_that_was_down_for_a_while_carries_as_much_as_before_on_all_ports() {
    in_namespace(|| {
        let (mut links, mut now) = (links(), Instant::now());
        let before = [1500 - 28 - 8, 1500 - 48 - 8];
        assert_eq!(carried(&links), before);
        ip("link set a0 down");
        wait_until_forgotten(&links[0]);
        look(&mut links, &mut now);
        ip("link set a0 up");
        // IPv6 takes the addresses of a device that is down away.
        ip("addr replace fd09::1/64 dev a0 nodad");
        look(&mut links, &mut now);
        assert_eq!(carried(&links), before);
        // One port finds the way by itself, with its next datagram; the others do not.
        ip("link set a0 down");
        wait_until_forgotten(&links[0]);
        ip("link set a0 up");
        ip("addr replace fd09::1/64 dev a0 nodad");
        for link in &links {
            link.socket(1).connect_again(link.target).unwrap();
        }
        look(&mut links, &mut now);
        assert_eq!(carried(&links), before);
        ip("link set a0 mtu 1400");
        look(&mut links, &mut now);
        assert_eq!(carried(&links), before.map(|len| len - 100), "less is heeded where it is true");
        ip("link set a0 mtu 1500");
        look(&mut links, &mut now);
        assert_eq!(carried(&links), before);
    });
}

#[test]
fn where_the_address_that_copies_come_from_is_gone_they_come_from_another_by_the_same_ports() {
    in_namespace(|| {
        let (mut links, mut now) = (links(), Instant::now());
        let ports = links.each_ref().map(Link::source_ports);
        remove_address(1);
        look(&mut links, &mut now);
        for link in &links {
            assert!(link.is_down(), "there is no way");
        }
        add_address(7);
        look(&mut links, &mut now);
        for (link, address) in links.iter().zip(["10.9.0.7", "fd09::7"]) {
            let address: IpAddr = address.parse().unwrap();
            assert!(link.sockets().iter().all(|socket| socket.ip() == address), "{:?}", link.sockets());
        }
        assert_eq!(links.each_ref().map(Link::source_ports), ports);
        // As above, but the next address is there before anybody has looked.
        remove_address(7);
        add_address(8);
        look(&mut links, &mut now);
        for (link, address) in links.iter().zip(["10.9.0.8", "fd09::8"]) {
            let address: IpAddr = address.parse().unwrap();
            assert!(link.sockets().iter().all(|socket| socket.ip() == address), "{:?}", link.sockets());
        }
        look(&mut links, &mut now);
        look(&mut links, &mut now);
        for link in &mut links {
            assert_eq!(link.admit(), Ok(()));
        }
    });
}
