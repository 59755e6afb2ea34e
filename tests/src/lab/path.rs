//! A stretch of wire that loses, repeats and delays datagrams on purpose, and counts what it does.
//!
//! It has no addresses: what comes in on one side goes out on the other (nftables, `fwd`), so hosts at its ends see each other as on one
//! wire. The rules stand before the kernel's own handling of packets, and each has a counter of its own.

use std::collections::HashMap;

use serde_json::Value;

use super::{EXCHANGE, Namespace};
use crate::process::{Finished, run_within};

/// Datagrams that are delayed share this rate: when there are more, they wait, and others overtake them.
const SLOW: &str = "2mbit";
/// More than any test has under way.
const QUEUE: u32 = 100_000;

/// The path, a namespace of its own.
#[derive(Debug)]
pub struct Path {
    namespace: Namespace,
}

/// What is done to the datagrams of one mirror stream in GENEVE with our option, in percent of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The VNI.
    pub vni: u32,
    /// The direction, as in the option.
    pub direction: u8,
    /// What is lost.
    pub lose: u8,
    /// What comes twice, of the rest.
    pub repeat: u8,
    /// What is delayed, of the rest.
    pub delay: u8,
}

/// What was done to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubled {
    /// Datagrams that the path took and did not give.
    pub lost: u64,
    /// Datagrams that it gave twice.
    pub repeated: u64,
    /// Datagrams that it put into the slow queue.
    pub delayed: u64,
}

impl Path {
    /// Links device `here` of one namespace with `there` of another.
    pub(super) fn between((here, near): (&Namespace, &str), (there, far): (&Namespace, &str), mtu: u32) -> Self {
        let namespace = Namespace::create("path");
        namespace.link(("near", mtu), here, near);
        namespace.link(("far", mtu), there, far);
        // What is of no class goes out at once.
        namespace.run("tc qdisc add dev far root handle 1: htb");
        namespace.run(&format!("tc class add dev far parent 1: classid 1:20 htb rate {SLOW}"));
        namespace.run(&format!("tc qdisc add dev far parent 1:20 pfifo limit {QUEUE}"));
        let path = Self { namespace };
        path.nft(
            r#"
            table netdev vxtap {
                chain troubled {
                }
                chain there {
                    type filter hook ingress device "near" priority 0;
                    udp dport 6081 jump troubled
                    fwd to "far"
                }
                chain back {
                    type filter hook ingress device "far" priority 0;
                    fwd to "near"
                }
            }
            "#,
        );
        path
    }

    /// From now on, each of `troubles` happens to its stream, by chance.
    pub fn trouble(&self, troubles: &[Trouble]) {
        let rules = troubles.iter().enumerate().map(|(number, Trouble { vni, direction, lose, repeat, delay })| {
            // Behind 8 bytes of UDP: the VNI at byte 4 of GENEVE; the direction at byte 24 of the option, which begins at byte 8.
            format!(
                r#"
                table netdev vxtap {{
                    counter lost{number} {{ }}
                    counter repeated{number} {{ }}
                    counter delayed{number} {{ }}
                    chain stream{number} {{
                        numgen random mod 100 < {lose} counter name lost{number} drop
                        numgen random mod 100 < {repeat} counter name repeated{number} dup to "far"
                        numgen random mod 100 < {delay} counter name delayed{number} meta priority set 1:20
                    }}
                    chain troubled {{
                        @th,96,24 {vni} @th,320,8 {direction} goto stream{number}
                    }}
                }}
                "#
            )
        });
        let rules: Vec<_> = rules.collect();
        self.nft(&rules.concat());
    }

    /// From now on, nothing happens to datagrams that come; those that are delayed already are on their way still.
    pub fn heal(&self) {
        self.nft("flush chain netdev vxtap troubled");
    }

    /// What has happened to the stream of the `number`th of the troubles.
    ///
    /// # Panics
    /// When there is no such trouble.
    pub fn troubled(&self, number: usize) -> Troubled {
        let listed = self.nft_with(&["-j", "list counters"]).stdout;
        let listed: Value = serde_json::from_str(&listed).expect("nft's JSON");
        let counters: HashMap<&str, u64> = (listed["nftables"].as_array().expect("a list").iter())
            .filter_map(|object| {
                let counter = object.get("counter")?;
                Some((counter["name"].as_str()?, counter["packets"].as_u64()?))
            })
            .collect();
        let count = |what: &str| *counters.get(format!("{what}{number}").as_str()).expect("a trouble's counter");
        Troubled { lost: count("lost"), repeated: count("repeated"), delayed: count("delayed") }
    }

    fn nft(&self, rules: &str) {
        self.nft_with(&[rules]);
    }

    fn nft_with(&self, arguments: &[&str]) -> Finished {
        run_within(EXCHANGE, self.namespace.command("nft").args(arguments)).success()
    }
}
