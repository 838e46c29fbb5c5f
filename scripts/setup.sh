#!/usr/bin/env bash
# Installs what building, running and testing need. Does nothing when all is there.
set -euo pipefail

RUST_MIN=1.95.0

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
installed() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^.i'; }
libclang() { compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || compgen -G '/usr/lib*/libclang*.so*' >/dev/null; }

# --- Rust ---------------------------------------------------------------
check_rust() {
    have cargo && have rustc || die "cargo and rustc are not on the PATH; install Rust $RUST_MIN or newer, see https://rustup.rs"
    local version
    version=$(rustc --version 2>/dev/null | cut -d' ' -f2 | cut -d- -f1) || true
    [ -n "$version" ] || die "rustc doesn't answer to --version; try: rustup default stable"
    if [ "$(printf '%s\n' "$RUST_MIN" "$version" | sort -V | head -n 1)" != "$RUST_MIN" ]; then
        die "rustc is $version; $RUST_MIN or newer is needed: rustup update stable"
    fi
    if ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        if have rustup; then
            rustup component add rustfmt clippy >&2
        else
            say "rustfmt or clippy is missing: \`make verify\` and \`.ci/run\` need them"
        fi
    fi
}

# --- system packages ----------------------------------------------------
missing=()
need() { missing+=("$1"); }

check_rust
have clang || need clang
libclang || need libclang-dev
have g++ || need g++
have make || need make
have curl || need curl
have haproxy || need haproxy
have rabbitmq-server || need rabbitmq-server
# For the tests that put each member into a network namespace of its own.
have ip || need iproute2
have nft || need nftables

[ ${#missing[@]} -gt 0 ] || exit 0
have apt-get || die "missing: ${missing[*]} (Debian's names); there is no apt-get here, so install them by hand"

root=()
if [ "$(id -u)" -ne 0 ]; then
    have sudo || die "missing: ${missing[*]}; run as root: apt-get install ${missing[*]}"
    root=(sudo)
fi
as_root() { ${root[@]+"${root[@]}"} "$@"; }

# The tests start brokers and balancers of their own. The packages of HAProxy and
# RabbitMQ start one for the whole machine; nobody asked for that, so it's
# forbidden while they are being installed, and afterwards the services that came
# with them are switched off. What was there before stays as it was.
services=()
for package in haproxy rabbitmq-server; do
    [[ " ${missing[*]} " == *" $package "* ]] && services+=("$package.service")
done
installed erlang-base || services+=(epmd.socket epmd.service)

policy=/usr/sbin/policy-rc.d
if [ ${#services[@]} -gt 0 ] && [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    trap 'as_root rm -f "$policy"' EXIT
fi

say "installing: ${missing[*]}"
apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" >&2; }
apt update
apt install --yes --no-install-recommends "${missing[@]}"

if have systemctl && [ -d /run/systemd/system ]; then
    for service in "${services[@]}"; do
        as_root systemctl disable --now --quiet "$service" 2>/dev/null || true
    done
fi
say "done"
