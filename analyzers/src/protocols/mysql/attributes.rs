//! Attributes of a query, which stand in front of its text where both sides know of them (`CLIENT_QUERY_ATTRIBUTES`).

use super::greeting::capability;
use super::packet::Fields;

/// What marks a type whose numbers have no sign.
const UNSIGNED: u16 = 0x8000;

/// The text behind the attributes of a query, if it has some; `None` where it is not there, or what is before it is not known.
pub(super) fn text_behind(body: &[u8], capabilities: Option<u32>) -> Option<&[u8]> {
    // A client that can send attributes does not where its server cannot take them: what is there decides.
    let may_have = capabilities.is_none_or(|flags| flags & capability::QUERY_ATTRIBUTES != 0);
    if may_have && begin(body) { skip(body) } else { Some(body) }
}

/// Whether attributes begin here: how many there are, and 1, the number of their sets. No text has a byte 1 so early.
fn begin(body: &[u8]) -> bool {
    match body {
        [_, 1, ..] | [0xfc, _, _, 1, ..] => true,
        [first, ..] => first.is_ascii_control() && !first.is_ascii_whitespace(),
        [] => false,
    }
}

fn skip(body: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(body);
    let count = fields.number()?;
    let _sets = fields.number()?;
    if count == 0 {
        return Some(fields.0);
    }
    let nulls = fields.take(usize::try_from(count.div_ceil(8)).ok()?)?;
    // Types follow, as in a statement that is executed for the first time.
    if fields.u8()? != 1 {
        return None;
    }
    let mut types = fields;
    for _ in 0..count {
        fields.u16()?;
        fields.string()?;
    }
    for index in 0..count {
        let kind = types.u16()?;
        let _name = types.string()?;
        let byte = nulls.get(usize::try_from(index / 8).ok()?)?;
        if byte >> (index % 8) & 1 == 0 {
            skip_value(kind & !UNSIGNED, &mut fields)?;
        }
    }
    Some(fields.0)
}

/// Skips a value as the binary protocol has it.
fn skip_value(kind: u16, fields: &mut Fields<'_>) -> Option<()> {
    match kind {
        // NULL
        0x06 => return Some(()),
        // TINY; SHORT, YEAR; LONG, FLOAT, INT24; DOUBLE, LONGLONG
        0x01 => fields.take(1)?,
        0x02 | 0x0d => fields.take(2)?,
        0x03 | 0x04 | 0x09 => fields.take(4)?,
        0x05 | 0x08 => fields.take(8)?,
        // DECIMAL, VARCHAR, BIT; JSON, NEWDECIMAL, ENUM, SET, BLOBs, strings, GEOMETRY. TIMESTAMP, DATE, TIME, DATETIME have lengths of one byte.
        0x00 | 0x07 | 0x0a..=0x0c | 0x0f | 0x10 | 0xf5..=0xff => fields.string()?,
        _ => return None,
    };
    Some(())
}
