//! How often the same thing is said.

use std::collections::VecDeque;
use std::time::Duration;

/// The same is not said again before.
const AGAIN_AFTER: Duration = Duration::from_mins(1);
/// So many different things are said in that time.
const MAX_TEXTS: usize = 16;

/// What was said in the last minute.
#[derive(Debug, Default)]
pub(super) struct Voice {
    said: VecDeque<(Duration, String)>,
}

impl Voice {
    /// Whether to say `text` now.
    pub(super) fn may_say(&mut self, text: &str, now: Duration) -> bool {
        while self.said.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= AGAIN_AFTER) {
            self.said.pop_front();
        }
        let may = self.said.len() < MAX_TEXTS && !self.said.iter().any(|(_, said)| said == text);
        if may {
            self.said.push_back((now, text.to_owned()));
        }
        may
    }
}
