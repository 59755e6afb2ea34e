//! Tables: columns chosen by the width that there is, each row a line.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::text;

/// A column that a table may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// The columns of the terminal that it needs.
    pub(crate) width: usize,
    /// And those that it can make use of.
    pub(crate) want: usize,
    pub(crate) align: Align,
    /// Those with a lower rank are shown first; from [`Column::EXTRA`] on only when the others have all that they want.
    pub(crate) rank: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

impl Column {
    /// The first rank of columns that wait until the others are as wide as they want.
    pub(crate) const EXTRA: u8 = 100;

    /// A column of numbers.
    pub(crate) const fn number(title: &'static str, width: usize, rank: u8) -> Self {
        Self { title, width, want: width, align: Align::Right, rank }
    }

    /// A column of names, which grows from `width` to `want`.
    pub(crate) const fn name(title: &'static str, width: usize, want: usize, rank: u8) -> Self {
        Self { title, width, want, align: Align::Left, rank }
    }
}

/// What stands in one cell.
pub(crate) type Cell = (String, Style);

/// The columns that were chosen, with their widths.
pub(crate) struct Grid<'a> {
    columns: &'a [Column],
    /// For each column, its width; `None` for one that is not shown.
    widths: Vec<Option<usize>>,
}

impl<'a> Grid<'a> {
    /// Chooses from `columns` what fits into `available`.
    pub(crate) fn choose(columns: &'a [Column], available: usize) -> Self {
        let mut grid = Self { columns, widths: vec![None; columns.len()] };
        let mut by_rank: Vec<usize> = (0..columns.len()).collect();
        by_rank.sort_by_key(|column| columns[*column].rank);
        let (core, extra): (Vec<usize>, Vec<usize>) =
            by_rank.into_iter().partition(|column| columns[*column].rank < Column::EXTRA);
        let all = grid.admit(&core, available);
        grid.widen(available);
        if all {
            grid.admit(&extra, available);
            grid.widen(available);
        }
        grid
    }

    fn taken(&self) -> usize {
        let shown = self.widths.iter().flatten();
        shown.clone().sum::<usize>() + shown.count().saturating_sub(1)
    }

    /// Takes those columns in, the first first, until one does not fit; tells whether all did.
    fn admit(&mut self, candidates: &[usize], available: usize) -> bool {
        for candidate in candidates {
            self.widths[*candidate] = Some(self.columns[*candidate].width);
            if self.taken() > available {
                self.widths[*candidate] = None;
                return false;
            }
        }
        true
    }

    /// Gives what is left to the columns that want it, one by one so that it is shared evenly.
    fn widen(&mut self, available: usize) {
        let mut left = available.saturating_sub(self.taken());
        loop {
            let before = left;
            for (width, column) in self.widths.iter_mut().zip(self.columns) {
                if let Some(width) = width.as_mut().filter(|width| left > 0 && **width < column.want) {
                    *width += 1;
                    left -= 1;
                }
            }
            if left == before || left == 0 {
                return;
            }
        }
    }

    /// Whether a column is shown.
    pub(crate) fn shows(&self, title: &str) -> bool {
        self.columns.iter().zip(&self.widths).any(|(column, width)| column.title == title && width.is_some())
    }

    /// The line of titles. `mark` may say something else than the title for a column, with a style of its own.
    pub(crate) fn titles(&self, style: Style, mark: impl Fn(usize) -> Option<(String, Style)>) -> Line<'static> {
        self.row(style, |column| mark(column).unwrap_or_else(|| (self.columns[column].title.to_owned(), style)))
    }

    /// A line with what `cell` says for each column that is shown; `style` is that of the gaps.
    pub(crate) fn row(&self, style: Style, cell: impl Fn(usize) -> Cell) -> Line<'static> {
        let mut spans = Vec::with_capacity(2 * self.columns.len());
        for (at, (column, width)) in self.columns.iter().zip(&self.widths).enumerate() {
            let Some(width) = *width else { continue };
            if !spans.is_empty() {
                spans.push(Span::styled(" ", style));
            }
            let (text, cell_style) = cell(at);
            spans.push(Span::styled(pad(&text, width, column.align), cell_style));
        }
        Line::from(spans)
    }
}

/// `text` in exactly `width` columns.
pub(crate) fn pad(text: &str, width: usize, align: Align) -> String {
    let text = text::shorten_middle(text, width);
    let blanks = " ".repeat(width - text::columns(&text));
    match align {
        Align::Left => format!("{text}{blanks}"),
        Align::Right => format!("{blanks}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] =
        &[Column::name("name", 6, 12, 0), Column::number("seldom", 6, Column::EXTRA), Column::number("often", 5, 1)];

    fn line(available: usize) -> String {
        let grid = Grid::choose(COLUMNS, available);
        let line = grid.row(Style::new(), |at| (["a-long-name-of-it", "7", "42"][at].to_owned(), Style::new()));
        line.spans.iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn columns_come_by_rank_and_names_widen_before_the_extra_ones() {
        for (available, shown) in [
            (5, ""),
            (6, "a-l…it"),
            (12, "a-l…it    42"),
            (18, "a-long…of-it    42"),
            (25, "a-long…of-it      7    42"),
            (80, "a-long…of-it      7    42"),
        ] {
            let line = line(available);
            assert!(text::columns(&line) <= available, "{line} in {available}");
            assert_eq!(line, shown, "in {available}");
        }
        assert!(!Grid::choose(COLUMNS, 20).shows("seldom"));
    }

    #[test]
    fn wide_characters_are_padded_by_the_columns_that_they_take() {
        assert_eq!(pad("日本", 6, Align::Right), "  日本");
        assert_eq!(text::columns(&pad("日本語テキスト", 6, Align::Left)), 6);
    }
}
