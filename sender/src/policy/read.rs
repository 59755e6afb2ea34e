//! From TOML text to a [`Document`]: to the end whatever is wrong on the way, so that one look finds everything.

use std::net::IpAddr;
use std::str::FromStr as _;

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};
use vxtap_wire::IpVersion;

use super::document::{
    BudgetDocument, Document, FilterDocument, MemberDocument, NeverDocument, Ports, RuleDocument, SemanticsDocument,
    SessionDocument, SourceDocument, Switch, TargetDocument, VniDocument,
};
use super::model::PortRange;
use super::problem::{Findings, Places};
use super::protocol::Protocol;
use super::words::{Word, meant, word};

/// The longest name of anything, in bytes.
const MAX_NAME: usize = 128;

/// Reads `text`; what is wrong with it, and where everything is, is in the findings.
pub(super) fn read(text: &str) -> (Document, Findings) {
    let (table, syntax) = DeTable::parse_recoverable(text);
    let mut findings = Findings::new(Places::new(text));
    for error in &syntax {
        findings.add_at("", error.span().unwrap_or(0..0), error.message().replace('\n', ", "));
    }
    // Behind a line that is no TOML, keys that are there look missing: only the first kind of mistake is told.
    if !syntax.is_empty() {
        return (Document::default(), findings);
    }
    findings.places.note("", 0..0);
    let mut top = Table::new(&mut findings, String::new(), table.get_ref());
    let document = Document {
        provider: top.word("provider"),
        semantics: top.section("semantics", semantics).unwrap_or_default(),
        never: top.section("never", never).unwrap_or_default(),
        budget: top.section("budget", |budget_table| budget(budget_table, true)).unwrap_or_default(),
        sources: top.sections("source", source),
        filters: top.sections("filter", filter),
        targets: top.sections("target", target),
        sessions: top.sections("session", session),
    };
    top.end();
    (document, findings)
}

fn semantics(table: &mut Table<'_, '_>) -> SemanticsDocument {
    SemanticsDocument {
        no_match: table.word("no_match"),
        reject_ends: table.word("reject_ends"),
        scope: table.word("scope"),
        bare_rule: table.word("bare_rule"),
        length_counts: table.word("length_counts"),
        service_beats_rules: table.value("service_beats_rules", truth),
        flow_timeout: table.value("flow_timeout", number),
        flow_max: table.value("flow_max", number),
    }
}

fn never(table: &mut Table<'_, '_>) -> NeverDocument {
    NeverDocument {
        own: table.value("own", truth),
        arp: table.value("arp", truth),
        dhcp: table.value("dhcp", truth),
        metadata: table.switch("metadata"),
        ntp: table.switch("ntp"),
        activation: table.switch("activation"),
        resolver: table.switch("resolver"),
        networks: table.list("networks", net),
    }
}

/// Limits of one session or of all; only all together have one of the CPU.
fn budget(table: &mut Table<'_, '_>, all: bool) -> BudgetDocument {
    BudgetDocument {
        max_pps: table.value("max_pps", number),
        max_mbps: table.value("max_mbps", float),
        max_cpu: if all { table.value("max_cpu", float) } else { None },
        shed: table.word("shed"),
    }
}

fn source(table: &mut Table<'_, '_>) -> SourceDocument {
    SourceDocument {
        name: table.name(),
        interfaces: table.list("interfaces", text),
        addresses: table.list("addresses", address),
        subnets: table.list("subnets", net),
        tags: table.list("tags", text),
        description: table.value("description", text),
    }
}

fn filter(table: &mut Table<'_, '_>) -> FilterDocument {
    FilterDocument {
        name: table.name(),
        services: table.list("services", |value| word(as_text(value)?)),
        description: table.value("description", text),
        inbound: table.sections("inbound", rule),
        outbound: table.sections("outbound", rule),
    }
}

fn rule(table: &mut Table<'_, '_>) -> RuleDocument {
    RuleDocument {
        number: table.number_or_priority(),
        action: table.word("action"),
        family: table.value("family", family),
        protocol: table.list("protocol", protocol),
        source: table.list("source", net),
        destination: table.list("destination", net),
        remote: table.list("remote", net),
        source_ports: Ports(table.list("source_ports", ports)),
        destination_ports: Ports(table.list("destination_ports", ports)),
        description: table.value("description", text),
    }
}

fn target(table: &mut Table<'_, '_>) -> TargetDocument {
    TargetDocument {
        name: table.name(),
        address: table.value("address", text),
        port: table.value("port", port),
        description: table.value("description", text),
        members: table.sections("member", |table| MemberDocument {
            address: table.required("address", text),
            port: table.value("port", port),
            weight: table.value("weight", number),
        }),
    }
}

fn session(table: &mut Table<'_, '_>) -> SessionDocument {
    SessionDocument {
        name: table.name(),
        number: table.number_or_priority(),
        source: table.list("source", text),
        filter: table.value("filter", text),
        target: table.required("target", text),
        vni: table.value("vni", vni),
        length: table.value("length", number),
        enabled: table.value("enabled", truth),
        sample: table.value("sample", float),
        encapsulation: table.word("encapsulation"),
        budget: budget(table, false),
        description: table.value("description", text),
    }
}

/// A table while it is read. Keys that were never asked for are unknown ones.
struct Table<'f, 'd> {
    findings: &'f mut Findings,
    path: String,
    table: &'d DeTable<'d>,
    known: Vec<&'static str>,
}

impl<'f, 'd> Table<'f, 'd> {
    fn new(findings: &'f mut Findings, path: String, table: &'d DeTable<'d>) -> Self {
        Self { findings, path, table, known: Vec::new() }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of `key`, if it is there; notes where.
    fn get(&mut self, key: &'static str) -> Option<&'d toml::Spanned<DeValue<'d>>> {
        self.known.push(key);
        let value = self.table.get(key)?;
        let path = self.path_of(key);
        self.findings.places.note(&path, value.span());
        Some(value)
    }

    fn value<T>(&mut self, key: &'static str, read: impl Fn(&DeValue<'_>) -> Result<T, String>) -> Option<T> {
        let value = self.get(key)?;
        read(value.get_ref()).map_err(|message| self.wrong(key, &message)).ok()
    }

    fn wrong(&mut self, key: &str, message: &str) {
        let path = self.path_of(key);
        self.findings.add(&path, format!("'{key}': {message}"));
    }

    fn required<T: Default>(&mut self, key: &'static str, read: impl Fn(&DeValue<'_>) -> Result<T, String>) -> T {
        if !self.table.contains_key(key) {
            self.known.push(key);
            let path = self.path_of(key);
            self.findings.add(&path, format!("'{key}' is missing"));
        }
        self.value(key, read).unwrap_or_default()
    }

    fn name(&mut self) -> String {
        self.required("name", |value| {
            let name = text(value)?;
            let good = !name.trim().is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control);
            if good { Ok(name) } else { Err(format!("expected 1 to {MAX_NAME} bytes of printable text")) }
        })
    }

    fn word<T: Word>(&mut self, key: &'static str) -> Option<T> {
        self.value(key, |value| word(as_text(value)?))
    }

    fn number_or_priority(&mut self) -> Option<u32> {
        let number_value = self.value("number", number);
        let priority = self.value("priority", number);
        if number_value.is_some() && priority.is_some() {
            self.wrong("priority", "'number' is there already, and is the same");
        }
        if number_value.is_none()
            && let Some(value) = self.table.get("priority")
        {
            // One place for both words.
            let path = self.path_of("number");
            self.findings.places.note(&path, value.span());
        }
        number_value.or(priority)
    }

    /// Each of a list; something that is no list is a list of one.
    fn list<T>(&mut self, key: &'static str, read: impl Fn(&DeValue<'_>) -> Result<T, String>) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            return read(value.get_ref()).map_err(|message| self.wrong(key, &message)).into_iter().collect();
        };
        let mut list = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            let path = format!("{}[{number}]", self.path_of(key));
            self.findings.places.note(&path, item.span());
            match read(item.get_ref()) {
                Ok(value) => list.push(value),
                Err(message) => {
                    self.findings.add(&path, format!("'{key}': {message}"));
                    // What is incomplete is not judged as a whole.
                    let whole = self.path_of(key);
                    self.findings.mark(&whole);
                }
            }
        }
        list
    }

    fn switch(&mut self, key: &'static str) -> Option<Switch> {
        match self.table.get(key).map(toml::Spanned::get_ref) {
            Some(DeValue::Boolean(on)) => {
                self.get(key);
                Some(Switch::On(*on))
            }
            None => {
                self.known.push(key);
                None
            }
            Some(_) => Some(Switch::Networks(self.list(key, net))),
        }
    }

    fn section<T>(&mut self, key: &'static str, read: impl Fn(&mut Table<'_, 'd>) -> T) -> Option<T> {
        let value = self.get(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong(key, &format!("expected a section [{key}], not {}", kind(value.get_ref())));
            return None;
        };
        let path = self.path_of(key);
        let mut inner = Table::new(self.findings, path, table);
        let read = read(&mut inner);
        inner.end();
        Some(read)
    }

    fn sections<T>(&mut self, key: &'static str, read: impl Fn(&mut Table<'_, 'd>) -> T) -> Vec<T> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let expected = format!("expected [[{}]] or a list of tables", self.place_of(key));
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(key, &format!("{expected}, not {}", kind(value.get_ref())));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            let path = format!("{}[{number}]", self.path_of(key));
            self.findings.places.note(&path, item.span());
            let DeValue::Table(table) = item.get_ref() else {
                self.findings.add(&path, format!("'{key}': {expected}, not {}", kind(item.get_ref())));
                continue;
            };
            let mut inner = Table::new(self.findings, path, table);
            sections.push(read(&mut inner));
            inner.end();
        }
        sections
    }

    /// The name of a table below this one, as it is written in brackets.
    fn place_of(&self, key: &str) -> String {
        let mut name = String::new();
        for part in self.path.split('.').filter(|part| !part.is_empty()) {
            name.push_str(part.split('[').next().unwrap_or(part));
            name.push('.');
        }
        name + key
    }

    /// Tells the keys that nobody asked for.
    fn end(self) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
                let known = meant(name, &self.known);
                self.findings.add_at(&path, key.span(), format!("unknown key '{name}'{known}"));
            }
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn as_text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("expected a text, not {}", found(value)))
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    as_text(value).map(str::to_owned)
}

fn truth(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("expected true or false, not {}", kind(value)))
}

/// What is there where something else was expected, a number by its value.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(_) => integer(value).map_or_else(|_| kind(value).to_owned(), |number| number.to_string()),
        DeValue::Float(number) => number.as_str().to_owned(),
        other => kind(other).to_owned(),
    }
}

fn integer(value: &DeValue<'_>) -> Result<i128, String> {
    let DeValue::Integer(number) = value else { return Err(format!("expected a whole number, not {}", found(value))) };
    i128::from_str_radix(&number.as_str().replace('_', ""), number.radix())
        .map_err(|_| "expected a number of at most 64 bits".to_owned())
}

fn number<T: TryFrom<i128>>(value: &DeValue<'_>) -> Result<T, String> {
    let number = integer(value)?;
    T::try_from(number).map_err(|_| {
        let most = 8 * size_of::<T>();
        format!(
            "{number} is out of range (expected 0 to {})",
            if most < 64 { (1_i128 << most) - 1 } else { u64::MAX.into() }
        )
    })
}

fn float(value: &DeValue<'_>) -> Result<f64, String> {
    let number = match value {
        DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
        DeValue::Integer(_) => integer(value).ok().map(|number| number as f64),
        other => return Err(format!("expected a number, not {}", found(other))),
    };
    number.filter(|number: &f64| number.is_finite()).ok_or_else(|| "expected a finite number".to_owned())
}

fn port(value: &DeValue<'_>) -> Result<u16, String> {
    match number(value)? {
        0 => Err("0 is no port that can be sent to (expected 1 to 65535)".to_owned()),
        port => Ok(port),
    }
}

fn ports(value: &DeValue<'_>) -> Result<PortRange, String> {
    match value {
        DeValue::Integer(_) => number(value).map(PortRange::one),
        DeValue::String(text) => text.parse(),
        other => Err(format!("expected a port or a text with a range such as \"8000-8099\", not {}", found(other))),
    }
}

fn family(value: &DeValue<'_>) -> Result<IpVersion, String> {
    match value {
        DeValue::Integer(_) if integer(value) == Ok(4) => Ok(IpVersion::V4),
        DeValue::Integer(_) if integer(value) == Ok(6) => Ok(IpVersion::V6),
        other => Err(format!("expected 4 or 6, not {}", found(other))),
    }
}

fn vni(value: &DeValue<'_>) -> Result<VniDocument, String> {
    match value {
        DeValue::String(text) if text.as_ref() == "auto" => Ok(VniDocument::Auto),
        DeValue::Integer(_) => number(value).map(VniDocument::Is),
        other => Err(format!("expected a whole number or \"auto\", not {}", found(other))),
    }
}

fn protocol(value: &DeValue<'_>) -> Result<Protocol, String> {
    match value {
        DeValue::Integer(_) => number(value).map(Protocol),
        DeValue::String(text) => {
            let text = text.as_ref();
            Protocol::from_str(text).map_err(|()| {
                let mut names: Vec<&str> = Protocol::names().collect();
                names.push("a number from 0 to 255");
                format!("'{text}' is no protocol{}", meant(text, &names))
            })
        }
        other => Err(format!("expected the name or the number of a protocol, not {}", found(other))),
    }
}

fn address(value: &DeValue<'_>) -> Result<IpAddr, String> {
    let text = as_text(value)?;
    text.parse().map_err(|_| format!("'{text}' is no address (expected for example 10.0.0.1 or 2001:db8::1)"))
}

/// A network in CIDR notation; an address alone is a network of one.
fn net(value: &DeValue<'_>) -> Result<IpNet, String> {
    let text = as_text(value)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let net: IpNet = text
        .parse()
        .map_err(|_| format!("'{text}' is no network (expected for example 10.0.0.0/8 or 2001:db8::/32)"))?;
    if net.addr() == net.network() {
        Ok(net)
    } else {
        Err(format!(
            "'{text}' has bits behind its prefix (expected {} or {}/{})",
            net.trunc(),
            net.addr(),
            net.max_prefix_len()
        ))
    }
}
