//! Addresses to listen on, as people write them: a link-local one has the name or the index of its interface, `[fe80::1%eth0]:4789`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use vxtap_ring::Interface;

/// The address that `text` is, at `default_port` unless it names another; `None` where it is no address.
pub(crate) fn socket_address(text: &str, default_port: Option<u16>) -> Result<Option<SocketAddr>, String> {
    if text.contains('%') {
        return scoped(text, default_port).transpose();
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let at_default = || Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, default_port?));
    match text.parse().ok().or_else(at_default) {
        Some(SocketAddr::V6(six)) if six.ip().is_unicast_link_local() => Err(format!(
            "'{text}' is link-local: expected its interface as well, such as [{}%eth0]:{}",
            six.ip(),
            six.port()
        )),
        address => Ok(address),
    }
}

/// The same of an address with an interface. The kernel wants its index, and a number may be a name too: names go first.
fn scoped(text: &str, default_port: Option<u16>) -> Option<Result<SocketAddr, String>> {
    let (inside, port) = match text.strip_prefix('[') {
        None => (text, default_port?),
        Some(rest) => match rest.split_once(']')? {
            (inside, "") => (inside, default_port?),
            (inside, port) => (inside, port.strip_prefix(':')?.parse().ok()?),
        },
    };
    let (address, interface) = inside.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let index = Interface::index_of(interface).or_else(|| interface.parse().ok());
    let missing = || format!("there is no interface '{}' on this machine", interface.escape_debug());
    Some(index.ok_or_else(missing).map(|index| SocketAddrV6::new(address, port, 0, index).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lo() -> u32 {
        Interface::index_of("lo").expect("every machine has lo")
    }

    #[test]
    fn a_link_local_address_takes_its_interface_by_name_or_by_index() {
        let at = |port, scope| Some(SocketAddrV6::new("fe80::1".parse().unwrap(), port, 0, scope).into());
        for (text, default_port, expected) in [
            ("[fe80::1%lo]:99", None, at(99, lo())),
            ("[fe80::1%lo]", Some(7), at(7, lo())),
            ("fe80::1%lo", Some(7), at(7, lo())),
            ("[fe80::1%4242]:99", None, at(99, 4242)),
            ("fe80::1%lo", None, None),
            ("[fe80::1%lo]99", None, None),
            ("[fe80::1%lo]:x", Some(7), None),
            ("[fe80::1%lo", Some(7), None),
            ("10.0.0.1%lo", Some(7), None),
        ] {
            assert_eq!(socket_address(text, default_port), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_interface_that_is_missing_is_told_whether_it_was_named_or_not() {
        for (text, told) in [
            ("[fe80::1]:99", "'[fe80::1]:99' is link-local: expected its interface as well, such as [fe80::1%eth0]:99"),
            ("fe80::1", "such as [fe80::1%eth0]:7"),
            ("[fe80::1%no-such-one]:99", "there is no interface 'no-such-one' on this machine"),
            ("[fe80::1%]:99", "there is no interface ''"),
            ("[fe80::1%a-name-of-more-than-fifteen]:99", "there is no interface 'a-name-of-more-than-fifteen'"),
        ] {
            let error = socket_address(text, Some(7)).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn other_addresses_have_no_interface_and_the_default_port_yields_to_one_that_is_named() {
        for (text, expected) in [
            ("10.0.0.1", Some("10.0.0.1:7")),
            ("10.0.0.1:99", Some("10.0.0.1:99")),
            ("::", Some("[::]:7")),
            ("[::]", Some("[::]:7")),
            ("[::]:99", Some("[::]:99")),
            ("eth0", None),
            ("[::]:", None),
        ] {
            assert_eq!(socket_address(text, Some(7)), Ok(expected.map(|text| text.parse().unwrap())), "{text}");
        }
        assert_eq!(socket_address("10.0.0.1", None), Ok(None));
    }
}
