#!/usr/bin/env bash
# Links the built binary into cargo's bin folder. Never touches a file that isn't such a link.
set -euo pipefail

binary=$1
bin=${CARGO_HOME:-$HOME/.cargo}/bin
link=$bin/quorate

if [ -e "$link" ] && [ ! -L "$link" ]; then
    printf '%s is a file of its own and stays; the one just built is %s\n' "$link" "$binary" >&2
    exit 0
fi
mkdir -p "$bin"
[ "$(readlink "$link" || true)" = "$binary" ] || ln -sfn "$binary" "$link"
