#!/bin/sh
# Installs what the SDKs need to build packs, on a fresh Debian machine, as root where packages of the system are missing:
#   sh sdk/toolchains.sh            every language of sdk/toolchains/
#   sh sdk/toolchains.sh c rust     these
# Tools that are no Debian packages go into a folder of their own (.toolchains, or ARW_TOOLCHAINS), which git ignores and
# "arw pack build" looks into when ARW_TOOLCHAINS names it. What cannot be had is said, and the exit status is then 1; a
# language without its tools is skipped by "make sdks", loudly.
#
# A language is a file sdk/toolchains/NAME.sh. It says what it does with say, and uses apt, npm_add and pip_add below.
set -u
cd "$(dirname "$0")/.."
here=${ARW_TOOLCHAINS:-$PWD/.toolchains}
mkdir -p "$here"
failed=

say() { echo "toolchains: $*"; }

# apt PACKAGE...: installs Debian packages that are missing.
apt() {
  missing=
  for p in "$@"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
  done
  [ -n "$missing" ] || return 0
  if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
    say "missing Debian packages:$missing (as root: apt-get install$missing)"
    return 1
  fi
  say "apt-get install$missing"
  [ -n "${updated:-}" ] || { apt-get update -qq && updated=1; } || return 1
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# npm_add FOLDER PACKAGE@VERSION...: installs npm packages below the toolchains' folder, once.
npm_add() {
  into=$here/$1; shift
  [ "$(cat "$into/.installed" 2>/dev/null)" = "$*" ] && return 0
  command -v npm >/dev/null 2>&1 || apt npm || return 1
  say "npm install $* into $into"
  mkdir -p "$into" && npm install --prefix "$into" --no-audit --no-fund --silent --ignore-scripts "$@" && echo "$*" > "$into/.installed"
}

# pip_add FOLDER PACKAGE==VERSION...: installs Python packages below the toolchains' folder, once.
pip_add() {
  into=$here/$1; shift
  [ "$(cat "$into/.installed" 2>/dev/null)" = "$*" ] && return 0
  python3 -m pip --version >/dev/null 2>&1 || apt python3 python3-pip || return 1
  say "pip install $* into $into"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$into" --upgrade "$@" && echo "$*" > "$into/.installed"
}

[ $# -gt 0 ] || set -- $(ls sdk/toolchains | sed 's/\.sh$//')
for language in "$@"; do
  if [ ! -f "sdk/toolchains/$language.sh" ]; then
    say "there is no language $language; there are: $(ls sdk/toolchains | sed 's/\.sh$//' | tr '\n' ' ')"
    failed="$failed $language"
  elif . "sdk/toolchains/$language.sh"; then
    say "$language is ready"
  else
    say "$language is NOT ready"
    failed="$failed $language"
  fi
done
[ -z "$failed" ] || { say "not ready:$failed"; exit 1; }
