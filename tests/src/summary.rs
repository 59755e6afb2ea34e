//! The summaries that the programs write at exit, and whether their ledgers balance.
//!
//! Read by this crate's own types: a key that goes missing is a failure, not a zero.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What `vxtap-collector --summary` writes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CollectorSummary {
    /// All workers together.
    #[serde(flatten)]
    pub ledger: Ledger,
    /// Frames that were captured without their end, by choice.
    pub capture_cut: u64,
    /// Bytes of them that were left out.
    pub capture_cut_bytes: u64,
    /// Who followed the live capture.
    pub followers: u64,
    /// Records that followers missed.
    pub follower_dropped: u64,
    /// Length of the run.
    pub seconds: f64,
    /// Datagrams that senders numbered and that did not come; `None` where none was numbered.
    pub lost: Option<u64>,
    /// What became of the streams that have numbers.
    pub losses: Vec<StreamLoss>,
    /// Each worker.
    pub workers: Vec<WorkerSummary>,
}

/// What became of a mirror stream on its way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StreamLoss {
    /// Name of the stream.
    pub stream: String,
    /// Datagrams that came, each counted once.
    pub received: u64,
    /// Datagrams that did not come.
    pub lost: u64,
    /// Datagrams that came again.
    pub duplicated: u64,
}

/// One worker's part.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct WorkerSummary {
    /// Its ledger.
    #[serde(flatten)]
    pub ledger: Ledger,
}

/// Where packets went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Ledger {
    /// Datagrams or frames that came.
    pub received: u64,
    /// Inner frames analysed.
    pub analysed: u64,
    /// Discarded, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Lost in the kernel.
    pub kernel_dropped: u64,
    /// Of those, what may stand for several datagrams each.
    #[serde(default)]
    pub kernel_dropped_trains: u64,
    /// Written to capture files.
    pub captured: u64,
    /// Should have been written and were not.
    pub capture_dropped: u64,
    /// For which no capture was asked.
    #[serde(default)]
    pub not_captured: u64,
    /// Flows that began.
    pub flows: u64,
    /// Second copies.
    pub duplicates: u64,
    /// Not of the worker that the kernel chose, so handed over to the right one.
    pub misdelivered: u64,
    /// Taken over from other workers.
    #[serde(default)]
    pub taken_over: u64,
}

/// What `vxtap-sender --summary` writes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct SenderSummary {
    /// Frames read or made.
    pub read: u64,
    /// Frames not sent, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that the kernel refused.
    pub send_errors: u64,
    /// Bytes of those sent.
    pub bytes_sent: u64,
    /// Length of the run.
    pub seconds: f64,
}

/// What `vxtap-collector demo --summary` writes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DemoSummary {
    /// The collector's.
    pub collector: CollectorSummary,
    /// The sender's.
    pub sender: SenderSummary,
}

impl Ledger {
    /// All that was discarded.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    fn check(&self) -> Result<(), String> {
        let whose = "the collector";
        equal(whose, "received", self.received, "analysed + dropped", self.analysed + self.dropped_total())?;
        equal(whose, "handed over", self.handed_over(), "taken over", self.taken_over)?;
        self.check_captured(whose)
    }

    fn check_worker(&self, whose: &str) -> Result<(), String> {
        let (came, went) = (self.received + self.taken_over, self.analysed + self.dropped_total() + self.handed_over());
        equal(whose, "received + taken over", came, "analysed + dropped + handed over", went)?;
        self.check_captured(whose)
    }

    /// What really reached another worker: the rest is in `dropped`.
    fn handed_over(&self) -> u64 {
        self.misdelivered - self.dropped.get("hand_over_full").copied().unwrap_or(0)
    }

    fn check_captured(&self, whose: &str) -> Result<(), String> {
        let captured = self.captured + self.capture_dropped + self.not_captured;
        equal(whose, "analysed", self.analysed, "captured + capture_dropped + not_captured", captured)
    }

    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.analysed += other.analysed;
        for (reason, count) in &other.dropped {
            *self.dropped.entry(reason.clone()).or_default() += count;
        }
        self.kernel_dropped += other.kernel_dropped;
        self.kernel_dropped_trains += other.kernel_dropped_trains;
        self.captured += other.captured;
        self.capture_dropped += other.capture_dropped;
        self.not_captured += other.not_captured;
        self.flows += other.flows;
        self.duplicates += other.duplicates;
        self.misdelivered += other.misdelivered;
        self.taken_over += other.taken_over;
    }
}

impl CollectorSummary {
    /// Checks that every packet is accounted for, by each worker and by all together.
    ///
    /// # Errors
    /// Names the sum that does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.ledger.check()?;
        let mut sum = Ledger::default();
        for (number, worker) in self.workers.iter().enumerate() {
            worker.ledger.check_worker(&format!("worker {number}"))?;
            sum.add(&worker.ledger);
        }
        if self.workers.is_empty() || sum == self.ledger {
            return Ok(());
        }
        Err(format!("the workers' ledgers add up to {sum:?}, not to {:?}", self.ledger))
    }
}

impl SenderSummary {
    /// Checks that every frame read was sent, skipped or refused.
    ///
    /// # Errors
    /// Says what the sums are.
    pub fn check(&self) -> Result<(), String> {
        let skipped: u64 = self.skipped.values().sum();
        equal("the sender", "read", self.read, "sent + skipped + send_errors", self.sent + skipped + self.send_errors)
    }
}

impl DemoSummary {
    /// Checks both ledgers, and that the collector or its kernel had all that the sender sent.
    ///
    /// # Errors
    /// Names the sum that does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.collector.check()?;
        self.sender.check()?;
        let arrived = self.collector.ledger.received + self.collector.ledger.kernel_dropped;
        equal("the demo", "sent", self.sender.sent, "received + kernel_dropped", arrived)
    }
}

fn equal(whose: &str, left: &str, left_value: u64, right: &str, right_value: u64) -> Result<(), String> {
    if left_value == right_value {
        return Ok(());
    }
    Err(format!("{whose}: {left} {left_value} is not {right} {right_value}"))
}

/// Reads a summary: exactly one JSON object.
///
/// # Panics
/// When it is anything else.
pub fn parse<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in this summary:\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLLECTOR: &str = r#"{"received": 10, "analysed": 8, "dropped": {"vxlan_too_short": 2}, "kernel_dropped": 1,
        "captured": 5, "capture_dropped": 1, "not_captured": 2, "flows": 3, "duplicates": 0, "misdelivered": 1,
        "taken_over": 1, "capture_cut": 0, "capture_cut_bytes": 0, "followers": 0, "follower_dropped": 0, "seconds": 1.5, "losses": [], "workers": [
            {"worker": 0, "received": 6, "analysed": 4, "dropped": {"vxlan_too_short": 1}, "kernel_dropped": 1,
             "captured": 3, "capture_dropped": 0, "not_captured": 1, "flows": 1, "duplicates": 0, "misdelivered": 1},
            {"worker": 1, "received": 4, "analysed": 4, "dropped": {"vxlan_too_short": 1}, "kernel_dropped": 0,
             "captured": 2, "capture_dropped": 1, "not_captured": 1, "flows": 2, "duplicates": 0, "misdelivered": 0,
             "taken_over": 1}]}"#;

    #[test]
    fn a_ledger_that_balances_is_accepted() {
        parse::<CollectorSummary>(COLLECTOR).check().unwrap();
    }

    #[test]
    fn a_packet_that_is_nowhere_is_seen_in_each_sum() {
        let changed = |change: fn(&mut CollectorSummary)| {
            let mut summary = parse::<CollectorSummary>(COLLECTOR);
            change(&mut summary);
            summary.check().unwrap_err()
        };
        assert!(changed(|summary| summary.ledger.received += 1).contains("the collector: received 11"));
        assert!(changed(|summary| summary.ledger.captured -= 1).contains("the collector: analysed 8"));
        assert!(changed(|summary| summary.workers[1].ledger.captured += 1).contains("worker 1: analysed 4"));
        assert!(
            changed(|summary| summary.workers[1].ledger.taken_over = 0).contains("worker 1: received + taken over")
        );
        assert!(changed(|summary| summary.ledger.taken_over = 0).contains("handed over 1 is not taken over 0"));
        assert!(changed(|summary| summary.workers[0].ledger.kernel_dropped = 0).contains("add up to"));
    }

    #[test]
    #[should_panic(expected = "missing field `captured`")]
    fn a_missing_key_is_not_a_zero() {
        parse::<CollectorSummary>(&COLLECTOR.replace("\"captured\": 5,", ""));
    }

    #[test]
    fn the_demo_must_account_for_every_datagram_that_its_sender_sent() {
        let sender =
            r#"{"read": 12, "skipped": {"too_long": 1}, "sent": 11, "send_errors": 0, "bytes_sent": 9, "seconds": 1}"#;
        let demo = |sender: &str| {
            parse::<DemoSummary>(&format!(r#"{{"collector": {COLLECTOR}, "sender": {sender}}}"#)).check()
        };
        assert_eq!(demo(sender), Ok(()));
        assert!(demo(&sender.replace("12", "13")).unwrap_err().starts_with("the sender: read 13"));
        let lost = sender.replace("\"read\": 12", "\"read\": 13").replace("\"sent\": 11", "\"sent\": 12");
        assert!(demo(&lost).unwrap_err().starts_with("the demo: sent 12"));
    }
}
