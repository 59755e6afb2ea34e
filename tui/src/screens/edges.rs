//! What is around every screen: tabs and state at the top, the keys at the bottom, and what stands for missing data.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget as _;
use vxtap_analyzers::snapshot::RunState;

use super::{put, put_message};
use crate::app::{App, Connection, Save};
use crate::history;
use crate::keys::{Place, Screen};
use crate::number;
use crate::text;
use crate::theme;

/// On a terminal that is narrower only the tab of the screen that is shown has its name.
const NAMED_TABS: u16 = 80;
/// The most lines that what became of a flow to be saved takes.
const SAVE_LINES: usize = 4;

/// ` vxtap  1 Overview  2 Flows  3 Captures  4 Streams  5 Help    LOSS 12.3k  PAUSED  running `
pub(super) fn draw_top(buffer: &mut Buffer, area: Rect, app: &App) {
    let mut tabs = vec![Span::styled(" vxtap ", app.theme.heading())];
    for screen in Screen::ALL {
        let chosen = screen == app.screen;
        let style = if chosen { theme::CHOSEN } else { Style::new() };
        let number = screen.place() + 1;
        let named = chosen || area.width >= NAMED_TABS;
        let tab = if named { format!(" {number} {} ", screen.name()) } else { format!(" {number} ") };
        tabs.push(Span::styled(tab, style));
    }
    let tabs = Line::from(tabs);
    let taken = u16::try_from(tabs.width()).unwrap_or(u16::MAX).min(area.width);
    tabs.render(area, buffer);
    let rest = Rect { x: area.x + taken, width: area.width - taken, ..area };
    marks(app, rest.width.into()).alignment(Alignment::Right).render(rest, buffer);
}

/// What has to be seen on every screen, as far as there is room: first whether it is live, then what was lost.
fn marks(app: &App, width: usize) -> Line<'static> {
    let mut marks: Vec<Span<'static>> = vec![state(app)];
    if app.is_paused() {
        marks.insert(0, Span::styled("PAUSED", app.theme.notice().add_modifier(Modifier::REVERSED)));
    }
    let lost = app.history().latest().map_or(0, |snapshot| history::lost(&snapshot.ledger));
    if lost > 0 {
        marks.insert(0, Span::styled(format!("LOSS {}", number::count(lost)), app.theme.alarm()));
    }
    while marks.iter().map(|mark| mark.width() + 1).sum::<usize>() > width && marks.len() > 1 {
        marks.pop();
    }
    Line::from(marks.into_iter().flat_map(|mark| [mark, Span::raw(" ")]).collect::<Vec<_>>())
}

fn state(app: &App) -> Span<'static> {
    match (&app.connection, app.history().latest()) {
        (Connection::Lost { .. }, _) => Span::styled("no connection", app.theme.bad()),
        (_, None) => Span::styled("connecting", app.theme.notice()),
        (_, Some(snapshot)) => {
            let style = match snapshot.state {
                RunState::Running => app.theme.good(),
                RunState::Starting | RunState::Draining | RunState::Stopped => app.theme.notice(),
            };
            Span::styled(snapshot.state.as_str(), style)
        }
    }
}

/// The keys that matter most here.
pub(super) fn draw_bottom(buffer: &mut Buffer, area: Rect, app: &App) {
    let here: &[(&str, &str)] = match app.place() {
        Place::Overview => &[("w", "tables"), ("Up/Down", "scroll")],
        Place::FlowList => &[("Enter", "detail"), ("/", "filter"), ("s S", "sort"), ("f", "save")],
        Place::FilterLine => &[("Enter", "use the filter"), ("Esc", "leave it as it was"), ("Ctrl-U", "rub out")],
        Place::Captures => &[("Up/Down", "scroll")],
        Place::Streams => &[("a", "accept"), ("x", "reject"), ("u", "undo"), ("Up/Down", "choose")],
        Place::Asking => &[("y", "yes"), ("Esc", "no")],
        Place::FlowDetail => &[("Esc", "back"), ("f", "save"), ("Up/Down", "scroll")],
        Place::Help => &[("Esc", "back"), ("Up/Down", "scroll")],
    };
    let everywhere: &[(&str, &str)] = match app.place() {
        Place::FilterLine => &[],
        _ => &[("?", "help"), ("q", "quit"), ("p", if app.is_paused() { "go on" } else { "pause" }), ("Tab", "next")],
    };
    let mut line = Line::default();
    for (key, meaning) in here.iter().chain(everywhere) {
        let hint = [Span::raw(" "), Span::styled(*key, theme::STRONG), Span::raw(format!(" {meaning} "))];
        if line.width() + hint.iter().map(Span::width).sum::<usize>() <= area.width.into() {
            line.extend(hint);
        }
    }
    line.render(area, buffer);
}

/// ```text
/// connection lost, trying again (data are 12s old)
/// can't get http://127.0.0.1:9789/v1/snapshot: Connection refused
/// ```
pub(super) fn draw_banner(buffer: &mut Buffer, area: Rect, app: &App, now: Duration) {
    let Connection::Lost { error, since: Some(since) } = &app.connection else { return };
    let age = u64::try_from(now.saturating_sub(*since).as_nanos()).unwrap_or(u64::MAX);
    let what = format!(" connection lost, trying again (data are {} old)", number::age(age.max(1_000_000_000)));
    let why = text::shorten_middle(&format!(" {error}"), area.width.into()).into_owned();
    buffer.set_style(area, app.theme.alarm());
    put(buffer, area, [what, why].map(|line| Line::styled(line, app.theme.alarm())));
}

/// ```text
///  saved 12 packets to vxtap-flow-LQU9qZlK-20261121T100000Z.pcapng
///  saved 12 packets, not all, to vxtap-flow-LQU9qZlK-20261121T100000Z.pcapng: the answer of … broke off: …
/// ```
pub(super) fn save_lines(app: &App, width: u16) -> Vec<Line<'static>> {
    let Some(save) = &app.save else { return Vec::new() };
    let (told, style) = match save {
        Save::UnderWay(flow) => (format!("saving the packets of flow {flow} …"), app.theme.notice()),
        Save::Done(saved) => {
            let packets = if saved.packets == 1 { "packet" } else { "packets" };
            let (count, file) = (number::grouped(saved.packets), &saved.file);
            match &saved.lacks {
                None => (format!("saved {count} {packets} to {file}"), app.theme.good()),
                Some(why) => (format!("saved {count} {packets}, not all, to {file}: {why}"), app.theme.bad()),
            }
        }
        Save::Failed(error) => (format!("flow not saved: {error}"), app.theme.bad()),
    };
    let lines = text::wrap(&told, usize::from(width) - 1, SAVE_LINES);
    lines.into_iter().map(|line| Line::styled(format!(" {line}"), style)).collect()
}

/// Before the first snapshot.
pub(super) fn draw_waiting(buffer: &mut Buffer, area: Rect, app: &App) {
    let origin = app.origin.as_deref().unwrap_or("the collector");
    let lines = match &app.connection {
        Connection::Lost { error, .. } => vec![
            (format!("No answer from {origin}"), app.theme.bad()),
            (String::new(), Style::new()),
            (error.clone(), Style::new()),
            (String::new(), Style::new()),
            ("Trying again until it comes. q quits.".to_owned(), theme::FAINT),
        ],
        _ => vec![(format!("Waiting for {origin} …"), theme::FAINT)],
    };
    put_message(buffer, area, &lines);
}
