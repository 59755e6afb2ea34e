use super::*;
use crate::sample;

const SECOND: Duration = Duration::from_secs(1);

fn answered(page: FlowPage) -> Flows {
    let mut flows = Flows::new();
    flows.fit(10, 0, 10);
    flows.answer(flows.query().clone(), Ok(page), SECOND);
    flows.fit(10, 0, 10);
    flows
}

fn write(flows: &mut Flows, filter: &str) {
    flows.command(Command::Filter);
    flows.command(Command::Edit(Edit::Clear));
    filter.chars().for_each(|c| assert!(flows.command(Command::Edit(Edit::Insert(c)))));
    flows.command(Command::Edit(Edit::Apply));
}

#[test]
fn every_column_can_be_sorted_by_and_the_keys_go_round() {
    let mut flows = Flows::new();
    let mut seen = Vec::new();
    for _ in SORTS {
        flows.command(Command::NextColumn);
        assert!(!seen.contains(&flows.query().sort));
        seen.push(flows.query().sort);
    }
    assert_eq!(flows.query().sort, FlowSort::Bytes);
    flows.command(Command::NextColumn);
    flows.command(Command::PreviousColumn);
    assert_eq!(flows.query().sort, FlowSort::Bytes);
}

#[test]
fn names_begin_with_the_first_and_numbers_with_the_largest() {
    let mut flows = Flows::new();
    for _ in SORTS {
        flows.command(Command::NextColumn);
        let sort = flows.query().sort;
        let number =
            matches!(sort, FlowSort::Bytes | FlowSort::Frames | FlowSort::Duration | FlowSort::First | FlowSort::Last);
        assert_eq!(flows.query().ascending, !number, "{sort:?}");
        flows.command(Command::Reverse);
        assert_eq!(flows.query().ascending, number, "{sort:?}");
    }
}

#[test]
fn the_end_is_the_end_of_all_that_can_be_listed_and_not_of_what_came_so_far() {
    let long = || FlowPage { matching: 20_000, total: 20_000, ..sample::flows(100, 10) };
    let mut flows = answered(long());
    flows.command(Command::Last);
    flows.fit(10, 0, 10);
    assert_eq!(flows.query().limit, FlowQuery::MAX_LIMIT);
    // An answer to what was asked before comes first.
    flows.answer(FlowQuery { limit: 100, ..flows.query().clone() }, Ok(long()), 2 * SECOND);
    flows.answer(flows.query().clone(), Ok(sample::flows(10_000, 11)), 3 * SECOND);
    assert_eq!(flows.list().selected(), 9_999);
    flows.answer(flows.query().clone(), Ok(sample::flows(10_000, 12)), 4 * SECOND);
    assert_eq!(flows.current(), Some(&sample::flows(10_000, 12).flows[9_999]), "then the flow is followed");
    let mut flows = answered(long());
    flows.command(Command::Last);
    flows.stay();
    flows.fit(10, 0, 10);
    assert_eq!(flows.query().limit, 500, "the end of what a held screen has");
    for other in [Command::Up, Command::First, Command::Back] {
        let mut flows = answered(long());
        flows.command(Command::Last);
        flows.command(other);
        flows.fit(10, 0, 10);
        flows.answer(flows.query().clone(), Ok(sample::flows(2_000, 11)), 3 * SECOND);
        assert!(flows.list().selected() < 100, "{other:?}");
    }
}

#[test]
fn a_filter_is_asked_for_when_it_is_applied_and_not_before() {
    let mut flows = answered(sample::flows(5, 10));
    flows.command(Command::Filter);
    flows.command(Command::Edit(Edit::Insert('t')));
    assert_eq!(flows.query().filter, "");
    flows.command(Command::Edit(Edit::Cancel));
    assert_eq!((flows.query().filter.as_str(), flows.line()), ("", None));
    write(&mut flows, " tcp port 443 ");
    assert_eq!(flows.query().filter, "tcp port 443");
    assert!(!flows.is_answered());
    flows.command(Command::Filter);
    assert_eq!(flows.line().unwrap().text(), "tcp port 443");
    flows.command(Command::Edit(Edit::Cancel));
    flows.command(Command::Back);
    assert_eq!(flows.query().filter, "");
}

#[test]
fn a_refused_filter_can_be_mended_and_the_list_stays() {
    let mut flows = answered(sample::flows(5, 10));
    write(&mut flows, "port x");
    let refused = SourceError::Filter("port: 'x' is no number".into());
    flows.answer(flows.query().clone(), Err(refused.clone()), 2 * SECOND);
    assert_eq!(flows.error(), Some(&refused));
    assert_eq!(flows.line().unwrap().text(), "port x");
    assert_eq!(flows.query().filter, "", "the list on the screen goes on");
    assert_eq!(flows.page().unwrap().flows.len(), 5);
    flows.answer(flows.query().clone(), Ok(sample::flows(6, 11)), 3 * SECOND);
    assert_eq!(flows.page().unwrap().flows.len(), 6);
    assert_eq!(flows.error(), Some(&refused), "it can be read until it is mended");
    flows.command(Command::Edit(Edit::Cancel));
    assert_eq!((flows.error(), flows.line()), (None, None));
}

#[test]
fn an_answer_to_an_older_question_is_not_shown() {
    let mut flows = answered(sample::flows(5, 10));
    let old = flows.query().clone();
    flows.command(Command::NextColumn);
    flows.answer(old, Ok(sample::flows(9, 11)), 2 * SECOND);
    assert_eq!(flows.page().unwrap().flows.len(), 5);
}

#[test]
fn the_choice_goes_where_its_flow_goes() {
    let mut flows = answered(sample::flows(5, 10));
    flows.command(Command::Down);
    let mut page = sample::flows(5, 11);
    page.flows.rotate_right(2);
    flows.answer(flows.query().clone(), Ok(page), 2 * SECOND);
    assert_eq!(flows.list().selected(), 3);
    flows.answer(flows.query().clone(), Ok(sample::flows(1, 12)), 3 * SECOND);
    assert_eq!(flows.list().selected(), 0);
}

#[test]
fn the_top_of_the_list_stays_chosen_until_a_key_moves_the_choice() {
    let mut flows = answered(sample::flows(5, 10));
    let mut page = sample::flows(5, 11);
    page.flows.rotate_right(2);
    flows.answer(flows.query().clone(), Ok(page), 2 * SECOND);
    assert_eq!(flows.list().selected(), 0);
}

#[test]
fn rates_are_over_half_a_second_at_least() {
    let mut flows = answered(sample::flows(2, 10));
    let flow = sample::flows(1, 10).flows[0].clone();
    assert_eq!(flows.rate(&flow), None);
    flows.answer(flows.query().clone(), Ok(sample::flows(2, 11)), SECOND + RATE_TIME / 2);
    assert_eq!(flows.rate(&flow), None, "too close");
    flows.answer(flows.query().clone(), Ok(sample::flows(2, 12)), SECOND + 2 * SECOND);
    let rate = flows.rate(&flow).unwrap();
    assert_eq!(rate.bytes.map(|bytes| bytes.round() as u64), [100_000, 1_000_000]);
}

#[test]
fn a_flow_that_began_again_is_another() {
    let mut flows = answered(sample::flows(1, 10));
    let mut page = sample::flows(1, 11);
    page.flows[0].first_ns += 1;
    flows.answer(flows.query().clone(), Ok(page.clone()), 3 * SECOND);
    assert_eq!(flows.rate(&page.flows[0]), None);
}

#[test]
fn the_detail_follows_its_flow_and_says_when_it_is_gone() {
    let mut flows = answered(sample::flows(5, 10));
    flows.command(Command::Down);
    flows.command(Command::Open);
    let bytes = flows.detail().unwrap().flow.bytes();
    let mut page = sample::flows(5, 20);
    page.flows.rotate_right(2);
    flows.answer(flows.query().clone(), Ok(page), 2 * SECOND);
    assert_eq!(flows.detail().unwrap().flow.bytes(), 2 * bytes);
    flows.answer(flows.query().clone(), Ok(FlowPage::default()), 3 * SECOND);
    let detail = flows.detail().unwrap();
    assert!(!detail.listed);
    assert_eq!(detail.flow.bytes(), 2 * bytes);
    assert!(flows.command(Command::Back));
    assert_eq!(flows.detail(), None);
}

#[test]
fn more_flows_are_asked_for_as_the_end_comes_near_but_never_without_bound() {
    let mut flows = answered(sample::flows(100, 10));
    assert_eq!(flows.query().limit, 100);
    for _ in 0..10 {
        flows.command(Command::PageDown);
        flows.fit(10, 0, 10);
    }
    assert_eq!(flows.query().limit, 500);
    let mut flows = answered(sample::flows(FlowQuery::MAX_LIMIT as u16, 10));
    flows.command(Command::Last);
    flows.fit(10, 0, 10);
    assert_eq!(flows.query().limit, FlowQuery::MAX_LIMIT);
}

#[test]
fn another_run_forgets_the_flows_of_the_last() {
    let mut flows = answered(sample::flows(5, 10));
    flows.command(Command::Open);
    flows.forget();
    assert_eq!(flows.page(), None);
    assert!(!flows.detail().unwrap().listed);
}

#[test]
fn a_flow_is_looked_for_in_its_own_network_where_captures_tell_networks_apart() {
    let page = sample::flows(1, 10);
    let capture = |name: &str| {
        let file = vxtap_analyzers::snapshot::CaptureFile { name: name.into(), ..Default::default() };
        CaptureSnapshot { files: vec![file], ..CaptureSnapshot::default() }
    };
    let filter = |change: fn(&mut FlowSnapshot), file: &str| {
        let mut flow = page.flows[0].clone();
        change(&mut flow);
        let wanted = captured(&flow, Some(&capture(file)));
        assert_eq!(wanted.community_id, flow.community_id);
        wanted.filter
    };
    let compressed = "vxtap-20251121T020400Z-000001.pcapng.zst";
    assert_eq!(filter(|_| (), compressed), "vni 4242");
    assert_eq!(filter(|flow| flow.network_name = Some("blue sky".into()), compressed), "network \"blue sky\"");
    assert_eq!(filter(|flow| flow.network_name = Some("\"".into()), compressed), "");
    assert_eq!(filter(|flow| flow.network = None, compressed), "");
    assert_eq!(filter(|flow| flow.network = Some(1 << 24), compressed), "");
    assert_eq!(filter(|flow| flow.stream = "other streams".into(), compressed), "");
    assert_eq!(filter(|_| (), "vxtap-20251121T020400Z-000001.pcap"), "");
    assert_eq!(captured(&page.flows[0], None).filter, "vni 4242");
}
