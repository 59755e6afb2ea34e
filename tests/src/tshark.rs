//! tshark as a judge.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::run_within;

/// Dissecting the longest capture here takes a few seconds.
const LIMIT: Duration = Duration::from_mins(2);

/// By default it takes checksums for right.
const CHECKING: [&str; 6] =
    ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"];

/// What it says to root whatever the file.
const ROOT_WARNING: &str = "Running as user \"root\" and group \"root\". This could be dangerous.";

/// Reads the file at `path` to its end.
///
/// # Errors
/// When tshark fails, or says anything but the packets.
pub fn read(path: &Path) -> Result<String, String> {
    output(path, &[])
}

/// The values of `fields` in the outermost header that has them, one line for each frame, separated by tabs.
///
/// # Errors
/// As [`read`].
pub fn fields(path: &Path, fields: &[&str]) -> Result<Vec<String>, String> {
    let mut arguments = vec!["-T", "fields", "-E", "occurrence=f"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    Ok(output(path, &arguments)?.lines().map(str::to_owned).collect())
}

/// As [`fields`], the values in all headers and options that have them, separated by commas.
///
/// # Errors
/// As [`read`].
pub fn all_fields(path: &Path, fields: &[&str]) -> Result<Vec<String>, String> {
    let mut arguments = vec!["-T", "fields", "-E", "occurrence=a"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    Ok(output(path, &arguments)?.lines().map(str::to_owned).collect())
}

/// As [`fields`], each frame by itself: nothing is reassembled, so the order of the frames makes no difference.
///
/// # Errors
/// As [`read`].
pub fn fields_of_each(path: &Path, fields: &[&str]) -> Result<Vec<String>, String> {
    let mut arguments = vec!["-T", "fields", "-E", "occurrence=f"];
    for option in ["tcp.desegment_tcp_streams:FALSE", "ip.defragment:FALSE", "ipv6.defragment:FALSE"] {
        arguments.extend(["-o", option]);
    }
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    Ok(output(path, &arguments)?.lines().map(str::to_owned).collect())
}

/// As [`fields`], with the checksums of IP, UDP and TCP looked at.
///
/// # Errors
/// As [`read`].
pub fn checked_fields(path: &Path, fields: &[&str]) -> Result<Vec<String>, String> {
    let mut arguments = vec!["-T", "fields", "-E", "occurrence=f"];
    arguments.extend(CHECKING);
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    Ok(output(path, &arguments)?.lines().map(str::to_owned).collect())
}

/// What it calls malformed, wrong or worth a warning, checksums included, each time that it does, in no order. What it thinks of the
/// order of a connection's segments is left out.
///
/// # Errors
/// As [`read`].
pub fn complaints(path: &Path) -> Result<Vec<String>, String> {
    let mut arguments = vec!["-o", "tcp.analyze_sequence_numbers:FALSE", "-Y"];
    arguments.push("_ws.malformed || _ws.short || _ws.expert.severity >= \"Warning\"");
    arguments.extend(CHECKING);
    arguments.extend(["-T", "fields", "-E", "occurrence=a", "-e", "_ws.malformed", "-e", "_ws.expert.message"]);
    let mut complaints: Vec<_> = output(path, &arguments)?.lines().map(str::to_owned).collect();
    complaints.sort_unstable();
    Ok(complaints)
}

/// How many frames match `filter`.
///
/// # Errors
/// As [`read`].
pub fn count(path: &Path, filter: &str) -> Result<usize, String> {
    Ok(output(path, &["-Y", filter])?.lines().count())
}

/// Writes the frames that match `filter` to the file at `to`.
///
/// # Errors
/// As [`read`].
pub fn extract(path: &Path, filter: &str, to: &Path) -> Result<(), String> {
    output(path, &["-Y", filter, "-w", &to.to_string_lossy()]).map(drop)
}

fn output(path: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(path).args(arguments);
    let finished = run_within(LIMIT, &mut command);
    let complaints: Vec<&str> =
        finished.stderr.lines().filter(|line| !line.is_empty() && *line != ROOT_WARNING).collect();
    if finished.status.success() && complaints.is_empty() {
        return Ok(finished.stdout);
    }
    Err(format!("tshark on {}: {}, {}", path.display(), finished.status, complaints.join(" / ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captures::Captures;
    use crate::needs::have_tools;

    #[test]
    fn a_good_capture_reads_without_a_word_and_a_cut_one_does_not() {
        let Some(captures) = Captures::open() else { return };
        if !have_tools(&["tshark"]) {
            return;
        }
        let good = captures.named("zeek_vxlan_http").path;
        assert_eq!(read(&good).unwrap().lines().count(), 12);
        assert_eq!(fields(&good, &["vxlan.vni"]).unwrap(), ["1"; 12]);
        assert_eq!(count(&good, "http.request").unwrap(), 1);
        let cut = tempfile::NamedTempFile::new().unwrap();
        let bytes = std::fs::read(&good).unwrap();
        std::fs::write(cut.path(), &bytes[..bytes.len() - 5]).unwrap();
        assert!(read(cut.path()).unwrap_err().contains("cut short"), "{:?}", read(cut.path()));
    }
}
