#!/bin/sh
# A load balancer for mirrored traffic on a Linux router, with nothing but nft and curl:
#
#   balance.sh ADDRESS COLLECTOR...      balance.sh 10.0.0.1 10.0.1.10 10.0.2.10
#
# VXLAN and GENEVE to ADDRESS go to one of the collectors, by a hash of the outer source address and port. A sender whose
# outer port is a symmetric hash of the inner flow (vxtap-sender is one) so reaches one collector with both directions of it.
#
# Addresses are rewritten packet by packet, without conntrack: a collector that is taken out gets nothing from the next packet
# on, and no table of flows fills up. The collectors see the senders' addresses. Forwarding has to be on
# (sysctl net.ipv4.ip_forward=1), and the way to the collectors has to lead through this machine.
#
# Collectors are asked for http://COLLECTOR:8080/readyz. Two failures in a row take one out, two successes take it in again.
# The last one stays in. What was the share of one that is out goes to the next one in the list; the others' flows stay.
set -eu
PORT=${HEALTH_PORT:-8080} INTERVAL=${INTERVAL:-2} FAILURES=${FAILURES:-2}
[ $# -ge 2 ] || { echo "usage: $0 ADDRESS COLLECTOR..." >&2; exit 2; }
address=$1
shift
count=$#
nft -f - <<RULES
table ip vxtap
delete table ip vxtap
table ip vxtap { chain mirrored { type filter hook prerouting priority raw; }; }
RULES
trap 'nft delete table ip vxtap' EXIT
trap 'exit 0' INT TERM

# Is collector number $1 in? Its state is in $live_N, failed or successful probes against it in $against_N.
is_live() { eval "[ \"\${live_$1:-1}\" = 1 ]"; }

send() {
    map='' slot=0
    while [ "$slot" -lt "$count" ]; do
        # Its own collector, or the next one that is in.
        step=0
        while [ "$step" -lt "$count" ]; do
            target=$(((slot + step) % count))
            is_live "$target" && break
            step=$((step + 1))
        done
        eval "to=\${$((target + 1))}"
        map="$map${map:+, }$slot : $to" slot=$((slot + 1))
    done
    # One transaction: there is no moment without a rule. Without the seed each rule would have one of its own, and all flows
    # would move whenever one collector does.
    nft -f - <<RULES
flush chain ip vxtap mirrored
add rule ip vxtap mirrored ip daddr $address udp dport { 4789, 6081 } notrack ip daddr set jhash ip saddr . udp sport mod $count seed 0x76787461 map { $map }
RULES
    echo "sending to { $map }"
}

probe() {
    number=$1 now=0
    curl -sf -o /dev/null --max-time 1 "http://$2:$PORT/readyz" && now=1
    eval "was=\${live_$number:-1} against=\${against_$number:-0}"
    [ "$now" = "$was" ] && against=0 || against=$((against + 1))
    if [ "$against" -ge "$FAILURES" ] && { [ "$now" = 1 ] || [ "$in" -gt 1 ]; }; then
        eval "live_$number=$now"
        in=$((in + 2 * now - 1)) against=0 changed=1
    fi
    eval "against_$number=$against"
}

in=$count
send "$@"
while sleep "$INTERVAL"; do
    number=0 changed=0
    for collector; do
        probe "$number" "$collector"
        number=$((number + 1))
    done
    [ "$changed" = 0 ] || send "$@"
done
