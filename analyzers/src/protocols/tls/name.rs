//! Distinguished names as text, in the form that EVE has: `C=US, O=Example, CN=example.com`.

use std::io::Write as _;

use super::der::{BMP_STRING, Der, OBJECT_IDENTIFIER, SEQUENCE, SET, Value};
use super::hex;

/// A longer name is cut here, in bytes of text.
pub(crate) const NAME_MAX: usize = 4096;

/// The text of a name whose content is given. What is malformed ends it.
pub(crate) fn render(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut relatives = Der::new(name);
    while let Some(set) = relatives.take(SET) {
        let mut attributes = Der::new(set);
        let mut separator: &[u8] = b", ";
        while let Some(attribute) = attributes.take(SEQUENCE) {
            let mut attribute = Der::new(attribute);
            let (Some(kind), Some(value)) = (attribute.take(OBJECT_IDENTIFIER), attribute.next()) else {
                return out;
            };
            if !out.is_empty() {
                out.extend_from_slice(separator);
            }
            append_kind(&mut out, kind);
            out.push(b'=');
            append_value(&mut out, value);
            // Several attributes that make one step of the name together.
            separator = b" + ";
            if out.len() > NAME_MAX {
                out.truncate(NAME_MAX);
                return out;
            }
        }
    }
    out
}

/// The short names of the attributes that certificates have.
fn append_kind(out: &mut Vec<u8>, kind: &[u8]) {
    let name = match kind {
        [0x55, 0x04, attribute] => match attribute {
            3 => "CN",
            4 => "surname",
            5 => "serialNumber",
            6 => "C",
            7 => "L",
            8 => "ST",
            9 => "streetAddress",
            10 => "O",
            11 => "OU",
            12 => "title",
            13 => "description",
            15 => "businessCategory",
            16 => "postalAddress",
            17 => "postalCode",
            41 => "name",
            42 => "givenName",
            43 => "initials",
            44 => "generationQualifier",
            45 => "uniqueIdentifier",
            46 => "dnQualifier",
            _ => "",
        },
        // 1.2.840.113549.1.9.n, PKCS #9.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 1] => "Email",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 2] => "unstructuredName",
        // 0.9.2342.19200300.100.1.n, RFC 4519.
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 1] => "uid",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 25] => "DC",
        // 1.3.6.1.4.1.311.60.2.1.n, where the owner of an extended-validation certificate is registered.
        [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, 1] => "msJurisdictionLocality",
        [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, 2] => "msJurisdictionStateOrProvince",
        [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x3c, 0x02, 0x01, 3] => "msJurisdictionCountry",
        _ => "",
    };
    if name.is_empty() {
        append_identifier(out, kind);
    } else {
        out.extend_from_slice(name.as_bytes());
    }
}

/// An object identifier in dotted form (X.690 section 8.19).
fn append_identifier(out: &mut Vec<u8>, identifier: &[u8]) {
    let mut arc: u64 = 0;
    let mut is_first = true;
    for byte in identifier {
        // An arc too big for any registry loses its upper bits.
        arc = arc << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        // Writing to a vector does not fail.
        let _ = if is_first {
            let root = (arc / 40).min(2);
            write!(out, "{root}.{}", arc - root * 40)
        } else {
            write!(out, ".{arc}")
        };
        (arc, is_first) = (0, false);
    }
}

/// Text as it is, but for the one encoding of two bytes a character; what is no text in hexadecimal digits.
fn append_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value.tag {
        BMP_STRING => {
            let units = value.content.as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit));
            for c in char::decode_utf16(units) {
                out.extend_from_slice(c.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        // UTF8, Numeric, Printable, T61, Videotex, IA5, Graphic, Visible and General String.
        0x0c | 0x12..=0x16 | 0x19..=0x1b => out.extend_from_slice(value.content),
        _ => {
            let mut digits = String::new();
            hex::append(&mut digits, &value.content[..value.content.len().min(NAME_MAX)], hex::UPPER, None);
            out.extend_from_slice(digits.as_bytes());
        }
    }
}
