use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{CLIENT, Recorder, SERVER, Step, damaged_stream, stream, stream_however_cut};
use super::super::{Guess, Next, Opening, Protocol, Side, StreamProtocol};
use super::PostgreSql;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

fn startup() -> Vec<u8> {
    let body = b"\x00\x03\x00\x00user\0alice\0database\0shop\0application_name\0psql\0\0";
    [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

fn pgsql(events: &[Value]) -> Vec<&Value> {
    events.iter().map(|event| &event["pgsql"]).collect()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn select() -> Vec<u8> {
    let row = b"\x00\x02\x00\x00\x00\x01a\xff\xff\xff\xff";
    [message(b'T', b"\x00\x02columns"), message(b'D', row), message(b'D', row), message(b'C', b"SELECT 2\0")].concat()
}

#[test]
fn login_and_simple_queries_are_told_without_the_password() {
    let md5 = message(b'R', b"\x00\x00\x00\x05salt");
    let welcome = [
        message(b'R', b"\x00\x00\x00\x00"),
        message(b'S', b"TimeZone\0UTC\0"),
        message(b'K', b"\x00\x00\x00\x07keys"),
        ready(),
    ]
    .concat();
    let error = [message(b'E', b"SERROR\0VERROR\0C42P01\0Mno such table\0\0"), ready()].concat();
    let events = stream_however_cut::<PostgreSql>(&[
        Step::Data(CLIENT, &startup()),
        Step::Data(SERVER, &md5),
        Step::Data(CLIENT, &message(b'p', b"md5SECRET\0")),
        Step::Data(SERVER, &welcome),
        Step::Data(CLIENT, &message(b'Q', b"SELECT a, b FROM t\0")),
        Step::Data(SERVER, &[select(), ready()].concat()),
        Step::Data(CLIENT, &message(b'Q', b"ALTER ROLE a PASSWORD 'SECRET'\0")),
        Step::Data(SERVER, &error),
        Step::Data(CLIENT, &message(b'X', b"")),
    ]);
    assert!(!events.iter().any(|event| event.to_string().contains("SECRET")));
    let told = pgsql(&events);
    assert_eq!(
        told[0]["request"],
        json!({"protocol_version": "3.0", "startup_parameters": {
            "user": "alice", "optional_parameters": [{"database": "shop"}, {"application_name": "psql"}]}})
    );
    assert_eq!(told[0]["response"], json!({"message": "authentication_md5_password"}));
    assert_eq!(
        told[1]["response"],
        json!({"message": "authentication_ok", "parameter_status": [{"time_zone": "UTC"}], "process_id": 7})
    );
    assert_eq!(told[2]["request"], json!({"simple_query": "SELECT a, b FROM t"}));
    assert_eq!(
        told[2]["response"],
        json!({"field_count": 2, "data_rows": 2, "data_size": 2, "command_completed": "SELECT 2"})
    );
    assert_eq!(
        (&told[3]["response"]["code"], &told[3]["response"]["message"]),
        (&json!("42P01"), &json!("no such table"))
    );
    assert_eq!(told[4]["request"], json!({"message": "termination_message"}));
    assert_eq!(told.len(), 5);
}

#[test]
fn extended_statements_are_told_one_by_one_also_when_they_are_pipelined() {
    let statement = |name: &[u8], text: &[u8]| {
        [
            message(b'P', &[name, b"\0", text, b"\0\0\0"].concat()),
            message(b'B', &[b"\0", name, b"\0\0\0\0\0\0\0"].concat()),
            message(b'D', b"P\0"),
            message(b'E', b"\0\0\0\0\0"),
        ]
        .concat()
    };
    let asked = [statement(b"one", b"SELECT $1"), statement(b"", b"UPDATE t"), message(b'S', b"")].concat();
    let answered = [
        message(b'1', b""),
        message(b'2', b""),
        select(),
        message(b'1', b""),
        message(b'2', b""),
        message(b'n', b""),
        message(b'C', b"UPDATE 3\0"),
        ready(),
    ]
    .concat();
    let again = [message(b'B', b"\0one\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
    let failed = [message(b'E', b"SERROR\0C22012\0Mdivision by zero\0\0"), ready()].concat();
    let events = stream_however_cut::<PostgreSql>(&[
        Step::Data(CLIENT, &startup()),
        Step::Data(SERVER, &[message(b'R', b"\0\0\0\0"), ready()].concat()),
        Step::Data(CLIENT, &asked),
        Step::Data(SERVER, &answered),
        Step::Data(CLIENT, &again),
        Step::Data(SERVER, &failed),
    ]);
    let told = pgsql(&events);
    assert_eq!(told[1]["request"], json!({"extended_query": "SELECT $1", "statement": "one"}));
    assert_eq!(told[1]["response"]["data_rows"], 2);
    assert_eq!(told[2]["request"], json!({"extended_query": "UPDATE t"}));
    assert_eq!(told[2]["response"], json!({"command_completed": "UPDATE 3"}));
    assert_eq!(told[3]["request"], json!({"message": "execute", "statement": "one"}));
    assert_eq!(told[3]["response"]["code"], "22012");
    assert_eq!(told.len(), 4);
}

#[test]
fn a_description_is_told_as_such_and_not_as_an_execution() {
    let sync = message(b'S', b"");
    let bind = [message(b'B', b"\0one\0\0\0\0\0\0\0"), message(b'D', b"P\0")].concat();
    let described = [message(b't', b"\0\0"), message(b'n', b""), ready()].concat();
    let events = stream_however_cut::<PostgreSql>(&[
        Step::Data(CLIENT, &[message(b'D', b"Sone\0"), sync.clone()].concat()),
        Step::Data(SERVER, &described),
        Step::Data(CLIENT, &[bind, message(b'E', &[0; 5]), sync.clone()].concat()),
        Step::Data(SERVER, &[select(), ready()].concat()),
        Step::Data(CLIENT, &[message(b'D', b"Pportal\0"), message(b'E', b"portal\0\0\0\0\0"), sync].concat()),
        Step::Data(SERVER, &[select(), ready()].concat()),
    ]);
    let told = pgsql(&events);
    assert_eq!(told[0]["request"], json!({"message": "describe", "statement": "one"}));
    assert_eq!(told[1]["request"], json!({"message": "execute", "statement": "one"}));
    assert_eq!(told[2]["request"], json!({"message": "execute"}));
    assert_eq!(told.len(), 3);
}

#[test]
fn encryption_is_followed_where_it_is_granted() {
    let ask = [0, 0, 0, 8, 4, 210, 22, 47];
    let (events, next) = stream::<PostgreSql>(&[Step::Data(CLIENT, &ask), Step::Data(SERVER, b"S")]);
    assert_eq!(next, Next::Becomes(Protocol::Tls));
    assert_eq!(pgsql(&events)[0]["request"], json!({"message": "SSL Request"}));
    assert_eq!(pgsql(&events)[0]["response"], json!({"ssl_accepted": true}));
    let (events, next) = stream::<PostgreSql>(&[
        Step::Data(CLIENT, &ask),
        Step::Data(SERVER, b"N"),
        Step::Data(CLIENT, &startup()),
        Step::Data(SERVER, &message(b'E', b"SFATAL\0C28000\0Mno\0\0")),
    ]);
    assert_eq!(next, Next::More);
    assert_eq!(pgsql(&events)[0]["response"], json!({"ssl_accepted": false}));
    assert_eq!(pgsql(&events)[1]["response"]["code"], "28000");
}

#[test]
fn copied_data_is_counted() {
    let (events, _) = stream::<PostgreSql>(&[
        Step::Data(CLIENT, &message(b'Q', b"COPY t FROM STDIN\0")),
        Step::Data(SERVER, &message(b'G', b"\0\0\0")),
        Step::Data(CLIENT, &[message(b'd', b"1\ta\n"), message(b'd', b"2\tb\n"), message(b'c', b"")].concat()),
        Step::Data(SERVER, &[message(b'C', b"COPY 2\0"), ready()].concat()),
    ]);
    assert_eq!(
        pgsql(&events)[0]["response"],
        json!({"copy_messages": 2, "copy_size": 8, "command_completed": "COPY 2"})
    );
}

#[test]
fn a_sync_that_the_server_leaves_out_while_it_copies_in_shifts_no_answer() {
    let execute =
        [message(b'P', b"\0COPY t FROM STDIN\0\0\0"), message(b'B', &[0; 8]), message(b'E', &[0; 5])].concat();
    let sync = message(b'S', b"");
    let data = message(b'd', b"1\ta\n");
    let begins = [message(b'1', b""), message(b'2', b""), message(b'G', b"\0\0\0")].concat();
    let done = [message(b'C', b"COPY 1\0"), ready()].concat();
    let failed = [message(b'E', b"SERROR\0C57014\0Mno\0\0"), ready()].concat();
    let asked = [&execute[..], &sync].concat();
    let copied = [&data[..], &message(b'c', b""), &sync].concat();
    let gave_up = [&data[..], &message(b'f', b"no\0"), &sync].concat();
    let late = [&sync[..], &copied].concat();
    let next =
        [Step::Data(CLIENT, &message(b'Q', b"SELECT a FROM t\0")), Step::Data(SERVER, &[select(), ready()].concat())];
    for steps in [
        [
            Step::Data(CLIENT, &asked),
            Step::Data(SERVER, &begins),
            Step::Data(CLIENT, &copied),
            Step::Data(SERVER, &done),
        ],
        [
            Step::Data(CLIENT, &asked),
            Step::Data(SERVER, &begins),
            Step::Data(CLIENT, &gave_up),
            Step::Data(SERVER, &failed),
        ],
        // The Sync comes only behind the server's answer.
        [
            Step::Data(CLIENT, &execute),
            Step::Data(SERVER, &begins),
            Step::Data(CLIENT, &late),
            Step::Data(SERVER, &done),
        ],
        // What the client copies is seen before the server's answer.
        [
            Step::Data(CLIENT, &asked),
            Step::Data(CLIENT, &copied),
            Step::Data(SERVER, &begins),
            Step::Data(SERVER, &done),
        ],
        // The server ends it by itself.
        [
            Step::Data(CLIENT, &asked),
            Step::Data(SERVER, &[&begins[..], &failed[..failed.len() - 6]].concat()),
            Step::Data(CLIENT, &copied),
            Step::Data(SERVER, &ready()),
        ],
    ] {
        let (events, _) = stream::<PostgreSql>(&[&steps[..], &next[..]].concat());
        let told = pgsql(&events);
        assert_eq!(told[0]["request"], json!({"extended_query": "COPY t FROM STDIN"}));
        assert!(
            told[0]["response"]["command_completed"] == "COPY 1" || told[0]["response"]["code"] == "57014",
            "{told:?}"
        );
        assert_eq!((&told[1]["response"]["data_rows"], told.len()), (&json!(2), 2), "{told:?}");
    }
}

#[test]
fn the_statements_of_a_pipeline_beyond_the_bound_are_told_without_answers_and_shift_none() {
    fn asked(text: &str) -> Vec<u8> {
        let parse = message(b'P', format!("\0{text}\0\0\0").as_bytes());
        [parse, message(b'B', &[0; 8]), message(b'D', b"P\0"), message(b'E', &[0; 5])].concat()
    }
    fn answered(tag: &str) -> Vec<u8> {
        let done = message(b'C', format!("{tag}\0").as_bytes());
        [message(b'1', b""), message(b'2', b""), message(b'n', b""), done].concat()
    }
    let sync = message(b'S', b"");
    let statements = |count: usize| (0..count).map(|number| asked(&format!("STATEMENT {number}")));
    let answers = |count: usize| (0..count).map(|number| answered(&format!("STATEMENT {number}")));
    let failed = message(b'E', b"SERROR\0C22012\0Mdivision by zero\0\0");
    let one_sync = statements(100).chain([sync.clone()]).collect::<Vec<_>>().concat();
    let one_ready = answers(100).chain([ready()]).collect::<Vec<_>>().concat();
    let one_error = answers(10).chain([failed.clone(), ready()]).collect::<Vec<_>>().concat();
    let error_beyond = answers(80).chain([failed, ready()]).collect::<Vec<_>>().concat();
    let many_syncs = statements(100).flat_map(|asked| [asked, sync.clone()]).collect::<Vec<_>>().concat();
    let many_ready = answers(100).flat_map(|answered| [answered, ready()]).collect::<Vec<_>>().concat();
    for (asked, answered, before) in [
        (&one_sync, &one_ready, 64),
        (&one_sync, &one_error, 10),
        (&one_sync, &error_beyond, 64),
        (&many_syncs, &many_ready, 32),
    ] {
        let select = [select(), ready()].concat();
        let events = stream_however_cut::<PostgreSql>(&[
            Step::Data(CLIENT, asked),
            Step::Data(SERVER, answered),
            Step::Data(CLIENT, &message(b'Q', b"SELECT a FROM t\0")),
            Step::Data(SERVER, &select),
        ]);
        let told = pgsql(&events);
        assert_eq!((told.len(), &told[100]["response"]["data_rows"]), (101, &json!(2)));
        let with_answer = told[..100].iter().filter(|event| event["response"]["command_completed"].is_string());
        assert!(
            with_answer
                .clone()
                .all(|event| event["request"]["extended_query"] == event["response"]["command_completed"])
        );
        assert_eq!(with_answer.count(), before);
        assert!(told[..100].iter().filter(|event| event["truncated"] == true).all(|event| event["response"].is_null()));
    }
}

#[test]
fn after_a_gap_the_statement_is_told_as_cut_and_the_next_one_is_read() {
    let answer = [select(), ready()].concat();
    let (events, _) = stream::<PostgreSql>(&[
        Step::Data(CLIENT, &message(b'Q', b"SELECT a FROM t\0")),
        Step::Data(SERVER, &answer[..20]),
        Step::Gap(SERVER, 900),
        Step::Data(SERVER, b"in the middle of something"),
        Step::Data(CLIENT, &message(b'Q', b"SELECT b FROM t\0")),
        Step::Data(SERVER, &answer),
    ]);
    let told = pgsql(&events);
    assert_eq!((told.len(), &told[0]["truncated"]), (2, &json!(true)));
    assert_eq!((&told[1]["response"]["data_rows"], &told[1]["truncated"]), (&json!(2), &Value::Null));
}

/// What is told where a mirror shows no more than `most` bytes of each piece.
fn cut_to(most: usize, pieces: &[(Side, Vec<u8>)]) -> Vec<Value> {
    let mut steps = Vec::new();
    for (side, bytes) in pieces {
        steps.push(Step::Data(*side, bytes.get(..most).unwrap_or(bytes)));
        if bytes.len() > most {
            steps.push(Step::Gap(*side, (bytes.len() - most) as u64));
        }
    }
    pgsql(&stream::<PostgreSql>(&steps).0).into_iter().cloned().collect()
}

#[test]
fn a_statement_that_the_mirror_cut_is_marked_and_so_is_one_that_is_longer_than_is_told() {
    let done = [message(b'C', b"SELECT 1\0"), ready()].concat();
    let text = "SELECT 'a long text' FROM t WHERE id = 1";
    let told = cut_to(30, &[(CLIENT, message(b'Q', format!("{text}\0").as_bytes())), (SERVER, done.clone())]);
    assert_eq!(told[0]["request"]["simple_query"], text[..25]);
    assert_eq!((&told[0]["response"]["command_completed"], &told[0]["truncated"]), (&json!("SELECT 1"), &json!(true)));
    let parse = message(b'P', format!("\0{text}\0\0\0").as_bytes());
    let rest = [message(b'B', b"\0\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
    let told = cut_to(30, &[(CLIENT, parse), (CLIENT, rest.clone()), (SERVER, done.clone())]);
    assert_eq!((&told[0]["request"]["extended_query"], &told[0]["truncated"]), (&json!(text[..24]), &json!(true)));
    for (length, mark) in [(1024, Value::Null), (1025, json!(true))] {
        let text = "x".repeat(length);
        let simple = message(b'Q', format!("{text}\0").as_bytes());
        let extended = [message(b'P', format!("\0{text}\0\0\0").as_bytes()), rest.clone()].concat();
        let pieces = [(CLIENT, simple), (SERVER, done.clone()), (CLIENT, extended), (SERVER, done.clone())];
        let told = cut_to(usize::MAX, &pieces);
        assert_eq!([&told[0]["truncated"], &told[1]["truncated"]], [&mark, &mark], "{length}");
    }
}

#[test]
fn of_a_cut_login_no_half_setting_and_no_unknown_authentication_is_told() {
    // In the second setting's value, behind its name, in that, and in the first's value.
    for most in [32, 30, 28, 22, 16] {
        let told = cut_to(most, &[(CLIENT, startup()), (SERVER, message(b'R', b"\0\0\0\x05salt"))]);
        let told = &told[0];
        let settings = &told["request"]["startup_parameters"];
        assert_eq!(settings["optional_parameters"], Value::Null, "{most}: {told}");
        assert_eq!(settings["user"], if most == 16 { Value::Null } else { json!("alice") });
        assert_eq!(told["truncated"], true);
    }
    let told = cut_to(6, &[(CLIENT, startup()), (SERVER, message(b'R', b"\0\0\0\x05salt"))]);
    assert!(told.is_empty(), "{told:?}");
    let welcome = message(b'R', b"\0\0\0\x05salt");
    let (events, _) = stream::<PostgreSql>(&[
        Step::Data(CLIENT, &startup()),
        Step::Data(SERVER, &welcome[..7]),
        Step::Gap(SERVER, welcome.len() as u64 - 7),
    ]);
    let told = pgsql(&events);
    assert_eq!((&told[0]["response"]["message"], &told[0]["truncated"]), (&Value::Null, &json!(true)));
}

#[test]
fn what_is_cut_of_an_answer_is_marked_and_half_of_a_tag_a_code_or_a_parameter_is_left_out() {
    let query = (CLIENT, message(b'Q', b"UP\0"));
    let tag = message(b'C', b"UPDATE 1234\0");
    for (pieces, most) in [
        (vec![query.clone(), (SERVER, tag), (SERVER, ready())], 14),
        (vec![query.clone(), (SERVER, message(b'E', b"C42P01\0Mno such table\0\0")), (SERVER, ready())], 11),
        (vec![query.clone(), (SERVER, message(b'S', b"application_name\0psql\0")), (SERVER, ready())], 23),
    ] {
        let told = cut_to(most, &pieces);
        assert_eq!((&told[0]["response"], &told[0]["truncated"]), (&json!({}), &json!(true)), "{told:?}");
    }
    let error = message(b'E', b"C42P01\0Mno such table\0\0");
    let told = cut_to(17, &[query, (SERVER, error), (SERVER, ready())]);
    assert_eq!(told[0]["response"], json!({"code": "42P01", "message": "no s"}), "{told:?}");
    assert_eq!(told[0]["truncated"], true);
}

#[test]
fn queries_whose_answers_the_mirror_does_not_show_are_marked() {
    for unseen in [true, false] {
        let query = message(b'Q', b"SELECT 1\0");
        let (events, _) = stream::<PostgreSql>(&[Step::Unseen(SERVER, unseen), Step::Data(CLIENT, &query)]);
        assert_eq!(pgsql(&events)[0]["truncated"], if unseen { json!(true) } else { Value::Null });
    }
}

#[test]
fn a_server_that_is_picked_up_in_the_middle_of_a_row_hides_no_later_answer() {
    let (events, _) = stream::<PostgreSql>(&[
        Step::Joined(SERVER),
        // As it would be a row of some 16 MiB.
        Step::Data(SERVER, b"D\x01\0\0\0 and more of a value"),
        Step::Data(CLIENT, &message(b'Q', b"SELECT 1\0")),
        Step::Data(SERVER, &[select(), ready()].concat()),
    ]);
    let told = pgsql(&events);
    assert_eq!((&told[0]["response"]["data_rows"], &told[0]["truncated"]), (&json!(2), &Value::Null));
}

/// A statement's text and how many rows it is told to have changed, of all events, and whether they are marked.
fn outline(events: &[Value]) -> Vec<(String, String, bool)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = pgsql(events).into_iter();
    told.map(|told| {
        let tag = text(&told["response"]["command_completed"]);
        (text(&told["request"]["extended_query"]), tag, told["truncated"] == true)
    })
    .collect()
}

/// An extended statement of this text, without Sync.
fn extended(text: &str) -> Vec<u8> {
    let parse = message(b'P', format!("\0{text}\0\0\0").as_bytes());
    [parse, message(b'B', b"\0\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0")].concat()
}

fn extended_done(tag: &str) -> Vec<u8> {
    [message(b'1', b""), message(b'2', b""), message(b'C', format!("{tag}\0").as_bytes())].concat()
}

#[test]
fn where_statements_of_a_pipeline_are_missing_no_other_gets_their_answers() {
    let sync = message(b'S', b"");
    let lost = extended("TWO").len() as u64;
    let three = [extended("THREE"), sync.clone()].concat();
    let answers = [extended_done("1"), extended_done("2"), extended_done("3"), ready()].concat();
    let (four, done) = ([extended("FOUR"), sync].concat(), [extended_done("4"), ready()].concat());
    let rest = [
        Step::Data(CLIENT, &three),
        Step::Data(SERVER, &answers),
        Step::Data(CLIENT, &four),
        Step::Data(SERVER, &done),
    ];
    let one = extended("ONE");
    for before in
        [&[Step::Data(CLIENT, &one), Step::Gap(CLIENT, lost)][..], &[Step::Joined(CLIENT), Step::Joined(SERVER)]]
    {
        let (events, _) = stream::<PostgreSql>(&[before, &rest].concat());
        let told = outline(&events);
        let [marked @ .., three, four] = &told[..] else { panic!("{told:?}") };
        assert!(marked.iter().all(|(_, tag, marked)| tag.is_empty() && *marked), "{told:?}");
        assert_eq!(*three, ("THREE".into(), String::new(), true));
        assert_eq!(*four, ("FOUR".into(), "4".into(), false));
    }
}

#[test]
fn a_client_that_does_not_wait_gets_no_wrong_answer_behind_a_loss_and_the_right_ones_after_a_pause() {
    const LOST: usize = 20;
    let mut recorder = Recorder::new(6, 5432);
    let mut session = PostgreSql::default();
    let mut tell = |recorder: &mut Recorder, from, number: usize| {
        let bytes = match from {
            CLIENT => [extended(&number.to_string()), message(b'S', b"")].concat(),
            _ => [extended_done(&number.to_string()), ready()].concat(),
        };
        recorder.step(|cx| match from {
            SERVER if number == LOST => session.gap(from, bytes.len() as u64, cx),
            _ => session.data(from, &bytes, cx),
        });
    };
    tell(&mut recorder, CLIENT, 0);
    tell(&mut recorder, CLIENT, 1);
    for number in 0..40 {
        tell(&mut recorder, CLIENT, number + 2);
        tell(&mut recorder, SERVER, number);
    }
    tell(&mut recorder, SERVER, 40);
    tell(&mut recorder, SERVER, 41);
    recorder.time_ns += 200_000_000;
    for number in 42..50 {
        tell(&mut recorder, CLIENT, number);
        tell(&mut recorder, SERVER, number);
    }
    let told = outline(&recorder.take());
    assert_eq!(told.len(), 50);
    for (number, (text, tag, marked)) in told.iter().enumerate() {
        assert_eq!(*text, number.to_string());
        assert!(tag == text && !marked || tag.is_empty() && *marked, "{told:?}");
        assert!(!marked || (LOST..42).contains(&number), "{told:?}");
    }
}

#[test]
fn an_answer_that_is_picked_up_in_its_middle_shifts_none() {
    let done = |tag: &str| [message(b'C', format!("{tag}\0").as_bytes()), ready()].concat();
    let queries: Vec<_> = (0..4).map(|number| message(b'Q', format!("SELECT {number}\0").as_bytes())).collect();
    let (one, two, three) = (done("SELECT 1"), done("SELECT 2"), done("SELECT 3"));
    // The answer that is copied out has begun, which nothing but its rows tells.
    let copied = [message(b'H', b"\0\0\x01\0\0"), message(b'd', b"row"), message(b'c', b""), done("COPY 1")].concat();
    let (events, _) = stream::<PostgreSql>(&[
        Step::Joined(CLIENT),
        Step::Joined(SERVER),
        Step::Data(CLIENT, &queries[0]),
        Step::Data(SERVER, &copied),
        Step::Data(CLIENT, &queries[1]),
        Step::Data(SERVER, &one),
        Step::Data(CLIENT, &queries[2]),
        Step::Data(SERVER, &two),
        Step::Data(CLIENT, &queries[3]),
        Step::Data(SERVER, &three),
    ]);
    let told = pgsql(&events);
    assert_eq!((told.len(), &told[0]["response"], &told[0]["truncated"]), (4, &Value::Null, &json!(true)));
    for event in &told[1..] {
        assert_eq!(event["request"]["simple_query"], event["response"]["command_completed"]);
        assert_eq!(event["truncated"], Value::Null);
    }
}

#[test]
fn a_login_that_is_picked_up_at_the_clients_answer_is_told_from_there() {
    let mechanism = message(b'p', b"SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=nonce");
    let asked = |kind: u8, text: &[u8]| message(b'R', &[&[0, 0, 0, kind][..], text].concat());
    let (events, _) = stream::<PostgreSql>(&[
        Step::Joined(CLIENT),
        Step::Data(SERVER, &asked(10, b"SCRAM-SHA-256\0\0")),
        Step::Data(CLIENT, &mechanism),
        Step::Data(SERVER, &asked(11, b"r=nonce")),
        Step::Data(CLIENT, &message(b'p', b"c=biws,r=nonce")),
        Step::Data(SERVER, &[asked(0, b""), ready()].concat()),
    ]);
    let told = pgsql(&events);
    assert_eq!(told[0]["request"], json!({"sasl_authentication_mechanism": "scram_SHA256"}), "{events:#?}");
    assert_eq!(told[0]["response"], json!({"message": "authentication_sasl_continue"}));
    assert_eq!((&told[1]["response"]["message"], told.len()), (&json!("authentication_ok"), 2));
    let rows = [message(b'd', b"p\0\0\0\x08more"), message(b'Q', b"SELECT 1\0")].concat();
    assert!(!super::session::is_login(&rows[5..]) && !super::session::is_login(b"p\0\0\0\x08\x01\x02\x03\x04"));
}

#[test]
fn what_is_copied_in_is_marked_where_the_client_sent_more_than_is_shown() {
    for unseen in [true, false] {
        let (events, _) = stream::<PostgreSql>(&[
            Step::Data(CLIENT, &message(b'Q', b"COPY t FROM STDIN\0")),
            Step::Data(SERVER, &message(b'G', b"\0\0\0")),
            Step::Data(CLIENT, &message(b'd', b"1\ta\n")),
            Step::Unseen(CLIENT, unseen),
            Step::Data(SERVER, &[message(b'C', b"COPY 20\0"), ready()].concat()),
        ]);
        assert_eq!(pgsql(&events)[0]["truncated"], if unseen { json!(true) } else { Value::Null });
    }
}

#[test]
fn postgresql_is_recognised_by_its_startup_and_in_the_middle_by_a_query() {
    fn open(originator: &[u8], responder: &[u8], port: u16) -> Guess {
        PostgreSql::recognise(&Opening { originator, responder, originator_port: 40_000, responder_port: port })
    }
    assert_eq!(open(&startup(), b"", 9), Guess::Yes);
    assert_eq!(open(&startup()[..6], b"", 9), Guess::Perhaps);
    assert_eq!(open(&message(b'Q', b"SELECT 1\0"), b"", 9), Guess::Yes);
    assert_eq!([open(b"", &select(), 5432), open(b"", &select(), 9)], [Guess::Yes, Guess::No]);
    assert_eq!(open(b"GET / HTTP/1.1", b"", 80), Guess::No);
    assert_eq!(open(b"\x16\x03\x01\x02\x00\x01", b"", 443), Guess::No);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_any_pieces_never_panic(noise in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8), cut in 1usize..60, gap in 0u64..90) {
        let mut sides = [
            (CLIENT, [startup(), message(b'p', b"md5x\0"), message(b'Q', b"SELECT 1\0"), message(b'P', b"s\0SELECT 2\0\0\0"), message(b'B', b"\0s\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat()),
            (SERVER, [message(b'R', b"\0\0\0\x05salt"), message(b'R', b"\0\0\0\0"), message(b'S', b"a\0b\0"), ready(), select(), ready(), message(b'E', b"SERROR\0C1\0\0"), ready()].concat()),
        ];
        damaged_stream::<PostgreSql>(&mut sides, &noise, cut, gap);
    }
}

#[test]
fn requests_that_were_answered_by_what_is_missing_take_no_later_answer() {
    let done = |tag: &[u8]| [message(b'C', tag), ready()].concat();
    let (events, _) = stream::<PostgreSql>(&[
        Step::Data(CLIENT, &startup()),
        Step::Gap(SERVER, 13),
        Step::Data(CLIENT, &message(b'p', b"md5SECRET\0")),
        // Parameters are no place to begin again at.
        Step::Data(SERVER, &[message(b'S', b"TimeZone\0UTC\0"), ready()].concat()),
        Step::Data(CLIENT, &message(b'Q', b"DELETE FROM t\0")),
        Step::Data(SERVER, &done(b"DELETE 2\0")),
        Step::Data(CLIENT, &message(b'Q', b"DROP TABLE t\0")),
        Step::Data(SERVER, &done(b"DROP TABLE\0")),
    ]);
    let told: Vec<_> = pgsql(&events)
        .iter()
        .map(|event| (event["request"]["simple_query"].as_str(), event["response"]["command_completed"].as_str()))
        .collect();
    let queries = [(Some("DELETE FROM t"), Some("DELETE 2")), (Some("DROP TABLE t"), Some("DROP TABLE"))];
    assert_eq!(told[told.len() - 2..], queries, "{told:?}");
    assert!(told[..told.len() - 2].iter().all(|(_, answer)| answer.is_none()), "{told:?}");
}
