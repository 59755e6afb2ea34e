//! Handshake messages made for tests.

/// `content` behind its length in `width` bytes.
pub(crate) fn sized(width: usize, content: &[u8]) -> Vec<u8> {
    let mut out = content.len().to_be_bytes()[8 - width..].to_vec();
    out.extend_from_slice(content);
    out
}

pub(crate) fn words(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A handshake message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], sized(3, body)].concat()
}

/// A record.
pub(crate) fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [vec![kind, 3, 1], sized(2, payload)].concat()
}

fn extension_list(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let list: Vec<u8> =
        extensions.iter().flat_map(|(kind, content)| [words(&[*kind]), sized(2, content)].concat()).collect();
    sized(2, &list)
}

pub(crate) fn client_hello(version: u16, ciphers: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let fields =
        [words(&[version]), vec![7; 32], vec![0], sized(2, &words(ciphers)), vec![1, 0], extension_list(extensions)];
    message(1, &fields.concat())
}

pub(crate) fn server_hello(version: u16, cipher: u16, extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let fields = [words(&[version]), vec![9; 32], vec![0], words(&[cipher]), vec![0], extension_list(extensions)];
    message(2, &fields.concat())
}

/// The content of `server_name`.
pub(crate) fn server_name(name: &str) -> Vec<u8> {
    sized(2, &[vec![0], sized(2, name.as_bytes())].concat())
}

/// The content of `application_layer_protocol_negotiation`.
pub(crate) fn protocols(names: &[&str]) -> Vec<u8> {
    sized(2, &names.iter().flat_map(|name| sized(1, name.as_bytes())).collect::<Vec<_>>())
}

/// A DER value.
pub(crate) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        length @ 0..0x80 => vec![length as u8],
        length => [vec![0x83], length.to_be_bytes()[5..].to_vec()].concat(),
    };
    [vec![tag], length, content.to_vec()].concat()
}

pub(crate) fn sequence(values: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &values.concat())
}
