//! A packet that is told by its five-tuple: `tcp 10.0.0.1:5 > 10.0.0.2:80`.

use std::net::IpAddr;
use std::str::FromStr as _;

use etherparse::{IpNumber, PacketBuilder};
use vxtap_wire::protocol;

use crate::policy::Protocol;

const EXPECTED: &str = "expected for example 'tcp 10.0.0.1:40000 > 10.0.0.2:80' or 'icmpv6 2001:db8::1 > 2001:db8::2'";

/// The frame of a packet as `text` tells it: the first one of its flow, with four bytes of payload.
pub(super) fn frame(text: &str) -> Result<Vec<u8>, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ([name, source, ">" | "->", destination] | [name, source, destination]) = words[..] else {
        return Err(EXPECTED.to_owned());
    };
    let protocol = Protocol::from_str(name).map_err(|()| format!("'{name}' is no protocol ({EXPECTED})"))?;
    let (source, source_port) = end(source, protocol)?;
    let (destination, destination_port) = end(destination, protocol)?;
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => link.ipv4(source.octets(), destination.octets(), 64),
        (IpAddr::V6(source), IpAddr::V6(destination)) => link.ipv6(source.octets(), destination.octets(), 64),
        _ => return Err("source and destination are of two families, which no packet has".to_owned()),
    };
    let payload = *b"data";
    let mut frame = Vec::new();
    let written = match protocol.0 {
        protocol::TCP => packet.tcp(source_port, destination_port, 1, 65_535).syn().write(&mut frame, &payload),
        protocol::UDP => packet.udp(source_port, destination_port).write(&mut frame, &payload),
        other => {
            // Ports first, where there are some; otherwise an echo request, or what nobody looks into.
            let mut header = match (other, source) {
                (protocol::ICMPV6, IpAddr::V6(_)) => vec![128, 0, 0, 0],
                (protocol::ICMP, IpAddr::V4(_)) => vec![8, 0, 0, 0],
                _ => [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat(),
            };
            header.extend([0; 8]);
            packet.write(&mut frame, IpNumber(other), &header)
        }
    };
    written.map_err(|error| error.to_string())?;
    Ok(frame)
}

/// An address and its port; brackets stand around an IPv6 address in front of a port.
fn end(text: &str, protocol: Protocol) -> Result<(IpAddr, u16), String> {
    if let Ok(address) = text.parse() {
        return if protocol.has_ports() { Err(format!("'{text}' has no port ({EXPECTED})")) } else { Ok((address, 0)) };
    }
    let wrong = || format!("'{text}' is no address with a port ({EXPECTED})");
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let inside = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let address = inside.parse().map_err(|_| wrong())?;
    let port = port.parse().map_err(|_| wrong())?;
    if protocol.has_ports() { Ok((address, port)) } else { Err(format!("{protocol} has no ports ({EXPECTED})")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vxtap_wire::{FrameView, Missing};

    #[test]
    fn a_five_tuple_becomes_a_frame_that_shows_it() {
        for (text, shown) in [
            ("tcp 10.0.0.1:5 > 10.0.0.2:80", "10.0.0.1:5 > 10.0.0.2:80 proto 6"),
            ("udp [2001:db8::1]:5 -> [2001:db8::2]:53", "[2001:db8::1]:5 > [2001:db8::2]:53 proto 17"),
            ("sctp 10.0.0.1:5 10.0.0.2:80", "10.0.0.1:5 > 10.0.0.2:80 proto 132"),
            ("icmp 10.0.0.1 > 10.0.0.2", "10.0.0.1:8 > 10.0.0.2:0 proto 1"),
            ("icmpv6 2001:db8::1 > 2001:db8::2", "[2001:db8::1]:128 > [2001:db8::2]:129 proto 58"),
            ("47 10.0.0.1 > 10.0.0.2", "10.0.0.1:0 > 10.0.0.2:0 proto 47"),
        ] {
            let frame = frame(text).unwrap();
            let view = FrameView::parse_outermost(&frame);
            assert_eq!(view.five_tuple.unwrap().to_string(), shown, "{text}");
            assert_eq!((view.missing, view.malformed), (Missing::Nothing, None), "{text}");
        }
    }

    #[test]
    fn what_is_no_five_tuple_is_told_with_an_example() {
        for text in [
            "",
            "tcp",
            "tcp 10.0.0.1 > 10.0.0.2",
            "tcp 10.0.0.1:5 > 10.0.0.2:65536",
            "icmp 10.0.0.1:5 > 10.0.0.2:6",
            "tpc 10.0.0.1:5 > 10.0.0.2:6",
            "tcp a:5 > b:6",
        ] {
            assert!(frame(text).unwrap_err().contains("expected for example"), "{text}");
        }
        assert!(frame("tcp 10.0.0.1:5 > [::1]:6").unwrap_err().contains("two families"));
    }
}
