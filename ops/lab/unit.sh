#!/bin/bash
# Every Go test but the suites that have their own command (interop, ipsec, systemd). Prints a
# line a package, the output of what failed, and what was skipped and why. With CI=true
# as root nothing may be skipped. The whole output is kept in out/unit.log.
set -uo pipefail
cd "$(dirname "$0")/../.."
mkdir -p out
log=out/unit.log
packages=$(go list "${@:-./...}" | grep -vE '/ops/lab/(interop|ipsec|systemd)$') || exit 1

# Part of the tests start real servers, whose state go's test cache cannot see: -count=1.
# shellcheck disable=SC2086
go test -count=1 -timeout 20m -v $packages >$log 2>&1
status=$?
if [ $status -ne 0 ]; then
	# Of a package that failed, everything; it ends with a line FAIL <package>.
	awk '{ text = text $0 "\n" }
	     /^(ok  |\?   )/ { text = "" }
	     /^FAIL\t/ { printf "%s", text; text = "" }
	     END { printf "%s", text }' $log
	printf '\n----- summary\n'
fi
grep -E '^(ok  |FAIL\s)' $log
# With -v a test's words stand above its closing line.
skips=$(awk '/^ *--- SKIP/ { sub(/^ +/, "", last); print "  " $3 "  " last } { last = $0 }' $log)
passed=$(grep -cE '^ *--- PASS' $log)
failed=$(grep -cE '^ *--- FAIL' $log)
skipped=$(grep -cE '^ *--- SKIP' $log)
if [ "$skipped" -gt 0 ]; then
	printf 'skipped:\n%s\n' "$skips"
fi
printf 'tests: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
if [ "$skipped" -gt 0 ] && [ "${CI:-}" = true ] && [ "$(id -u)" -eq 0 ]; then
	echo 'unit: nothing may be skipped here (CI=true, root)' >&2
	status=1
fi
exit $status
