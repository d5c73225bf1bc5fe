#!/bin/sh
# Needs Node.js and two npm packages (sh sdk/toolchains.sh extism).
set -eu
cd "$(dirname "$0")"
tools=${ARW_TOOLCHAINS:-../../../../.toolchains}/extism/node_modules
[ -x "$tools/.bin/asc" ] || { echo "no toolchain: assemblyscript and @extism/as-pdk (sh sdk/toolchains.sh extism)"; exit 1; }
"$tools/.bin/asc" plugin/index.ts --path "$tools" --outFile module.wasm --use abort=plugin/index/myAbort -O --noAssert
