use proptest::prelude::*;

use super::{Decoded, Decoder, LIST_MAX, TABLE_MAX};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn decode(decoder: &mut Decoder, block: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let decoded = decoder.decode(&hex(block), |name, value| fields.push((text(name), text(value))));
    assert_eq!(decoded, Decoded::Whole);
    fields
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn table(decoder: &Decoder) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pair = |entry: &super::Entry| {
        let (name, value) = entry.text.split_at(entry.name.unwrap());
        (text(name), text(value))
    };
    decoder.entries.iter().map(pair).collect()
}

#[test]
fn literals_of_the_rfc_are_decoded() {
    // RFC 7541 C.2.
    let mut decoder = Decoder::default();
    let fields = decode(&mut decoder, "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572");
    assert_eq!(fields, pairs(&[("custom-key", "custom-header")]));
    assert_eq!(decoder.size, 55);
    let mut decoder = Decoder::default();
    assert_eq!(decode(&mut decoder, "040c 2f73 616d 706c 652f 7061 7468"), pairs(&[(":path", "/sample/path")]));
    let never = decode(&mut decoder, "1008 7061 7373 776f 7264 0673 6563 7265 74");
    assert_eq!(never, pairs(&[("password", "secret")]));
    assert_eq!(decode(&mut decoder, "82"), pairs(&[(":method", "GET")]));
    assert_eq!(decoder.size, 0);
}

#[test]
fn requests_of_the_rfc_are_decoded() {
    // RFC 7541 C.3 and C.4.
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        let common = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        assert_eq!(decode(&mut decoder, blocks[0]), pairs(&common));
        assert_eq!(decoder.size, 57);
        let second = [&common[..], &[("cache-control", "no-cache")]].concat();
        assert_eq!(decode(&mut decoder, blocks[1]), pairs(&second));
        assert_eq!(decoder.size, 110);
        let third = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ];
        assert_eq!(decode(&mut decoder, blocks[2]), pairs(&third));
        assert_eq!(decoder.size, 164);
        let entries =
            [("custom-key", "custom-value"), ("cache-control", "no-cache"), (":authority", "www.example.com")];
        assert_eq!(table(&decoder), pairs(&entries));
    }
}

#[test]
fn responses_of_the_rfc_are_decoded_and_evict() {
    // RFC 7541 C.5 and C.6: the table has 256 bytes.
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d \
         546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f \
         6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b \
         2076 6572 7369 6f6e 3d31",
    ];
    let coded = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 \
         8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
         dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    let (date, later) = ("Mon, 21 Oct 2013 20:13:21 GMT", "Mon, 21 Oct 2013 20:13:22 GMT");
    let (location, cookie) = ("https://www.example.com", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        decoder.resize(256);
        let rest = [("cache-control", "private"), ("date", date), ("location", location)];
        assert_eq!(decode(&mut decoder, blocks[0]), pairs(&[&[(":status", "302")], &rest[..]].concat()));
        assert_eq!(decoder.size, 222);
        assert_eq!(decode(&mut decoder, blocks[1]), pairs(&[&[(":status", "307")], &rest[..]].concat()));
        assert_eq!(decoder.size, 222);
        let third = [
            (":status", "200"),
            ("cache-control", "private"),
            ("date", later),
            ("location", location),
            ("content-encoding", "gzip"),
            ("set-cookie", cookie),
        ];
        assert_eq!(decode(&mut decoder, blocks[2]), pairs(&third));
        assert_eq!(table(&decoder), pairs(&[("set-cookie", cookie), ("content-encoding", "gzip"), ("date", later)]));
        assert_eq!(decoder.size, 215);
    }
}

#[test]
fn what_was_missed_is_unknown_and_what_came_after_is_right() {
    let mut decoder = Decoder::default();
    decode(&mut decoder, "4001 6101 62");
    decoder.miss();
    let mut fields = Vec::new();
    // Index 62 is unknown, then an entry is added, which is 62 then, and 63 is unknown.
    let block = hex("be 4001 6301 64 be bf");
    assert_eq!(decoder.decode(&block, |name, value| fields.push((name.to_vec(), value.to_vec()))), Decoded::Partly);
    assert_eq!(fields, vec![(b"c".to_vec(), b"d".to_vec()); 2]);
    // A name that is unknown, with a value: still an entry, and the one before is 63 now.
    fields.clear();
    let block = hex("7f00 0165 bf");
    assert_eq!(decoder.decode(&block, |name, value| fields.push((name.to_vec(), value.to_vec()))), Decoded::Partly);
    assert_eq!(fields, [(b"c".to_vec(), b"d".to_vec())]);
}

#[test]
fn an_index_that_cannot_be_and_a_number_that_is_too_long_are_invalid() {
    for block in ["be", "80", "ffff ffff ff7f", "4085", "0001 6181 00"] {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(&hex(block), |_, _| ()), Decoded::Invalid, "{block}");
    }
}

#[test]
fn a_long_entry_that_is_named_again_and_again_is_told_up_to_a_bound() {
    let mut decoder = Decoder::default();
    let mut block = vec![0x40, 1, b'a', 0x7f, 0xc9, 0x1e];
    block.extend([b'x'; 127 + 0x49 + (0x1e << 7)]);
    block.extend([0xbe; 10_000]);
    let mut told = 0;
    assert_eq!(decoder.decode(&block, |name, value| told += name.len() + value.len()), Decoded::Partly);
    assert!((LIST_MAX / 2..LIST_MAX).contains(&told), "{told}");
}

proptest! {
    #[test]
    fn any_block_keeps_the_table_within_its_bounds(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let mut decoder = Decoder::default();
        for block in blocks {
            let mut told = 0;
            decoder.decode(&block, |name, value| told += name.len() + value.len());
            prop_assert!(told <= LIST_MAX);
            prop_assert!(decoder.size <= decoder.max && decoder.max <= TABLE_MAX);
            let size: usize = decoder.entries.iter().map(super::Entry::size).sum();
            prop_assert_eq!(size, decoder.size);
        }
    }
}
