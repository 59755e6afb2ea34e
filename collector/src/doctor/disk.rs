//! Where captures are to go.

use std::time::Duration;

use super::machine::Machine;
use super::{Check, Examination, Finding};
use crate::settings::CaptureSettings;

const NAME: &str = "disk";
/// How long the disk is tried.
const TRIAL: Duration = Duration::from_secs(2);
/// Less free than this is as good as full.
const LITTLE: u64 = 1 << 30;

/// See the module.
pub(super) struct Disk;

impl Check for Disk {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let Some(capture) = &at.settings.run.pipeline.capture else { return Vec::new() };
        // Standard output and FIFOs are whoever reads them.
        if capture.directory.as_os_str() == "-" || (capture.directory.exists() && !capture.directory.is_dir()) {
            return Vec::new();
        }
        let place = Machine::nearest(&capture.directory);
        let about = place.display().to_string();
        let mut findings = match at.machine.kernel.file_system(place) {
            Err(error) => vec![Finding::unknown(NAME, format!("cannot look at it: {error}"))],
            Ok(system) => space(capture, system, place == capture.directory),
        };
        if let Some(rate) = at.settings.disk_rate {
            findings.push(speed(at, place, rate));
        }
        findings.into_iter().map(|finding| finding.about(about.clone())).collect()
    }
}

fn space(capture: &CaptureSettings, system: super::kernel::FileSystem, is_there: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    if !system.writable {
        let user = rustix::process::geteuid().as_raw();
        let finding = Finding::problem(NAME, format!("user {user} may not write here"));
        let directory = quoted(&capture.directory.display().to_string());
        let mend =
            if is_there { format!("chown {user} {directory}") } else { format!("install -d -o {user} {directory}") };
        findings.push(finding.costs("A run does not start.").mend(mend));
    }
    let retention = &capture.keeping.retention;
    let floor = retention.free_bytes.unwrap_or(0);
    let kept = retention.bytes.is_some() || retention.age.is_some() || retention.free_bytes.is_some();
    if system.free < floor.max(LITTLE) {
        let found = format!("{:.1} GB of {:.1} GB are free", gigabytes(system.free), gigabytes(system.total));
        findings.push(
            Finding::problem(NAME, found)
                .costs("Frames go uncaptured when it is full (capture_dropped).")
                .mend_by("make room, capture elsewhere, or have old captures deleted", "--keep-bytes 10GiB"),
        );
    } else if !kept {
        let seconds = system.free as f64 / 125e6;
        let found = format!("{:.1} GB are free, and nothing deletes captures", gigabytes(system.free));
        let cost = format!("At 1 Gbit/s it is full in {:.1} hours; frames then go uncaptured.", seconds / 3600.0);
        findings.push(Finding::hint(NAME, found).costs(cost).mend_by(
            "have the oldest captures deleted (also --keep-bytes, --keep-age)",
            format!("--keep-free {}GiB", ((system.total / 10) >> 30).max(1)),
        ));
    }
    if system.in_memory {
        findings.push(
            Finding::hint(NAME, "a file system in memory")
                .costs("Captures take the machine's memory, and are gone with it.")
                .mend_by("capture to a disk", "--write /var/lib/vxtap/captures"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::good(NAME, format!("{:.1} GB are free", gigabytes(system.free))));
    }
    findings
}

fn speed(at: &Examination<'_>, place: &std::path::Path, wanted: u64) -> Finding {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let rate = match at.machine.kernel.write_rate(place, TRIAL) {
        Ok(rate) => rate,
        Err(error) => return Finding::unknown(NAME, format!("cannot try how fast it is: {error}")),
    };
    let around = if rate.direct { "around the page cache" } else { "through the page cache" };
    let found = format!(
        "takes {:.0} MB/s {around}, blocks of 1 MiB in up to {} ms",
        megabytes(rate.bytes_per_second),
        rate.longest.as_millis()
    );
    if rate.bytes_per_second >= wanted {
        return Finding::good(NAME, found);
    }
    Finding::problem(NAME, format!("{found}; {:.0} MB/s are to come", megabytes(wanted)))
        .costs("What the disk does not take is dropped and counted (capture_dropped).")
        .mend_by("capture less", "--capture-filter, --snaplen, --capture-headers or --capture-flow-bytes")
        .mend_by("or take a faster volume; a cloud's grow with their size or their provisioned throughput", "")
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::super::kernel::FileSystem;
    use super::super::write_test::WriteRate;
    use super::*;

    const GB: u64 = 1_000_000_000;
    const ROOMY: FileSystem = FileSystem { free: 500 * GB, total: 1000 * GB, in_memory: false, writable: true };

    fn machine(system: FileSystem) -> FakeMachine {
        FakeMachine::new().kernel(|kernel| kernel.file_system = Some(system))
    }

    #[test]
    fn without_captures_there_is_nothing_to_look_at() {
        assert_eq!(machine(ROOMY).look(&Disk, ""), []);
        assert_eq!(machine(ROOMY).look(&Disk, "--write -"), []);
    }

    #[test]
    fn a_disk_that_nothing_keeps_from_filling_up_is_told_of() {
        let (text, mend) = only(&machine(ROOMY).look(&Disk, "--write /no/such"), Severity::Hint);
        assert!(text.contains("500.0 GB are free") && text.contains("1.1 hours"), "{text}");
        assert_eq!(mend, ["--keep-free 93GiB"]);
        only(&machine(ROOMY).look(&Disk, "--write /no/such --keep-age 1h"), Severity::Good);
    }

    #[test]
    fn a_full_disk_is_a_problem_and_so_is_one_below_the_floor() {
        let full = FileSystem { free: GB / 2, ..ROOMY };
        only(&machine(full).look(&Disk, "--write /no/such --keep-age 1h"), Severity::Problem);
        only(&machine(ROOMY).look(&Disk, "--write /no/such --keep-free 600GB"), Severity::Problem);
    }

    #[test]
    fn a_directory_that_may_not_be_written_and_one_in_memory_are_told_of() {
        let locked = FileSystem { writable: false, ..ROOMY };
        let (text, mend) = only(&machine(locked).look(&Disk, "--write /no/such --keep-age 1h"), Severity::Problem);
        assert!(text.contains("may not write") && mend[0].ends_with(" /no/such"), "{text} {mend:?}");
        assert!(mend[0].starts_with("install -d -o "), "what is not there cannot be given to anybody: {mend:?}");
        let (_, mend) = only(&machine(locked).look(&Disk, "--write / --keep-age 1h"), Severity::Problem);
        assert!(mend[0].starts_with("chown "), "{mend:?}");
        let memory = FileSystem { in_memory: true, ..ROOMY };
        only(&machine(memory).look(&Disk, "--write /no/such --keep-age 1h"), Severity::Hint);
        assert_eq!(quoted("/a b'c"), "'/a b'\\''c'");
    }

    #[test]
    fn the_disk_is_tried_only_when_a_rate_is_named() {
        let rate = WriteRate { bytes_per_second: 400_000_000, longest: Duration::from_millis(9), direct: true };
        let tried = || machine(ROOMY).kernel(|kernel| kernel.write_rate = Some(rate));
        let line = "--write /no/such --keep-age 1h --disk-rate";
        let findings = tried().look(&Disk, &format!("{line} 300MB"));
        assert!(only(&findings[1..], Severity::Good).0.contains("400 MB/s around"), "{findings:#?}");
        let findings = tried().look(&Disk, &format!("{line} 500MB"));
        assert!(only(&findings[1..], Severity::Problem).0.contains("500 MB/s are to come"), "{findings:#?}");
        only(&machine(ROOMY).look(&Disk, &format!("{line} 1MB"))[1..], Severity::Unknown);
    }
}
