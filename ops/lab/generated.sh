#!/bin/bash
# Fails when the generated code in the tree is not what the generators make
# of it now. It works on a copy, so that a look changes nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar -c --exclude=./.git --exclude=./bin --exclude=./out . | tar -x -C "$copy"
(cd "$copy" && go generate ./...)
if ! diff -r -q --exclude=.git --exclude=bin --exclude=out . "$copy"; then
	echo 'generated code is stale: run make generate and commit what it changes' >&2
	exit 1
fi
