//! A service manager that keeps the sockets: nothing is lost while a collector restarts.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::lab::StoppedThread;
use vxtap_tests::manager::Manager;
use vxtap_tests::needs::{Need, have_root, have_tools, is_root, skip};
use vxtap_tests::process::{Running, Signal};
use vxtap_tests::programs::Program;
use vxtap_tests::summary::{self, SenderSummary};

use super::{quiet_machine, shared_machine};

const WORKERS: u32 = 2;
const PPS: u64 = 20_000;
const SECONDS: u64 = 4;

/// Who binds the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binds {
    /// The manager, before the first collector.
    Manager,
    /// The first collector, which has the manager keep them.
    Collector,
}

fn collector(manager: &mut Manager, address: SocketAddr) -> Collector {
    let settings = Settings::listening(WORKERS, &[&format!("vxlan://{address}")]);
    let collector = settings.wrapped(|command| manager.command(command)).start();
    manager.wait_for(SOON, "READY=1");
    collector
}

fn generator(to: SocketAddr) -> Command {
    let mut command = Program::Sender.command();
    command.args(["generate", "--to", &to.to_string(), "--vni", "5", "--size", "300", "--flows", "200"]);
    command.args(["--pps", &PPS.to_string(), "--seconds", &SECONDS.to_string(), "--summary", "-"]);
    command
}

fn a_restart_loses_nothing(binds: Binds) {
    let _machine = quiet_machine();
    if !have_tools(&["bash"]) {
        return;
    }
    let mut manager = Manager::new();
    let address = match binds {
        Binds::Manager => manager.open(WORKERS as usize),
        // The collector asks for as much, and as root it is granted.
        Binds::Collector if is_root() => Some(UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()),
        Binds::Collector => None,
    };
    let Some(address) = address else {
        skip(Need::Root, "the system grants no receive buffer that holds what comes during a restart");
        return;
    };
    let first = collector(&mut manager, address);
    let load = Running::start(&mut generator(address));
    wait_until(SOON, "a second of traffic", || first.snapshot().ledger.received > PPS);
    let told = Instant::now();
    let first = first.stop().summary.ledger;
    manager.wait_for(SOON, "STOPPING=1");
    let gone = told.elapsed();
    if binds == Binds::Collector {
        assert_eq!(manager.names().len(), WORKERS as usize, "sockets that were kept");
        manager.reverse();
    }
    // Longer than a restart takes on a quiet machine: there is something in the queues.
    thread::sleep(Duration::from_millis(200));
    let second = collector(&mut manager, address);
    let back = told.elapsed();
    let sent: SenderSummary = summary::parse(&load.finish_within(SOON).success().stdout);
    wait_until(SOON, "all that was sent", || {
        let received = first.received + second.snapshot().ledger.received;
        assert!(received <= sent.sent, "{received} of {sent:?}");
        received == sent.sent
    });
    let second = second.stop().summary.ledger;
    println!(
        "{binds:?} binds: {} sent at {PPS} a second, {} received before and {} after {:?} without a collector",
        sent.sent,
        first.received,
        second.received,
        back.saturating_sub(gone),
    );
    assert_eq!(sent.sent, first.received + second.received);
    assert_eq!((first.kernel_dropped, second.kernel_dropped), (0, 0));
    assert_eq!(sent.sent, PPS * SECONDS);
}

#[test]
fn a_restart_loses_no_datagram_of_20000_a_second_with_the_managers_sockets() {
    a_restart_loses_nothing(Binds::Manager);
}

#[test]
fn a_restart_loses_no_datagram_of_20000_a_second_with_sockets_that_the_manager_keeps() {
    a_restart_loses_nothing(Binds::Collector);
}

/// Frames of so many flows.
fn frames(flows: u16) -> Vec<Vec<u8>> {
    (0..flows).map(|flow| udp_frame(Peer::v4(flow, 7), Peer::v4(60_000, 9), b"handed over")).collect()
}

#[test]
fn with_fewer_or_more_sockets_than_workers_everything_is_received_and_analysed() {
    let _machine = quiet_machine();
    if !have_tools(&["bash"]) {
        return;
    }
    for sockets in [1, 3] {
        let mut manager = Manager::new();
        let Some(address) = manager.open(sockets) else {
            skip(Need::Root, "the system grants no large receive buffer");
            return;
        };
        let mut mirror = Mirror::new(address, 9, 8);
        // Before anybody reads.
        for (number, frame) in frames(100).iter().enumerate() {
            mirror.send_unwatched(number, frame);
        }
        let collector = collector(&mut manager, address);
        for (number, frame) in frames(100).iter().enumerate() {
            mirror.send(number, frame);
        }
        collector.wait_received(200);
        let flows = collector.flows().flows;
        assert!(flows.len() == 100 && flows.iter().all(|flow| flow.frames() == 2), "{sockets} sockets: {flows:?}");
        let workers = collector.stop().summary.workers;
        assert!(workers.iter().all(|worker| worker.ledger.analysed > 20), "{sockets} sockets: {workers:?}");
    }
}

#[test]
fn a_socket_on_another_address_ends_the_start_with_what_to_do() {
    let _machine = quiet_machine();
    if !have_tools(&["bash"]) {
        return;
    }
    let mut manager = Manager::new();
    let Some(address) = manager.open(1) else {
        skip(Need::Root, "the system grants no large receive buffer");
        return;
    };
    let mut command = Program::Collector.command();
    command.args(["run", "--listen", "vxlan://127.0.0.1:0", "--api", "none"]);
    let finished = Running::start(&mut manager.command(&command)).finish_within(SOON);
    assert_eq!(finished.code(), 1, "{}", finished.stderr);
    let expected = format!("error: socket 'data' on {address} was handed over, and no --listen names its address");
    assert!(finished.stderr.contains(&expected), "{}", finished.stderr);
}

#[test]
fn the_manager_hears_that_it_receives_lives_and_ends() {
    let _machine = shared_machine();
    if !have_tools(&["bash"]) {
        return;
    }
    let mut manager = Manager::new();
    let settings = Settings::new(2).env("WATCHDOG_USEC", "4000000").drain("2s");
    let collector = settings.wrapped(|command| manager.command(command)).start();
    manager.wait_for(SOON, "READY=1");
    manager.wait_for(SOON, &format!("STATUS=receiving on vxlan://{}", collector.address()));
    for _ in 0..3 {
        manager.wait_for(SOON, "WATCHDOG=1");
    }
    collector.process_ref().signal(Signal::TERM);
    manager.wait_for(SOON, "STOPPING=1");
    manager.wait_for(SOON, "STATUS=draining");
    manager.wait_for(SOON, "WATCHDOG=1");
    assert_eq!(collector.finish().code(), 0);
}

#[test]
fn no_sign_of_life_is_given_while_a_worker_stands_still() {
    let _machine = shared_machine();
    if !have_tools(&["bash", "python3"]) || !have_root() {
        return;
    }
    let mut manager = Manager::new();
    let settings = Settings::new(2).env("WATCHDOG_USEC", "1200000");
    let collector = settings.wrapped(|command| manager.command(command)).start();
    manager.wait_for(SOON, "WATCHDOG=1");
    let stopped = StoppedThread::of(collector.process_ref().id(), "worker-1");
    // One may have been on its way.
    manager.count("WATCHDOG=1");
    thread::sleep(Duration::from_millis(1500));
    assert!(manager.count("WATCHDOG=1") <= 1);
    drop(stopped);
    manager.wait_for(SOON, "WATCHDOG=1");
    collector.stop();
}
