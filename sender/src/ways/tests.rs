use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Devices, and the routes to addresses by the index of their device. Who comes from port 2 takes the second route to an address.
struct Host {
    address: IpAddr,
    devices: Vec<Device>,
    routes: Vec<(&'static str, u32)>,
}

impl Network for Host {
    fn route(&mut self, source: Option<SocketAddr>, destination: SocketAddr) -> io::Result<Option<u32>> {
        if source.is_some_and(|source| source.ip() != self.address) {
            return Ok(None);
        }
        let to = destination.ip().to_string();
        let mut routes = self.routes.iter().filter(|(address, _)| *address == to).map(|(_, device)| *device);
        let first = routes.next();
        Ok(if source.is_some_and(|source| source.port() == 2) { routes.next().or(first) } else { first })
    }

    fn device(&mut self, index: u32) -> io::Result<Device> {
        self.devices.iter().find(|device| device.index == index).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn device(index: u32, name: &str, kind: &str) -> Device {
    Device { index, name: name.to_owned(), kind: kind.to_owned(), ..Device::default() }
}

/// A host whose way to 10.9.0.2 begins with device 2, and to 192.0.2.1 with device 1, which is hardware.
fn host(devices: Vec<Device>) -> Host {
    let all = [vec![device(1, "eth0", "")], devices].concat();
    Host { address: [10, 9, 0, 1].into(), devices: all, routes: vec![("10.9.0.2", 2), ("192.0.2.1", 1)] }
}

fn check(host: Host, captured: &[&str], tunnels: &[&str]) -> Result<(), HiddenWay> {
    let mut ways = Ways {
        network: Some(Box::new(host)),
        captured: captured.iter().map(ToString::to_string).collect(),
        tunnels: tunnels.iter().map(|text| text.parse().unwrap()).collect(),
        is_trouble_told: false,
    };
    let sources = [1, 2].map(|port| SocketAddr::from(([10, 9, 0, 1], port)));
    ways.check(&sources, "10.9.0.2:4789".parse().unwrap())
}

impl Ways {
    /// Ways that all go through a VPN while that is up; `eth0` is captured.
    pub(crate) fn through_vpn_while(is_up: &Arc<AtomicBool>) -> Self {
        struct Vpn(Arc<AtomicBool>);
        impl Network for Vpn {
            fn route(&mut self, _: Option<SocketAddr>, _: SocketAddr) -> io::Result<Option<u32>> {
                Ok(Some(if self.0.load(Ordering::Relaxed) { 2 } else { 1 }))
            }

            fn device(&mut self, index: u32) -> io::Result<Device> {
                Ok(if index == 1 { device(1, "eth0", "") } else { device(2, "wg0", "wireguard") })
            }
        }
        let network: Box<dyn Network + Send> = Box::new(Vpn(Arc::clone(is_up)));
        Self { network: Some(network), captured: vec!["eth0".to_owned()], tunnels: Vec::new(), is_trouble_told: false }
    }
}

#[test]
fn a_way_through_a_tunnel_that_hides_what_it_carries_is_refused_with_what_to_do() {
    for kind in HIDING {
        let hidden = check(host(vec![device(2, "vpn0", kind)]), &["eth0"], &[]).unwrap_err();
        assert_eq!((hidden.device.as_str(), hidden.kind.as_str()), ("vpn0", kind));
    }
    let hidden = check(host(vec![device(2, "wg0", "wireguard")]), &["eth0", "wg0", "lo"], &[]).unwrap_err();
    assert_eq!(
        hidden.to_string(),
        "copies to 10.9.0.2:4789 go through wg0 (wireguard), which hides what it carries: where its packets cross eth0, lo, each copy \
         would be captured and sent again, without end. Say where wg0 sends to, which is then not captured (--tunnel wg0=ADDRESS), or \
         that its packets do not cross what is captured, or are in the clear (--tunnel wg0=none)"
    );
}

#[test]
fn where_this_host_has_another_address_than_copies_came_from_a_tunnel_on_the_way_is_seen_all_the_same() {
    let renumbered = Host { address: [10, 9, 0, 7].into(), ..host(vec![device(2, "wg0", "wireguard")]) };
    assert_eq!(check(renumbered, &["eth0"], &[]).unwrap_err().device, "wg0");
}

#[test]
fn hardware_overlays_in_the_clear_and_stacked_devices_are_no_obstacle() {
    for kind in ["", "vxlan", "geneve", "gre", "gretap", "ipip", "sit", "ip6tnl", "veth", "bridge", "vlan"] {
        let above = Device { below: Some(1), far_end: Some([192, 0, 2, 1].into()), ..device(2, "dev0", kind) };
        assert_eq!(check(host(vec![above]), &["eth0", "dev0"], &[]), Ok(()), "{kind}");
    }
}

#[test]
fn a_tunnel_that_alone_is_captured_hides_nothing_there() {
    assert_eq!(check(host(vec![device(2, "tun0", "tun")]), &["tun0"], &[]), Ok(()));
}

#[test]
fn a_tunnel_that_was_told_of_is_followed_to_its_far_end() {
    let vpn = || device(2, "tun0", "tun");
    assert_eq!(check(host(vec![vpn()]), &["eth0"], &["tun0=192.0.2.1"]), Ok(()));
    assert_eq!(check(host(vec![vpn()]), &["eth0"], &["tun0=none"]), Ok(()));
    assert!(check(host(vec![vpn()]), &["eth0"], &["tun1=192.0.2.1"]).is_err());
    let mut nested = host(vec![vpn(), device(3, "wg0", "wireguard")]);
    nested.routes.push(("198.51.100.7", 3));
    let hidden = check(nested, &["eth0"], &["tun0=192.0.2.1,198.51.100.7"]).unwrap_err();
    assert_eq!(hidden.device, "wg0");
}

#[test]
fn what_is_below_an_overlay_is_found_by_its_far_end_or_its_device() {
    let overlay = |far_end: Option<[u8; 4]>, below| Device {
        far_end: far_end.map(IpAddr::from),
        below,
        ..device(2, "vxlan7", "vxlan")
    };
    let vpn = device(3, "wg0", "wireguard");
    let mut host_by_route = host(vec![overlay(Some([198, 51, 100, 7]), None), vpn.clone()]);
    host_by_route.routes.push(("198.51.100.7", 3));
    assert_eq!(check(host_by_route, &["eth0"], &[]).unwrap_err().device, "wg0");
    assert_eq!(check(host(vec![overlay(None, Some(3)), vpn]), &["eth0"], &[]).unwrap_err().device, "wg0");
}

#[test]
fn each_source_port_may_have_a_way_of_its_own() {
    let mut two_ways = host(vec![device(2, "eth1", ""), device(3, "wg0", "wireguard")]);
    two_ways.routes.push(("10.9.0.2", 3));
    assert_eq!(check(two_ways, &["eth0"], &[]).unwrap_err().device, "wg0");
}

#[test]
fn ways_in_a_circle_no_way_and_a_kernel_that_does_not_answer_end_the_look() {
    let mut circle = host(vec![Device { far_end: Some([10, 9, 0, 2].into()), ..device(2, "gre1", "gre") }]);
    assert_eq!(check(Host { devices: circle.devices.clone(), ..host(vec![]) }, &["eth0"], &[]), Ok(()));
    circle.routes.clear();
    assert_eq!(check(circle, &["eth0"], &[]), Ok(()));
    assert_eq!(check(host(vec![]), &["eth0"], &[]), Ok(()));
}

#[test]
fn a_tunnel_is_a_device_and_its_far_ends() {
    let tunnel: Tunnel = "wg0=192.0.2.1,2001:db8::1".parse().unwrap();
    assert_eq!((tunnel.device.as_str(), tunnel.far_ends.len()), ("wg0", 2));
    assert_eq!("tun0=none".parse::<Tunnel>().unwrap().far_ends, Vec::<IpAddr>::new());
    for wrong in
        ["", "wg0", "=192.0.2.1", "wg0=", "wg0=host", "wg0=192.0.2.1:51820", "wg0=192.0.2.1,", "wg0=none,192.0.2.1"]
    {
        assert!(wrong.parse::<Tunnel>().unwrap_err().contains("DEVICE=ADDRESS"), "{wrong}");
    }
}
