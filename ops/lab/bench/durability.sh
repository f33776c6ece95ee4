#!/bin/bash
# What it costs a call that state is kept: calls in a second, processor time of a call in lnsd and in
# PostgreSQL, and set-up times, with nothing kept (an lnsd built for this), with the journal, with the
# database behind it (durability: node), and with acknowledgements that wait for the database
# (durability: cluster). All of them take turns in each round. First what the journal adds to a call in
# the shard alone, without sockets. Some 4 minutes; needs PostgreSQL, no root.
#
#   CALLS=5000 ROUNDS=5  ops/lab/bench/durability.sh
set -uo pipefail
cd "$(dirname "$0")/../../.."
echo 'a call in its shard, from ICRQ to CDN:'
go test -run '^$' -bench 'BenchmarkCallJournal' -timeout 5m ./lns | grep Benchmark
echo 'calls over loopback, RADIUS and accounting included:'
DURABILITY_CALLS="${CALLS:-5000}" DURABILITY_ROUNDS="${ROUNDS:-5}" \
	go test -count=1 -timeout 10m -v -run 'TestDurabilityCost' ./ops/lab/faults 2>&1 | grep -v '^ *durability_test.go.*us in lnsd$'
