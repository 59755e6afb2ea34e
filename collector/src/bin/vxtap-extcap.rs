//! `vxtap-extcap`: a collector's live capture as an interface of Wireshark.
//!
//! Wireshark runs what lies in its extcap folder, asks for interfaces, link types and arguments, and then has it capture
//! into a FIFO (<https://www.wireshark.org/docs/wsdg_html_chunked/ChCaptureExtcap.html>). The packets come from
//! `/v1/live.pcapng` of the collector's API, as they are.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Parser;
use rustix::event::{PollFd, PollFlags, poll};
use ureq::Agent;
use ureq::http::Response;
use vxtap_filter::Filter;
use vxtap_tui::Endpoint;

/// The only interface.
const INTERFACE: &str = "vxtap";
/// Where a collector's API is when nothing else is said.
const DEFAULT_HOST: &str = "http://127.0.0.1:9789";
/// Longest that a connection may take to come about, and the answer to begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest reason of a refusal that is read, in bytes.
const REASON_MAX: u64 = 16 << 10;

/// A vxtap collector's live capture as an interface of Wireshark. Wireshark runs it; put it into the extcap folder that
/// Help, About, Folders names
#[derive(Debug, Parser)]
#[command(name = "vxtap-extcap", version, max_term_width = 100)]
struct Arguments {
    /// List interfaces
    #[arg(long)]
    extcap_interfaces: bool,
    /// Tell the version; Wireshark gives its own
    #[arg(long, value_name = "VERSION", num_args = 0..=1, default_missing_value = "")]
    extcap_version: Option<String>,
    /// The interface that is meant
    #[arg(long, value_name = "NAME")]
    extcap_interface: Option<String>,
    /// List its link types
    #[arg(long)]
    extcap_dlts: bool,
    /// List its arguments
    #[arg(long)]
    extcap_config: bool,
    /// The capture filter, in the language of tcpdump; without --capture, say what is wrong with it
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    extcap_capture_filter: Option<String>,
    /// Capture
    #[arg(long)]
    capture: bool,
    /// Where the packets go
    #[arg(long, value_name = "FILE")]
    fifo: Option<PathBuf>,
    /// The collector's API
    #[arg(long, value_name = "URL", default_value = DEFAULT_HOST)]
    host: String,
    /// Another capture filter; a packet has to pass both
    #[arg(long, value_name = "EXPR", default_value = "", allow_hyphen_values = true)]
    filter: String,
    /// The token that the collector was started with, if any (VXTAP_API_TOKEN keeps it out of the list of processes)
    #[arg(long, env = "VXTAP_API_TOKEN", hide_env_values = true, allow_hyphen_values = true)]
    token: Option<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
            let printable: String = line.chars().filter(|character| !character.is_control()).collect();
            eprintln!("vxtap-extcap: {printable}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.extcap_interfaces || (arguments.extcap_version.is_some() && arguments.extcap_interface.is_none()) {
        return tell(&format!(
            "extcap {{version={}}}{{display=vxtap}}\ninterface {{value={INTERFACE}}}{{display=vxtap collector}}\n",
            env!("CARGO_PKG_VERSION")
        ));
    }
    match arguments.extcap_interface.as_deref() {
        Some(INTERFACE) => {}
        Some(other) => bail!("there is no interface '{other}' (expected {INTERFACE})"),
        None => bail!("expected --extcap-interfaces, or --extcap-interface {INTERFACE} and what to do"),
    }
    if arguments.extcap_dlts {
        return tell("dlt {number=1}{name=EN10MB}{display=Ethernet}\n");
    }
    if arguments.extcap_config {
        return tell(&config());
    }
    if arguments.capture {
        let fifo = arguments.fifo.as_deref().context("expected --fifo FILE: where do the packets go?")?;
        return capture(arguments, fifo);
    }
    if let Some(filter) = &arguments.extcap_capture_filter {
        // Wireshark takes any word for what is wrong, and none for a filter that is right.
        return Filter::parse(filter).map_or_else(|error| tell(&format!("{error}\n")), |_| Ok(()));
    }
    bail!("expected --extcap-dlts, --extcap-config, --extcap-capture-filter or --capture")
}

/// The arguments that Wireshark's dialog asks for.
fn config() -> String {
    format!(
        "arg {{number=0}}{{call=--host}}{{display=Collector}}{{type=string}}{{default={DEFAULT_HOST}}}{{required=true}}\
         {{tooltip=URL of the collector's API}}{{group=Collector}}\n\
         arg {{number=1}}{{call=--filter}}{{display=Filter}}{{type=string}}\
         {{tooltip=Capture filter in the language of tcpdump, applied by the collector}}{{group=Collector}}\n\
         arg {{number=2}}{{call=--token}}{{display=Token}}{{type=password}}\
         {{tooltip=The collector's --api-token, if it has one}}{{group=Collector}}\n"
    )
}

fn tell(text: &str) -> anyhow::Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context("cannot write to standard output")
}

/// Copies the live capture into `fifo` until the collector ends or nobody reads it any more.
fn capture(arguments: &Arguments, fifo: &Path) -> anyhow::Result<()> {
    let endpoint: Endpoint = arguments.host.parse().map_err(|error| anyhow!("--host {}: {error}", arguments.host))?;
    let packets = follow(&endpoint, &wanted(arguments), arguments.token.as_deref())?;
    let fifo = OpenOptions::new()
        .write(true)
        .open(fifo)
        .with_context(|| format!("cannot write the packets to '{}'", fifo.display()))?;
    let watched = fifo.try_clone().context("cannot watch the pipe to Wireshark")?;
    std::thread::Builder::new()
        .name("watch".into())
        .spawn(move || end_with(&watched))
        .context("cannot start a thread")?;
    copy(packets, fifo).with_context(|| format!("the capture of {endpoint} broke off"))
}

/// What both filters want.
fn wanted(arguments: &Arguments) -> String {
    let of_wireshark = arguments.extcap_capture_filter.as_deref().unwrap_or_default();
    match (of_wireshark.trim(), arguments.filter.trim()) {
        ("", filter) | (filter, "") => filter.to_owned(),
        (one, other) => format!("({one}) and ({other})"),
    }
}

/// Begins to follow; gives the stream.
fn follow(endpoint: &Endpoint, filter: &str, token: Option<&str>) -> anyhow::Result<impl Read + use<>> {
    // No proxy and no redirection, so that the token goes nowhere else.
    let agent: Agent = Agent::config_builder()
        .timeout_connect(Some(ANSWER_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("vxtap-extcap/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut request = agent.get(format!("{endpoint}/v1/live.pcapng"));
    if !filter.is_empty() {
        request = request.query("filter", filter);
    }
    if let Some(token) = token.filter(|token| !token.is_empty()) {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = request.call().map_err(|error| match error {
        // Without the prefix that the library puts before it.
        ureq::Error::Io(error) => anyhow!("cannot follow the collector at {endpoint}: {error}"),
        ureq::Error::Timeout(_) => anyhow!("cannot follow the collector at {endpoint}: no answer in time"),
        other => anyhow!("cannot follow the collector at {endpoint}: {other}"),
    })?;
    if response.status() != 200 {
        bail!("the collector at {endpoint} answered: {}", reason(response));
    }
    Ok(response.into_body().into_reader())
}

/// Why the collector refused, as it says in `{"error": …}`.
fn reason(mut response: Response<ureq::Body>) -> String {
    let status = response.status();
    let body = response.body_mut().with_config().limit(REASON_MAX).read_to_string().unwrap_or_default();
    let json: Option<serde_json::Value> = serde_json::from_str(&body).ok();
    let told = json.as_ref().and_then(|json| json.get("error")).and_then(serde_json::Value::as_str);
    told.map_or_else(|| status.to_string(), ToOwned::to_owned)
}

/// Until `packets` end or nobody reads `fifo` any more, which is a good end too.
fn copy(mut packets: impl Read, mut fifo: File) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match packets.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match fifo.write_all(&buffer[..length]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
}

/// Ends the program when nobody reads `fifo` any more: while no packets come, writing does not tell.
fn end_with(fifo: &File) {
    let mut watched = [PollFd::new(fifo, PollFlags::empty())];
    while let Ok(_) | Err(rustix::io::Errno::INTR) = poll(&mut watched, None) {
        if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            std::process::exit(0);
        }
    }
}
