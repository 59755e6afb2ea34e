//! Bringing headers near before they are looked at.
//!
//! Of a window of the file's own pages nothing is in a cache, and where a record begins is known only when the one before has
//! come from memory: for each of them the CPU waits a tenth of a microsecond. So records are followed from several places of the window
//! side by side, and what they begin with is fetched on the way. Where one begins near such a place is a guess. Nothing but time
//! depends on it: who finds the records goes through the window from its beginning.

/// Records that are followed side by side.
const PLACES: usize = 8;
/// How far behind a place a record is looked for, in bytes. Most frames are shorter.
const LOOK_WITHIN: usize = 4 << 10;
/// Where a record has what is looked at: its header, and those of the frame in it and of what that envelops.
const HEADERS: [usize; 3] = [0, 64, 128];

/// Fetches headers of the records in `window`, which begins with one. `length` gives the bytes from the beginning of a
/// record to the next one, at least 1, where the bytes that it gets seem to begin with a record.
pub(crate) fn bring_near(window: &[u8], length: impl Fn(&[u8]) -> Option<usize>) {
    let part = window.len() / PLACES;
    if part < LOOK_WITHIN {
        return;
    }
    let mut places: [usize; PLACES] =
        std::array::from_fn(|number| if number == 0 { 0 } else { guess(window, number * part, &length) });
    let mut is_moving = true;
    while is_moving {
        is_moving = false;
        for (number, place) in places.iter_mut().enumerate() {
            if *place < (number + 1) * part
                && let Some(length) = length(&window[*place..])
            {
                *place += length;
                for header in HEADERS {
                    fetch(window, *place + header);
                }
                is_moving = true;
            }
        }
    }
}

/// Where from `from` on a record seems to begin, with another behind it; the window's end for nowhere.
fn guess(window: &[u8], from: usize, length: &impl Fn(&[u8]) -> Option<usize>) -> usize {
    let seems_to_begin = |at: &usize| {
        let next = length(&window[*at..]).and_then(|length| window.get(at + length..));
        next.is_some_and(|next| length(next).is_some())
    };
    (from..from + LOOK_WITHIN).find(seems_to_begin).unwrap_or(window.len())
}

/// Has the CPU fetch the line at `at`, if it likes to.
#[inline]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "the standard library has it for x86 alone"))]
fn fetch(window: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = window.as_ptr().wrapping_add(at).cast();
        #[expect(unsafe_code, reason = "the instruction has no safe function")]
        // SAFETY: it is no access, so `line` may be any address; every CPU of this kind has the instruction.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    /// Records of 1 to 255 bytes, of which the first tells the length, and the second is 0 as no other byte is.
    fn window() -> (Vec<u8>, BTreeSet<usize>) {
        let (mut window, mut begins) = (Vec::new(), BTreeSet::new());
        for number in 0..2000_usize {
            begins.insert(window.len());
            let length = 2 + number * 7 % 250;
            window.extend([length as u8, 0]);
            window.resize(window.len() + length - 2, 0xff);
        }
        (window, begins)
    }

    #[test]
    fn every_record_is_reached_though_the_window_is_followed_from_several_places() {
        let (window, begins) = window();
        let reached = RefCell::new(BTreeSet::new());
        bring_near(&window, |record| {
            let &[length, 0, ..] = record else { return None };
            reached.borrow_mut().insert(window.len() - record.len());
            Some(length.into())
        });
        assert_eq!(*reached.borrow(), begins);
    }

    #[test]
    fn a_window_in_which_anything_seems_to_be_a_record_is_left_after_all() {
        let (window, _) = window();
        bring_near(&window, |_| Some(1));
        bring_near(&window, |_| Some(usize::from(u16::MAX)));
        bring_near(&window, |record| (record.len() == window.len()).then_some(1));
        bring_near(&[], |_| Some(1));
    }
}
