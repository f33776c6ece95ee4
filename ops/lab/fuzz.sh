#!/bin/bash
# Every fuzz target that go finds, FUZZTIME each, JOBS of them side by side with one
# worker each (as many as there are cores). A crasher stays in its package's testdata/fuzz: mend
# it and commit it as a seed. RUN=pattern picks targets by name. SKIP=file leaves out those that
# it lists, as "package Target" or as the lines of an earlier table that say ok: SKIP=out/fuzz.table
# goes on where a run was broken off. Interesting inputs are hardly minimized: it would take
# more time than finding them; they stay in go's cache.
set -uo pipefail
cd "$(dirname "$0")/../.."
time=${FUZZTIME:-60s}
jobs=${JOBS:-$(nproc)}
mkdir -p out
log=$PWD/out/fuzz.log table=$PWD/out/fuzz.table
cache=$(go env GOCACHE)/fuzz
work=$(mktemp -d)
# shellcheck disable=SC2046
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

skip=$work/skip
: >"$skip"
if [ -n "${SKIP:-}" ]; then
	awk '$1 == "FAIL" { next } $1 == "ok" { print $2, $3; next } { print $1, $2 }' "$SKIP" >"$skip" || exit 1
fi
: >"$log"
: >"$table"

# `go test -list` prints a package's targets and then a line "ok package".
list=$(go test -list '^Fuzz' "${@:-./...}") || { echo "$list"; exit 1; }
targets=$(awk '/^Fuzz/ { names = names " " $1 } /^ok / { n = split(names, a, " "); for (i = 1; i <= n; i++) print $2, a[i]; names = "" }' <<<"$list" |
	grep -E "${RUN:-.}" | grep -vxFf "$skip")
if [ -z "$targets" ]; then
	echo 'fuzz: no fuzz target is found, or all are left out' >&2
	exit 1
fi

# build makes a package's test with the fuzzer's instruments, once for all of its targets; program is
# it, or nothing.
build() {
	program=$work/${1//\//_}.test
	if ! go test -c -fuzz=. -o "$program" "$1" >>"$log" 2>&1; then
		printf 'FAIL  %-32s does not build; see %s\n' "$1" "$log" | tee -a "$table"
		program=
	fi
}

# one runs a target in its package's folder and writes its line of the table: the last progress line
# has execs so far, and how many inputs were new and are known in all.
one() {
	local program=$1 package=$2 name=$3 out=$work/$3.$BASHPID.out status=ok
	mkdir -p "$cache/$package"
	cd "$(go list -f '{{.Dir}}' "$package")" || exit 1
	"$program" -test.run '^$' -test.fuzz "^$name\$" -test.fuzztime "$time" -test.fuzzminimizetime 10x \
		-test.parallel 1 -test.fuzzcachedir "$cache/$package" >"$out" 2>&1 || status=FAIL
	{ printf '===== %s %s\n' "$package" "$name"; cat "$out"; } >>"$log"
	[ $status = ok ] || cat "$out"
	awk -v status=$status -v package="$package" -v name="$name" '
		/execs: / { match($0, /execs: [0-9]+/); execs = substr($0, RSTART + 7, RLENGTH - 7); sub(/.*interesting: /, ""); sub(/\)$/, ""); sub(/ \(total: /, " new, total "); found = $0 }
		END { if (!execs && status == "ok") found = "(the time went into inputs that were known)"; printf "%-5s %-32s %-20s %10d execs  %s\n", status, package, name, execs, found }' "$out" | tee -a "$table"
}

built=
while read -r package name; do
	if [ "$package" != "$built" ]; then
		built=$package
		build "$package"
	fi
	[ -n "$program" ] || continue
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
	one "$program" "$package" "$name" &
done <<<"$targets"
wait
bad=$(grep -c '^FAIL' "$table")
printf 'fuzz: %d targets for %s each, %d at a time; %d failed; the table is in out/fuzz.table\n' "$(wc -l <<<"$targets")" "$time" "$jobs" "$bad"
[ "$bad" -eq 0 ]
