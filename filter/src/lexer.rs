//! Text to tokens, by the rules of pcap-filter(7): the longest match counts.

use std::net::Ipv6Addr;

use crate::error::FilterError;
use crate::names::constants;
use crate::words::Word;

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'t> {
    /// A word of the language.
    Word(Word),
    /// A number, or the name of one.
    Number(u32),
    /// Two to four numbers with dots.
    Dotted(&'t str),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// An Ethernet address.
    Ether([u8; 6]),
    /// A name; behind a backslash also a word of the language.
    Name(&'t str),
    /// A text in quotation marks, which only names of networks may have.
    Quoted(&'t str),
    /// Punctuation and operators; `and`, `or`, `not` also for their signs.
    And,
    Or,
    Not,
    Open,
    Close,
    OpenIndex,
    CloseIndex,
    Colon,
    Slash,
    Plus,
    Minus,
    Star,
    Percent,
    Ampersand,
    Bar,
    Caret,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    End,
}

/// A token and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'t> {
    pub(crate) token: Token<'t>,
    /// Offset of its first byte.
    pub(crate) at: usize,
    /// Offset behind its last byte.
    pub(crate) end: usize,
}

/// Takes tokens off the front of a text.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

/// The longest IPv6 or Ethernet address with colons.
const LONGEST_ADDRESS: usize = 45;

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn next(&mut self) -> Result<Placed<'t>, FilterError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        let at = self.at;
        let rest = self.text.get(at..).unwrap_or_default();
        let (token, len) = match Self::sign(rest) {
            Some(found) => found,
            None => self.word(rest, at)?,
        };
        self.at = at + len;
        Ok(Placed { token, at, end: self.at })
    }

    fn sign(rest: &'t str) -> Option<(Token<'t>, usize)> {
        let two = match rest.as_bytes() {
            [b'&', b'&', ..] => Some(Token::And),
            [b'|', b'|', ..] => Some(Token::Or),
            [b'>', b'=', ..] => Some(Token::GreaterOrEqual),
            [b'<', b'=', ..] => Some(Token::LessOrEqual),
            [b'!', b'=', ..] => Some(Token::NotEqual),
            [b'=', b'=', ..] => Some(Token::Equal),
            [b'<', b'<', ..] => Some(Token::ShiftLeft),
            [b'>', b'>', ..] => Some(Token::ShiftRight),
            _ => None,
        };
        if let Some(token) = two {
            return Some((token, 2));
        }
        let one = match rest.as_bytes().first() {
            None => return Some((Token::End, 0)),
            Some(b'+') => Token::Plus,
            Some(b'-') => Token::Minus,
            Some(b'*') => Token::Star,
            Some(b'/') => Token::Slash,
            Some(b'%') => Token::Percent,
            Some(b':') if address(rest).is_none() => Token::Colon,
            Some(b'[') => Token::OpenIndex,
            Some(b']') => Token::CloseIndex,
            Some(b'!') => Token::Not,
            Some(b'<') => Token::Less,
            Some(b'>') => Token::Greater,
            Some(b'(') => Token::Open,
            Some(b')') => Token::Close,
            Some(b'&') => Token::Ampersand,
            Some(b'|') => Token::Bar,
            Some(b'^') => Token::Caret,
            Some(b'=') => Token::Equal,
            _ => return None,
        };
        Some((one, 1))
    }

    fn word(&self, rest: &'t str, at: usize) -> Result<(Token<'t>, usize), FilterError> {
        let error = |at: usize, what: String| FilterError::new(self.text, at, what);
        if let Some(behind) = rest.strip_prefix('\\') {
            let len = behind.find([' ', '!', '(', ')', '\n', '\t']).unwrap_or(behind.len());
            let name = behind.get(..len).unwrap_or_default();
            if name.is_empty() {
                return Err(error(at, "expected a name behind the backslash".to_owned()));
            }
            return Ok((Token::Name(name), len + 1));
        }
        if let Some(behind) = rest.strip_prefix('"') {
            let Some(len) = behind.find('"') else {
                return Err(error(at, "the quotation mark is not closed".to_owned()));
            };
            return Ok((Token::Quoted(behind.get(..len).unwrap_or_default()), len + 2));
        }
        let word = word_at(rest);
        let address = address(rest).filter(|(_, len)| *len > word.len());
        let whole = address.map_or(word.len(), |(_, len)| len);
        if let Some(len) = broken_address(rest).filter(|len| *len > whole) {
            let shown = rest.get(..len).unwrap_or_default();
            return Err(error(at, format!("{shown} is neither an Ethernet nor an IPv6 address")));
        }
        if let Some(found) = address {
            return Ok(found);
        }
        if word.is_empty() {
            let sign = rest.chars().next().unwrap_or_default();
            return Err(error(at, format!("{} is not part of the filter language", quote(sign))));
        }
        Ok((self.classify(word, at)?, word.len()))
    }

    fn classify(&self, word: &'t str, at: usize) -> Result<Token<'t>, FilterError> {
        let number = |digits: &str, radix| {
            u32::from_str_radix(digits, radix)
                .map(Token::Number)
                .map_err(|_| FilterError::new(self.text, at, format!("{word} does not fit 32 bits")))
        };
        if let Some(word) = Word::named(word) {
            return Ok(match word {
                Word::And => Token::And,
                Word::Or => Token::Or,
                Word::Not => Token::Not,
                word => Token::Word(word),
            });
        }
        if let Some(address) = ether_address(word) {
            return Ok(Token::Ether(address));
        }
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            if word.len() > 1 && word.starts_with('0') {
                if word.bytes().any(|byte| byte > b'7') {
                    return Err(FilterError::new(self.text, at, format!("{word} begins with 0 but is not octal")));
                }
                return number(word, 8);
            }
            return number(word, 10);
        }
        let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
        if let Some(digits) = hexadecimal.filter(|digits| is_hex(digits)) {
            return number(digits, 16);
        }
        let numbers = word.split('.').count();
        if (2..=4).contains(&numbers) && word.split('.').all(is_number) {
            return Ok(Token::Dotted(word));
        }
        Ok(constants::value(word).map_or(Token::Name(word), Token::Number))
    }
}

/// How a character is shown in a message.
pub(crate) fn quote(sign: char) -> String {
    format!("'{}'", sign.escape_debug())
}

fn is_hex(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_number(text: &str) -> bool {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    hexadecimal.is_some_and(is_hex) || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Letters and digits; inside also dots, underscores and hyphens, and a dot at the end.
fn word_at(rest: &str) -> &str {
    if !rest.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return "";
    }
    let inside = |sign: char| sign.is_ascii_alphanumeric() || "-_.".contains(sign);
    let len = rest.find(|sign| !inside(sign)).unwrap_or(rest.len());
    rest.get(..len).unwrap_or_default().trim_end_matches(['-', '_'])
}

/// The longest address with colons at the front.
fn address<'t>(rest: &str) -> Option<(Token<'t>, usize)> {
    let part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let run = rest.bytes().take(LONGEST_ADDRESS).take_while(part).count();
    let run = rest.get(..run)?;
    if !run.contains(':') {
        return None;
    }
    (2..=run.len()).rev().find_map(|len| {
        let text = run.get(..len)?;
        let token = ether_address(text).map(Token::Ether).or_else(|| text.parse().ok().map(Token::Ipv6))?;
        Some((token, len))
    })
}

/// Length of something at the front that looks like an address with colons: bytes, each with colons behind it.
fn broken_address(rest: &str) -> Option<usize> {
    let (mut len, mut groups) = (0, 0);
    loop {
        let behind = rest.get(len..)?;
        let digits = behind.bytes().take(3).take_while(u8::is_ascii_hexdigit).count();
        let colons = behind.bytes().skip(digits).take_while(|byte| *byte == b':').count();
        if !(1..=2).contains(&digits) || colons == 0 {
            return (groups >= 2).then_some(len);
        }
        len += digits + colons;
        groups += 1;
    }
}

/// Six bytes with `:`, `-` or `.` between them, three times four digits with dots, or twelve digits.
fn ether_address(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    for separator in [':', '-', '.'] {
        let parts = || text.split(separator);
        if parts().count() == 6 && parts().all(|part| part.len() <= 2 && is_hex(part)) {
            for (byte, part) in address.iter_mut().zip(parts()) {
                *byte = u8::from_str_radix(part, 16).ok()?;
            }
            return Some(address);
        }
    }
    let groups = || text.split('.');
    let digits: &str = &match groups().count() {
        1 => text.to_owned(),
        3 if groups().all(|group| group.len() == 4) => text.replace('.', ""),
        _ => return None,
    };
    if digits.len() != 12 || !is_hex(digits) {
        return None;
    }
    let number = u64::from_str_radix(digits, 16).ok()?;
    address.copy_from_slice(number.to_be_bytes().get(2..)?);
    Some(address)
}

#[cfg(test)]
mod tests;
