#!/usr/bin/env bash
# demo.sh PROGRAM: runs it with the URI of a broker, $BROKER or one that is built and started here.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${BROKER:-}" ]; then
    folder=ffi-tests/demo-broker
    "${CARGO:-cargo}" build --locked --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target"
    # It quits when its standard input is closed: with this script at the latest, however that ends.
    coproc DEMO_BROKER { exec "$folder/target/debug/demo-broker" 0; }
    read -r _ _ address <&"${DEMO_BROKER[0]}"
    BROKER=mqtt://$address
fi

status=0
"$1" "$BROKER" || status=$?
exit "$status"
