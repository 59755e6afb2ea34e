//! The same verdict as tcpdump's program, by our evaluation and by the program that we emit.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use vxtap_filter::{BpfInstruction, Filter, FlowFacts, NotForKernel, Packet};
use vxtap_tests::captures::Captures;
use vxtap_tests::needs::have_tools;
use vxtap_wire::{FlowKey, FrameView, NetworkId};

use super::judge::{Frame, Tcpdump, frames, lines, run};

const EXPRESSIONS: &str = include_str!("expressions.txt");
const REFUSED: &str = include_str!("refused.txt");

/// As tcpdump has it.
const SNAPLEN: u32 = 262_144;

/// What tcpdump says where words that shift offsets meet others that were not written for that.
const JOINED_IN_VAIN: [&str; 5] = ["over mpls", "after MPLS", "for PPP", "only on ethernet", "not a broadcast link"];

/// The filters of the table, and some so long that jumps do not reach.
pub(crate) fn expressions() -> Vec<String> {
    let list = |of: std::ops::Range<u32>, each: fn(u32) -> String| of.map(each).collect::<Vec<_>>().join(" or ");
    let long = [
        list(0..150, |n| format!("host 10.0.{}.{}", n % 4, n % 250)),
        list(0..300, |n| format!("port {}", 53 + n * 7)),
        list(0..100, |n| format!("tcp src portrange {}-{}", n * 600, n * 600 + 99)),
        format!("not ({})", list(0..120, |n| format!("src net 192.{}.0.0/16 and dst port {}", n + 100, n))),
        format!("vlan or {}", list(0..80, |n| format!("ip6 net 2001:{n:x}::/32"))),
        list(0..400, |n| format!("ether host 0:1:2:3:{:x}:{:x}", n / 256, n % 256)),
        list(0..200, |n| format!("(ip[{n}] = {} and ip[{}] != 3)", n % 7, n + 1)),
        format!("(arp or {}) and len > 60", list(0..255, |n| format!("ip[1] = {n}"))),
    ];
    lines(EXPRESSIONS).map(str::to_owned).chain(long).collect()
}

#[test]
fn every_filter_gives_tcpdumps_verdict_on_every_frame() {
    let Some(captures) = Captures::open() else { return };
    if !have_tools(&["tcpdump"]) {
        return;
    }
    let frames = frames(&captures);
    let cut = cut_short(&frames);
    let frames: Vec<Frame> = frames.into_iter().chain(cut).collect();
    let expressions = expressions();
    assert!(expressions.len() >= 300, "{}", expressions.len());
    compare_all(&expressions, &frames);
}

/// Any two or three filters of the table, joined. Without those that tcpdump's optimizer treats in a way of its own when
/// they are not alone: it leaves programs with a loop as they are, reads what `geneve` notes also where nothing was noted,
/// and finds late that a comparison is one of numbers. What a program loads without need decides about cut frames.
fn joined(count: u32) -> Vec<String> {
    let alone = |one: &str| {
        one.starts_with(|first: char| first.is_ascii_digit())
            || ["protochain", "geneve", "* 0 =", "& 0 ="].iter().any(|part| one.contains(part))
    };
    let table: Vec<&str> = lines(EXPRESSIONS).filter(|one| !alone(one)).collect();
    let mut dice = 1_u32;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 8) as usize % sides
    };
    let part = |roll: &mut dyn FnMut(usize) -> usize| {
        let one = table[roll(table.len())];
        if roll(4) == 0 { format!("not ({one})") } else { format!("({one})") }
    };
    let both = ["and", "or"];
    (0..count)
        .map(|_| {
            let two = format!("{} {} {}", part(&mut roll), both[roll(2)], part(&mut roll));
            if roll(2) == 0 { two } else { format!("{} {} ({two})", part(&mut roll), both[roll(2)]) }
        })
        .collect()
}

#[test]
fn joined_filters_give_tcpdumps_verdict_too() {
    let Some(captures) = Captures::open() else { return };
    if !have_tools(&["tcpdump"]) {
        return;
    }
    let frames = frames(&captures);
    let cut = cut_short(&frames);
    let frames: Vec<Frame> = frames.iter().chain(&cut).step_by(7).cloned().collect();
    compare_all(&joined(1500), &frames);
}

fn compare_all(expressions: &[String], frames: &[Frame]) {
    let tcpdump = Tcpdump::new();
    let (next, problems, compared) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let matched = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(4) {
            scope.spawn(|| {
                while let Some(expression) = expressions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match compare(&tcpdump, expression, frames) {
                        Ok(matches) => {
                            compared.fetch_add(frames.len(), Ordering::Relaxed);
                            matched.fetch_add(usize::from(matches > 0), Ordering::Relaxed);
                        }
                        Err(problem) => problems.lock().unwrap().push(format!("{expression:.200}: {problem}")),
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), expressions.len(), problems.join("\n"));
    println!(
        "{} filters, {} of which match something, on {} frames: {} verdicts",
        expressions.len(),
        matched.into_inner(),
        frames.len(),
        compared.into_inner()
    );
}

/// Some frames cut at every length, where the order of loads shows.
fn cut_short(frames: &[Frame]) -> Vec<Frame> {
    let step = frames.len() / 120;
    let some = frames.iter().step_by(step.max(1));
    some.flat_map(|frame| {
        (0..frame.bytes.len().min(90)).map(|len| Frame { bytes: frame.bytes[..len].to_vec(), ..*frame })
    })
    .collect()
}

/// How many frames match, or what is different.
fn compare(tcpdump: &Tcpdump, expression: &str, frames: &[Frame]) -> Result<usize, String> {
    let nothing = [BpfInstruction { code: 0x06, jt: 0, jf: 0, k: 0 }];
    let theirs = match tcpdump.program(expression) {
        // Not every contradiction is found by both.
        Err(why) if why.contains("rejects all packets") => nothing.to_vec(),
        Err(why) if JOINED_IN_VAIN.iter().any(|what| why.contains(what)) => return Ok(0),
        theirs => theirs?,
    };
    let filter = match Filter::parse(expression) {
        Err(error) if error.what() == "no packet can match this" => {
            let matches = frames.iter().filter(|frame| run(&theirs, frame) != 0).count();
            return if matches == 0 { Ok(0) } else { Err(format!("{error}, but {matches} frames do")) };
        }
        filter => filter.map_err(|error| error.to_string())?,
    };
    let ours: Option<Vec<BpfInstruction>> = match filter.program(SNAPLEN) {
        Ok(program) => Some(program),
        Err(NotForKernel { what }) => {
            let known = ["'protochain'", "a shift by bits of the packet"];
            if !known.contains(&what) {
                return Err(format!("no program: {what}"));
            }
            None
        }
    };
    let mut matches = 0;
    for (at, frame) in frames.iter().enumerate() {
        let want = run(&theirs, frame);
        let packet = Packet { frame: &frame.bytes, wire_len: frame.wire_len, ..Packet::default() };
        if filter.matches(&packet) != (want != 0) {
            return Err(format!("frame {at}, {} bytes: tcpdump says {want}, evaluation does not", frame.bytes.len()));
        }
        if let Some(ours) = &ours {
            let got = run(ours, frame);
            if got != want {
                return Err(format!("frame {at}, {} bytes: tcpdump says {want}, our program {got}", frame.bytes.len()));
            }
        }
        matches += usize::from(want != 0);
    }
    Ok(matches)
}

#[test]
fn what_tcpdump_refuses_is_refused() {
    if !have_tools(&["tcpdump"]) {
        return;
    }
    let tcpdump = Tcpdump::new();
    let mut problems = Vec::new();
    for text in lines(REFUSED) {
        if tcpdump.program(text).is_ok() {
            problems.push(format!("tcpdump takes {text}"));
        }
        match Filter::parse(text) {
            Ok(_) => problems.push(format!("we take {text}")),
            Err(error) => assert!(error.at() <= text.len(), "{text}: {error}"),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn programs_are_not_much_longer_than_tcpdumps() {
    if !have_tools(&["tcpdump"]) {
        return;
    }
    let tcpdump = Tcpdump::new();
    let (mut ours, mut theirs) = (0, 0);
    for expression in &expressions() {
        let Ok(program) = Filter::parse(expression).unwrap().program(SNAPLEN) else { continue };
        let reference = tcpdump.program(expression).unwrap();
        let bound = reference.len() + reference.len() / 3 + 8;
        assert!(
            program.len() <= bound,
            "{expression:.200}: {} instructions, tcpdump has {}",
            program.len(),
            reference.len()
        );
        ours += program.len();
        theirs += reference.len();
    }
    println!("{ours} instructions, tcpdump has {theirs}");
    assert!(ours <= theirs + theirs / 10, "{ours} instructions, tcpdump has {theirs}");
}

#[test]
fn a_flow_that_cannot_match_has_no_frame_that_does() {
    let Some(captures) = Captures::open() else { return };
    let frames = frames(&captures);
    let filters: Vec<Filter> = lines(EXPRESSIONS).map(|expression| Filter::parse(expression).unwrap()).collect();
    let (mut never, mut maybe) = (0_u64, 0_u64);
    for frame in frames.iter().chain(&cut_short(&frames)) {
        let view = FrameView::parse(&frame.bytes);
        let facts = match view.five_tuple {
            Some(tuple) => FlowFacts::of(FlowKey::new(NetworkId(1), &tuple).0),
            None => FlowFacts::no_flow(),
        };
        let facts = if view.tunnels == 0 { facts.direct() } else { facts };
        let packet = Packet { frame: &frame.bytes, wire_len: frame.wire_len, ..Packet::default() };
        for filter in &filters {
            let may_match = filter.may_match(&facts);
            assert!(may_match || !filter.matches(&packet), "{} {facts:?} {:02x?}", filter.text(), frame.bytes);
            *(if may_match { &mut maybe } else { &mut never }) += 1;
        }
    }
    println!("{never} of {} questions are settled by the flow", never + maybe);
    // Most of the filters ask for bytes, tags or lengths, of which a flow does not know.
    assert!(never > maybe / 10, "{never} of {}", never + maybe);
}
