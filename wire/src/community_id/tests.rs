use std::net::IpAddr;

use crate::captures;
use crate::flow::{FiveTuple, IpVersion, protocol};
use crate::frame::icmp_counterpart;

use super::community_id;

/// The specification's baseline: protocol, ends with ports (ICMP: type and counterpart or code), and the identifier with
/// seed 0 and with seed 1. A line that ends in `two-way` holds for the packet in the other direction as well.
const BASELINE: &str = "\
58 fe80::200:86ff:fe05:80da 135 fe80::260:97ff:fe07:69ea 136 1:dGHyGvjMfljg6Bppwm3bg0LO8TY= 1:kHa1FhMYIT6Ym2Vm2AOtoOARDzY= two-way
58 fe80::260:97ff:fe07:69ea 135 fe80::200:86ff:fe05:80da 136 1:zavyT/cezQr1fmImYCwYnMXbgck= 1:2hSqmsDZ2kdcY9kbiUzOEBic0iM= two-way
58 3ffe:501:1800:2345::2 3 3ffe:507:0:1:200:86ff:fe05:80da 0 1:2ObVBgIn28oZvibYZhZMBgh7WdQ= 1:lVEtCZpYu84Xqaa++3lXFyuu2n4= one-way
58 3ffe:501:410:0:2c0:dfff:fe47:33e 1 3ffe:507:0:1:200:86ff:fe05:80da 4 1:hLZd0XGWojozrvxqE0dWB1iM6R0= 1:W8MHwXpWzpoSTD+cGcaJr4u0ys8= one-way
58 3ffe:507:0:1:200:86ff:fe05:80da 128 3ffe:501:0:1001::2 129 1:+TW+HtLHvV1xnGhV1lv7XoJrqQg= 1:GfZxjAkDk2MkegpBYHV6tadtFXQ= two-way
58 fe80::200:86ff:fe05:80da 133 ff02::2 134 1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0= 1:L7Ka0ZMYu+J3bL4ulW2PrqyXNo8= two-way
58 fe80::260:97ff:fe07:69ea 134 ff02::1 133 1:pkvHqCL88/tg1k4cPigmZXUtL00= 1:K/ee5UCqAMAQXDorP5nSa2CGLjc= two-way
1 192.168.0.89 8 192.168.0.1 0 1:X0snYXpgwiv9TZtqg64sgzUn6Dk= 1:03g6IloqVBdcZlPyX8r0hgoE7kA= two-way
1 10.0.0.1 11 10.0.0.2 0 1:YHxtAirCG//0OzkcVAukqKQN9xM= 1:XjUibYHaafLQ3pxQeiMI8g25q20= one-way
6 2001:470:e5bf:dead:4957:2174:e82c:4887 63943 2607:f8b0:400c:c03::1a 25 1:/qFaeAR+gFe1KYjMzVDsMv+wgU4= 1:eJYTW6AOzFLlSUoESovMjnu7rMw= two-way
132 192.168.170.8 7 192.168.170.56 7 1:MP2EtRCAUIZvTw6MxJHLV7N7JDs= 1:5w3ZRjeKBzqT3zsaEECDGjUbYeg= two-way
6 128.232.110.120 34855 66.35.250.204 80 1:LQU9qZlK+B5F3KDmev6m5PMibrg= 1:3V71V58M3Ksw/yuFALMcW0LAHvc= two-way
17 192.168.1.52 54585 8.8.8.8 53 1:d/FP5EW3wiY1vCndhwleRRKHowQ= 1:Q9We8WO3piVF8yEQBNJF4uiSVrI= two-way
46 10.1.12.1 0 10.1.12.2 0 1:KHlLkgoJW7ifUTyTSgyVfkFHzKw= 1:rYir8gphR31noO9iDRQmF/BteEI= two-way";

fn tuple(source: &str, destination: &str, ports: (u16, u16), protocol: u8) -> FiveTuple {
    let (source, destination): (IpAddr, IpAddr) = (source.parse().unwrap(), destination.parse().unwrap());
    FiveTuple {
        source: source.into(),
        destination: destination.into(),
        source_port: ports.0,
        destination_port: ports.1,
        protocol,
        version: if source.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 },
    }
}

fn text(seed: u16, tuple: &FiveTuple) -> String {
    String::from_utf8(community_id(seed, tuple).to_vec()).unwrap()
}

#[test]
fn the_baseline_of_the_specification_is_met() {
    for line in BASELINE.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let ports = (fields[2].parse().unwrap(), fields[4].parse().unwrap());
        let tuple = tuple(fields[1], fields[3], ports, fields[0].parse().unwrap());
        assert_eq!([text(0, &tuple), text(1, &tuple)], [fields[5], fields[6]], "{line}");
        if fields[7] == "two-way" {
            assert_eq!(text(0, &tuple.reversed()), fields[5], "{line}");
        } else {
            // The same message sent the other way is another flow.
            let back = FiveTuple { source: tuple.destination, destination: tuple.source, ..tuple };
            assert_ne!(text(0, &back), fields[5], "{line}");
        }
    }
}

#[test]
fn udp_lite_has_no_ports_since_the_specification_does_not_list_it() {
    let of = |ports| text(0, &tuple("192.0.2.1", "192.0.2.2", ports, protocol::UDP_LITE));
    assert_eq!(of((1, 2)), of((0, 0)));
}

#[test]
fn identifiers_are_those_that_suricata_gives() {
    let Some(captures) = captures::ethernet() else { return };
    let mut compared = 0;
    for capture in captures {
        let Ok(events) = std::fs::read_to_string(capture.expected.join("suricata_eve.json")) else { continue };
        for line in events.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let Some(theirs) = event["community_id"].as_str() else { continue };
            let (source, destination) = (event["src_ip"].as_str().unwrap(), event["dest_ip"].as_str().unwrap());
            let version = if source.contains(':') { IpVersion::V6 } else { IpVersion::V4 };
            let number = |name: &str| event[name].as_u64().unwrap() as u16;
            let (protocol, ports) = match event["proto"].as_str().unwrap() {
                "TCP" => (protocol::TCP, (number("src_port"), number("dest_port"))),
                "UDP" => (protocol::UDP, (number("src_port"), number("dest_port"))),
                name @ ("ICMP" | "IPv6-ICMP") => {
                    let kind = number("icmp_type");
                    // It takes 0 in place of the code of a message that has no counterpart.
                    let counterpart = icmp_counterpart(version, kind as u8).map_or(0, u16::from);
                    (if name == "ICMP" { protocol::ICMP } else { protocol::ICMPV6 }, (kind, counterpart))
                }
                // It appends ports of 0 where the specification has none.
                "IP-in-IP" => continue,
                other => panic!("{other}: {line}"),
            };
            assert_eq!(text(0, &tuple(source, destination, ports, protocol)), theirs, "{}: {line}", capture.name);
            compared += 1;
        }
    }
    assert!(compared > 4000, "only {compared} events");
}
