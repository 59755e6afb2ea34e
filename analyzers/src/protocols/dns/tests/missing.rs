//! DNS over TCP behind gaps, and where a flow was picked up in the middle.

use serde_json::{Value, json};

use super::super::super::testing::{CLIENT, SERVER, Step, stream};
use super::super::DnsStream;
use super::{anomalies, dns, framed, header, name, query, question, record, response};

/// The question of a transfer of a zone.
fn transfer() -> Vec<u8> {
    framed(&[header(7, 0, [1, 0, 0, 0]), question("axfr.test", 252)].concat())
}

/// A message of a transfer with so many addresses, the first of them of host `first` (RFC 5936, section 2.2).
fn part_of_transfer(first: u16, count: u16, asks: u16) -> Vec<u8> {
    let mut message = header(7, 0x8400, [asks, count, 0, 0]);
    if asks == 1 {
        message.extend(question("axfr.test", 252));
    }
    // Where the name of the zone is: in the question, or behind the first label of the first record.
    let (mut owner, zone_at) = if asks == 1 { (None, 12) } else { (Some(name(&format!("h{first}.axfr.test"))), 18) };
    for host in first..first + count {
        let label = format!("h{host}");
        let pointing = [&[label.len() as u8], label.as_bytes(), &[0xc0, zone_at]].concat();
        let address = [&[0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 10, 2], &host.to_be_bytes()[..]].concat();
        message.extend([owner.take().unwrap_or(pointing), address].concat());
    }
    framed(&message)
}

/// Three messages, which end within segments.
fn zone() -> Vec<u8> {
    [part_of_transfer(0, 70, 1), part_of_transfer(2215, 80, 0), part_of_transfer(3700, 90, 0)].concat()
}

/// The same without what differs where bytes are missing.
fn strip(mut dns: Value) -> Value {
    for key in ["tx_id", "truncated", "response_time_us", "answers", "grouped"] {
        dns.as_object_mut().unwrap().remove(key);
    }
    dns
}

/// Nothing is told that is not in the whole, and what lacks answers is marked.
fn assert_no_more_than(events: &[Value], whole: &[Value], context: &str) {
    assert_eq!(anomalies(events), Vec::<&str>::new(), "{context}");
    let mut left = whole.to_vec();
    for told in dns(events) {
        let mut answers = told["answers"].as_array().cloned().unwrap_or_default();
        // The last record of what is cut may be there without its data.
        answers.pop_if(|last| told["truncated"] == true && last.get("rdata").is_none());
        let is_of = |message: &Value| {
            let there = message["answers"].as_array().cloned().unwrap_or_default();
            strip(message.clone()) == strip(told.clone())
                && there.starts_with(&answers)
                && (there.len() == answers.len() || told["truncated"] == true)
        };
        let place = left.iter().position(is_of).unwrap_or_else(|| panic!("{context}: invented {told}"));
        left.remove(place);
    }
}

#[test]
fn whatever_segment_of_a_transfer_is_lost_nothing_is_invented() {
    let (ask, zone) = (transfer(), zone());
    let whole = dns(&stream::<DnsStream>(&[Step::Data(CLIENT, &ask), Step::Data(SERVER, &zone)]).0);
    assert_eq!(whole.len(), 4);
    for size in 60..260 {
        let segments: Vec<_> = zone.chunks(size).collect();
        for lost in [0, 1, 2, segments.len() / 2, segments.len() - 1] {
            let mut steps = vec![Step::Data(CLIENT, &ask[..])];
            steps.extend(segments.iter().map(|segment| Step::Data(SERVER, segment)));
            steps[1 + lost] = Step::Gap(SERVER, segments[lost].len() as u64);
            let (events, _) = stream::<DnsStream>(&steps);
            assert_no_more_than(&events, &whole, &format!("segment {lost} of {size} bytes"));
        }
    }
}

#[test]
fn wherever_a_transfer_is_picked_up_nothing_is_invented() {
    let zone = zone();
    let whole = dns(&stream::<DnsStream>(&[Step::Data(SERVER, &zone)]).0);
    for start in 1..zone.len() {
        let mut steps = vec![Step::Unseen(CLIENT, true)];
        steps.extend(zone[start..].chunks(300).map(|segment| Step::Data(SERVER, segment)));
        let (events, _) = stream::<DnsStream>(&steps);
        assert_no_more_than(&events, &whole, &format!("from {start} on"));
    }
}

#[test]
fn the_rest_of_a_query_that_was_kept_until_an_answer_told_what_it_is_of_is_passed_over() {
    // The first two octets of a query are its length: what is behind the third is none.
    let (first, second) = (framed(&query(0x7804, "mail.ex.test")), framed(&query(0x7805, "www.ex.test")));
    let answer = framed(&response(0x7804, "mail.ex.test", &[record(1, &[1, 2, 3, 4])]));
    let later = framed(&response(0x7805, "www.ex.test", &[]));
    for start in 3..first.len() {
        let mut steps: Vec<_> = first[start..].chunks(7).map(|piece| Step::Data(CLIENT, piece)).collect();
        steps.extend([Step::Data(SERVER, &answer), Step::Data(CLIENT, &second), Step::Data(SERVER, &later)]);
        let (events, _) = stream::<DnsStream>(&steps);
        assert_eq!(anomalies(&events), Vec::<&str>::new(), "from {start} on");
        let told: Vec<_> = dns(&events).iter().map(|dns| (dns["type"].clone(), dns["id"].clone())).collect();
        let (request, response) = (json!("request"), json!("response"));
        let asked = (request, json!(0x7805));
        assert!(told.iter().all(|told| *told == asked || told.0 == response), "from {start} on: {told:?}");
        assert_eq!(told.iter().filter(|told| told.0 == response).count(), 2, "from {start} on");
    }
}

#[test]
fn behind_a_gap_an_answer_to_what_was_asked_is_told_as_far_as_it_goes() {
    let ask = framed(&query(9, "a.b"));
    let answer = framed(&response(9, "a.b", &[record(1, &[1, 2, 3, 4]), record(1, &[1, 2, 3, 5])]));
    let there = answer.len() - 6;
    for (asked, told) in [(true, 2), (false, 0)] {
        let mut steps = vec![Step::Gap(SERVER, 100), Step::Data(SERVER, &answer[..there]), Step::Gap(SERVER, 6)];
        if asked {
            steps.insert(0, Step::Data(CLIENT, &ask));
        }
        let (events, _) = stream::<DnsStream>(&steps);
        assert_eq!(anomalies(&events), Vec::<&str>::new());
        let messages = dns(&events);
        assert_eq!(messages.len(), told);
        assert!(messages.last().is_none_or(|last| last["truncated"] == true && last["response_time_us"].is_number()));
    }
}

#[test]
fn behind_a_gap_a_message_is_passed_over_that_the_side_does_not_send_or_that_is_not_whole_sense() {
    let sound = framed(&response(5, "a.b", &[record(1, &[1, 2, 3, 4])]));
    let mut longer = sound.clone();
    longer[1] += 1;
    longer.push(0);
    let reserved = framed(&[header(5, 0x81c0, [1, 0, 0, 0]), question("a.b", 1)].concat());
    let opcode = framed(&[header(5, 0x9980, [1, 0, 0, 0]), question("a.b", 1)].concat());
    let looped = framed(&[header(5, 0x8180, [1, 1, 0, 0]), question("a.b", 1), vec![0xc0, 21], vec![0; 10]].concat());
    let behind = [&sound[..], &[0, 3, 0]].concat();
    for (bytes, is_told) in [
        (&sound, true),
        (&framed(&query(5, "a.b")), false),
        (&longer, false),
        (&reserved, false),
        (&opcode, false),
        (&looped, false),
        (&behind, false),
    ] {
        let ask = framed(&query(4, "a.b"));
        let steps = [Step::Data(CLIENT, &ask), Step::Gap(SERVER, 10), Step::Data(SERVER, bytes)];
        let (events, _) = stream::<DnsStream>(&steps);
        let told = 1 + usize::from(is_told);
        assert_eq!((events.len(), dns(&events).len()), (told, told), "{bytes:?}");
    }
}

#[test]
fn what_is_wrong_with_the_first_message_of_a_flow_that_was_seen_from_its_start_is_told() {
    let broken = framed(&[header(5, 0x0100, [2, 0, 0, 0]), question("a.b", 1)].concat());
    let (events, _) = stream::<DnsStream>(&[Step::Data(CLIENT, &broken)]);
    assert_eq!((dns(&events).len(), anomalies(&events)), (1, vec!["malformed_data"]));
    let (events, _) = stream::<DnsStream>(&[Step::Unseen(SERVER, true), Step::Data(CLIENT, &broken)]);
    assert_eq!(events.len(), 0);
}

#[test]
fn a_question_between_the_segments_of_an_answer_does_not_hide_it() {
    let (first, second) = (framed(&query(1, "a.b")), framed(&query(2, "c.b")));
    let answer = framed(&response(1, "a.b", &[record(1, &[1, 2, 3, 4])]));
    let (begin, rest) = answer.split_at(20);
    let steps = [(CLIENT, &first[..]), (SERVER, begin), (CLIENT, &second), (SERVER, rest)]
        .map(|(side, bytes)| Step::Data(side, bytes));
    let (events, _) = stream::<DnsStream>(&steps);
    let told: Vec<_> = dns(&events).iter().map(|dns| (dns["id"].clone(), dns["truncated"].clone())).collect();
    assert_eq!(told, [1, 2, 1].map(|id| (json!(id), Value::Null)));
}

#[test]
fn behind_a_lost_segment_a_message_is_found_that_begins_in_the_middle_of_the_next_one() {
    let tell = |id, count| framed(&response(id, "a.b", &vec![record(1, &[1, 2, 3, 4]); count]));
    let questions = [1, 2, 3].map(|id| framed(&query(id, "a.b"))).concat();
    let (first, second, third) = (tell(1, 9), tell(2, 9), tell(3, 9));
    // The end of the first and the beginning of the second are lost; the third begins behind the rest of that.
    let begin = [&first[..], &second[..30]].concat();
    for missing in 1..second.len() - 30 {
        let rest = [&second[30 + missing..], &third].concat();
        let lost = (first.len() - 50, 80 + missing);
        for asked in [false, true] {
            let mut steps = vec![Step::Data(CLIENT, &questions), Step::Data(SERVER, &begin[..lost.0])];
            if !asked {
                steps[0] = Step::Unseen(CLIENT, true);
                // Nor is the beginning of what the server says.
                steps.truncate(1);
            }
            steps.extend([Step::Gap(SERVER, lost.1 as u64), Step::Data(SERVER, &rest)]);
            let (events, _) = stream::<DnsStream>(&steps);
            assert_eq!(anomalies(&events), Vec::<&str>::new(), "{missing}");
            let told = dns(&events);
            let responses: Vec<_> = told.iter().filter(|dns| dns["type"] == "response").collect();
            let last = responses.last().unwrap_or_else(|| panic!("{missing} asked {asked}: {told:?}"));
            assert_eq!((&last["id"], last["answers"].as_array().unwrap().len()), (&json!(3), 9), "{missing} {asked}");
            assert!(last.get("truncated").is_none());
            assert!(responses.len() <= 2 && responses.iter().all(|dns| dns["id"] != 2), "{missing} {asked}");
        }
        // Of an answer that was asked for the beginning is enough.
        let steps = [
            Step::Data(CLIENT, &questions),
            Step::Data(SERVER, &begin[..lost.0]),
            Step::Gap(SERVER, lost.1 as u64),
            Step::Data(SERVER, &rest[..rest.len() - 20]),
            Step::Data(SERVER, &rest[rest.len() - 20..]),
        ];
        let told = dns(&stream::<DnsStream>(&steps).0);
        assert!(told.last().is_some_and(|last| last["id"] == 3 && last.get("truncated").is_none()), "{missing}");
    }
}
