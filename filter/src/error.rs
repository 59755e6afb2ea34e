//! What is wrong with the text of a filter, and where.

use std::fmt;

/// A text that is no filter.
///
/// Displayed as one line that names the place; [`FilterError::with_caret`] shows it. Neither lets control characters of
/// the text through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("capture filter, character {}: {what}", self.column())]
pub struct FilterError {
    text: String,
    at: usize,
    what: String,
}

/// How many characters of a text are shown before and behind the place of an error.
const SHOWN: usize = 50;

impl FilterError {
    /// `what` may quote only what the lexer lets through as a word, or what [`str::escape_debug`] made harmless.
    pub(crate) fn new(text: &str, at: usize, what: impl Into<String>) -> Self {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        Self { text: text.to_owned(), at, what: what.into() }
    }

    /// The place as an offset in bytes into the text, at a character; the text's length for something missing at the end.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What is wrong, without the place, in one line.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The place as a person counts, in characters from 1.
    pub fn column(&self) -> usize {
        self.before().chars().count() + 1
    }

    /// The text around the place, and a caret under the place: two lines.
    pub fn with_caret(&self) -> impl fmt::Display {
        let before: Vec<char> = self.before().chars().collect();
        let cut = before.len().saturating_sub(SHOWN);
        let escaped = |part: &[char]| part.iter().flat_map(|sign| sign.escape_debug()).collect::<String>();
        let front = format!("{}{}", if cut > 0 { "…" } else { "" }, escaped(before.get(cut..).unwrap_or_default()));
        let behind: Vec<char> = self.text.get(self.at..).unwrap_or_default().chars().collect();
        let back = escaped(behind.get(..SHOWN.min(behind.len())).unwrap_or_default());
        let more = if behind.len() > SHOWN { "…" } else { "" };
        format!("{front}{back}{more}\n{:>width$}", '^', width = front.chars().count() + 1)
    }

    fn before(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }
}

/// A filter that has no classic BPF program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a filter with {what} cannot run in the kernel")]
pub struct NotForKernel {
    /// What it has that the bytes of the frame do not show, or that classic BPF cannot do.
    pub what: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_is_under_the_place_also_behind_characters_that_are_escaped() {
        let error = FilterError::new("tcp\u{1b} é x", 8, "no");
        assert_eq!(error.with_caret().to_string(), "tcp\\u{1b} é x\n            ^");
        assert_eq!(error.to_string(), "capture filter, character 8: no");
    }

    #[test]
    fn a_long_text_is_shown_around_the_place() {
        let text = "é".repeat(500);
        let shown = FilterError::new(&text, 400, "no").with_caret().to_string();
        let (line, caret) = shown.split_once('\n').unwrap();
        assert_eq!(line.chars().count(), 2 * SHOWN + 2);
        assert_eq!(caret, format!("{:>52}", '^'));
    }

    #[test]
    fn a_place_is_never_inside_a_character_or_behind_the_text() {
        assert_eq!(FilterError::new("aé", 2, "").at(), 1);
        assert_eq!(FilterError::new("aé", 9, "").at(), 3);
    }
}
