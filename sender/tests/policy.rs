//! `policy check` and `policy explain` as a user runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policy.toml");

fn policy(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vxtap-sender")).arg("policy").args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", out(output)))
}

/// A file `name` of `text` in a directory of its own.
fn written(name: &str, text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A pcap of TCP segments between 10.0.0.1 and a remote end: to port 443 and back, and to port 22.
fn capture() -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    let (here, there) = ([10, 0, 0, 1], [203, 0, 113, 9]);
    for (source, destination, ports) in
        [(there, here, (40_000, 443)), (here, there, (443, 40_000)), (there, here, (40_000_u16, 22_u16))]
    {
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, destination, 64);
        let mut frame = Vec::new();
        builder.tcp(ports.0, ports.1, 1, 1000).write(&mut frame, &[7; 1000]).unwrap();
        let length = (frame.len() as u32).to_le_bytes();
        file.extend([&[1, 0, 0, 0, 0, 0, 0, 0][..], &length, &length, &frame].concat());
    }
    file
}

#[test]
fn the_example_is_looked_through_in_80_columns() {
    let output = policy(&["check", EXAMPLE, "--rate", "1000"]);
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    let told = out(&output);
    let body = told.split_once("\n\n").unwrap().1;
    assert!(body.lines().all(|line| line.chars().count() <= 80), "{told}");
    for words in ["web", "4711", "256", "pair", "* chosen", "packets/s", "this host sends up to"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let value = json(&policy(&["check", EXAMPLE, "--rate", "1000", "--json"]));
    assert_eq!((&value["ok"], &value["provider"]), (&Value::Bool(true), &"vxtap".into()));
    assert_eq!(value["sessions"][0]["vni"], 4711);
    // 1 Gbit/s in frames of 800 bytes are 156,250 packets, of which the budget allows 50,000: 292 bytes each on the wire.
    let estimate = &value["sessions"][0]["estimate"];
    assert_eq!(estimate["packets_per_second"], 50_000.0);
    assert_eq!(estimate["mbps"], 50_000.0 * 292.0 * 8.0 / 1e6);
}

#[test]
fn what_is_wrong_with_a_policy_ends_the_program_with_2_and_all_places() {
    let wrong = "provider = \"huawei\"\n[[session]]\nname = \"s\"\nnumber = 1\nsource = \"a\"\ntarget = \"b\"\nlength = 1461\nvni = 16777216\n";
    let (_directory, path) = written("wrong.toml", wrong);
    let output = policy(&["check", text(&path)]);
    assert_eq!((output.status.code(), out(&output)), (Some(2), String::new()));
    for words in [
        "wrong.toml:5:10: there is no source 'a'",
        "wrong.toml:7:10: packet length 1461",
        "expected 1 to 1460",
        "wrong.toml:8:7: VNI 16777216",
        "length = 1461\n",
    ] {
        assert!(err(&output).contains(words), "{words}: {}", err(&output));
    }
    let output = policy(&["check", text(&path), "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let value = json(&output);
    assert_eq!(value["ok"], false);
    let problem =
        value["problems"].as_array().unwrap().iter().find(|problem| problem["about"] == "session[0].vni").unwrap();
    assert_eq!((&problem["line"], &problem["column"]), (&8.into(), &7.into()));
    let missing = policy(&["check", "/nowhere/policy.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(err(&missing).contains("/nowhere/policy.toml: cannot read the policy"), "{}", err(&missing));
}

#[test]
fn an_interface_that_this_host_does_not_have_is_told_with_its_place() {
    let here = "[[source]]\nname = \"s\"\ninterfaces = [\"lo\", \"none0\"]\n[[target]]\nname = \"t\"\naddress = \"192.0.2.7\"\n\
         [[session]]\nname = \"x\"\nsource = \"s\"\ntarget = \"t\"\n";
    let (_directory, path) = written("host.toml", here);
    assert_eq!(policy(&["check", text(&path)]).status.code(), Some(0));
    let output = policy(&["check", text(&path), "--host"]);
    assert_eq!(output.status.code(), Some(2));
    let place = "host.toml:3:21: there is no interface 'none0' on this host (expected";
    assert!(err(&output).contains(place), "{}", err(&output));
    // So is it where the policy is to be run, before anything is opened; a pattern may be like nothing.
    let capture = |path: &Path| {
        Command::new(env!("CARGO_BIN_EXE_vxtap-sender")).args(["capture", "--policy", text(path)]).output().unwrap()
    };
    let output = capture(&path);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains(place), "{}", err(&output));
    fs::write(&path, here.replace("\"lo\", \"none0\"", "\"none*\"")).unwrap();
    let output = capture(&path);
    assert!(err(&output).contains("no source of the policy selects an interface of this host"), "{}", err(&output));
}

#[test]
fn all_sessions_together_are_estimated_with_the_traffic_where_it_makes_most_copies() {
    // Whole frames within a budget of 10 Mbit/s, cut ones without; a third session is off.
    let sessions = "[[source]]\nname = \"s\"\ninterfaces = \"lo\"\n[[target]]\nname = \"t\"\naddress = \"192.0.2.7\"\n\
         [[session]]\nname = \"whole\"\nnumber = 1\nsource = \"s\"\ntarget = \"t\"\nmax_mbps = 10\n\
         [[session]]\nname = \"cut\"\nnumber = 2\nsource = \"s\"\ntarget = \"t\"\nlength = 164\n\
         [[session]]\nname = \"off\"\nnumber = 3\nsource = \"s\"\ntarget = \"t\"\nenabled = false\n";
    let total = |policy_text: &str| {
        let (_directory, path) = written("estimate.toml", policy_text);
        let output = policy(&["check", text(&path), "--rate", "1000", "--frame-bytes", "800"]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let told = out(&output);
        let at = told.find("sends up to ").unwrap() + "sends up to ".len();
        told[at..].split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    // 836 bytes of 800 are mirrored of as much of the traffic as makes 10 Mbit/s, 200 bytes of 800 of the rest.
    let share = 10.0 / (1000.0 * 836.0 / 800.0);
    let expected = 10.0 + (1.0 - share) * 250.0;
    assert!((total(sessions) - expected).abs() < 0.1, "{} {expected}", total(sessions));
    assert!((total(&format!("[budget]\nmax_mbps = 100\n{sessions}")) - 100.0).abs() < 0.1);
}

#[test]
fn a_five_tuple_is_explained_by_session_and_rule() {
    let explain =
        |direction: &str, tuple: &str| policy(&["explain", "--policy", EXAMPLE, "--direction", direction, tuple]);
    let output = explain("in", "tcp 203.0.113.9:40000 > 10.0.0.3:8080");
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    for words in [
        "session 1 'web': rule 20 accepts; the search ends here",
        "passed over: 10 (source)",
        "mirrored by 'web'",
        "VXLAN with VNI 4711, 256 bytes at most",
    ] {
        assert!(out(&output).contains(words), "{words}: {}", out(&output));
    }
    let output = explain("in", "tcp 10.1.1.1:40000 > 10.0.0.3:443");
    for words in ["rule 10 rejects; the next session is asked", "session 2 'dns': no rule matches", "rejected by 'web'"]
    {
        assert!(out(&output).contains(words), "{words}: {}", out(&output));
    }
    let output = explain("out", "udp 10.0.0.3:68 > 10.0.0.1:67");
    assert!(out(&output).contains("never mirrored: dhcp"), "{}", out(&output));
    let value = json(&policy(&[
        "explain",
        "--policy",
        EXAMPLE,
        "--direction",
        "in",
        "--json",
        "tcp 203.0.113.9:1 > 10.0.0.3:443",
    ]));
    assert_eq!(
        (&value["decision"], &value["session"], &value["length"]),
        (&"mirror".into(), &"web".into(), &256.into())
    );
    assert_eq!(value["steps"][0]["passed_over"][0]["because"], "source");
}

#[test]
fn a_capture_is_counted_by_rule_and_directions_follow_from_local_networks() {
    let (_directory, path) = written("traffic.pcap", capture());
    let arguments = ["explain", "--policy", EXAMPLE, "--local", "10.0.0.0/8", text(&path)];
    let output = policy(&arguments);
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    let told = out(&output);
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    for words in [
        "inbound rule 20 accepts",
        "outbound rule 10 accepts",
        "no session",
        "2 of 3 packets are mirrored, 512 of 3,162 bytes",
        "dns inbound 1",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let value = json(&policy(&[&arguments[..], &["--json", "--packets"]].concat()));
    assert_eq!((&value["packets"], &value["mirrored"], &value["copied_bytes"]), (&3.into(), &2.into(), &512.into()));
    assert_eq!(value["each"][2]["decision"], "unmatched");
    let lines = out(&policy(&[&arguments[..], &["--packets"]].concat()));
    assert!(lines.contains("     1 inbound  tcp 203.0.113.9:40000 > 10.0.0.1:443"), "{lines}");
}

#[test]
fn what_cannot_be_explained_is_refused_with_what_was_expected() {
    for (arguments, words) in [
        (&["explain", "--policy", EXAMPLE, "tcp 1.1.1.1:1 > 2.2.2.2:2"][..], "--direction"),
        (&["explain", "--policy", EXAMPLE, "--direction", "in", "tpc 1.1.1.1:1 > 2.2.2.2:2"], "'tpc' is no protocol"),
        (&["explain", "--policy", EXAMPLE, "--direction", "in", "/nowhere.pcap"], "/nowhere.pcap"),
        (
            &["explain", "--policy", EXAMPLE, "--direction", "in", "--source", "back", "tcp 1.1.1.1:1 > 2.2.2.2:2"],
            "no source 'back' (expected front)",
        ),
        (
            &["explain", "--policy", "/nowhere.toml", "--direction", "in", "tcp 1.1.1.1:1 > 2.2.2.2:2"],
            "cannot read the policy",
        ),
        (&["check", EXAMPLE, "--rate", "0"], "greater than 0"),
    ] {
        let output = policy(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(words), "{arguments:?}: {}", err(&output));
    }
}
