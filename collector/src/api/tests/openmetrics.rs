//! A strict reader of the OpenMetrics text format, as far as this program writes it.

use std::collections::HashSet;

/// The samples of an exposition.
pub(super) struct Metrics(Vec<Sample>);

struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// The value of the sample with this name and exactly these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let same = |sample: &&Sample| {
            sample.name == name
                && sample.labels.len() == labels.len()
                && labels.iter().all(|(key, value)| sample.labels.iter().any(|(k, v)| k == key && v == value))
        };
        self.0.iter().find(same).map(|sample| sample.value)
    }

    /// How many samples have this name.
    pub(super) fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|sample| sample.name == name).count()
    }
}

/// Reads `text` or tells the first line that is not as the format wants it.
pub(super) fn parse(text: &str) -> Result<Metrics, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("does not end in '# EOF'")?;
    let mut samples: Vec<Sample> = Vec::new();
    let mut families = HashSet::new();
    let mut family: Option<(String, String)> = None;
    let mut help = None;
    for line in body.split_terminator('\n') {
        let fault = |what: &str| format!("{what}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').ok_or_else(|| fault("HELP without text"))?;
            if text.is_empty() {
                return Err(fault("empty HELP"));
            }
            help = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| fault("TYPE without type"))?;
            if help.as_deref() != Some(name) {
                return Err(fault("TYPE not after its HELP"));
            }
            if !families.insert(name.to_owned()) {
                return Err(fault("family twice"));
            }
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let sample = sample(line).ok_or_else(|| fault("not a sample"))?;
            let expected = match &family {
                Some((name, kind)) if kind == "counter" => vec![format!("{name}_total")],
                Some((name, kind)) if kind == "gauge" => vec![name.clone()],
                Some((name, kind)) if kind == "histogram" => {
                    ["sum", "count", "bucket"].map(|part| format!("{name}_{part}")).to_vec()
                }
                _ => return Err(fault("sample without a known TYPE")),
            };
            if !expected.contains(&sample.name) {
                return Err(fault("sample not of its family"));
            }
            if !sample.value.is_finite() || sample.value < 0.0 {
                return Err(fault("no such count"));
            }
            if samples.iter().any(|other| other.name == sample.name && other.labels == sample.labels) {
                return Err(fault("sample twice"));
            }
            samples.push(sample);
        }
    }
    if samples.is_empty() { Err("no samples".into()) } else { Ok(Metrics(samples)) }
}

fn sample(line: &str) -> Option<Sample> {
    let name_len = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let (name, mut rest) = line.split_at(name_len);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, after) = rest.split_once("=\"")?;
            if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return None;
            }
            let (value, after) = quoted(after)?;
            labels.push((key.to_owned(), value));
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',')?;
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A label value up to its closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

#[test]
fn the_reader_itself_refuses_what_the_format_refuses() {
    let good = "# HELP a A count.\n# TYPE a counter\na_total{x=\"1\"} 2\n# EOF\n";
    assert_eq!(parse(good).unwrap().value("a_total", &[("x", "1")]), Some(2.0));
    for (from, to) in [
        ("# EOF\n", ""),
        ("a_total{", "a{"),
        ("# HELP a A count.\n", ""),
        ("# TYPE a counter\n", ""),
        ("x=\"1\"", "x=\"\"1\""),
        ("x=\"1\"", "x=\"\\q\""),
        ("} 2", "}"),
        ("} 2", "} two"),
        ("} 2\n", "} 2\na_total{x=\"1\"} 3\n"),
    ] {
        assert!(parse(&good.replacen(from, to, 1)).is_err(), "{from:?} -> {to:?}");
    }
}
