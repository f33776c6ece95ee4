#!/bin/bash
# Every fuzz target that go finds, FUZZTIME each, one after another. A crasher
# stays in its package's testdata/fuzz: mend it and commit it as a seed.
# Interesting inputs are hardly minimized: it would take more time than finding them.
set -uo pipefail
cd "$(dirname "$0")/../.."
time=${FUZZTIME:-60s}
mkdir -p out
log=out/fuzz.log
: >$log

# `go test -list` prints a package's targets and then a line "ok package".
list=$(go test -list '^Fuzz' "${@:-./...}") || { echo "$list"; exit 1; }
targets=$(awk '/^Fuzz/ { names = names " " $1 } /^ok / { n = split(names, a, " "); for (i = 1; i <= n; i++) print $2, a[i]; names = "" }' <<<"$list")
if [ -z "$targets" ]; then
	echo 'fuzz: no fuzz target found' >&2
	exit 1
fi
count=0 bad=0
while read -r package name; do
	count=$((count + 1))
	if out=$(go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 10x "$package" 2>&1); then
		printf '%s\n' "$out" >>$log
		# The last progress line: elapsed, execs, new interesting inputs.
		printf 'ok    %-40s %-28s %s\n' "$package" "$name" "$(grep -o 'execs: .*' <<<"$out" | tail -1)"
	else
		bad=$((bad + 1))
		printf '%s\n' "$out" | tee -a $log
		printf 'FAIL  %-40s %s\n' "$package" "$name"
	fi
done <<<"$targets"
printf 'fuzz: %d targets for %s each, %d failed\n' $count "$time" $bad
[ $bad -eq 0 ]
