//! The text of a database statement as it is told: bounded, and without passwords.

use std::borrow::Cow;

/// The most bytes of a statement that are kept and told.
pub(super) const STATEMENT_MAX: usize = 1024;

/// What stands in front of a password in a statement: `IDENTIFIED BY '…'`, `SET PASSWORD = '…'`, `PASSWORD '…'`.
const BEFORE_PASSWORDS: [&[u8]; 2] = [b"identified", b"password"];

/// What stands for text that is not told.
const HIDDEN: &[u8] = b"***";

/// Text as it may be told: where a password may be in it, strings from there on are replaced.
pub(super) fn without_passwords(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(start) = (0..text.len()).find(|at| begins_password(text, *at)) else {
        return Cow::Borrowed(text);
    };
    let (before, mut rest) = text.split_at(start);
    let mut told = before.to_vec();
    while let Some(open) = rest.iter().position(|byte| b"'\"$".contains(byte)) {
        let (plain, quoted) = rest.split_at(open);
        told.extend_from_slice(plain);
        let (quote, inside) = quoted.split_at(quote_len(quoted));
        told.extend_from_slice(quote);
        if quote == b"$" {
            // A parameter's number, `$1`, not a quote.
            rest = inside;
            continue;
        }
        told.extend_from_slice(HIDDEN);
        let Some(length) = string_len(inside, quote) else { return Cow::Owned(told) };
        told.extend_from_slice(quote);
        rest = inside.get(length..).unwrap_or_default();
    }
    told.extend_from_slice(rest);
    Cow::Owned(told)
}

fn begins_password(text: &[u8], at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    matches!(rest.first(), Some(b'i' | b'I' | b'p' | b'P'))
        && BEFORE_PASSWORDS
            .iter()
            .any(|word| rest.get(..word.len()).is_some_and(|there| there.eq_ignore_ascii_case(word)))
}

/// Length of the quote that `text` begins with: `'`, `"`, `$$` or `$tag$`; 1 for a dollar sign that opens nothing.
fn quote_len(text: &[u8]) -> usize {
    if text.first() != Some(&b'$') {
        return 1;
    }
    let tag = text.iter().skip(1).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let digit = text.get(1).is_some_and(u8::is_ascii_digit);
    if !digit && text.get(tag + 1) == Some(&b'$') { tag + 2 } else { 1 }
}

/// Where the closing quote begins; `None` where the text ends before.
fn string_len(text: &[u8], quote: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..)?;
        if rest.starts_with(quote) {
            // A doubled quote is one in the string; what is closed and opened again is hidden as well.
            if quote.len() == 1 && rest.get(1) == quote.first() {
                at += 2;
                continue;
            }
            return Some(at + quote.len());
        }
        at += if rest.first() == Some(&b'\\') { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::without_passwords;

    fn told(text: &str) -> String {
        String::from_utf8(without_passwords(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn strings_behind_the_word_for_a_password_are_hidden() {
        assert_eq!(
            told("CREATE USER 'a' IDENTIFIED BY 'se''cr\\'et' x 'y'"),
            "CREATE USER 'a' IDENTIFIED BY '***' x '***'"
        );
        assert_eq!(told("alter role a Password \"s\""), "alter role a Password \"***\"");
        assert_eq!(told("alter role a password $x$s$y$x$, b"), "alter role a password $x$***$x$, b");
        assert_eq!(told("SET PASSWORD = 'cut"), "SET PASSWORD = '***");
    }

    #[test]
    fn other_statements_stay_as_they_are() {
        for text in ["SELECT 'a' FROM t", "SELECT password FROM t WHERE id = $1", "", "p"] {
            assert_eq!(told(text), text);
        }
    }
}
