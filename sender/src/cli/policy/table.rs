//! Tables that a terminal of 80 columns shows.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The widest line, in columns.
const WIDTH: usize = 80;

/// Rows of cells. A column whose heading begins with `>` has its cells on the right.
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines. Where it is too wide the widest columns on the left are cut.
    pub(super) fn text(&self) -> String {
        let headings: Vec<&str> = self.headings.iter().map(|heading| heading.trim_start_matches('>')).collect();
        let mut widths: Vec<usize> = headings.iter().map(|heading| heading.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let gaps = 2 * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > WIDTH {
            let cut = self.headings.iter().zip(&mut widths).filter(|(heading, _)| !heading.starts_with('>'));
            match cut.map(|(_, width)| width).max_by_key(|width| **width).filter(|width| **width > 8) {
                Some(widest) => *widest -= 1,
                None => break,
            }
        }
        let mut text = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut shown = String::new();
            for ((cell, width), heading) in cells.zip(&widths).zip(&self.headings) {
                let cell = cut(cell, *width);
                let space = " ".repeat(width.saturating_sub(cell.width()));
                let cell = if heading.starts_with('>') { space + &cell } else { cell + &space };
                shown.push_str(&cell);
                shown.push_str("  ");
            }
            text.push_str(shown.trim_end());
            text.push('\n');
        };
        line(&mut headings.iter().copied());
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str));
        }
        text
    }
}

/// `cell` in at most `width` columns; what is cut ends with three dots.
fn cut(cell: &str, width: usize) -> String {
    if cell.width() <= width {
        return cell.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut shown: String = cell
        .chars()
        .take_while(|c| {
            let wide = c.width().unwrap_or(0);
            let fits = wide <= left;
            left = left.saturating_sub(wide);
            fits
        })
        .collect();
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_numbers_on_the_right() {
        let mut table = Table::new(&["name", ">count"]);
        table.row(vec!["ä".into(), "7".into()]);
        table.row(vec!["longer".into(), "1,000".into()]);
        assert_eq!(table.text(), "name    count\nä           7\nlonger  1,000\n");
    }

    #[test]
    fn a_table_that_is_too_wide_is_cut_on_its_widest_column() {
        let mut table = Table::new(&["a", "b", ">n"]);
        table.row(vec!["x".repeat(200), "y".repeat(20), "123456".into()]);
        let text = table.text();
        assert!(text.lines().all(|line| line.width() <= WIDTH), "{text}");
        assert!(text.contains(&"y".repeat(20)) && text.contains('…') && text.contains("123456"), "{text}");
    }
}
