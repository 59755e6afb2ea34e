//! TLS 1.3 connections as they look on the wire (RFC 8446): both hellos in clear, the rest opaque.

use super::random::Random;
use super::script::Library;

const SERVER_PORT: u16 = 443;
const NAMES: &[&str] = &[
    "www.example.com",
    "login.example.net",
    "api.example.org",
    "cdn.example.com",
    "mail.corp.test",
    "video.example.net",
];

const RECORD_CHANGE_CIPHER_SPEC: u8 = 20;
const RECORD_HANDSHAKE: u8 = 22;
const RECORD_APPLICATION_DATA: u8 = 23;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

const TLS_1_0: u16 = 0x0301;
const TLS_1_2: u16 = 0x0303;
const TLS_1_3: u16 = 0x0304;
const AES_128_GCM_SHA256: u16 = 0x1301;
const X25519: u16 = 0x001d;

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_GROUPS: u16 = 10;
const EXTENSION_SIGNATURES: u16 = 13;
const EXTENSION_ALPN: u16 = 16;
const EXTENSION_VERSIONS: u16 = 43;
const EXTENSION_KEY_SHARE: u16 = 51;

/// A handshake's sealed part and a closing alert, with padding and tag, are about so long.
const CLIENT_FINISHED_LEN: u32 = 53;
const CLOSE_NOTIFY_LEN: u32 = 19;
/// Most bytes of one record's content (RFC 8446 section 5.2), less what sealing adds.
const RECORD_BYTES: u32 = 16_384;

/// Adds one connection: hellos, sealed handshake, one or more exchanges, close.
pub(super) fn add(library: &mut Library, random: &mut Random) {
    library.add_tcp(SERVER_PORT, |connection| {
        connection.say(true, &client_hello(random));
        let mut flight = server_hello(random);
        flight.extend(record(RECORD_CHANGE_CIPHER_SPEC, TLS_1_2, &[1]));
        let certificates = random.between(1_800, 4_200);
        flight.extend(sealed(random, certificates));
        connection.say(false, &flight);
        let mut finish = record(RECORD_CHANGE_CIPHER_SPEC, TLS_1_2, &[1]);
        finish.extend(sealed(random, CLIENT_FINISHED_LEN));
        connection.say(true, &finish);
        for _ in 0..random.between(1, 3) {
            let request = random.between(90, 900);
            connection.say(true, &sealed(random, request));
            let response = random.between(120, 24_000);
            connection.say(false, &sealed(random, response));
            connection.acknowledge(true);
        }
        connection.say(true, &sealed(random, CLOSE_NOTIFY_LEN));
        connection.close(true);
    });
}

fn client_hello(random: &mut Random) -> Vec<u8> {
    let name = random.pick(NAMES).as_bytes();
    let mut hello = hello_start(random);
    hello.extend(with_length_16(&words(&[AES_128_GCM_SHA256, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030])));
    // One compression method: none.
    hello.extend([1, 0]);
    let mut server_name = vec![0];
    server_name.extend(with_length_16(name));
    let mut key_share = words(&[X25519]);
    key_share.extend(with_length_16(&random_bytes::<32>(random)));
    let mut extensions = extension(EXTENSION_SERVER_NAME, &with_length_16(&server_name));
    extensions.extend(extension(EXTENSION_GROUPS, &with_length_16(&words(&[X25519, 0x0017, 0x0018]))));
    extensions.extend(extension(EXTENSION_SIGNATURES, &with_length_16(&words(&[0x0403, 0x0804, 0x0401, 0x0503]))));
    extensions.extend(extension(EXTENSION_ALPN, &with_length_16(b"\x02h2\x08http/1.1")));
    extensions.extend(extension(EXTENSION_VERSIONS, &with_length_8(&words(&[TLS_1_3, TLS_1_2]))));
    extensions.extend(extension(EXTENSION_KEY_SHARE, &with_length_16(&key_share)));
    hello.extend(with_length_16(&extensions));
    record(RECORD_HANDSHAKE, TLS_1_0, &handshake(CLIENT_HELLO, &hello))
}

fn server_hello(random: &mut Random) -> Vec<u8> {
    let mut hello = hello_start(random);
    hello.extend(words(&[AES_128_GCM_SHA256]));
    hello.push(0);
    let mut key_share = words(&[X25519]);
    key_share.extend(with_length_16(&random_bytes::<32>(random)));
    let mut extensions = extension(EXTENSION_VERSIONS, &words(&[TLS_1_3]));
    extensions.extend(extension(EXTENSION_KEY_SHARE, &key_share));
    hello.extend(with_length_16(&extensions));
    record(RECORD_HANDSHAKE, TLS_1_2, &handshake(SERVER_HELLO, &hello))
}

/// Version, random and session identifier, with which both hellos begin.
fn hello_start(random: &mut Random) -> Vec<u8> {
    let mut start = words(&[TLS_1_2]);
    start.extend(random_bytes::<32>(random));
    start.extend(with_length_8(&random_bytes::<32>(random)));
    start
}

/// `len` random bytes as application data, in as many records as it takes.
fn sealed(random: &mut Random, len: u32) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    random.fill(&mut bytes);
    bytes.chunks(RECORD_BYTES as usize).flat_map(|chunk| record(RECORD_APPLICATION_DATA, TLS_1_2, chunk)).collect()
}

fn record(kind: u8, version: u16, content: &[u8]) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend(version.to_be_bytes());
    record.extend(with_length_16(content));
    record
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0];
    message.extend(with_length_16(body));
    message
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut extension = words(&[kind]);
    extension.extend(with_length_16(body));
    extension
}

fn with_length_16(bytes: &[u8]) -> Vec<u8> {
    let mut with = (bytes.len() as u16).to_be_bytes().to_vec();
    with.extend_from_slice(bytes);
    with
}

fn with_length_8(bytes: &[u8]) -> Vec<u8> {
    let mut with = vec![bytes.len() as u8];
    with.extend_from_slice(bytes);
    with
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn random_bytes<const N: usize>(random: &mut Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}
