use super::super::tests::{MACHINE, from_file};
use super::super::{demo, read, run};

/// Why a run as a file says it is refused; "" where it is not.
fn refusal(text: &str) -> String {
    let gathered = from_file(text).unwrap();
    run(&gathered, MACHINE).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn options_that_say_nothing_without_another_or_against_it_are_refused_with_what_they_need() {
    let write = "[capture]\ndirectory = \"captures\"\n";
    let stdout = "[capture]\ndirectory = \"-\"\n";
    for (text, told) in [
        (
            format!("{write}one_copy = true\n[pipeline]\ndedup = \"off\""),
            "--capture-one-copy needs copies to be looked for",
        ),
        (format!("{write}whole_flows = true"), "--capture-whole-flows needs --capture-filter"),
        (format!("{stdout}compress = 3"), "--capture-compress needs files in a directory"),
        (format!("{stdout}split = \"vni\""), "--capture-split needs files in a directory"),
        (format!("{stdout}keep_bytes = \"1GiB\""), "--keep-bytes needs files in a directory"),
        (format!("{stdout}keep_age = \"1h\""), "--keep-age needs files in a directory"),
        (format!("{stdout}keep_free = \"1GiB\""), "--keep-free needs files in a directory"),
        ("[capture]\nrotate_bytes = \"1MiB\"".into(), "--rotate-bytes needs --write DIR"),
        ("[capture]\nkeep_age = \"1h\"".into(), "--keep-age needs --write DIR"),
        (
            "[log]\ndirectory = \"logs\"\nkeep = 3".into(),
            "--log-keep needs --log-rotate-bytes or --log-rotate-interval",
        ),
        ("[follow]\nfilter = \"tcp\"".into(), "--follow-filter needs --follow ADDR"),
        (
            "[[name]]\nname = \"a\"\nvni = 3\n[[name]]\nname = \"b\"\nvni = 3".into(),
            "--name names vni 3 twice: expected one name",
        ),
        ("[follow]\naddress = \"127.0.0.1:9789\"".into(), "--follow and --api have the same port 9789"),
        ("[health]\naddress = \"0.0.0.0:9789\"".into(), "--health and --api have the same port 9789"),
        (
            "[receive]\nlisten = [\"vxlan://[::]:4789\", \"geneve://127.0.0.1:4789\"]".into(),
            "geneve://127.0.0.1:4789 is listened on twice",
        ),
        ("[capture]\nfilter = \"tcp\"".into(), "--capture-filter needs --write DIR"),
        ("[capture]\nsnaplen = 96".into(), "--snaplen needs --write DIR"),
        ("[capture]\nformat = \"pcap\"".into(), "--capture-format needs --write DIR"),
        ("[capture]\nflush = \"1s\"".into(), "--flush needs --write DIR"),
        ("[capture]\nhook = \"true {file}\"".into(), "--capture-hook needs --write DIR"),
        (format!("{stdout}hook = \"true {{file}}\""), "--capture-hook needs files in a directory"),
        (format!("{write}hook_limit = \"5s\""), "--capture-hook-limit needs --capture-hook COMMAND"),
        ("[log]\nevents = [\"dns\"]".into(), "--log-events needs --log DIR"),
        ("[log]\nrotate_bytes = \"1MiB\"".into(), "--log-rotate-bytes needs --log DIR"),
        ("[log]\nstats_interval = \"1m\"".into(), "--log-stats-interval needs --log DIR"),
        ("[pipeline]\ndedup = \"off\"\ndedup_window = \"1s\"".into(), "--dedup-window needs copies to be looked for"),
        ("[follow]\ninsecure = true".into(), "--follow-insecure needs --follow ADDR"),
        ("[receive]\nprobes = [\"10.0.0.0/8\"]".into(), "--probes needs --listen packet://INTERFACE"),
        (
            "[health]\nunready_drops = \"none\"\ndrop_window = \"30s\"".into(),
            "--drop-window has no effect beside --unready-drops none",
        ),
    ] {
        let error = refusal(&text);
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn ports_of_tunnels_that_are_not_taken_off_are_refused_and_those_of_others_are_not() {
    let reading = |text: &str| {
        let gathered = from_file(&format!("[read]\n{text}")).unwrap();
        read(&gathered, MACHINE, Vec::new()).map_or_else(|error| error.to_string(), |_| String::new())
    };
    for (text, told) in [
        (
            "encapsulation = \"none\"\nvxlan_ports = 8472",
            "--vxlan-port has no effect beside --encapsulation none: expected 'auto' or 'vxlan'",
        ),
        (
            "encapsulation = \"geneve\"\nvxlan_ports = [4789, 8472]",
            "--vxlan-port has no effect beside --encapsulation geneve: expected 'auto' or 'vxlan'",
        ),
        ("encapsulation = \"geneve\"\nvxlan_gpe_ports = 4790", "--vxlan-gpe-port has no effect"),
        (
            "encapsulation = \"vxlan\"\ngeneve_ports = 6082",
            "--geneve-port has no effect beside --encapsulation vxlan: expected 'auto' or 'geneve'",
        ),
        (
            "encapsulation = \"none\"\n[pipeline]\nenvelope_layers = 2",
            "--envelope-layers has no effect beside --encapsulation none",
        ),
        (
            "encapsulation = \"none\"\n[pipeline]\naccept_unknown_critical = true",
            "--accept-unknown-critical has no effect beside --encapsulation none",
        ),
    ] {
        let error = reading(text);
        assert!(error.contains(told) && error.contains("vxtap.toml:"), "{text}: {error}");
    }
    for text in [
        "encapsulation = \"vxlan\"\nvxlan_ports = 8472\nvxlan_gpe_ports = 4790\ngeneve_ports = 6081",
        "encapsulation = \"geneve\"\ngeneve_ports = [6081, 6082]",
        "encapsulation = \"auto\"\nvxlan_ports = 8472\ngeneve_ports = 6082",
        "encapsulation = \"none\"\nvxlan_ports = 4789\ngeneve_ports = 6081",
    ] {
        assert_eq!(reading(text), "", "{text}");
    }
}

#[test]
fn networks_of_which_neither_is_a_part_of_the_other_are_refused_with_both_places() {
    let blue = "[[network]]\nname = \"blue\"\nvnis = [1, 2]\n";
    let red = "[[network]]\nname = \"red\"\nvnis = [2, 3]\n";
    let list = "[pipeline]\nnetworks = [\"blue=1,2\", \"red=2,3\"]\n";
    let mixed = format!("[pipeline]\nnetworks = \"blue=1,2\"\n{red}");
    for (text, at, other) in [
        (
            format!("{blue}{red}"),
            "vxtap.toml:4:1: networks 'blue' (vni 1,2; at ",
            "vxtap.toml:1:1) and 'red' (vni 2,3)",
        ),
        (list.to_owned(), "vxtap.toml:2:12: networks 'blue' (vni 1,2; at ", "vxtap.toml:2:12) and 'red' (vni 2,3)"),
        (mixed, "vxtap.toml:3:1: networks 'blue' (vni 1,2; at ", "vxtap.toml:2:12) and 'red' (vni 2,3)"),
    ] {
        let error = refusal(&text);
        assert!(error.contains(at) && error.contains(other) && error.contains("both have 'vni 2'"), "{error}");
    }
    for settled in ["[[network]]\nname = \"red\"\nvnis = 2", "[[network]]\nname = \"third\"\nvnis = 2"] {
        assert_eq!(refusal(&format!("{blue}{red}{settled}")), "", "{settled}");
    }
    assert_eq!(
        refusal(&format!("{blue}[[network]]\nname = \"red\"\nvnis = 2")),
        "",
        "a part of another has what it has"
    );
}

#[test]
fn the_demo_captures_without_being_told_where_to() {
    let demo = |text: &str| {
        let gathered = from_file(text).unwrap();
        demo(&gathered, MACHINE).map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(demo("[capture]\nkeep_bytes = \"1GiB\"\nfilter = \"tcp\"\nwhole_flows = true"), "");
    assert!(demo("[capture]\nwhole_flows = true").contains("--capture-whole-flows needs --capture-filter"));
    assert!(demo("[log]\nkeep = 3").contains("--log-keep needs --log DIR"));
}

#[test]
fn options_that_ask_for_nothing_or_have_what_they_need_are_taken() {
    let write = "[capture]\ndirectory = \"captures\"\n";
    for text in [
        format!("{write}one_copy = true\nkeep_age = \"1h\"\ncompress = 3\nsplit = \"vni\"\nrotate_bytes = \"1MiB\""),
        format!("{write}whole_flows = true\nfilter = \"tcp\""),
        "[capture]\nrotate_bytes = \"1GiB\"\nkeep_age = \"none\"".into(),
        "[capture]\ndirectory = \"-\"\ncompress = \"none\"".into(),
        "[log]\ndirectory = \"logs\"\nkeep = 3\nrotate_interval = \"1h\"".into(),
        "[follow]\naddress = \"127.0.0.1:7000\"\nfilter = \"tcp\"".into(),
        "[[name]]\nname = \"a\"\nvni = 3\n[[name]]\nname = \"a\"\nvni = 4".into(),
        "[receive]\nlisten = [\"vxlan://127.0.0.2:4789\", \"vxlan://127.0.0.1:4789\"]".into(),
    ] {
        assert_eq!(refusal(&text), "", "{text}");
    }
    let gathered = from_file("[follow]\nfilter = \"tcp\"").unwrap();
    read(&gathered, MACHINE, Vec::new()).unwrap();
}
