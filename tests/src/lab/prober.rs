//! What a load balancer does to know where to send: it probes each target, and takes it out and in again.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::Balanced;
use crate::deadline::{SOON, within};

/// After so many failed probes at the latest a target has to be out.
pub const PROBES: usize = 3;
/// Time between two probes of a target.
const INTERVAL: Duration = Duration::from_millis(1100);
/// A target that has not answered for so long has failed the probe.
const TIMEOUT: Duration = Duration::from_millis(500);
/// So many probes in a row that fail take a target out, or that succeed take it in.
const IN_A_ROW: usize = 2;

/// One probe.
#[derive(Clone, Copy, Debug)]
struct Probe {
    at: Instant,
    target: usize,
    /// Whether the target is sent to, after this probe.
    live: bool,
}

/// Probes the targets of a balancer, as its thread lives.
#[derive(Debug)]
pub struct Prober {
    probes: Arc<Mutex<Vec<Probe>>>,
    stop: Arc<AtomicBool>,
}

impl Prober {
    /// Calls `act` while the targets of `lab` are probed, and taken out and in as they answer.
    pub fn while_probing<T>(lab: &Balanced, act: impl FnOnce(&Self) -> T) -> T {
        let prober = Self { probes: Arc::default(), stop: Arc::default() };
        thread::scope(|scope| {
            scope.spawn(|| {
                lab.balancer.enter();
                prober.run(lab);
            });
            // Also when `act` panics, or the scope would wait for ever.
            let _stop = StopOnDrop(&prober.stop);
            act(&prober)
        })
    }

    fn run(&self, lab: &Balanced) {
        let (mut live, mut against) = ([true; 2], [0; 2]);
        while !self.stop.load(Ordering::SeqCst) {
            let round = Instant::now();
            for target in 0..2 {
                let answered = is_ready(lab.health(target));
                against[target] = if answered == live[target] { 0 } else { against[target] + 1 };
                // The last one is never taken out: that would help nobody.
                if against[target] >= IN_A_ROW && (answered || live[1 - target]) {
                    live[target] = answered;
                    against[target] = 0;
                    lab.send_to(live);
                }
                let probe = Probe { at: round, target, live: live[target] };
                self.probes.lock().expect("no panic while locked").push(probe);
            }
            while round.elapsed() < INTERVAL && !self.stop.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// How many probes of `target` it took after `since` until it was out.
    ///
    /// # Panics
    /// When it stays in.
    pub fn probes_until_out(&self, target: usize, since: Instant) -> usize {
        self.probes_until(target, since, false)
    }

    /// Waits until `target` is in.
    pub fn wait_until_in(&self, target: usize) {
        self.probes_until(target, Instant::now(), true);
    }

    fn probes_until(&self, target: usize, since: Instant, live: bool) -> usize {
        let what = format!("target {target} to be {}", if live { "in" } else { "out" });
        within(SOON, &what, || {
            let probes = self.probes.lock().expect("no panic while locked");
            let mut later = probes.iter().filter(|probe| probe.target == target && probe.at >= since);
            later.position(|probe| probe.live == live).map(|at| at + 1)
        })
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Whether the health port at `address` says that its collector should get traffic.
fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: balancer\r\nconnection: close\r\n\r\n")?;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer == b"HTTP/1.1 200")
}
