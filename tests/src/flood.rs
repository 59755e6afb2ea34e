//! A flood of mirror streams that nobody knows: VXLAN with random VNIs from many sources on loopback, by trains, as fast as the
//! target takes them.
#![allow(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use crate::datagram::{DATAGRAM_OVERHEAD, Peer, udp_frame, vxlan, waiting_on_port};
use crate::deadline::{SOON, wait_until};

/// Datagrams of one call: what every kernel with UDP segmentation takes.
const TRAIN: usize = 64;
/// Sources, each with a socket. An ordinary user may have 1,024 files.
const SOURCES: u16 = 400;
/// Where a VXLAN header has its VNI.
const VNI_AT: usize = 4;

/// A mirror source that is many: the addresses from 127.1.0.1 on.
#[derive(Debug)]
pub struct Flood {
    sockets: Vec<UdpSocket>,
    target: SocketAddr,
    train: Vec<u8>,
    datagram: usize,
    random: u64,
    /// What the target may not have read yet, and how much that may be, in bytes as a receive buffer counts them.
    unread: u64,
    unread_max: u64,
}

impl Flood {
    /// A flood of `target`, of whose receive buffer of `buffer` bytes it fills no more than a quarter.
    ///
    /// # Panics
    /// When sockets cannot be had, or the kernel has no UDP segmentation (Linux 4.18).
    pub fn new(target: SocketAddr, buffer: u64) -> Self {
        let datagram = vxlan(0, &udp_frame(Peer::v4(1, 1000), Peer::v4(2, 2000), b"x"));
        let socket = |number: u16| {
            let [high, low] = (number + 1).to_be_bytes();
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, high, low), 0)).expect("an address of loopback");
            cut_into(&socket, datagram.len());
            socket
        };
        Self {
            sockets: (0..SOURCES).map(socket).collect(),
            target,
            train: datagram.repeat(TRAIN),
            datagram: datagram.len(),
            random: 1,
            unread: 0,
            unread_max: buffer / 4,
        }
    }

    /// Sends some datagrams, each with another VNI, and gives how many. Waits where the target has not taken what came before.
    pub fn send_some(&mut self) -> u64 {
        self.unread += (TRAIN * (self.datagram + DATAGRAM_OVERHEAD)) as u64;
        if self.unread > self.unread_max {
            let what = format!("{} to take what was sent to it", self.target);
            wait_until(SOON, &what, || waiting_on_port(self.target.port()) == 0);
            self.unread = 0;
        }
        for datagram in self.train.chunks_exact_mut(self.datagram) {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            datagram[VNI_AT..VNI_AT + 3].copy_from_slice(&self.random.to_be_bytes()[..3]);
        }
        let socket = &self.sockets[(self.random >> 16) as usize % self.sockets.len()];
        let sent = socket.send_to(&self.train, self.target).expect("the network takes it");
        assert_eq!(sent, self.train.len());
        TRAIN as u64
    }
}

/// Has the kernel cut what is sent by `socket` into datagrams of `bytes` bytes.
fn cut_into(socket: &UdpSocket, bytes: usize) {
    let bytes = libc::c_int::try_from(bytes).expect("a datagram is short");
    // SAFETY: the value is a live c_int and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "UDP segmentation: {}", std::io::Error::last_os_error());
}
