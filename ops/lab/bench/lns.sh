#!/bin/bash
# lacsim against lnsd and against Debian's l2tpns, in turn, in a network namespace
# each, with the same RADIUS responder outside of both: PAP calls a second,
# set-up times, and the CPU time of a call (set-up and hang-up) in the LNS, in the responder and in
# lacsim. lnsd accounts and keeps its journal; l2tpns does neither. As root.
# lnsd_untraced is lnsd without the traces of sessions, for what those cost;
# lnsd_other is the lnsd at OTHER, such as an earlier release's.
# GOFLAGS=-tags=nojournal leaves the journal out of lnsd; with an OTHER that was built
# likewise the two are compared without it.
#   CALLS=10000 LACS=10 ROUNDS=3 LNS="lnsd l2tpns" AUTH=pap  ops/lab/bench/lns.sh
#   OTHER=/path/to/lnsd LNS="lnsd lnsd_other lnsd lnsd_other"  ops/lab/bench/lns.sh
# The figures of each run are kept in out/bench.
set -euo pipefail
cd "$(dirname "$0")/../../.."
calls=${CALLS:-10000} lacs=${LACS:-10} rounds=${ROUNDS:-3} auth=${AUTH:-pap}

if [ "$(id -u)" != 0 ] || [ ! -c /dev/net/tun ]; then
	echo 'bench/lns: skipped: it needs root and /dev/net/tun for its namespaces'
	exit 0
fi
out=$PWD/out/bench dir=$(mktemp -d "${TMPDIR:-/tmp}/culvert-bench.XXXXXX") ns=culvert-bench-$$
mkdir -p "$out"
pids=()

stop_all() {
	for pid in ${pids[@]+"${pids[@]}"}; do kill -KILL "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	pids=()
	ip netns del $ns 2>/dev/null || true
}
trap 'stop_all; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

for c in lnsd lacsim; do
	CGO_ENABLED=0 go build -trimpath -o "$dir/$c" ./cmd/$c
done

# 10.99.0.1 is the LNS, 10.99.0.2 the LACs; nothing leaves the namespace.
make_network() {
	ip netns add $ns
	ip -n $ns link set lo up
	ip -n $ns addr add 10.99.0.1/32 dev lo
	ip -n $ns addr add 10.99.0.2/32 dev lo
}

start_radius() {
	ip netns exec $ns "$dir/lacsim" radius 2>"$dir/radius.log" &
	radius=$!
	pids+=($radius)
}

start_lnsd() {
	cat >"$dir/lnsd.yaml" <<-END
		node: bench
		shutdown: drop
		l2tp: {listen: ["10.99.0.1:1701"]}
		subscriber: {local_address: 10.128.0.1, dns: [10.0.0.1, 10.0.0.2]}
		lacs: [{name: bench, prefixes: [10.99.0.0/24], secret: secret, auth: [$auth]}]
		radius:
		  auth: {servers: [{name: r, address: "127.0.0.1:1812", secret: secret}]}
		  acct: {servers: [{name: r, address: "127.0.0.1:1813", secret: secret}]}
		pools: [{name: bench, ranges: [10.128.0.2-10.129.255.254]}]
		journal: {dir: $dir/journal}
		trace: {off: ${untraced:-false}}
		api: {socket: $dir/lnsd.sock, http: "127.0.0.1:0"}
	END
	# An earlier release does not know these, and what it does instead makes no difference here.
	[ -z "${binary:-}" ] || sed -i '/^shutdown:/d; /^trace:/d' "$dir/lnsd.yaml"
	rm -rf "$dir/journal"
	ip netns exec $ns "${binary:-$dir/lnsd}" run --config "$dir/lnsd.yaml" >"$dir/lnsd.log" 2>&1 &
	server=$!
	pids+=($server)
}

start_lnsd_untraced() { untraced=true start_lnsd; }
start_lnsd_other() { binary=${OTHER:?names the other lnsd} start_lnsd; }

# l2tpns reads its pool from /etc/l2tpns only, and signals its process group.
start_l2tpns() {
	command -v l2tpns >/dev/null || return 1
	mkdir -p "$dir/etc"
	: >"$dir/etc/users"
	echo 10.128.0.0/16 >"$dir/etc/ip_pool"
	cat >"$dir/etc/startup-config" <<-END
		set debug 1
		set log_file "$dir/l2tpns.log"
		set pid_file "$dir/l2tpns.pid"
		set l2tp_secret "secret"
		set primary_dns 10.0.0.1
		set secondary_dns 10.0.0.2
		set primary_radius 127.0.0.1
		set radius_secret "secret"
		set radius_authtypes "$auth"
		set bind_address 10.99.0.1
		set peer_address 10.99.0.1
		set cluster_interface lo
		set cluster_hb_timeout 10
		set cli_bind_address 127.0.0.1
	END
	ip netns exec $ns setsid unshare -m sh -c "mount --bind '$dir/etc' /etc/l2tpns && exec l2tpns" >"$dir/l2tpns.out" 2>&1 &
	pids+=($!)
	for _ in $(seq 100); do [ -s "$dir/l2tpns.pid" ] && break || sleep 0.1; done
	server=$(cat "$dir/l2tpns.pid")
	pids+=($server)
}

# CPU time of a process in microseconds, and its memory in MiB.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1000000 / hz }' "/proc/$1/stat"; }
rss() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$1/status"; }

dial() { # file, lacs, sessions: one run, its report into the file
	ip netns exec $ns "$dir/lacsim" run --lns 10.99.0.1 --source 10.99.0.2 --auth "$auth" --secret secret \
		--serial-open --lacs "$2" --sessions "$3" --quiet --json "$1" >"$dir/lacsim.log" 2>&1
}

# A figure of a report: the first one of that name after a line that has the second name.
figure() { awk -v want="\"$2\":" -v after="${3:-}" 'index($0, "\"" after "\"") || after == "" { on = 1 } on && $1 == want { gsub(/[,]/, "", $2); print $2; exit }' "$1"; }

printf '%s\n' "PAP-style runs of $calls calls in $lacs tunnels, $(nproc) CPUs shared by all; times in microseconds of CPU per call" |
	sed "s/^PAP-style/$auth/"
printf '%-13s %5s %8s %8s %8s %8s %8s %8s %6s  %s\n' lns round calls/s p50_ms p99_ms lns_us radius lacsim MiB result
for lns in ${LNS:-lnsd l2tpns}; do
	make_network
	start_radius
	if ! start_$lns; then
		echo "$lns        is not installed"
		stop_all
		continue
	fi
	for _ in $(seq 60); do dial "$dir/try.json" 1 1 && break || sleep 0.25; done
	for round in $(seq "$rounds"); do
		report=$out/$lns-$round.json
		before=$(cpu "$server") radius_before=$(cpu $radius)
		result=ok
		dial "$report" "$lacs" $((calls / lacs)) || result=$(tail -n 1 "$dir/lacsim.log")
		up=$(figure "$report" up sessions)
		[ "${up:-0}" -gt 0 ] || { echo "$lns: no call came up: $result"; break; }
		printf '%-13s %5d %8.0f %8.1f %8.1f %8.0f %8.0f %8.0f %6d  %s\n' $lns "$round" "$(figure "$report" calls_per_second)" \
			"$(figure "$report" p50_ms setup)" "$(figure "$report" p99_ms setup)" \
			$((($(cpu "$server") - before) / up)) $((($(cpu $radius) - radius_before) / up)) \
			"$(figure "$report" cpu_us_per_call)" "$(rss "$server")" "$result"
	done
	stop_all
done
