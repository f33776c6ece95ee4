#!/bin/bash
# Simulations of the LNS for MINUTES, one process on each core, each with seeds that
# nobody has run before. The first failure is told with the least events that
# make it, and ends the search. With MUTATIONS, an expression, builds copies of the LNS with one
# fault each instead, has the simulation find them, and writes the list in lns/SIMULATION.md.
set -uo pipefail
cd "$(dirname "$0")/../.."
minutes=${MINUTES:-1}
mkdir -p out/simulate
if [ -n "${MUTATIONS:-}" ]; then
	cd lns && exec go test -count=1 -timeout 0 -run '^TestMutations$' -v -mutations "$MUTATIONS" -write .
fi
if ! [[ $minutes =~ ^[1-9][0-9]*$ ]]; then
	echo "simulate: MINUTES=$minutes is no whole number of minutes" >&2
	exit 1
fi
go test -c -o out/simulate/sim.test ./lns || exit 1
rm -f out/simulate/*.log
workers=${WORKERS:-$(nproc)}
cd lns
pids=()
for ((i = 1; i <= workers; i++)); do
	../out/simulate/sim.test -test.run '^TestSimulation$' -test.v -test.timeout 0 \
		-seeds 0 -fresh "${minutes}m" -shrink 60s >"../out/simulate/$i.log" 2>&1 &
	pids+=($!)
done
trap 'kill "${pids[@]}" 2>/dev/null' EXIT
bad=0
for ((i = 1; i <= workers; i++)); do
	wait -n "${pids[@]}" || { bad=1; break; }
done
grep -h 'fixed seeds\|sim_test.go\|^        ' ../out/simulate/*.log
[ $bad -eq 0 ] || echo 'simulate: an invariant was violated; the logs are in out/simulate' >&2
exit $bad
