//! The flows: a line of what is asked for, then the table, or everything about one flow.

mod detail;
mod table;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use vxtap_analyzers::snapshot::{FlowPage, FlowQuery, Snapshot};

use super::{below, put, put_message};
use crate::app::App;
use crate::flows::Flows;
use crate::line_edit::LineEdit;
use crate::number;
use crate::source::SourceError;
use crate::text;
use crate::theme;

/// The most lines that an error takes.
const ERROR_LINES: usize = 3;

/// What went wrong, if anything, in lines that fit.
fn error_lines(flows: &Flows, width: usize) -> Vec<String> {
    let told = match flows.error() {
        None => return Vec::new(),
        Some(SourceError::Filter(reason)) => format!("filter not understood: {reason}"),
        Some(SourceError::Unreachable(reason) | SourceError::Refused(reason)) => text::escape(reason).into_owned(),
    };
    text::wrap(&told, width, ERROR_LINES)
}

pub(crate) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, snapshot: &Snapshot) {
    let flows = &app.flows;
    if let Some(shown) = flows.detail() {
        let lines = detail::lines(app, snapshot, shown, area.width.into());
        put(frame.buffer_mut(), area, lines.into_iter().skip(shown.list.visible().start));
        return;
    }
    match flows.line() {
        Some(line) => {
            let cursor = draw_filter_line(frame.buffer_mut(), area, app, line);
            frame.set_cursor_position(cursor);
        }
        None => put(frame.buffer_mut(), area, [asked_line(app)]),
    }
    let errors = error_lines(flows, area.width.into());
    let rest = below(area, 1 + errors.len() as u16);
    let style = app.theme.bad();
    put(frame.buffer_mut(), below(area, 1), errors.into_iter().map(|line| Line::styled(line, style)));
    match flows.page() {
        Some(page) if !page.flows.is_empty() => {
            put(frame.buffer_mut(), rest, table::lines(app, snapshot, page, rest.width.into()));
        }
        page => draw_empty(frame.buffer_mut(), rest, page),
    }
}

/// Lays the list, and the detail, out.
pub(crate) fn fit(app: &mut App, area: Rect) {
    let rows = usize::from(area.height).saturating_sub(2 + error_lines(&app.flows, area.width.into()).len());
    let detail = app.flows.detail().zip(app.history().latest());
    let lines = detail.map_or(0, |(shown, snapshot)| detail::lines(app, snapshot, shown, area.width.into()).len());
    app.flows.fit(rows, lines, area.height.into());
}

/// `flows 1-19 of 345 that match, 12,345 in all  filter: tcp port 443`
fn asked_line(app: &App) -> Line<'static> {
    let flows = &app.flows;
    let query = flows.query();
    let mut line = Line::from(vec![Span::styled("flows ", app.theme.heading())]);
    if let Some(page) = flows.page() {
        let visible = flows.list().visible();
        let matching = number::grouped_within(page.matching, 11);
        line.push_span(Span::raw(if visible.is_empty() {
            "none".to_owned()
        } else {
            format!("{}-{} of {matching}", visible.start + 1, visible.end)
        }));
        if page.matching < page.total {
            line.push_span(Span::raw(format!(" that match, {} in all", number::grouped_within(page.total, 11))));
        }
    }
    let at_end = flows.page().is_some_and(|page| {
        let listed = page.flows.len();
        listed >= FlowQuery::MAX_LIMIT && page.matching > listed as u64 && flows.list().visible().end == listed
    });
    if at_end {
        line.push_span(Span::styled("  no more are listed, a filter finds the rest", app.theme.notice()));
    }
    let filter = text::escape(&query.filter).into_owned();
    line.push_span(Span::raw("  filter: "));
    line.push_span(if filter.is_empty() {
        Span::styled("none (/ to write one)", theme::FAINT)
    } else {
        Span::styled(filter, app.theme.notice())
    });
    if !flows.is_answered() && flows.page().is_some() {
        line.push_span(Span::styled("  asking …", theme::FAINT));
    }
    line
}

/// `/tcp port 443` with the cursor; where it is too long the part around the cursor is shown.
fn draw_filter_line(buffer: &mut Buffer, area: Rect, app: &App, line: &LineEdit) -> Position {
    let room = usize::from(area.width) - 2;
    let before = text::escape(&line.before_cursor()).into_owned();
    let after = &text::escape(&line.text()).into_owned()[before.len()..];
    let cut = text::end_of(&before, room - text::columns(after).min(room / 2));
    let example = if line.text().is_empty() { "  tcp  10.0.0.0/8  port 443  vni 42  state established" } else { "" };
    let shown = Line::from(vec![
        Span::styled("/", app.theme.heading()),
        Span::styled(cut.to_owned(), app.theme.notice()),
        Span::styled(after.to_owned(), app.theme.notice()),
        Span::styled(example, theme::FAINT),
    ]);
    put(buffer, area, [shown]);
    let column = u16::try_from(1 + text::columns(cut)).unwrap_or(u16::MAX);
    Position { x: area.x.saturating_add(column).min(area.right() - 1), y: area.y }
}

fn draw_empty(buffer: &mut Buffer, area: Rect, page: Option<&FlowPage>) {
    let told = match page {
        None => "Asking for the flows …",
        Some(page) if page.total > 0 => "No flow matches the filter. Esc drops it, / writes another.",
        Some(_) => "No flow is being followed: no mirrored IP packet has come lately.",
    };
    put_message(buffer, area, &[(told.to_owned(), theme::FAINT)]);
}
