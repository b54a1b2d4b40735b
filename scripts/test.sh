#!/usr/bin/env bash
# All tests, in order.
#
# MOSQUITTO names the broker program (default: /usr/sbin/mosquitto, else the one on PATH). WM_SDK may name a checkout of
# the vendor's SDK: then its MQTT examples are built and run too.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/steps.sh

# The library with other features than the default ones, and C programs with it, over their scheme.
with_features() { # NAME FEATURES PROGRAM:SCHEME...
    local folder=target/features/c-$1 features=$2 programs run
    shift 2
    programs=("${@%:*}")
    step "features $features: build" "$MAKE" "${programs[@]/#/$folder/sanitize/}" VARIANT=sanitize C="$folder" \
        TARGET=target/features FEATURES="--no-default-features --features $features"
    for run; do
        C=$folder begin "features $features: ${run%:*}, ${run#*:}" scripts/c-test.sh sanitize "${run%:*}" "${run#*:}"
    done
}

step "setup" scripts/setup.sh
step "documents" scripts/check-documents.py
step "unsafe" scripts/check-unsafe.py
step "rustfmt" "$CARGO" fmt --check
step "clippy" "$CARGO" clippy --locked --all-targets -- -D warnings
step "Rust tests" "$CARGO" test --locked
step "builds with fewer features" scripts/features.sh
step "licences and versions of dependencies" scripts/check-dependencies.py
for command in "fmt --check" "clippy --locked --all-targets -- -D warnings" "test --locked"; do
    # shellcheck disable=SC2086 # a list of options
    CARGO_TARGET_DIR=$PWD/target/peephole step "csky-peephole: ${command%% *}" env -C targets/csky-peephole "$CARGO" $command
done
step "what fuzzing has found" "$CARGO" test --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz
step "header" scripts/check-header.sh
step "build" "$MAKE" all
step "peers" "$MAKE" peers
# That they work: nothing is measured.
step "benchmarks" env SHORT=1 "$MAKE" bench
export WM_MQTT_CERTS=$PWD/target/test-certs
mkdir -p "$WM_MQTT_CERTS"
step "the peers' own tests" "$CARGO" test --locked --manifest-path ffi-tests/peers/Cargo.toml --target-dir ffi-tests/peers/target
step "test certificates" ffi-tests/peers/target/debug/certs "$WM_MQTT_CERTS"
export WM_MQTT_RECONNECTS=1000
step "C test programs: build" "$MAKE" test-programs WARNINGS="-Wall -Wextra -Werror"
step "C test programs: build with sanitizers" "$MAKE" test-programs VARIANT=sanitize
# They mostly wait: several at a time.
for source in ffi-tests/sdk/tests/*.c ffi-tests/port/*.c ffi-tests/tests/*.c; do
    test=$(basename "$source" .c)
    begin "$test, valgrind" scripts/c-test.sh valgrind "$test"
    begin "$test, sanitizers" scripts/c-test.sh sanitize "$test"
done
# The same over the other schemes. tls*.c, websocket.c and bad_peers.c choose theirs themselves.
for scheme in mqtts ws wss; do
    for source in ffi-tests/tests/*.c; do
        test=$(basename "$source" .c)
        case $test in bad_peers | tls | tls_* | websocket) continue ;; esac
        begin "$test, $scheme, sanitizers" scripts/c-test.sh sanitize "$test" "$scheme"
    done
done
for test in connect session receive lifecycle; do
    begin "$test, wss, valgrind" scripts/c-test.sh valgrind "$test" wss
done
# The machines that look for what no person thinks of, each for half a minute; docs/testing.md has their long forms.
step "soak" env SEED=1 SEEDS=600 scripts/soak.sh
step "interleavings" env DURATION=10 scripts/interleavings.sh
step "ThreadSanitizer" env DURATION=1 PROGRAMS="races races:wss threads callbacks" scripts/tsan.sh
step "mutants" env SHORT=1 scripts/mutants.sh
step "chaos" env BROKERS=mosquitto KINDS="network kill" DURATION=30 SEED=1 "$MAKE" chaos
# Bytes that wait between us and the broker, as on the device. A container may not allow it.
if unshare --net true 2>/dev/null; then
    for scheme in mqtt mqtts ws wss; do
        WM_MQTT_SCHEME=$scheme step "bursts through small buffers, $scheme" scripts/small-buffers.sh target/c/plain/real_broker bursts
    done
else
    echo "skipped        bursts through small buffers (no network namespace to be had)"
fi
with_features tcp host config:mqtt
with_features websocket host,websocket config:mqtt connect:ws receive:ws
# What the device has by default and the authorities, with its WebSocket engine.
with_features embedded host,tls,tls12,rsa,chacha20,websocket,webpki-roots websocket:mqtt session:mqtts receive:wss tls:mqtt bad_peers:mqtt
if [ -n "${WM_SDK:-}" ]; then
    step "the SDK's examples" python3 ffi-tests/run_examples.py --sdk "$WM_SDK"
    step "the SDK's build" scripts/sdk-build.sh "$WM_SDK"
else
    echo "skipped        the SDK's examples (WM_SDK names no checkout of the SDK)"
fi
step "installation" scripts/install-test.sh
step "demo" "$MAKE" demo BROKER=
step "device core and its size" scripts/size.sh
step "release" scripts/release-test.sh
step "component as the SDK builds it" scripts/component.sh
step "firmware in QEMU" "$MAKE" firmware-test
step "the library on C-SKY" "$MAKE" csky-test

echo "$passed passed, 0 failed, $skipped skipped"
