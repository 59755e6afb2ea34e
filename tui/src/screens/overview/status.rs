//! What the collector is doing, for how long, and where it listens.

use ratatui::text::{Line, Span};
use vxtap_analyzers::snapshot::{RunState, Snapshot};

use crate::app::App;
use crate::number;
use crate::text;
use crate::theme;

pub(super) fn lines(app: &App, snapshot: &Snapshot, width: usize) -> Vec<Line<'static>> {
    vec![state(app, snapshot, width), listeners(snapshot, width)]
}

/// `running  up 1d 02:03:04  1,234 flows now, 56.7M in all  vxtap 0.1.0  http://127.0.0.1:9789`
fn state(app: &App, snapshot: &Snapshot, width: usize) -> Line<'static> {
    let style = match snapshot.state {
        RunState::Running => app.theme.good(),
        RunState::Starting | RunState::Draining | RunState::Stopped => app.theme.notice(),
    };
    let uptime = number::uptime(snapshot.taken_ns.saturating_sub(snapshot.started_ns));
    let flows = number::grouped_within(snapshot.flows_active, 11);
    let mut line = Line::from(vec![
        Span::styled(snapshot.state.as_str(), style),
        Span::raw(format!("  up {uptime}")),
        Span::raw(format!("  {flows} flows now, {} in all", number::count(snapshot.ledger.flows))),
    ]);
    let more =
        [format!("  version {}", snapshot.version), app.origin.as_ref().map_or(String::new(), |at| format!("  {at}"))];
    for more in more {
        if line.width() + text::columns(&more) <= width {
            line.push_span(Span::styled(more, theme::FAINT));
        }
    }
    line
}

/// `listening on vxlan://[::]:4789, … and 3 more`
fn listeners(snapshot: &Snapshot, width: usize) -> Line<'static> {
    if snapshot.listeners.is_empty() {
        return Line::styled("no listener", theme::FAINT);
    }
    let mut told = "listening on ".to_owned();
    for (at, listener) in snapshot.listeners.iter().enumerate() {
        let separator = if at > 0 { ", " } else { "" };
        let left = snapshot.listeners.len() - at;
        let room = if left > 1 { " and 1000 more".len() } else { 0 };
        if at > 0 && text::columns(&told) + text::columns(listener) + separator.len() + room > width {
            told = format!("{told} and {left} more");
            break;
        }
        told.push_str(separator);
        told.push_str(listener);
    }
    Line::raw(text::shorten_end(&told, width).into_owned())
}
