#!/bin/sh
# Every benchmark, one process after another, as one table in docs/benchmarks.md. Figures of one table were taken in one
# run on one machine: read ratios, not absolutes. BENCH narrows, BENCHTIME sets the time of each (default 300ms).
set -eu
out=$(mktemp)
trap 'rm -f "$out"' EXIT
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
  echo "All rows are of one run: read ratios between rows, not absolutes. What each measures stands at the benchmark."
  echo
  echo "| package | benchmark | time | more |"
  echo "|---|---|---|---|"
  cat "$out"
} > docs/benchmarks.md
echo "bench: wrote docs/benchmarks.md"
