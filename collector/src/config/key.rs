//! Every setting by name: its flag, its environment variable and its key in the file.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::options::Options;
use super::value;

/// One setting.
pub(super) struct Key {
    /// Section of the file.
    pub(super) section: &'static str,
    /// Name in the section.
    pub(super) name: &'static str,
    /// Flag without its dashes.
    pub(super) flag: &'static str,
    /// Where it goes.
    set: fn(&mut Options, &mut Reading<'_>),
}

impl Key {
    /// `VXTAP_` and the flag. `--log` differs, because `VXTAP_LOG` says what the program tells on standard error.
    pub(super) fn variable(&self) -> String {
        if self.flag == "log" {
            return "VXTAP_LOG_DIR".into();
        }
        format!("VXTAP_{}", self.flag.replace('-', "_").to_uppercase())
    }

    /// Checks `given` and puts it into `options`, unless the setting is there already.
    pub(super) fn apply(&self, options: &mut Options, given: Given<'_>) -> Applied {
        let mut reading = Reading { given, applied: Applied { used: false, faults: Vec::new() } };
        (self.set)(options, &mut reading);
        reading.applied
    }
}

/// A value as it stands in an environment variable or in the file.
pub(super) enum Given<'a> {
    Variable(&'a str),
    File(&'a Spanned<DeValue<'a>>),
}

/// What became of a value.
pub(super) struct Applied {
    /// Whether it is in force: right, and not said before.
    pub(super) used: bool,
    /// What is wrong with it.
    pub(super) faults: Vec<Fault>,
}

/// Something wrong, and where in the file.
pub(super) struct Fault {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
}

/// Whether `true` in the file is `true` of the flag (`--pin`) or `false` (`--no-gro`).
#[derive(Clone, Copy)]
enum Sense {
    Same,
    Opposite,
}

type Parse<T> = fn(&str) -> Result<T, String>;

/// A value being put where it belongs.
struct Reading<'a> {
    given: Given<'a>,
    applied: Applied,
}

impl Reading<'_> {
    /// A text in quotes.
    fn text<T>(&mut self, slot: &mut Option<T>, parse: Parse<T>) {
        let parsed = match &self.given {
            Given::Variable(text) => parse(text),
            Given::File(value) => match value.get_ref() {
                DeValue::String(text) => parse(text),
                other => Err(format!("expected a text in quotes, not {}", kind(other))),
            },
        };
        self.put(slot, parsed);
    }

    /// A number, or a text in quotes.
    fn scalar<T>(&mut self, slot: &mut Option<T>, parse: Parse<T>) {
        let parsed = match &self.given {
            Given::Variable(text) => parse(text),
            Given::File(value) => one(value.get_ref()).and_then(|text| parse(&text)),
        };
        self.put(slot, parsed);
    }

    /// `true` or `false`.
    fn truth(&mut self, slot: &mut Option<bool>, sense: Sense) {
        let parsed = match &self.given {
            Given::Variable(text) => value::truth(text),
            Given::File(value) => match (value.get_ref(), sense) {
                (DeValue::Boolean(truth), Sense::Same) => Ok(*truth),
                (DeValue::Boolean(truth), Sense::Opposite) => Ok(!truth),
                (other, _) => Err(format!("expected true or false, not {}", kind(other))),
            },
        };
        self.put(slot, parsed);
    }

    /// Several values, or one: `["a", "b"]`, `"a"`, and in a variable `a,b`.
    fn list<T>(&mut self, slot: &mut Vec<T>, parse: Parse<T>) {
        self.list_apart(',', slot, parse);
    }

    /// The same, where `separator` is between values in a variable.
    fn list_apart<T>(&mut self, separator: char, slot: &mut Vec<T>, parse: Parse<T>) {
        let mut values = Vec::new();
        let mut take =
            |span: Option<Range<usize>>, item: Result<Cow<'_, str>, String>| match item.and_then(|text| parse(&text)) {
                Ok(value) => values.push(value),
                Err(message) => self.applied.faults.push(Fault { span, message }),
            };
        match &self.given {
            Given::Variable(text) => text.split(separator).for_each(|item| take(None, Ok(item.into()))),
            Given::File(value) => match value.get_ref() {
                DeValue::Array(items) if items.is_empty() => {
                    take(Some(value.span()), Err("expected at least one value".into()));
                }
                DeValue::Array(items) => items.iter().for_each(|item| take(Some(item.span()), one(item.get_ref()))),
                single => take(Some(value.span()), one(single)),
            },
        }
        if slot.is_empty() && self.applied.faults.is_empty() {
            *slot = values;
            self.applied.used = true;
        }
    }

    fn put<T>(&mut self, slot: &mut Option<T>, parsed: Result<T, String>) {
        match parsed {
            Ok(value) if slot.is_none() => {
                *slot = Some(value);
                self.applied.used = true;
            }
            Ok(_) => {}
            Err(message) => {
                let span = match &self.given {
                    Given::Variable(_) => None,
                    Given::File(value) => Some(value.span()),
                };
                self.applied.faults.push(Fault { span, message });
            }
        }
    }
}

/// The text of a single value, as a flag would have it.
pub(super) fn one<'a>(value: &'a DeValue<'_>) -> Result<Cow<'a, str>, String> {
    match value {
        DeValue::String(text) => Ok(text.as_ref().into()),
        DeValue::Integer(number) => Ok(decimal(number).into()),
        DeValue::Float(number) => Ok(number.as_str().into()),
        DeValue::Boolean(truth) => Ok(truth.to_string().into()),
        DeValue::Datetime(time) => Ok(time.to_string().into()),
        other => Err(format!("expected one value, not {}", kind(other))),
    }
}

/// The number in decimal digits, whatever its base is in the file; as it stands there where 64 bits do not hold it.
fn decimal(number: &DeInteger<'_>) -> String {
    let digits = number.as_str().replace('_', "");
    i64::from_str_radix(&digits, number.radix()).map_or_else(|_| number.to_string(), |number| number.to_string())
}

pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// All settings, in the order of the sample file.
pub(super) const KEYS: &[Key] = &[
    key("receive", "listen", "listen", |o, r| r.list(&mut o.receive.listen, value::listener)),
    key("receive", "buffer", "receive-buffer", |o, r| r.scalar(&mut o.receive.receive_buffer, value::receive_buffer)),
    key("receive", "coalesce", "coalesce", |o, r| r.scalar(&mut o.receive.coalesce, value::coalesce)),
    key("receive", "timestamps", "timestamps", |o, r| r.text(&mut o.receive.timestamps, value::timestamps)),
    key("receive", "gro", "no-gro", |o, r| r.truth(&mut o.receive.no_gro, Sense::Opposite)),
    key("receive", "kernel_steering", "no-kernel-steering", |o, r| {
        r.truth(&mut o.receive.no_kernel_steering, Sense::Opposite);
    }),
    key("receive", "probes", "probes", |o, r| r.list(&mut o.receive.probes, value::probe)),
    key("receive", "pin", "pin", |o, r| r.truth(&mut o.receive.pin, Sense::Same)),
    key("pipeline", "workers", "workers", |o, r| r.scalar(&mut o.pipeline.workers, value::workers)),
    key("pipeline", "steer_seed", "steer-seed", |o, r| r.scalar(&mut o.pipeline.steer_seed, value::steer_seed)),
    key("pipeline", "envelope_layers", "envelope-layers", |o, r| {
        r.scalar(&mut o.pipeline.envelope_layers, value::envelope_layers);
    }),
    key("pipeline", "accept_unknown_critical", "accept-unknown-critical", |o, r| {
        r.truth(&mut o.pipeline.accept_unknown_critical, Sense::Same);
    }),
    key("pipeline", "networks", "network", |o, r| r.list_apart(';', &mut o.pipeline.network, value::network)),
    key("pipeline", "names", "name", |o, r| r.list_apart(';', &mut o.pipeline.name, value::name)),
    key("pipeline", "dedup", "dedup", |o, r| r.text(&mut o.pipeline.dedup, value::dedup)),
    key("pipeline", "dedup_window", "dedup-window", |o, r| {
        r.scalar(&mut o.pipeline.dedup_window, value::dedup_window);
    }),
    key("pipeline", "summary", "summary", |o, r| r.text(&mut o.pipeline.summary, value::summary)),
    key("admission", "accept", "accept", |o, r| r.list_apart(';', &mut o.admission.accept, value::accept)),
    key("admission", "reject", "reject", |o, r| r.list_apart(';', &mut o.admission.reject, value::reject)),
    key("admission", "state", "state", |o, r| r.text(&mut o.admission.state, value::directory)),
    key("flows", "max", "flow-max", |o, r| r.scalar(&mut o.flows.flow_max, value::flow_max)),
    key("flows", "idle_tcp_new", "idle-tcp-new", |o, r| r.scalar(&mut o.flows.idle_tcp_new, value::idle_timeout)),
    key("flows", "idle_tcp_established", "idle-tcp-established", |o, r| {
        r.scalar(&mut o.flows.idle_tcp_established, value::idle_timeout);
    }),
    key("flows", "idle_tcp_closed", "idle-tcp-closed", |o, r| {
        r.scalar(&mut o.flows.idle_tcp_closed, value::idle_timeout);
    }),
    key("flows", "idle_other_new", "idle-other-new", |o, r| r.scalar(&mut o.flows.idle_other_new, value::idle_timeout)),
    key("flows", "idle_other_established", "idle-other-established", |o, r| {
        r.scalar(&mut o.flows.idle_other_established, value::idle_timeout);
    }),
    key("flows", "active_timeout", "active-timeout", |o, r| {
        r.scalar(&mut o.flows.active_timeout, value::active_timeout);
    }),
    key("capture", "directory", "write", |o, r| r.text(&mut o.capture.write, value::directory)),
    key("capture", "rotate_bytes", "rotate-bytes", |o, r| r.scalar(&mut o.capture.rotate_bytes, value::rotate_bytes)),
    key("capture", "rotate_interval", "rotate-interval", |o, r| {
        r.scalar(&mut o.capture.rotate_interval, value::rotate_interval);
    }),
    key("capture", "rotate_frames", "rotate-frames", |o, r| {
        r.scalar(&mut o.capture.rotate_frames, value::rotate_frames);
    }),
    key("capture", "filter", "capture-filter", |o, r| r.text(&mut o.capture.capture_filter, value::capture_filter)),
    key("capture", "whole_flows", "capture-whole-flows", |o, r| {
        r.truth(&mut o.capture.capture_whole_flows, Sense::Same);
    }),
    key("capture", "snaplen", "snaplen", |o, r| r.scalar(&mut o.capture.snaplen, value::snaplen)),
    key("capture", "headers", "capture-headers", |o, r| r.truth(&mut o.capture.capture_headers, Sense::Same)),
    key("capture", "flow_bytes", "capture-flow-bytes", |o, r| {
        r.scalar(&mut o.capture.capture_flow_bytes, value::flow_bytes);
    }),
    key("capture", "one_copy", "capture-one-copy", |o, r| r.truth(&mut o.capture.capture_one_copy, Sense::Same)),
    key("capture", "format", "capture-format", |o, r| r.text(&mut o.capture.capture_format, value::capture_format)),
    key("capture", "layout", "capture-layout", |o, r| r.text(&mut o.capture.capture_layout, value::capture_layout)),
    key("capture", "split", "capture-split", |o, r| r.scalar(&mut o.capture.capture_split, value::capture_split)),
    key("capture", "keep_bytes", "keep-bytes", |o, r| r.scalar(&mut o.capture.keep_bytes, value::keep_bytes)),
    key("capture", "keep_age", "keep-age", |o, r| r.scalar(&mut o.capture.keep_age, value::keep_age)),
    key("capture", "keep_free", "keep-free", |o, r| r.scalar(&mut o.capture.keep_free, value::keep_bytes)),
    key("capture", "hook", "capture-hook", |o, r| r.text(&mut o.capture.capture_hook, value::command)),
    key("capture", "hook_limit", "capture-hook-limit", |o, r| {
        r.scalar(&mut o.capture.capture_hook_limit, value::hook_limit);
    }),
    key("capture", "compress", "capture-compress", |o, r| {
        r.scalar(&mut o.capture.capture_compress, value::compress);
    }),
    key("capture", "flush", "flush", |o, r| r.scalar(&mut o.capture.flush, value::flush)),
    key("capture", "blocks", "capture-blocks", |o, r| r.scalar(&mut o.capture.capture_blocks, value::capture_blocks)),
    key("capture", "direct", "capture-direct", |o, r| r.truth(&mut o.capture.capture_direct, Sense::Same)),
    key("log", "directory", "log", |o, r| r.text(&mut o.log.log, value::directory)),
    key("log", "events", "log-events", |o, r| r.list(&mut o.log.log_events, value::log_events)),
    key("log", "rotate_bytes", "log-rotate-bytes", |o, r| r.scalar(&mut o.log.log_rotate_bytes, value::rotate_bytes)),
    key("log", "rotate_interval", "log-rotate-interval", |o, r| {
        r.scalar(&mut o.log.log_rotate_interval, value::rotate_interval);
    }),
    key("log", "keep", "log-keep", |o, r| r.scalar(&mut o.log.log_keep, value::log_keep)),
    key("log", "stats_interval", "log-stats-interval", |o, r| {
        r.scalar(&mut o.log.log_stats_interval, value::stats_interval);
    }),
    key("api", "address", "api", |o, r| r.text(&mut o.api.api, value::api)),
    key("api", "token", "api-token", |o, r| r.text(&mut o.api.api_token, value::api_token)),
    key("follow", "address", "follow", |o, r| r.text(&mut o.follow.follow, value::follow)),
    key("follow", "filter", "follow-filter", |o, r| r.text(&mut o.follow.follow_filter, value::filter)),
    key("follow", "insecure", "follow-insecure", |o, r| r.truth(&mut o.follow.follow_insecure, Sense::Same)),
    key("health", "address", "health", |o, r| r.text(&mut o.health.health, value::health)),
    key("health", "drain", "drain", |o, r| r.scalar(&mut o.health.drain, value::drain)),
    key("health", "unready_after", "unready-after", |o, r| r.text(&mut o.health.unready_after, value::hysteresis)),
    key("health", "ready_after", "ready-after", |o, r| r.text(&mut o.health.ready_after, value::hysteresis)),
    key("health", "unready_drops", "unready-drops", |o, r| r.text(&mut o.health.unready_drops, value::drop_share)),
    key("health", "drop_window", "drop-window", |o, r| r.text(&mut o.health.drop_window, value::drop_window)),
    key("health", "ready_without_capture", "ready-without-capture", |o, r| {
        r.truth(&mut o.health.ready_without_capture, Sense::Same);
    }),
    key("run", "tui", "tui", |o, r| r.truth(&mut o.run.tui, Sense::Same)),
    key("read", "encapsulation", "encapsulation", |o, r| r.text(&mut o.read.encapsulation, value::encapsulation)),
    key("read", "vxlan_ports", "vxlan-port", |o, r| r.list(&mut o.read.vxlan_port, value::port)),
    key("read", "geneve_ports", "geneve-port", |o, r| r.list(&mut o.read.geneve_port, value::port)),
    key("read", "vxlan_gpe_ports", "vxlan-gpe-port", |o, r| r.list(&mut o.read.vxlan_gpe_port, value::port)),
    key("demo", "seconds", "seconds", |o, r| r.scalar(&mut o.demo.seconds, value::seconds)),
    key("demo", "pps", "pps", |o, r| r.scalar(&mut o.demo.pps, value::pps)),
    key("demo", "tui", "no-tui", |o, r| r.truth(&mut o.demo.no_tui, Sense::Opposite)),
];

const fn key(
    section: &'static str,
    name: &'static str,
    flag: &'static str,
    set: fn(&mut Options, &mut Reading<'_>),
) -> Key {
    Key { section, name, flag, set }
}
