use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use vxtap_analyzers::DropReason;
use vxtap_analyzers::snapshot::{Act, Choice, Decision, DuplicatePair, FlowPage, Ruling, RunState, Snapshot};

use super::*;
use crate::keys::SECTIONS;
use crate::poller::Update;
use crate::sample;
use crate::save::Saved;
use crate::source::SourceError;
use crate::theme::Theme;

mod told;

const SMALL: Size = Size { width: 80, height: 24 };
const LARGE: Size = Size { width: 200, height: 50 };

/// An application that is driven and looked at.
struct Seen {
    app: App,
    now: Duration,
    size: Size,
}

impl Seen {
    fn new(size: Size) -> Self {
        let app = App::new(Theme::new(true), Some("http://127.0.0.1:9789".into()), Duration::from_secs(1));
        Self { app, now: Duration::ZERO, size }
    }

    /// `snapshot` as it is at each of 90 seconds.
    fn watching(size: Size, snapshot: fn(u64) -> Snapshot) -> Self {
        let mut seen = Self::new(size);
        for second in 1..=90 {
            seen.snapshot(snapshot(second));
        }
        seen
    }

    fn snapshot(&mut self, snapshot: Snapshot) -> &mut Self {
        self.now += Duration::from_secs(1);
        self.app.update(Update::Snapshot(Ok(Box::new(snapshot))), self.now);
        self
    }

    fn lost(&mut self, after: u64, error: &str) -> &mut Self {
        self.now += Duration::from_secs(after);
        let error = SourceError::Unreachable(error.into());
        self.app.update(Update::Snapshot(Err(error)), self.now);
        self
    }

    fn flows(&mut self, answer: Result<FlowPage, SourceError>) -> &mut Self {
        self.now += Duration::from_secs(1);
        self.app.fit(self.size);
        let query = self.app.flows.query().clone();
        self.app.update(Update::Flows { query, answer }, self.now);
        self
    }

    fn keys(&mut self, keys: &str) -> &mut Self {
        for c in keys.chars() {
            self.app.fit(self.size);
            let code = match c {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\t' => KeyCode::Tab,
                c => KeyCode::Char(c),
            };
            self.app.key(&KeyEvent::new(code, KeyModifiers::NONE));
        }
        self
    }

    fn terminal(&mut self) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(self.size.width, self.size.height)).unwrap();
        self.app.fit(self.size);
        terminal.draw(|frame| draw(frame, &self.app, self.now)).unwrap();
        terminal
    }

    fn text(&mut self) -> String {
        let terminal = self.terminal();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content.chunks(self.size.width.into());
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned() + "\n")
            .collect()
    }

    fn has(&mut self, told: &str) {
        let text = self.text();
        assert!(text.contains(told), "no {told:?} in\n{text}");
    }
}

/// Compares a screen at both sizes with what is kept.
fn keep(name: &str, see: impl Fn(Size) -> Seen) {
    for size in [SMALL, LARGE] {
        let name = format!("{name}_{}x{}", size.width, size.height);
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(name, see(size).text()) });
    }
}

fn with_flows(size: Size) -> Seen {
    let mut seen = Seen::watching(size, sample::busy);
    seen.keys("2").flows(Ok(sample::flows(100, 90))).flows(Ok(sample::flows(100, 91)));
    seen
}

#[test]
fn the_smallest_terminal() {
    for (name, keys) in
        [("overview", ""), ("workers", "w"), ("flows", "2"), ("captures", "3"), ("streams", "4"), ("help", "?")]
    {
        let mut seen = Seen::watching(MIN_SIZE, sample::losing);
        seen.keys(keys).flows(Ok(sample::flows(100, 90)));
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(format!("{name}_60x15"), seen.text()) });
    }
}

#[test]
fn overview_of_a_busy_collector() {
    keep("overview_busy", |size| Seen::watching(size, sample::busy));
}

#[test]
fn overview_with_loss() {
    keep("overview_loss", |size| Seen::watching(size, sample::losing));
}

#[test]
fn overview_when_nothing_came() {
    keep("overview_idle", |size| Seen::watching(size, sample::idle));
}

#[test]
fn overview_with_huge_numbers_and_long_names() {
    keep("overview_huge", |size| Seen::watching(size, sample::huge));
}

#[test]
fn overview_after_24_hours() {
    keep("overview_24_hours", |size| {
        let mut seen = Seen::new(size);
        seen.snapshot(sample::busy(86_399)).snapshot(sample::busy(86_400));
        seen
    });
}

#[test]
fn overview_of_workers_alone_and_of_streams_alone() {
    keep("overview_workers", |size| {
        let mut seen = Seen::watching(size, sample::huge);
        seen.keys("wjjjj");
        seen
    });
    keep("overview_streams", |size| {
        let mut seen = Seen::watching(size, sample::huge);
        seen.keys("wwG");
        seen
    });
}

#[test]
fn overview_with_the_connection_lost() {
    keep("overview_lost", |size| {
        let mut seen = Seen::watching(size, sample::losing);
        seen.lost(12, "can't get http://127.0.0.1:9789/v1/snapshot: Connection refused (os error 111)");
        seen
    });
}

#[test]
fn before_the_first_answer() {
    keep("waiting", Seen::new);
    keep("never_reached", |size| {
        let mut seen = Seen::new(size);
        seen.lost(3, "can't get http://127.0.0.1:9789/v1/snapshot: Connection refused (os error 111)");
        seen
    });
}

#[test]
fn flows_of_ipv4() {
    keep("flows", with_flows);
}

#[test]
fn flows_of_long_ipv6_addresses() {
    keep("flows_ipv6", |size| {
        let mut seen = Seen::watching(size, sample::huge);
        seen.keys("2").flows(Ok(sample::long_flows(60)));
        seen
    });
}

#[test]
fn flows_held_still_sorted_and_scrolled() {
    keep("flows_paused", |size| {
        let mut seen = with_flows(size);
        seen.keys("S").flows(Ok(sample::flows(100, 91))).keys("jjjp");
        seen
    });
}

#[test]
fn a_filter_being_written() {
    keep("flows_filter", |size| {
        let mut seen = with_flows(size);
        seen.keys("/tcp port 443");
        seen
    });
}

#[test]
fn a_filter_that_was_refused() {
    keep("flows_filter_refused", |size| {
        let mut seen = with_flows(size);
        seen.keys("/prt 443\n");
        seen.flows(Err(SourceError::Filter("'prt' in the filter: expected a protocol, an address, a prefix, 'port N', 'vni N', 'worker N', 'state NAME' or 'stream TEXT'".into())));
        seen
    });
}

#[test]
fn no_flows() {
    keep("flows_none", |size| {
        let mut seen = Seen::watching(size, sample::idle);
        seen.keys("2").flows(Ok(FlowPage::default()));
        seen
    });
    let mut seen = with_flows(SMALL);
    seen.keys("/udp\n").flows(Ok(FlowPage { total: 5, ..FlowPage::default() })).has("No flow matches the filter");
}

#[test]
fn one_flow() {
    keep("flow", |size| {
        let mut seen = with_flows(size);
        seen.keys("j\n").flows(Ok(sample::flows(100, 92)));
        seen
    });
    keep("flow_ipv6_gone", |size| {
        let mut seen = Seen::watching(size, sample::huge);
        seen.keys("2").flows(Ok(sample::long_flows(60))).keys("\n").flows(Ok(FlowPage::default()));
        seen
    });
}

#[test]
fn a_flow_being_saved_and_saved_and_not_saved() {
    keep("flow_saving", |size| {
        let mut seen = with_flows(size);
        seen.keys("f");
        seen
    });
    let after = |size, saved| {
        let mut seen = with_flows(size);
        seen.keys("\nf");
        seen.app.update(Update::Saved(saved), seen.now);
        seen
    };
    keep("flow_saved", |size| {
        let file = "vxtap-flow-LQU9qZlK-20261121T100000Z.pcapng".into();
        after(size, Ok(Saved { packets: 12_345, file, lacks: None }))
    });
    let error =
        "http://127.0.0.1:9789/v1/extract answered 409 Conflict: nothing is captured: start the collector with --write";
    after(SMALL, Err(error.into())).has("flow not saved: http://127.0.0.1:9789/v1/extract answered 409 Conflict");
    let file = "x.pcapng".into();
    after(MIN_SIZE, Ok(Saved { packets: 1, file, lacks: None })).has("saved 1 packet to x.pcapng");
    let (file, lacks) = ("x.pcapng".into(), Some("the answer of http://127.0.0.1:9789/v1/extract broke off".into()));
    after(SMALL, Ok(Saved { packets: 2, file, lacks })).has("saved 2 packets, not all, to x.pcapng: the answer of");
}

#[test]
fn captures_and_logs() {
    keep("captures", |size| {
        let mut seen = Seen::new(size);
        seen.snapshot(sample::busy(3_000)).keys("3");
        seen
    });
}

#[test]
fn captures_with_a_full_disk() {
    keep("captures_full_disk", |size| {
        let mut seen = Seen::watching(size, sample::losing);
        seen.keys("3");
        seen
    });
}

#[test]
fn captures_in_a_deep_directory() {
    keep("captures_huge", |size| {
        let mut seen = Seen::watching(size, sample::huge);
        seen.keys("3");
        seen
    });
}

#[test]
fn no_captures() {
    keep("captures_none", |size| {
        let mut seen = Seen::watching(size, sample::idle);
        seen.keys("3");
        seen
    });
}

#[test]
fn streams_that_wait_and_one_that_is_asked_about() {
    keep("streams", |size| {
        let mut seen = Seen::watching(size, sample::waiting);
        seen.keys("4");
        seen
    });
    keep("streams_asking", |size| {
        let mut seen = Seen::watching(size, sample::waiting);
        seen.keys("4jjjx");
        seen
    });
    keep("streams_none", |size| {
        let mut seen = Seen::watching(size, sample::idle);
        seen.keys("4");
        seen
    });
}

#[test]
fn a_stream_that_was_let_in_before_is_told_apart_from_those_that_are_and_what_waits_is_no_loss() {
    let mut seen = Seen::watching(SMALL, |seconds| {
        let mut snapshot = sample::waiting(seconds);
        snapshot.streams[1].turned_away = true;
        snapshot.ledger.dropped.add(DropReason::NotAdmitted, 1000);
        snapshot.ledger.dropped.add(DropReason::Rejected, 1000);
        snapshot
    });
    seen.keys("4").has("6 let in, 2 waiting, 1 rejected");
    seen.keys("G").has("was in");
    seen.has("was let in before; what comes of it now is turned away");
    assert!(!seen.text().contains("LOSS"), "{}", seen.text());
    seen.keys("1").has("nothing lost; 2,000 packets left out as asked");
}

const DECIDED: &str = "vxlan vni 7 from 192.0.2.9";

/// [`sample::waiting`], where the one that is rejected was rejected by a decision, the only one.
fn decided(seconds: u64) -> Snapshot {
    let mut snapshot = sample::waiting(seconds);
    let decision = Decision { choice: Choice::Reject, selector: DECIDED.into() };
    (snapshot.admission.decisions, snapshot.admission.decisions_total) = (vec![decision], 1);
    snapshot
}

#[test]
fn what_was_decided_about_a_stream_is_shown_and_taken_back_after_a_yes() {
    let mut seen = Seen::watching(LARGE, decided);
    // The last one is rejected; the first one waits, and nobody has decided anything about it.
    seen.keys("4u").has("nothing was decided about vxlan vni 99 from 10.0.9.9 alone");
    seen.keys("G").has("rejected here; u takes that back");
    seen.keys("u").has("take back what was decided about vxlan vni 7 from 192.0.2.9?  y yes  Esc no");
    seen.keys("y");
    let ruling = Ruling { act: Act::Forget, selector: DECIDED.into() };
    assert_eq!(seen.app.take_decision(), Some(ruling.clone()));
    seen.app.update(Update::Decided { decision: ruling, answer: Ok(()) }, seen.now);
    seen.has("took back what was decided about vxlan vni 7 from 192.0.2.9");
}

#[test]
fn a_decision_is_made_after_a_yes_and_told() {
    let mut seen = Seen::watching(SMALL, sample::waiting);
    seen.keys("4a").has("accept vxlan vni 99 from 10.0.9.9?  y yes  Esc no");
    assert_eq!(seen.app.take_decision(), None);
    seen.keys("\x1by");
    assert_eq!(seen.app.take_decision(), None, "a no is a no");
    seen.keys("ay");
    let decision = Ruling { act: Act::Accept, selector: "vxlan vni 99 from 10.0.9.9".into() };
    assert_eq!(seen.app.take_decision(), Some(decision.clone()));
    assert_eq!(seen.app.take_decision(), None);
    seen.has("accept vxlan vni 99 from 10.0.9.9 …");
    seen.app.update(Update::Decided { decision: decision.clone(), answer: Ok(()) }, seen.now);
    seen.has("accepted vxlan vni 99 from 10.0.9.9");
    let refused = Err(SourceError::Refused(HOSTILE.into()));
    seen.app.update(Update::Decided { decision, answer: refused }, seen.now);
    seen.has(HARMLESS);
    // All further streams of a source, one that is let in, and one that is rejected already.
    seen.keys("ja").has("nothing can be decided about further streams from 10.0.9.9");
    seen.keys("ja").has("vni 4242 from 10.0.0.7 is let in already");
    seen.keys("Gx").has("vni 7 from 192.0.2.9 is rejected already");
    seen.keys("a").has("accept vxlan vni 7 from 192.0.2.9?");
}

#[test]
fn the_choice_stays_with_its_stream_when_others_come_and_go() {
    let mut seen = Seen::watching(SMALL, sample::waiting);
    seen.keys("4jjj");
    let mut snapshot = sample::waiting(91);
    snapshot.admission.turned_away.retain(|stream| stream.rejected);
    seen.snapshot(snapshot).keys("x").has("reject vxlan vni 4243 from 10.0.0.8?");
}

#[test]
fn help() {
    keep("help", |size| {
        let mut seen = Seen::new(size);
        seen.keys("?");
        seen
    });
}

#[test]
fn help_tells_every_key_and_its_meaning() {
    for size in [SMALL, LARGE] {
        let text = {
            // Where it is longer than the screen, its end comes with a key.
            let mut seen = Seen::new(size);
            let top = seen.keys("?").text();
            top + &seen.keys("G").text()
        };
        for binding in SECTIONS.iter().flat_map(|section| section.bindings) {
            let keys: Vec<&str> = binding.keys.iter().map(|key| key.name).collect();
            let told = text.lines().any(|line| line.contains(&keys.join(" ")) && line.contains(binding.meaning));
            assert!(told, "{} {} is not in the help at {size}", keys.join(" "), binding.meaning);
        }
    }
}

#[test]
fn every_screen_fits_every_terminal() {
    for (width, height) in [(1, 1), (59, 24), (80, 14), (60, 15), (61, 16), (72, 20), (80, 24), (132, 43), (400, 120)] {
        let size = Size { width, height };
        for snapshot in [sample::busy, sample::losing, sample::idle, sample::huge, sample::waiting] {
            let mut seen = Seen::watching(size, snapshot);
            for keys in ["", "w", "w", "w", "2", "\n", "\x1b", "/abc", "\x1b", "3", "4", "G", "a", "y", "x", "?"] {
                seen.keys(keys);
                seen.flows(Ok(sample::long_flows(60))).text();
                seen.lost(1, "gone").text();
                seen.snapshot(snapshot(100));
            }
        }
    }
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() {
    let mut seen = Seen::watching(Size { width: 50, height: 10 }, sample::busy);
    seen.has("The terminal is 50x10; vxtap needs 60x15.");
    seen.size = MIN_SIZE;
    seen.has("running");
}

#[test]
fn lists_that_are_longer_than_the_screen_can_be_read_to_their_end() {
    let mut seen = Seen::watching(SMALL, sample::huge);
    seen.has("mirror streams 1-");
    seen.keys("G").has("of 1.23M");
    seen.has("-1000 of");
    seen.keys("w").has("    0 ");
    seen.keys("G").has("   255 ");
    let mut seen = with_flows(SMALL);
    seen.keys("G").has("-100 of 12,345");
    let mut seen = Seen::new(SMALL);
    seen.snapshot(sample::busy(3_000)).keys("3G").has("-000000.pcapng");
    let mut seen = Seen::new(MIN_SIZE);
    seen.keys("?G").has("rub out all");
    let mut seen = with_flows(MIN_SIZE);
    seen.keys("j\nG").has("flags of resp.");
}

/// The style of the first cell of `told` on the screen.
fn style_of(seen: &mut Seen, told: &str) -> (Color, Modifier) {
    let width = usize::from(seen.size.width);
    let text = seen.text();
    let (row, line) = text.lines().enumerate().find(|(_, line)| line.contains(told)).unwrap();
    let column = line[..line.find(told).unwrap()].chars().count();
    let terminal = seen.terminal();
    let cell = &terminal.backend().buffer().content[row * width + column];
    (cell.fg, cell.modifier)
}

#[test]
fn loss_is_red_and_named_and_its_absence_green() {
    let mut seen = Seen::watching(SMALL, sample::losing);
    for told in ["LOSS", "kernel dropped", "dropped:", "capture dropped"] {
        assert_eq!(style_of(&mut seen, told).0, Color::Red, "{told}");
    }
    let mut seen = Seen::watching(SMALL, sample::busy);
    assert_eq!(style_of(&mut seen, "nothing lost").0, Color::Green);
    assert_eq!(style_of(&mut seen, "kernel dropped").0, Color::Reset);
}

#[test]
fn old_data_are_dimmed_until_the_collector_is_back() {
    let mut seen = Seen::watching(SMALL, sample::busy);
    assert!(!style_of(&mut seen, "analysed").1.contains(Modifier::DIM));
    seen.lost(5, "gone").has("connection lost, trying again (data are 5s old)");
    seen.has(" gone\n");
    assert!(style_of(&mut seen, "analysed").1.contains(Modifier::DIM));
    seen.snapshot(sample::busy(97));
    assert!(!style_of(&mut seen, "analysed").1.contains(Modifier::DIM));
    assert!(!seen.text().contains("connection lost"));
}

#[test]
fn without_colours_no_cell_has_one() {
    let mut seen = Seen::watching(SMALL, sample::losing);
    seen.app.theme = Theme::new(false);
    for keys in ["", "2", "3", "4", "5"] {
        seen.keys(keys).flows(Ok(sample::flows(100, 91)));
        let terminal = seen.terminal();
        let plain =
            terminal.backend().buffer().content.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset));
        assert!(plain, "{}", seen.text());
    }
    seen.keys("1");
    assert!(style_of(&mut seen, "LOSS").1.contains(Modifier::REVERSED));
}

#[test]
fn only_the_16_named_colours_are_used() {
    let mut seen = Seen::watching(LARGE, sample::losing);
    for keys in ["", "2", "3", "4", "5"] {
        seen.keys(keys).flows(Ok(sample::flows(100, 91)));
        let terminal = seen.terminal();
        for cell in &terminal.backend().buffer().content {
            for color in [cell.fg, cell.bg] {
                assert!(!matches!(color, Color::Rgb(..) | Color::Indexed(_)), "{color}");
            }
        }
    }
}

/// What a hostile network, file name or collector could send.
const HOSTILE: &str = "a\x1b]0;owned\x07b\u{202e}c\u{9b}2Jd\ne\u{200b}f\u{7f}";
const HARMLESS: &str = r"a\u{1b}]0;owned\u{7}b\u{202e}c\u{9b}2Jd\ne\u{200b}f\u{7f}";

#[test]
fn text_from_elsewhere_is_escaped_on_every_screen() {
    let mut snapshot = sample::losing(90);
    snapshot.version = HOSTILE.into();
    snapshot.listeners = vec![HOSTILE.into()];
    snapshot.streams[0].name = HOSTILE.into();
    snapshot.streams[0].network = Some(HOSTILE.into());
    snapshot.admission = sample::waiting(90).admission;
    snapshot.admission.turned_away[1].name = HOSTILE.into();
    snapshot.admission.turned_away[1].selector = HOSTILE.into();
    snapshot.admission.kept_in = Some(HOSTILE.into());
    snapshot.duplicate_pairs = vec![DuplicatePair { first: HOSTILE.into(), second: HOSTILE.into(), duplicates: 1 }];
    let capture = snapshot.capture.as_mut().unwrap();
    capture.directory = HOSTILE.into();
    capture.error = Some(HOSTILE.into());
    capture.kept.error = Some(HOSTILE.into());
    capture.files[0].name = HOSTILE.into();
    let log = snapshot.log.as_mut().unwrap();
    log.directory = HOSTILE.into();
    log.error = Some(HOSTILE.into());
    let mut page = sample::flows(3, 90);
    for flow in &mut page.flows {
        for text in [&mut flow.community_id, &mut flow.stream, &mut flow.protocol, &mut flow.state] {
            *text = HOSTILE.into();
        }
        (flow.app, flow.network_name) = (Some(HOSTILE.into()), Some(HOSTILE.into()));
    }
    let mut seen = Seen::new(LARGE);
    seen.app.origin = Some(text::escape(HOSTILE).into_owned());
    let mut told = seen.snapshot(snapshot).text();
    for keys in ["2", "\n"] {
        told += &seen.keys(keys).flows(Ok(page.clone())).text();
    }
    told += &seen.keys("\x1b/bad\n").flows(Err(SourceError::Filter(HOSTILE.into()))).text();
    told += &seen.keys("\x1b").flows(Err(SourceError::Refused(HOSTILE.into()))).text();
    told += &seen.keys("3").text();
    told += &seen.keys("4a").text();
    told += &seen.keys("yjj").text();
    told += &seen.lost(1, HOSTILE).text();
    let shown = told.matches(HARMLESS).count();
    assert!(shown >= 10, "{shown} in\n{told}");
    assert!(told.split('\n').all(text::is_clean));
}

#[test]
fn what_is_wrong_with_keeping_captures_is_shown_while_it_is() {
    let mut snapshot = sample::busy(90);
    let mut seen = Seen::new(LARGE);
    snapshot.capture.as_mut().unwrap().kept.error = Some("the hook 'upload' failed with exit code 7".into());
    seen.snapshot(snapshot.clone()).keys("3").has("error: the hook 'upload' failed with exit code 7");
    snapshot.capture.as_mut().unwrap().kept.error = None;
    snapshot.taken_ns += 1;
    assert!(!seen.snapshot(snapshot).text().contains("error:"));
}

#[test]
fn whatever_gets_through_to_a_cell_is_not_sent_to_the_terminal() {
    let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 1));
    buffer.content[0].set_symbol("\x1b");
    buffer.content[1].set_symbol("\u{202e}");
    buffer.content[2].set_symbol("日");
    replace_hostile(&mut buffer);
    assert_eq!(buffer, Buffer::with_lines(["??日"]));
}

#[test]
fn a_ledger_that_does_not_balance_at_the_end_is_told_so() {
    let mut snapshot = sample::busy(90);
    snapshot.ledger.received += 1;
    let mut seen = Seen::new(SMALL);
    assert!(!seen.snapshot(snapshot.clone()).text().contains("balance"), "packets are under way while it runs");
    snapshot.state = RunState::Stopped;
    snapshot.taken_ns += 1;
    seen.snapshot(snapshot).has("the ledger does not balance");
}
