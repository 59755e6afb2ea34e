use crossterm::event::{KeyCode, KeyModifiers};
use vxtap_analyzers::snapshot::FlowPage;

use super::*;
use crate::keys::SECTIONS;
use crate::line_edit::LineEdit;
use crate::sample;
use crate::source::SourceError;

/// So small that every list, also that of the help, is longer than the screen.
const SIZE: Size = screens::MIN_SIZE;

fn app() -> App {
    let mut app = App::new(Theme::new(true), None, Duration::from_secs(1));
    let mut snapshot = sample::huge(3000);
    snapshot.started_ns = sample::START;
    app.update(Update::Snapshot(Ok(Box::new(snapshot))), Duration::ZERO);
    app.fit(SIZE);
    app
}

fn press(app: &mut App, code: KeyCode, control: bool) -> Outcome {
    app.fit(SIZE);
    let modifiers = if control { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
    app.key(&KeyEvent::new(code, modifiers))
}

fn answer(app: &mut App, answer: Result<FlowPage, SourceError>) -> Outcome {
    app.fit(SIZE);
    let query = app.flows.query().clone();
    app.update(Update::Flows { query, answer }, Duration::from_secs(1))
}

/// An application with the keyboard at `place`, in the middle of its list.
fn at(place: Place) -> App {
    let mut app = app();
    let keys: &[KeyCode] = match place {
        Place::Overview => &[],
        Place::FlowList | Place::FlowDetail | Place::FilterLine => &[KeyCode::Char('2')],
        Place::Captures => &[KeyCode::Char('3')],
        Place::Streams => &[KeyCode::Char('4')],
        Place::Asking => &[KeyCode::Char('4'), KeyCode::Char('x')],
        Place::Help => &[KeyCode::Char('2'), KeyCode::Char('?')],
    };
    for key in keys {
        assert_eq!(press(&mut app, *key, false), Outcome::Changed);
    }
    if matches!(place, Place::FlowList | Place::FlowDetail | Place::FilterLine) {
        answer(&mut app, Ok(sample::flows(100, 90)));
        press(&mut app, KeyCode::Down, false);
    }
    match place {
        Place::FlowDetail => {
            press(&mut app, KeyCode::Enter, false);
            press(&mut app, KeyCode::Down, false);
        }
        Place::FilterLine => {
            press(&mut app, KeyCode::Char('/'), false);
            for c in "tcp udp".chars() {
                press(&mut app, KeyCode::Char(c), false);
            }
            press(&mut app, KeyCode::Left, false);
        }
        Place::FlowList => {
            press(&mut app, KeyCode::Char('/'), false);
            press(&mut app, KeyCode::Char('t'), false);
            press(&mut app, KeyCode::Enter, false);
            answer(&mut app, Ok(sample::flows(100, 90)));
            press(&mut app, KeyCode::PageDown, false);
        }
        Place::Overview | Place::Captures | Place::Streams | Place::Asking | Place::Help => {
            press(&mut app, KeyCode::Down, false);
        }
    }
    app.fit(SIZE);
    assert_eq!(app.place(), place);
    app
}

/// Everything that a key can change.
fn seen(app: &App) -> String {
    let App { screen, tables, overview, flows, captures, streams, help, save, .. } = app;
    let lists = format!("{overview:?} {flows:?} {captures:?} {streams:?} {help:?}");
    format!("{screen:?} {tables:?} {lists} {save:?} {}", app.is_paused())
}

#[test]
fn every_key_of_the_help_does_something_wherever_it_says_so() {
    for section in SECTIONS {
        for place in section.places {
            for binding in section.bindings {
                for key in binding.keys {
                    let mut app = at(*place);
                    let before = seen(&app);
                    let outcome = press(&mut app, key.code, key.control);
                    app.fit(SIZE);
                    if binding.command == Command::Quit {
                        assert_eq!(outcome, Outcome::Quit, "{} at {place:?}", key.name);
                        continue;
                    }
                    assert_eq!(outcome, Outcome::Changed, "{} at {place:?}", key.name);
                    // The key of the screen that is shown already has nothing to do.
                    if binding.command != Command::Show(app.screen) || seen(&app) != before {
                        assert_ne!(seen(&app), before, "{} at {place:?}", key.name);
                    }
                }
            }
        }
    }
}

#[test]
fn keys_lead_where_the_help_says() {
    use KeyCode::{BackTab, Char, Enter, Esc, Tab};
    let cases: &[(&[KeyCode], Place)] = &[
        (&[], Place::Overview),
        (&[Tab], Place::FlowList),
        (&[Tab, Tab, Tab, Tab, Tab], Place::Overview),
        (&[BackTab], Place::Help),
        (&[Char('3'), Char('1')], Place::Overview),
        (&[Char('3'), Char('?'), Char('?')], Place::Captures),
        (&[Tab, Tab, Tab], Place::Streams),
        (&[Char('4'), Char('x')], Place::Asking),
        (&[Char('4'), Char('x'), Esc], Place::Streams),
        (&[Char('4'), Char('x'), Char('y')], Place::Streams),
        (&[Char('3'), Char('?'), Esc], Place::Captures),
        (&[Char('2'), Char('/'), Char('q')], Place::FilterLine),
        (&[Char('2'), Char('/'), Char('q'), Esc], Place::FlowList),
        (&[Char('2'), Char('/'), Enter], Place::FlowList),
        (&[Char('2'), Enter], Place::FlowList),
    ];
    for (keys, place) in cases {
        let mut app = app();
        keys.iter().for_each(|key| assert_ne!(press(&mut app, *key, false), Outcome::Quit));
        assert_eq!(app.place(), *place, "{keys:?}");
    }
}

#[test]
fn help_called_from_a_detail_leads_back_to_it() {
    let mut app = at(Place::FlowDetail);
    press(&mut app, KeyCode::Char('?'), false);
    press(&mut app, KeyCode::Esc, false);
    assert_eq!(app.place(), Place::FlowDetail);
    press(&mut app, KeyCode::Esc, false);
    assert_eq!(app.place(), Place::FlowList);
}

#[test]
fn escape_and_a_key_that_come_together_are_taken_one_by_one() {
    let together = KeyEvent::new(KeyCode::Char('1'), KeyModifiers::ALT);
    let mut app = at(Place::FlowDetail);
    assert_eq!(app.key(&together), Outcome::Changed);
    assert_eq!(app.screen, Screen::Overview);
    assert_eq!(app.flows.detail(), None);
    assert_eq!(app.key(&KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT)), Outcome::Quit);
    let mut app = at(Place::FilterLine);
    assert_eq!(app.key(&together), Outcome::Same);
    assert_eq!(app.place(), Place::FilterLine);
}

#[test]
fn the_release_of_a_key_is_no_second_press() {
    let mut app = app();
    let mut event = KeyEvent::new(KeyCode::Tab, KeyModifiers::NONE);
    event.kind = KeyEventKind::Release;
    assert_eq!(app.key(&event), Outcome::Same);
    assert_eq!(app.screen, Screen::Overview);
}

#[test]
fn a_held_screen_stays_and_goes_on_with_the_newest() {
    let mut app = app();
    let received = |app: &App| app.history().latest().map(|snapshot| snapshot.ledger.received);
    let before = received(&app);
    press(&mut app, KeyCode::Char(' '), false);
    let mut next = sample::busy(3001);
    next.started_ns = sample::START;
    assert_eq!(app.update(Update::Snapshot(Ok(Box::new(next.clone()))), Duration::from_secs(1)), Outcome::Same);
    assert_eq!(received(&app), before);
    press(&mut app, KeyCode::Char('p'), false);
    assert_eq!(received(&app), Some(next.ledger.received));
}

#[test]
fn a_held_list_of_flows_is_asked_for_again_only_when_its_order_changes() {
    let mut app = at(Place::FlowList);
    press(&mut app, KeyCode::Char('p'), false);
    assert_eq!(app.wanted_flows(), None);
    assert_eq!(answer(&mut app, Ok(FlowPage::default())), Outcome::Same);
    press(&mut app, KeyCode::Char('s'), false);
    let wanted = app.wanted_flows().unwrap();
    assert_eq!(
        app.update(Update::Flows { query: wanted, answer: Ok(sample::flows(7, 9)) }, Duration::ZERO),
        Outcome::Changed
    );
    assert_eq!(app.flows.page().unwrap().flows.len(), 7);
    assert_eq!(app.wanted_flows(), None);
}

#[test]
fn flows_are_asked_for_only_while_they_are_on_the_screen() {
    let mut app = app();
    assert_eq!(app.wanted_flows(), None);
    press(&mut app, KeyCode::Char('2'), false);
    assert_eq!(app.wanted_flows().unwrap().filter, "");
    press(&mut app, KeyCode::Char('3'), false);
    assert_eq!(app.wanted_flows(), None);
}

#[test]
fn a_lost_connection_is_told_once_and_remembers_since_when() {
    let mut app = app();
    let lost = || Update::Snapshot(Err(SourceError::Unreachable("gone".into())));
    assert_eq!(app.update(lost(), Duration::from_secs(5)), Outcome::Changed);
    assert_eq!(app.connection, Connection::Lost { error: "gone".into(), since: Some(Duration::ZERO) });
    assert_eq!(app.update(lost(), Duration::from_secs(6)), Outcome::Same);
    let back = Update::Snapshot(Ok(Box::new(sample::busy(3010))));
    assert_eq!(app.update(back, Duration::from_secs(7)), Outcome::Changed);
    assert_eq!(app.connection, Connection::Up);
}

#[test]
fn another_run_forgets_the_flows_of_the_last_run() {
    let mut app = at(Place::FlowList);
    let mut restarted = sample::busy(1);
    restarted.started_ns += 1;
    app.update(Update::Snapshot(Ok(Box::new(restarted))), Duration::from_secs(9));
    assert_eq!(app.flows.page(), None);
    assert_eq!(app.history().now(), None);
}

#[test]
fn a_pasted_newline_applies_the_filter_and_types_nothing() {
    let mut app = at(Place::FilterLine);
    app.flows.command(Command::Edit(Edit::Clear));
    for code in [KeyCode::Char('u'), KeyCode::Enter] {
        press(&mut app, code, false);
    }
    assert_eq!(app.flows.query().filter, "u");
}

#[test]
fn pasted_text_goes_into_the_filter_as_one_line_and_is_no_keys_elsewhere() {
    let mut app = at(Place::FilterLine);
    app.flows.command(Command::Edit(Edit::Clear));
    assert_eq!(app.paste("tcp\r\nport 443\tvni 7\n"), Outcome::Changed);
    assert_eq!(app.flows.line().map(LineEdit::text).as_deref(), Some("tcp port 443 vni 7"));
    for place in [Place::Overview, Place::FlowList, Place::FlowDetail, Place::Streams, Place::Asking] {
        let mut app = at(place);
        let before = seen(&app);
        assert_eq!(app.paste("ayxyp/q\n"), Outcome::Same, "{place:?}");
        assert_eq!((seen(&app), app.place(), app.take_decision()), (before, place, None));
    }
}

#[test]
fn the_current_flow_is_saved_once_until_that_has_ended() {
    for place in [Place::FlowList, Place::FlowDetail] {
        let mut app = at(place);
        let flow = app.flows.current().unwrap().community_id.clone();
        assert_eq!(press(&mut app, KeyCode::Char('f'), false), Outcome::Changed);
        assert_eq!(app.take_flow_to_save().map(|wanted| wanted.community_id), Some(flow.clone()));
        assert_eq!(app.take_flow_to_save(), None);
        assert_eq!(press(&mut app, KeyCode::Char('f'), false), Outcome::Same, "one at a time");
        press(&mut app, KeyCode::Tab, false);
        assert_eq!(app.save, Some(Save::UnderWay(flow)), "it goes on behind other screens");
        let saved = Saved { packets: 3, file: "x.pcapng".into(), lacks: None };
        assert_eq!(app.update(Update::Saved(Ok(saved.clone())), Duration::from_secs(2)), Outcome::Changed);
        assert_eq!(app.save, Some(Save::Done(saved)));
        let half = |why: &str| Saved { packets: 2, file: "x.pcapng".into(), lacks: Some(why.into()) };
        app.update(Update::Saved(Ok(half("cut\u{1b}[2J"))), Duration::from_secs(2));
        assert_eq!(app.save, Some(Save::Done(half("cut\\u{1b}[2J"))));
        press(&mut app, KeyCode::BackTab, false);
        assert_eq!(app.save, None);
        assert_eq!(press(&mut app, KeyCode::Char('f'), false), Outcome::Changed);
        app.update(Update::Saved(Err("disk\u{1b}[2J full".into())), Duration::from_secs(3));
        assert_eq!(app.save, Some(Save::Failed("disk\\u{1b}[2J full".into())));
    }
}

#[test]
fn without_a_flow_there_is_none_to_save() {
    let mut app = app();
    press(&mut app, KeyCode::Char('2'), false);
    assert_eq!(press(&mut app, KeyCode::Char('f'), false), Outcome::Same);
    assert_eq!((app.take_flow_to_save(), app.save), (None, None));
}
