#!/bin/bash
# What it saves to take a LAC's LCP and authentication over (proxy: accept) instead of
# doing both anew (always): datagrams and CPU time of a call, calls a second, and the time that
# a call takes to come up when the subscriber's line has a round trip of LINE. lacsim sends the
# same proxy AVPs in both; one lnsd has a LAC profile for each, and they take turns in each
# round. The last line is always over accept. As root, for a network namespace.
#   CALLS=10000 LACS=10 ROUNDS=3 LINE=20ms AUTH=chap  ops/lab/bench/proxy.sh
# The figures of each run are kept in out/bench.
set -euo pipefail
cd "$(dirname "$0")/../../.."
calls=${CALLS:-10000} lacs=${LACS:-10} rounds=${ROUNDS:-3} line=${LINE:-20ms} auth=${AUTH:-chap}

if [ "$(id -u)" != 0 ]; then
	echo 'bench/proxy: skipped: it needs root for its namespace'
	exit 0
fi
out=$PWD/out/bench dir=$(mktemp -d "${TMPDIR:-/tmp}/culvert-bench.XXXXXX") ns=culvert-proxy-$$
mkdir -p "$out"
pids=()

stop_all() {
	for pid in ${pids[@]+"${pids[@]}"}; do kill -KILL "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	ip netns del $ns 2>/dev/null || true
	rm -rf "$dir"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

for c in lnsd lacsim; do
	CGO_ENABLED=0 go build -trimpath -o "$dir/$c" ./cmd/$c
done
ip netns add $ns
ip -n $ns link set lo up
ip netns exec $ns "$dir/lacsim" radius 2>"$dir/radius.log" &
pids+=($!)
cat >"$dir/lnsd.yaml" <<-END
	node: bench
	l2tp: {listen: ["127.0.0.1:1701"]}
	plane: {mode: memory}
	subscriber: {local_address: 10.128.0.1, dns: [10.0.0.1, 10.0.0.2]}
	lacs:
	  - {name: accept, host_names: [accept], secret: secret, auth: [$auth], proxy: accept}
	  - {name: always, host_names: [always], secret: secret, auth: [$auth], proxy: always}
	radius:
	  auth: {servers: [{name: r, address: "127.0.0.1:1812", secret: secret}]}
	  acct: {servers: [{name: r, address: "127.0.0.1:1813", secret: secret}]}
	pools: [{name: bench, ranges: [10.128.0.2-10.129.255.254]}]
	journal: {dir: $dir/journal}
	api: {socket: $dir/lnsd.sock, http: "127.0.0.1:0"}
END
ip netns exec $ns "$dir/lnsd" run --config "$dir/lnsd.yaml" >"$dir/lnsd.log" 2>&1 &
server=$!
pids+=($server)

# CPU time of a process in microseconds.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1000000 / hz }' "/proc/$1/stat"; }

# A figure of a report: the first one of that name after a line that has the second name.
figure() { awk -v want="\"$2\":" -v after="${3:-}" 'index($0, "\"" after "\"") || after == "" { on = 1 } on && $1 == want { gsub(/[,]/, "", $2); print $2; exit }' "$1"; }

dial() { # report, policy, lacs, sessions, further flags
	local report=$1 policy=$2 lacs=$3 sessions=$4
	shift 4
	ip netns exec $ns "$dir/lacsim" run --lns 127.0.0.1 --host-name "$policy" --proxy auth --auth "$auth" --secret secret \
		--lacs "$lacs" --sessions "$sessions" --quiet --json "$report" "$@" >"$dir/lacsim.log" 2>&1
}

measure() { # policy, round: a row of figures
	local policy=$1 flood=$out/proxy-$1-$2.json slow=$out/proxy-$1-$2-line.json before result=ok
	before=$(cpu $server)
	dial "$flood" "$policy" "$lacs" $((calls / lacs)) || result=$(tail -n 1 "$dir/lacsim.log")
	local up
	up=$(figure "$flood" up sessions)
	[ "${up:-0}" -gt 0 ] || { echo "proxy: no call came up: $result" >&2; exit 1; }
	local used=$((($(cpu $server) - before) / up))
	dial "$slow" "$policy" 1 100 --rate 50 --line-delay "$line" || result=$(tail -n 1 "$dir/lacsim.log")
	echo "$(figure "$flood" received wire) $(figure "$flood" sent wire) $up $(figure "$flood" calls_per_second) $used $(figure "$flood" p50_ms setup) $(figure "$slow" p50_ms setup) $result" |
		awk '{ printf "%.1f %.0f %d %.1f %.1f %s\n", ($1 + $2) / $3, $4, $5, $6, $7, $8 }'
}

for _ in $(seq 60); do dial "$dir/try.json" accept 1 1 && break || sleep 0.25; done
echo "$auth: runs of $calls calls in $lacs tunnels, $(nproc) CPUs shared by all; datagrams are both ways, with ICRQ to ICCN and the hang-up; line round trip $line"
printf '%-8s %5s %10s %8s %8s %8s %12s  %s\n' proxy round datagrams calls/s lns_us p50_ms p50_ms_line result
for round in $(seq "$rounds"); do
	for policy in accept always; do
		measure $policy "$round" >"$dir/row"
		read -r datagrams rate used p50 slow result <"$dir/row"
		printf '%-8s %5d %10s %8s %8s %8s %12s  %s\n' $policy "$round" "$datagrams" "$rate" "$used" "$p50" "$slow" "$result"
		echo "$policy $datagrams $rate $used $p50 $slow" >>"$dir/rows"
	done
done
# Ratios of the medians.
awk '
	function median(p, c,   i, j, n, t, v) {
		n = count[p]
		for (i = 1; i <= n; i++) v[i] = row[p, c, i]
		for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (v[j] < v[i]) { t = v[i]; v[i] = v[j]; v[j] = t }
		return v[int((n + 1) / 2)]
	}
	{ count[$1]++; for (c = 2; c <= NF; c++) row[$1, c, count[$1]] = $c }
	END {
		printf "%-14s", "ratio"
		for (c = 2; c <= 6; c++) printf " %.2f", median("always", c) / median("accept", c)
		print "  (datagrams, calls/s, lns_us, p50_ms, p50_ms_line: always / accept)"
	}' "$dir/rows"
