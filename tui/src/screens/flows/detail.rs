//! Everything about one flow.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use vxtap_analyzers::snapshot::{FlowSnapshot, Snapshot};

use super::table;
use crate::app::App;
use crate::flows::Detail;
use crate::number;
use crate::screens::grid::{Align, pad};
use crate::text;

/// Columns of the names at the left.
const NAME: usize = 15;
/// Columns of each of the three columns of numbers.
const NUMBER: usize = 21;

/// TCP flags, from the lowest bit (RFC 9293 section 3.1).
const TCP_FLAGS: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];

pub(super) fn lines(app: &App, snapshot: &Snapshot, shown: &Detail, width: usize) -> Vec<Line<'static>> {
    let flow = &shown.flow;
    let theme = app.theme;
    let named = |name: &str, value: String| {
        let value = text::shorten_middle(&value, width.saturating_sub(NAME)).into_owned();
        Line::from(vec![Span::styled(format!("{name:<NAME$}"), theme.heading()), Span::raw(value)])
    };
    let network = if flow.network.is_some() { table::network(flow) } else { "none".into() };
    let app_protocol = flow.app.as_ref().map_or_else(String::new, |app| format!(" ({app})"));
    let mut lines = vec![
        named("flow", format!("{}{}, {}", flow.protocol, app_protocol, flow.state)),
        named("originator", table::originator(flow)),
        named("responder", table::responder(flow)),
        named("network", format!("{network}, worker {}", flow.worker)),
        named("came by", flow.stream.clone()),
        named("community id", flow.community_id.clone()),
        named("first frame", moment(flow.first_ns, snapshot)),
        named("last frame", moment(flow.last_ns, snapshot)),
        named("lasted", number::short_time(flow.last_ns.saturating_sub(flow.first_ns))),
    ];
    if shown.listed {
        lines.push(Line::default());
    } else {
        let told = "no longer listed: it ended, or others come first";
        lines.push(Line::styled(text::shorten_end(told, width).into_owned(), theme.notice()));
    }
    lines.extend(numbers(app, flow));
    if flow.protocol == "TCP" {
        lines.push(Line::default());
        lines.push(named("flags of orig.", tcp_flags(flow.tcp_flags_to_responder)));
        lines.push(named("flags of resp.", tcp_flags(flow.tcp_flags_to_originator)));
    }
    lines
}

/// `2025-11-21 02:04:06.123456 UTC (12m ago)`
fn moment(unix_ns: u64, snapshot: &Snapshot) -> String {
    let ago = match number::age(snapshot.taken_ns.saturating_sub(unix_ns)).as_str() {
        "now" => "now".to_owned(),
        age => format!("{age} ago"),
    };
    format!("{} ({ago})", number::moment(unix_ns))
}

/// Frames, bytes and rates, by direction and together.
fn numbers(app: &App, flow: &FlowSnapshot) -> Vec<Line<'static>> {
    let row = |name: &str, style: Style, cells: [String; 3]| {
        let cells = cells.map(|cell| pad(&cell, NUMBER, Align::Right)).concat();
        Line::from(vec![Span::styled(format!("{name:<NAME$}"), app.theme.heading()), Span::styled(cells, style)])
    };
    let counts = |name: &str, to_responder: u64, to_originator: u64| {
        let both = to_responder.saturating_add(to_originator);
        row(name, Style::new(), [to_responder, to_originator, both].map(|n| number::grouped_within(n, NUMBER - 1)))
    };
    let rates = |name: &str, rates: Option<[f64; 2]>| {
        let both = rates.map(|[one, other]| one + other);
        row(name, Style::new(), [rates.map(|rates| rates[0]), rates.map(|rates| rates[1]), both].map(number::rate))
    };
    let frames = [flow.frames_to_responder, flow.frames_to_originator];
    let bytes = [flow.bytes_to_responder, flow.bytes_to_originator];
    let seconds = flow.last_ns.saturating_sub(flow.first_ns) as f64 / 1e9;
    let average = (seconds > 0.0).then(|| bytes.map(|bytes| 8.0 * bytes as f64 / seconds));
    let now = app.flows.rate(flow);
    let size = |bytes: u64, frames: u64| bytes.checked_div(frames).map_or_else(|| "-".into(), number::grouped);
    let sizes = [size(bytes[0], frames[0]), size(bytes[1], frames[1]), size(flow.bytes(), flow.frames())];
    vec![
        row("", app.theme.heading(), ["to responder", "to originator", "both"].map(str::to_owned)),
        counts("frames", frames[0], frames[1]),
        counts("bytes", bytes[0], bytes[1]),
        row("bytes/frame", Style::new(), sizes),
        rates("frames/s now", now.map(|rate| rate.frames)),
        rates("bits/s now", now.map(|rate| rate.bytes.map(|bytes| 8.0 * bytes))),
        rates("bits/s average", average),
    ]
}

/// `SYN ACK PSH (0x1a)`
fn tcp_flags(flags: u8) -> String {
    let set: Vec<&str> =
        TCP_FLAGS.iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0).map(|(_, name)| *name).collect();
    if set.is_empty() { "none".into() } else { format!("{} (0x{flags:02x})", set.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_flags_are_spelled_out() {
        for (flags, told) in [
            (0, "none"),
            (0x02, "SYN (0x02)"),
            (0x1a, "SYN PSH ACK (0x1a)"),
            (0xff, "FIN SYN RST PSH ACK URG ECE CWR (0xff)"),
        ] {
            assert_eq!(tcp_flags(flags), told);
        }
    }
}
