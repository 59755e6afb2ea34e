//! Networks, names and who is let in, in tables of the file.

use super::*;

#[test]
fn networks_and_names_may_stand_in_tables_and_come_behind_those_of_keys() {
    let gathered = from_file(
        r#"
        [pipeline]
        networks = ["red=vni 7 from 10.0.0.0/8", "green=vni 8 from 10.0.0.0/8"]
        names = "db=vni 70"
        [[network]]
        name = "blue"
        vnis = [1, "2-3"]
        [[network]]
        name = "blue"
        encapsulation = "vxlan"
        sources = "fd00::/8"
        [[network]]
        name = "tenant"
        endpoints = ["0x1a2b", 5]
        [[name]]
        name = "web"
        vni = 1
        [[name]]
        name = "gateway"
        source = "10.0.0.7"
        "#,
    )
    .unwrap();
    let pipeline = run(&gathered, MACHINE).unwrap().pipeline;
    let networks: Vec<_> =
        pipeline.networks.iter().map(|network| format!("{}: {}", network.name, network.streams)).collect();
    let expected = [
        "red: vni 7 from 10.0.0.0/8",
        "green: vni 8 from 10.0.0.0/8",
        "blue: vni 1,2-3",
        "blue: vxlan from fd00::/8",
        "tenant: endpoint 0x1a2b,0x5",
    ];
    assert_eq!(networks, expected);
    let names: Vec<_> = pipeline.names.iter().map(|name| (name.name.as_str(), name.of)).collect();
    let source = Named::Source("10.0.0.7".parse().unwrap());
    assert_eq!(names, [("db", Named::Vni(70)), ("web", Named::Vni(1)), ("gateway", source)]);
}

#[test]
fn tables_are_left_out_where_a_variable_says_something_else() {
    let written = Written::new("[[network]]\nname = \"blue\"\nvnis = 1\n");
    let variable = |name: &str| (name == "VXTAP_NETWORK").then(|| "red=5,6;green=vni 7".into());
    let gathered = gather(Options::default(), Some(&written.path()), variable).unwrap();
    let names: Vec<_> = gathered.options.pipeline.network.iter().map(|network| network.name.clone()).collect();
    assert_eq!(names, ["red", "green"]);
}

#[test]
fn what_is_wrong_with_a_table_is_told_at_its_place() {
    for (text, expected) in [
        ("[network]\nname = \"blue\"", "vxtap.toml:1:1: 'network' is a list of tables: expected [[network]]"),
        ("[[network]]\nvnis = 5", "vxtap.toml:1:1: 'name' is missing"),
        ("[[network]]\nname = \"a b\"\nvnis = 5", "vxtap.toml:2:8: 'name': expected a name of up to 64 letters"),
        ("[[network]]\nname = \"a\"", "vxtap.toml:1:1: a network is of VNIs, sources or endpoints"),
        ("[[network]]\nname = \"a\"\nvnis = [1, 99999999]", "vxtap.toml:3:12: 'vnis': '99999999' is no VNI"),
        ("[[network]]\nname = \"a\"\nsources = \"x\"", "vxtap.toml:3:11: 'sources': 'x' is no address"),
        ("[[network]]\nname = \"a\"\nendpoints = 0", "vxtap.toml:3:13: 'endpoints': '0' is no endpoint"),
        ("[[network]]\nname = \"a\"\nencapsulation = \"gre\"", "vxtap.toml:3:17: 'encapsulation': expected"),
        ("[[network]]\nname = \"a\"\nvni = 5", "vxtap.toml:3:1: unknown key 'vni' (did you mean 'vnis'?)"),
        ("[[name]]\nname = \"a\"", "vxtap.toml:1:1: a name is of one thing: expected 'vni' or 'source'"),
        ("[[name]]\nname = \"a\"\nvni = \"1-2\"", "vxtap.toml:3:7: 'vni': expected one VNI"),
        ("[[name]]\nname = \"a\"\nsource = \"10.0.0.0/8\"", "vxtap.toml:3:10: 'source': expected one address"),
        ("name = 5", "vxtap.toml:1:8: 'name' is a list of tables: expected [[name]]"),
        ("network = [5]", "vxtap.toml:1:12: expected a table below [[network]]"),
    ] {
        let lines = first_lines(text);
        assert!(lines[0].starts_with(expected), "{text}: {lines:?}");
    }
}

#[test]
fn who_is_let_in_is_all_or_those_that_are_named_or_nobody() {
    let accept = |text: &str| run(&from_file(text).unwrap(), MACHINE).unwrap().pipeline.admission.policy.accept;
    let selectors = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Selector>>();
    assert_eq!(accept(""), selectors(&["all"]));
    assert_eq!(accept("[admission]\naccept = \"none\""), []);
    assert_eq!(accept("[admission]\naccept = [\"vni 1,2\", \"from ::1\"]"), selectors(&["vni 1,2", "from ::1"]));
    for text in ["accept = [\"all\", \"vni 5\"]", "accept = [\"vni 5\", \"none\"]"] {
        let error = run(&from_file(&format!("[admission]\n{text}")).unwrap(), MACHINE).unwrap_err().to_string();
        assert!(error.contains("'all' and 'none' stand alone"), "{error}");
    }
    let lines = first_lines("[admission]\nreject = [\"vni 5\", \"nobody\"]");
    assert!(lines[0].starts_with("vxtap.toml:2:20: 'reject': 'nobody': expected 'all', or any of"), "{lines:?}");
}
