#!/bin/sh
# Holds our client to its promises against another registry: the CNCF distribution registry as Debian packages it. It has
# no referrers API, so this also proves the tag that stands in for it.
#
#   registry/other.sh [DIR]
#
# Takes docker-registry from the PATH, or fetches the Debian package and unpacks it into DIR (default: bin/other below the
# module) without installing it. Only the first run needs the package archive.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../bin/other}
program=$(command -v docker-registry || true)
if [ -z "$program" ]; then
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	program=$dir/usr/bin/docker-registry
	if [ ! -x "$program" ]; then
		(cd "$dir" && apt-get download docker-registry && dpkg -x docker-registry_*.deb .)
	fi
fi
"$program" --version
cd "$here/.."
go test -tags otherregistry -count=1 -run '^TestOtherRegistry$' -v ./registry -args -registry "$program"
