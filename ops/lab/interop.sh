#!/bin/bash
# The suites against peers that nobody here wrote: ops/lab/interop and, over IPsec,
# ops/lab/ipsec. As root; the tests make guests and namespaces of their own and leave nothing
# behind. Captures, logs and the tables of the last run are in out/interop and out/ipsec.
# SUITES=ipsec picks one, RUN='TestInterop/kernel' picks cases, V=1 shows every step.
set -uo pipefail
cd "$(dirname "$0")/../.."
export CULVERT_INTEROP=1 CULVERT_INTEROP_OUT=$PWD/out/interop
export CULVERT_IPSEC=1 CULVERT_IPSEC_OUT=$PWD/out/ipsec
all=0

# Each case's line is shown when it ends, and what went wrong in it below.
show='^(ok|FAIL|panic:|interop:)|^ *--- '
[ -n "${V:-}" ] && show=''

suite() {
	local name=$1 out=out/$1 log=out/$1/test.log status skipped
	rm -rf "$out"
	mkdir -p "$out"
	printf '===== %s\n' "ops/lab/$name"
	go test -count=1 -timeout 70m -v ${RUN:+-run "$RUN"} "./ops/lab/$name" 2>&1 | tee "$log" | grep --line-buffered -E "$show"
	status=${PIPESTATUS[0]}
	[ "$status" -ne 0 ] && [ -z "${V:-}" ] && sed 's/^/  | /' "$log"
	for table in "$out"/results.txt "$out"/*/results.txt; do
		[ -f "$table" ] && { echo; cat "$table"; }
	done
	skipped=$(grep -cE '^ *--- SKIP' "$log")
	printf '%s: %d passed, %d failed, %d skipped\n' "$name" "$(grep -cE '^ *--- PASS' "$log")" "$(grep -cE '^ *--- FAIL' "$log")" "$skipped"
	if [ "$skipped" -gt 0 ]; then
		awk '/^ *--- SKIP/ { sub(/^ +/, "", last); print "  skipped: " $3 "  " last } { last = $0 }' "$log"
		if [ "${CI:-}" = true ] && [ "$(id -u)" -eq 0 ]; then
			echo 'interop: nothing may be skipped here (CI=true, root)' >&2
			status=1
		fi
	fi
	[ "$status" -eq 0 ] || all=1
}

for name in ${SUITES:-interop ipsec}; do
	suite "$name"
done
exit $all
