#!/bin/bash
# The main job on one machine: lnsd on its built-in lab defaults, 1,000
# subscribers over 10 LACs, traffic, what an operator sees, one hang-up through
# the API, a clean end. Needs Go and nothing else. As root it uses a TUN device
# in network namespaces of its own, otherwise lnsd's plane in memory.
#   KEEP=1  leave it running and say how to look around
set -euo pipefail
cd "$(dirname "$0")/../.."

lacs=10 each=100
total=$((lacs * each))
dir=$(mktemp -d "${TMPDIR:-/tmp}/culvert-demo.XXXXXX")
lns_ns=culvert-demo-lns-$$ lac_ns=culvert-demo-lac-$$
lnsd= sim= in_lns=() in_lac=() listen=127.0.0.1:1701 plane=memory

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

fail() {
	printf 'demo: FAILED: %s\n' "$*" >&2
	for log in "$dir"/lnsd.log "$dir"/lacsim.log; do
		[ -s "$log" ] && printf -- '--- the end of %s\n' "$log" >&2 && tail -n 20 "$log" >&2
	done
	exit 1
}

clean_up() {
	[ -z "$sim" ] || kill "$sim" 2>/dev/null || true
	[ -z "$lnsd" ] || kill "$lnsd" 2>/dev/null || true
	wait 2>/dev/null || true
	if [ "$plane" = userspace ]; then
		ip netns del "$lns_ns" 2>/dev/null || true
		ip netns del "$lac_ns" 2>/dev/null || true
	fi
	rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Two hosts and a wire between them, where this user may make them.
make_network() {
	[ "$(id -u)" = 0 ] && [ -c /dev/net/tun ] && command -v ip >/dev/null || return 1
	ip netns add "$lns_ns" 2>/dev/null && ip netns add "$lac_ns" || return 1
	plane=userspace
	ip -n "$lns_ns" link add wire type veth peer name wire netns "$lac_ns" || return 1
	ip -n "$lns_ns" addr add 10.99.0.1/24 dev wire
	ip -n "$lac_ns" addr add 10.99.0.2/24 dev wire
	for ns in "$lns_ns" "$lac_ns"; do
		ip -n "$ns" link set lo up
		ip -n "$ns" link set wire up
	done
	listen=10.99.0.1:1701
	in_lns=(ip netns exec "$lns_ns") in_lac=(ip netns exec "$lac_ns")
}

# A UDP port that nobody has, for a demo beside something else on this host.
free_port() {
	local port
	for port in $(seq 1701 1799); do
		grep -qi ":$(printf '%04X' "$port") " /proc/net/udp || { echo "$port"; return; }
	done
}

say 'Build'
make --no-print-directory build

if make_network; then
	echo "As root: lnsd has a TUN device, in a network namespace of its own ($lns_ns)."
else
	if [ "$plane" = userspace ]; then clean_up; dir=$(mktemp -d); plane=memory; fi
	listen=127.0.0.1:$(free_port)
	echo 'Without the right to make network namespaces and TUN devices: lnsd has a plane in memory, over loopback.'
fi

say 'Start lnsd on its lab defaults, with a RADIUS responder inside'
"${in_lns[@]}" bin/lnsd run --lab --lab-dir "$dir" --lab-listen "$listen" --lab-http 127.0.0.1:0 --lab-plane "$plane" >"$dir/lnsd.log" 2>&1 &
lnsd=$!
export CULVERT_ADDRESS=unix://$dir/lnsd.sock
for _ in $(seq 100); do
	bin/lnsctl status >/dev/null 2>&1 && break
	kill -0 "$lnsd" 2>/dev/null || fail 'lnsd did not start'
	sleep 0.1
done
bin/lnsctl status || fail 'lnsd does not answer'

say "Dial $total subscribers over $lacs LACs, and ping through every session"
mkfifo "$dir/commands"
"${in_lac[@]}" bin/lacsim run --lns "$listen" --lacs $lacs --sessions $each --secret lab --traffic ping --packets 3 --packet-rate 2 \
	--stay --stdin --allow-ended --ready-file "$dir/ready.json" --json "$dir/report.json" \
	<"$dir/commands" 2> >(tee "$dir/lacsim.log" >&2) >"$dir/lacsim.out" &
sim=$!
exec 7>"$dir/commands"
for _ in $(seq 600); do
	[ -s "$dir/ready.json" ] && break
	kill -0 "$sim" 2>/dev/null || fail 'lacsim ended early'
	sleep 0.1
done
[ -s "$dir/ready.json" ] || fail 'not all subscribers were up after 60 s'

say 'What an operator sees: tunnels'
bin/lnsctl tunnel list
say 'sessions (the first ones)'
bin/lnsctl session list >"$dir/sessions"
head -n 6 "$dir/sessions"
up=$(bin/lnsctl session list -o json | grep -c '"id"') || true
echo "... $up in all"
victim=$(awk 'NR == 2 { print $1 }' "$dir/sessions")
say "one session in detail: $victim"
bin/lnsctl session show "$victim"
say 'metrics'
http=$(sed -n 's/.*http=\([0-9.:]*\).*/\1/p' "$dir/lnsd.log" | head -n 1)
"${in_lns[@]}" bash -c 'exec 9<>/dev/tcp/'"${http/:/\/}"' && printf "GET /metrics HTTP/1.0\r\n\r\n" >&9 && cat <&9' |
	grep -E '^culvert_(sessions|tunnels|calls_total|call_setup_seconds_count|pool_(used_)?addresses|plane_.*_datagrams_total|radius_requests_total.*(accepted|acknowledged)|accounting_pending)'

if [ -n "${KEEP:-}" ]; then
	say 'It stays up. To look around:'
	echo "  export CULVERT_ADDRESS=$CULVERT_ADDRESS"
	echo '  bin/lnsctl session list        bin/lnsctl session watch        bin/lnsctl --help'
	[ "$plane" = userspace ] && echo "  ip netns exec $lns_ns ping 100.64.0.2     (a subscriber)"
	echo "  logs and journal: $dir;  metrics: http://$http/metrics${in_lns[*]:+ (inside: ${in_lns[*]})}"
	echo 'Ctrl-C ends it.'
	wait "$sim"
	exit 0
fi

say "Hang one up through the API: $victim"
bin/lnsctl session disconnect "$victim" --yes

say 'The others hang up; lnsd stops'
sleep 1
echo hangup >&7
exec 7>&-
wait "$sim" || fail 'lacsim reports a failure'
sim=
cat "$dir/lacsim.out"
left=$(bin/lnsctl session list -o json | grep -c '"id"') || true
kill -TERM "$lnsd"
wait "$lnsd" || fail 'lnsd did not end cleanly'
lnsd=

number() { tr -d '\n' <"$dir/report.json" | sed -n "s/.*\"$1\": {[^}]*\"$2\": \([0-9]*\).*/\1/p"; }
seen() { sed -n "s/.*responder has seen.* $1=\([0-9]*\).*/\1/p" "$dir/lnsd.log"; }
dialled=$(number sessions dialled) sent=$(number packets sent) answered=$(number packets answered)
accounted=$(seen stops)
[ "$up" = "$total" ] || fail "$up of $total sessions were up"
[ "$(number sessions ended_by_lns)" = 1 ] || fail 'the disconnected session was not ended by the LNS'
[ "$(seen starts) $(seen open) $(seen twice) $(seen out_of_order)" = "$total 0 0 0" ] || fail "accounting: $(grep 'responder has seen' "$dir/lnsd.log")"
[ "$left" = 0 ] || fail "$left sessions are left"
echo
echo "demo: $dialled dialled, $up up, $sent packets, $((sent - answered)) lost, $accounted accounted, $left left"
