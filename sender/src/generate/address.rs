//! Who takes part in flow number N: addresses and ports that repeat late.

use vxtap_wire::{IpAddress, IpVersion};

use super::frame::{End, Ends};

/// Clients, in 10.0.0.0/8 and 2001:db8:a::/48.
const CLIENTS: u64 = 4096;
/// Servers, in 172.16.0.0/12 and 2001:db8:b::/48.
const SERVERS: u64 = 251;
/// Client ports, from Linux's range of ephemeral ports.
const FIRST_PORT: u64 = 32_768;
const PORTS: u64 = 28_232;

/// The ends of flow `number`. A five-tuple comes again after more than 100 million flows.
pub(super) fn ends(number: u64, version: IpVersion, protocol: u8, server_port: u16) -> Ends {
    let client = number % CLIENTS;
    let port = FIRST_PORT + (number / CLIENTS) % PORTS;
    let server = (number ^ (number >> 12)) % SERVERS;
    Ends::new(version, protocol, end(version, 0, client, port as u16), end(version, 1, server, server_port))
}

/// Number `host` of the clients (`side` 0) or servers (`side` 1).
fn end(version: IpVersion, side: u8, host: u64, port: u16) -> End {
    let [high, low] = (host as u16).to_be_bytes();
    let ip = match version {
        // .0 and .255 stay unused: they look like networks and broadcasts.
        IpVersion::V4 => {
            let (high, low) = ((host / 200) as u8, (host % 200) as u8 + 10);
            IpAddress::v4(if side == 0 { [10, 1, high, low] } else { [172, 16, high, low] })
        }
        IpVersion::V6 => {
            IpAddress([0x20, 0x01, 0x0d, 0xb8, 0, 0x0a + side, 0, 0, 0, 0, 0, 0, 0, 0, high, low.wrapping_add(1)])
        }
    };
    // Locally administered.
    End { mac: [0x02, 0x76, 0x78, side, high, low], ip, port }
}
