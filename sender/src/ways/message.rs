//! What is asked of the kernel about routes and devices, and what it answers: messages of rtnetlink (RFC 3549, linux/rtnetlink.h).

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::Device;

const HEADER_LEN: usize = 16;
const ROUTE_HEADER_LEN: usize = 12;
const LINK_HEADER_LEN: usize = 16;
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Messages and attributes begin at multiples of this.
const ALIGNMENT: usize = 4;

const REQUEST: u16 = 1;
const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;

const UDP: u8 = 17;
/// The kind of an attribute without its flags (`NLA_TYPE_MASK`).
const KIND: u16 = 0x3fff;

mod route {
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const SOURCE: u16 = 2;
    pub(super) const DEVICE: u16 = 4;
    pub(super) const PROTOCOL: u16 = 27;
    pub(super) const SOURCE_PORT: u16 = 28;
    pub(super) const DESTINATION_PORT: u16 = 29;
}

mod link {
    pub(super) const NAME: u16 = 3;
    /// The device below, by its index.
    pub(super) const BELOW: u16 = 5;
    pub(super) const INFO: u16 = 18;
    /// The namespace of the device below where it is another one.
    pub(super) const NAMESPACE_BELOW: u16 = 37;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
}

/// Asks which way a datagram goes that is sent from `source` to `destination`.
pub(super) fn ask_route(sequence: u32, source: Option<SocketAddr>, destination: SocketAddr) -> Vec<u8> {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (family, bits) = match destination.ip() {
        IpAddr::V4(_) => (libc::AF_INET, 32),
        IpAddr::V6(_) => (libc::AF_INET6, 128),
    };
    let source = source.filter(|source| source.is_ipv4() == destination.is_ipv4());
    let mut header = [0; ROUTE_HEADER_LEN];
    header[..3].copy_from_slice(&[family as u8, bits, source.map_or(0, |_| bits)]);
    let mut body = header.to_vec();
    put(&mut body, route::DESTINATION, &octets(destination.ip()));
    put(&mut body, route::PROTOCOL, &[UDP]);
    put(&mut body, route::DESTINATION_PORT, &destination.port().to_be_bytes());
    if let Some(source) = source {
        put(&mut body, route::SOURCE, &octets(source.ip()));
        put(&mut body, route::SOURCE_PORT, &source.port().to_be_bytes());
    }
    if let SocketAddr::V6(destination) = destination
        && destination.scope_id() != 0
    {
        put(&mut body, route::DEVICE, &destination.scope_id().to_ne_bytes());
    }
    message(GET_ROUTE, sequence, &body)
}

/// Asks what the device with that index is.
pub(super) fn ask_device(sequence: u32, index: u32) -> Vec<u8> {
    let mut header = [0; LINK_HEADER_LEN];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    message(GET_LINK, sequence, &header)
}

/// A route, as far as ways depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Index of the device that packets leave by, where they leave.
    pub(super) device: Option<u32>,
}

/// The route that answers the question with that number; `None` is the answer to another one.
pub(super) fn route_in(datagram: &[u8], sequence: u32) -> io::Result<Option<Route>> {
    let Some(body) = answer_in(datagram, sequence, NEW_ROUTE)? else { return Ok(None) };
    let device = attributes(body.get(ROUTE_HEADER_LEN..).unwrap_or_default()).find(|(kind, _)| *kind == route::DEVICE);
    Ok(Some(Route { device: device.and_then(|(_, value)| number(value)) }))
}

/// The same for a device.
pub(super) fn device_in(datagram: &[u8], sequence: u32) -> io::Result<Option<Device>> {
    let Some(body) = answer_in(datagram, sequence, NEW_LINK)? else { return Ok(None) };
    let index = body.get(4..).and_then(number).unwrap_or(0);
    let mut device = Device { index, ..Device::default() };
    let (mut below, mut is_elsewhere) = (None, false);
    for (kind, value) in attributes(body.get(LINK_HEADER_LEN..).unwrap_or_default()) {
        match kind {
            link::NAME => device.name = text(value),
            link::BELOW => below = number(value),
            link::NAMESPACE_BELOW => is_elsewhere = true,
            link::INFO => {
                let mut data = None;
                for (kind, value) in attributes(value) {
                    match kind {
                        link::INFO_KIND => device.kind = text(value),
                        link::INFO_DATA => data = Some(value),
                        _ => {}
                    }
                }
                device.far_end = data.and_then(|data| far_end(&device.kind, data));
            }
            _ => {}
        }
    }
    device.below = below.filter(|below| *below != 0 && *below != index && !is_elsewhere);
    Ok(Some(device))
}

/// Where a tunnel in the clear of that kind sends to, where it is one address (linux/if_link.h, linux/if_tunnel.h).
fn far_end(kind: &str, data: &[u8]) -> Option<IpAddr> {
    let kinds: &[u16] = match kind {
        "vxlan" => &[2, 16],
        "geneve" => &[2, 7],
        "gre" | "gretap" | "erspan" | "ip6gre" | "ip6gretap" | "ip6erspan" => &[7],
        "ipip" | "sit" | "ip6tnl" => &[3],
        _ => &[],
    };
    let address = attributes(data).filter(|(kind, _)| kinds.contains(kind)).find_map(|(_, value)| {
        let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from).ok();
        v4.or_else(|| <[u8; 16]>::try_from(value).map(IpAddr::from).ok())
    });
    address.filter(|address| !address.is_unspecified() && !address.is_multicast())
}

/// The body of the message of `kind` that answers `sequence`.
fn answer_in(datagram: &[u8], sequence: u32, kind: u16) -> io::Result<Option<&[u8]>> {
    let mut rest = datagram;
    while let Some(header) = rest.first_chunk::<HEADER_LEN>() {
        let len = number(header).unwrap_or(0) as usize;
        let Some(body) = rest.get(HEADER_LEN..len) else { return Ok(None) };
        let of_kind = u16::from_ne_bytes([header[4], header[5]]);
        if number(&header[8..]) == Some(sequence) {
            if of_kind == ERROR {
                let code = number(body).map_or(libc::EPROTO, |code| code.cast_signed().saturating_neg());
                return Err(io::Error::from_raw_os_error(code));
            }
            if of_kind == kind {
                return Ok(Some(body));
            }
        }
        rest = rest.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    Ok(None)
}

fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut message = ((HEADER_LEN + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&REQUEST.to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    // From whichever port the kernel has given the socket.
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(body);
    message
}

/// Appends an attribute.
fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend_from_slice(&((ATTRIBUTE_HEADER_LEN + value.len()) as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
}

/// Kinds and values of attributes, as far as they are whole.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = bytes.get(ATTRIBUTE_HEADER_LEN..len)?;
        bytes = bytes.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((u16::from_ne_bytes([header[2], header[3]]) & KIND, value))
    })
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests;
