#!/bin/sh
# Builds the worker for ONNX Runtime into .runtimes/ort, with the library beside it. Needs a C compiler and npm, which brings the
# library's official build; nothing is installed on the system, and no script of a package is run. Prints the program's path.
set -eu
root=$(cd "$(dirname "$0")/../../../../.." && pwd)
dir="$root/.runtimes/ort"
version=1.30.0
case $(uname -m) in
x86_64) arch=x64 ;;
aarch64) arch=arm64 ;;
*) echo "build.sh: ONNX Runtime has no build for $(uname -m) here" >&2; exit 1 ;;
esac
for tool in npm cc; do
	command -v "$tool" >/dev/null || { echo "build.sh: needs $tool (Debian: apt-get install npm gcc libc6-dev)" >&2; exit 1; }
done
mkdir -p "$dir"
if [ ! -f "$dir/libonnxruntime.so.1" ] || [ "$(cat "$dir/version" 2>/dev/null)" != "$version" ]; then
	echo "build.sh: fetching ONNX Runtime $version" >&2
	rm -rf "$dir/npm" && mkdir -p "$dir/npm"
	npm install --silent --ignore-scripts --no-audit --no-fund --prefix "$dir/npm" "onnxruntime-node@$version" >&2
	cp "$dir/npm/node_modules/onnxruntime-node/bin/napi-v6/linux/$arch/libonnxruntime.so.1" "$dir/"
	rm -rf "$dir/npm"
	echo "$version" >"$dir/version"
fi
cd "$(dirname "$0")"
CGO_ENABLED=1 go build -trimpath -o "$dir/arw-ort" .
echo "$dir/arw-ort"
