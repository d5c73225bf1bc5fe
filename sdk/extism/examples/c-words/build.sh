#!/bin/sh
# Needs clang and lld (sh sdk/toolchains.sh c). The compiler only compiles: its driver would run whatever wasm-opt is there.
set -eu
cd "$(dirname "$0")"
command -v clang >/dev/null && command -v wasm-ld >/dev/null || { echo "no toolchain: clang and wasm-ld (sh sdk/toolchains.sh c)"; exit 1; }
clang --target=wasm32 -O2 -Wall -Wextra -Werror -ffreestanding -I ../../include -c -o words.o plugin/words.c
wasm-ld --no-entry --strip-all -z stack-size=16384 -o module.wasm words.o
rm words.o
