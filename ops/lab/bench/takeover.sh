#!/bin/bash
# What it means to subscribers when a node of a cluster dies and another takes over, and when an
# operator moves its address: 10,000 sessions with traffic in 100 tunnels, in network namespaces with
# PostgreSQL; a lease of 3 s. Time to the first packet and until every session has had one (the pings'
# own interval is in it), packets lost, sessions and accounting before and after. As root.
#
#   TUNNELS=100 EACH=100 KILLS=4 MOVES=4 PPS=1  ops/lab/bench/takeover.sh
set -uo pipefail
cd "$(dirname "$0")/../../.."
if [ "$(id -u)" -ne 0 ]; then
	echo 'takeover: needs root, for namespaces'
	exit 0
fi
TAKEOVER_TUNNELS="${TUNNELS:-100}" TAKEOVER_EACH="${EACH:-100}" TAKEOVER_KILLS="${KILLS:-4}" TAKEOVER_MOVES="${MOVES:-4}" TAKEOVER_PPS="${PPS:-1}" \
	go test -count=1 -timeout 15m -v -run 'TestTakeover' ./ops/lab/cluster 2>&1 | grep -v '^        '
