//! One line of text being written.

use crate::keys::Edit;

/// Text with a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineEdit {
    chars: Vec<char>,
    /// Characters before the cursor.
    cursor: usize,
}

impl LineEdit {
    /// The longest line, in characters.
    pub(crate) const MAX: usize = 500;

    /// `text` with the cursor at its end.
    pub(crate) fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().take(Self::MAX).collect();
        Self { cursor: chars.len(), chars }
    }

    pub(crate) fn text(&self) -> String {
        self.chars.iter().collect()
    }

    /// The text before the cursor.
    pub(crate) fn before_cursor(&self) -> String {
        self.chars[..self.cursor].iter().collect()
    }

    /// Does what the key asked for. `Apply` and `Cancel` are for whoever owns the line.
    pub(crate) fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Apply | Edit::Cancel => {}
            Edit::Left => self.cursor = self.cursor.saturating_sub(1),
            Edit::Right => self.cursor = (self.cursor + 1).min(self.chars.len()),
            Edit::Start => self.cursor = 0,
            Edit::End => self.cursor = self.chars.len(),
            Edit::Backspace => self.delete_from(self.cursor.saturating_sub(1)),
            Edit::Delete => {
                if self.cursor < self.chars.len() {
                    self.chars.remove(self.cursor);
                }
            }
            Edit::DeleteWord => self.delete_from(self.word_start()),
            Edit::Clear => *self = Self::default(),
            Edit::Insert(c) => {
                if self.chars.len() < Self::MAX {
                    self.chars.insert(self.cursor, c);
                    self.cursor += 1;
                }
            }
        }
    }

    fn delete_from(&mut self, start: usize) {
        self.chars.drain(start..self.cursor);
        self.cursor = start;
    }

    /// Where the word before the cursor begins.
    fn word_start(&self) -> usize {
        let before = &self.chars[..self.cursor];
        let word_end = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |at| at + 1);
        before[..word_end].iter().rposition(|c| c.is_whitespace()).map_or(0, |at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_change_the_line_where_the_cursor_is() {
        use Edit::{Backspace, Clear, Delete, DeleteWord, End, Insert, Left, Right, Start};
        let cases: &[(&str, &[Edit], &str, &str)] = &[
            ("tcp", &[Insert('x')], "tcpx", "tcpx"),
            ("tcp", &[Left, Insert('x')], "tcxp", "tcx"),
            ("tcp", &[Start, Insert('x')], "xtcp", "x"),
            ("tcp", &[Start, Left, Delete], "cp", ""),
            ("tcp", &[Delete, Right], "tcp", "tcp"),
            ("tcp", &[Backspace, Backspace], "t", "t"),
            ("", &[Backspace, Delete, DeleteWord], "", ""),
            ("port 443  ", &[DeleteWord], "port ", "port "),
            ("port 443 tcp", &[DeleteWord, DeleteWord, DeleteWord, DeleteWord], "", ""),
            ("port 443", &[Left, DeleteWord], "port 3", "port "),
            ("grüße", &[Left, Left, Backspace, End], "grße", "grße"),
            ("port 443", &[Left, Clear], "", ""),
        ];
        for (text, keys, after, before_cursor) in cases {
            let mut line = LineEdit::new(text);
            keys.iter().for_each(|key| line.edit(*key));
            assert_eq!(
                (line.text().as_str(), line.before_cursor().as_str()),
                (*after, *before_cursor),
                "{text} {keys:?}"
            );
        }
    }

    #[test]
    fn the_line_is_bounded() {
        let mut line = LineEdit::new(&"x".repeat(2 * LineEdit::MAX));
        line.edit(Edit::Insert('y'));
        assert_eq!(line.text().len(), LineEdit::MAX);
    }
}
