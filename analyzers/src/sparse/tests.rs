use proptest::prelude::*;

use super::*;

/// `abc` for bytes, `-` for what was cut off, `?` for what was only seen, `.` for a hole, from position 0 on.
fn drawn(sparse: &Sparse) -> String {
    let mut text = String::new();
    for piece in sparse.iter() {
        text.push_str(&".".repeat(piece.start as usize - text.len()));
        match &piece.content {
            Content::Bytes(bytes) => text.push_str(std::str::from_utf8(bytes).unwrap()),
            Content::Cut => text.push_str(&"-".repeat(piece.len as usize)),
            Content::Seen => text.push_str(&"?".repeat(piece.len as usize)),
        }
    }
    text
}

#[test]
fn the_first_copy_is_kept_and_holes_are_filled_around_it() {
    let mut sparse = Sparse::default();
    sparse.insert(2, &Run::Bytes(b"cd"), 1);
    sparse.insert(6, &Run::Bytes(b"gh"), 2);
    assert_eq!(
        sparse.overlap(1, &Run::Bytes(b"BCDEFGHI")),
        Overlap { bytes: 4, differs: true },
        "both pieces are overlapped"
    );
    assert_eq!(sparse.overlap(1, &Run::Bytes(b"BcdEFghI")), Overlap { bytes: 4, differs: false });
    sparse.insert(1, &Run::Bytes(b"BCDEFGHI"), 3);
    assert_eq!(drawn(&sparse), ".BcdEFghI");
}

#[test]
fn what_was_cut_off_is_filled_by_a_copy_that_has_it_but_fills_nothing() {
    let mut sparse = Sparse::default();
    sparse.insert(0, &Run::Bytes(b"ab"), 1);
    sparse.insert(1, &Run::Cut(7), 1);
    assert_eq!(drawn(&sparse), "ab------");
    sparse.insert(3, &Run::Bytes(b"de"), 2);
    assert_eq!(drawn(&sparse), "ab-de---");
    sparse.insert(0, &Run::Bytes(b"ABCDEFGHIJ"), 3);
    assert_eq!(drawn(&sparse), "abCdeFGHIJ");
}

#[test]
fn what_is_only_seen_becomes_one_piece() {
    let mut sparse = Sparse::default();
    sparse.insert(4, &Run::Bytes(b"e"), 1);
    sparse.insert(5, &Run::Bytes(b"f"), 2);
    sparse.insert(8, &Run::Cut(1), 2);
    sparse.hollow();
    assert_eq!((drawn(&sparse).as_str(), sparse.len()), ("....??..-", 2));
    sparse.insert(6, &Run::Seen(4), 3);
    assert_eq!((drawn(&sparse).as_str(), sparse.len(), sparse.cost()), ("....??????", 1, PIECE_COST));
}

proptest! {
    /// Against an array with a cell for each position.
    #[test]
    fn runs_lie_where_an_array_has_them(
        runs in prop::collection::vec((0..40usize, 1..12usize, 0..4u8, any::<u8>()), 1..40),
    ) {
        let mut sparse = Sparse::default();
        let mut cells = [b'.'; 64];
        for (start, len, kind, letter) in runs {
            let bytes = vec![b'a' + letter % 26; len];
            let run = if kind == 0 { Run::Cut(len as u32) } else { Run::Bytes(&bytes) };
            let before = cells.iter().skip(start).take(len).filter(|cell| **cell != b'.').count();
            prop_assert_eq!(sparse.overlap(start as u64, &run).bytes, before as u64);
            sparse.insert(start as u64, &run, 0);
            for (cell, byte) in cells.iter_mut().skip(start).zip(&bytes) {
                match (*cell, kind) {
                    (b'.', 0) => *cell = b'-',
                    (b'.' | b'-', 1..) => *cell = *byte,
                    _ => {}
                }
            }
            let cost: usize = sparse.iter().map(Piece::cost).sum();
            prop_assert_eq!(sparse.cost(), cost);
        }
        let expected = String::from_utf8(cells.to_vec()).unwrap();
        prop_assert_eq!(drawn(&sparse), expected.trim_end_matches('.'));
    }
}
