//! Names: labels, and pointers to labels elsewhere in the message (RFC 1035, section 4.1.4).

use arrayvec::ArrayVec;

/// The most bytes of a name that are told, as text. Names on the wire have at most 255 (RFC 1035, section 2.3.4); this many let a
/// message that breaks the rule be seen for what it is.
pub(super) const TEXT_MAX: usize = 1025;

/// The most labels and pointers that are followed in one name: what keeps a loop of pointers finite.
const STEPS_MAX: usize = 255;

/// Text under construction, without memory of its own from the heap.
pub(super) type Text = ArrayVec<u8, TEXT_MAX>;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It ends before it should, or contradicts itself.
    Malformed,
    /// A pointer points at itself.
    InfiniteLoop,
    /// More labels and pointers than a name can have.
    TooManyLabels,
    /// More bytes than a name can have.
    NameTooLong,
}

/// Where what follows the name at `at` begins; `None` where the message ends before, or no name is there. No pointer is followed.
pub(super) fn skip(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *message.get(at)?;
        match length {
            0 => return Some(at + 1),
            1..=0x3f => at += 1 + usize::from(length),
            0xc0.. => return (at + 2 <= message.len()).then_some(at + 2),
            _ => return None,
        }
    }
}

/// Appends the name at `at` to `text`, its labels joined by dots, the root as nothing. What could be read is there also after a fault.
pub(super) fn read(message: &[u8], mut at: usize, text: &mut Text) -> Result<(), Fault> {
    let start = text.len();
    for _ in 0..STEPS_MAX {
        let length = *message.get(at).ok_or(Fault::Malformed)?;
        match length {
            0 => return Ok(()),
            1..=0x3f => {
                let end = at + 1 + usize::from(length);
                let label = message.get(at + 1..end).ok_or(Fault::Malformed)?;
                let dot: &[u8] = if text.len() > start { b"." } else { b"" };
                text.try_extend_from_slice(dot).map_err(|_| Fault::NameTooLong)?;
                text.try_extend_from_slice(label).map_err(|_| Fault::NameTooLong)?;
                at = end;
            }
            0xc0.. => {
                let low = *message.get(at + 1).ok_or(Fault::Malformed)?;
                let to = usize::from(length & 0x3f) << 8 | usize::from(low);
                if to == at {
                    return Err(Fault::InfiniteLoop);
                }
                at = to;
            }
            _ => return Err(Fault::Malformed),
        }
    }
    Err(Fault::TooManyLabels)
}

#[cfg(test)]
mod tests {
    use super::{Fault, Text, read, skip};

    fn name(message: &[u8], at: usize) -> (String, Result<(), Fault>) {
        let mut text = Text::new();
        let end = read(message, at, &mut text);
        (String::from_utf8(text.to_vec()).unwrap(), end)
    }

    #[test]
    fn labels_are_joined_and_pointers_followed() {
        let message = b"\x03com\x00\x03www\x02ab\xc0\x00rest";
        assert_eq!(name(message, 5), ("www.ab.com".into(), Ok(())));
        assert_eq!(skip(message, 5), Some(14));
        assert_eq!(name(message, 4), (String::new(), Ok(())));
    }

    #[test]
    fn loops_end_and_what_was_read_stays() {
        assert_eq!(name(b"\x01a\xc0\x02", 0), ("a".into(), Err(Fault::InfiniteLoop)));
        let (text, fault) = name(b"\x01a\xc0\x00", 0);
        assert_eq!(fault, Err(Fault::TooManyLabels));
        assert!(text.starts_with("a.a.a"));
        let mut long = vec![0x3f; 64];
        long.extend(b"\xc0\x00");
        assert_eq!(name(&long, 0).1, Err(Fault::NameTooLong));
    }

    #[test]
    fn a_name_that_is_cut_or_has_reserved_bits_is_malformed() {
        for message in [&b"\x03ab"[..], b"\x01a", b"\x41a\x00", b"\xc0", b"\xc0\x09"] {
            assert_eq!(name(message, 0).1, Err(Fault::Malformed), "{message:x?}");
        }
        assert_eq!(skip(b"\x01a\xc0", 0), None);
        assert_eq!(skip(b"\x81a\x00", 0), None);
    }
}
