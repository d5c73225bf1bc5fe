#!/bin/sh
# All tests. Needs Go; a C compiler makes the race detector possible and is installed where that may be done.
set -eu
race=-race
if ! command -v cc >/dev/null 2>&1 && ! command -v gcc >/dev/null 2>&1; then
  if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "test: installing gcc and libc6-dev for the race detector"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc libc6-dev >/dev/null
  else
    echo "test: no C compiler, so the tests run without the race detector (install gcc to have it)"
    race=
  fi
fi
if [ -n "$race" ]; then CGO_ENABLED=1; else CGO_ENABLED=0; fi
export CGO_ENABLED
echo "test: vet"
go vet ./...
echo "test: the import ladder and the documents"
go test -count=1 ./docs
echo "test: everything ${race:+under the race detector, }shuffled"
exec go test $race -shuffle=on -timeout 20m ./...
