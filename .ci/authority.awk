# Rows of .ci/bench.sh's table of every package, as one about leases and policies with their aims: a lease's use in 150 ns, a decision
# beside 100 policies in 30 µs.
BEGIN { FS = " *[|] *" }
function row(aim, most) {
  split($4, time, " ")
  printf "| %s | %s | %s | %s | %s |\n", $3, $4, aim, (time[1] + 0 <= most ? "yes" : "no"), $5
}
$2 == "host/internal/lease" && $3 ~ /^Use\// { row("≤ 150 ns", 150) }
$2 == "host/internal/policy" && $3 ~ /^Decide\/.*\/100$/ { row("≤ 30 µs", 30000) }
