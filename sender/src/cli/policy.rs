//! `policy check` and `policy explain`.

mod check;
mod explain;
mod sample;
mod table;
mod tally;

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::policy::{PolicyError, PolicyFile};

pub(super) use check::{CheckArguments, check};
pub(super) use explain::{ExplainArguments, explain};

/// Writes all of `text` to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&format!("{value:#}\n"))
}

/// The policy at `path`. With `json` what is wrong with it goes to standard output as well, as one object.
fn load(path: &Path, json: bool) -> anyhow::Result<PolicyFile> {
    let told = |error: &PolicyError| {
        let problems = serde_json::json!({ "ok": false, "problems": error.problems() });
        if json { print_json(&problems) } else { Ok(()) }
    };
    match PolicyFile::load(path) {
        Ok(file) => Ok(file),
        Err(error) => {
            told(&error)?;
            Err(error.into())
        }
    }
}
