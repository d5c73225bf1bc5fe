#!/bin/sh
# Builds and runs the conformance guest and the examples of every SDK and prints the table of sdk/README.md; with "write" it
# also puts the table there. A language is a folder sdk/X (or sdk/X/guest) with
#   conformance/pack.toml    the guest that abi/abitest holds to the contract; its description is the language's name
#   examples/*/pack.toml     packs that do something real, with examples of their own
# Modules stay in sdk/build/X.wasm, where tests of the engine find them. A language whose toolchain is missing is skipped
# and said so; REQUIRE=1 makes that a failure.
set -u
cd "$(dirname "$0")/.."
export ARW_TOOLCHAINS=${ARW_TOOLCHAINS:-$PWD/.toolchains}
arw=$PWD/bin/arw
mkdir -p sdk/build
rows=$(mktemp); said=$(mktemp); skipped=; failed=; built=
trap 'rm -f "$rows" "$said"' EXIT

# build DIR: 0 built, 1 failed, 2 no toolchain (the exit status of an error with code unavailable is told by its words)
# A folder with a build.sh makes its module itself, and "arw pack build" holds it to the contract.
build() {
  if [ -f "$1/build.sh" ] && ! sh "$1/build.sh" >"$said" 2>&1; then
    cat "$said"
    ! grep -q 'toolchain' "$said" || return 2
    return 1
  fi
  if "$arw" pack build "$1" >"$said" 2>&1; then return 0; fi
  cat "$said"
  ! grep -q 'code: unavailable' "$said" || return 2
  return 1
}

for manifest in sdk/*/conformance/pack.toml sdk/*/*/conformance/pack.toml; do
  [ -f "$manifest" ] || continue
  dir=${manifest%/pack.toml}
  sdk=${dir%/conformance}
  name=$(echo "${sdk#sdk/}" | cut -d/ -f1)
  echo "== $name"
  build "$dir"
  case $? in
    0) ;;
    2) skipped="$skipped $name"; continue ;;
    *) failed="$failed $name"; continue ;;
  esac
  cp "$dir/module.wasm" "sdk/build/$name.wasm"
  built="$built $name"
  "$arw" pack conform "$dir" --row >>"$rows" || failed="$failed $name"
  for example in "$sdk"/examples/*/pack.toml; do
    [ -f "$example" ] || continue
    e=${example%/pack.toml}
    build "$e"
    case $? in
      0) "$arw" pack test "$e" && cp "$e/module.wasm" "sdk/build/$name-$(basename "$e").wasm" || failed="$failed $e" ;;
      2) skipped="$skipped $name" ;;
      *) failed="$failed $e" ;;
    esac
  done
done

# What was built must also leave nothing behind: a restored instance equals a fresh one, byte for byte, in every language.
echo "== restored instances"
ARW_SDKS=$built go test -count=1 -run '^TestRestore$' ./host/internal/wasm || failed="$failed restore"

head='| language | runtime | ABI | conformance | module, bytes | one call, fresh state |
|---|---|---|---|---|---|'
echo; echo "$head"; cat "$rows"; echo
if [ "${1:-}" = write ]; then
  { sed '/<!-- table -->/q' sdk/README.md; echo "$head"; cat "$rows"; sed -n '/<!-- end of table -->/,$p' sdk/README.md; } >"$said" && cat "$said" >sdk/README.md
fi
if [ -n "$skipped" ]; then
  echo "sdks: SKIPPED, no toolchain:$skipped (sh sdk/toolchains.sh$skipped)"
  [ -z "${REQUIRE:-}" ] || exit 1
fi
[ -z "$failed" ] || { echo "sdks: FAILED:$failed"; exit 1; }
