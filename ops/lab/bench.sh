#!/bin/bash
# Go benchmarks, then the end-to-end measurements in ops/lab/bench/*.sh.
# BENCH=pattern picks benchmarks, BENCHTIME says how long each runs.
set -euo pipefail
cd "$(dirname "$0")/../.."
go test -run '^$' -bench "${BENCH:-.}" -benchtime "${BENCHTIME:-1s}" -benchmem "${@:-./...}" |
	grep -vE '^(PASS|\?|goos|goarch|cpu)|no test files'
shopt -s nullglob
for script in ops/lab/bench/*.sh; do
	printf '\n===== %s\n' "$script"
	bash "$script"
done
