//! The ledger: where every packet went, and loss in plain sight.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use vxtap_analyzers::snapshot::{RunState, Snapshot};
use vxtap_analyzers::{DropReason, Ledger};

use crate::app::App;
use crate::history;
use crate::number;
use crate::screens::grid::{Align, pad};
use crate::text;
use crate::theme::Theme;

/// Columns of one entry, if there is room: name, blank, count.
const ENTRY: usize = 38;
const NAME: usize = 15;
/// From this width on the reasons of drops stand beside the entries, with what they mean.
const WIDE: usize = 130;

pub(super) fn lines(app: &App, snapshot: &Snapshot, width: usize) -> Vec<Line<'static>> {
    let ledger = &snapshot.ledger;
    let mut lines = vec![headline(app, ledger)];
    lines.extend(entries(app.theme, ledger, ENTRY.min((width - 2) / 2)));
    if width >= WIDE {
        let gap = Span::raw("    ");
        let reasons = reasons(ledger).into_iter().map(|(reason, packets)| {
            let told = format!("{:>7}  {:<18} {}", number::count(packets), reason.as_str(), reason.meaning().trim());
            text::shorten_end(&told, width - 2 * ENTRY - 6).into_owned()
        });
        let beside = lines.len() - 1;
        for (at, told) in reasons.enumerate() {
            if at < beside {
                lines[1 + at].extend([gap.clone(), Span::styled(told, app.theme.bad())]);
            } else {
                lines.push(Line::from(vec![Span::raw(" ".repeat(2 * ENTRY + 6)), Span::styled(told, app.theme.bad())]));
            }
        }
    } else {
        lines.extend(reason_lines(app.theme, ledger, width));
    }
    // While packets are under way the sums don't hold yet.
    if snapshot.state == RunState::Stopped
        && let Err(imbalance) = ledger.check()
    {
        lines.push(Line::styled(text::shorten_end(&imbalance.to_string(), width).into_owned(), app.theme.alarm()));
    }
    lines
}

/// `Ledger  nothing lost` or `Ledger  LOSS 1,234 packets, 0.1% of what came; 12.3/s now`
fn headline(app: &App, ledger: &Ledger) -> Line<'static> {
    let heading = Span::styled("ledger  ", app.theme.heading());
    let lost = history::lost(ledger);
    if lost == 0 {
        let told = match history::left_out(ledger) {
            0 => "nothing lost, nothing dropped".to_owned(),
            packets => format!("nothing lost; {} packets left out as asked", number::grouped(packets)),
        };
        return Line::from(vec![heading, Span::styled(told, app.theme.good())]);
    }
    let offered = ledger.received.saturating_add(ledger.kernel_dropped);
    let share = number::share(lost as f64, offered as f64);
    let now = match app.history().now() {
        Some(point) if point.lost > 0.0 => format!("{}/s now", number::rate(Some(point.lost))),
        Some(_) => "none now".to_owned(),
        None => "since the start".to_owned(),
    };
    let told = format!(" LOSS {} packets, {share} of what came; {now} ", number::grouped(lost));
    Line::from(vec![heading, Span::styled(told, app.theme.alarm())])
}

/// Five lines of two: at the left where packets went, at the right what did not go as it should.
fn entries(theme: Theme, ledger: &Ledger, width: usize) -> Vec<Line<'static>> {
    let plain = Style::new();
    let loss = |packets: u64| if packets > 0 { theme.bad() } else { plain };
    let dropped = history::dropped(ledger);
    [
        [("received", ledger.received, plain), ("kernel dropped", ledger.kernel_dropped, loss(ledger.kernel_dropped))],
        [
            ("analysed", ledger.analysed, plain),
            ("dropped", dropped, loss(dropped.saturating_sub(history::left_out(ledger)))),
        ],
        [
            ("captured", ledger.captured, plain),
            ("capture dropped", ledger.capture_dropped, loss(ledger.capture_dropped)),
        ],
        [("not captured", ledger.not_captured, plain), ("misdelivered", ledger.misdelivered, plain)],
        [("flows", ledger.flows, plain), ("duplicates", ledger.duplicates, plain)],
    ]
    .map(|[left, right]| Line::from(vec![entry(left, width), Span::raw("  "), entry(right, width)]))
    .into()
}

fn entry((name, packets, style): (&str, u64, Style), width: usize) -> Span<'static> {
    let room = width - NAME - 1;
    let packets = pad(&number::grouped_within(packets, room), room, Align::Right);
    Span::styled(format!("{name:<NAME$} {packets}"), style)
}

/// The reasons that occurred, the most frequent first.
fn reasons(ledger: &Ledger) -> Vec<(DropReason, u64)> {
    let mut reasons: Vec<_> = ledger.dropped.iter().filter(|(_, packets)| *packets > 0).collect();
    reasons.sort_by_key(|(reason, packets)| (std::cmp::Reverse(*packets), *reason));
    reasons
}

/// `dropped: vxlan_flag_clear 12.3k, vxlan_too_short 7`, on as many lines as it takes.
fn reason_lines(theme: Theme, ledger: &Ledger, width: usize) -> Vec<Line<'static>> {
    let mut lines: Vec<String> = Vec::new();
    for (reason, packets) in reasons(ledger) {
        let told = format!("{} {}", reason.as_str(), number::count(packets));
        match lines.last_mut() {
            Some(line) if text::columns(line) + 2 + told.len() <= width => {
                line.push_str(", ");
                line.push_str(&told);
            }
            Some(_) => lines.push(format!("         {told}")),
            None => lines.push(format!("dropped: {told}")),
        }
    }
    lines.into_iter().map(|line| Line::styled(line, theme.bad())).collect()
}
