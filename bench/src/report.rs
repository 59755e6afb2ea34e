//! The table at the end.

use std::fmt;

use crate::statistics::Samples;

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// The unit of an absolute value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds a packet.
    Nanos,
    /// Packets a second.
    PacketsPerSecond,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    ours: String,
    beside: String,
    value: String,
    target: String,
    holds: Option<bool>,
}

/// What a level gave.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// What could not be measured here, and why.
    skipped: Vec<String>,
    /// Measurements that are none: something failed, or a ledger did not balance.
    failed: Vec<String>,
}

impl Target {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Nanos => format!("{value:.0} ns"),
            Self::PacketsPerSecond => format!("{:.0} k/s", value / 1e3),
        }
    }
}

impl Row {
    /// The ratio of our values to those of `beside`, round by round.
    pub(crate) fn ratio(
        what: impl Into<String>,
        unit: Unit,
        ours: &Samples,
        (name, theirs): (&str, &Samples),
        target: Option<Target>,
    ) -> Self {
        let ratio = ours.ratio_to(theirs);
        let median = ratio.median();
        // Against nothing there is no ratio, and nothing to hold.
        let known = median.is_finite();
        Self {
            what: what.into(),
            ours: unit.show(ours.median()),
            beside: format!("{name}: {}", unit.show(theirs.median())),
            value: if known {
                format!("{median:.2} ({:.2} to {:.2})", ratio.least(), ratio.greatest())
            } else {
                "none".into()
            },
            target: target.map(|target| target.to_string()).unwrap_or_default(),
            holds: target.filter(|_| known).map(|target| target.holds(median)),
        }
    }

    /// A value of ours that is compared with nothing but a target.
    pub(crate) fn value(what: impl Into<String>, shown: impl Into<String>, value: f64, target: Option<Target>) -> Self {
        Self {
            what: what.into(),
            ours: shown.into(),
            beside: String::new(),
            value: String::new(),
            target: target.map(|target| target.to_string()).unwrap_or_default(),
            holds: target.map(|target| target.holds(value)),
        }
    }

    /// A thing that must be so.
    pub(crate) fn check(what: impl Into<String>, shown: impl Into<String>, holds: bool) -> Self {
        Self {
            what: what.into(),
            ours: shown.into(),
            beside: String::new(),
            value: String::new(),
            target: "must hold".into(),
            holds: Some(holds),
        }
    }

    /// Something worth knowing.
    pub(crate) fn note(what: impl Into<String>, shown: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ours: shown.into(),
            beside: String::new(),
            value: String::new(),
            target: String::new(),
            holds: None,
        }
    }
}

impl Report {
    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        self.skipped.push(format!("{what}: {why}"));
    }

    pub(crate) fn fail(&mut self, what: &str, error: &anyhow::Error) {
        self.failed.push(format!("{what}: {error:#}"));
    }

    /// Whether everything measured counts: no failure, no ledger out of balance.
    pub(crate) fn counts(&self) -> bool {
        self.failed.is_empty()
    }

    /// Targets that are missed.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.holds == Some(false)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| What is measured | vxtap | beside it | ratio: median (range) | target | holds |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for Row { what, ours, beside, value, target, holds } in &self.rows {
            let holds = match holds {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            };
            writeln!(f, "| {what} | {ours} | {beside} | {value} | {target} | {holds} |")?;
        }
        for (title, lines) in [("Not measured here", &self.skipped), ("NO RESULT", &self.failed)] {
            for line in lines {
                writeln!(f, "\n{title}: {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_ratios_and_which_targets_hold() {
        let ours: Samples = [100.0, 100.0, 300.0].into_iter().collect();
        let theirs: Samples = [100.0, 200.0, 200.0].into_iter().collect();
        let mut report = Report::default();
        let row = |target| Row::ratio("work", Unit::Nanos, &ours, ("them", &theirs), Some(target));
        report.add(vec![row(Target::AtMost(1.0)), row(Target::AtLeast(1.1))]);
        let text = report.to_string();
        assert!(text.contains("| work | 100 ns | them: 200 ns | 1.00 (0.50 to 1.50) | <= 1 | yes |"), "{text}");
        assert!(text.contains("| >= 1.1 | **no** |"), "{text}");
        assert_eq!((report.missed(), report.counts()), (1, true));
        let nothing: Samples = [0.0; 3].into_iter().collect();
        report.add(vec![Row::ratio("work", Unit::Nanos, &nothing, ("them", &nothing), Some(Target::AtMost(1.0)))]);
        assert!(report.to_string().contains("| none | <= 1 |  |"), "{report}");
        assert_eq!(report.missed(), 1);
        report.fail("work", &anyhow::anyhow!("lost something"));
        assert!(!report.counts());
    }
}
