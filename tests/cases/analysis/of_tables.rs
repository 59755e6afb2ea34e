//! Rows of the tables that trusted tools made.

use std::fs;

use vxtap_tests::captures::{Capture, Row};

use super::of_eve::{self, Message, events};
use super::rows::{Kind, Rows};

/// The messages that tshark and Suricata see in `capture`, in units that `takes` accepts.
pub(crate) fn rows(capture: &Capture, takes: impl Fn(&str) -> bool) -> Rows {
    let mut rows = Rows::default();
    let table = |name: &str| capture.table(name).into_iter().filter(|row| takes(&row["unit"])).collect::<Vec<_>>();
    for row in &table("http.tsv") {
        http(row, &mut rows);
    }
    for row in &table("http2.tsv") {
        http2(row, &mut rows);
    }
    for row in &table("dns.tsv") {
        rows.add(Kind::Dns, dns(row));
    }
    for row in &table("tls.tsv") {
        tls(row, &mut rows);
    }
    let suricata = fs::read_to_string(capture.expected.join("suricata_eve.json")).unwrap_or_default();
    for event in events(&suricata).iter().filter(|event| event["event_type"] == "tls") {
        of_eve::certificate(event, &mut rows);
    }
    rows
}

fn http(row: &Row, rows: &mut Rows) {
    let url = row["uri_or_request_uri"].as_str();
    rows.add(
        Kind::Http,
        if row["kind"] == "request" {
            of_eve::request(&row["method_or_status"], &row["host"], url)
        } else {
            let url = url.strip_prefix("http://").unwrap_or(url);
            of_eve::response(&row["method_or_status"], "", url)
        },
    );
}

/// One line for each frame, whatever it has of several streams.
fn http2(row: &Row, rows: &mut Rows) {
    if !row["method"].is_empty() {
        rows.add(Kind::Http, of_eve::request(&row["method"], &row["authority"], &row["path"]));
    }
    for status in row["status"].split(',').filter(|status| !status.is_empty()) {
        rows.add(Kind::Http, of_eve::response(status, "", ""));
    }
}

pub(crate) fn dns(row: &Row) -> String {
    let list = |name: &str| of_eve::sorted(row[name].split(',').filter(|data| !data.is_empty()));
    of_eve::message(&Message {
        id: u64::from_str_radix(row["id"].trim_start_matches("0x"), 16).expect("an identifier"),
        response: (row["is_response"] == "1").then(|| code(&row["rcode"])),
        name: if row["qname"] == "<Root>" { "" } else { &row["qname"] },
        kind: &row["qtype"],
        data: ["a", "aaaa", "cname"].map(list),
    })
}

/// IANA, "DNS RCODEs", as far as the captures answer.
fn code(number: &str) -> &str {
    match number {
        "0" => "NOERROR",
        "1" => "FORMERR",
        "2" => "SERVFAIL",
        "3" => "NXDOMAIN",
        "4" => "NOTIMP",
        "5" => "REFUSED",
        other => other,
    }
}

fn tls(row: &Row, rows: &mut Rows) {
    if !row["ja3"].is_empty() {
        rows.add(Kind::Tls, of_eve::client_hello(&row["sni"], &row["ja3"]));
    }
    if !row["ja3s"].is_empty() {
        // With the extension, which one there is names the version (RFC 8446, section 4.2.1).
        let version =
            [&row["supported_versions"], &row["hello_version"]].into_iter().find(|version| !version.is_empty());
        let version = match version.map(String::as_str) {
            Some("0x0300") => "SSLv3",
            Some("0x0301") => "TLSv1",
            Some("0x0302") => "TLS 1.1",
            Some("0x0303") => "TLS 1.2",
            Some("0x0304") => "TLS 1.3",
            other => other.unwrap_or_default(),
        };
        let cipher = u16::from_str_radix(row["chosen_cipher"].trim_start_matches("0x"), 16).unwrap_or_default();
        rows.add(Kind::Tls, of_eve::server_hello(version, cipher, &row["ja3s"]));
    }
    if row["ja3"].is_empty() && row["ja3s"].is_empty() {
        rows.add(Kind::Tls, format!("{} {}", row["handshake_types"], row["sni"]));
    }
}
