//! The servers of the mirrored host: nginx and dnsmasq, with all that they need in one directory.

use std::fs;
use std::path::Path;

use super::Namespace;
use crate::deadline::{SOON, wait_until};
use crate::process::Running;

const LARGE: usize = 3 << 20;

/// Starts both in `host` and waits until they serve.
pub(super) fn start(host: &Namespace, directory: &Path) -> Vec<Running> {
    let servers = vec![web(host, directory), names(host)];
    wait_until(SOON, "the lab's web server", || answers(host, "http://10.77.0.1/small"));
    wait_until(SOON, "the lab's web server over IPv6", || answers(host, "http://[fd77::1]/small"));
    // Asked by the host itself over loopback, so that nothing of it crosses the mirrored interface.
    wait_until(SOON, "the lab's name server", || {
        let mut dig = host.command("dig");
        dig.args(["+tries=1", "+time=1", "@127.0.0.1", "a.lab.test"]);
        crate::process::run_within(SOON, &mut dig).status.success()
    });
    servers
}

fn answers(host: &Namespace, url: &str) -> bool {
    let mut curl = host.command("curl");
    crate::process::run_within(SOON, curl.args(["-sS", "--fail", "-o", "/dev/null", url])).status.success()
}

fn web(host: &Namespace, directory: &Path) -> Running {
    let at = |name: &str| directory.join(name);
    fs::write(at("small"), "a small answer\n").expect("a writable directory");
    let large: Vec<u8> = (0..LARGE as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(at("large"), large).expect("a writable directory");
    let root = directory.display();
    let configuration = format!(
        "daemon off; master_process off; pid {root}/nginx.pid; events {{ worker_connections 64; }}
         http {{ access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
         fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
         server {{ listen 80; listen [::]:80; root {root}; }} }}"
    );
    fs::write(at("nginx.conf"), configuration).expect("a writable directory");
    let mut nginx = host.command("nginx");
    Running::start(nginx.args(["-e", "stderr", "-c"]).arg(at("nginx.conf")))
}

fn names(host: &Namespace) -> Running {
    let long = "x".repeat(250);
    let mut dnsmasq = host.command("dnsmasq");
    dnsmasq.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="]);
    dnsmasq.args(["--log-facility=-", "--user=root", "--local=/lab.test/", "--interface=mir0", "--interface=lo"]);
    dnsmasq.args([
        "--host-record=a.lab.test,10.77.0.1,fd77::1",
        &format!("--txt-record=long.lab.test,{long},{long},{long}"),
    ]);
    Running::start(&mut dnsmasq)
}
