#!/bin/bash
# What it means to subscribers when a node of a cluster is lost and another takes over, and when an
# operator moves its address: 10,000 sessions with traffic in 100 tunnels, in network namespaces with
# PostgreSQL; a lease of LEASE seconds. The node of all sessions is killed (kill -9), frozen (SIGSTOP, SIGCONT after the
# takeover), and cut off from the database and the other node at once, at random moments; and at last moved. Of each kind:
#
#   time from the fault to the first packet that the other node sends, and until every session has had one (the
#   pings' own interval, a second, is in the latter); how long nobody sent;
#   packets lost (no answer for 5 s); sessions before and after, by their Acct-Session-Ids;
#   packets that the old node sent from the address after the other had begun to: 0, or it fails;
#   in the end accounting: a Start and a Stop for each session, none twice, and the octets.
#
# Two nodes, PostgreSQL, RADIUS and 10,000 subscribers share the machine: it wants two cores for itself,
# and takes some 4 minutes then. LEASE=1 is for moves that take longer than a lease, which must be as short a silence as others; 10 is
# lnsd's default. KILLS=0 FREEZES=0 CUTS=0 is for the moves alone. As root.
#
#   LEASE=3 TUNNELS=100 EACH=100 KILLS=3 FREEZES=3 CUTS=3 MOVES=4 PPS=1  ops/lab/bench/takeover.sh
set -uo pipefail
cd "$(dirname "$0")/../../.."
if [ "$(id -u)" -ne 0 ]; then
	echo 'takeover: needs root, for namespaces'
	exit 0
fi
TAKEOVER_LEASE="${LEASE:-3}" TAKEOVER_TUNNELS="${TUNNELS:-100}" TAKEOVER_EACH="${EACH:-100}" TAKEOVER_PPS="${PPS:-1}" \
	TAKEOVER_KILLS="${KILLS:-3}" TAKEOVER_FREEZES="${FREEZES:-3}" TAKEOVER_CUTS="${CUTS:-3}" TAKEOVER_MOVES="${MOVES:-4}" \
	go test -count=1 -timeout 30m -v -run 'TestTakeover$' ./ops/lab/cluster 2>&1 | grep -v '^        '
