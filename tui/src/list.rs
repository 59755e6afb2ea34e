//! A list of which a part is on the screen.

use crate::keys::Command;

/// Which row is chosen, and which is the first on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    selected: usize,
    top: usize,
    rows: usize,
    len: usize,
}

impl List {
    /// The chosen row.
    pub(crate) const fn selected(&self) -> usize {
        self.selected
    }

    /// The rows on the screen.
    pub(crate) fn visible(&self) -> std::ops::Range<usize> {
        self.top..(self.top + self.rows).min(self.len)
    }

    /// Chooses a row.
    pub(crate) fn select(&mut self, row: usize) {
        self.selected = row;
        self.settle();
    }

    /// Says how many rows there are and how many fit on the screen.
    pub(crate) fn fit(&mut self, len: usize, rows: usize) {
        (self.len, self.rows) = (len, rows);
        self.settle();
    }

    /// Moves the choice by a key; `false` for a key that moves nothing.
    pub(crate) fn go(&mut self, command: Command) -> bool {
        let Some(target) = self.target(self.selected, command) else { return false };
        self.select(target);
        true
    }

    /// Moves the rows on the screen by a key, in a list where none is chosen.
    pub(crate) fn scroll(&mut self, command: Command) -> bool {
        let Some(target) = self.target(self.top, command) else { return false };
        self.top = target.min(self.last_top());
        self.selected = self.top;
        true
    }

    fn target(&self, from: usize, command: Command) -> Option<usize> {
        let page = self.rows.max(1);
        Some(match command {
            Command::Up => from.saturating_sub(1),
            Command::Down => from + 1,
            Command::PageUp => from.saturating_sub(page),
            Command::PageDown => from + page,
            Command::First => 0,
            Command::Last => self.len.saturating_sub(1),
            _ => return None,
        })
    }

    fn last_top(&self) -> usize {
        self.len.saturating_sub(self.rows.max(1))
    }

    /// Keeps the choice inside the list and on the screen, and the screen full.
    fn settle(&mut self) {
        self.selected = self.selected.min(self.len.saturating_sub(1));
        if self.selected >= self.top + self.rows.max(1) {
            self.top = self.selected + 1 - self.rows.max(1);
        }
        self.top = self.top.min(self.selected).min(self.last_top());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(len: usize, rows: usize) -> List {
        let mut list = List::default();
        list.fit(len, rows);
        list
    }

    #[test]
    fn keys_move_the_choice_and_the_screen_follows() {
        use Command::{Down, First, Last, PageDown, PageUp, Up};
        let cases: &[(&[Command], usize, std::ops::Range<usize>)] = &[
            (&[], 0, 0..4),
            (&[Up], 0, 0..4),
            (&[Down, Down], 2, 0..4),
            (&[PageDown], 4, 1..5),
            (&[PageDown, Up, Up, Up, Up], 0, 0..4),
            (&[Last], 9, 6..10),
            (&[Last, Down], 9, 6..10),
            (&[Last, PageUp], 5, 5..9),
            (&[PageDown, PageDown, PageDown], 9, 6..10),
            (&[Last, First], 0, 0..4),
        ];
        for (keys, selected, visible) in cases {
            let mut list = list(10, 4);
            assert!(keys.iter().all(|key| list.go(*key)));
            assert_eq!((list.selected(), list.visible()), (*selected, visible.clone()), "{keys:?}");
        }
        assert!(!list(10, 4).go(Command::Reverse));
    }

    #[test]
    fn scrolling_stops_at_the_last_full_screen() {
        let mut list = list(10, 4);
        for _ in 0..20 {
            assert!(list.scroll(Command::Down));
        }
        assert_eq!(list.visible(), 6..10);
        assert!(list.scroll(Command::Up));
        assert_eq!(list.visible(), 5..9);
        assert!(list.scroll(Command::First));
        assert_eq!(list.visible(), 0..4);
        assert!(list.scroll(Command::Last));
        assert_eq!(list.visible(), 6..10);
    }

    #[test]
    fn a_list_that_shrinks_keeps_the_choice_inside() {
        let mut list = list(10, 4);
        list.go(Command::Last);
        list.fit(3, 4);
        assert_eq!((list.selected(), list.visible()), (2, 0..3));
        list.fit(0, 4);
        assert_eq!((list.selected(), list.visible()), (0, 0..0));
        list.fit(5, 0);
        assert_eq!(list.visible(), 0..0);
    }
}
