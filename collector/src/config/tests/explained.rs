//! What `config explain` and its like say of a run.

use super::*;

#[test]
fn a_plain_run_is_explained() {
    let settings = run(&nothing(), MACHINE).unwrap();
    let expected = "\
listen     vxlan://[::]:4789 (all addresses, IPv4 and IPv6)
workers    4 threads, on any CPU; 4 sockets in all, with a receive buffer of 64MiB each
steering   both directions of a flow to one worker, by the kernel and checked; seed random
envelope   the outermost tunnel is taken off, and a gateway load balancer's with it
datagrams  taken after 1ms at most, several at a time (GRO); times by the kernel
copies     those of other mirror streams of a network within 100ms are left out
admission  every mirror stream is let in
flows      up to 1048576 at a time; beyond, old ones end early and are counted
           TCP ends after silence of 1m (new), 10m (established), 10s (closed)
           others end after silence of 30s (one-way), 5m (both ways)
           long ones are reported every 30m
captures   none: inner frames are not kept (--write DIR keeps them)
log        none: events are not kept (--log DIR keeps them)
api        http://127.0.0.1:9789, for this machine, without a token
followers  over the API (--follow ADDR serves pcap-over-IP)
health     no port of its own (--health ADDR has one for load balancers)
           not ready when, for 2s, a worker stands still, the kernel drops over 5 % in 10s; ready again after 10s \
without that
           at SIGTERM not ready, and receiving on for 30s
summary    in the log on standard error at the end, no file
dashboard  none (--tui shows it)
";
    assert_eq!(explain(&settings), expected);
}

#[test]
fn a_run_with_everything_set_is_explained_without_its_token() {
    let text = "[receive]\nlisten = [\"0.0.0.0\", \"10.0.0.1:1\"]\nbuffer = \"1MiB\"\ncoalesce = 0\ngro = false\n\
                kernel_steering = false\npin = true\ntimestamps = \"kernel\"\n[pipeline]\nworkers = 1\nsteer_seed = 7\n\
                summary = \"-\"\ndedup = \"window\"\ndedup_window = \"1s\"\nnetworks = [\"blue=1-2\"]\n[admission]\naccept = [\"vni 5\", \"from 10.0.0.0/8\"]\nreject = \"vni 9\"\n\
                state = \"/s\"\n[flows]\nactive_timeout = 0\n[capture]\ndirectory = \"/c\\u001b\"\ndirect = true\n\
                rotate_bytes = \"none\"\n[log]\ndirectory = \"/l\"\nevents = [\"dns\", \"stats\", \"flow\"]\n\
                rotate_bytes = \"64MiB\"\nrotate_interval = \"1h\"\nkeep = 1\nstats_interval = \"none\"\n[api]\naddress = \"0.0.0.0:80\"\n\
                token = \"0123456789abcdef\"\n[follow]\naddress = \"localhost:57012\"\nfilter = \"arp\"\n[health]\n\
                address = \"[::]:8080\"\ndrain = 0\nunready_drops = \"none\"\nready_after = \"1m\"\n[run]\ntui = true";
    let expected = "\
listen     vxlan://0.0.0.0:4789 (all addresses, IPv4)
           vxlan://10.0.0.1:1
workers    1 thread, each on a CPU of its own; 2 sockets in all, with a receive buffer of 1MiB each
steering   both directions of a flow to one worker, in user space; seed 7
envelope   the outermost tunnel is taken off, and a gateway load balancer's with it
datagrams  taken at once, one by one (no GRO); times by the kernel
copies     those of other mirror streams of a network within 1s, and of one stream within 100us, are left out
admission  let in are vni 5; from 10.0.0.0/8; others wait to be accepted
           kept out are vni 9
           decisions are kept in /s
network    blue: vni 1-2
flows      up to 1048576 at a time; beyond, old ones end early and are counted
           TCP ends after silence of 1m (new), 10m (established), 10s (closed)
           others end after silence of 30s (one-way), 5m (both ways)
           reported at their end only
captures   pcapng in /c\\u{1b}, one file
           frames are in the file within 100ms, around the page cache; up to 16MiB wait for the disk, beyond that \
they are dropped and counted
log        appends events (flow, dns, stats) to /l/eve.json
           closed under a name of its own every 64MiB or 1h
           1 closed file at the most, the oldest are deleted
           counters at the end
api        http://0.0.0.0:80, with a token
followers  TCP@127.0.0.1:57012: whoever connects from this machine gets 'arp'
health     http://[::]:8080/readyz tells load balancers whether to send traffic
           not ready when, for 2s, a worker stands still, captures fail; ready again after 1m without that
           SIGTERM ends the run at once
summary    on standard output at the end
dashboard  in this terminal
";
    assert_eq!(explain(&run(&from_file(text).unwrap(), MACHINE).unwrap()), expected);
}
