//! Text from elsewhere made fit for a terminal: escaped, and cut to the columns that there are.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The most characters of one foreign string that are kept: more than any screen is wide.
const FOREIGN_MAX: usize = 1000;

/// Whether `c` could change what a reader sees around it: control characters, everything that takes no column of its own
/// (bidirectional overrides, joiners, combining marks, tags), and separators that some terminals act on.
fn is_hostile(c: char) -> bool {
    let separators = matches!(c, '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}');
    separators || c.width().is_none_or(|columns| columns == 0)
}

/// `text` with every hostile character as a visible escape (`\u{202e}`), and not longer than any screen can show.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) && text.len() <= FOREIGN_MAX {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len().min(FOREIGN_MAX));
    for c in text.chars().take(FOREIGN_MAX) {
        if is_hostile(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// Escapes `text` in place.
pub(crate) fn escape_in_place(text: &mut String) {
    if let Cow::Owned(escaped) = escape(text) {
        *text = escaped;
    }
}

/// Whether a cell of the screen may go to the terminal as it is.
pub(crate) fn is_clean(symbol: &str) -> bool {
    !symbol.contains(is_hostile)
}

/// Columns that `text` takes.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// `text` in at most `width` columns: where it is longer, its middle is left out, because both ends of an address or a file
/// name tell it from the next.
pub(crate) fn shorten_middle(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let kept = width.saturating_sub(1);
    let tail = end_of(text, kept / 2);
    let head = start_of(text, kept - columns(tail));
    Cow::Owned(if width == 0 { String::new() } else { format!("{head}…{tail}") })
}

/// `text` in at most `width` columns: where it is longer, its end is left out.
pub(crate) fn shorten_end(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let head = start_of(text, width.saturating_sub(1));
    Cow::Owned(if width == 0 { String::new() } else { format!("{head}…") })
}

/// `text` broken between words into lines of at most `width` columns, at most `most` (at least 1) of them.
pub(crate) fn wrap(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let full = lines.len() >= most;
        match lines.last_mut().filter(|line| full || columns(line) + 1 + columns(word) <= width) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| shorten_end(line, width).into_owned()).collect()
}

/// The longest start of `text` that takes at most `width` columns.
fn start_of(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > width
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// The longest end of `text` that takes at most `width` columns.
pub(crate) fn end_of(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let start = text.char_indices().rev().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > width
    });
    start.map_or(text, |(at, c)| &text[at + c.len_utf8()..])
}

/// `path` as one word for a shell: quoted where it has to be.
pub(crate) fn shell_word(path: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:=@%,".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(format!("'{}'", path.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_act_on_a_terminal_become_visible() {
        for (hostile, shown) in [
            ("\x1b[31mred", r"\u{1b}[31mred"),
            ("a\nb\tc\r", r"a\nb\tc\r"),
            ("\u{9b}2J", r"\u{9b}2J"),
            ("\u{7f}", r"\u{7f}"),
            ("evil\u{202e}txt.exe", r"evil\u{202e}txt.exe"),
            ("\u{2066}x\u{2069}\u{200f}\u{61c}", r"\u{2066}x\u{2069}\u{200f}\u{61c}"),
            ("zero\u{200b}width\u{feff}", r"zero\u{200b}width\u{feff}"),
            ("e\u{301}", r"e\u{301}"),
            ("soft\u{ad}hyphen", r"soft\u{ad}hyphen"),
            ("line\u{2028}paragraph\u{2029}", r"line\u{2028}paragraph\u{2029}"),
            ("tag\u{e0041}", r"tag\u{e0041}"),
        ] {
            assert_eq!(escape(hostile), shown);
            assert!(is_clean(&escape(hostile)));
            assert!(!is_clean(hostile));
        }
    }

    #[test]
    fn harmless_text_stays_as_it_is() {
        for text in ["vni 4242 from 10.0.0.7", "Größe 日本 ▁▂▃ …", ""] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn endless_text_is_bounded() {
        assert!(escape(&"x".repeat(1 << 20)).len() <= FOREIGN_MAX);
        assert!(escape(&"\u{202e}".repeat(1 << 20)).len() <= FOREIGN_MAX * r"\u{202e}".len());
    }

    #[test]
    fn shortened_text_fits_and_keeps_its_ends() {
        assert_eq!(shorten_middle("[2001:db8:1:2:3:4:5:6]:443", 16), "[2001:db…:6]:443");
        assert_eq!(shorten_middle("short", 5), "short");
        assert_eq!(shorten_end("disk full on /var", 9), "disk ful…");
        for text in ["日本語のテキスト", "plain ascii text", "mixed 日本 and ascii"] {
            for width in 0..20 {
                assert!(columns(&shorten_middle(text, width)) <= width, "{text} in {width}");
                assert!(columns(&shorten_end(text, width)) <= width, "{text} in {width}");
            }
        }
    }

    #[test]
    fn long_text_is_broken_between_words_and_only_its_end_is_lost() {
        let text = "expected a protocol, an address or a port";
        assert_eq!(wrap(text, 16, 9), ["expected a", "protocol, an", "address or a", "port"]);
        assert_eq!(wrap(text, 16, 2), ["expected a", "protocol, an ad…"]);
        assert_eq!(wrap(text, 80, 2), [text]);
        assert_eq!(wrap("unbreakable", 5, 2), ["unbr…"]);
        assert!(wrap("", 16, 2).is_empty());
    }

    #[test]
    fn a_path_with_blanks_or_quotes_is_quoted_for_the_shell() {
        assert_eq!(shell_word("/var/captures/vxtap-1.pcapng"), "/var/captures/vxtap-1.pcapng");
        assert_eq!(shell_word("/my captures"), "'/my captures'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("$(reboot)"), "'$(reboot)'");
        assert_eq!(shell_word(""), "''");
    }
}
