//! The example policies are ones that can be used, one for each provider.

use std::collections::BTreeSet;
use std::path::Path;

use vxtap_sender::policy::{PolicyFile, Provider};

#[test]
fn there_is_an_example_of_every_provider_and_each_is_a_policy_that_can_be_used() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let file = PolicyFile::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(path.file_stem().unwrap(), file.policy.provider.name(), "the file is named after its provider");
        seen.insert(file.policy.provider);
    }
    assert_eq!(seen, BTreeSet::from(Provider::ALL));
}
