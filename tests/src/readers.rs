//! What the usual readers say of a capture file, each of them without a word of complaint.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::needs::{Need, skip};
use crate::process::{Finished, run_within};
use crate::tshark;

/// For one file; a second is usual.
const LIMIT: Duration = Duration::from_mins(2);

/// What all readers agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Packets in the file.
    pub packets: usize,
    /// Whether no packet is before the one in front of it.
    pub ordered: bool,
}

/// Tools that [`judge`] asks.
pub const TOOLS: [&str; 3] = ["tshark", "tcpdump", "capinfos"];

/// The interpreter that Debian's packages, scapy among them, are for; another one may come first in `PATH`.
const PYTHON: &str = "/usr/bin/python3";

/// Has tshark, tcpdump and capinfos read the file at `path` to its end, and scapy where it is installed.
///
/// # Errors
/// When one of them complains, or they do not agree.
pub fn judge(path: &Path) -> Result<Verdict, String> {
    // Side by side: each takes longer to start than to read.
    std::thread::scope(|scope| {
        let others = [
            scope.spawn(|| Ok(Some(("tshark", tshark::fields(path, &["frame.number"])?.len())))),
            scope.spawn(|| Ok(Some(("tcpdump", tcpdump(path, "", None)?)))),
            scope.spawn(|| if have_scapy() { Ok(Some(("scapy", scapy(path)?))) } else { Ok(None) }),
        ];
        let verdict = capinfos(path)?;
        let counts = others.into_iter().map(|other| other.join().expect("a reader does not panic"));
        let counts: Vec<(&str, usize)> = counts.filter_map(Result::transpose).collect::<Result<_, String>>()?;
        if counts.iter().any(|(_, count)| *count != verdict.packets) {
            return Err(format!("{} has {} packets for capinfos and {counts:?}", path.display(), verdict.packets));
        }
        Ok(verdict)
    })
}

/// Packets and order as capinfos says.
///
/// # Errors
/// When it complains.
pub fn capinfos(path: &Path) -> Result<Verdict, String> {
    // A table without a header line: name, packets, strict order.
    let said = silent("capinfos", run(Command::new("capinfos").args(["-T", "-r", "-M", "-c", "-o"]).arg(path)), &[])?;
    let mut fields = said.trim_end().split('\t').skip(1);
    let packets = fields.next().and_then(|field| field.parse().ok());
    let ordered = fields.next().and_then(|field| match field {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    });
    match (packets, ordered) {
        (Some(packets), Some(ordered)) => Ok(Verdict { packets, ordered }),
        _ => Err(format!("capinfos on {} says {said:?}", path.display())),
    }
}

/// How many packets of the file at `path` tcpdump finds that match `filter`; those go to the pcap file at `to`.
///
/// # Errors
/// When it complains.
pub fn tcpdump(path: &Path, filter: &str, to: Option<&Path>) -> Result<usize, String> {
    let mut command = Command::new("tcpdump");
    // As root it would become another user, who may not read what root wrote.
    command.args(["-n", "-Z", "root", "-r"]).arg(path);
    match to {
        Some(to) => command.arg("-w").arg(to),
        None => command.arg("--count"),
    };
    let finished = run(command.args(Some(filter).filter(|filter| !filter.is_empty())));
    let said = silent(
        "tcpdump",
        finished,
        &["reading from file ", "dropped privs to root", "Warning: interface names might be incorrect"],
    )?;
    match to {
        Some(to) => Ok(crate::capture_file::read(to).len()),
        None => said
            .split(' ')
            .next()
            .and_then(|count| count.parse().ok())
            .ok_or_else(|| format!("tcpdump counts {said:?} in {}", path.display())),
    }
}

/// Whether Python finds scapy; skips otherwise.
fn have_scapy() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let found =
            Path::new(PYTHON).exists() && run(Command::new(PYTHON).args(["-c", "import scapy"])).status.success();
        if !found {
            skip(Need::Tools, "python3 has no scapy");
        }
        found
    })
}

fn scapy(path: &Path) -> Result<usize, String> {
    let script = "import sys\nimport scapy.layers.l2\nfrom scapy.utils import PcapReader\nprint(sum(1 for _ in PcapReader(sys.argv[1])))";
    let said = silent("scapy", run(Command::new(PYTHON).args(["-c", script]).arg(path)), &[])?;
    said.trim().parse().map_err(|_| format!("scapy counts {said:?} in {}", path.display()))
}

fn run(command: &mut Command) -> Finished {
    run_within(LIMIT, command)
}

/// Standard output of a program that succeeded and said nothing but lines that begin with one of `usual`.
fn silent(name: &str, finished: Finished, usual: &[&str]) -> Result<String, String> {
    let complaints = finished.stderr.lines().filter(|line| !usual.iter().any(|usual| line.starts_with(usual)));
    let complaints: Vec<&str> = complaints.filter(|line| !line.is_empty()).collect();
    if finished.status.success() && complaints.is_empty() {
        return Ok(finished.stdout);
    }
    Err(format!("{name}: {}, {}", finished.status, complaints.join(" / ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture_file::{self, Record};
    use crate::needs::have_tools;

    fn record(time_ns: u64) -> Record {
        let data = crate::datagram::udp_frame(
            crate::datagram::Peer::v4(1, 2),
            crate::datagram::Peer::v4(3, 4),
            &time_ns.to_be_bytes(),
        );
        Record { interface: String::new(), link_type: 1, time_ns, original_len: data.len(), data }
    }

    #[test]
    fn readers_agree_on_a_whole_file_see_disorder_and_complain_of_a_cut_one() {
        if !have_tools(&TOOLS) {
            return;
        }
        let file = tempfile::NamedTempFile::with_suffix(".pcap").unwrap();
        capture_file::write(file.path(), &[record(1), record(5), record(9)]);
        assert_eq!(judge(file.path()), Ok(Verdict { packets: 3, ordered: true }));
        assert_eq!(tcpdump(file.path(), "udp src port 3", None), Ok(0));
        capture_file::write(file.path(), &[record(1), record(9_000), record(5_000)]);
        assert_eq!(judge(file.path()), Ok(Verdict { packets: 3, ordered: false }));
        let bytes = std::fs::read(file.path()).unwrap();
        std::fs::write(file.path(), &bytes[..bytes.len() - 3]).unwrap();
        let path = file.path();
        for complaint in [capinfos(path).map(drop), tcpdump(path, "", None).map(drop), judge(path).map(drop)] {
            assert!(complaint.is_err());
        }
    }
}
