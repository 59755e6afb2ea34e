//! What real clients ask of real servers is in the events, by name: nothing here was written with the analysers in mind.

use std::fmt::Write as _;

use serde_json::{Value, json};
use vxtap_tests::lab::{Lab, Outer, PASSWORD, Service, USER};

use super::{eve, start_collector, stop_collector};

/// What the collector told of a lab.
struct Told {
    events: Vec<Value>,
}

/// The events of the traffic that `act` makes. Every one of them is of the mirror's network; nothing was lost, and nothing contradicted
/// its protocol: these are the programs that the protocols are known by.
fn told_of(lab: &Lab, act: impl FnOnce()) -> Told {
    lab.mirror();
    let collector = start_collector(lab);
    lab.between_marks(act);
    let summary = stop_collector(lab, collector);
    assert_eq!((summary.ledger.dropped_total(), summary.ledger.kernel_dropped), (0, 0));
    let text = eve(lab);
    assert!(!text.contains(PASSWORD), "a password is in the log");
    let mut events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Two workers wrote them, each its own in order.
    events.sort_by(|one, other| one["timestamp"].as_str().cmp(&other["timestamp"].as_str()));
    let told = Told { events };
    assert_eq!(told.of("anomaly"), Vec::<Value>::new());
    told
}

impl Told {
    /// The events of `kind`, in the order of time.
    fn of(&self, kind: &str) -> Vec<Value> {
        self.events.iter().filter(|event| event["event_type"] == kind).cloned().collect()
    }

    /// The value at each of `paths` in the events of `kind`, which are of the flow from the client to `port`.
    fn values<const N: usize>(&self, kind: &str, port: u16, paths: [&str; N]) -> Vec<[Value; N]> {
        let events = self.of(kind);
        for event in &events {
            let ends = [&event["src_ip"], &event["dest_ip"], &event["src_port"], &event["dest_port"]];
            assert!(ends[..2].contains(&&json!("10.77.0.2")) && ends[..2].contains(&&json!("10.77.0.1")), "{event}");
            assert!(ends[2..].contains(&&json!(port)), "{event}");
            assert!(self.flows().contains(&event["flow_id"]), "{event} is of no flow");
        }
        events.iter().map(|event| paths.map(|path| event.pointer(path).cloned().unwrap_or_default())).collect()
    }

    /// The numbers of all flows.
    fn flows(&self) -> Vec<Value> {
        self.of("flow").iter().map(|event| event["flow_id"].clone()).collect()
    }

    /// The application protocols of the flows to `port`.
    fn protocols(&self, port: u16) -> Vec<Value> {
        let flows = self.of("flow");
        flows.iter().filter(|event| event["dest_port"] == port).map(|event| event["app_proto"].clone()).collect()
    }
}

#[test]
fn http_events_have_what_curl_asked_of_nginx() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let told = told_of(&lab, || {
        let curl = |arguments: &[&str]| {
            let mut all = vec!["-sS", "-o", "/dev/null", "-o", "/dev/null", "--resolve", "www.lab.test:80:10.77.0.1"];
            all.extend(arguments);
            let _ = lab.on_client("curl", &all).success();
        };
        curl(&["-A", "agent/1", "http://www.lab.test/small", "http://www.lab.test/none?a=b"]);
        curl(&["-I", "http://www.lab.test/large"]);
        curl(&["-d", "posted", "-e", "http://from.lab.test/", "http://www.lab.test/small"]);
    });
    let found = told.values("http", 80, ["/http/http_method", "/http/hostname", "/http/url", "/http/status"]);
    let host = "www.lab.test";
    let asked = [
        json!(["GET", host, "/small", 200]),
        json!(["GET", host, "/none?a=b", 404]),
        json!(["HEAD", host, "/large", 200]),
        json!(["POST", host, "/small", 405]),
    ];
    assert_eq!(json!(found), json!(asked));
    let found = told.values("http", 80, ["/http/http_user_agent", "/http/http_refer", "/http/length"]);
    assert_eq!(found[0], [json!("agent/1"), Value::Null, json!(15)]);
    // Of a HEAD there is no body, whatever its length would be.
    assert_eq!(found[2][2], json!(0));
    assert_eq!(found[3][1], json!("http://from.lab.test/"));
    // Two requests on the first connection.
    assert_eq!(told.protocols(80), ["http", "http", "http"]);
    let flows: Vec<[Value; 1]> = told.values("http", 80, ["/flow_id"]);
    assert!(flows[0] == flows[1] && flows[1] != flows[2]);
}

#[test]
fn tls_events_have_the_name_and_the_certificate_of_a_server_that_signed_itself() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let Some(server) = Service::secure_web(&lab) else { return };
    let certificate = server.directory().join("certificate.pem");
    let certificate = certificate.to_str().unwrap();
    let told = told_of(&lab, || {
        let common =
            ["-sS", "-o", "/dev/null", "--resolve", "secure.lab.test:443:10.77.0.1", "https://secure.lab.test/"];
        for more in [&["--tls-max", "1.2", "--cacert", certificate][..], &["--tlsv1.3", "--cacert", certificate]] {
            let _ = lab.on_client("curl", &[&common, more].concat()).success();
        }
        // It does not know who signed.
        assert_eq!(lab.on_client("curl", &[&common[..], &["--tls-max", "1.2"]].concat()).code(), 60);
    });
    let found = told.values("tls", 443, ["/tls/version", "/tls/sni", "/tls/subject", "/tls/issuerdn"]);
    let name = "O=Lab, CN=secure.lab.test";
    let sni = "secure.lab.test";
    assert_eq!(found[0], [json!("TLS 1.2"), json!(sni), json!(name), json!(name)]);
    // Version 1.3 encrypts the certificate.
    assert_eq!(found[1], [json!("TLS 1.3"), json!(sni), Value::Null, Value::Null]);
    let found = told.values("tls", 443, ["/tls/fingerprint", "/tls/subjectaltname", "/tls/alert/from"]);
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha1", "-in", certificate]);
    let said = vxtap_tests::process::run_within(vxtap_tests::deadline::SOON, &mut openssl).success().stdout;
    let fingerprint = said.trim().split_once('=').unwrap().1.to_ascii_lowercase();
    assert_eq!(found[0], [json!(fingerprint), json!([sni]), Value::Null]);
    assert_eq!((found.len(), &found[2][2]), (3, &json!("client")));
    assert_eq!(told.protocols(443), ["tls", "tls", "tls"]);
    assert_eq!(told.of("http"), Vec::<Value>::new());
}

#[test]
fn dns_events_have_what_dig_asked_of_dnsmasq_over_udp_and_tcp() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let queries = [["a.lab.test", "A"], ["a.lab.test", "AAAA"], ["long.lab.test", "TXT"], ["none.lab.test", "A"]];
    let told = told_of(&lab, || {
        for transport in ["+notcp", "+tcp"] {
            for [name, kind] in queries {
                let _ = lab.on_client("dig", &[transport, "+tries=1", "+time=5", "@10.77.0.1", name, kind]).success();
            }
        }
    });
    let long = "x".repeat(250);
    let answers = [
        (json!("NOERROR"), json!(["10.77.0.1"])),
        (json!("NOERROR"), json!(["fd77:0000:0000:0000:0000:0000:0000:0001"])),
        (json!("NOERROR"), json!([long.as_str(), long.as_str(), long.as_str()])),
        (json!("NXDOMAIN"), json!([])),
    ];
    let paths = ["/dns/type", "/dns/queries/0/rrname", "/dns/queries/0/rrtype", "/dns/rcode", "/dns/answers", "/proto"];
    let found = told.values("dns", 53, paths);
    for transport in ["UDP", "TCP"] {
        let mut found = found.iter().filter(|event| event[5] == transport);
        for ([name, kind], (code, answer)) in queries.iter().zip(&answers) {
            let mut pair = [found.next().unwrap(), found.next().unwrap()];
            // The kernel mirrors the two on two CPUs, each by its own queue: on a busy machine the answer may overtake the question.
            pair.sort_by_key(|event| event[0] != "request");
            let [request, response] = pair;
            assert_eq!(request[..3], [json!("request"), json!(name), json!(kind)]);
            assert_eq!(response[..4], [json!("response"), json!(name), json!(kind), code.clone()]);
            let data = response[4].as_array().map_or(&[][..], Vec::as_slice).iter();
            assert_eq!(&json!(data.map(|answer| answer["rdata"].clone()).collect::<Vec<_>>()), answer);
        }
        assert_eq!(found.next(), None);
    }
    assert_eq!(told.protocols(53), vec!["dns"; 8]);
}

#[test]
fn ssh_events_have_the_versions_that_both_sides_say_they_are() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let Some(_server) = Service::ssh(&lab) else { return };
    let mut said = String::new();
    let told = told_of(&lab, || {
        let mut arguments = vec!["-v", "-F", "none", "-p", "2022"];
        let options =
            ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "IdentitiesOnly=yes"];
        for option in options {
            arguments.extend(["-o", option]);
        }
        arguments.extend(["lab@10.77.0.1", "true"]);
        let finished = lab.on_client("ssh", &arguments);
        // Keys were exchanged, or it would not be told so.
        assert!(finished.stderr.contains("Permission denied"), "{}", finished.stderr);
        said = finished.stderr;
    });
    let after = |mark: &str| said.split_once(mark).unwrap().1.split_whitespace().next().unwrap().to_owned();
    let client = after("Local version string SSH-2.0-");
    let server = after("remote software version ");
    let paths = ["/ssh/client/software_version", "/ssh/server/software_version", "/ssh/client/proto_version"];
    assert_eq!(told.values("ssh", 2022, paths), [[json!(client), json!(server), json!("2.0")]]);
    for string in told.values("ssh", 2022, ["/ssh/client/hassh/string", "/ssh/server/hassh/string"]).concat() {
        assert!(string.as_str().unwrap().contains("chacha20-poly1305@openssh.com"), "{string}");
    }
    assert_eq!(told.protocols(2022), ["ssh"]);
}

#[test]
fn pgsql_events_have_the_statements_of_psql_and_what_became_of_them() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let Some(_server) = Service::postgresql(&lab) else { return };
    let told = told_of(&lab, || {
        let statements = [
            "CREATE TABLE things (id int PRIMARY KEY, name text)",
            "INSERT INTO things SELECT n, 'thing ' || n FROM generate_series(1, 7) n",
            "SELECT id, name FROM things WHERE id > 2",
            "SELECT * FROM nothing",
            "DELETE FROM things",
        ];
        let mut arguments = vec!["-X", "-h", "10.77.0.1", "-U", USER, "-d", "postgres"];
        for statement in statements {
            arguments.extend(["-c", statement]);
        }
        let finished = lab.on_client("psql", &arguments).success();
        assert!(finished.stderr.contains("does not exist"), "{}", finished.stderr);
    });
    let paths = [
        "/pgsql/request/simple_query",
        "/pgsql/response/command_completed",
        "/pgsql/response/code",
        "/pgsql/response/data_rows",
    ];
    let found = told.values("pgsql", 5432, paths);
    let of_statements: Vec<_> = found.iter().filter(|event| !event[0].is_null()).collect();
    let expected = json!([
        ["CREATE TABLE things (id int PRIMARY KEY, name text)", "CREATE TABLE", null, null],
        ["INSERT INTO things SELECT n, 'thing ' || n FROM generate_series(1, 7) n", "INSERT 0 7", null, null],
        ["SELECT id, name FROM things WHERE id > 2", "SELECT 5", null, 5],
        ["SELECT * FROM nothing", null, "42P01", null],
        ["DELETE FROM things", "DELETE 7", null, null],
    ]);
    assert_eq!(json!(of_statements), expected, "{}", listed(&told, "pgsql"));
    let startup = told.values("pgsql", 5432, ["/pgsql/request/startup_parameters/user"]);
    assert!(startup.contains(&[json!(USER)]), "{startup:?}");
    assert_eq!(told.protocols(5432).last(), Some(&json!("pgsql")));
}

#[test]
fn mysql_events_have_the_statements_of_the_mariadb_client_and_what_became_of_them() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let Some(_server) = Service::mariadb(&lab) else { return };
    let told = told_of(&lab, || {
        let statements = "CREATE DATABASE shop; CREATE TABLE shop.things (id int PRIMARY KEY, name text); \
            INSERT INTO shop.things VALUES (1, 'one'), (2, 'two'), (3, 'three'); SELECT name FROM shop.things; \
            DELETE FROM shop.things; SELECT * FROM shop.nothing";
        let user = format!("--user={USER}");
        let arguments = ["--no-defaults", "--host=10.77.0.1", &user, "--skip-ssl", "-e", statements];
        let finished = lab.on_client("mariadb", &arguments);
        assert!(finished.stderr.contains("doesn't exist"), "{}", finished.stderr);
    });
    let paths = [
        "/mysql/request/query",
        "/mysql/response/status",
        "/mysql/response/affected_rows",
        "/mysql/response/code",
        "/mysql/response/rows",
    ];
    let found = told.values("mysql", 3306, paths);
    // The client asks for its greeting by a statement of its own.
    let of_statements: Vec<_> =
        found.iter().filter(|event| event[0].as_str().is_some_and(|sql| sql.contains("shop"))).collect();
    let expected = json!([
        ["CREATE DATABASE shop", "ok", 1, null, null],
        ["CREATE TABLE shop.things (id int PRIMARY KEY, name text)", "ok", 0, null, null],
        ["INSERT INTO shop.things VALUES (1, 'one'), (2, 'two'), (3, 'three')", "ok", 3, null, null],
        ["SELECT name FROM shop.things", "ok", null, null, 3],
        ["DELETE FROM shop.things", "ok", 3, null, null],
        ["SELECT * FROM shop.nothing", "error", null, 1146, null],
    ]);
    assert_eq!(json!(of_statements), expected, "{}", listed(&told, "mysql"));
    let versions = told.values("mysql", 3306, ["/mysql/version"]);
    assert!(versions.iter().any(|[version]| version.as_str().is_some_and(|version| version.contains("MariaDB"))));
    assert_eq!(told.protocols(3306), ["mysql"]);
}

#[test]
fn redis_events_have_the_commands_of_redis_cli_and_the_kinds_of_their_answers() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let Some(_server) = Service::redis(&lab) else { return };
    let commands: [&[&str]; 5] =
        [&["SET", "basket:1", "apples"], &["GET", "basket:1"], &["INCR", "basket:1"], &["KEYS", "*"], &["GET", "none"]];
    let told = told_of(&lab, || {
        for command in commands {
            let _ = lab.on_client("redis-cli", &[&["-h", "10.77.0.1"], command].concat()).success();
        }
    });
    let paths = ["/redis/request/command", "/redis/request/key", "/redis/response/type"];
    let found = told.values("redis", 6379, paths);
    let expected = json!([
        ["SET", "basket:1", "status"],
        ["GET", "basket:1", "bulk"],
        ["INCR", "basket:1", "error"],
        ["KEYS", "*", "array"],
        ["GET", "none", "null"],
    ]);
    assert_eq!(json!(found), expected, "{}", listed(&told, "redis"));
    let errors = told.values("redis", 6379, ["/redis/response/error"]);
    assert!(errors[2][0].as_str().unwrap().starts_with("ERR value is not an integer"), "{errors:?}");
    assert_eq!(told.protocols(6379), vec!["redis"; 5]);
}

/// The events of `kind`, one a line, for a failure's message.
fn listed(told: &Told, kind: &str) -> String {
    told.of(kind).iter().fold(String::new(), |mut text, event| {
        let _ = writeln!(text, "{event}");
        text
    })
}
