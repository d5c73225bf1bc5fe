#!/bin/sh
# Fetches a real llama-server into .runtimes/llama, for the tests that `make runtimes-test` runs. Nothing is installed
# on the system: Debian's packages of the unstable suite are unpacked into a tree of their own and started through that
# tree's own loader, since they need a newer C library than most machines have. Packages are checked by apt against the
# archive's signature. A convenience for tests, not how a user gets a runtime.
#
#   sh host/internal/infer/supervise/runtimes.sh        prints the path of the wrapper to use as ARW_LLAMA_SERVER
set -eu
root=$(cd "$(dirname "$0")/../../../.." && pwd)
dir="$root/.runtimes/llama"
wrapper="$dir/llama-server"
if [ -x "$wrapper" ] && "$wrapper" --version >/dev/null 2>&1; then
	echo "$wrapper"
	exit 0
fi
case $(uname -m) in
x86_64) triple=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 backend=libggml-cpu-haswell.so ;;
*) echo "runtimes.sh: only x86_64 is known here; build llama-server and set ARW_LLAMA_SERVER" >&2; exit 1 ;;
esac
grep -q avx2 /proc/cpuinfo || backend=libggml-cpu-x64.so
for tool in apt-get dpkg; do
	command -v "$tool" >/dev/null || { echo "runtimes.sh: needs $tool; build llama-server and set ARW_LLAMA_SERVER" >&2; exit 1; }
done
rm -rf "$dir"
mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/tree"
: >"$dir/apt/status"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] http://deb.debian.org/debian sid main" >"$dir/apt/sid.list"
apt() {
	apt-get -qq -o Dir::Etc::sourcelist="$dir/apt/sid.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::Lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" -o Dir::State::status="$dir/apt/status" \
		-o APT::Sandbox::User=root "$@"
}
apt update >&2
(cd "$dir/apt" && apt download libc6 libgcc-s1 libstdc++6 libgomp1 libggml0 libllama0 llama.cpp-tools libssl3t64 libzstd1 zlib1g >&2)
for deb in "$dir"/apt/*.deb; do
	dpkg -x "$deb" "$dir/tree"
done
rm -rf "$dir/apt"
lib="$dir/tree/usr/lib/$triple"
cat >"$wrapper" <<WRAP
#!/bin/sh
GGML_BACKEND_PATH="$lib/ggml/backends0/$backend" exec "$lib/$loader" --library-path "$lib:$lib/llama" "$dir/tree/usr/bin/llama-server" "\$@"
WRAP
chmod 755 "$wrapper"
"$wrapper" --version >&2
echo "$wrapper"
