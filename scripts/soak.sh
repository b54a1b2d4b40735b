#!/usr/bin/env bash
# soak.sh: random scenarios of the simulation from SEED on (1), for DURATION seconds (60) or SEEDS of them, on all processors: the whole
# client with an application, network, event queue and broker that have a bad day. Prints the seeds that fail, and how much was
# seen. A seed does the same each time; SEED=17 SEEDS=1 SIM_TRACE=1 shows what.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$PWD/target/soak
CARGO_TARGET_DIR=$target "${CARGO:-cargo}" build --quiet --release --locked --manifest-path fuzz/Cargo.toml --bin soak
# A runaway ends here and not with the machine.
ulimit -v 8000000
seeds=${SEEDS:-}
if [ -n "$seeds" ]; then
    duration=${DURATION:-86400}
else
    duration=${DURATION:-60}
    seeds=1000000000
fi
"$target/release/soak" "${SEED:-1}" "$seeds" "$duration"
