#!/bin/bash
# The interop suite: peers that nobody here wrote against lnsd. As root; the
# test makes a network namespace of its own and leaves nothing behind. Captures and logs
# of the last run are in out/interop. RUN='Test/case' picks cases.
set -uo pipefail
cd "$(dirname "$0")/../.."
export CULVERT_INTEROP=1 CULVERT_INTEROP_OUT=$PWD/out/interop
rm -rf out/interop
mkdir -p out/interop
go test -count=1 -timeout 15m ${RUN:+-run "$RUN"} ${V:+-v} ./ops/lab/interop 2>&1 | tee out/interop/test.log
exit "${PIPESTATUS[0]}"
