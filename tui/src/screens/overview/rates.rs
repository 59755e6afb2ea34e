//! What is received, now and over the last minutes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget as _};

use crate::app::App;
use crate::history::Point;
use crate::number;
use crate::screens::{below, put};
use crate::theme;

/// One of the two curves.
struct Curve {
    unit: &'static str,
    style: Style,
    value: fn(Point) -> f64,
}

/// Side by side, packets and bits: a line of numbers and the curve below it.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let half = (area.width - 2) / 2;
    let packets = Curve { unit: "packets/s", style: app.theme.packets(), value: |point| point.packets };
    let bits = Curve { unit: "bits/s", style: app.theme.bits(), value: |point| point.bits };
    packets.draw(buffer, Rect { width: half, ..area }, app);
    bits.draw(buffer, Rect { x: area.x + half + 2, width: half, ..area }, app);
}

impl Curve {
    fn draw(&self, buffer: &mut Buffer, area: Rect, app: &App) {
        let history = app.history();
        let mut numbers = Line::from(vec![
            Span::styled("received ", app.theme.heading()),
            Span::styled(format!("{:>5}", number::rate(history.now().map(self.value))), theme::STRONG),
            Span::raw(format!(" {:<9}", self.unit)),
        ]);
        let peak = format!("  peak {:>5}", number::rate(Some((self.value)(history.peak()))));
        if numbers.width() + peak.len() <= area.width.into() {
            numbers.push_span(Span::styled(peak, theme::FAINT));
        }
        put(buffer, area, [numbers]);
        let mut curve = below(area, 1);
        curve.height = curve.height.min(7);
        let width = usize::from(curve.width);
        let points: Vec<Option<u64>> =
            history.last(width).map(|point| point.map(|point| (self.value)(point).max(0.0).round() as u64)).collect();
        // The newest point is at the right edge from the beginning, as it is later.
        let points = std::iter::repeat_n(None, width - points.len()).chain(points);
        Sparkline::default()
            .data(points.collect::<Vec<_>>())
            .absent_value_symbol(" ")
            .style(self.style)
            .render(curve, buffer);
    }
}
