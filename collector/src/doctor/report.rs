//! What a look at a machine gives, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::finding::{Finding, Severity};
use super::fix::Applied;
use crate::config::Printable;

/// Columns of a terminal that texts keep to. Commands are not broken, so that they can be copied.
const COLUMNS: usize = 80;
/// Where texts begin.
const INDENT: usize = 9;

/// Everything that was found, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was found; after fixes, what is left.
    pub findings: Vec<Finding>,
    /// What `--fix` did.
    pub fixes: Vec<Applied>,
}

impl Report {
    /// How many problems there are.
    pub fn problems(&self) -> usize {
        self.count(Severity::Problem)
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// The report as one JSON object: `problems`, `hints`, `findings`, `fixes`.
    pub fn json(&self) -> String {
        let value = serde_json::json!({
            "problems": self.problems(),
            "hints": self.count(Severity::Hint),
            "findings": self.findings,
            "fixes": self.fixes,
        });
        format!("{value:#}")
    }
}

/// The worst first.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Applied { setting, value, was, error } in &self.fixes {
            let was = was.map_or_else(String::new, |was| format!(", was {was}"));
            match error {
                None => paragraph(f, "fixed", &format!("{setting} is {value}{was}"))?,
                Some(error) => paragraph(f, "not done", &format!("{setting} stays as it is{was}: {error}"))?,
            }
        }
        let mut to_keep = false;
        for severity in [Severity::Problem, Severity::Hint, Severity::Unknown, Severity::Good] {
            for finding in self.findings.iter().filter(|finding| finding.severity == severity) {
                show(f, finding)?;
                to_keep |= finding.mend.iter().any(|mend| mend.fix.is_some());
            }
        }
        if to_keep || !self.fixes.is_empty() {
            paragraph(f, "", "")?;
            paragraph(
                f,
                "note",
                "what sysctl sets lasts until the next boot; a line `KEY = VALUE` in /etc/sysctl.d/60-vxtap.conf keeps it",
            )?;
        }
        let hints = self.count(Severity::Hint);
        writeln!(f, "\n{}, {}", plural(self.problems(), "problem"), plural(hints, "hint"))
    }
}

fn plural(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn show(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let label = match finding.severity {
        Severity::Problem => "PROBLEM",
        other => other.as_str(),
    };
    let about = if finding.about.is_empty() { String::new() } else { format!(" {}", finding.about) };
    paragraph(f, label, &format!("{}{about}: {}", finding.check, finding.found))?;
    if !finding.cost.is_empty() {
        paragraph(f, "", &finding.cost)?;
    }
    for mend in &finding.mend {
        if !mend.what.is_empty() {
            paragraph(f, "", &format!("-> {}", mend.what))?;
        }
        if !mend.command.is_empty() {
            // Flags are for the collector, not for a shell.
            let prompt = if mend.command.starts_with('-') { "" } else { "$ " };
            writeln!(f, "{:INDENT$}{prompt}{}", "", Printable(&mend.command))?;
        }
    }
    Ok(())
}

/// `text` in lines of at most [`COLUMNS`], the first behind `label`. Words that are longer stay whole.
fn paragraph(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    let text = Printable(text).to_string();
    let mut line = format!("{label:<INDENT$}");
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(f, "{}", line.trim_end())?;
            line = " ".repeat(INDENT);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    writeln!(f, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::machine::SysctlKey;
    use super::*;

    fn report() -> Report {
        let key = SysctlKey::new(&["net", "ipv4", "conf", "eth0.7", "rp_filter"]);
        let long = "a word after a word ".repeat(12);
        Report {
            findings: vec![
                Finding::good("clock", "synchronised"),
                Finding::problem("reverse_path", long).about("eth0.7").costs("packets").mend_sysctl(key, "2"),
                Finding::hint("port", "a process called \u{1b}[2J\n has it").mend_by("ask it", ""),
            ],
            fixes: vec![Applied { setting: "a.b".into(), value: "2".into(), was: Some(1), error: None }],
        }
    }

    #[test]
    fn the_worst_comes_first_in_80_columns_and_commands_stay_whole() {
        let text = report().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "fixed    a.b is 2, was 1");
        assert!(lines[1].starts_with("PROBLEM  reverse_path eth0.7: a word"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        assert!(lines.contains(&"         $ sysctl -w net.ipv4.conf.eth0/7.rp_filter=2"), "{text}");
        assert!(lines.contains(&"         -> ask it"), "{text}");
        assert_eq!(lines.last(), Some(&"1 problem, 1 hint"));
        let places = ["PROBLEM", "hint ", "good "].map(|label| text.find(&format!("\n{label}")).expect(label));
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn what_others_named_does_not_act_on_the_terminal() {
        let text = report().to_string();
        assert!(!text.replace('\n', "").contains(char::is_control), "{text:?}");
        assert!(text.contains("\\u{1b}[2J\\n has it"), "{text}");
    }

    #[test]
    fn json_has_every_finding_by_name() {
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!((&json["problems"], &json["hints"]), (&1.into(), &1.into()));
        assert_eq!(json["findings"][1]["check"], "reverse_path");
        assert_eq!(json["findings"][1]["severity"], "problem");
        assert_eq!(json["findings"][1]["mend"][0]["command"], "sysctl -w net.ipv4.conf.eth0/7.rp_filter=2");
        assert_eq!(json["fixes"][0]["was"], 1);
    }
}
