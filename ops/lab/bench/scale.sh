#!/bin/bash
# The scale proof and what calls and sessions cost, beside l2tpns, as root.
# RUN='TestScale/FreeRADIUS/60x1000' picks cases, PROFILE=10 keeps CPU profiles of so many
# seconds and heap profiles. Tables, figures as JSON, and logs are left in out/scale.
set -uo pipefail
cd "$(dirname "$0")/../../.."
if [ "$(id -u)" -ne 0 ]; then
	echo 'scale: needs root, for namespaces and devices'
	exit 0
fi
export CULVERT_SCALE=full CULVERT_SCALE_OUT=$PWD/out/scale CULVERT_SCALE_PROFILE=${PROFILE:-}
mkdir -p out/scale
rm -f out/scale/*.txt
go test -count=1 -timeout 60m -v -run "${RUN:-TestBesideL2TPNS|TestScale}" ./ops/lab/scale >out/scale/test.log 2>&1
status=$?
if [ $status -ne 0 ]; then
	cat out/scale/test.log
else
	for table in out/scale/*.txt; do
		printf '\n%s\n' "$table"
		cat "$table"
	done
fi
exit $status
