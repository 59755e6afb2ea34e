//! Tables of the file that may stand there several times: `[[network]]` and `[[name]]`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use vxtap_analyzers::Encapsulation;

use super::file::{listed, nearest};
use super::key::{kind, one};
use super::options::Options;
use super::value;
use crate::networks::{Name, Named, NamedNetwork};
use crate::selector::{self, Endpoint, Selector, VniRange};

/// What they said.
#[derive(Debug)]
pub(super) struct Tables {
    networks: Option<Vec<(NamedNetwork, Range<usize>)>>,
    names: Option<Vec<(Name, Range<usize>)>>,
}

/// Which tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Network,
    Name,
}

const NETWORK_KEYS: &[&str] = &["name", "vnis", "sources", "endpoints", "encapsulation"];
const NAME_KEYS: &[&str] = &["name", "vni", "source"];

impl Tables {
    /// None yet; those that `options` have from elsewhere are read, checked, and left out.
    pub(super) fn unless_set(options: &Options) -> Self {
        let (networks, names) = (&options.pipeline.network, &options.pipeline.name);
        Self { networks: networks.is_empty().then(Vec::new), names: names.is_empty().then(Vec::new) }
    }

    /// Which tables are called so.
    pub(super) fn kind(name: &str) -> Option<Kind> {
        match name {
            "network" => Some(Kind::Network),
            "name" => Some(Kind::Name),
            _ => None,
        }
    }

    /// Reads all tables of a kind, and tells `fault` what is wrong and where.
    pub(super) fn read(
        &mut self,
        kind: Kind,
        content: &Spanned<DeValue<'_>>,
        fault: &mut impl FnMut(Range<usize>, String),
    ) {
        let title = if kind == Kind::Network { "network" } else { "name" };
        let DeValue::Array(tables) = content.get_ref() else {
            fault(content.span(), format!("'{title}' is a list of tables: expected [[{title}]]"));
            return;
        };
        for item in tables {
            let DeValue::Table(table) = item.get_ref() else {
                fault(item.span(), format!("expected a table below [[{title}]]"));
                continue;
            };
            let mut faults = Vec::new();
            let reading = Reading { table, span: item.span(), faults: &mut faults };
            match kind {
                Kind::Network => {
                    let network = reading.network();
                    if let Some((networks, network)) = self.networks.as_mut().zip(network) {
                        networks.push((network, item.span()));
                    }
                }
                Kind::Name => {
                    let name = reading.name();
                    if let Some((names, name)) = self.names.as_mut().zip(name) {
                        names.push((name, item.span()));
                    }
                }
            }
            for (span, message) in faults {
                fault(span, message);
            }
        }
    }

    /// Adds them to what the file's keys say; tells `set` of each its number and where it is.
    pub(super) fn put_into(self, options: &mut Options, mut set: impl FnMut(&'static str, usize, Range<usize>)) {
        let Self { networks, names } = self;
        for (network, at) in networks.unwrap_or_default() {
            set("network", options.pipeline.network.len(), at);
            options.pipeline.network.push(network);
        }
        for (name, at) in names.unwrap_or_default() {
            set("name", options.pipeline.name.len(), at);
            options.pipeline.name.push(name);
        }
    }
}

/// One table being read.
struct Reading<'a> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
    faults: &'a mut Vec<(Range<usize>, String)>,
}

impl Reading<'_> {
    fn network(mut self) -> Option<NamedNetwork> {
        self.only(NETWORK_KEYS);
        let name = self.required("name", value::label);
        let vnis = self.list("vnis", |text| text.parse::<VniRange>().map_err(|error| error.to_string()));
        let sources = self.list("sources", |text| selector::source(text).map_err(|error| error.to_string()));
        let endpoints = self.list("endpoints", |text| text.parse::<Endpoint>().map_err(|error| error.to_string()));
        let encapsulation = self.optional("encapsulation", encapsulation);
        let streams = Selector::new(encapsulation, vnis, sources).by(endpoints);
        if streams == Selector::ALL && self.faults.is_empty() {
            let expected =
                "a network is of VNIs, sources or endpoints: expected any of 'vnis', 'sources' and 'endpoints'";
            self.fault(self.span.clone(), expected.into());
        }
        Some(NamedNetwork { name: name?, streams }).filter(|_| self.faults.is_empty())
    }

    fn name(mut self) -> Option<Name> {
        self.only(NAME_KEYS);
        let name = self.required("name", value::label);
        let vni = self.optional("vni", |text| {
            let range = text.parse::<VniRange>().map_err(|error| error.to_string())?;
            Selector::new(None, vec![range], Vec::new()).only_vni().ok_or_else(|| "expected one VNI".into())
        });
        let source = self.optional("source", |text| {
            let net = selector::source(text).map_err(|error| error.to_string())?;
            Selector::new(None, Vec::new(), vec![net]).only_source().ok_or_else(|| "expected one address".into())
        });
        let of = match (vni, source) {
            (Some(vni), None) => Some(Named::Vni(vni)),
            (None, Some(source)) => Some(Named::Source(source)),
            _ => {
                if self.faults.is_empty() {
                    self.fault(self.span.clone(), "a name is of one thing: expected 'vni' or 'source'".into());
                }
                None
            }
        };
        Some(Name { name: name?, of: of? }).filter(|_| self.faults.is_empty())
    }

    fn fault(&mut self, span: Range<usize>, message: String) {
        self.faults.push((span, message));
    }

    /// Every key has to be one of `keys`.
    fn only(&mut self, keys: &[&'static str]) {
        for (name, _) in self.table {
            let key = name.get_ref().as_ref();
            if !keys.contains(&key) {
                let expected = match nearest(key, keys.iter().copied()) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("expected {}", listed(keys)),
                };
                self.fault(name.span(), format!("unknown key '{key}' ({expected})"));
            }
        }
    }

    fn get(&self, key: &str) -> Option<&Spanned<DeValue<'_>>> {
        self.table.iter().find(|(name, _)| name.get_ref().as_ref() == key).map(|(_, value)| value)
    }

    fn required<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if self.get(key).is_none() {
            self.fault(self.span.clone(), format!("'{key}' is missing"));
        }
        self.optional(key, parse)
    }

    fn optional<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.get(key)?;
        let parsed = one(value.get_ref()).and_then(|text| parse(&text));
        let span = value.span();
        parsed.map_err(|message| self.fault(span, format!("'{key}': {message}"))).ok()
    }

    /// Several values, or one.
    fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let single = std::slice::from_ref(value);
        let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            DeValue::Table(_) => {
                let message = format!("'{key}': expected a list, not {}", kind(value.get_ref()));
                let span = value.span();
                self.fault(span, message);
                return Vec::new();
            }
            _ => single.iter().collect(),
        };
        let parsed: Vec<_> =
            items.into_iter().map(|item| (item.span(), one(item.get_ref()).and_then(|text| parse(&text)))).collect();
        let mut values = Vec::new();
        for (span, parsed) in parsed {
            match parsed {
                Ok(value) => values.push(value),
                Err(message) => self.fault(span, format!("'{key}': {message}")),
            }
        }
        values
    }
}

fn encapsulation(text: &str) -> Result<Encapsulation, String> {
    let known = Encapsulation::TUNNELS.iter().find(|known| known.as_str() == text);
    let names: Vec<&str> = Encapsulation::TUNNELS.iter().map(|known| known.as_str()).collect();
    known.copied().ok_or_else(|| format!("expected {}", listed(&names)))
}
