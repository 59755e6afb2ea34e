//! What is wrong with flags, variables and files, and the place that is told.

use super::*;

#[test]
fn a_wrong_variable_is_named() {
    let lookup = |name: &str| match name {
        "VXTAP_WORKERS" => Some("many".into()),
        "VXTAP_LOG_DIR" => Some(std::os::unix::ffi::OsStringExt::from_vec(vec![b'/', 0xff])),
        "VXTAP_LISTEN" => Some("10.0.0.1,nowhere".into()),
        "VXTAP_PIN" => Some("maybe".into()),
        _ => None,
    };
    let error = gather(Options::default(), None, lookup).unwrap_err();
    assert_eq!(
        error.to_string().lines().collect::<Vec<_>>(),
        [
            "error: VXTAP_LISTEN: 'nowhere' is not an address (expected for example 0.0.0.0:4789 or [::]:4789)",
            "error: VXTAP_PIN: expected 'true' or 'false'",
            "error: VXTAP_WORKERS: expected a number from 1 to 256, or 'auto'",
            "error: VXTAP_LOG_DIR: expected text in UTF-8",
        ]
    );
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_nearest_one() {
    assert_eq!(
        errors("[pipeline]\n\n  workerz = 4 # four\n"),
        "vxtap.toml:3:3: unknown key 'workerz' (did you mean 'workers'?)\n  3 |   workerz = 4 # four\n    |   ^^^^^^^"
    );
    for (text, expected) in [
        ("[pipeline]\nWorkers = 4", "2:1: unknown key 'Workers' (did you mean 'workers'?)"),
        ("[flows]\nidle-tcp-new = \"1s\"", "2:1: unknown key 'idle-tcp-new' (did you mean 'idle_tcp_new'?)"),
        ("[flows]\nflow_max = 1000", "2:1: unknown key 'flow_max' (did you mean 'max'?)"),
        ("[capture]\nwrite = \"x\"", "2:1: unknown key 'write' (did you mean 'directory'?)"),
        ("workers = 4", "1:1: unknown key 'workers' here (did you mean 'workers' in [pipeline]?)"),
        ("[capture]\nworkers = 4", "2:1: unknown key 'workers' here (did you mean 'workers' in [pipeline]?)"),
        ("[capture]\nlistn = 4", "2:1: unknown key 'listn' here (did you mean 'listen' in [receive]?)"),
        ("[log]\nreceive-buffer = 4", "2:1: unknown key 'receive-buffer' here (did you mean 'buffer' in [receive]?)"),
        ("[run]\nzzzzzz = 4", "2:1: unknown key 'zzzzzz' (expected tui)"),
        (
            "[read]\nzzzzzz = 4",
            "2:1: unknown key 'zzzzzz' (expected encapsulation, vxlan_ports, geneve_ports or vxlan_gpe_ports)",
        ),
        ("zzzzzz = 4", "1:1: unknown key 'zzzzzz': keys stand below a [section]"),
        ("[captures]\nflush = 1", "1:2: unknown section 'captures' (did you mean 'capture'?)"),
        ("capture.flush.x = 1", "1:9: 'flush': expected one value, not a section"),
        ("capture = 1", "1:1: 'capture' is a section: expected [capture]"),
        (
            "[zzzzzz]\nflush = 1",
            "1:2: unknown section 'zzzzzz' (expected receive, pipeline, admission, flows, capture, log, api, follow, health, run, read \
             or demo)",
        ),
        ("[[receive]]\nlisten = 1", "1:3: 'receive' is a section: expected [receive]"),
    ] {
        assert_eq!(first_lines(text), [format!("vxtap.toml:{expected}")], "{text}");
    }
}

#[test]
fn a_value_out_of_range_or_of_another_kind_is_told_with_what_was_expected() {
    let time = |least, most| format!("expected a time from {least} to {most}");
    for (section, text, expected) in [
        ("pipeline", "workers = 0", "expected a number from 1 to 256, or 'auto'".to_owned()),
        ("pipeline", "workers = 257", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = -1", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = 1.5", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = 99999999999999999999999", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = true", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = 2026-11-21", "expected a number from 1 to 256, or 'auto'".into()),
        ("pipeline", "workers = [1]", "expected one value, not a list".into()),
        ("pipeline", "workers = {}", "expected one value, not a section".into()),
        ("pipeline", "steer_seed = 4294967296", "expected a number from 0 to 4294967295, or 'random'".into()),
        ("pipeline", "summary = \"\"", "expected a file, or - for standard output".into()),
        ("pipeline", "summary = 1", "expected a text in quotes, not a number".into()),
        ("receive", "listen = []", "expected at least one value".into()),
        (
            "receive",
            "listen = \"gre://[::]\"",
            "unknown scheme 'gre' (expected vxlan://, geneve:// or vxlan-gpe://, and ADDRESS[:PORT], or packet://INTERFACE)".into(),
        ),
        (
            "receive",
            "listen = \"geneve://here\"",
            "'here' is not an address (expected for example 0.0.0.0:6081 or [::]:6081)".into(),
        ),
        ("pipeline", "envelope_layers = 5", "expected a number from 1 to 4, or 'known'".into()),
        ("pipeline", "accept_unknown_critical = 1", "expected true or false, not a number".into()),
        ("receive", "buffer = \"2GiB\"", "expected a size from 4KiB to 1GiB, such as 64MiB".into()),
        ("receive", "buffer = \"64M\"", "expected a size from 4KiB to 1GiB, such as 64MiB".into()),
        ("receive", "coalesce = 500", time("0", "100ms, such as 500us")),
        ("receive", "coalesce = \"1s\"", time("0", "100ms, such as 500us")),
        ("receive", "timestamps = \"hardware\"", "expected 'batch', 'kernel' or 'sender'".into()),
        ("receive", "gro = 1", "expected true or false, not a number".into()),
        ("receive", "pin = \"true\"", "expected true or false, not a text".into()),
        ("flows", "max = 255", "expected a number from 256 to 268435456".into()),
        ("flows", "idle_tcp_new = \"1ms\"", time("100ms", "7d, such as 30s")),
        ("flows", "idle_tcp_new = \"8d\"", time("100ms", "7d, such as 30s")),
        ("flows", "active_timeout = \"1ms\"", "expected a time from 1s to 7d, such as 30m, or 0 for never".into()),
        ("capture", "directory = \"\"", "expected a directory".into()),
        ("capture", "rotate_bytes = 0", "expected a size from 64KiB to 16TiB, such as 512MiB, or 'none'".into()),
        ("capture", "flush = \"0s\"", time("1ms", "10s, such as 100ms")),
        ("capture", "split = \"both\"", "expected 'vni', 'network' or 'none'".into()),
        ("capture", "blocks = 1", "expected a number from 2 to 4096".into()),
        (
            "log",
            "events = \"flows\"",
            "expected 'all', 'none', or names of flow, http, dns, tls, quic, ssh, mysql, pgsql, redis, anomaly, stats"
                .into(),
        ),
        ("log", "rotate_bytes = 1", "expected a size from 64KiB to 16TiB, such as 512MiB, or 'none'".into()),
        ("log", "rotate_interval = \"1ms\"", time("1s", "7d, such as 1h") + ", or 'none'"),
        ("log", "keep = 0", "expected a number from 1 to 1000000, or 'none'".into()),
        ("log", "stats_interval = 0", time("1s", "7d, such as 10s") + ", or 'none'"),
        ("api", "address = \"9789\"", "expected ADDRESS:PORT such as 127.0.0.1:9789, or 'none'".into()),
        ("api", "address = \"localhost:x\"", "expected ADDRESS:PORT such as 127.0.0.1:9789, or 'none'".into()),
        (
            "api",
            "token = \"short\"",
            "expected 16 to 256 ASCII characters without spaces (openssl rand -hex 16 makes some)".into(),
        ),
        ("read", "encapsulation = \"gre\"", "expected 'auto', 'vxlan', 'geneve' or 'none'".into()),
        ("read", "vxlan_ports = 0", "expected a number from 1 to 65535".into()),
        ("demo", "seconds = 0", "expected a number of seconds from 0.1 to 1000000".into()),
        ("demo", "seconds = nan", "expected a number of seconds from 0.1 to 1000000".into()),
        ("demo", "pps = 0", "expected a number from 1 to 100000000".into()),
    ] {
        let (name, value) = text.split_once(" = ").unwrap();
        let column = name.len() + 4;
        let place = format!("vxtap.toml:2:{column}: '{name}': {expected}");
        let marks = "^".repeat(value.len());
        let shown = format!("{place}\n  2 | {text}\n    | {}{marks}", " ".repeat(column - 1));
        assert_eq!(errors(&format!("[{section}]\n{text}")), shown);
    }
}

#[test]
fn everything_wrong_with_a_file_is_told_at_once_in_its_order() {
    let text = "\
workers = 4
[pipeline]
workerz = 4
[receive]
listen = [\"10.0.0.1\", \"x\", 5]
[capture
[flows]
max = 1
max = 5000
idle_tcp_new =
";
    assert_eq!(
        first_lines(text),
        [
            "vxtap.toml:1:1: unknown key 'workers' here (did you mean 'workers' in [pipeline]?)",
            "vxtap.toml:3:1: unknown key 'workerz' (did you mean 'workers'?)",
            "vxtap.toml:5:23: 'listen': 'x' is not an address (expected for example 0.0.0.0:4789 or [::]:4789)",
            "vxtap.toml:5:28: 'listen': '5' is not an address (expected for example 0.0.0.0:4789 or [::]:4789)",
            "vxtap.toml:6:9: unclosed table, expected `]`",
            "vxtap.toml:8:7: 'max': expected a number from 256 to 268435456",
            "vxtap.toml:9:1: duplicate key",
            "vxtap.toml:10:15: string values must be quoted, expected literal string",
        ]
    );
}

#[test]
fn a_wrong_value_is_told_even_where_a_flag_overrides_it() {
    let written = Written::new("[flows]\nmax = 1");
    let mut flags = Options::default();
    flags.flows.flow_max = Some(5000);
    let error = gather(flags, Some(&written.path()), |_| None).unwrap_err();
    assert!(written.relative(&error).starts_with("vxtap.toml:2:7: 'max': expected"), "{error}");
}

#[test]
fn what_contradicts_itself_is_told_at_the_place_that_it_comes_from() {
    let written =
        Written::new("[api]\naddress = \"0.0.0.0:80\"\n[receive]\nlisten = [\"10.0.0.1\", \"10.0.0.1:4789\"]");
    let gathered = gather(Options::default(), Some(&written.path()), |_| None).unwrap();
    let error = run(&gathered, MACHINE).unwrap_err();
    let text = written.relative(&error);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "vxtap.toml:4:10: vxlan://10.0.0.1:4789 is listened on twice: name it once");
    let needs_token = "the API shows mirrored traffic, and other machines can reach it on 0.0.0.0:80: set a token \
                       (--api-token, VXTAP_API_TOKEN, or token in [api]), or serve it on 127.0.0.1";
    assert_eq!(lines[3], format!("vxtap.toml:2:11: {needs_token}"));
    assert_eq!(lines.len(), 6);

    let lookup = |name: &str| (name == "VXTAP_API").then(|| "0.0.0.0:80".into());
    let error = demo(&gather(Options::default(), None, lookup).unwrap(), MACHINE).unwrap_err();
    assert_eq!(error.to_string(), format!("error: VXTAP_API: {needs_token}"));
}

#[test]
fn a_file_that_is_no_text_is_refused_with_a_reason() {
    let read = |written: &Written, path: PathBuf| {
        written.relative(&gather(Options::default(), Some(&path), |_| None).unwrap_err())
    };
    let written = Written::new(b"[flows]\nmax = \xff1\n");
    assert_eq!(
        read(&written, written.path()),
        "vxtap.toml:2:7: expected text in UTF-8\n  2 | max = \u{fffd}1\n    |       ^"
    );
    assert_eq!(
        read(&written, written.directory.path().join("gone.toml")),
        "error: cannot read the configuration file gone.toml: No such file or directory (os error 2)"
    );
    let large = Written::new(vec![b'#'; (1 << 20) + 1]);
    assert_eq!(
        read(&large, large.path()),
        "error: cannot read the configuration file vxtap.toml: it has more than 1MiB, so it is no configuration"
    );
    let directory = read(&written, written.directory.path().to_owned());
    assert!(directory.ends_with(": Is a directory (os error 21)"), "{directory}");
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!("[flows]\nmax = {}", "[".repeat(100_000));
    assert!(errors(&text).starts_with("vxtap.toml:2:"));
}
