//! Tests in a network namespace of their own, for which it takes root.

/// Whether `unshare` said, in `stderr`, that there is no namespace to be had here; says that the test is skipped then, which must not be
/// where `VXTAP_NO_SKIP` forbids it.
pub(crate) fn are_missing(stderr: &str) -> bool {
    let missing = stderr.starts_with("unshare: ");
    if missing {
        let no_skip = std::env::var("VXTAP_NO_SKIP").unwrap_or_default();
        let forbidden = no_skip == "1" || no_skip.split(',').any(|need| need == "root");
        assert!(!forbidden, "VXTAP_NO_SKIP is set, and this needs root: {stderr}");
        println!("skipped: this needs root, for a network namespace");
    }
    missing
}
