#!/bin/bash
# The interop suite: peers that nobody here wrote against lnsd. As root; the
# test makes a network namespace of its own and leaves nothing behind. Captures, logs and
# the table of the last run are in out/interop. RUN='Test/case' picks cases, V=1 shows every step.
set -uo pipefail
cd "$(dirname "$0")/../.."
export CULVERT_INTEROP=1 CULVERT_INTEROP_OUT=$PWD/out/interop
rm -rf out/interop
mkdir -p out/interop
log=out/interop/test.log

# Each case's line is shown when it ends, and what went wrong in it below.
show='^(ok|FAIL|panic:|interop:)|^ *--- '
[ -n "${V:-}" ] && show=''
go test -count=1 -timeout 15m -v ${RUN:+-run "$RUN"} ./ops/lab/interop 2>&1 | tee $log | grep --line-buffered -E "$show"
status=${PIPESTATUS[0]}
[ "$status" -ne 0 ] && [ -z "${V:-}" ] && sed 's/^/  | /' $log
[ -f out/interop/results.txt ] && { echo; cat out/interop/results.txt; }
skipped=$(grep -cE '^ *--- SKIP' $log)
printf 'interop: %d passed, %d failed, %d skipped\n' "$(grep -cE '^ *--- PASS' $log)" "$(grep -cE '^ *--- FAIL' $log)" "$skipped"
if [ "$skipped" -gt 0 ]; then
	awk '/^ *--- SKIP/ { sub(/^ +/, "", last); print "  skipped: " $3 "  " last } { last = $0 }' $log
	if [ "${CI:-}" = true ] && [ "$(id -u)" -eq 0 ]; then
		echo 'interop: nothing may be skipped here (CI=true, root)' >&2
		status=1
	fi
fi
exit "$status"
