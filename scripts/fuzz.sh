#!/usr/bin/env bash
# Runs rfh2's fuzz target for SECONDS (300 by default) with the stable compiler:
# `scripts/fuzz.sh [SECONDS]`. What it found before stays in crates/rfh2/fuzz/corpus, what breaks it
# is put into crates/rfh2/fuzz/artifacts. libFuzzer wants a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/../crates/rfh2/fuzz"

seconds=${1:-300}
host=$(rustc -vV | sed -n 's/^host: //p')
# A folder of its own: these flags would have everything else built anew.
export CARGO_TARGET_DIR="${CARGO_FUZZ_TARGET_DIR:-$HOME/.cache/quorate/fuzz}"
# What cargo-fuzz passes, but for the sanitizer: rfh2 forbids unsafe code. With --target,
# build scripts are built without them.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
-Cdebug-assertions -Coverflow-checks -Ccodegen-units=1"
cargo build --release --target "$host" --bin headers

mkdir -p corpus artifacts
"$CARGO_TARGET_DIR/$host/release/headers" corpus seeds -dict=tokens.dict \
    -artifact_prefix=artifacts/ -max_total_time="$seconds" -max_len=4096 -timeout=5 \
    -rss_limit_mb=1024 -print_final_stats=1
