//! What the programs say at their ends, and whether it adds up. A measurement whose ledger does not balance is none.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The collector's summary, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct CollectorSummary {
    pub(crate) received: u64,
    pub(crate) analysed: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) kernel_dropped: u64,
    pub(crate) kernel_dropped_trains: u64,
    pub(crate) captured: u64,
    pub(crate) capture_dropped: u64,
    pub(crate) not_captured: u64,
    pub(crate) flows: u64,
    pub(crate) log: Option<LogPart>,
    pub(crate) workers: Vec<WorkerPart>,
}

/// What was logged.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct LogPart {
    pub(crate) events: u64,
    pub(crate) events_dropped: u64,
}

/// One worker's part.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct WorkerPart {
    pub(crate) flows_evicted: u64,
}

/// The sender's summary, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct SenderSummary {
    pub(crate) read: u64,
    pub(crate) skipped: BTreeMap<String, u64>,
    pub(crate) sent: u64,
    pub(crate) send_errors: u64,
    pub(crate) seconds: f64,
    /// Datagrams or trains of them, as the kernel was given them.
    pub(crate) messages: u64,
    /// How datagrams were sent in the end: the kernel may have lacked what was asked for.
    pub(crate) transmit: String,
    /// Captured frames that found no room.
    pub(crate) ring_dropped: u64,
}

impl CollectorSummary {
    /// The summary in `file`, which balances.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let summary: Self = parse(file)?;
        summary.check()?;
        Ok(summary)
    }

    fn check(&self) -> anyhow::Result<()> {
        let dropped: u64 = self.dropped.values().sum();
        let Self { received, analysed, captured, capture_dropped, not_captured, .. } = *self;
        ensure!(
            received == analysed + dropped,
            "the ledger does not balance: received {received}, analysed {analysed}, dropped {dropped}"
        );
        ensure!(
            analysed == captured + capture_dropped + not_captured,
            "the ledger does not balance: analysed {analysed}, captured {captured}, capture dropped {capture_dropped}, \
             not captured {not_captured}"
        );
        Ok(())
    }

    /// Fails unless all of `packets` was received and analysed, and captured if it was to be.
    pub(crate) fn ensure_all(&self, packets: u64, captured: bool) -> anyhow::Result<()> {
        let kept = if captured { self.captured } else { self.not_captured };
        ensure!(
            (self.received, self.analysed, kept) == (packets, packets, packets),
            "of {packets} packets {} were received, {} analysed, {kept} kept",
            self.received,
            self.analysed
        );
        Ok(())
    }

    /// Flows that ended before their time.
    pub(crate) fn evicted(&self) -> u64 {
        self.workers.iter().map(|worker| worker.flows_evicted).sum()
    }
}

impl SenderSummary {
    /// The summary in `file`, which balances and has no errors.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let summary: Self = parse(file)?;
        let Self { read, sent, send_errors, .. } = summary;
        let skipped: u64 = summary.skipped.values().sum();
        ensure!(
            read == sent + skipped + send_errors,
            "the sender's ledger does not balance: read {read}, sent {sent}, skipped {skipped}, errors {send_errors}"
        );
        ensure!(send_errors == 0 && skipped == 0, "the sender could not send {send_errors} and skipped {skipped}");
        Ok(summary)
    }

    /// Packets in one message on average.
    pub(crate) fn train_len(&self) -> f64 {
        self.sent as f64 / self.messages as f64
    }

    /// Packets a second.
    pub(crate) fn rate(&self) -> f64 {
        self.sent as f64 / self.seconds
    }
}

fn parse<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(file).with_context(|| format!("read the summary {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("understand the summary {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> CollectorSummary {
        CollectorSummary { received: 10, analysed: 10, captured: 7, capture_dropped: 3, ..CollectorSummary::default() }
    }

    #[test]
    fn a_ledger_that_balances_passes_and_others_do_not() {
        assert!(good().check().is_ok());
        assert!(CollectorSummary { received: 11, ..good() }.check().is_err());
        assert!(CollectorSummary { captured: 6, ..good() }.check().is_err());
        let dropped = BTreeMap::from([("vni_invalid".to_owned(), 1)]);
        assert!(CollectorSummary { received: 11, dropped, ..good() }.check().is_ok());
    }

    #[test]
    fn all_is_all_in_every_stage() {
        let all = CollectorSummary { captured: 10, capture_dropped: 0, ..good() };
        assert!(all.ensure_all(10, true).is_ok());
        assert!(all.ensure_all(10, false).is_err());
        assert!(all.ensure_all(11, true).is_err());
        assert!(good().ensure_all(10, true).is_err());
    }

    #[test]
    fn a_sender_that_could_not_send_all_gives_no_measurement() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("summary");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            SenderSummary::read(&file)
        };
        let summary = |read: u64, sent: u64, errors: u64| {
            format!(
                r#"{{"read":{read},"skipped":{{}},"sent":{sent},"send_errors":{errors},"seconds":2.0,"messages":4,"transmit":"trains","ring_dropped":0}}"#
            )
        };
        assert!((read(&summary(10, 10, 0)).unwrap().rate() - 5.0).abs() < 1e-9);
        assert!(read(&summary(10, 9, 1)).is_err());
        assert!(read(&summary(10, 9, 0)).is_err());
    }
}
