#!/bin/sh
# Runs the interoperability tests for real and writes docs/interop.md: "make interop".
#
#   signing/interop/run.sh [--keep DIR]    --keep also stores the signatures made, as test data
#
# The parts are built once, from Go modules at the versions pinned here, into a cache outside the repository
# ($XDG_CACHE_HOME/arw-interop, by default below ~/.cache): half an hour the first time, then minutes. Needs Linux, Go, the module proxy the first time,
# and either root or unprivileged user namespaces.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/arw-interop
bin=$cache/bin
keep=
[ "${1:-}" = --keep ] && keep=$2

mkdir -p "$bin"
part() { # NAME MODULE@VERSION
	[ -x "$bin/$1" ] && [ "$(cat "$bin/$1.version" 2>/dev/null)" = "$2" ] && return
	echo "interop: building $2"
	(cd "$cache" && GOBIN=$bin GOFLAGS=-p=1 go install "$2")
	echo "$2" >"$bin/$1.version"
}
part timestamp-server github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server@v2.1.3
part posix github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@v2.3.0
part fulcio github.com/sigstore/fulcio@v1.8.8
part registry github.com/distribution/distribution/v3/cmd/registry@v3.1.2
part cosign github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
cd "$top"
go build -trimpath -o "$work/arw" ./host/cmd/arw
(cd "$here" && go build -o "$work/interop" .)
"$work/arw" pack build packs/collaboration >/dev/null
sh registry/conformance.sh "$cache/conformance" >"$work/conformance" 2>&1 || { cat "$work/conformance"; exit 1; }

# A network namespace of its own: nothing outside can be reached, and the fixed ports of the parts are free.
alone="unshare -n"
[ "$(id -u)" = 0 ] || alone="unshare -rn"
mkdir "$work/run"
$alone "$work/interop" -bin "$bin" -arw "$work/arw" -work "$work/run" -pack "$top/packs/collaboration" \
	-conformance "$work/conformance" -report "$top/docs/interop.md" ${keep:+-keep "$keep"}
