//! Rows of `eve.json`.

use std::net::IpAddr;

use serde_json::Value;

use super::rows::{Kind, Rows};

/// One event as it stands in `eve.json`.
pub(crate) fn events(eve: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    eve.lines().map(parse).collect()
}

/// The messages that `events` tell of. `flow` events are counted by [`vxtap_tests::conversations`].
pub(crate) fn rows(events: &[Value]) -> Rows {
    let mut rows = Rows::default();
    for event in events {
        rows.extend(rows_of(event));
    }
    rows
}

/// The messages that one event tells of.
pub(crate) fn rows_of(event: &Value) -> Rows {
    let mut rows = Rows::default();
    match text(&event["event_type"]) {
        "http" => http(&event["http"], &mut rows),
        "dns" => rows.add(Kind::Dns, dns(&event["dns"])),
        "tls" => {
            tls(&event["tls"], &event["tls"]["version"], &mut rows);
            certificate(event, &mut rows);
        }
        "quic" => tls(&event["quic"], &Value::Null, &mut rows),
        _ => {}
    }
    rows
}

/// Subject, issuer and the rest of a `tls` event of ours or of Suricata's.
pub(crate) fn certificate(event: &Value, rows: &mut Rows) {
    let tls = &event["tls"];
    if tls["fingerprint"].is_null() {
        return;
    }
    let address = |key: &str| sorted([text(&event[key])].into_iter());
    let ends = [address("src_ip"), event["src_port"].to_string(), address("dest_ip"), event["dest_port"].to_string()];
    let members = ["version", "subject", "issuerdn", "serial", "fingerprint", "notbefore", "notafter"];
    let values = members.map(|key| text(&tls[key]));
    let names: Vec<&str> = tls["subjectaltname"].as_array().into_iter().flatten().map(text).collect();
    rows.add(Kind::Certificate, format!("{} {} {}", ends.join(" "), values.join(" | "), names.join(",")));
}

fn http(http: &Value, rows: &mut Rows) {
    let method = text(&http["http_method"]);
    let mut host = text(&http["hostname"]).to_owned();
    if let Some(port) = http["http_port"].as_u64() {
        host = format!("{host}:{port}");
    }
    let url = text(&http["url"]);
    if !method.is_empty() {
        rows.add(Kind::Http, request(method, &host, url));
    }
    let interim = http["interim"].as_array().into_iter().flatten();
    for status in interim.chain(Some(&http["status"])).filter_map(Value::as_u64) {
        rows.add(Kind::Http, response(&status.to_string(), &host, url));
    }
}

/// The row of a request.
pub(crate) fn request(method: &str, host: &str, url: &str) -> String {
    format!("{method} {} {url}", host.to_ascii_lowercase())
}

/// The row of the response to the request for `url` of `host`.
pub(crate) fn response(status: &str, host: &str, url: &str) -> String {
    // Where the host ends cannot be told in all that tshark puts together.
    format!("{status} of {host}{url}").to_ascii_lowercase()
}

fn dns(dns: &Value) -> String {
    let is_response = dns["type"] == "response";
    let sections = ["answers", "authorities", "additionals"];
    let records = || sections.iter().flat_map(|section| dns[*section].as_array().into_iter().flatten());
    let data_of =
        |kind: &str| sorted(records().filter(|record| record["rrtype"] == kind).map(|record| text(&record["rdata"])));
    let queries: Vec<(&str, &str)> = dns["queries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|query| (text(&query["rrname"]), text(&query["rrtype"])))
        .collect();
    let names: Vec<&str> = queries.iter().map(|(name, _)| *name).collect();
    let types: Vec<&str> = queries.iter().map(|(_, kind)| number_of(kind)).collect();
    message(&Message {
        id: dns["id"].as_u64().unwrap_or_default(),
        response: is_response.then(|| text(&dns["rcode"])),
        name: &names.join(","),
        kind: &types.join(","),
        data: [data_of("A"), data_of("AAAA"), data_of("CNAME")],
    })
}

/// What is compared of a DNS message.
pub(crate) struct Message<'a> {
    pub(crate) id: u64,
    /// The response code's name.
    pub(crate) response: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    /// Of A, AAAA and CNAME records in all sections, in order.
    pub(crate) data: [String; 3],
}

/// The row of a DNS message.
pub(crate) fn message(message: &Message<'_>) -> String {
    let Message { id, response, name, kind, data } = message;
    let response = response.map_or("query".to_owned(), |code| format!("response {code}"));
    format!("{id:#06x} {response} {} {kind} {}", name.to_ascii_lowercase(), data.join(" "))
}

/// `data` in order, separated by commas; each address in its shortest form.
pub(crate) fn sorted<'a>(data: impl Iterator<Item = &'a str>) -> String {
    let shortest = |text: &str| text.parse().map_or(text.to_owned(), |address: IpAddr| address.to_string());
    let mut data: Vec<String> = data.map(shortest).collect();
    data.sort_unstable();
    data.join(",")
}

/// IANA, "Domain Name System Parameters", as far as the captures ask.
fn number_of(kind: &str) -> &str {
    match kind {
        "A" => "1",
        "NS" => "2",
        "SOA" => "6",
        "PTR" => "12",
        "TXT" => "16",
        "AAAA" => "28",
        "SRV" => "33",
        "DS" => "43",
        "DNSKEY" => "48",
        "HTTPS" => "65",
        "AXFR" => "252",
        "ANY" => "255",
        other => other,
    }
}

fn tls(tls: &Value, version: &Value, rows: &mut Rows) {
    if let Some(ja3) = tls["ja3"]["hash"].as_str() {
        rows.add(Kind::Tls, client_hello(text(&tls["sni"]), ja3));
    }
    if let Some(ja3s) = tls["ja3s"]["hash"].as_str() {
        let cipher = text(&tls["ja3s"]["string"]).split(',').nth(1).and_then(|cipher| cipher.parse().ok());
        rows.add(Kind::Tls, server_hello(version.as_str().unwrap_or("TLS 1.3"), cipher.unwrap_or_default(), ja3s));
    }
}

/// The row of a client's hello.
pub(crate) fn client_hello(name: &str, ja3: &str) -> String {
    format!("client {name} {ja3}")
}

/// The row of a server's hello.
pub(crate) fn server_hello(version: &str, cipher: u16, ja3s: &str) -> String {
    format!("server {version} {cipher:#06x} {ja3s}")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
