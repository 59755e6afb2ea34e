use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{CLIENT, SERVER, Step, damaged_stream, stream, stream_however_cut};
use super::super::{Guess, Next, Opening, Protocol, StreamProtocol};
use super::MySql;

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

fn greeting() -> Vec<u8> {
    let mut payload = b"\x0a8.0.36-test\0".to_vec();
    payload.extend([7, 0, 0, 0]);
    payload.extend(b"saltsalt\0\xff\xff\x21\x02\x00\xff\xdf\x15");
    payload.extend([0; 10]);
    payload.extend(b"saltsaltsalt\0caching_sha2_password\0");
    packet(0, &payload)
}

const CAPABILITIES: u32 = 1 << 3 | 1 << 9 | 1 << 15 | 1 << 19;

fn login(capabilities: u32) -> Vec<u8> {
    let mut payload = capabilities.to_le_bytes().to_vec();
    payload.extend([0; 28]);
    payload.extend(b"alice\0\x06SECRETshop\0mysql_native_password\0");
    packet(1, &payload)
}

fn ok(sequence: u8, affected: u8, status: u8) -> Vec<u8> {
    packet(sequence, &[0, affected, 0, status, 0, 0, 0])
}

fn query(text: &str) -> Vec<u8> {
    packet(0, &[b"\x03", text.as_bytes()].concat())
}

fn mysql(events: &[Value]) -> Vec<&Value> {
    events.iter().map(|event| &event["mysql"]).collect()
}

/// Packets of an answer, numbered from 1.
fn numbered(parts: Vec<&[u8]>) -> Vec<u8> {
    (1..).zip(parts).flat_map(|(sequence, part)| packet(sequence, part)).collect()
}

/// Columns, EOF, rows, EOF, numbered from 1; without the first EOF where `one_end` is set.
fn rows(one_end: bool) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = vec![b"\x02", b"\x03def1", b"\x03def2"];
    if !one_end {
        parts.push(b"\xfe\0\0\x02\0");
    }
    parts.extend([&b"\x01a\x02bc"[..], b"\x01d\xfb"]);
    parts.push(if one_end { b"\xfe\0\0\x02\0\0\0" } else { b"\xfe\0\0\x02\0" });
    numbered(parts)
}

#[test]
fn login_statements_and_results_are_told_without_the_password() {
    for one_end in [false, true] {
        let events = stream_however_cut::<MySql>(&[
            Step::Data(SERVER, &greeting()),
            Step::Data(CLIENT, &login(CAPABILITIES)),
            Step::Data(SERVER, &ok(2, 0, 2)),
            Step::Data(CLIENT, &query("SELECT a, b FROM t")),
            Step::Data(SERVER, &rows(one_end)),
            Step::Data(CLIENT, &query("SET PASSWORD = 'SECRET'")),
            Step::Data(SERVER, &packet(1, b"\xff\x28\x04#42000no")),
            Step::Data(CLIENT, &packet(0, b"\x01")),
        ]);
        assert!(!events.iter().any(|event| event.to_string().contains("SECRET")));
        let told = mysql(&events);
        assert_eq!(told[0]["version"], "8.0.36-test");
        assert_eq!(
            told[0]["request"],
            json!({"command": "login", "user": "alice", "database": "shop", "auth_plugin": "mysql_native_password"})
        );
        assert_eq!(told[1]["request"], json!({"command": "query", "query": "SELECT a, b FROM t", "bytes": 19}));
        assert_eq!(told[1]["response"], json!({"status": "ok", "columns": 2, "rows": 2, "bytes": 8}));
        assert_eq!(told[2]["response"], json!({"status": "error", "code": 1064, "sqlstate": "42000", "message": "no"}));
        assert_eq!(told[3]["request"], json!({"command": "quit"}));
        assert_eq!(told.len(), 4);
    }
}

#[test]
fn several_results_of_one_command_are_one_answer() {
    let select = rows(true);
    let more = [&ok(1, 3, 8)[..], &select].concat();
    let events = stream_however_cut::<MySql>(&[
        Step::Data(CLIENT, &query("UPDATE t SET a = 1; SELECT a, b FROM t")),
        Step::Data(SERVER, &more),
        Step::Data(CLIENT, &packet(0, b"\x0e")),
        Step::Data(SERVER, &ok(1, 0, 2)),
    ]);
    let told = mysql(&events);
    assert_eq!(
        told[0]["response"],
        json!({"status": "ok", "affected_rows": 3, "columns": 2, "rows": 2, "bytes": 8, "result_sets": 2})
    );
    assert_eq!(told[1]["request"]["command"], "ping");
}

#[test]
fn prepared_statements_have_numbers() {
    let prepared = [
        packet(1, &[0, 5, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0]),
        packet(2, b"\x03def?"),
        packet(3, b"\xfe\0\0\x02\0"),
        packet(4, b"\x03def1"),
        packet(5, b"\x03def2"),
        packet(6, b"\xfe\0\0\x02\0"),
    ]
    .concat();
    let events = stream_however_cut::<MySql>(&[
        Step::Data(CLIENT, &packet(0, b"\x16SELECT ?")),
        Step::Data(SERVER, &prepared),
        Step::Data(CLIENT, &packet(0, &[0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0])),
        Step::Data(SERVER, &rows(false)),
        Step::Data(CLIENT, &packet(0, &[0x19, 5, 0, 0, 0])),
    ]);
    let told = mysql(&events);
    assert_eq!(told[0]["response"], json!({"status": "ok", "statement_id": 5, "columns": 2}));
    assert_eq!(told[1]["request"], json!({"command": "stmt_execute", "statement_id": 5, "bytes": 10}));
    assert_eq!(told[1]["response"]["rows"], 2);
    assert_eq!(told[2]["request"]["command"], "stmt_close");
}

#[test]
fn columns_whose_definitions_the_client_has_kept_are_followed_by_rows() {
    for one_end in [false, true] {
        let end: &[u8] = if one_end { b"\xfe\0\0\x02\0\0\0" } else { b"\xfe\0\0\x02\0" };
        let mut kept: Vec<&[u8]> = vec![b"\x02\0"];
        if !one_end {
            kept.push(b"\xfe\0\0\x22\0");
        }
        kept.extend([&b"\0\0\x01a\x02bc"[..], b"\0\0\x01d\x01e", end]);
        let mut sent = kept.clone();
        sent.splice(..1, [&b"\x02\x01"[..], b"\x03def1", b"\x03def2"]);
        let none: Vec<&[u8]> = if one_end { vec![b"\x02\0", end] } else { vec![b"\x02\0", end, end] };
        let execute = packet(0, &[0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0]);
        let [sent, kept, none] = [sent, kept, none].map(numbered);
        let events = stream_however_cut::<MySql>(&[
            Step::Data(CLIENT, &execute),
            Step::Data(SERVER, &sent),
            Step::Data(CLIENT, &execute),
            Step::Data(SERVER, &kept),
            Step::Data(CLIENT, &execute),
            Step::Data(SERVER, &none),
            Step::Data(CLIENT, &packet(0, b"\x0e")),
            Step::Data(SERVER, &ok(1, 0, 2)),
        ]);
        let told = mysql(&events);
        let rows: Vec<_> = told.iter().map(|event| &event["response"]["rows"]).collect();
        assert_eq!(rows, [&json!(2), &json!(2), &json!(0), &Value::Null]);
        assert_eq!(told[1]["response"], json!({"status": "ok", "columns": 2, "rows": 2, "bytes": 13}));
        assert_eq!(told[3]["request"]["command"], "ping");
    }
}

#[test]
fn reports_of_how_far_a_server_is_are_no_answers() {
    let report = b"\xff\xff\xff\x01\x01\x02\0\0\0\x0dEnabling keys";
    let answer = numbered(vec![report, report, b"\0\x03\0\x02\0\0\0"]);
    // So many that their numbers begin again.
    let many: Vec<u8> = (1..=257u16).flat_map(|number| packet(number as u8, report)).collect();
    let failed = packet(2, b"\xff\x28\x04#42000no");
    let events = stream_however_cut::<MySql>(&[
        Step::Data(CLIENT, &query("ALTER TABLE t ADD KEY (a)")),
        Step::Data(SERVER, &answer),
        Step::Data(CLIENT, &query("ALTER TABLE t ADD KEY (b)")),
        Step::Data(SERVER, &many),
        Step::Data(SERVER, &failed),
        Step::Data(CLIENT, &query("SELECT a, b FROM t")),
        Step::Data(SERVER, &rows(true)),
    ]);
    let told = mysql(&events);
    assert_eq!(told[0]["response"], json!({"status": "ok", "affected_rows": 3}));
    assert_eq!(told[1]["response"]["code"], 1064);
    assert_eq!((told.len(), &told[2]["response"]["rows"]), (3, &json!(2)));
}

#[test]
fn tls_and_compression_end_what_can_be_read() {
    let mut ask = (CAPABILITIES | 1 << 11).to_le_bytes().to_vec();
    ask.extend([0; 28]);
    let (events, next) = stream::<MySql>(&[Step::Data(SERVER, &greeting()), Step::Data(CLIENT, &packet(1, &ask))]);
    assert_eq!(next, Next::Becomes(Protocol::Tls));
    assert_eq!(mysql(&events)[0]["request"], json!({"command": "ssl_request"}));
    let (events, next) = stream::<MySql>(&[
        Step::Data(SERVER, &greeting()),
        Step::Data(CLIENT, &login(CAPABILITIES | 1 << 5)),
        Step::Data(SERVER, &ok(2, 0, 2)),
    ]);
    assert_eq!((events.len(), next), (1, Next::Done));
}

#[test]
fn a_row_of_more_than_one_packet_is_one_and_is_not_kept() {
    let mut answer = [packet(1, b"\x01"), packet(2, b"\x03def"), packet(3, b"\xfe\0\0\x02\0")].concat();
    answer.extend([0xff, 0xff, 0xff, 4, 0xfd]);
    answer.extend(vec![b'x'; 0x00ff_fffe]);
    answer.extend(packet(5, b"rest"));
    answer.extend(packet(6, b"\xfe\0\0\x02\0"));
    let (events, _) = stream::<MySql>(&[Step::Data(CLIENT, &query("SELECT 1")), Step::Data(SERVER, &answer)]);
    assert_eq!(mysql(&events)[0]["response"]["rows"], 1);
    assert_eq!(mysql(&events)[0]["response"]["bytes"], 0x00ff_ffff + 4);
}

/// A command of two packets.
fn long_command(start: &[u8], more: &[u8]) -> Vec<u8> {
    let mut sent = vec![0xff, 0xff, 0xff, 0];
    sent.extend(start);
    sent.resize(4 + 0x00ff_ffff, b'x');
    sent.extend(packet(1, more));
    sent
}

#[test]
fn a_command_of_more_than_one_packet_is_one_and_gets_its_own_answer() {
    for more in [&b"rest"[..], b""] {
        let long = long_command(b"\x03INSERT INTO t VALUES ('", more);
        let (events, _) = stream::<MySql>(&[
            Step::Data(CLIENT, &query("SELECT 1")),
            Step::Data(SERVER, &rows(true)),
            Step::Data(CLIENT, &long),
            Step::Data(SERVER, &ok(2, 7, 2)),
            Step::Data(CLIENT, &query("SELECT a, b FROM t")),
            Step::Data(SERVER, &rows(true)),
        ]);
        let told = mysql(&events);
        assert_eq!(told[1]["request"]["bytes"], 0x00ff_ffff + more.len());
        assert_eq!(told[1]["response"], json!({"status": "ok", "affected_rows": 7}));
        assert_eq!((told.len(), &told[2]["response"]["rows"]), (3, &json!(2)));
    }
}

#[test]
fn a_command_of_more_than_one_packet_is_told_when_it_is_whole_or_cannot_be() {
    let data = long_command(b"\x18\x05\0\0\0\0\0", b"rest");
    let prepared = numbered(vec![&[0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], b"\x03def1", b"\xfe\0\0\x02\0"]);
    let long = long_command(b"\x17\x05\0\0\0\0\x01\0\0\0", b"rest");
    let (events, _) = stream::<MySql>(&[
        Step::Data(CLIENT, &packet(0, b"\x16SELECT ?")),
        Step::Data(CLIENT, &data),
        Step::Data(CLIENT, &long),
        Step::Data(SERVER, &prepared),
        Step::Data(SERVER, &ok(2, 7, 2)),
        Step::Data(CLIENT, &long[..1000]),
        Step::Gap(CLIENT, 1 << 25),
    ]);
    let told = mysql(&events);
    assert_eq!(told[0]["request"], json!({"command": "stmt_send_long_data", "statement_id": 5, "bytes": 0x0100_0003}));
    assert_eq!(told[1]["response"]["statement_id"], 5);
    assert_eq!(told[2]["response"], json!({"status": "ok", "affected_rows": 7}));
    assert_eq!((told.len(), &told[3]["response"], &told[3]["truncated"]), (4, &Value::Null, &json!(true)));
}

/// Packets of a file that each look like a command, from 2 on, so many that one has the number 0.
fn file() -> Vec<u8> {
    (2..=300u16).flat_map(|number| packet(number as u8, b"\x0a1\t2\n")).collect()
}

#[test]
fn a_file_that_the_client_sends_is_no_command() {
    let (ask, asked) = (query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"), packet(1, b"\xfbf"));
    let (file, end) = (file(), packet(45, b""));
    // A server's error does not end the file.
    for answer in [ok(46, 9, 2), packet(46, b"\xff\x28\x04#42000no")] {
        for first in [&end, &answer] {
            let second = if first == &end { (SERVER, &answer) } else { (CLIENT, &end) };
            let first = if first == &end { (CLIENT, &end) } else { (SERVER, &answer) };
            let events = stream_however_cut::<MySql>(&[
                Step::Data(CLIENT, &ask),
                Step::Data(SERVER, &asked),
                Step::Data(CLIENT, &file),
                Step::Data(first.0, first.1),
                Step::Data(second.0, second.1),
                Step::Data(CLIENT, &query("SELECT a, b FROM t")),
                Step::Data(SERVER, &rows(true)),
            ]);
            let told = mysql(&events);
            assert_eq!(told.len(), 2);
            assert!(told[0]["response"]["affected_rows"] == 9 || told[0]["response"]["code"] == 1064);
            assert_eq!(told[1]["response"]["rows"], 2);
        }
    }
}

#[test]
fn a_file_of_which_bytes_are_missing_leaves_no_answer_in_doubt() {
    let (ask, asked) = (query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"), packet(1, b"\xfbf"));
    let (file, next, answer) = (file(), query("SELECT a, b FROM t"), rows(true));
    let rest = [&file[1901..], &packet(45, b"")[..]].concat();
    let loaded = ok(46, 9, 2);
    let client_lost = [
        Step::Data(SERVER, &asked),
        Step::Data(CLIENT, &file[..901]),
        Step::Gap(CLIENT, 1000),
        Step::Data(CLIENT, &rest),
        Step::Data(SERVER, &loaded),
    ];
    let server_lost = [
        Step::Gap(SERVER, 6),
        Step::Data(CLIENT, &file),
        Step::Data(CLIENT, &packet(45, b"")),
        Step::Data(SERVER, &loaded),
    ];
    let end_lost = [
        Step::Data(SERVER, &asked),
        Step::Data(CLIENT, &file),
        Step::Gap(SERVER, 11),
        Step::Data(CLIENT, &packet(45, b"")),
    ];
    for lost in [&client_lost[..], &server_lost, &end_lost] {
        let mut steps = vec![Step::Data(CLIENT, &ask)];
        steps.extend_from_slice(lost);
        steps.extend([Step::Data(CLIENT, &next), Step::Data(SERVER, &answer)]);
        let events = stream::<MySql>(&steps).0;
        let told = mysql(&events);
        assert_eq!((told.len(), &told[0]["truncated"], &told[1]["response"]["rows"]), (2, &json!(true), &json!(2)));
    }
}

#[test]
fn answers_to_more_commands_than_can_wait_are_skipped_and_later_ones_stay_right() {
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    for number in 0..60 {
        if number % 2 == 0 {
            asked.extend(query("UPDATE t SET a = 1"));
            answered.extend(ok(1, number, 2));
        } else {
            asked.extend(packet(0, b"\x04t\0"));
            answered.extend(numbered(vec![b"\x03def1", b"\xfe\0\0\x02\0"]));
        }
    }
    let events = stream_however_cut::<MySql>(&[
        Step::Data(CLIENT, &asked),
        Step::Data(SERVER, &answered),
        Step::Data(CLIENT, &query("SELECT a, b FROM t")),
        Step::Data(SERVER, &rows(true)),
    ]);
    assert_eq!(events.len(), 61);
    // The rest of the pipeline is told first.
    let told = mysql(&events);
    for (number, event) in (32..60).chain(0..32).zip(&told) {
        let command = if number % 2 == 0 { "query" } else { "field_list" };
        assert_eq!(event["request"]["command"], command);
        if number >= 32 {
            assert_eq!((&event["response"], &event["truncated"]), (&Value::Null, &json!(true)));
        } else if number % 2 == 0 {
            assert_eq!(event["response"]["affected_rows"], number);
        } else {
            assert_eq!(event["response"]["rows"], 1);
        }
    }
    assert_eq!(told[60]["response"]["rows"], 2);
}

#[test]
fn answers_to_more_commands_than_can_be_counted_go_to_none() {
    let asked: Vec<u8> = (0..5000).flat_map(|_| packet(0, b"\x0e")).collect();
    let (events, _) = stream::<MySql>(&[
        Step::Data(CLIENT, &query("SELECT a, b FROM t")),
        Step::Data(CLIENT, &asked),
        Step::Data(SERVER, &rows(true)),
        Step::Data(CLIENT, &query("SELECT 1")),
        Step::Data(SERVER, &ok(1, 0, 2)),
    ]);
    assert_eq!(events.len(), 5002);
    assert!(mysql(&events).iter().all(|event| event["response"].is_null() && event["truncated"] == true));
}

#[test]
fn after_a_gap_the_command_is_told_as_cut_and_the_next_one_is_read() {
    let answer = rows(false);
    let (events, _) = stream::<MySql>(&[
        Step::Data(CLIENT, &query("SELECT a FROM t")),
        Step::Data(SERVER, &answer[..20]),
        Step::Gap(SERVER, 900),
        Step::Data(SERVER, &answer[20..]),
        Step::Data(CLIENT, &query("SELECT b FROM t")),
        Step::Data(SERVER, &answer),
    ]);
    let told = mysql(&events);
    assert_eq!((told.len(), &told[0]["truncated"]), (2, &json!(true)));
    assert_eq!(told[1]["response"]["rows"], 2);
    assert_eq!(told[1]["truncated"], Value::Null);
}

#[test]
fn after_the_heads_of_several_answers_are_lost_the_next_command_gets_its_own() {
    let answer = rows(false);
    let select = query("SELECT a, b FROM t");
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.extend([Step::Data(CLIENT, &select), Step::Gap(SERVER, 20), Step::Data(SERVER, &answer[20..])]);
    }
    let (set, done, select_one) = (query("SET a = 1"), ok(1, 9, 2), query("SELECT 1"));
    let next = [Step::Data(CLIENT, &set), Step::Data(SERVER, &done)];
    steps.extend(next);
    steps.extend([Step::Data(CLIENT, &select_one), Step::Data(SERVER, &answer)]);
    let (events, _) = stream::<MySql>(&steps);
    let told = mysql(&events);
    assert_eq!(told.len(), 5);
    for event in &told[..3] {
        assert_eq!((&event["response"], &event["truncated"]), (&Value::Null, &json!(true)));
    }
    assert_eq!((&told[3]["response"]["affected_rows"], &told[3]["truncated"]), (&json!(9), &Value::Null));
    assert_eq!((&told[4]["request"]["query"], &told[4]["response"]["rows"]), (&json!("SELECT 1"), &json!(2)));
}

#[test]
fn after_a_loss_no_answer_goes_to_commands_asked_at_once() {
    let select = query("SELECT a, b FROM t");
    let (first, second) = (query("SET a = 1"), query("SET a = 2"));
    let both = [&first[..], &second].concat();
    let (events, _) = stream::<MySql>(&[
        Step::Data(CLIENT, &select),
        Step::Gap(SERVER, 90),
        Step::Data(CLIENT, &both),
        Step::Data(SERVER, &ok(1, 1, 2)),
        Step::Data(SERVER, &ok(1, 2, 2)),
        Step::Data(CLIENT, &select),
        Step::Data(SERVER, &rows(true)),
    ]);
    let told = mysql(&events);
    let responses: Vec<_> = told.iter().map(|event| event["response"].is_null()).collect();
    assert_eq!(responses, [true, true, true, false]);
    assert_eq!((&told[3]["response"]["rows"], &told[3]["truncated"]), (&json!(2), &Value::Null));
}

#[test]
fn packets_that_the_mirror_cut_keep_their_commands() {
    let answer = rows(true);
    let (greeting, login) = (greeting(), login(CAPABILITIES));
    let mut steps = Vec::new();
    let sent = [
        (SERVER, &greeting),
        (CLIENT, &login),
        (SERVER, &ok(2, 0, 2)),
        (CLIENT, &query("SELECT a, b FROM t")),
        (SERVER, &answer),
    ];
    for (side, bytes) in sent {
        steps.push(Step::Data(side, &bytes[..bytes.len().min(30)]));
        if bytes.len() > 30 {
            steps.push(Step::Gap(side, bytes.len() as u64 - 30));
        }
    }
    let (events, _) = stream::<MySql>(&steps);
    let told = mysql(&events);
    assert_eq!((&told[0]["version"], &told[0]["response"]["status"]), (&json!("8.0.36-test"), &json!("ok")));
    assert_eq!(told[1]["request"]["query"], "SELECT a, b FROM t");
    assert_eq!((&told[1]["response"]["columns"], &told[1]["truncated"]), (&json!(2), &json!(true)));
}

/// A query with attributes in front of its text: a string, a number, and one that is null.
fn query_with_attributes(text: &str) -> Vec<u8> {
    let types = b"\x01\xfe\0\x01a\x08\x80\x02id\xfe\0\x04none";
    let values = b"\x05value\x01\x02\x03\x04\x05\x06\x07\x08";
    packet(0, &[b"\x03\x03\x01\x04", &types[..], values, text.as_bytes()].concat())
}

#[test]
fn the_text_of_a_query_is_found_behind_its_attributes_whatever_is_known_of_the_client() {
    let none = packet(0, b"\x03\0\x01SELECT 1");
    let some = query_with_attributes("SELECT 1");
    let plain = query("SELECT 1");
    let (greeting, login, welcome, answer) = (greeting(), login(CAPABILITIES | 1 << 27), ok(2, 0, 2), rows(true));
    let logs_in = [Step::Data(SERVER, &greeting), Step::Data(CLIENT, &login), Step::Data(SERVER, &welcome)];
    for asked in [&none, &some, &plain] {
        for before in [&logs_in[..], &[]] {
            let steps = [before, &[Step::Data(CLIENT, asked), Step::Data(SERVER, &answer)]].concat();
            let (events, _) = stream::<MySql>(&steps);
            let told = mysql(&events)[before.len() / 3].clone();
            assert_eq!(
                (&told["request"]["query"], &told["truncated"]),
                (&json!("SELECT 1"), &Value::Null),
                "{asked:?}"
            );
        }
    }
}

#[test]
fn a_query_whose_text_is_cut_off_or_behind_what_is_not_known_is_told_without_and_marked() {
    let some = query_with_attributes("SELECT 1");
    let unknown = packet(0, b"\x03\x01\x01\0\x01\xe0\0\x01a??SELECT 1");
    for (asked, shown) in [(&some, 8), (&some, 30), (&some, some.len() - 8), (&unknown, unknown.len())] {
        let (events, _) = stream::<MySql>(&[
            Step::Data(CLIENT, &asked[..shown]),
            Step::Gap(CLIENT, (asked.len() - shown) as u64),
            Step::Data(SERVER, &rows(true)),
        ]);
        let told = mysql(&events)[0].clone();
        assert_eq!((&told["request"]["query"], &told["truncated"]), (&Value::Null, &json!(true)), "{shown}");
        assert_eq!(told["response"]["rows"], 2);
    }
}

#[test]
fn a_statement_that_is_longer_than_is_told_is_marked() {
    for (length, mark) in [(1024, Value::Null), (1025, json!(true))] {
        let (events, _) =
            stream::<MySql>(&[Step::Data(CLIENT, &query(&"x".repeat(length))), Step::Data(SERVER, &ok(1, 0, 2))]);
        assert_eq!(mysql(&events)[0]["truncated"], mark, "{length}");
    }
}

#[test]
fn of_cut_packets_no_half_name_and_no_number_that_is_not_there_is_told() {
    let login = login(CAPABILITIES);
    let user = login.windows(5).position(|text| text == b"alice").unwrap();
    // Within the user, and within the database.
    for (shown, name) in [(user + 3, Value::Null), (user + 15, json!("alice"))] {
        let (events, _) = stream::<MySql>(&[
            Step::Data(SERVER, &greeting()[..9]),
            Step::Gap(SERVER, greeting().len() as u64 - 9),
            Step::Data(CLIENT, &login[..shown]),
            Step::Gap(CLIENT, (login.len() - shown) as u64),
            Step::Data(SERVER, &ok(2, 0, 2)),
        ]);
        let told = mysql(&events)[0].clone();
        assert_eq!((&told["version"], &told["request"]["user"]), (&Value::Null, &name));
        assert_eq!((&told["request"]["database"], &told["truncated"]), (&Value::Null, &json!(true)));
    }
    let database = packet(0, b"\x02production");
    let error = packet(1, b"\xff\x10\x04#42S02No such table");
    let done = ok(1, 7, 2);
    for (answer, shown, told_of_it) in [
        (&error, 5, json!({"status": "error"})),
        (&error, 9, json!({"status": "error", "code": 1040})),
        (&done, 5, json!({"status": "ok"})),
    ] {
        let (events, _) = stream::<MySql>(&[
            Step::Data(CLIENT, &database[..9]),
            Step::Gap(CLIENT, database.len() as u64 - 9),
            Step::Data(SERVER, &answer[..shown]),
            Step::Gap(SERVER, (answer.len() - shown) as u64),
        ]);
        let told = mysql(&events)[0].clone();
        assert_eq!(told["request"], json!({"command": "init_db"}));
        assert_eq!((&told["response"], &told["truncated"]), (&told_of_it, &json!(true)));
    }
}

#[test]
fn commands_whose_answers_the_mirror_does_not_show_are_marked() {
    for unseen in [true, false] {
        let (events, _) = stream::<MySql>(&[Step::Unseen(SERVER, unseen), Step::Data(CLIENT, &query("SELECT 1"))]);
        assert_eq!(mysql(&events)[0]["truncated"], if unseen { json!(true) } else { Value::Null });
    }
}

#[test]
fn a_server_that_is_picked_up_in_the_middle_of_a_row_hides_no_later_answer() {
    let (events, _) = stream::<MySql>(&[
        Step::Joined(SERVER),
        Step::Data(SERVER, b"the middle of a row of an answer"),
        Step::Data(CLIENT, &query("SELECT 1")),
        Step::Data(SERVER, &rows(true)),
    ]);
    let told = mysql(&events);
    assert_eq!((&told[0]["response"]["rows"], &told[0]["truncated"]), (&json!(2), &Value::Null));
}

#[test]
fn mysql_is_recognised_by_its_greeting_and_in_the_middle_by_a_statement() {
    fn open(originator: &[u8], responder: &[u8], port: u16) -> Guess {
        MySql::recognise(&Opening { originator, responder, originator_port: 40_000, responder_port: port })
    }
    assert_eq!(open(b"", &greeting(), 9), Guess::Yes);
    assert_eq!(open(b"", &greeting()[..6], 9), Guess::Perhaps);
    assert_eq!(open(&query("SELECT 1"), b"", 9), Guess::Yes);
    assert_eq!([open(&packet(0, b"\x0e"), b"", 3306), open(&packet(0, b"\x0e"), b"", 9)], [Guess::Yes, Guess::No]);
    // The greeting was not seen.
    assert_eq!(open(&login(CAPABILITIES), b"", 9), Guess::Yes);
    assert_eq!([open(&login(CAPABILITIES)[..20], b"", 9), open(&login(0), b"", 9)], [Guess::Perhaps, Guess::No]);
    assert_eq!(open(b"GET / HTTP/1.1", b"", 9), Guess::No);
    assert_eq!(open(b"", b"SSH-2.0-x", 9), Guess::No);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_any_pieces_never_panic(noise in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8), cut in 1usize..80, gap in 0u64..100) {
        let mut sides = [
            (CLIENT, [login(CAPABILITIES), query("SELECT 1"), packet(0, b"\x16SELECT ?"), query("SELECT 2")].concat()),
            (SERVER, [greeting(), ok(2, 0, 2), rows(false), ok(1, 0, 2), rows(true)].concat()),
        ];
        damaged_stream::<MySql>(&mut sides, &noise, cut, gap);
    }
}

#[test]
fn after_missing_bytes_a_list_of_fields_is_known_for_a_command() {
    let begins =
        |payload: &[u8]| super::Command::begins(&[&(payload.len() as u32).to_le_bytes()[..3], &[0], payload].concat());
    assert_eq!(begins(b"\x04orders\0"), Guess::Yes);
    assert_eq!(begins(b"\x04orders\0%"), Guess::Yes);
    assert_eq!(begins(b"\x04orders"), Guess::No);
    assert_eq!(begins(b"\x04or\x02ders\0"), Guess::No);
    assert_eq!(begins(b"\x04\0"), Guess::No);
}
