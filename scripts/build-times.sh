#!/usr/bin/env bash
# Measures what a developer waits for, as a markdown table:
# `scripts/build-times.sh [CRATE|FILE]...`. For a crate, `cargo check` in an empty target
# folder; for a file (anything with `.rs` at its end), the time from an edit to a linked
# `quorate`, the shorter of two. Nothing else should run on the machine meanwhile.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/quorate/target}"
export CARGO_TERM_QUIET=true
crates=() files=()

scratch=$(mktemp -d)
edited=
# With its old time, or the next edit elsewhere would have this file compiled too.
restore() {
    [ -z "$edited" ] || cp -p "$scratch/original" "$edited"
    edited=
}
# In the end all are touched: what was built last had the comments in it.
finish() {
    restore
    [ ${#files[@]} -eq 0 ] || touch "${files[@]}"
    rm -rf "$scratch"
}
trap finish EXIT

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { say "$@"; exit 1; }

# Seconds that a command takes, with one decimal; what the command says goes to stderr.
seconds() {
    local from to
    from=$(date +%s%N)
    "$@" >&2
    to=$(date +%s%N)
    printf '%d.%d\n' $(((to - from) / 1000000000)) $(((to - from) / 100000000 % 10))
}

build() { cargo build --workspace --bins; }

check_empty() {
    local target=$scratch/target
    rm -rf "$target"
    CARGO_TARGET_DIR=$target seconds cargo check -p "$1"
    rm -rf "$target"
}

# The comment differs each time: cargo looks at times of change, the compiler at the text.
edit_and_build() {
    cp -p "$1" "$scratch/original"
    edited=$1
    printf '// build-times %s\n' "$(date +%s%N)" >>"$1"
    seconds build
    restore
}

for argument in "$@"; do
    case $argument in
        *.rs) [ -f "$argument" ] || die "no such file: $argument"; files+=("$argument") ;;
        *) crates+=("$argument") ;;
    esac
done
[ $# -gt 0 ] || die "name crates or files, as in: scripts/build-times.sh quorate-raft src/tls.rs"

# Dependencies are fetched beforehand, and everything is built that the edits don't touch.
cargo fetch --locked
[ ${#files[@]} -eq 0 ] || build

printf '| what | seconds |\n|---|---|\n'
for crate in ${crates[@]+"${crates[@]}"}; do
    took=$(check_empty "$crate")
    # shellcheck disable=SC2016
    printf '| `cargo check -p %s`, empty target folder | %s |\n' "$crate" "$took"
done
for file in ${files[@]+"${files[@]}"}; do
    # In this shell, not in one of its own: the trap has to know what was edited.
    edit_and_build "$file" >"$scratch/took"
    edit_and_build "$file" >>"$scratch/took"
    # shellcheck disable=SC2016
    printf '| edit of `%s` to a linked `quorate` | %s |\n' "$file" "$(sort -n "$scratch/took" | head -n 1)"
done
