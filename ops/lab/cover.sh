#!/bin/bash
# Coverage by statement of the protocol cores, each package by its own tests. Fails
# below LEAST (95) per cent of any package, or of all. Generated code (*.pb.go) is not
# counted. V=1 lists the statements that no test runs; so does a package that falls short.
set -uo pipefail
cd "$(dirname "$0")/../.."
mkdir -p out
profile=out/cover.out
least=${LEAST:-95}
packages=("${@:-./proto/... ./lns/link ./lns/trace}")

# Tests of other packages do not count: what a package says of itself has to hold there.
# shellcheck disable=SC2068
if ! out=$(go test -timeout 5m -coverprofile=$profile ${packages[@]} 2>&1); then
	printf '%s\n' "$out"
	exit 1
fi
awk -v least="$least" -v verbose="${V:-}" '
	/^mode:/ || $1 ~ /\.pb\.go:/ { next }
	{
		file = $1; sub(/:[^:]*$/, "", file)
		package = file; sub(/\/[^\/]*$/, "", package)
		all[package] += $2
		if ($3 > 0) hit[package] += $2
		else missed[package] = missed[package] "        " $1 "\n"
	}
	function line(name, n, of, blocks) {
		share = 100 * n / of
		printf "%-6s %-28s %5d of %5d statements  %5.1f %%\n", (share > least ? "ok" : "FAIL"), name, n, of, share
		if (share <= least) bad = 1
		if (share <= least || verbose) printf "%s", blocks
	}
	END {
		for (p in all) names[++count] = p
		for (i = 2; i <= count; i++) # few enough for the simplest of sorts
			for (j = i; j > 1 && names[j] < names[j-1]; j--) { t = names[j]; names[j] = names[j-1]; names[j-1] = t }
		for (i = 1; i <= count; i++) { p = names[i]; line(p, hit[p], all[p], missed[p]); n += hit[p]; of += all[p] }
		if (!of) { print "cover: no statements; which packages are these?"; exit 1 }
		line("all of them", n, of, "")
		if (bad) printf "cover: more than %s %% of the statements have to run\n", least
		exit bad
	}' $profile
