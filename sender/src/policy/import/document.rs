//! The values of a JSON document with their places, and what of it nobody has read.
//!
//! Clouds spell one name in several ways: `trafficMirrorFilterId` in an SDK, `traffic-mirror-filter-id` in a command line's
//! output, `traffic_mirror_filter_id` in another API. Names are therefore compared without case, dashes and underscores;
//! which cloud a document is of is told apart before, by the exact spelling (`recognise`).

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::super::problem::printable;
use super::{ImportError, Remarks};

/// Where a value stands: the file as it was named, and the JSON path in it (`$.TrafficMirrorSessions[0].PacketLength`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    file: Arc<str>,
    path: String,
}

impl Place {
    /// The whole of the document in `file`.
    pub(super) fn document(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), path: "$".to_owned() }
    }

    /// The file's name as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The JSON path in the file; `$` is the whole document.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn field(&self, name: &str) -> Self {
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let path = if plain { format!("{}.{name}", self.path) } else { format!("{}[{name:?}]", self.path) };
        Self { file: Arc::clone(&self.file), path }
    }

    pub(super) fn item(&self, index: usize) -> Self {
        Self { file: Arc::clone(&self.file), path: format!("{}[{index}]", self.path) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file's name and a document's keys are others' text: nothing of them may steer a terminal.
        write!(f, "{}: {}", printable(&self.file), printable(&self.path))
    }
}

/// One value of a document.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    value: &'a Value,
    place: Place,
}

impl<'a> Node<'a> {
    pub(super) const fn new(value: &'a Value, place: Place) -> Self {
        Self { value, place }
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    pub(super) const fn value(&self) -> &'a Value {
        self.value
    }

    /// The value as an object.
    pub(super) fn fields(&self) -> Result<Fields<'a>, ImportError> {
        match self.value {
            Value::Object(map) => {
                Ok(Fields { map, place: self.place.clone(), unread: map.keys().map(String::as_str).collect() })
            }
            _ => Err(self.refused("an object")),
        }
    }

    /// The values of a list.
    pub(super) fn items(&self) -> Result<Vec<Self>, ImportError> {
        match self.value {
            Value::Array(values) => {
                Ok(values.iter().enumerate().map(|(index, value)| Self::new(value, self.place.item(index))).collect())
            }
            _ => Err(self.refused("a list")),
        }
    }

    /// The values of a list, or the one value that stands in its place.
    pub(super) fn one_or_more(&self) -> Result<Vec<Self>, ImportError> {
        if self.value.is_array() { self.items() } else { Ok(vec![self.clone()]) }
    }

    pub(super) fn text(&self) -> Result<&'a str, ImportError> {
        self.value.as_str().ok_or_else(|| self.refused("text"))
    }

    /// A whole number from 0 on; APIs that write numbers as text are understood.
    pub(super) fn number(&self) -> Result<u64, ImportError> {
        let number = match self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.refused("a whole number, 0 or more"))
    }

    /// A number of at most `most`.
    pub(super) fn number_up_to(&self, most: u32) -> Result<u32, ImportError> {
        let number = self.number()?;
        u32::try_from(number)
            .ok()
            .filter(|number| *number <= most)
            .ok_or_else(|| self.refused(&format!("a number from 0 to {most}")))
    }

    /// True or false; also as text in any case, as some APIs write it.
    pub(super) fn truth(&self) -> Result<bool, ImportError> {
        match self.value {
            Value::Bool(truth) => Ok(*truth),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(self.refused("true or false")),
        }
    }

    /// An address range; a bare address is a range of one.
    pub(super) fn network(&self) -> Result<IpNet, ImportError> {
        let text = self.text()?.trim();
        let bare = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let network: Option<IpNet> = text.parse().ok().or_else(bare);
        // Bits behind the prefix mean nothing, to the clouds either; a policy file has none.
        network
            .map(|network| network.trunc())
            .ok_or_else(|| self.refused("an address range such as 10.0.0.0/8 or 2001:db8::/32"))
    }

    /// The refusal of this value.
    pub(super) fn refused(&self, expected: &str) -> ImportError {
        ImportError::Value { place: self.place.clone(), found: shown(self.value), expected: expected.to_owned() }
    }
}

/// The fields of an object, and which of them were read.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: Place,
    unread: BTreeSet<&'a str>,
}

impl<'a> Fields<'a> {
    /// The field of that name. Null, as APIs write for what is not set, is like no field.
    pub(super) fn take(&mut self, name: &str) -> Option<Node<'a>> {
        let (key, value) = self.map.iter().find(|(key, _)| same(key, name))?;
        self.unread.remove(key.as_str());
        (!value.is_null()).then(|| Node::new(value, self.place.field(key)))
    }

    pub(super) fn need(&mut self, name: &str) -> Result<Node<'a>, ImportError> {
        self.take(name).ok_or_else(|| ImportError::Missing { place: self.place.clone(), field: name.to_owned() })
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<&'a str>, ImportError> {
        // Some APIs write "" for what is not set.
        Ok(self.take(name).map(|node| node.text()).transpose()?.filter(|text| !text.is_empty()))
    }

    /// The text of a field, to keep.
    pub(super) fn owned(&mut self, name: &str) -> Result<Option<String>, ImportError> {
        Ok(self.text(name)?.map(str::to_owned))
    }

    /// A number of at most `most`.
    pub(super) fn number(&mut self, name: &str, most: u32) -> Result<Option<u32>, ImportError> {
        self.take(name).map(|node| node.number_up_to(most)).transpose()
    }

    pub(super) fn truth(&mut self, name: &str) -> Result<Option<bool>, ImportError> {
        self.take(name).map(|node| node.truth()).transpose()
    }

    /// An address range; some APIs write "" for none.
    pub(super) fn network(&mut self, name: &str) -> Result<Option<IpNet>, ImportError> {
        self.take(name).filter(|node| node.value() != "").map(|node| node.network()).transpose()
    }

    /// The values of a list; none where there is no such field.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Node<'a>>, ImportError> {
        Ok(self.take(name).map(|node| node.items()).transpose()?.unwrap_or_default())
    }

    /// Whether there is such a field; it counts as read only when it is taken.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.iter().any(|(key, value)| same(key, name) && !value.is_null())
    }

    /// Fields that a policy has no place for and needs none: identities, times, owners, labels.
    pub(super) fn pass(&mut self, names: &[&str]) {
        self.unread.retain(|key| !names.iter().any(|name| same(key, name)));
    }

    /// Tells of every field that nobody has read and that says anything.
    pub(super) fn finish(self, remarks: &mut Remarks) {
        for key in self.unread {
            let value = &self.map[key];
            let silent = match value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(values) => values.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if !silent {
                remarks.lost(&self.place.field(key), format!("left out: nothing here means {}", shown(value)));
            }
        }
    }
}

/// Whether two spellings are of one name.
pub(super) fn same(one: &str, other: &str) -> bool {
    let plain = |text: &'_ str| -> Vec<u8> {
        text.bytes().filter(|byte| !matches!(byte, b'-' | b'_')).map(|byte| byte.to_ascii_lowercase()).collect()
    };
    plain(one) == plain(other)
}

/// A value in one short line.
pub(super) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    let cut: String = text.chars().take(LONGEST).collect();
    // JSON escapes the C0 controls only.
    printable(&if cut.len() < text.len() { cut + "…" } else { cut })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place() -> Place {
        Place::document(&Arc::from("a.json"))
    }

    #[test]
    fn a_field_is_found_however_a_cloud_spells_it() {
        let value = json!({"vxlan-network-identifier": 7, "targetIp": null});
        let mut fields = Node::new(&value, place()).fields().unwrap();
        assert_eq!(fields.take("vxlanNetworkIdentifier").unwrap().number().unwrap(), 7);
        assert!(fields.take("target_ip").is_none(), "null is like no field");
    }

    #[test]
    fn every_field_that_nobody_read_is_told_with_its_place() {
        let value = json!({"a": 1, "b-c": {"x": 1}, "empty": [], "known": "id"});
        let mut fields = Node::new(&value, place()).fields().unwrap();
        fields.take("a");
        fields.pass(&["known"]);
        let mut remarks = Remarks::default();
        fields.finish(&mut remarks);
        let told: Vec<String> = remarks.iter().map(ToString::to_string).collect();
        assert_eq!(told, [r#"a.json: $["b-c"]: left out: nothing here means {"x":1}"#]);
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_its_place_and_what_was_expected() {
        let value = json!({"list": [{"number": -1}], "range": "10.0.0.0/33"});
        let mut fields = Node::new(&value, place()).fields().unwrap();
        let item = fields.take("list").unwrap().items().unwrap().remove(0);
        let error = item.fields().unwrap().take("number").unwrap().number().unwrap_err().to_string();
        assert_eq!(error, "a.json: $.list[0].number: -1 (expected a whole number, 0 or more)");
        assert!(fields.take("range").unwrap().network().unwrap_err().to_string().contains("expected an address range"));
    }

    #[test]
    fn what_a_document_says_reaches_no_terminal_unescaped() {
        let value = json!({"\u{1b}[2J": "\u{1b}]0;x\u{7}"});
        let mut remarks = Remarks::default();
        Node::new(&value, place()).fields().unwrap().finish(&mut remarks);
        let told = remarks.iter().next().unwrap().to_string();
        assert!(!told.chars().any(char::is_control), "{told:?}");
    }
}
