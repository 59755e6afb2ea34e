//! The data of a record as one line of text, in the form that zone files have, in short where that would be long.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{read_u16, read_u32};
use super::name::{self, Fault, Text};
use super::names::{kind, record_type};

/// The most types that the text of an NSEC record lists.
const NSEC_TYPES_MAX: usize = 64;

/// Appends the data of a record of type `number` that lies at `at..end` of `message`. False where nothing is told of that type, or not
/// enough of it is there.
pub(super) fn append(message: &[u8], number: u16, (at, end): (usize, usize), text: &mut Text) -> Result<bool, Fault> {
    let data = message.get(at..end).unwrap_or_default();
    let told = match number {
        kind::NS | kind::CNAME | kind::PTR | kind::DNAME => {
            name::read(message, at, text)?;
            Some(())
        }
        kind::MX => {
            name::read(message, at + 2, text)?;
            Some(())
        }
        kind::NULL => text.try_extend_from_slice(data.get(..text.remaining_capacity()).unwrap_or(data)).ok(),
        kind::CAA => authority(data, text),
        kind::NAPTR => {
            let Some(target) = pointer(data, text) else { return Ok(false) };
            name::read(message, at + target, text)?;
            Some(())
        }
        kind::DS | kind::CDS => {
            numbers(data, text, |data| Some([read_u16(data, 0)?, u16::from(*data.get(2)?), u16::from(*data.get(3)?)]))
                .and_then(|()| digest(data, 4, text))
        }
        kind::TLSA => {
            let three = |data: &[u8]| data.first_chunk::<3>().map(|three| three.map(u16::from));
            numbers(data, text, three).and_then(|()| digest(data, 3, text))
        }
        kind::DNSKEY | kind::CDNSKEY => {
            numbers(data, text, |data| Some([read_u16(data, 0)?, u16::from(*data.get(2)?), u16::from(*data.get(3)?)]))
        }
        kind::RRSIG => {
            let Some(()) = signature(data, text) else { return Ok(false) };
            name::read(message, at + 18, text)?;
            Some(())
        }
        kind::NSEC => {
            name::read(message, at, text)?;
            let types = name::skip(message, at).and_then(|types| message.get(types..end)).unwrap_or_default();
            existing(types, text)
        }
        kind::SVCB | kind::HTTPS => {
            let Some(priority) = read_u16(data, 0) else { return Ok(false) };
            let _ = write!(text, "{priority} ");
            name::read(message, at + 2, text)?;
            if text.last() == Some(&b' ') {
                text.try_push(b'.').map_err(|_| Fault::NameTooLong)?;
            }
            let parameters = name::skip(message, at + 2).and_then(|at| message.get(at..end)).unwrap_or_default();
            service(parameters, text);
            Some(())
        }
        _ => None,
    };
    Ok(told.is_some())
}

/// Numbers with a space between each two.
fn numbers<const N: usize>(data: &[u8], text: &mut Text, read: impl Fn(&[u8]) -> Option<[u16; N]>) -> Option<()> {
    for (index, number) in read(data)?.into_iter().enumerate() {
        let _ = write!(text, "{}{number}", if index > 0 { " " } else { "" });
    }
    Some(())
}

/// What is left of `data` in hexadecimal.
fn digest(data: &[u8], at: usize, text: &mut Text) -> Option<()> {
    let _ = text.write(b" ");
    for byte in data.get(at..)? {
        let _ = write!(text, "{byte:02x}");
    }
    Some(())
}

/// CAA: `0 issue "letsencrypt.org"` (RFC 8659, section 4.1).
fn authority(data: &[u8], text: &mut Text) -> Option<()> {
    let [flags, length, ..] = *data else { return None };
    let (tag, value) = data.get(2..)?.split_at_checked(usize::from(length))?;
    let _ = write!(text, "{flags} ");
    let _ = text.write(tag);
    let _ = text.write(b" \"");
    let _ = text.write(value);
    let _ = text.write(b"\"");
    Some(())
}

/// NAPTR but for its name; gives where that begins in the data (RFC 3403, section 4.1).
fn pointer(data: &[u8], text: &mut Text) -> Option<usize> {
    let _ = write!(text, "{} {} ", read_u16(data, 0)?, read_u16(data, 2)?);
    let mut at = 4;
    for _ in 0..3 {
        let end = at + 1 + usize::from(*data.get(at)?);
        let _ = text.write(b"\"");
        let _ = text.write(data.get(at + 1..end)?);
        let _ = text.write(b"\" ");
        at = end;
    }
    Some(at)
}

/// RRSIG up to its signer, without the signature: type covered, algorithm, labels, original TTL, expiration, inception and key tag.
fn signature(data: &[u8], text: &mut Text) -> Option<()> {
    let covered = read_u16(data, 0)?;
    match record_type(covered) {
        Some(name) => text.try_extend_from_slice(name.as_bytes()).ok()?,
        None => write!(text, "TYPE{covered}").ok()?,
    }
    let times = (read_u32(data, 4)?, read_u32(data, 8)?, read_u32(data, 12)?);
    write!(text, " {} {} {} {} {} ", data.get(2)?, data.get(3)?, times.0, times.1, times.2).ok()?;
    write!(text, "{} ", read_u16(data, 16)?).ok()
}

/// The types in the bit maps of an NSEC record (RFC 4034, section 4.1.2).
fn existing(mut maps: &[u8], text: &mut Text) -> Option<()> {
    let mut listed = 0;
    while let [window, length, rest @ ..] = maps {
        let (map, rest) = rest.split_at_checked(usize::from(*length))?;
        for (index, byte) in map.iter().enumerate() {
            for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
                listed += 1;
                if listed > NSEC_TYPES_MAX {
                    return Some(());
                }
                let number = usize::from(*window) << 8 | (index * 8 + bit);
                let _ = match record_type(number as u16) {
                    Some(name) => write!(text, " {name}"),
                    None => write!(text, " TYPE{number}"),
                };
            }
        }
        maps = rest;
    }
    Some(())
}

/// The parameters of a service binding (RFC 9460, section 7), ECH and unknown ones by their length alone.
fn service(mut parameters: &[u8], text: &mut Text) {
    while let (Some(key), Some(length)) = (read_u16(parameters, 0), read_u16(parameters, 2)) {
        let end = 4 + usize::from(length);
        let Some(value) = parameters.get(4..end) else { return };
        let _ = match key {
            0 => text.write_all(b" mandatory"),
            1 => protocols(value, text),
            2 => text.write_all(b" no-default-alpn"),
            3 => read_u16(value, 0).map_or(Ok(()), |port| write!(text, " port={port}")),
            4 => addresses::<4>(" ipv4hint=", value, text),
            5 => write!(text, " ech=({length} bytes)"),
            6 => addresses::<16>(" ipv6hint=", value, text),
            _ => write!(text, " key{key}=({length} bytes)"),
        };
        parameters = parameters.get(end..).unwrap_or_default();
    }
}

fn protocols(mut value: &[u8], text: &mut Text) -> std::io::Result<()> {
    let mut before: &[u8] = b" alpn=";
    while let [length, rest @ ..] = value {
        let Some((protocol, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        text.write_all(before)?;
        text.write_all(protocol)?;
        before = b",";
        value = rest;
    }
    Ok(())
}

fn addresses<const LEN: usize>(name: &str, value: &[u8], text: &mut Text) -> std::io::Result<()> {
    let mut before = name;
    for address in value.chunks_exact(LEN) {
        if let Some(address) = ip(address) {
            write!(text, "{before}{address}")?;
            before = ",";
        }
    }
    Ok(())
}

/// The address that 4 or 16 bytes are.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

/// Appends the network of an EDNS client subnet option (RFC 7871, section 6): `192.0.2.0/24`.
pub(super) fn client_subnet(option: &[u8], text: &mut Text) -> Option<()> {
    let prefix = *option.get(2)?;
    let given = option.get(4..)?;
    let mut bytes = [0; 16];
    bytes.get_mut(..given.len())?.copy_from_slice(given);
    let address = match read_u16(option, 0)? {
        1 if given.len() <= 4 => ip(bytes.get(..4)?)?,
        2 => ip(&bytes)?,
        _ => return None,
    };
    write!(text, "{address}/{prefix}").ok()
}
