#!/usr/bin/env bash
# What finds most mistakes, in a few minutes: formatting, lints, Rust tests with few seeds, C tests as they are, over TCP. The rest
# is in scripts/test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/steps.sh

export SIM_SEEDS=${SIM_SEEDS:-30}
step "setup" scripts/setup.sh check
step "documents" scripts/check-documents.py
step "unsafe" scripts/check-unsafe.py
step "rustfmt" "$CARGO" fmt --check
step "clippy" "$CARGO" clippy --locked --all-targets -- -D warnings
step "Rust tests, $SIM_SEEDS seeds" "$CARGO" test --locked
step "header" scripts/check-header.sh
step "peers" "$CARGO" build --locked --no-default-features --manifest-path ffi-tests/peers/Cargo.toml --target-dir ffi-tests/peers/target
export WM_MQTT_CERTS=$PWD/target/test-certs TEST_SLOWNESS=${TEST_SLOWNESS:-3}
mkdir -p "$WM_MQTT_CERTS"
step "test certificates" ffi-tests/peers/target/debug/certs "$WM_MQTT_CERTS"
step "build, C test programs too" "$MAKE" all test-programs WARNINGS="-Wall -Wextra -Werror"

# They mostly wait: several at a time, the longest first.
JOBS=${JOBS:-$((2 * $(nproc)))}
programs=(keepalive websocket threads tls_traffic)
for source in ffi-tests/sdk/tests/*.c ffi-tests/port/*.c ffi-tests/tests/*.c; do
    test=$(basename "$source" .c)
    [[ " ${programs[*]} " = *" $test "* ]] || programs+=("$test")
done
for test in "${programs[@]}"; do begin "$test" scripts/c-test.sh plain "$test"; done
finish

echo "$passed passed, 0 failed, $skipped skipped; the rest is make test"
