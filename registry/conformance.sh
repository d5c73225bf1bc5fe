#!/bin/sh
# Runs the public OCI distribution conformance suite against the registry server and prints its table.
#
#   registry/conformance.sh [DIR]
#
# The suite is fetched as a Go module, at the version pinned here, and built into DIR (default: bin/conformance below
# the module), where its reports go too: output.txt, junit.xml, report.html, results.yaml. Exits 1 unless every test of
# the 1.1 mode passes. A target of its own: it needs the module proxy the first time.
set -eu

suite=github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../bin/conformance}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

if [ ! -x "$dir/conformance" ]; then
	(cd "$dir" && GOBIN="$dir" GOFLAGS= go install "$suite")
fi

cd "$here/.."
status=0
go test -tags conformance -count=1 -run '^TestConformance$' -v ./registry/layout \
	-args -suite "$dir/conformance" -results "$dir" || status=$?
sed -n '/^API conformance:/,$p' "$dir/output.txt"
exit $status
