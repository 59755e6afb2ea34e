//! What an event says of the server's certificate (X.509, RFC 5280 section 4.1).

use std::net::IpAddr;

use sha1::{Digest as _, Sha1};

use super::der::{Der, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, UTC_TIME};
use super::{hex, name};
use crate::json::JsonObject;

/// Alternative names beyond this many are left out, which is told; shared certificates of content networks have a hundred.
pub(crate) const ALTERNATIVES_MAX: usize = 256;
/// Likewise beyond so many bytes of them.
pub(crate) const ALTERNATIVES_BYTES: usize = 16 * 1024;
/// A longer alternative name is cut here.
pub(crate) const ALTERNATIVE_MAX: usize = 1024;
/// A longer serial number is cut here; RFC 5280 allows 20 bytes.
pub(crate) const SERIAL_MAX: usize = 64;

/// The fields of a certificate, as far as they could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificate {
    serial: Option<String>,
    issuer: Option<Vec<u8>>,
    subject: Option<Vec<u8>>,
    not_before: Option<String>,
    not_after: Option<String>,
    alternatives: Vec<Vec<u8>>,
    /// There are more of them.
    alternatives_cut: bool,
    /// SHA-1 over all of it.
    fingerprint: Option<String>,
}

impl Certificate {
    /// Memory that its names take, in bytes.
    pub(crate) fn size(&self) -> usize {
        let names = [&self.issuer, &self.subject].into_iter().flatten().chain(&self.alternatives);
        names.map(|name| name.len() + size_of::<Vec<u8>>()).sum()
    }

    /// Reads a certificate, `whole` or cut at the end.
    pub(crate) fn read(bytes: &[u8], whole: bool) -> Self {
        let mut certificate = Self::default();
        if whole {
            let mut digits = String::new();
            hex::append(&mut digits, &Sha1::digest(bytes), hex::LOWER, Some(':'));
            certificate.fingerprint = Some(digits);
        }
        let body = Der::new(bytes).enter(SEQUENCE).and_then(|mut outer| outer.enter(SEQUENCE));
        if let Some(mut body) = body {
            certificate.read_body(&mut body);
        }
        certificate
    }

    /// Reads fields in their order, until one is not what it should be. Gives nothing of interest.
    fn read_body(&mut self, body: &mut Der<'_>) -> Option<()> {
        // The version, which version 1 leaves out.
        body.take(0xa0);
        let serial = body.take(INTEGER)?;
        let mut digits = String::new();
        hex::append(&mut digits, &serial[..serial.len().min(SERIAL_MAX)], hex::UPPER, Some(':'));
        self.serial = Some(digits);
        body.take(SEQUENCE)?;
        self.issuer = Some(name::render(body.take(SEQUENCE)?));
        let mut validity = Der::new(body.take(SEQUENCE)?);
        self.not_before = read_time(&mut validity);
        self.not_after = read_time(&mut validity);
        self.subject = Some(name::render(body.take(SEQUENCE)?));
        // The key, then two identifiers that nobody has.
        body.take(SEQUENCE)?;
        body.take(0x81);
        body.take(0x82);
        let mut extensions = body.enter(0xa3)?.enter(SEQUENCE)?;
        while let Some(extension) = extensions.take(SEQUENCE) {
            let mut extension = Der::new(extension);
            // 2.5.29.17, subjectAltName; a flag may be between it and the content.
            if extension.take(OBJECT_IDENTIFIER)? == [0x55, 0x1d, 0x11] {
                extension.take(0x01);
                self.read_alternatives(Der::new(extension.take(OCTET_STRING)?).enter(SEQUENCE)?);
            }
        }
        Some(())
    }

    /// Names of mail addresses, hosts, URIs and IP addresses (RFC 5280 section 4.2.1.6).
    fn read_alternatives(&mut self, mut names: Der<'_>) {
        let mut room = ALTERNATIVES_BYTES;
        while let Some(value) = names.next() {
            if !value.whole {
                return;
            }
            room = room.saturating_sub(value.content.len().min(ALTERNATIVE_MAX));
            if self.alternatives.len() == ALTERNATIVES_MAX || room == 0 {
                self.alternatives_cut = true;
                return;
            }
            match value.tag {
                0x81 | 0x82 | 0x86 => {
                    self.alternatives.push(value.content[..value.content.len().min(ALTERNATIVE_MAX)].to_vec());
                }
                0x87 => {
                    let address = <[u8; 4]>::try_from(value.content).map(IpAddr::from);
                    let address = address.or_else(|_| <[u8; 16]>::try_from(value.content).map(IpAddr::from));
                    self.alternatives.extend(address.ok().map(|address| address.to_string().into_bytes()));
                }
                _ => {}
            }
        }
    }

    /// Whether anything could be read.
    pub(crate) const fn is_known(&self) -> bool {
        self.serial.is_some() || self.fingerprint.is_some()
    }

    /// The members that say whose it is and who says so.
    pub(crate) fn write_identity(&self, json: &mut JsonObject<'_>) {
        if let Some(subject) = &self.subject {
            json.text("subject", subject);
        }
        if let Some(issuer) = &self.issuer {
            json.text("issuerdn", issuer);
        }
        if !self.alternatives.is_empty() {
            json.array("subjectaltname", |names| self.alternatives.iter().for_each(|name| names.text(name)));
        }
        if self.alternatives_cut {
            json.flag("subjectaltname_cut", true);
        }
        if let Some(serial) = &self.serial {
            json.text("serial", serial);
        }
        if let Some(fingerprint) = &self.fingerprint {
            json.text("fingerprint", fingerprint);
        }
    }

    /// The members that say when it holds.
    pub(crate) fn write_validity(&self, json: &mut JsonObject<'_>) {
        if let Some(time) = &self.not_before {
            json.text("notbefore", time);
        }
        if let Some(time) = &self.not_after {
            json.text("notafter", time);
        }
    }
}

/// A time in UTC as `2015-02-17T14:45:31`; nothing where it is in another form than RFC 5280 section 4.1.2.5 wants,
/// seconds may be missing.
fn read_time(validity: &mut Der<'_>) -> Option<String> {
    let value = validity.next().filter(|value| value.whole)?;
    let digits = value.content.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    let (century, digits) = match value.tag {
        UTC_TIME if digits.get(..2)? < "50" => ("20", digits),
        UTC_TIME => ("19", digits),
        GENERALIZED_TIME => (digits.get(..2)?, digits.get(2..)?),
        _ => return None,
    };
    let seconds = match digits.len() {
        10 => "00",
        12 => &digits[10..],
        _ => return None,
    };
    let [year, month, day, hour, minute] = [0, 2, 4, 6, 8].map(|at| &digits[at..at + 2]);
    Some(format!("{century}{year}-{month}-{day}T{hour}:{minute}:{seconds}"))
}
