//! What tells one implementation of TLS from another: JA3, JA3S and JA4 for clients.
//!
//! JA3 is MD5 over the numbers of a hello in their order, values of GREASE left out. JA4 sorts ciphers and extensions
//! first, so that a client that shuffles them stays the same.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::extension::{self, Extensions, is_grease};
use super::hello::{ClientHello, ServerHello};
use super::hex;
use super::reader::{Reader, numbers};
use super::version;
use crate::json::JsonObject;

/// A hello with more ciphers, extensions, groups or formats than this gets no fingerprint: no client sends so many, and
/// each number would go into the event.
pub(crate) const ITEMS_MAX: usize = 512;

/// JA3 or JA3S.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ja3 {
    pub(crate) string: String,
}

impl Ja3 {
    /// Of a client that has said all of its hello.
    pub(crate) fn of_client(hello: &ClientHello<'_>) -> Option<Self> {
        let extensions = hello.extensions;
        let content = |kind| extensions.find(kind).map(Reader::new);
        let groups = content(extension::SUPPORTED_GROUPS).and_then(|mut reader| reader.vector16()).unwrap_or_default();
        let formats = content(extension::EC_POINT_FORMATS).and_then(|mut reader| reader.vector8()).unwrap_or_default();
        let counts = [hello.ciphers.len() / 2, extensions.iter().count(), groups.len() / 2, formats.len()];
        if !hello.whole || counts.iter().any(|count| *count > ITEMS_MAX) {
            return None;
        }
        let mut string = hello.version.to_string();
        append_list(&mut string, numbers(hello.ciphers));
        append_list(&mut string, extensions.iter().map(|(kind, _)| kind));
        append_list(&mut string, numbers(groups));
        append_list(&mut string, formats.iter().map(|format| u16::from(*format)));
        Some(Self { string })
    }

    /// Of a server that has said all of its hello.
    pub(crate) fn of_server(hello: &ServerHello<'_>) -> Option<Self> {
        if !hello.whole || hello.extensions.iter().count() > ITEMS_MAX {
            return None;
        }
        let mut string = format!("{},{}", hello.legacy_version, hello.cipher?);
        append_list(&mut string, hello.extensions.iter().map(|(kind, _)| kind));
        Some(Self { string })
    }

    pub(crate) fn hash(&self) -> String {
        hex::lower(&Md5::digest(&self.string))
    }

    pub(crate) fn write(&self, json: &mut JsonObject<'_>, key: &'static str) {
        json.object(key, |json| {
            json.text("hash", self.hash());
            json.text("string", &self.string);
        });
    }
}

fn append_list(out: &mut String, list: impl Iterator<Item = u16>) {
    out.push(',');
    for (index, number) in list.filter(|number| !is_grease(*number)).enumerate() {
        let dash = if index > 0 { "-" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(out, "{dash}{number}");
    }
}

/// What the client's hello came in, the first letter of JA4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Quic,
}

/// JA4 of a client that has said all of its hello.
pub(crate) fn ja4(hello: &ClientHello<'_>, carrier: Carrier) -> Option<String> {
    let mut ciphers: Vec<_> = numbers(hello.ciphers).filter(|cipher| !is_grease(*cipher)).take(ITEMS_MAX + 1).collect();
    let kinds = hello.extensions.iter().map(|(kind, _)| kind);
    let mut kinds: Vec<_> = kinds.filter(|kind| !is_grease(*kind)).take(ITEMS_MAX + 1).collect();
    if !hello.whole || ciphers.len() > ITEMS_MAX || kinds.len() > ITEMS_MAX {
        return None;
    }
    let mut out = String::with_capacity(36);
    out.push(if carrier == Carrier::Quic { 'q' } else { 't' });
    out.push_str(match hello.highest_version() {
        version::TLS_1_3 => "13",
        version::TLS_1_2 => "12",
        0x0302 => "11",
        0x0301 => "10",
        version::SSL_3_0 => "s3",
        0x0002 => "s2",
        _ => "00",
    });
    out.push(if kinds.contains(&extension::SERVER_NAME) { 'd' } else { 'i' });
    let _ = write!(out, "{:02}{:02}", ciphers.len().min(99), kinds.len().min(99));
    out.extend(ends_of_protocol(hello.extensions));
    ciphers.sort_unstable();
    kinds.retain(|kind| ![extension::SERVER_NAME, extension::ALPN].contains(kind));
    kinds.sort_unstable();
    let list = |numbers: &[u16]| numbers.iter().map(|number| format!("{number:04x}")).collect::<Vec<_>>().join(",");
    out.push('_');
    out.push_str(&hash12(&list(&ciphers)));
    out.push('_');
    // FoxIO's definition (technical_details/JA4.md): without signature algorithms the string ends without an underscore.
    let mut listed = list(&kinds);
    let algorithms = signature_algorithms(hello.extensions);
    if !algorithms.is_empty() {
        listed.push('_');
        listed.push_str(&list(&algorithms));
    }
    out.push_str(&hash12(&listed));
    Some(out)
}

/// The signature algorithms that the client lists, in its order.
pub(crate) fn signature_algorithms(extensions: Extensions<'_>) -> Vec<u16> {
    let listed = extensions.find(extension::SIGNATURE_ALGORITHMS).and_then(|content| Reader::new(content).vector16());
    numbers(listed.unwrap_or_default()).filter(|number| !is_grease(*number)).take(ITEMS_MAX).collect()
}

/// First and last character of the first protocol of ALPN; of its hexadecimal digits where these are no letters or
/// digits.
fn ends_of_protocol(extensions: Extensions<'_>) -> [char; 2] {
    let first = extensions.find(extension::ALPN).and_then(|content| extension::protocols(content).next());
    let Some([first, .., last] | [first @ last]) = first else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(*first), char::from(*last)];
    }
    let digit = |digit: u8| char::from(hex::LOWER[usize::from(digit & 15)]);
    [digit(first >> 4), digit(*last)]
}

/// The first twelve digits of a SHA-256; zeros of nothing.
fn hash12(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    hex::lower(&Sha256::digest(text)[..6])
}
