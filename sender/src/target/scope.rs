//! Link-local addresses, which mean something on one link only: `fe80::1%eth0`, as RFC 4007 writes it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

/// The longest name of an interface.
const MAX_NAME: usize = 15;

/// A link-local address and its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopedAddress {
    address: Ipv6Addr,
    /// Its name, or its index.
    interface: String,
}

/// Whether `address` means nothing without an interface.
pub(crate) const fn wants_scope(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// What to say of the link-local address `text` that has no interface.
pub(super) fn missing(text: &str) -> String {
    format!("'{text}' is link-local: expected its interface as well, such as {text}%eth0")
}

impl ScopedAddress {
    /// Port `port` of the address. The interface is looked up each time: one that comes again has another index.
    pub(super) fn socket_address(&self, port: u16) -> io::Result<SocketAddr> {
        let scope = match index_of(&self.interface) {
            Err(error) => self.interface.parse().map_err(|_| error)?,
            Ok(index) => index,
        };
        Ok(SocketAddrV6::new(self.address, port, 0, scope).into())
    }

    /// The interface, as it was named.
    pub(crate) fn interface(&self) -> &str {
        &self.interface
    }
}

/// The index of the interface called so.
fn index_of(interface: &str) -> io::Result<u32> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(socket, interface)?)
}

impl fmt::Display for ScopedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%{}", self.address, self.interface)
    }
}

impl FromStr for ScopedAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, interface) = text.split_once('%').ok_or_else(|| format!("'{text}' has no '%'"))?;
        let Ok(address) = address.parse::<Ipv6Addr>() else {
            return Err(format!("'{address}' is not an IPv6 address (expected for example fe80::1%eth0)"));
        };
        if !address.is_unicast_link_local() {
            return Err(format!("'{address}' is not link-local: expected no interface ('%{interface}') behind it"));
        }
        let is_name = |c: char| c.is_ascii_graphic() && !"/:%[]".contains(c);
        if interface.is_empty() || interface.len() > MAX_NAME || !interface.chars().all(is_name) {
            let interface = interface.escape_debug();
            return Err(format!("'{interface}' is no interface (expected for example fe80::1%eth0)"));
        }
        Ok(Self { address, interface: interface.to_owned() })
    }
}
