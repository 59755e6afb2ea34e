use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{CLIENT, Recorder, SERVER, Step, damaged_stream, stream, stream_however_cut};
use super::super::{Guess, Next, Opening, Side, StreamProtocol};
use super::Redis;

fn command(words: &[&str]) -> Vec<u8> {
    let head = format!("*{}\r\n", words.len());
    let values = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    std::iter::once(head).chain(values).collect::<String>().into_bytes()
}

fn redis(events: &[Value]) -> Vec<&Value> {
    events.iter().map(|event| &event["redis"]).collect()
}

/// The one event of a command with this answer.
fn answer(reply: &[u8]) -> Value {
    let events = stream_however_cut::<Redis>(&[Step::Data(CLIENT, &command(&["get", "k"])), Step::Data(SERVER, reply)]);
    assert_eq!(events.len(), 1);
    events[0]["redis"]["response"].clone()
}

#[test]
fn pipelined_commands_find_their_answers() {
    let asked = [command(&["SET", "user:1", "value"]), command(&["incr", "n"]), command(&["GET", "user:1"])].concat();
    let events =
        stream_however_cut::<Redis>(&[Step::Data(CLIENT, &asked), Step::Data(SERVER, b"+OK\r\n:7\r\n$5\r\nvalue\r\n")]);
    let told = redis(&events);
    assert_eq!(told[0]["request"], json!({"command": "SET", "key": "user:1", "arguments": 2, "bytes": 14}));
    assert_eq!(told[0]["response"], json!({"type": "status", "status": "OK", "bytes": 2}));
    assert_eq!((&told[1]["request"]["command"], &told[1]["response"]["type"]), (&json!("INCR"), &json!("integer")));
    assert_eq!(told[2]["response"], json!({"type": "bulk", "bytes": 5}));
    assert_eq!((told.len(), &told[2]["tx_id"]), (3, &json!(2)));
}

#[test]
fn answers_of_all_types_are_told() {
    assert_eq!(answer(b"$-1\r\n"), json!({"type": "null", "bytes": 0}));
    assert_eq!(
        answer(b"-ERR unknown command 'x', with args beginning with: 's'\r\n")["error"],
        "ERR unknown command 'x'"
    );
    assert_eq!(
        answer(b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n$2\r\nbc\r\n"),
        json!({"type": "array", "elements": 3, "bytes": 4})
    );
    assert_eq!(answer(b"%1\r\n+k\r\n~2\r\n#t\r\n,1.5\r\n"), json!({"type": "map", "elements": 1, "bytes": 5}));
    assert_eq!(answer(b"|1\r\n+ttl\r\n:3\r\n$1\r\nx\r\n")["type"], "attribute");
    assert_eq!(answer(b"=7\r\ntxt:abc\r\n")["type"], "bulk");
    assert_eq!(answer(b"*0\r\n"), json!({"type": "array", "elements": 0, "bytes": 0}));
}

#[test]
fn passwords_are_not_told() {
    let asked = [
        command(&["AUTH", "SECRET"]),
        command(&["HELLO", "3", "AUTH", "me", "SECRET"]),
        command(&["CONFIG", "SET", "requirepass", "SECRET"]),
        b"auth SECRET\r\n".to_vec(),
    ]
    .concat();
    let events =
        stream_however_cut::<Redis>(&[Step::Data(CLIENT, &asked), Step::Data(SERVER, b"+OK\r\n%0\r\n+OK\r\n+OK\r\n")]);
    assert_eq!(
        redis(&events).iter().map(|told| told["request"]["command"].clone()).collect::<Vec<_>>(),
        ["AUTH", "HELLO", "CONFIG", "AUTH"]
    );
    assert!(!events.iter().any(|event| event.to_string().contains("SECRET")));
}

#[test]
fn long_lines_are_counted_as_they_are_and_quotes_hold_words_together() {
    let long = "v".repeat(1000);
    let inline = [
        format!("SET k {long}\r\n"),
        "SET \"two words\" 'it\\'s \"one\"'\r\n".into(),
        format!("SET k \"{}\"\r\n", "some words ".repeat(100)),
        "ECHO \"\"\n".into(),
    ]
    .concat();
    let said = format!("+OK\r\n+{long}\r\n*2\r\n+{long}\r\n+OK\r\n-{}\r\n", "e".repeat(255));
    let events =
        stream_however_cut::<Redis>(&[Step::Data(CLIENT, inline.as_bytes()), Step::Data(SERVER, said.as_bytes())]);
    let told = redis(&events);
    assert_eq!(told[0]["request"], json!({"command": "SET", "key": "k", "arguments": 2, "bytes": 1004}));
    assert_eq!(told[1]["request"], json!({"command": "SET", "key": "two words", "arguments": 2, "bytes": 22}));
    assert_eq!(told[2]["request"], json!({"command": "SET", "key": "k", "arguments": 2, "bytes": 1104}));
    assert_eq!(told[3]["request"], json!({"command": "ECHO", "key": "", "arguments": 1, "bytes": 4}));
    let bytes = told.iter().map(|told| told["response"]["bytes"].as_u64()).collect::<Vec<_>>();
    assert_eq!(bytes, [Some(2), Some(1000), Some(1002), Some(255)]);
}

#[test]
fn messages_of_channels_are_counted_and_are_no_answers() {
    for kind in ["*", ">"] {
        let array = |words: &[&str]| [kind.as_bytes(), &command(words)[1..]].concat();
        let pushed = [
            array(&["subscribe", "a"]),
            array(&["subscribe", "b"]),
            array(&["message", "a", "hello"]),
            array(&["message", "b", "hello"]),
        ]
        .concat();
        let events = stream_however_cut::<Redis>(&[
            Step::Data(CLIENT, &command(&["SUBSCRIBE", "a", "b"])),
            Step::Data(SERVER, &pushed),
            Step::Data(CLIENT, &command(&["PING"])),
            Step::Data(SERVER, &array(&["message", "b", "hello"])),
            Step::Data(SERVER, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
        ]);
        let told = redis(&events);
        assert_eq!(told[0]["request"]["command"], "SUBSCRIBE");
        assert_eq!((&told[1]["request"]["command"], &told[1]["response"]["type"]), (&json!("PING"), &json!("array")));
        assert_eq!(told[2]["response"]["messages"], 4);
    }
}

#[test]
fn monitoring_and_replication_do_not_flood() {
    let mut lines = b"+OK\r\n".to_vec();
    for _ in 0..500 {
        lines.extend(b"+1.2 [0 127.0.0.1:1] \"set\" \"a\"\r\n");
    }
    let (events, _) = stream::<Redis>(&[Step::Data(CLIENT, b"MONITOR\r\n"), Step::Data(SERVER, &lines)]);
    assert_eq!((events.len(), &redis(&events)[1]["response"]["messages"]), (2, &json!(500)));
    let (_, next) = stream::<Redis>(&[
        Step::Data(CLIENT, &command(&["PSYNC", "?", "-1"])),
        Step::Data(SERVER, b"+FULLRESYNC 8de1 1\r\n"),
    ]);
    assert_eq!(next, Next::Done);
}

#[test]
fn a_gap_in_a_value_is_a_hole_and_one_elsewhere_ends_what_waits() {
    let (events, _) = stream::<Redis>(&[
        Step::Data(CLIENT, &command(&["GET", "k"])),
        Step::Data(SERVER, b"$1000\r\nabc"),
        Step::Gap(SERVER, 999),
        Step::Data(CLIENT, &command(&["GET", "l"])),
        Step::Data(SERVER, b":1\r\n"),
        Step::Data(CLIENT, &command(&["LRANGE", "l"])),
        Step::Data(SERVER, b"*9\r\n$1\r\na\r\n"),
        Step::Gap(SERVER, 100),
        Step::Data(SERVER, b"cut off\r\n"),
        Step::Data(CLIENT, &command(&["GET", "m"])),
        Step::Data(SERVER, b"$1\r\nx\r\n"),
    ]);
    let told = redis(&events);
    assert_eq!((&told[0]["response"]["bytes"], &told[0]["truncated"]), (&json!(1000), &json!(true)));
    assert_eq!((&told[1]["response"]["type"], &told[1]["truncated"]), (&json!("integer"), &Value::Null));
    assert_eq!(told[2]["truncated"], true);
    assert_eq!((&told[3]["request"]["key"], &told[3]["response"]["type"]), (&json!("m"), &json!("bulk")));
    assert_eq!(told.len(), 4);
}

#[test]
fn where_the_mirror_shows_one_side_what_is_told_of_it_is_marked() {
    let asked = [command(&["GET", "k"]), command(&["GET", "l"])].concat();
    let (events, _) = stream::<Redis>(&[Step::Unseen(SERVER, true), Step::Data(CLIENT, &asked)]);
    assert_eq!(outline(&events), [("GET k", "", true), ("GET l", "", true)].map(|(a, b, c)| (a.into(), b.into(), c)));
    let (events, _) = stream::<Redis>(&[Step::Unseen(CLIENT, true), Step::Data(SERVER, b"$1\r\nx\r\n:1\r\n")]);
    assert_eq!(
        (&redis(&events)[0]["response"], &redis(&events)[0]["truncated"]),
        (&json!({"type": "unmatched", "messages": 2, "bytes": 2}), &json!(true))
    );
    let (events, _) = stream::<Redis>(&[Step::Data(CLIENT, &asked)]);
    assert!(outline(&events).iter().all(|(_, _, cut)| !cut), "the server has said nothing: {events:?}");
}

#[test]
fn answers_to_commands_that_were_not_seen_are_no_pushes_and_are_marked() {
    let get = command(&["GET", "k"]);
    let (events, _) = stream::<Redis>(&[
        Step::Joined(CLIENT),
        Step::Joined(SERVER),
        Step::Data(SERVER, b"+OK\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"),
        Step::Data(SERVER, b">2\r\n$10\r\ninvalidate\r\n*0\r\n"),
        // Of the first command that is seen nobody knows whether others wait before it.
        Step::Data(CLIENT, &command(&["INCR", "n"])),
        Step::Data(SERVER, b"+OK\r\n"),
        Step::Data(CLIENT, &get),
        Step::Data(SERVER, b"$1\r\nv\r\n"),
    ]);
    let told = redis(&events);
    assert_eq!((&told[0]["response"], &told[0]["truncated"]), (&Value::Null, &json!(true)));
    assert_eq!((&told[1]["request"]["key"], &told[1]["response"]["type"]), (&json!("k"), &json!("bulk")));
    assert_eq!(told[2]["response"], json!({"type": "push", "messages": 1, "bytes": 10}));
    assert_eq!(told[3]["response"], json!({"type": "unmatched", "messages": 3, "bytes": 13}));
    assert_eq!([&told[2]["truncated"], &told[3]["truncated"]], [&json!(true), &json!(true)]);
}

#[test]
fn the_middle_of_a_value_is_no_command_and_an_answer_of_before_goes_to_none() {
    let asked = [command(&["GET", "k"]), command(&["INCR", "n"])].concat();
    let (events, _) = stream::<Redis>(&[
        Step::Joined(CLIENT),
        Step::Joined(SERVER),
        Step::Data(CLIENT, b"value of a SET\r\n"),
        Step::Data(CLIENT, &asked),
        Step::Data(SERVER, b"+OK\r\n"),
        Step::Data(SERVER, b"$1\r\nv\r\n:1\r\n"),
        Step::Data(CLIENT, &command(&["GET", "l"])),
        Step::Data(SERVER, b"$2\r\nvw\r\n"),
    ]);
    let told = outline(&events);
    let none = |name: &str| (name.to_owned(), String::new(), true);
    assert_eq!(told, [none("GET k"), none("INCR n"), ("GET l".into(), "bulk".into(), false)]);
}

#[test]
fn a_server_on_any_port_that_is_heard_first_with_an_array_is_not_taken_for_the_client() {
    let client = |words: &[&str], ports: (u16, u16)| {
        let (originator, responder) = (&command(words)[..], &b""[..]);
        let opening = Opening { originator, responder, originator_port: ports.0, responder_port: ports.1 };
        assert_eq!(Redis::recognise(&opening), Guess::Yes);
        Redis::client(&opening)
    };
    for words in [&["message", "a", "hello"][..], &["", "v"], &["f7", "v"], &["getx"]] {
        assert_eq!(client(words, (7000, 40_000)), Some(SERVER), "{words:?}");
    }
    for words in [&["GET", "k"][..], &["xautoclaim", "k"], &["acl"], &["zunionstore"], &["JSON.GET", "k"]] {
        assert_eq!(client(words, (40_000, 7000)), None, "{words:?}");
    }
    let cut = |bytes: &[u8]| {
        let opening = Opening { originator: bytes, responder: b"", originator_port: 40_000, responder_port: 7000 };
        Redis::client(&opening)
    };
    assert_eq!([cut(b"*2\r\n$-1\r\n$1\r\na\r\n"), cut(b"*2\r\n$900\r\nvalue")], [Some(SERVER); 2]);
    assert_eq!(cut(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"), Some(SERVER));
    assert_eq!([cut(b"*2\r\n$9\r\nvalue"), cut(b"*2\r\n$3"), cut(b"+OK\r\n")], [None; 3]);
    assert_eq!([client(&["get"], (6379, 40_000)), client(&["f7"], (40_000, 6379))], [Some(SERVER), None]);
}

/// The key or name, the answer's type and whether it is marked, of all commands.
fn outline(events: &[Value]) -> Vec<(String, String, bool)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = redis(events).into_iter().filter(|told| told["request"].is_object());
    told.map(|told| {
        let name = format!("{} {}", text(&told["request"]["command"]), text(&told["request"]["key"]));
        (name, text(&told["response"]["type"]), told["truncated"] == true)
    })
    .collect()
}

#[test]
fn losses_on_both_sides_give_no_answer_to_another_command_in_whatever_order_they_are_told() {
    let set = command(&["SET", "a", &"v".repeat(100)]);
    let value = format!("$100\r\n{}\r\n", "v".repeat(100)).into_bytes();
    let get = command(&["GET", "a"]);
    let middle = set.len() - 50;
    // The end of a command and its answer are missing, and the command as a whole and its answer.
    for (shown, lost) in [(&set[..middle], 50), (&set[..0], set.len() as u64)] {
        let client = [Step::Gap(CLIENT, lost), Step::Data(CLIENT, &get)];
        let server = [Step::Gap(SERVER, 5), Step::Data(SERVER, &value[..70]), Step::Data(SERVER, &value[70..])];
        // All orders in which the two sides may be told.
        for places in (0..32u32).filter(|places| places.count_ones() == 2) {
            let (mut client, mut server) = (client.iter(), server.iter());
            let mut steps = vec![Step::Data(CLIENT, shown)];
            steps.retain(|_| !shown.is_empty());
            steps.extend(
                (0..5).filter_map(|place| if places >> place & 1 == 1 { client.next() } else { server.next() }),
            );
            let later: Vec<Vec<u8>> = (0..4).map(|number| command(&["SET", &number.to_string(), "v"])).collect();
            for set in &later {
                steps.extend([Step::Data(CLIENT, set), Step::Data(SERVER, b"+OK\r\n")]);
                steps.extend([Step::Data(CLIENT, &get), Step::Data(SERVER, &value)]);
            }
            let told = outline(&stream::<Redis>(&steps).0);
            let (damaged, right) = told.split_at(told.len() - 7);
            for (name, answer, marked) in damaged {
                let fits = answer.is_empty() || answer == if name.starts_with("SET") { "status" } else { "bulk" };
                assert!(fits && (*marked || !answer.is_empty()), "{steps:?} {told:?}");
            }
            for (name, answer, marked) in right {
                let fits = answer == if name.starts_with("SET") { "status" } else { "bulk" };
                assert!(fits && !marked, "{steps:?} {told:?}");
            }
        }
    }
}

#[test]
fn an_answer_that_is_seen_before_the_hole_in_its_command_shifts_none() {
    let set = command(&["SET", "a", &"v".repeat(100)]);
    let get = command(&["GET", "a"]);
    let mut steps = vec![Step::Data(CLIENT, &set[..60]), Step::Data(SERVER, b"+OK\r\n")];
    steps.extend([
        Step::Gap(CLIENT, set.len() as u64 - 60),
        Step::Data(CLIENT, &get),
        Step::Data(SERVER, b"$1\r\nv\r\n"),
    ]);
    steps.extend([Step::Data(CLIENT, &set), Step::Data(SERVER, b"+OK\r\n")]);
    steps.extend([Step::Data(CLIENT, &get), Step::Data(SERVER, b"$1\r\nv\r\n")]);
    let told = outline(&stream::<Redis>(&steps).0);
    let none = |name: &str| (name.to_owned(), String::new(), true);
    assert_eq!(told[..2], [none("SET a"), none("GET a")]);
    assert_eq!(told[2..], [("SET a".into(), "status".into(), false), ("GET a".into(), "bulk".into(), false)]);
}

#[test]
fn after_a_loss_one_pipeline_is_told_without_answers_and_the_next_is_right() {
    let asked = [command(&["GET", "a"]), command(&["SET", "a", "b"]), command(&["INCR", "n"])].concat();
    let answers = b"$1\r\nv\r\n+OK\r\n:1\r\n";
    let pipeline = [Step::Data(CLIENT, &asked), Step::Data(SERVER, answers)];
    let lost = [Step::Data(CLIENT, &asked), Step::Gap(SERVER, answers.len() as u64)];
    let told = outline(&stream::<Redis>(&[lost, pipeline, pipeline, pipeline].concat()).0);
    let answer = |number: usize| ["bulk", "status", "integer"][number % 3].to_owned();
    assert_eq!(told.len(), 12);
    assert!(told[..6].iter().all(|(_, answer, marked)| answer.is_empty() && *marked), "{told:?}");
    assert!(told[6..].iter().enumerate().all(|(at, told)| told.1 == answer(at) && !told.2), "{told:?}");
}

#[test]
fn a_client_that_does_not_wait_gets_no_wrong_answer_behind_a_loss_and_the_right_ones_after_a_pause() {
    const LOST: usize = 20;
    let value = |number: usize| format!("${}\r\n{number}\r\n", number.to_string().len()).into_bytes();
    let mut recorder = Recorder::new(6, 6379);
    let mut session = Redis::default();
    let mut tell = |recorder: &mut Recorder, from, number: usize| {
        let bytes = if from == CLIENT { command(&["GET", &number.to_string()]) } else { value(number) };
        recorder.step(|cx| {
            if number == LOST && from == SERVER {
                session.gap(from, bytes.len() as u64, cx)
            } else {
                session.data(from, &bytes, cx)
            }
        });
    };
    // Three commands are always under way.
    (10..13).for_each(|number| tell(&mut recorder, CLIENT, number));
    for number in 10..40 {
        tell(&mut recorder, SERVER, number);
        tell(&mut recorder, CLIENT, number + 3);
    }
    (40..43).for_each(|number| tell(&mut recorder, SERVER, number));
    recorder.time_ns += 200_000_000;
    for number in 50..60 {
        tell(&mut recorder, CLIENT, number);
        tell(&mut recorder, SERVER, number);
    }
    let events = recorder.take();
    let told = redis(&events);
    assert_eq!(told.len(), 33 + 10, "each command once: {told:?}");
    for event in told {
        let key: usize = event["request"]["key"].as_str().unwrap().parse().unwrap();
        let is_answered = event["response"].is_object();
        assert_eq!(is_answered, !(LOST..50).contains(&key), "{key}: {event}");
        assert_eq!(event["truncated"] == true, !is_answered);
    }
}

#[test]
fn a_pipeline_beyond_the_bound_is_told_without_answers() {
    let asked: Vec<u8> = (0..1500).flat_map(|number| command(&["GET", &number.to_string()])).collect();
    let answers = b"$1\r\nx\r\n".repeat(1500);
    let (events, _) = stream::<Redis>(&[
        Step::Data(CLIENT, &asked),
        Step::Data(SERVER, &answers),
        Step::Data(CLIENT, &command(&["PING"])),
        Step::Data(SERVER, b"+PONG\r\n"),
    ]);
    assert_eq!(events.len(), 1501);
    assert_eq!(redis(&events)[1500]["response"]["status"], "PONG");
    assert_eq!(events.iter().filter(|event| event["redis"]["truncated"] == true).count(), 1500 - 1024);
}

#[test]
fn redis_is_recognised_by_commands() {
    fn open(originator: &[u8], responder: &[u8], port: u16) -> Guess {
        Redis::recognise(&Opening { originator, responder, originator_port: 40_000, responder_port: port })
    }
    assert_eq!(open(&command(&["PING"]), b"", 9), Guess::Yes);
    assert_eq!(open(b"*1\r\n", b"", 9), Guess::Perhaps);
    assert_eq!([open(b"PING\r\n", b"", 6379), open(b"PING\r\n", b"", 9)], [Guess::Yes, Guess::No]);
    assert_eq!(open(b"GET / HTTP/1.1\r\n", b"", 80), Guess::No);
    assert_eq!([open(b"", b"+OK\r\n", 6379), open(b"", b"+OK POP3\r\n", 110)], [Guess::Yes, Guess::No]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_any_pieces_never_panic(noise in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8), cut in 1usize..40, gap in 0u64..30) {
        let mut sides = [
            (Side::Originator, [command(&["SET", "k", "v"]), command(&["SUBSCRIBE", "a"]), b"PING x\r\n".to_vec()].concat()),
            (Side::Responder, b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n%1\r\n+a\r\n*2\r\n$-1\r\n$3\r\nabc\r\n".to_vec()),
        ];
        damaged_stream::<Redis>(&mut sides, &noise, cut, gap);
    }
}
