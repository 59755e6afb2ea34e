//! The example policies are ones that can be used; each provider has one, named after it.

use std::collections::BTreeSet;
use std::path::Path;

use vxtap_sender::policy::{PolicyFile, Provider};

#[test]
fn every_provider_has_an_example_and_each_example_is_a_policy_that_can_be_used() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let file = PolicyFile::load(&path).unwrap_or_else(|error| panic!("{error}"));
        if path.file_stem().is_some_and(|name| name == file.policy.provider.name()) {
            seen.insert(file.policy.provider);
        }
    }
    assert_eq!(seen, BTreeSet::from(Provider::ALL));
}

#[test]
fn the_policy_for_kubernetes_is_one_that_can_be_used() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes-sender.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let (_, behind) = text.split_once("  policy.toml: |\n").unwrap();
    let lines = behind.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let policy = lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let file = PolicyFile::parse("kubernetes-sender.yaml", &policy).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(file.policy.provider, Provider::Vxtap);
}
