//! `policy import` and `policy export`, as one uses them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use vxtap_sender::policy::PolicyFile;

fn clouds(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clouds").join(file)
}

fn policy(arguments: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_vxtap-sender"));
    program.arg("policy").args(arguments);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    // A program that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_policy_comes_to_standard_output_and_what_it_lacks_to_standard_error() {
    let sessions = std::fs::read_to_string(clouds("aws-rules-apart.json")).unwrap();
    let output = policy(&["import", "aws", "-"], &sessions);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let made = PolicyFile::parse("stdout", text(&output.stdout)).unwrap();
    assert_eq!(made.policy.sessions[0].name, "tms-1");
    let told = text(&output.stderr);
    assert!(
        told.contains(
            "lacking: -: $.TrafficMirrorTarget.GatewayLoadBalancerEndpointId: no document has the address of vpce-1"
        ),
        "{told}"
    );
    assert!(
        told.contains("note: -: $.TrafficMirrorSession.NetworkInterfaceId: no document tells where eni-1 is"),
        "{told}"
    );

    let strict = ["import", "aws", "-", "--strict"];
    assert_eq!(policy(&strict, &sessions).status.code(), Some(1));
    let answered = [strict.as_slice(), &["--map", "vpce-1=10.0.0.9", "--map", "eni-1=eth0"]].concat();
    let output = policy(&answered, &sessions);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains(".invalid"));
}

#[test]
fn a_policy_that_cannot_be_used_is_made_all_the_same_and_told() {
    // The documents that AWS has of the length say 8500 at most.
    let sessions = std::fs::read_to_string(clouds("aws-sessions.json")).unwrap().replace("1500", "8947");
    let output = policy(&["import", "aws", "-"], &sessions);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("length = 8947"));
    let told = text(&output.stderr);
    assert!(told.contains("lacking: the policy cannot be used as it is:\n-:"), "{told}");
    assert!(told.contains("8947"), "{told}");
    assert_eq!(policy(&["import", "aws", "-", "--strict"], &sessions).status.code(), Some(1));
}

#[test]
fn wrong_documents_and_arguments_end_with_2_and_say_what_was_expected() {
    let huawei = clouds("huawei-sessions.json");
    let huawei = huawei.to_str().unwrap();
    for (arguments, input, expected) in [
        (
            vec!["import", "aws", huawei],
            "",
            "this is a document of huawei, not of aws (expected what `aws ec2 describe-",
        ),
        (vec!["import", "aws", "/nowhere.json"], "", "cannot read '/nowhere.json': No such file"),
        (vec!["import", "aws", "-"], "{", "-: line 1, column 1: no JSON"),
        (vec!["import", "azure", "-"], "{}", "[possible values: aws, gcp, huawei, naver, alibaba, oci]"),
        (vec!["import", "aws"], "", "<FILE>"),
        (vec!["import", "huawei", huawei, "--map", "eth0"], "", "expected ID=VALUE"),
        (vec!["import", "huawei", huawei, "--map", "x=eth0"], "", "no source and no target of these documents is 'x'"),
        (vec!["import", "huawei", huawei, "--map", "x=1", "--map", "x=2"], "", "given twice, with different values"),
        (vec!["export", "naver", "/nowhere.toml", "-o", "/tmp"], "", "cannot read the policy"),
    ] {
        let output = policy(&arguments, input);
        let told = text(&output.stderr);
        assert!(told.contains(expected), "{arguments:?}: {told}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn an_export_is_documents_and_a_script_in_a_directory_of_their_own() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("policy.toml");
    let directory = folder.path().join("documents");
    let (file, out) = (file.to_str().unwrap(), directory.to_str().unwrap());
    let documents: Vec<PathBuf> = ["sessions", "filters", "targets", "interfaces"]
        .iter()
        .map(|name| clouds(&format!("aws-{name}.json")))
        .collect();
    let mut arguments = vec!["import", "aws", "-o", file];
    arguments.extend(documents.iter().map(|path| path.to_str().unwrap()));
    let output = policy(&arguments, "");
    assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), (Some(0), "", ""));

    let output = policy(&["export", "aws", file, "-o", out, "--strict"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // A shell that takes every command of the script for one that prints what the cloud would: the documents are all there.
    let script = "aws() { for word; do case $word in file://*) cat \"${word#file://}\" > /dev/null || exit 9;; esac; done; \
                  echo id-of-$2; }; . ./create.sh";
    let shell = Command::new("sh").args(["-c", script]).current_dir(&directory).output().unwrap();
    assert!(shell.status.success(), "{}", text(&shell.stderr));

    let again = policy(&["export", "aws", file, "-o", out], "");
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("has files in it already (expected a new or an empty directory)"));
    let other = policy(&["export", "oci", file, "-o", &format!("{out}-2")], "");
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("the policy has the provider 'aws', not 'oci'"), "{}", text(&other.stderr));
    let help = policy(&["export", "--help"], "");
    let offered = "[possible values: aws, gcp, gcp-nsi, huawei, alibaba, oci]";
    let words: Vec<&str> = text(&help.stdout).split_whitespace().collect();
    assert!(words.join(" ").contains(offered), "{}", text(&help.stdout));
    let ours = policy(&["export", "vxtap", file, "-o", &format!("{out}-3")], "");
    assert_eq!(ours.status.code(), Some(2));
    assert!(text(&ours.stderr).contains("vxtap mirrors by the policy itself"), "{}", text(&ours.stderr));
    let none = policy(&["export", "azure", file, "-o", &format!("{out}-3")], "");
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("azure takes no document"), "{}", text(&none.stderr));
}
