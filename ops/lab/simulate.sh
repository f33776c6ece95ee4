#!/bin/bash
# Simulations of the LNS, one process on each core (WORKERS). Either for MINUTES with seeds that nobody has
# run before, where the first failure is told with the least events that make it and ends the search; or,
# with SEEDS=n, the n seeds from FROM (1) on, all of them, with a line for each violation, and count and time in
# the end. What was begun and broken off goes on with RESUME=1, if the code is the same still. With
# CLUSTER=1 it is the simulation of whole clusters. With MUTATIONS, an expression, builds copies of the LNS with
# one fault each instead, has the simulation find
# them, and writes the list in lns/SIMULATION.md.
set -uo pipefail
cd "$(dirname "$0")/../.."
test=TestSimulation kind=
[ -z "${CLUSTER:-}" ] || { test=TestClusterSimulation kind=cluster; }
minutes=${MINUTES:-1} seeds=${SEEDS:-} from=${FROM:-1} workers=${WORKERS:-$(nproc)}
out=$PWD/out/simulate
mkdir -p "$out"
if [ -n "${MUTATIONS:-}" ]; then
	cd lns && exec go test -count=1 -timeout 0 -run '^TestMutations$' -v -mutations "$MUTATIONS" -write .
fi
number() { # NAME VALUE
	[[ $2 =~ ^[1-9][0-9]*$ ]] || { echo "simulate: $1=$2 is no whole number above 0" >&2; exit 1; }
}
number MINUTES "$minutes" && number FROM "$from" && number WORKERS "$workers"
go test -c -o "$out/sim.test" ./lns || exit 1
export GOGC=${GOGC:-400} GOMAXPROCS=1 # there is a process for each core
pids=()
trap '[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null' EXIT
trap 'exit 130' INT TERM
simulation() { # LOG FLAG...
	(cd lns && exec "$out/sim.test" -test.run "^$test\$" -test.v -test.timeout 0 "${@:2}" >"$out/$1" 2>&1) &
	pids+=($!)
}

if [ -z "$seeds" ]; then
	rm -f "$out"/*.log
	for ((i = 1; i <= workers; i++)); do
		simulation "$i.log" "-${kind}seeds" 0 "-${kind}fresh" "${minutes}m" -shrink 60s
	done
	bad=0
	for ((i = 1; i <= workers; i++)); do
		wait -n "${pids[@]}" || { bad=1; break; }
	done
	grep -h 'fixed seeds\|sim\(_cluster\)\?_test.go\|^        ' "$out"/*.log
	[ $bad -eq 0 ] || echo 'simulate: an invariant was violated; the logs are in out/simulate' >&2
	exit $bad
fi

# Each worker takes every so manieth piece of the range; a piece that is through stays so.
number SEEDS "$seeds"
size=100
state=$(git rev-parse --short HEAD 2>/dev/null)$(git diff --quiet HEAD 2>/dev/null || echo ' with changes')
if [ -z "${RESUME:-}" ]; then
	rm -f "$out"/*.log "$out"/*.done
	printf '%s\n' "$state" >"$out/commit"
elif [ "$state" != "$(cat "$out/commit" 2>/dev/null)" ]; then
	echo "simulate: RESUME: what was begun is of commit $(cat "$out/commit" 2>/dev/null), and this is $state; begin anew without RESUME" >&2
	exit 1
fi
began=$SECONDS
worker() { # FIRST: runs the pieces from FIRST on that are its own
	local first last=$((from + seeds)) child
	trap 'kill "$child" 2>/dev/null; exit 1' TERM
	for ((first = $1; first < last; first += workers * size)); do
		[ ! -e "$out/$first.done" ] || continue
		(cd lns && exec "$out/sim.test" -test.run "^$test\$" -test.v -test.timeout 0 \
			-first "$first" "-${kind}seeds" $((last - first < size ? last - first : size)) "-${kind}fresh" 0 -all >"$out/$first.log" 2>&1) &
		child=$!
		wait "$child"
		grep -q ' fixed seeds' "$out/$first.log" || return 1
		touch "$out/$first.done"
	done
}
for ((i = 0; i < workers; i++)); do
	worker $((from + i * size)) &
	pids+=($!)
done
failed=0
for p in "${pids[@]}"; do wait "$p" || failed=1; done
pids=()
run=$(cat "$out"/*.log | sed -n 's/.*: \([0-9]*\) fixed seeds.*/\1/p' | awk '{ n += $1 } END { print n + 0 }')
bad=$(cat "$out"/*.log | grep -c 'sim\(_cluster\)\?_test.go:[0-9]*: seed [0-9]*: ')
cpu=$(cat "$out"/*.log | sed -n 's/.* violations, \([0-9.]*\) s of processor time$/\1/p' | awk '{ n += $1 } END { printf "%.0f", n }')
grep -h 'sim\(_cluster\)\?_test.go:[0-9]*: seed [0-9]*: ' "$out"/*.log | sort -u
echo "simulate: $run of $seeds seeds from $from on, $bad violations, $((SECONDS - began)) s with $workers processes, $cpu s of processor time, commit $(cat "$out/commit")"
[ "$failed" -eq 0 ] && [ "$run" -eq "$seeds" ] && [ "$bad" -eq 0 ] || {
	echo "simulate: the logs are in out/simulate; again, with a history: go test ./lns -run '^$test\$' -v -seed N" >&2
	exit 1
}
