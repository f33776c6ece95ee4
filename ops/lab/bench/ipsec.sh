#!/bin/bash
# The proofs of L2TP over IPsec that take too long for `make interop`, as root:
#
#   ops/lab/bench/ipsec.sh scale       2,000 LACs (SAS=2000), each with an SA and a tunnel: time, memory, CPU
#   ops/lab/bench/ipsec.sh rekey       keys renewed every 20 s for 10 minutes (FOR=10m) under traffic, IKEv2 and IKEv1
#   ops/lab/bench/ipsec.sh mutations   every mechanism taken out, one after the other (ONLY='the wall' picks some),
#                                      and whether the rows of the suite that are about it fail
#   ops/lab/bench/ipsec.sh takeover    two nodes on one PostgreSQL in one guest: the LAC's IKE comes back by itself
#
# Tables and logs are left in out/ipsec-bench. Each takes some ten minutes to half an hour on an idle machine.
set -euo pipefail
cd "$(dirname "$0")/../../.."
if [ "$(id -u)" -ne 0 ]; then
	echo 'ipsec: needs root, for a guest with devices and namespaces'
	exit 0
fi
what=${1:-}
export CULVERT_IPSEC=1 CULVERT_IPSEC_OUT=$PWD/out/ipsec-bench/$what
case $what in
scale)
	export CULVERT_IPSEC_SAS=${SAS:-2000}
	run='TestScale$'
	;;
rekey)
	export CULVERT_IPSEC_REKEY=${FOR:-10m}
	run='TestLife/rekeying'
	;;
takeover)
	export CULVERT_IPSEC_TAKEOVER=1
	run='TestTakeover$'
	;;
mutations)
	export CULVERT_IPSEC_MUTATIONS=${ONLY:-.}
	run='TestMutations'
	;;
*)
	sed -n '2,/^set/p' "$0" | grep '^#' >&2
	exit 2
	;;
esac
rm -rf "$CULVERT_IPSEC_OUT"
mkdir -p "$CULVERT_IPSEC_OUT"
status=0
go test -count=1 -timeout 3h -v -run "$run" ./ops/lab/ipsec >"$CULVERT_IPSEC_OUT/test.log" 2>&1 || status=$?
[ $status -eq 0 ] || cat "$CULVERT_IPSEC_OUT/test.log"
cat "$CULVERT_IPSEC_OUT"/*/results.txt
exit $status
