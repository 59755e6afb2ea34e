//! How fast the sender replays inner frames, beside tcpreplay with frames that are encapsulated already.

use anyhow::{Context as _, ensure};

use crate::bench::{Bench, LIMIT};
use crate::corpus::Corpus;
use crate::load::Path;
use crate::namespaces::{DEVICE, Link};
use crate::receiver::Receiver;
use crate::report::{Row, Target, Unit};
use crate::statistics::Samples;

const TARGET: Target = Target::AtLeast(3.0);

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let flows = bench.scale.flows;
    let (inner, written) = bench.corpus("inner.pcap", Corpus::Mixed { flows, vxlan: false, packet_length: 0 })?;
    let (encapsulated, same) = bench.corpus("encapsulated.pcap", Corpus::benchmark_of(flows))?;
    ensure!(written == same, "the two files differ in more than the envelope");
    let link = Link::open()?;
    let path = Path::across(&link)?;
    // The far end takes trains, as the collector does; then it takes datagrams only, and the kernel cuts the trains on
    // the sender's time.
    let far_ends = [("taken in trains", true), ("taken one by one", false)];
    let mut ours = [Samples::default(), Samples::default()];
    let mut theirs = Samples::default();
    for _ in 0..bench.scale.rounds {
        for ((_, gro), samples) in far_ends.iter().zip(&mut ours) {
            let far = Receiver::Sink { gro: *gro, pause_us: 0 }.start(bench, &path.receiver, path.address)?;
            let (to, file) = (path.address.to_string(), inner.to_string_lossy());
            let sent = bench.send(&path.sender, &["replay", &file, "--to", &to, "--vni", "100", "--top-speed"])?;
            ensure!(sent.sent == written.packets, "{} of {} packets were sent", sent.sent, written.packets);
            far.finish(sent.sent, *gro)?;
            samples.push(sent.rate());
        }
        let far = Receiver::Sink { gro: false, pause_us: 0 }.start(bench, &path.receiver, path.address)?;
        let mut command = path.sender.command("tcpreplay".as_ref());
        command.args(["--topspeed", "--preload-pcap", "-i", DEVICE]).arg(&encapsulated);
        let finished = bench.start(&mut command)?.finish(LIMIT)?.success()?;
        let (sent, rate) = tcpreplay_says(&finished.stdout).context("understand what tcpreplay says")?;
        ensure!(sent == written.packets, "tcpreplay sent {sent} of {} packets", written.packets);
        far.finish(sent, false)?;
        theirs.push(rate);
    }
    let row = |what: &str, ours: &Samples, target| {
        let what = format!("replay --top-speed across a veth pair, {what}: packets a second");
        Row::ratio(what, Unit::PacketsPerSecond, ours, ("tcpreplay --topspeed", &theirs), target)
    };
    Ok(vec![row(far_ends[0].0, &ours[0], Some(TARGET)), row(far_ends[1].0, &ours[1], None)])
}

/// Packets that tcpreplay sent, and how many a second.
fn tcpreplay_says(said: &str) -> Option<(u64, f64)> {
    let number_before = |what: &str, word: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(what))?;
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().position(|each| each.trim_matches(',') == word)?;
        words.get(at.checked_sub(1)?)?.parse::<f64>().ok()
    };
    let packets = said.lines().find_map(|line| line.trim_start().strip_prefix("Successful packets:"))?;
    Some((packets.trim().parse().ok()?, number_before("Rated:", "pps")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_and_rate_of_tcpreplay_are_found() {
        let said = "Actual: 840000 packets (527741716 bytes) sent in 5.01 seconds\n\
                    Rated: 105337668.8 Bps, 842.70 Mbps, 167664.67 pps\n\
                    Statistics for network device: veth0\n\tSuccessful packets:        840000\n\tFailed packets:            0\n";
        assert_eq!(tcpreplay_says(said), Some((840_000, 167_664.67)));
        assert_eq!(tcpreplay_says(""), None);
    }
}
