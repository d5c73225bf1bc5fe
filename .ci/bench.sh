#!/bin/sh
# Every benchmark, one process after another, as tables in docs/benchmarks.md: first the engine beside its peers, then
# every package. Figures of one table were taken in one run on one machine: read ratios, not absolutes. BENCH narrows (and
# leaves the peers out), BENCHTIME sets the time of each (default 300ms). docs/benchmarks.in.md is the text in front.
set -eu
out=$(mktemp)
peers=$(mktemp)
guards=$(mktemp)
encoders=$(mktemp)
trap 'rm -f "$out" "$peers" "$peers.bin" "$guards" "$guards.bin" "$encoders" "${streams:-}"' EXIT
if [ -z "${BENCH:-}" ]; then
  (cd host/internal/wasm/peers && go build -o "$peers.bin" . && "$peers.bin") | tee "$peers" >&2
  (cd host/internal/egress/peers && go build -o "$guards.bin" . && "$guards.bin" ../testdata/hostile.txt) | tee "$guards" >&2
  [ -s "$guards" ] || echo "bench: no table of egress guards (it needs Linux, user namespaces and ip)" >&2
  if ort=$(sh host/internal/infer/onnx/ort/build.sh); then "$ort" bench | tee "$encoders" >&2; fi
  [ -s "$encoders" ] || echo "bench: no table of encoders (it needs a C compiler and npm)" >&2
fi
streams=$(mktemp)
if [ -z "${BENCH:-}" ]; then
  make -s load-events 2>/dev/null | sed -n 's/^load-events: /- /p' | tee "$streams" >&2
fi
for pkg in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do
  go test -run '^$' -bench "${BENCH:-.}" -benchtime "${BENCHTIME:-300ms}" "$pkg" 2>/dev/null |
    awk -v pkg="${pkg#github.com/arw-project/arw/}" '/^Benchmark/ { name=$1; sub(/^Benchmark/, "", name); sub(/-[0-9]+$/, "", name)
      rest=""; for (i=5; i+1<=NF; i+=2) rest=rest (rest ? ", " : "") $i " " $(i+1)
      print "| " pkg " | " name " | " $3 " " $4 " | " rest " |" }' | tee -a "$out" >&2
done
{
  echo "# Benchmarks"
  echo
  echo "Made by \`make bench\` on $(date -u +%Y-%m-%d), $(go env GOOS)/$(go env GOARCH), $(getconf _NPROCESSORS_ONLN) processors, $(go version | cut -d' ' -f3)."
  echo "All rows of a table are of one run: read ratios between rows, not absolutes."
  echo
  if [ -s "$peers" ]; then
    cat docs/benchmarks.in.md
    echo
    cat "$peers"
    echo
  fi
  if [ -s "$guards" ]; then
    cat docs/guards.in.md
    echo
    cat "$guards"
    echo
  fi
  if [ -s "$encoders" ]; then
    echo "## Encoders: pure Go beside ONNX Runtime"
    echo
    echo "Six layers of width 384 with random weights, the size of a small sentence encoder; the same batches, in turns, five"
    echo "rounds, the shortest time of each. Vectors are compared first and agree within 0.0001."
    echo
    cat "$encoders"
    echo
  fi
  if [ -s "$streams" ]; then
    echo "## Event streams"
    echo
    cat "$streams"
    echo
  fi
  echo "## Every package"
  echo
  echo "What each measures stands at the benchmark."
  echo
  echo "| package | benchmark | time | more |"
  echo "|---|---|---|---|"
  cat "$out"
} > docs/benchmarks.md
echo "bench: wrote docs/benchmarks.md"
