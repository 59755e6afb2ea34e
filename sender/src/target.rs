//! Where the datagrams go: `HOST[:PORT]`.

mod scope;

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use vxtap_wire::vxlan;

use crate::error::SendError;
pub use scope::ScopedAddress;
pub(crate) use scope::wants_scope;

/// A mirror target as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
}

impl Target {
    /// Port `port` of `host`, a name or an address without brackets.
    pub(crate) const fn new(host: String, port: u16) -> Self {
        Self { host, port }
    }

    /// The addresses of the target, in the resolver's order; at least one.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, SendError> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let resolve_error = |source| SendError::Resolve { host: self.host.clone(), source };
        if let Ok(scoped) = self.host.parse::<ScopedAddress>() {
            let address = scoped.socket_address(self.port);
            return address.map(|address| vec![address]).map_err(|source| SendError::Scope { address: scoped, source });
        }
        let addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs().map_err(resolve_error)?.collect();
        if addresses.is_empty() {
            return Err(resolve_error(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address")));
        }
        Ok(addresses)
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(address) if address.scope_id() != 0 => format!("{}%{}", address.ip(), address.scope_id()),
            _ => address.ip().to_string(),
        };
        Self { host, port: address.port() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Target {
    type Err = String;

    /// Takes what a [`TargetAddress`] is; the port is 4789, that of VXLAN, by default.
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(|address: TargetAddress| address.or_port(vxlan::PORT))
    }
}

/// A mirror target as the user names it, whose port depends on what frames travel in where none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetAddress {
    host: String,
    port: Option<u16>,
}

impl TargetAddress {
    /// The target, at `port` unless another was named.
    pub fn or_port(self, port: u16) -> Target {
        Target { host: self.host, port: self.port.unwrap_or(port) }
    }
}

impl FromStr for TargetAddress {
    type Err = String;

    /// Takes `NAME`, `NAME:PORT`, an IPv4 address with or without a port, and an IPv6 address, in brackets where a
    /// port follows; one that is link-local with its interface behind `%`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(host) = address(text)? {
            return Ok(Self { host, port: None });
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let Some((bare, after)) = rest.split_once(']') else {
                return Err(format!("'{text}' has '[' without ']' (expected for example [2001:db8::1]:4789)"));
            };
            let Some(bare) = address(bare)?.filter(|address| address.contains(':')) else {
                return Err(format!("'{bare}' is not an IPv6 address (expected for example [2001:db8::1]:4789)"));
            };
            match after.strip_prefix(':') {
                Some(port) => (bare, Some(port)),
                None if after.is_empty() => (bare, None),
                None => return Err(format!("'{after}' after the address is not ':PORT'")),
            }
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (text.to_owned(), None),
            }
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(format!("'{text}' is not HOST[:PORT] (expected for example collector.example:4789)"));
        }
        let port = port.map(|port| match port.parse() {
            Ok(0) | Err(_) => Err(format!("'{port}' is not a port (expected 1 to 65535)")),
            Ok(port) => Ok(port),
        });
        Ok(Self { host, port: port.transpose()? })
    }
}

/// The address that `text` is, as it is shown, with its interface where it needs one; `None` where it is a name, or has a port.
fn address(text: &str) -> Result<Option<String>, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return if wants_scope(ip) { Err(scope::missing(text)) } else { Ok(Some(ip.to_string())) };
    }
    if text.contains('%') && !text.starts_with('[') {
        return text.parse().map(|scoped: ScopedAddress| Some(scoped.to_string()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_or_an_address_with_the_vxlan_port_by_default() {
        for (text, shown) in [
            ("collector", "collector:4789"),
            ("collector.example:4790", "collector.example:4790"),
            ("192.0.2.7", "192.0.2.7:4789"),
            ("192.0.2.7:1", "192.0.2.7:1"),
            ("2001:db8::7", "[2001:db8::7]:4789"),
            ("[2001:db8::7]", "[2001:db8::7]:4789"),
            ("[2001:db8::7]:65535", "[2001:db8::7]:65535"),
            ("fe80::7%eth0", "[fe80::7%eth0]:4789"),
            ("[FE80::7%3]", "[fe80::7%3]:4789"),
            ("[fe80::7%eth0.12]:99", "[fe80::7%eth0.12]:99"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn the_default_port_is_that_of_what_frames_travel_in_and_yields_to_one_that_is_named() {
        let target = |text: &str| text.parse::<TargetAddress>().unwrap().or_port(6081).to_string();
        assert_eq!(target("collector"), "collector:6081");
        assert_eq!(target("2001:db8::7"), "[2001:db8::7]:6081");
        assert_eq!(target("192.0.2.7:4789"), "192.0.2.7:4789");
    }

    #[test]
    fn what_is_not_a_target_is_refused_with_what_was_expected() {
        for text in ["", ":4789", "host:", "host:0", "host:65536", "[::1", "[host]:1", "[::1]x", "a b", "1:2:3", "a/b"]
        {
            let error = text.parse::<Target>().expect_err(text);
            assert!(error.contains("expected") || error.contains("is not"), "{error}");
        }
    }

    #[test]
    fn a_link_local_address_goes_with_its_interface_and_no_other_address_does() {
        for (text, told) in [
            ("fe80::7", "expected its interface as well, such as fe80::7%eth0"),
            ("[fe80::7]:4789", "expected its interface as well, such as fe80::7%eth0"),
            ("2001:db8::7%eth0", "is not link-local"),
            ("[2001:db8::7%eth0]:4789", "is not link-local"),
            ("10.0.0.7%eth0", "is not an IPv6 address"),
            ("[fe80::7%]:4789", "is no interface"),
            ("fe80::7%a b", "is no interface"),
            ("fe80::7%sixteen-letters-", "is no interface"),
        ] {
            let error = text.parse::<Target>().expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn the_interface_of_a_link_local_address_is_its_scope() {
        let index = index_of("lo");
        let by_name: Target = "[fe80::7%lo]:99".parse().unwrap();
        let resolved = by_name.resolve().unwrap();
        assert_eq!(resolved, [format!("[fe80::7%{index}]:99").parse().unwrap()]);
        let shown = Target::from(resolved[0]);
        assert_eq!(shown.resolve().unwrap(), resolved, "{shown} is the same place");
        let error = "fe80::7%no-such-one".parse::<Target>().unwrap().resolve().unwrap_err();
        assert!(error.to_string().contains("no interface 'no-such-one'"), "{error}");
    }

    fn index_of(interface: &str) -> u32 {
        nix::net::if_::if_nametoindex(interface).unwrap()
    }

    #[test]
    fn an_address_resolves_to_itself() {
        let target: Target = "[::1]:99".parse().unwrap();
        assert_eq!(target.resolve().unwrap(), ["[::1]:99".parse().unwrap()]);
        assert_eq!(Target::from(target.resolve().unwrap()[0]), target);
    }

    #[test]
    fn a_name_without_an_address_says_which() {
        let target: Target = "no-such-host.invalid".parse().unwrap();
        assert!(target.resolve().unwrap_err().to_string().contains("'no-such-host.invalid'"));
    }
}
