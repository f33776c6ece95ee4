#!/bin/bash
# lnsd under a real systemd: ops/systemd/lnsd.service as it is shipped, installed as its head says, by systemd as process 1 of a
# User-Mode Linux guest. With sessions up (lacsim's, and one of xl2tpd and pppd) and pings in them it is restarted, killed, killed
# while it recovers, made to panic, upgraded to records of a newer version, restarted by a systemd that was itself restarted, and
# restarted on a configuration that is wrong until somebody mends it. Each time the sessions, with all their ids, and the sockets are the
# same, and no packet is refused or lost. As root, 2 to 5 minutes; times in a guest say nothing of a machine.
#
#   RUN='TestService/kill'  ops/lab/bench/systemd.sh
#
# Logs are left in out/systemd.
set -uo pipefail
cd "$(dirname "$0")/../../.."
if [ "$(id -u)" -ne 0 ]; then
	echo 'systemd: needs root, to see all of the machine'"'"'s files'
	exit 0
fi
mkdir -p out/systemd
CULVERT_SYSTEMD=1 CULVERT_SYSTEMD_OUT=$PWD/out/systemd go test -count=1 -timeout 20m -v -run "${RUN:-.}" ./ops/lab/systemd
