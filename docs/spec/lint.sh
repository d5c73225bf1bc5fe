#!/bin/sh
# Lints docs/spec/openapi.json and asyncapi.json with Spectral and with the AsyncAPI project's own validator.
#
#   docs/spec/lint.sh [DIR]
#
# Both are npm packages pinned here; they go into DIR (default: bin/spec-lint below the module), some 450 MB. That the two
# documents are what the binary serves is held by ordinary tests. A target of its own: it needs npm and its registry the
# first time. The validator would report its use over the network; a home of its own says no.
set -eu

spectral=@stoplight/spectral-cli@6.16.3
asyncapi=@asyncapi/cli@6.2.0

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../bin/spec-lint}
mkdir -p "$dir/home"
dir=$(cd "$dir" && pwd)

command -v npm >/dev/null || { echo "spec-lint: npm is missing; install nodejs and npm"; exit 1; }
[ -x "$dir/node_modules/.bin/spectral" ] && [ -x "$dir/node_modules/.bin/asyncapi" ] ||
	npm install --prefix "$dir" --no-audit --no-fund --loglevel=error --ignore-scripts "$spectral" "$asyncapi"

export CI=true HOME="$dir/home" SUPPRESS_NO_CONFIG_WARNING=1
echo '{"analyticsEnabled":"false","infoMessageShown":"true","userID":"00000000-0000-4000-8000-000000000000"}' >"$HOME/.asyncapi-analytics"
"$dir/node_modules/.bin/spectral" lint --fail-severity=warn -r "$here/spectral.yaml" "$here/openapi.json" "$here/asyncapi.json"
"$dir/node_modules/.bin/asyncapi" validate --fail-severity=warn "$here/asyncapi.json"
