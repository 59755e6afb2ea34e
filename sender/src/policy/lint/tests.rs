use super::*;

const REST: &str =
    "[[source]]\nname = \"here\"\ninterfaces = \"eth0\"\n[[target]]\nname = \"there\"\naddress = \"192.0.2.7\"\n";

/// Severity, line and text of each finding. `text` begins on line 1.
fn findings(text: &str) -> Vec<(Severity, usize, String)> {
    let file = PolicyFile::parse("p", &format!("{text}\n{REST}")).unwrap_or_else(|error| panic!("{error}"));
    let told = |finding: Finding| (finding.severity, finding.problem.place.unwrap().line, finding.problem.message);
    file.lint().into_iter().map(told).collect()
}

/// The filter `f` of these inbound rules, one on each line from line 4 on, and a session of it.
fn inbound(provider: &str, rules: &[&str]) -> String {
    format!(
        "provider = \"{provider}\"\n[[filter]]\nname = \"f\"\ninbound = [\n{},\n]\noutbound = [{{ number = 1, action = \"accept\", protocol = \"tcp\" }}]\n\
         [[session]]\nname = \"s\"\nnumber = 1\nsource = \"here\"\nfilter = \"f\"\ntarget = \"there\"\nenabled = true\nvni = 1\n",
        rules.join(",\n")
    )
}

#[test]
fn a_policy_without_faults_has_no_findings() {
    assert_eq!(findings(&inbound("aws", &["{ number = 1, action = \"accept\", protocol = \"tcp\" }"])), []);
}

#[test]
fn a_rule_that_nothing_reaches_is_told_and_one_that_something_reaches_is_not() {
    for (first, second, shadowed) in [
        ("protocol = \"tcp\"", "protocol = \"tcp\", destination_ports = 80", true),
        ("protocol = \"tcp\", destination_ports = 80", "protocol = \"tcp\"", false),
        ("source = \"10.0.0.0/8\"", "source = \"10.1.0.0/16\", protocol = \"udp\"", true),
        ("source = \"10.1.0.0/16\"", "source = \"10.0.0.0/8\"", false),
        ("source = \"0.0.0.0/0\"", "destination = \"10.0.0.0/8\"", true),
        ("source = \"0.0.0.0/0\"", "protocol = \"tcp\"", false),
        ("source = \"0.0.0.0/0\"", "destination = \"2001:db8::/32\"", false),
        ("protocol = [\"tcp\", \"udp\"]", "protocol = \"udp\"", true),
        ("protocol = \"udp\"", "protocol = [\"tcp\", \"udp\"]", false),
        ("family = 4", "source = \"10.0.0.0/8\"", true),
        ("protocol = \"tcp\", source_ports = \"1-100\"", "protocol = \"tcp\", source_ports = [5, \"90-100\"]", true),
        ("protocol = \"tcp\", source_ports = \"1-100\"", "protocol = \"tcp\", source_ports = \"90-101\"", false),
    ] {
        let rules = [
            format!("{{ number = 1, action = \"accept\", {first} }}"),
            format!("{{ number = 2, action = \"reject\", {second} }}"),
        ];
        let found = findings(&inbound("vxtap", &[&rules[0], &rules[1]]));
        let told = found.iter().any(|(severity, line, text)| {
            *severity == Severity::Warning
                && *line == 6
                && text.contains("no packet reaches inbound rule 2: rule 1 before it")
        });
        assert_eq!(told, shadowed, "{first} / {second}: {found:?}");
    }
}

#[test]
fn a_shadowed_rule_is_found_in_the_order_of_numbers_and_told_where_it_stands() {
    let found = findings(&inbound(
        "aws",
        &[
            "{ number = 20, action = \"accept\", protocol = \"tcp\", source = \"10.0.0.0/8\" }",
            "{ number = 10, action = \"accept\", protocol = \"tcp\" }",
        ],
    ));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].1, found[0].2.contains("rule 20: rule 10")), (5, true), "{found:?}");
}

/// Two sessions of the filters `a` and `b`.
fn two(provider: &str, first: &str, second: &str) -> String {
    let filter =
        |name: &str, rules: &str| format!("[[filter]]\nname = \"{name}\"\ninbound = [{rules}]\noutbound = [{rules}]\n");
    let session = |name: &str, number: u32, vni: u32| {
        format!(
            "[[session]]\nname = \"{name}\"\nnumber = {number}\nsource = \"here\"\nfilter = \"{name}\"\ntarget = \"there\"\nvni = {vni}\nenabled = true\n"
        )
    };
    format!(
        "provider = \"{provider}\"\n{}{}{}{}",
        filter("a", first),
        filter("b", second),
        session("a", 1, 7),
        session("b", 2, 8)
    )
}

#[test]
fn sessions_that_nothing_reaches_or_whose_rules_are_taken_before_are_told() {
    let all = "{ number = 1, action = \"accept\" }";
    let tcp = "{ number = 1, action = \"accept\", protocol = \"tcp\" }";
    let no_tcp = "{ number = 1, action = \"reject\", protocol = \"tcp\" }";
    let has = |policy: &str, words: &str| findings(policy).iter().any(|(_, _, text)| text.contains(words));
    assert!(has(&two("aws", all, tcp), "no packet reaches session 'b': session 'a'"));
    assert!(has(
        &two("aws", tcp, tcp),
        "all that inbound rule 1 of 'b' accepts goes to session 'a' before it (rule 1)"
    ));
    assert!(!has(&two("aws", tcp, all), "reaches") && !has(&two("aws", tcp, all), "overlap"));
    assert!(!has(&two("aws", no_tcp, tcp), "overlap"));
    // Where a reject ends the search, a session that rejects all leaves nothing.
    let nothing = "{ number = 1, action = \"reject\" }";
    assert!(has(&two("huawei", nothing, tcp), "no packet reaches session 'b'"));
    assert!(!has(&two("aws", nothing, tcp), "no packet reaches session 'b'"));
}

#[test]
fn rules_that_do_not_fit_into_the_kernel_are_told() {
    let rules: Vec<String> = (0..900)
        .map(|at| {
            format!("{{ action = \"accept\", protocol = \"tcp\", source = \"10.{}.{}.0/24\" }}", at / 256, at % 256)
        })
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let told = |rules: &[&str]| {
        let policy = inbound("vxtap", rules).replace("{ number = 1, action", "{ action");
        findings(&policy).iter().any(|(_, _, text)| text.contains("more than a program for the kernel holds"))
    };
    assert!(told(&rules) && !told(&rules[..100]));
}

#[test]
fn a_large_policy_is_looked_through_with_bounded_work() {
    // Each session has the same 600 rules: compared pair by pair that would be sixty billion pairs.
    let rules: Vec<String> =
        (0..600).map(|at| format!("{{action=\"accept\",source=\"10.{}.{}.0/24\"}}", at / 256, at % 256)).collect();
    let sessions: Vec<String> = (0..600)
        .map(|at| {
            format!("[[session]]\nname=\"s{at}\"\nnumber={at}\nsource=\"here\"\nfilter=\"f\"\ntarget=\"there\"\n")
        })
        .collect();
    let text = format!("[[filter]]\nname = \"f\"\ninbound = [{}]\n{}", rules.join(","), sessions.concat());
    let found = findings(&text);
    assert!(found.iter().any(|(_, _, text)| text.contains("too many rules")), "{}", found.len());
    assert!(found.iter().any(|(_, _, text)| text.contains("more than a program for the kernel holds")));
}

#[test]
fn quotas_shared_vnis_and_objects_that_nobody_uses_are_told() {
    let tcp = "{ number = 1, action = \"accept\", protocol = \"tcp\" }";
    let has = |policy: &str, words: &str| findings(policy).iter().any(|(_, _, text)| text.contains(words));
    assert!(has(&two("aws", tcp, tcp).replace("vni = 8", "vni = 7"), "sessions 'a' and 'b' both have VNI 7"));
    let eleven: Vec<String> =
        (1..12).map(|at| format!("{{ number = {at}, action = \"accept\", source = \"10.0.{at}.0/24\" }}")).collect();
    let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
    assert!(has(&inbound("huawei", &eleven), "11 inbound rules of filter 'f' are more than huawei takes (10)"));
    assert!(has(&inbound("aws", &eleven), "12 rules of filter 'f' are more than aws takes (10)"));
    let four: Vec<String> = (2..5)
        .map(|at| {
            format!(
                "[[session]]\nname = \"s{at}\"\nnumber = {at}\nsource = \"here\"\nfilter = \"f\"\ntarget = \"there\"\n"
            )
        })
        .collect();
    let four = four.concat();
    assert!(has(
        &format!("{}{four}", inbound("aws", &[tcp])),
        "4 sessions of source 'here' are more than aws takes (3)"
    ));
    let lists = "{ number = 1, action = \"accept\", protocol = [\"tcp\", \"udp\"] }";
    assert!(has(&inbound("aws", &[lists]), "has one of each at most"));
    assert!(!has(&inbound("vxtap", &[lists]), "has one of each at most"));
    let unused = "[[filter]]\nname = \"g\"\n[[target]]\nname = \"u\"\naddress = \"a\"\n[[source]]\nname = \"w\"\ninterfaces = \"x\"\n";
    for words in [
        "no session has filter 'g'",
        "filter 'g' has no rules",
        "no session has target 'u'",
        "no session has source 'w'",
    ] {
        assert!(has(&format!("{}{unused}", inbound("aws", &[tcp])), words), "{words}");
    }
    let off = inbound("huawei", &[tcp]).replace("enabled = true", "length = 60");
    assert!(has(&off, "session 's' is off") && has(&off, "cuts packets to 60 bytes"));
    assert!(has(&inbound("vxtap", &[tcp]).replacen('\n', "\n[never]\nown = false\n", 1), "a loop"));
}
