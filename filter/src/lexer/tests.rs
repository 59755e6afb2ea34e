use super::*;

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer::new(text);
    std::iter::from_fn(|| Some(lexer.next().unwrap().token).filter(|token| *token != Token::End)).collect()
}

fn refused(text: &str) -> (usize, String) {
    let mut lexer = Lexer::new(text);
    loop {
        match lexer.next() {
            Ok(Placed { token: Token::End, .. }) => panic!("{text} is taken"),
            Ok(_) => {}
            Err(error) => return (error.at(), error.what().to_owned()),
        }
    }
}

#[test]
fn the_longest_match_counts() {
    assert_eq!(tokens("tcp-syn"), [Token::Number(2)]);
    assert_eq!(tokens("ftp-data"), [Token::Name("ftp-data")]);
    assert_eq!(tokens("80-90"), [Token::Name("80-90")]);
    assert_eq!(tokens("1.2.3.4"), [Token::Dotted("1.2.3.4")]);
    assert_eq!(tokens("1.2.3.4.5.6"), [Token::Ether([1, 2, 3, 4, 5, 6])]);
    assert_eq!(tokens("0:2"), [Token::Number(0), Token::Colon, Token::Number(2)]);
    assert_eq!(tokens("ip6"), [Token::Word(Word::named("ip6").unwrap())]);
    assert_eq!(tokens("ip60"), [Token::Name("ip60")]);
    assert_eq!(tokens("a-"), [Token::Name("a"), Token::Minus]);
}

#[test]
fn numbers_are_decimal_octal_or_hexadecimal() {
    assert_eq!(tokens("10 010 0x10 0X1f"), [10, 8, 16, 31].map(Token::Number));
    assert_eq!(refused("ip[08]"), (3, "08 begins with 0 but is not octal".to_owned()));
    assert_eq!(refused("4294967296").0, 0);
}

#[test]
fn addresses_with_colons_are_told_from_byte_ranges() {
    assert_eq!(tokens("1:2:3:4:5:6"), [Token::Ether([1, 2, 3, 4, 5, 6])]);
    assert_eq!(tokens("::1/128"), [Token::Ipv6("::1".parse().unwrap()), Token::Slash, Token::Number(128)]);
    assert_eq!(tokens("1:2:3:4:5:6:7:8"), [Token::Ipv6("1:2:3:4:5:6:7:8".parse().unwrap())]);
    assert_eq!(tokens("::ffff:1.2.3.4)"), [Token::Ipv6("::ffff:1.2.3.4".parse().unwrap()), Token::Close]);
    assert_eq!(refused("host 1::2::3").0, 5);
    for text in ["01-02-03-04-05-06", "0102.0304.0506", "010203040506"] {
        assert_eq!(tokens(text), [Token::Ether([1, 2, 3, 4, 5, 6])], "{text}");
    }
}

#[test]
fn a_backslash_makes_a_name_of_a_word() {
    assert_eq!(tokens(r"\tcp)"), [Token::Name("tcp"), Token::Close]);
    assert_eq!(refused("ip \\").0, 3);
}

#[test]
fn what_is_no_part_of_the_language_is_shown_escaped() {
    assert_eq!(refused("tcp \u{1b}[31m"), (4, "'\\u{1b}' is not part of the filter language".to_owned()));
    assert_eq!(refused("tcp é").0, 4);
    assert_eq!(refused("network \"blue").0, 8);
}
