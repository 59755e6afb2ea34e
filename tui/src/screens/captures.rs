//! What is written to disk: captures, how to follow them, and logs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use vxtap_analyzers::snapshot::{CaptureFile, CaptureSnapshot, LogSnapshot, Snapshot};

use super::grid::{Column, Grid};
use super::{below, put};
use crate::app::App;
use crate::number;
use crate::text;
use crate::theme;

/// A name as the collector gives it: `vxtap-20251121T020406Z-000001.pcapng`.
const NAME_USUAL: usize = 38;
/// The most lines that an error takes.
const ERROR_LINES: usize = 3;

pub(crate) fn draw(buffer: &mut Buffer, area: Rect, app: &App, snapshot: &Snapshot) {
    let width = area.width.into();
    let above = above(app, snapshot, area);
    let rest = below(area, u16::try_from(above.len()).unwrap_or(u16::MAX));
    put(buffer, area, above);
    if let Some(capture) = &snapshot.capture {
        put(buffer, rest, files(app, snapshot, capture, width));
    }
}

/// Lays the list of files out.
pub(crate) fn fit(app: &mut App, area: Rect) {
    let Some(snapshot) = app.history().latest() else { return };
    let above = above(app, snapshot, area).len();
    let files = snapshot.capture.as_ref().map_or(0, |capture| capture.files.len());
    app.captures.fit(files, usize::from(area.height).saturating_sub(above + 1));
}

/// Everything but the list of files.
fn above(app: &App, snapshot: &Snapshot, area: Rect) -> Vec<Line<'static>> {
    let width = area.width.into();
    // On a low terminal the files need the lines.
    let most = if area.height < 20 { 1 } else { ERROR_LINES };
    let mut lines = match &snapshot.capture {
        Some(capture) => capture_lines(app, snapshot, capture, (width, most)),
        None => nothing(app, "captures  ", "nothing is written: the collector runs without --write", "--write DIR"),
    };
    lines.extend(match &snapshot.log {
        Some(log) => log_lines(app, log, (width, most)),
        None => nothing(app, "logs  ", "nothing is written: the collector runs without --log", "--log DIR"),
    });
    lines.push(Line::default());
    lines
}

/// Says what is not written, and the flag that would.
fn nothing(app: &App, what: &'static str, told: &'static str, flag: &str) -> Vec<Line<'static>> {
    vec![
        Line::from(vec![Span::styled(what, app.theme.heading()), Span::styled(told, app.theme.notice())]),
        Line::styled(format!("to have it: vxtap-collector run {flag}"), theme::FAINT),
    ]
}

fn capture_lines(
    app: &App,
    snapshot: &Snapshot,
    capture: &CaptureSnapshot,
    (width, error_lines): (usize, usize),
) -> Vec<Line<'static>> {
    let theme = app.theme;
    let dropped = snapshot.ledger.capture_dropped;
    let style = if dropped > 0 { theme.bad() } else { Style::new() };
    let files = match capture.files_total {
        1 => "1 file".to_owned(),
        files => format!("{} files", number::count(files)),
    };
    let exact = if width < 80 { 5 } else { 15 };
    let mut lines = vec![
        directory(app, "captures in ", &capture.directory, width),
        Line::from(vec![
            Span::raw(format!("{} frames, ", number::grouped_within(snapshot.ledger.captured, exact))),
            Span::styled(format!("{} dropped", number::grouped_within(dropped, exact)), style),
            Span::raw(format!(", {} pending", number::count(capture.pending))),
            Span::raw(format!(", {}B in {files}", number::count(capture.bytes))),
        ]),
    ];
    lines.extend(error(app, capture.error.as_deref(), width, error_lines));
    lines.extend(error(app, capture.kept.error.as_deref(), width, error_lines));
    if let Some(open) = capture.files.iter().rev().find(|file| file.closed_ns.is_none()) {
        lines.extend(follow(app, capture, open, width));
    }
    lines
}

fn log_lines(app: &App, log: &LogSnapshot, (width, error_lines): (usize, usize)) -> Vec<Line<'static>> {
    let style = if log.events_dropped > 0 { app.theme.bad() } else { Style::new() };
    let mut lines = vec![
        directory(app, "logs in ", &log.directory, width),
        Line::from(vec![
            Span::raw(format!("{} events, ", number::grouped_within(log.events, 15))),
            Span::styled(format!("{} dropped", number::grouped_within(log.events_dropped, 11)), style),
        ]),
    ];
    lines.extend(error(app, log.error.as_deref(), width, error_lines));
    lines
}

fn directory(app: &App, what: &'static str, directory: &str, width: usize) -> Line<'static> {
    let directory = text::shorten_middle(directory, width - what.len()).into_owned();
    Line::from(vec![Span::styled(what, app.theme.heading()), Span::raw(directory)])
}

/// On as many lines as it takes, at most `most`. What is said last is the cause, so that stays in any case.
fn error(app: &App, error: Option<&str>, width: usize, most: usize) -> Vec<Line<'static>> {
    let Some(error) = error else { return Vec::new() };
    let room = width - 2;
    let told = format!("error: {error}");
    let lines = if most > 1 { text::wrap(&told, room, most) } else { vec![text::shorten_middle(&told, room).into()] };
    lines.into_iter().map(|line| Line::styled(format!(" {line} "), app.theme.alarm())).collect()
}

/// The command that shows the file in Wireshark while it grows; where one line is too short for it, on several that a
/// shell takes as one.
fn follow(app: &App, capture: &CaptureSnapshot, file: &CaptureFile, width: usize) -> Vec<Line<'static>> {
    let path = format!("{}/{}", capture.directory.trim_end_matches('/'), file.name);
    let words = ["tail -c +1 -F", &text::shell_word(&path), "| wireshark -k -i -"].map(str::to_owned);
    let mut lines = vec!["to follow it:".to_owned()];
    for word in words {
        let line = lines.last_mut().filter(|line| text::columns(line) + 1 + text::columns(&word) + 2 <= width);
        match line {
            Some(line) => {
                line.push(' ');
                line.push_str(&word);
            }
            None => lines.push(format!("  {}", text::shorten_middle(&word, width - 4))),
        }
    }
    let last = lines.len() - 1;
    let heading = |text: &str| Span::styled(text.to_owned(), app.theme.heading());
    let line = |(at, line): (usize, &String)| {
        let end = if at < last { " \\" } else { "" };
        match line.split_once(':').filter(|_| at == 0) {
            Some((start, rest)) => Line::from(vec![heading(start), heading(":"), Span::raw(format!("{rest}{end}"))]),
            None => Line::raw(format!("{line}{end}")),
        }
    };
    lines.iter().enumerate().map(line).collect()
}

/// The files, the newest first.
fn files(app: &App, snapshot: &Snapshot, capture: &CaptureSnapshot, width: usize) -> Vec<Line<'static>> {
    let visible = app.captures.visible();
    let shown: Vec<&CaptureFile> = capture.files.iter().rev().skip(visible.start).take(visible.len()).collect();
    let longest = shown.iter().map(|file| text::columns(&file.name)).max().unwrap_or(0);
    let columns = [
        Column::name("files", 24, longest.max(NAME_USUAL), 0),
        Column::number("bytes", 6, 1),
        Column::number("frames", 6, 2),
        Column::number("opened", 14, 4),
        Column::number("closed", 7, 3),
        Column::number("closed at", 14, Column::EXTRA),
    ];
    let grid = Grid::choose(&columns, width);
    let title = |column: usize| (column == 0).then(|| (title(&visible, capture), app.theme.heading()));
    let mut lines = vec![grid.titles(app.theme.heading(), title)];
    lines.extend(shown.into_iter().map(|file| {
        let style = if file.closed_ns.is_none() { app.theme.good() } else { Style::new() };
        grid.row(style, |column| (cell(snapshot, file, column), style))
    }));
    lines
}

fn title(visible: &std::ops::Range<usize>, capture: &CaptureSnapshot) -> String {
    let total = capture.files_total.max(capture.files.len() as u64);
    if total <= visible.len() as u64 {
        return format!("files ({total})");
    }
    format!("files {}-{} of {}", visible.start + 1, visible.end, number::count(total))
}

fn cell(snapshot: &Snapshot, file: &CaptureFile, column: usize) -> String {
    match column {
        0 => file.name.clone(),
        1 => number::count(file.bytes),
        2 => number::count(file.frames),
        3 => number::brief_moment(file.opened_ns),
        4 => match file.closed_ns {
            Some(closed) => match number::age(snapshot.taken_ns.saturating_sub(closed)).as_str() {
                "now" => "now".into(),
                age => format!("{age} ago"),
            },
            None => "open".into(),
        },
        _ => file.closed_ns.map_or_else(|| "-".into(), number::brief_moment),
    }
}
