//! Policy files, right and wrong.

use super::*;
use crate::policy::testing::{Random, Universe, document};
use crate::policy::{Encapsulation, Provider, Shed};

const EXAMPLE: &str = include_str!("../../../examples/policy.toml");

/// The first line of each problem.
fn problems(text: &str) -> Vec<String> {
    match PolicyFile::parse("p.toml", text) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

/// A file in which only `text` can be wrong: it stands from line 1 on.
fn around(text: &str) -> Vec<String> {
    let rest = "[[source]]\nname = \"here\"\ninterfaces = \"eth0\"\n[[target]]\nname = \"there\"\naddress = \"192.0.2.7\"\n\
                [[filter]]\nname = \"f\"\n[[session]]\nname = \"base\"\nnumber = 9\nsource = \"here\"\ntarget = \"there\"\n";
    problems(&format!("{text}\n{rest}"))
}

#[test]
fn the_example_is_a_policy() {
    let file = PolicyFile::parse("policy.toml", EXAMPLE).unwrap_or_else(|error| panic!("{error}"));
    let policy = &file.policy;
    assert_eq!((policy.provider, policy.sessions.len(), policy.targets.len()), (Provider::Vxtap, 2, 2));
    let [web, dns] = &policy.sessions[..] else { panic!() };
    assert_eq!((web.name.as_str(), web.number, web.vni.get(), web.length), ("web", 1, 4711, Some(256)));
    assert_eq!(
        (web.budget.max_pps, web.budget.shed, web.encapsulation),
        (Some(50_000), Shed::Flows, Encapsulation::Vxlan)
    );
    assert_eq!((dns.encapsulation, dns.vni_chosen, policy.max_cpu), (Encapsulation::Geneve, true, Some(25.0)));
    assert_eq!(policy.targets[1].members.len(), 2);
}

#[test]
fn what_is_written_is_what_is_read() {
    let (mut random, universe) = (Random::new(5), Universe::default());
    for round in 0..300 {
        let document = document(&mut random, Provider::ALL[round % Provider::ALL.len()], &universe);
        let text = document.to_toml().unwrap();
        let file = PolicyFile::parse("p", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(file.document, document, "{text}");
        assert_eq!(file.policy, PolicyFile::from_document(document).unwrap().policy);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_was_expected() {
    let mut wrong = Vec::new();
    for (text, place, words) in [
        (
            "[[session]]\nname = \"s\"\nnumber = 9\nsource = \"here\"\ntarget = \"there\"",
            "16:10",
            "has number 9, and so has",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", protocol = \"icmp\", destination_ports = 80 }]",
            "3:72",
            "icmp has no ports (expected tcp, udp, sctp or udplite)",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", destination_ports = 80 }]",
            "3:53",
            "without a 'protocol' that has ports",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", protocol = \"tcp\", source_ports = \"90-80\" }]",
            "3:66",
            "the range 90-80 is the wrong way round (expected 80-90)",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", family = 4, source = \"2001:db8::/32\" }]",
            "3:54",
            "2001:db8::/32 is no network of IPv4, which the rule's 'family' says",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", source = \"10.0.0.0/8\", destination = \"2001:db8::/32\" }]",
            "3:70",
            "'destination' is IPv6, but 'source' is IPv4",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", protocol = \"icmp\", source = \"::/0\" }]",
            "3:44",
            "icmp is of IPv4, but 'source' is IPv6 (expected icmpv6)",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"acept\" }]",
            "3:23",
            "'acept' is not known here (did you mean 'accept'?)",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ }]",
            "3:12",
            "a rule without an 'action' (expected accept, reject or next)",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", source = \"10.0.0.1/8\" }]",
            "3:42",
            "bits behind its prefix (expected 10.0.0.0/8 or 10.0.0.1/32)",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", protocol = \"tpc\" }]",
            "3:44",
            "'tpc' is no protocol (did you mean 'tcp'?)",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", number = 1.5 }]",
            "3:42",
            "expected a whole number, not 1.5",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", number = true }]",
            "3:42",
            "expected a whole number, not true or false",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", protocol = 6.0 }]",
            "3:44",
            "expected the name or the number of a protocol, not 6.0",
        ),
        ("[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", family = 5 }]", "3:42", "expected 4 or 6, not 5"),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", protocol = \"tcp\", source_ports = 80.5 }]",
            "3:66",
            "expected a port or a text with a range such as \"8000-8099\", not 80.5",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", source = 10.0 }]",
            "3:42",
            "expected a text, not 10.0",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ action = \"accept\", protocol = 256 }]",
            "3:44",
            "256 is out of range (expected 0 to 255)",
        ),
        (
            "[[filter]]\nname = \"g\"\ninbound = [{ number = 1, action = \"accept\" }, { action = \"accept\" }]",
            "3:47",
            "others have one",
        ),
        ("[[filter]]\nname = \"g\"\nserices = []", "3:1", "unknown key 'serices' (did you mean 'services'?)"),
        ("[[filter]]\nname = \"f\"", "10:8", "there is a filter 'f' already (the 1st one)"),
        ("[[sesion]]\nname = \"s\"", "1:3", "unknown key 'sesion' (did you mean 'session'?)"),
        (
            "[[session]]\nname = \"s\"\nnumber = 1\nsource = \"hre\"\ntarget = \"there\"",
            "4:10",
            "there is no source 'hre' (did you mean 'here'?)",
        ),
        (
            "[[session]]\nname = \"s\"\nnumber = 1\nsource = \"here\"\ntarget = \"elsewhere\"",
            "5:10",
            "there is no target 'elsewhere' (expected 'there')",
        ),
        (
            "[[session]]\nname = \"s\"\nnumber = 1\nsource = \"here\"\ntarget = \"there\"\nvni = 16777216",
            "6:7",
            "VNI 16777216 has more than 24 bits (expected 0 to 16777215)",
        ),
        (
            "[[session]]\nname = \"s\"\nnumber = 1\nsource = \"here\"\ntarget = \"there\"\nlength = 13",
            "6:10",
            "packet length 13 is out of bounds for vxtap (expected 14 to 65535)",
        ),
        (
            "[[session]]\nname = \"s\"\nnumber = 1\nsource = \"here\"\ntarget = \"there\"\nsample = 1.5",
            "6:10",
            "1.5 is no share of flows",
        ),
        (
            "[[session]]\nname = \"s\"\nnumber = 1\nsource = \"here\"\ntarget = \"there\"\nmax_pps = 0",
            "6:11",
            "expected more than 0",
        ),
        (
            "[[session]]\nname = \"s\"\nnumber = 1\npriority = 2\nsource = \"here\"\ntarget = \"there\"",
            "4:12",
            "'number' is there already",
        ),
        (
            "[[session]]\nname = \"s\"\nnumber = -1\nsource = \"here\"\ntarget = \"there\"",
            "3:10",
            "-1 is out of range (expected 0 to 4294967295)",
        ),
        ("[[session]]\nname = \"s\"\nnumber = 1\nsource = \"here\"", "1:1", "'target' is missing"),
        ("[[session]]\nname = \"s\"\nnumber = 1\ntarget = \"there\"", "1:1", "has no source"),
        ("[[source]]\nname = \"x\"", "1:1", "a source that selects nothing"),
        ("[[source]]\nname = \"x\"\ninterfaces = \"a-name-of-16-bytes\"", "3:14", "no name of an interface"),
        ("[[target]]\nname = \"x\"", "1:1", "a target without a place to send to"),
        (
            "[[target]]\nname = \"x\"\naddress = \"10.0.0.1:4789\"",
            "3:11",
            "expected address = \"10.0.0.1\", port = 4789",
        ),
        ("[[target]]\nname = \"x\"\naddress = \"a b\"", "3:11", "no name or address"),
        ("[[target]]\nname = \"x\"\naddress = \"10.2.0.999\"", "3:11", "'10.2.0.999' is no name or address"),
        ("[[target]]\nname = \"x\"\naddress = \"0.0.0.0\"", "3:11", "nobody can be reached"),
        ("[[target]]\nname = \"x\"\naddress = \"::\"", "3:11", "nobody can be reached"),
        ("[[target]]\nname = \"x\"\naddress = \"fe80::1\"", "3:11", "such as fe80::1%eth0"),
        ("[[target]]\nname = \"x\"\naddress = \"fd00::1%eth0\"", "3:11", "is not link-local"),
        ("[[target]]\nname = \"x\"\naddress = \"fe80::1%\"", "3:11", "is no interface"),
        ("[[target]]\nname = \"x\"\nmember = [{ address = \"255.255.255.255\" }]", "3:23", "nobody can be reached"),
        ("[[target]]\nname = \"x\"\naddress = \"a\"\nport = 0", "4:8", "0 is no port"),
        ("[[target]]\nname = \"x\"\nmember = [{ address = \"a\", weight = 0 }]", "3:37", "expected 1 to 1000000"),
        ("provider = \"asw\"", "1:12", "'asw' is not known here (did you mean 'aws'?)"),
        ("[never]\narp = \"no\"", "2:7", "expected true or false, not a text"),
        ("[budget]\nmax_cpu = 0", "2:11", "more than 0"),
    ] {
        let found = around(text);
        let told = found.iter().any(|problem| problem.starts_with(&format!("{place}: ")) && problem.contains(words));
        if !told {
            wrong.push(format!("{text}\n{place}: … {words}\n{found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_that_is_wrong_is_told_at_once_in_the_file_s_order() {
    let found = problems(
        "provider = \"huawei\"\n\
         [[source]]\nname = \"s\"\n\
         [[filter]]\nname = \"f\"\ninbound = [{ action = \"accept\" }, { priority = 0, action = \"next\" }]\n\
         [[session]]\nname = \"x\"\nlength = 9000\nvni = 99999999\nsource = \"t\"\nfilter = \"g\"\ntarget = \"u\"\n",
    );
    let expected = [
        "2:1: a source that selects nothing",
        "6:12: a rule without a number (expected 1 to 65535, or 'priority')",
        "6:48: rule number 0 is out of range for huawei",
        "6:60: huawei has no rules that say 'next' (expected accept or reject)",
        "7:1: session 'x' has no number",
        "9:10: packet length 9000 is out of bounds for huawei (expected 1 to 1460)",
        "10:7: VNI 99999999 has more than 24 bits",
        "11:10: there is no source 't' (did you mean 's'?)",
        "12:10: there is no filter 'g' (did you mean 'f'?)",
        "13:10: there is no target 'u' (there is none)",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn what_is_no_toml_is_told_alone_and_what_is_no_policy_too() {
    assert_eq!(problems("[[session]\nname = 1").len(), 1);
    assert_eq!(problems(""), ["1:1: there is no session, so nothing is mirrored (expected a [[session]])"]);
    let error = PolicyFile::parse("p.toml", "provider = \"x\u{1b}[2J\"").unwrap_err().to_string();
    assert!(!error.replace('\n', "").contains(char::is_control), "{error:?}");
    assert!(error.starts_with("p.toml:1:"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let missing = PolicyFile::load(&directory.path().join("none.toml")).unwrap_err().to_string();
    assert!(missing.contains("cannot read the policy: No such file"), "{missing}");
    let path = directory.path().join("bytes.toml");
    std::fs::write(&path, b"name = \"\xff\"").unwrap();
    assert!(PolicyFile::load(&path).unwrap_err().to_string().contains("1:9: expected text in UTF-8"));
    std::fs::write(&path, vec![b'#'; 1 << 21]).unwrap();
    assert!(PolicyFile::load(&path).unwrap_err().to_string().contains("more than 1 MiB"));
}

#[test]
fn a_long_line_is_shown_around_what_is_wrong_with_it() {
    let many = "\"10.0.0.0/8\", ".repeat(20);
    let text = format!(
        "[[filter]]\nname = \"f\"\ninbound = [{{ action = \"accept\", source = [{many}\"10.0.0.0/99\", {many}] }}]\n"
    );
    let error = PolicyFile::parse("p", &text).unwrap_err();
    let shown = error.problems().iter().find(|problem| problem.message.contains("/99")).unwrap().excerpt().unwrap();
    let [line, marks] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
    assert!(line.chars().count() < 110, "{shown}");
    let from = marks.find('^').unwrap();
    assert_eq!(&line[from..from + marks.matches('^').count()], "\"10.0.0.0/99\"", "{shown}");
}

#[test]
fn a_problem_of_the_host_has_a_place_in_the_file_too() {
    let file = PolicyFile::parse("p.toml", EXAMPLE).unwrap();
    let error = file.error(vec![file.problem("source[0].interfaces[0]", "there is no interface 'eth0'")]);
    let line = EXAMPLE.lines().position(|line| line.starts_with("interfaces")).unwrap() + 1;
    assert!(error.to_string().starts_with(&format!("p.toml:{line}:15: there is no interface")), "{error}");
}

#[test]
fn a_vni_that_is_chosen_depends_on_the_name_and_is_nobody_else_s() {
    let text = |more: &str| {
        format!(
            "[[source]]\nname = \"s\"\ninterfaces = \"eth0\"\n[[target]]\nname = \"t\"\naddress = \"a\"\n\
             [[session]]\nname = \"one\"\nsource = \"s\"\ntarget = \"t\"\n{more}"
        )
    };
    let vnis = |text: &str| -> Vec<u32> {
        PolicyFile::parse("p", text).unwrap().policy.sessions.iter().map(|session| session.vni.get()).collect()
    };
    let alone = vnis(&text(""))[0];
    let two = "[[session]]\nname = \"two\"\nsource = \"s\"\ntarget = \"t\"\nvni = \"auto\"\n";
    assert_eq!(vnis(&text(two))[0], alone);
    assert_ne!(vnis(&text(two))[1], alone);
    // Somebody else has it by name.
    let taken = format!("[[session]]\nname = \"two\"\nsource = \"s\"\ntarget = \"t\"\nvni = {alone}\n");
    assert_eq!(vnis(&text(&taken)), [alone + 1, alone]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..proptest::prelude::ProptestConfig::with_cases(500) })]

    #[test]
    fn any_text_is_a_policy_or_an_error_with_places(text: String, at in 0..EXAMPLE.len(), cut in 0..40_usize) {
        let _ = PolicyFile::parse("p", &text).map_err(|error| error.to_string());
        // The example with a piece taken out or replaced.
        let bytes = [&EXAMPLE.as_bytes()[..at], text.as_bytes(), &EXAMPLE.as_bytes()[(at + cut).min(EXAMPLE.len())..]].concat();
        let _ = PolicyFile::parse("p", &String::from_utf8_lossy(&bytes)).map_err(|error| error.to_string());
    }
}
