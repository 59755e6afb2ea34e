//! Bytes as hexadecimal digits.

/// Appends two digits for each byte, with `separator` between them.
pub(crate) fn append(out: &mut String, bytes: &[u8], digits: &[u8; 16], separator: Option<char>) {
    for (index, byte) in bytes.iter().enumerate() {
        if let (Some(separator), true) = (separator, index > 0) {
            out.push(separator);
        }
        out.push(char::from(digits[usize::from(byte >> 4)]));
        out.push(char::from(digits[usize::from(byte & 15)]));
    }
}

pub(crate) const LOWER: &[u8; 16] = b"0123456789abcdef";
pub(crate) const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Lower-case digits without anything between.
pub(crate) fn lower(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    append(&mut out, bytes, LOWER, None);
    out
}
