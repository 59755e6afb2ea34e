use super::super::tests::{MACHINE, from_file};
use super::super::{read, run};

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
    ] {
        let error = refusal(&text);
        assert!(error.contains(told), "{text}: {error}");
    }
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
