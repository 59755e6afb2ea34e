//! From flags, environment and file to settings.
//!
//! All three fill the same [`Options`], in this order, and none overrides the one before; defaults fill the rest.
//! Each setting is listed once in `key.rs` with its flag and its key, and has one function in `value.rs` that reads it,
//! whichever of the three it comes from.

mod address;
mod conflicts;
mod explain;
mod file;
mod key;
mod options;
mod problem;
mod resolve;
mod tables;
mod units;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

pub(crate) use address::socket_address;
pub(crate) use explain::explain;
pub(crate) use options::{
    AdmissionOptions, ApiOptions, CaptureOptions, DemoOptions, FlowOptions, FollowOptions, HealthOptions, LogOptions,
    Options, PipelineOptions, ReadOptions, ReceiveOptions, RunOptions,
};
pub(crate) use problem::{ConfigError, Printable};
pub(crate) use resolve::{Machine, capture_into, demo, read, run};
pub(crate) use units::{Size, Time};
pub(crate) use value::{capture_filter, disk_rate, watch};

use file::ConfigFile;
use key::{Given, KEYS};
use problem::{Place, Problem};

/// Options of which each is known to be right by itself, and where each was set.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) options: Options,
    sources: Sources,
}

/// Where settings were made, by flag; those not listed are flags or defaults.
#[derive(Debug, Default)]
struct Sources {
    flags: BTreeMap<&'static str, Place>,
    /// Of those that may be given several times: which one, counted from 0, where it has a place of its own.
    items: BTreeMap<(&'static str, usize), Place>,
}

impl Sources {
    fn set(&mut self, flag: &'static str, place: Place) {
        self.flags.insert(flag, place);
    }

    /// The value with this number of `flag` was set there, and the first one with it unless that is known already.
    fn set_item(&mut self, flag: &'static str, number: usize, place: Place) {
        self.flags.entry(flag).or_insert_with(|| place.clone());
        self.items.insert((flag, number), place);
    }

    fn place(&self, flag: &str) -> Place {
        self.flags.get(flag).cloned().unwrap_or(Place::Arguments)
    }

    fn item(&self, flag: &'static str, number: usize) -> Place {
        self.items.get(&(flag, number)).cloned().unwrap_or_else(|| self.place(flag))
    }
}

/// Adds to `flags` what the environment says, then what the file at `config` says. `variable` looks up environment
/// variables; an empty one counts as not set.
pub(crate) fn gather(
    flags: Options,
    config: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Gathered, ConfigError> {
    let (mut options, mut sources, mut problems) = (flags, Sources::default(), Vec::new());
    for key in KEYS {
        let name = key.variable();
        let Some(text) = variable(&name).filter(|text| !text.is_empty()) else { continue };
        let place = Place::Variable(name);
        let Some(text) = text.to_str() else {
            problems.push(Problem::new(place, "expected text in UTF-8"));
            continue;
        };
        let applied = key.apply(&mut options, Given::Variable(text));
        problems.extend(applied.faults.into_iter().map(|fault| Problem::new(place.clone(), fault.message)));
        if applied.used {
            sources.set(key.flag, place);
        }
    }
    if let Some(path) = config {
        match ConfigFile::read(path) {
            Ok(file) => problems.extend(file.apply(&mut options, &mut sources)),
            Err(error) => problems.extend(error.into_problems()),
        }
    }
    ConfigError::unless_empty(problems)?;
    Ok(Gathered { options, sources })
}

/// Section, key and flag of every setting.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    KEYS.iter().map(|key| (key.section, key.name, key.flag))
}

#[cfg(test)]
mod tests;
