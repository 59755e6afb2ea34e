//! What a network interface does with frames before anybody sees them, as `ethtool` shows it.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

// From linux/ethtool.h and linux/sockios.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GET_RX_CHECKSUM: u32 = 0x14;
const GET_RING: u32 = 0x10;
const GET_FLAGS: u32 = 0x25;
const GET_RX_FLOW_HASH: u32 = 0x29;
const GET_GRO: u32 = 0x2b;
const GET_CHANNELS: u32 = 0x3c;
const FLAG_LRO: u32 = 1 << 15;
const UDP_V4_FLOW: u32 = 0x02;
/// Both halves of the ports.
const HASHES_PORTS: u32 = 1 << 6 | 1 << 7;

/// What an interface says of itself; `None` where its driver does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InterfaceFeatures {
    /// Whether received frames are merged (GRO).
    pub(crate) gro: Option<bool>,
    /// Whether the card merges received segments (LRO).
    pub(crate) lro: Option<bool>,
    /// Whether the card checks checksums of received packets.
    pub(crate) rx_checksum: Option<bool>,
    /// Entries of a receive ring, and how many there may be.
    pub(crate) ring: Option<(u32, u32)>,
    /// Queues that receive and send, and how many there may be.
    pub(crate) combined_queues: Option<(u32, u32)>,
    /// Queues that only receive, and how many there may be.
    pub(crate) rx_queues: Option<(u32, u32)>,
    /// Whether UDP over IPv4 is spread over queues by ports too, not by addresses alone.
    pub(crate) udp_hash_has_ports: Option<bool>,
}

/// Asks for the features of the interface called `name`.
pub(crate) fn interface_features(name: &str) -> io::Result<InterfaceFeatures> {
    // Any socket does: the question goes to the interface by its name.
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"))?;
    let value = |command| ask::<2>(&socket, name, [command, 0]).map(|answer| answer[1]);
    // The first question tells whether there is such an interface at all.
    let gro = match value(GET_GRO) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Err(error),
        answer => answer.ok().map(|gro| gro != 0),
    };
    let ring: Option<[u32; 9]> = ask(&socket, name, first(GET_RING)).ok();
    let channels: Option<[u32; 9]> = ask(&socket, name, first(GET_CHANNELS)).ok();
    // The kernel copies a whole `struct ethtool_rxnfc` (192 bytes), whatever part of it the question has.
    let mut question = first::<64>(GET_RX_FLOW_HASH);
    question[1] = UDP_V4_FLOW;
    let hash = ask(&socket, name, question).ok();
    Ok(InterfaceFeatures {
        gro,
        lro: value(GET_FLAGS).ok().map(|flags| flags & FLAG_LRO != 0),
        rx_checksum: value(GET_RX_CHECKSUM).ok().map(|on| on != 0),
        ring: ring.map(|ring| (ring[5], ring[1])).filter(|(_, most)| *most > 0),
        combined_queues: channels.map(|channels| (channels[8], channels[4])),
        rx_queues: channels.map(|channels| (channels[5], channels[1])),
        udp_hash_has_ports: hash.map(|hash| hash_bits(hash) & HASHES_PORTS == HASHES_PORTS),
    })
}

/// The low half of the 64-bit field that follows command and flow type.
fn hash_bits(answer: [u32; 64]) -> u32 {
    if cfg!(target_endian = "little") { answer[2] } else { answer[3] }
}

/// A question of which only the command is not zero.
const fn first<const N: usize>(command: u32) -> [u32; N] {
    let mut words = [0; N];
    words[0] = command;
    words
}

/// Asks interface `name`: `words` begin with the command, and become the answer.
fn ask<const N: usize>(socket: &UdpSocket, name: &str, mut words: [u32; N]) -> io::Result<[u32; N]> {
    let name = CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: an ifreq is a plain C structure for which all bytes zero is a valid value.
    let mut request = unsafe { std::mem::zeroed::<libc::ifreq>() };
    let bytes = name.as_bytes();
    if bytes.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = (*from).cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut words).cast();
    // SAFETY: the request is a live ifreq whose name ends with a zero and whose data points at `words`, which is at least as
    // long as the structure of each command above: two words for a value, nine for rings and channels, 64 for the flow hash.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_features_and_an_interface_that_is_not_there_is_an_error() {
        let features = interface_features("lo").unwrap();
        assert_eq!(features.rx_checksum, Some(true));
        assert!(features.gro.is_some());
        for name in ["no-such-if", "a-name-longer-than-any-interface", "a\0b"] {
            assert_eq!(interface_features(name).unwrap_err().raw_os_error(), Some(libc::ENODEV), "{name:?}");
        }
    }
}
