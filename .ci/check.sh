#!/bin/sh
# What must hold before a commit: format, tidy modules, vet, the ladder, other systems, every test; then a report on
# sizes, which is a compass and not a gate.
set -eu
unformatted=$(gofmt -l abi docs host manifests packs registry sdk signing)
[ -z "$unformatted" ] || { echo "check: not formatted:"; echo "$unformatted"; exit 1; }
go mod tidy -diff
go mod verify >/dev/null
make -s cross
make -s queue-nats
sh .ci/test.sh
echo "check: files over 400 lines (a compass, not a gate)"
git ls-files '*.go' | xargs wc -l | awk '$1 > 400 && $2 != "total" { print "  " $1 " " $2 }'
