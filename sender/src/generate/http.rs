//! HTTP/1.1 conversations (RFC 9112).

use std::fmt::Write as _;

use super::random::Random;
use super::script::{Connection, Library};

const SERVER_PORT: u16 = 80;
const HOSTS: &[&str] =
    &["www.example.com", "shop.example.net", "api.example.org", "static.example.com", "news.example.net"];
const PATHS: &[&str] = &["/", "/index.html", "/products", "/api/v1/orders", "/search", "/login", "/assets/app.js"];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "curl/8.9.1",
    "python-requests/2.32.3",
    "Go-http-client/1.1",
];
const WORDS: &[&str] =
    &["packet", "mirror", "window", "garden", "river", "seven", "copper", "lantern", "orbit", "meadow", "signal"];
/// Most exchanges in one connection.
const MOST_EXCHANGES: u32 = 3;

/// Adds one connection with a few requests and their responses.
pub(super) fn add(library: &mut Library, random: &mut Random) {
    library.add_tcp(SERVER_PORT, |connection| {
        let host = random.pick(HOSTS);
        let agent = random.pick(AGENTS);
        for _ in 0..random.between(1, MOST_EXCHANGES) {
            exchange(connection, random, host, agent);
        }
        match random.below(20) {
            0 => connection.reset(true),
            1..4 => connection.close(false),
            _ => connection.close(true),
        }
    });
}

fn exchange(connection: &mut Connection<'_>, random: &mut Random, host: &str, agent: &str) {
    let path = random.pick(PATHS);
    let number = random.below(100_000);
    let mut request = String::new();
    let posts = random.percent(20);
    // Writing to a String cannot fail.
    if posts {
        let body = format!("{{\"id\":{number},\"item\":\"{}\"}}", text(random, 300));
        let _ = write!(
            request,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nAccept: */*\r\n\r\n{body}",
            body.len()
        );
    } else {
        let _ = write!(
            request,
            "GET {path}?id={number} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: text/html,*/*;q=0.8\r\n\
             Accept-Encoding: identity\r\nConnection: keep-alive\r\n\r\n"
        );
    }
    connection.say(true, request.as_bytes());
    let (status, has_body) = match random.below(20) {
        0 => ("404 Not Found", true),
        1 => ("503 Service Unavailable", true),
        2 => ("302 Found", true),
        3 | 4 if !posts => ("304 Not Modified", false),
        _ if posts => ("201 Created", true),
        _ => ("200 OK", true),
    };
    let mut response = format!("HTTP/1.1 {status}\r\nServer: nginx\r\nDate: Tue, 04 Mar 2025 10:20:30 GMT\r\n");
    if has_body {
        let len = body_len(random, status.starts_with("200"));
        let body = text(random, len);
        let _ =
            write!(response, "Content-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    } else {
        let _ = write!(response, "ETag: \"{number:x}\"\r\n\r\n");
    }
    connection.say(false, response.as_bytes());
    connection.acknowledge(true);
}

/// Most bodies are small, a few are large.
fn body_len(random: &mut Random, large: bool) -> u32 {
    match random.below(100) {
        85.. if large => random.between(16_000, 60_000),
        50..85 if large => random.between(2_000, 16_000),
        _ => random.between(40, 2_000),
    }
}

/// About `len` bytes of words.
fn text(random: &mut Random, len: u32) -> String {
    let mut text = String::with_capacity(len as usize + 16);
    while text.len() < len as usize {
        text.push_str(random.pick(WORDS));
        text.push(' ');
    }
    text
}
