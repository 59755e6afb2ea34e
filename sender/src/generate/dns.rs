//! DNS over UDP: a question and its answer (RFC 1035).

use super::random::Random;
use super::script::Library;

const SERVER_PORT: u16 = 53;
const HOSTS: &[&str] = &["www", "api", "cdn", "mail", "login", "static", "img", "db-1", "edge", "ns1"];
const DOMAINS: &[&[&str]] =
    &[&["example", "com"], &["example", "net"], &["example", "org"], &["shop", "example", "com"], &["corp", "test"]];

const TYPE_A: u16 = 1;
const TYPE_MX: u16 = 15;
const TYPE_TXT: u16 = 16;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

/// Recursion desired.
const QUESTION_FLAGS: u16 = 0x0100;
/// Response, recursion desired and available.
const ANSWER_FLAGS: u16 = 0x8180;
const NO_SUCH_NAME: u16 = 3;
/// The name at offset 12, where the question's name begins.
const NAME_OF_QUESTION: u16 = 0xc00c;

/// Adds one question with its answer. Each conversation sets the message identifier, the first two bytes.
pub(super) fn add(library: &mut Library, random: &mut Random) {
    let host = format!("{}{}", random.pick(HOSTS), random.below(1000));
    let mut name = Vec::new();
    for label in std::iter::once(host.as_str()).chain(random.pick(DOMAINS).iter().copied()) {
        name.push(label.len() as u8);
        name.extend_from_slice(label.as_bytes());
    }
    name.push(0);
    let kind = match random.below(10) {
        0..6 => TYPE_A,
        6..8 => TYPE_AAAA,
        8 => TYPE_MX,
        _ => TYPE_TXT,
    };
    let exists = !random.percent(10);
    let records = if exists { answers(random, kind) } else { Vec::new() };

    let mut question = header(QUESTION_FLAGS, 0);
    question.extend(&name);
    question.extend([kind, CLASS_IN].into_iter().flat_map(u16::to_be_bytes));
    let mut answer = header(if exists { ANSWER_FLAGS } else { ANSWER_FLAGS | NO_SUCH_NAME }, records.len() as u16);
    answer.extend(&question[12..]);
    for data in records {
        answer.extend([NAME_OF_QUESTION, kind, CLASS_IN].into_iter().flat_map(u16::to_be_bytes));
        answer.extend(random.between(30, 86_400).to_be_bytes());
        answer.extend((data.len() as u16).to_be_bytes());
        answer.extend(data);
    }
    library.add_udp(SERVER_PORT, &[(true, question), (false, answer)]);
}

fn header(flags: u16, answers: u16) -> Vec<u8> {
    [0, flags, 1, answers, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect()
}

/// The data of one or more records of type `kind`.
fn answers(random: &mut Random, kind: u16) -> Vec<Vec<u8>> {
    let count = if matches!(kind, TYPE_A | TYPE_AAAA) { random.between(1, 4) } else { 1 };
    (0..count)
        .map(|_| match kind {
            TYPE_A => vec![203, 0, 113, random.between(1, 254) as u8],
            TYPE_AAAA => {
                let mut address = [0x20, 0x01, 0x0d, 0xb8, 0, 0xc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                random.fill(&mut address[12..]);
                address.to_vec()
            }
            TYPE_MX => {
                // Preference, then a label before the question's name.
                let mut data = vec![0, 10, 2, b'm', b'x'];
                data.extend(NAME_OF_QUESTION.to_be_bytes());
                data
            }
            _ => {
                let text = format!("v=spf1 ip4:203.0.113.{} -all", random.below(255));
                std::iter::once(text.len() as u8).chain(text.into_bytes()).collect()
            }
        })
        .collect()
}
