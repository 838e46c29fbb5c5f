#!/usr/bin/env bash
# Runs the fuzz targets, each for SECONDS (300 by default), with the stable compiler:
# `scripts/fuzz.sh [SECONDS [CRATE...]]`. What one found before stays in crates/CRATE/fuzz/corpus, what
# breaks it is put into crates/CRATE/fuzz/artifacts. libFuzzer wants a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/../crates"

seconds=${1:-300}
[ $# -gt 1 ] && crates=("${@:2}") || crates=(rfh2 ipc resources)
host=$(rustc -vV | sed -n 's/^host: //p')
# A folder of its own: these flags would have everything else built anew.
export CARGO_TARGET_DIR="${CARGO_FUZZ_TARGET_DIR:-$HOME/.cache/quorate/fuzz}"
# What cargo-fuzz passes, but for the sanitizer: these crates have no unsafe code that is fuzzed.
# With --target, build scripts are built without them.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
-Cdebug-assertions -Coverflow-checks -Ccodegen-units=1"

for crate in "${crates[@]}"; do
    pushd "$crate/fuzz" > /dev/null
    target=$(basename fuzz_targets/*.rs .rs)
    cargo build --release --target "$host" --bin "$target"
    mkdir -p corpus artifacts
    seeds=() words=()
    [ -d seeds ] && seeds=(seeds)
    [ -f tokens.dict ] && words=(-dict=tokens.dict)
    "$CARGO_TARGET_DIR/$host/release/$target" corpus "${seeds[@]}" "${words[@]}" \
        -artifact_prefix=artifacts/ -max_total_time="$seconds" -max_len=4096 -timeout=5 \
        -rss_limit_mb=1024 -print_final_stats=1
    popd > /dev/null
done
