//! Rows in which the collector and the trusted tools differ, and why. One that is not needed is an error too.

use super::rows::{Kind, Rows};

/// Why a row is told by one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// tshark tells these messages under another name than DNS: mDNS, LLMNR.
    OtherNames,
    /// tshark dissects the head of the packet that an ICMP error quotes. It is no packet of its flow.
    InIcmp,
    /// tshark names the methods that it knows only.
    Method,
    /// A hello of SSL 2: it has no JA3, so there is nothing to compare.
    Version2,
    /// tshark says itself that this is no DNS: text on its port.
    NotDns,
    /// GENEVE or VXLAN that tshark does not look into, or that the collector does not.
    Tunnel,
    /// Bytes of the message are missing: tshark tells it when it is whole.
    Unfinished,
    /// A segment came late or again, and tshark tells no whole response of what it is part of.
    Late,
    /// The upgrade's request is stream 1 of HTTP/2, whose response is told with it; tshark has no row for that request.
    Upgrade,
    /// Headers of HTTP/2 in more than one frame, which tshark does not put together.
    Continued,
    /// Bytes are missing that tshark did not miss.
    Hole,
    /// A byte that a keep-alive probe sent again comes before the stream.
    KeepAlive,
    /// Bytes behind a RST.
    Reset,
}

/// Who tells the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The tools, not the collector.
    Missing,
    /// The collector, not the tools.
    Extra,
}

/// Rows of one capture that begin alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exception {
    pub(crate) capture: &'static str,
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    /// The row; its beginning where this ends in `…`.
    pub(crate) row: &'static str,
    /// How many rows there are.
    pub(crate) times: usize,
    pub(crate) reason: Reason,
}

impl Exception {
    fn has(&self, row: &str) -> bool {
        self.row.strip_suffix('…').map_or(row == self.row, |beginning| row.starts_with(beginning))
    }
}

const fn missing(capture: &'static str, kind: Kind, row: &'static str, times: usize, reason: Reason) -> Exception {
    Exception { capture, side: Side::Missing, kind, row, times, reason }
}

const fn extra(capture: &'static str, kind: Kind, row: &'static str, times: usize, reason: Reason) -> Exception {
    Exception { capture, side: Side::Extra, kind, row, times, reason }
}

/// What is wrong with the differences of `capture`: rows that no exception explains, and exceptions that explain other than they say.
pub(crate) fn unexplained(capture: &str, side: Side, rows: &Rows) -> Vec<String> {
    let of_capture = || EXCEPTIONS.iter().filter(|exception| exception.capture == capture && exception.side == side);
    let explains = |exception: &Exception, kind, row: &str| exception.kind == kind && exception.has(row);
    let mut wrong: Vec<String> = rows
        .iter()
        .filter(|(kind, row, _)| !of_capture().any(|exception| explains(exception, *kind, row)))
        .map(|(kind, row, times)| format!("{capture}: {side:?} {times} {kind} {row:?}"))
        .collect();
    for exception in of_capture() {
        let found: usize =
            rows.iter().filter(|(kind, row, _)| explains(exception, *kind, row)).map(|(_, _, times)| times).sum();
        if found != exception.times {
            wrong.push(format!("{capture}: {found} rows, not {}, are as in {exception:?}", exception.times));
        }
    }
    wrong
}

/// How many rows of `kind` that `capture` must have nothing can be compared with.
pub(crate) fn incomparable(capture: &str, kind: Kind) -> usize {
    let of_capture = EXCEPTIONS.iter().filter(|exception| exception.capture == capture && exception.kind == kind);
    of_capture.filter(|exception| matches!(exception.reason, Reason::Version2 | Reason::NotDns)).map(|e| e.times).sum()
}

/// Exceptions for captures that are not among `captures`.
pub(crate) fn unknown(captures: &[&str]) -> Vec<String> {
    let unused = EXCEPTIONS.iter().filter(|exception| !captures.contains(&exception.capture));
    unused.map(|exception| format!("no capture has {exception:?}")).collect()
}

/// All of them.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    extra("tcpdump_vxlan_bigtcp_v4v4", Kind::Flow, "tcp 192.168.1.1 36449 - 192.168.1.2 36875:…", 1, Reason::Tunnel),
    missing("pcapsql_vxlan_6in_4_dns", Kind::Dns, "0x7465 query     ", 100, Reason::NotDns),
    extra("tcpdump_geneve_two_vni", Kind::Flow, "tcp 30.0.0.1 22 - 30.0.0.2 51225:…", 1, Reason::Tunnel),
    extra("zeek_http_site_browse", Kind::Http, "200 of bro.org/js/jquery.cycle.all.min.js", 1, Reason::Unfinished),
    missing("zeek_http_methods", Kind::Http, "400 of /", 2, Reason::Method),
    missing("zeek_http_methods", Kind::Http, "400 of /http/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "400 of www.google.comhttp/1.1", 3, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "CCM_POST/ www.google.com HTTP/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "CCM_POST/HTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "CONNECT/ www.google.com HTTP/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "CONNECT/HTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "DELETE/ www.google.com HTTP/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "DELETE/HTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "GET/ www.google.com HTTP/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "GET/HTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "HEAD/ www.google.com HTTP/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "HEAD/HTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "OPTIONSHTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "POST/ www.google.com HTTP/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "POST/HTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "PUT/ www.google.com HTTP/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "PUT/HTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "TRACE/ www.google.com HTTP/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "TRACE/HTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "ÃÂÃ www.google.com /", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "ÃÂÃ www.google.com /HTTP/1.1", 1, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "ÃÂÃ/ www.google.com HTTP/1.1", 2, Reason::Method),
    extra("zeek_http_methods", Kind::Http, "ÃÂÃ/HTTP/1.1 www.google.com ", 1, Reason::Method),
    extra("flowtest_h2c_upgrade", Kind::Http, "GET nghttp2.org /robots.txt", 1, Reason::Upgrade),
    extra("arkime_http2_nghttp2", Kind::Http, "GET nghttp2.org /", 1, Reason::Continued),
    missing("retina_tls_ciphers", Kind::Tls, "1 ", 3, Reason::Version2),
    extra(
        "zeek_tcp_reassembly",
        Kind::Http,
        "SEARCH  /AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA…",
        1,
        Reason::Unfinished,
    ),
    missing("zeek_gre_http", Kind::Dns, "0xbdaa query www.gleeble.org 255   ", 2, Reason::InIcmp),
    extra(
        "zeek_erspan_mixed",
        Kind::Http,
        "200 of 192.168.69.2/_layouts/1033/styles/themable/corev4.css?rev=p63%2…",
        1,
        Reason::Unfinished,
    ),
    extra(
        "zeek_erspan_mixed",
        Kind::Http,
        "200 of 192.168.69.2/scriptresource.axd?d=s75aqqrsf6crl0ua_dm6tf3lurn1k…",
        1,
        Reason::Unfinished,
    ),
    extra("zeek_erspan_mixed", Kind::Http, "200 of 192.168.69.2/sitepages/home.aspx", 1, Reason::Unfinished),
    extra("zeek_erspan_mixed", Kind::Dns, "0xa534 query wpad 1   ", 4, Reason::OtherNames),
    missing("pcpp_many_protocols", Kind::Stream, "10.0.0.1:55193 > 23.21.122.142:80 1328…", 1, Reason::KeepAlive),
    missing("pcpp_many_protocols", Kind::Stream, "212.199.202.50:443 > 10.0.0.1:55243 253…", 1, Reason::Reset),
    missing("pcpp_many_protocols", Kind::Stream, "212.199.202.50:443 > 10.0.0.1:55254 253…", 1, Reason::Reset),
    extra(
        "pcpp_many_protocols",
        Kind::Http,
        "200 of static.bbc.co.uk/nkdata/echoclient/2.0.0/sharedmodules/echo.js",
        1,
        Reason::Late,
    ),
    extra(
        "pcpp_many_protocols",
        Kind::Http,
        "302 of sa.bbc.co.uk/bbc/bbc/s?name=set-counter&pal_route=index&ml_name…",
        1,
        Reason::Late,
    ),
    missing("ndpi_app_mix_1kxun", Kind::Stream, "18.64.103.30:80 > 192.168.2.126:36636 1428…", 1, Reason::Hole),
    missing("ndpi_app_mix_1kxun", Kind::Stream, "192.168.115.8:49581 > 64.233.189.128:80 1…", 1, Reason::KeepAlive),
    missing("ndpi_app_mix_1kxun", Kind::Stream, "192.168.115.8:49596 > 203.66.182.87:443 1…", 1, Reason::KeepAlive),
    extra(
        "ndpi_app_mix_1kxun",
        Kind::Http,
        "200 of cdn.liftoff.io/customers/45d4b09eba/image/lambda_jpg_89/3981012…",
        1,
        Reason::Unfinished,
    ),
    extra(
        "ndpi_app_mix_1kxun",
        Kind::Http,
        "200 of hkbn.content.1kxun.com/manga-hant/images/project/cartoons/94a38…",
        1,
        Reason::Unfinished,
    ),
    extra(
        "ndpi_app_mix_1kxun",
        Kind::Http,
        "200 of hkbn.content.1kxun.com/manga-hant/images/project/cartoons/b057f…",
        1,
        Reason::Unfinished,
    ),
    extra(
        "ndpi_app_mix_1kxun",
        Kind::Http,
        "200 of pic.1kxun.com/video_kankan/images/icons/5-802d771ccf5a557ef7530…",
        1,
        Reason::Unfinished,
    ),
    extra(
        "ndpi_app_mix_1kxun",
        Kind::Http,
        "200 of pic.1kxun.com/video_kankan/images/releases/267/3642-dc2b137a41e…",
        1,
        Reason::Unfinished,
    ),
    extra(
        "ndpi_app_mix_1kxun",
        Kind::Http,
        "200 of pic.1kxun.com/video_kankan/images/videos/40750-585645353a7a4761…",
        1,
        Reason::Unfinished,
    ),
    extra(
        "ndpi_app_mix_1kxun",
        Kind::Http,
        "206 of 183.131.48.144/vlive.qqvideo.tc.qq.com/u0020mkrnds.p1203.1.mp4?…",
        1,
        Reason::Unfinished,
    ),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x0000 query _googlecast._tcp.local 12   ", 1, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x026b query charming-pc 255   ", 3, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x089b query joanna-pc 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x0c10 query caesar-thinkpad 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x13bc query sonusav 1   ", 3, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x1532 query notebook 255   ", 2, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x1672 query usher-pc 255   ", 2, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x2bbd query charming-pc 255   ", 3, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x34bb query usher-pc 255   ", 2, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x3d8e query ro_x1c 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x44e4 query kevin-pc 255   ", 3, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x4cbd query kasper-mac 255   ", 2, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x5374 query 小佛專機 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x5573 query kevin-pc 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x59b4 query joanna-pc 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x605e query wpad 1   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0x8505 query jason-pc 255   ", 2, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xa000 query ro_x1c 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xa60d query isatap 1   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xa948 query charming-pc 255   ", 3, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xb37e query wangs-ltw 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xc66b query isatap 1   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xc9d3 query notebook 255   ", 2, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xcd91 query caesar-thinkpad 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xcf6d query jason-pc 255   ", 1, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xe6a1 query jason-pc 255   ", 2, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xec20 query 小佛專機 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xedd4 query wangs-ltw 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xf604 query 小佛專機 255   ", 4, Reason::OtherNames),
    extra("ndpi_app_mix_1kxun", Kind::Dns, "0xf93d query charming-pc 255   ", 1, Reason::OtherNames),
    extra("zeek_various_services", Kind::Dns, "0x0000 query 1.238.16.172.in-addr.arpa 12   ", 12, Reason::OtherNames),
    extra("zeek_various_services", Kind::Dns, "0x0000 response NOERROR     ", 5, Reason::OtherNames),
];
