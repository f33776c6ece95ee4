#!/bin/bash
# What a restart costs: 200,000 sessions brought back from the journal (time,
# processor time, memory), and 10,000 sessions with traffic through ten deaths of
# lnsd (kill to first packet, to all served, packets lost, accounting), every third of them twice in a row, while
# the next process recovers; then as many deaths under 500 calls a second that come and go, which keep the
# journal flushing and compacting. What keeping state costs a call is in durability.sh.
#
#   TUNNELS=100 EACH=100 KILLS=10 PPS=1 RATE=500  ops/lab/bench/recover.sh
set -euo pipefail
cd "$(dirname "$0")/../../.."

echo '200,000 sessions from the journal:'
go test -run '^$' -bench 'BenchmarkRecover$' -benchtime 3x -timeout 10m ./lns | grep Benchmark
echo 'restarts under traffic:'
HITLESS_TUNNELS="${TUNNELS:-100}" HITLESS_EACH="${EACH:-100}" HITLESS_KILLS="${KILLS:-10}" \
	HITLESS_PPS="${PPS:-1}" HITLESS_RATE="${RATE:-500}" \
	go test -count=1 -timeout 20m -v -run 'TestHitless' ./ops/lab/faults | grep -v '^        '
