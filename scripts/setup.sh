#!/usr/bin/env bash
# Installs what building, running and testing need. Does nothing when all is there.
set -euo pipefail

. "$(dirname "$0")/packages.sh"

# As `rust-version` in Cargo.toml. There is no rust-toolchain.toml: one that names a channel has
# rustup download it, or fail, where a toolchain that is new enough has another name.
RUST_MIN=1.95.0

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
# For the chaos suite's power cuts.
have mkfs.ext4 || [ -x /sbin/mkfs.ext4 ] || need e2fsprogs
# Peers for the tests of ZeroMQ, in Debian's own Python.
/usr/bin/python3 -c "import zmq" 2>/dev/null || need python3-zmq
/usr/bin/python3 -c "import ensurepip" 2>/dev/null || need python3-venv

services=()
for package in haproxy rabbitmq-server; do
    [[ " ${missing[*]-} " == *" $package "* ]] && services+=("$package.service")
done
installed erlang-base || services+=(epmd.socket epmd.service)

install_packages ${missing[@]+"${missing[@]}"} -- ${services[@]+"${services[@]}"}

# --- IBM's client package for Python --------------------------------------
# A peer for the tests of IBM MQ. Where the registry can't be reached, or has nothing for this
# machine, nothing fails here: the file `unavailable` has the tests skipped in CI too.
ibmmq=$HOME/.cache/quorate/ibmmq
unavailable=$ibmmq.unavailable
# Of this Python, which may be newer than the folder. Not imported: it would look for MQ.
has_ibmmq() { "$ibmmq/bin/python" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("ibmmq"))' 2>/dev/null; }
if has_ibmmq; then
    rm -f "$unavailable"
else
    say "installing: ibmmq 2.1.2 (Python) in $ibmmq"
    rm -rf "$ibmmq"
    /usr/bin/python3 -m venv "$ibmmq" >&2 || die "/usr/bin/python3 can't make $ibmmq: python3-venv is needed, and room on the disk"
    if told=$("$ibmmq/bin/pip" install --retries 0 --timeout 5 --only-binary :all: ibmmq==2.1.2 2>&1) && has_ibmmq; then
        rm -f "$unavailable"
    else
        rm -rf "$ibmmq"
        printf '%s\n' "$told" >"$unavailable"
        say "warning: pip can't install ibmmq, so the tests with IBM's client are skipped; why is in $unavailable"
    fi
fi
