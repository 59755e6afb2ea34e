//! The configuration file: TOML, read to the end whatever is wrong with it, so that one look finds everything.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Sources;
use super::key::{Given, KEYS, Key};
use super::options::Options;
use super::problem::{ConfigError, Place, Problem, line_of};
use super::tables::Tables;

/// The largest file that is taken for a configuration.
const MAX_BYTES: u64 = 1 << 20;

/// A configuration file's text.
pub(super) struct ConfigFile {
    name: String,
    text: String,
}

impl ConfigFile {
    /// Reads the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let failed = |reason: String| {
            Problem::new(Place::Arguments, format!("cannot read the configuration file {name}: {reason}"))
        };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(failed("it has more than 1MiB, so it is no configuration".into()).into());
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let start = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                let place = Place::in_file(&name, &text, &(start..start + 1));
                Err(Problem::new(place, "expected text in UTF-8").into())
            }
        }
    }

    /// Puts what the file says into `options` where nothing stands yet, and where it stands into `sources`.
    pub(super) fn apply(&self, options: &mut Options, sources: &mut Sources) -> Vec<Problem> {
        let (table, syntax) = DeTable::parse_recoverable(&self.text);
        let mut faults: Vec<(Range<usize>, String)> =
            syntax.iter().map(|error| (error.span().unwrap_or(0..0), error.message().replace('\n', ", "))).collect();
        // What cannot be read is wrong in its own way already.
        let broken: Vec<usize> = faults.iter().map(|(span, _)| self.line(span)).collect();
        let mut check = |span: Range<usize>, message: String| {
            if !broken.contains(&self.line(&span)) {
                faults.push((span, message));
            }
        };
        // What flags or the environment say of them goes before all that the file says.
        let mut tables = Tables::unless_set(options);
        for (section, content) in table.get_ref() {
            let section_name = section.get_ref().as_ref();
            if let Some(kind) = Tables::kind(section_name) {
                tables.read(kind, content, &mut check);
                continue;
            }
            let known = KEYS.iter().any(|key| key.section == section_name);
            let content = match content.get_ref() {
                DeValue::Table(content) if known => content,
                DeValue::Table(_) | DeValue::Array(_) if !known => {
                    check(section.span(), unknown_section(section_name));
                    continue;
                }
                _ if known => {
                    check(section.span(), format!("'{section_name}' is a section: expected [{section_name}]"));
                    continue;
                }
                _ => {
                    check(section.span(), unknown_key(None, section_name));
                    continue;
                }
            };
            for (name, value) in content {
                let key_name = name.get_ref().as_ref();
                let Some(key) = KEYS.iter().find(|key| key.section == section_name && key.name == key_name) else {
                    check(name.span(), unknown_key(Some(section_name), key_name));
                    continue;
                };
                let applied = key.apply(options, Given::File(value));
                if applied.used {
                    sources.set(key.flag, self.place(&value.span()));
                }
                for fault in applied.faults {
                    let span = fault.span.unwrap_or_else(|| value.span());
                    check(span, format!("'{key_name}': {}", fault.message));
                }
            }
        }
        tables.put_into(options, |flag, number, span| sources.set_item(flag, number, self.place(&span)));
        faults.sort_by_key(|(span, _)| span.start);
        faults.into_iter().map(|(span, message)| Problem::new(self.place(&span), message)).collect()
    }

    fn place(&self, span: &Range<usize>) -> Place {
        Place::in_file(&self.name, &self.text, span)
    }

    /// The line that `span` begins on, from 1.
    fn line(&self, span: &Range<usize>) -> usize {
        line_of(&self.text, span.start)
    }
}

fn unknown_section(name: &str) -> String {
    if let Some(section) = nearest(name, KEYS.iter().map(|key| key.section)) {
        return format!("unknown section '{name}' (did you mean '{section}'?)");
    }
    let mut sections: Vec<&str> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    format!("unknown section '{name}' (expected {})", listed(&sections))
}

/// What to say about `name` in `section`, which has no such key; `None` is the file's top, which has no keys at all.
fn unknown_key(section: Option<&str>, name: &str) -> String {
    let here = || KEYS.iter().filter(|key| Some(key.section) == section);
    let flag = |key: &&Key| key.flag.replace('-', "_") == name.replace('-', "_");
    let near = |keys: &mut dyn Iterator<Item = &'static Key>| {
        let keys: Vec<&Key> = keys.collect();
        nearest(name, keys.iter().map(|key| key.name)).and_then(|near| keys.into_iter().find(|key| key.name == near))
    };
    let meant = here()
        .find(flag)
        .or_else(|| near(&mut here()))
        .or_else(|| KEYS.iter().find(|key| key.name == name))
        .or_else(|| KEYS.iter().find(flag))
        .or_else(|| near(&mut KEYS.iter()));
    match meant {
        Some(key) if Some(key.section) == section => format!("unknown key '{name}' (did you mean '{}'?)", key.name),
        Some(key) => format!("unknown key '{name}' here (did you mean '{}' in [{}]?)", key.name, key.section),
        None if section.is_none() => format!("unknown key '{name}': keys stand below a [section]"),
        None => {
            let names: Vec<&str> = here().map(|key| key.name).collect();
            format!("unknown key '{name}' (expected {})", listed(&names))
        }
    }
}

pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// The name that is meant, if one is near enough to be.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long name takes quadratic time to compare and is near to nothing.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    names
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(4).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
