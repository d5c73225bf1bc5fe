#!/bin/sh
# All tests, shuffled; then once more under the race detector what has goroutines of its own and compiles no guests (under
# the detector the engine's compiler takes minutes). "make race" does that for everything. Needs Go; a C compiler makes the
# race detector possible and is installed where that may be done.
set -eu
concurrent="./abi/... ./host/api ./host/internal/cas ./host/internal/db ./host/internal/files ./host/internal/journal
  ./host/internal/egress ./host/internal/dnsguard ./host/internal/netguard ./host/internal/kv ./host/internal/lease ./host/internal/policy ./host/internal/server ./host/internal/view
  ./host/internal/queue ./host/internal/queue/local ./host/internal/snappy ./host/internal/infer/slots ./host/internal/infer/shelf
  ./host/internal/action ./host/internal/stream ./host/internal/mcp ./host/internal/logic/... ./manifests/strict ./registry/... ./sdk/... ./signing/... ./packs/..."
if [ "${1:-}" = race ]; then concurrent=./...; fi
if ! command -v cc >/dev/null 2>&1 && ! command -v gcc >/dev/null 2>&1; then
  if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "test: installing gcc and libc6-dev for the race detector"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc libc6-dev >/dev/null
  else
    echo "test: no C compiler, so nothing runs under the race detector (install gcc to have it)"
    concurrent=
  fi
fi
echo "test: vet"
go vet ./...
echo "test: the import ladder and the documents"
go test -count=1 ./docs
if [ "${1:-}" != race ]; then
  echo "test: everything, shuffled"
  go test -shuffle=on -timeout 20m ./...
fi
if [ "${1:-}" != race ]; then
  # Guests of the other languages, where their tools may be installed; elsewhere with those that are there, the rest skipped
  # in so many words.
  if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && [ -z "${NO_TOOLCHAINS:-}" ]; then
    sh sdk/toolchains.sh || echo "test: some languages cannot be had here; their SDKs are SKIPPED"
  fi
  echo "test: every SDK's conformance guest and examples"
  make -s sdks
fi
[ -z "$concurrent" ] || {
  echo "test: under the race detector"
  CGO_ENABLED=1 go test -race -shuffle=on -short -timeout 60m $concurrent
  CGO_ENABLED=1 go test -race -timeout 20m -run '^TestHammer$' ./host/internal/wasm
}
