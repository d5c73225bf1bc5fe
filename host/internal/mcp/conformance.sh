#!/bin/sh
# Runs the public MCP conformance runner against this package's server and prints what each scenario said.
#
#   host/internal/mcp/conformance.sh [DIR]
#
# The runner is the npm package pinned here; it and the node it needs go into DIR (default: bin/mcp-conformance below the
# module). Which scenarios are asked, and why the others are not, stands in conformance_test.go. A target of its own: it
# needs npm, and its registry the first time.
set -eu

runner=@modelcontextprotocol/conformance@0.1.16
node=node@22.23.3

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../../bin/mcp-conformance}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

command -v npm >/dev/null || { echo "mcp-conformance: npm is missing; install nodejs and npm"; exit 1; }
[ -x "$dir/node_modules/node/bin/node" ] && [ -d "$dir/node_modules/@modelcontextprotocol/conformance" ] ||
	npm install --prefix "$dir" --no-audit --no-fund --loglevel=error "$runner" "$node"

cd "$here"
ARW_MCP_CONFORMANCE="$dir" exec go test -count=1 -run '^TestConformance$' -v .
