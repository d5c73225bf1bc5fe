#!/bin/sh
# Holds what is in this folder against the programs that read it: systemd-analyze, nginx, caddy and helm. What is not here is
# installed where that may be done (Debian packages as root; helm is built from its Go module, pinned here, into DIR, default
# bin/packaging below the module). What cannot be had is said, and the exit status is then 1. That the files hang together
# with the host is held by ordinary tests (docs/deploy_test.go).
set -u
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../bin/packaging}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
failed=0

say() { echo "packaging-check: $*"; }
bad() { say "$*"; failed=1; }

need() { # PROGRAM PACKAGE
	command -v "$1" >/dev/null && return 0
	if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
		say "installing $2"
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"; } >/dev/null 2>&1
	fi
	command -v "$1" >/dev/null || { bad "$1 is missing; install $2"; return 1; }
}

# The unit, with a program that is there in place of the one that is installed.
if need systemd-analyze systemd; then
	sed "s|^ExecStart=/usr/local/bin/arw|ExecStart=/bin/true|" "$here/arw.service" >"$dir/arw.service"
	systemd-analyze verify "$dir/arw.service" && say "the unit is good" || bad "systemd does not take the unit"
	systemd-analyze security --offline=true --threshold=20 "$dir/arw.service" >"$dir/security.txt" 2>&1 &&
		say "$(tail -1 "$dir/security.txt" | tr -cd '[:print:]')" || bad "the unit is exposed: $dir/security.txt"
fi

if need nginx nginx-light && need openssl openssl; then
	[ -f "$dir/key.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=host.example \
		-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
	sed "s|/etc/arw/|$dir/|" "$here/nginx.conf" >"$dir/nginx.conf"
	nginx -t -q -e stderr -g "pid $dir/nginx.pid;" -c "$dir/nginx.conf" && say "nginx takes its template" || bad "nginx does not take its template"
fi

if need caddy caddy; then
	caddy validate --adapter caddyfile --config "$here/Caddyfile" >"$dir/caddy.txt" 2>&1 && say "Caddy takes its template" || { bad "Caddy does not take its template"; cat "$dir/caddy.txt"; }
fi

helm=$(command -v helm || echo "$dir/helm")
[ -x "$helm" ] || { say "building helm"; GOBIN="$dir" GOFLAGS= go install helm.sh/helm/v3/cmd/helm@v3.19.0; }
if [ -x "$helm" ]; then
	"$helm" lint --strict "$here/helm/arw" && say "the chart lints" || bad "the chart does not lint"
	for set in "" "--set tls.clientCA=true,networkPolicy.enabled=false,image.digest=sha256:00" "--set names={a.example,b.example},storage.className=fast,config=workers=2"; do
		# shellcheck disable=SC2086
		"$helm" template x --kube-version 1.31.0 "$here/helm/arw" $set >"$dir/chart.yaml" || bad "the chart does not render: $set"
	done
else
	bad "helm is missing"
fi
exit $failed
