//! Frames and VXLAN datagrams, made without the crates under test: etherparse for the frames, RFC 7348 by hand.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use etherparse::PacketBuilder;

use crate::deadline::{SOON, wait_until};

/// One end of an inner flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
}

impl Peer {
    /// `10.1.0.0` + `host`.
    pub fn v4(host: u16, port: u16) -> Self {
        let [high, low] = host.to_be_bytes();
        Self { address: Ipv4Addr::new(10, 1, high, low).into(), port }
    }

    /// `fd01::` + `host`.
    pub fn v6(host: u16, port: u16) -> Self {
        Self { address: Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, host).into(), port }
    }
}

/// What may be on the way at a time: half of the receive buffer that any Linux grants.
const UNREAD_MAX: usize = 100 << 10;
/// What the kernel counts for a datagram besides its bytes.
pub(crate) const DATAGRAM_OVERHEAD: usize = 1000;
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

fn ip_step(from: IpAddr, to: IpAddr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 64),
        _ => panic!("{from} and {to} are of two families"),
    }
}

/// An Ethernet frame with a TCP segment (PSH, ACK) with right checksums.
pub fn tcp_frame(from: Peer, to: Peer, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let builder = ip_step(from.address, to.address).tcp(from.port, to.port, sequence, 64_000).psh().ack(1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).expect("a vector takes it");
    frame
}

/// An Ethernet frame with a SYN.
pub fn syn_frame(from: Peer, to: Peer, sequence: u32) -> Vec<u8> {
    let builder = ip_step(from.address, to.address).tcp(from.port, to.port, sequence, 64_000).syn();
    let mut frame = Vec::with_capacity(builder.size(0));
    builder.write(&mut frame, &[]).expect("a vector takes it");
    frame
}

/// An Ethernet frame with a UDP datagram with right checksums.
pub fn udp_frame(from: Peer, to: Peer, payload: &[u8]) -> Vec<u8> {
    let builder = ip_step(from.address, to.address).udp(from.port, to.port);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).expect("a vector takes it");
    frame
}

/// The fragments of `frame`, an untagged one of IPv4 without options, with `size` bytes of payload each, which is a multiple of 8, and the last one
/// with the rest. `identification` tells its packet from others between the same addresses.
pub fn fragments(frame: &[u8], size: usize, identification: u16) -> Vec<Vec<u8>> {
    assert_eq!((&frame[12..15], size % 8), (&[8, 0, 0x45][..], 0));
    let (headers, payload) = frame.split_at(34);
    let count = payload.len().div_ceil(size);
    let fragment = |(at, part): (usize, &[u8])| {
        let more = if at + 1 < count { 0x2000 } else { 0 };
        let field = more | (at * size / 8) as u16;
        let mut fragment = [headers, part].concat();
        fragment[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        fragment[18..20].copy_from_slice(&identification.to_be_bytes());
        fragment[20..22].copy_from_slice(&field.to_be_bytes());
        fragment
    };
    payload.chunks(size).enumerate().map(fragment).collect()
}

/// A question of DNS for the texts of `name`, which is one label.
pub fn dns_question(id: u16, name: &str) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let head = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
    [&head[..], name.as_bytes(), &[0, 0, 16, 0, 1]].concat()
}

/// Its answer, with `texts` texts of 200 bytes.
pub fn dns_answer(id: u16, name: &str, texts: u8) -> Vec<u8> {
    let mut message = dns_question(id, name);
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    message[7] = texts;
    for text in 0..texts {
        message.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 201, 200]);
        message.extend([b'a' + text % 26; 200]);
    }
    message
}

/// The VXLAN datagram of `frame`: flags with only I set, reserved, VNI, reserved, frame.
pub fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = vni.to_be_bytes();
    let mut datagram = vec![0x08, 0, 0, 0, high, middle, low, 0];
    datagram.extend_from_slice(frame);
    datagram
}

/// A mirror source on loopback with several outer source ports, so that the kernel spreads what it sends.
#[derive(Debug)]
pub struct Mirror {
    sockets: Vec<UdpSocket>,
    vni: u32,
    target: SocketAddr,
    /// What the target may not have read yet, in bytes as a receive buffer counts them.
    unread: usize,
}

impl Mirror {
    /// A mirror source that sends to `target` from `ports` source ports.
    pub fn new(target: SocketAddr, vni: u32, ports: usize) -> Self {
        let any: SocketAddr = match target {
            SocketAddr::V4(to) if to.ip().is_loopback() => (Ipv4Addr::LOCALHOST, 0).into(),
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(to) if to.ip().is_loopback() => (Ipv6Addr::LOCALHOST, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let sockets = (0..ports).map(|_| UdpSocket::bind(any).expect("a free port")).collect();
        Self { sockets, vni, target, unread: 0 }
    }

    /// Sends `frame` from source port number `port`, counted modulo their number.
    pub fn send(&mut self, port: usize, frame: &[u8]) {
        self.send_payload(port, &vxlan(self.vni, frame));
    }

    /// Sends `payload` as it is, as the payload of a datagram.
    ///
    /// Now and then it waits until the target has taken everything from the kernel, so that nothing is lost even where
    /// receive buffers are small.
    pub fn send_payload(&mut self, port: usize, payload: &[u8]) {
        self.unread += payload.len() + DATAGRAM_OVERHEAD;
        if self.unread > UNREAD_MAX {
            let what = format!("{} to take what was sent to it", self.target);
            wait_until(SOON, &what, || waiting_on_port(self.target.port()) == 0);
            self.unread = 0;
        }
        self.pass_on(port, payload);
    }

    /// As [`Mirror::send`], to a target elsewhere, of which nobody here sees whether it has taken what was sent.
    pub fn send_unwatched(&mut self, port: usize, frame: &[u8]) {
        self.pass_on(port, &vxlan(self.vni, frame));
    }

    fn pass_on(&self, port: usize, payload: &[u8]) {
        let socket = &self.sockets[port % self.sockets.len()];
        let sent = socket.send_to(payload, self.target).expect("the network takes it");
        assert_eq!(sent, payload.len());
    }
}

/// Bytes that wait in the receive queues of this network namespace's UDP sockets on `port`.
pub(crate) fn waiting_on_port(port: u16) -> u64 {
    let tables = ["udp", "udp6"].map(|name| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).filter_map(|line| waiting_in_line(line, port)).sum()
}

/// The receive queue of one line of `/proc/net/udp`, if the socket is on `port`: slot, local and remote address, state,
/// `TX:RX`, all numbers in hexadecimal.
fn waiting_in_line(line: &str, port: u16) -> Option<u64> {
    let mut words = line.split_whitespace().skip(1);
    let (_, local_port) = words.next()?.rsplit_once(':')?;
    let (_, receive_queue) = words.nth(2)?.split_once(':')?;
    (u16::from_str_radix(local_port, 16).ok()? == port).then(|| u64::from_str_radix(receive_queue, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_as_rfc_7348_section_5_draws_it() {
        let datagram = vxlan(0x0012_3456, &[0xaa]);
        assert_eq!(datagram, [0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0, 0xaa]);
    }

    #[test]
    fn datagrams_that_wait_in_a_socket_are_seen_until_they_are_read() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = socket.local_addr().unwrap();
        let mut mirror = Mirror::new(target, 1, 1);
        assert_eq!(waiting_on_port(target.port()), 0);
        mirror.send(0, &[0; 100]);
        assert!(waiting_on_port(target.port()) >= 108);
        socket.recv(&mut [0; 200]).unwrap();
        assert_eq!(waiting_on_port(target.port()), 0);
    }

    #[test]
    fn frames_have_the_lengths_of_their_headers() {
        assert_eq!(udp_frame(Peer::v4(1, 2), Peer::v4(3, 4), b"five!").len(), 14 + 20 + 8 + 5);
        assert_eq!(tcp_frame(Peer::v6(1, 2), Peer::v6(3, 4), 9, b"").len(), 14 + 40 + 20);
    }
}
