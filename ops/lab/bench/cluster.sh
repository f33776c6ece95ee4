#!/bin/bash
# The cluster's tests with every variant of a fault (CLUSTER_FULL), of which `make unit` has one each, and each of them
# TIMES times. Loss in a planned move and who answers for an address are counted by packets. As root.
#
#   TIMES=1 RUN='TestMove$|TestRollingUpgrade'  ops/lab/bench/cluster.sh
set -uo pipefail
cd "$(dirname "$0")/../../.."
if [ "$(id -u)" -ne 0 ]; then
	echo 'cluster: needs root, for namespaces'
	exit 0
fi
CLUSTER_FULL=1 go test -count="${TIMES:-1}" -timeout 0 -v -run "${RUN:-.}" ./ops/lab/cluster 2>&1 | grep -v '^        '
