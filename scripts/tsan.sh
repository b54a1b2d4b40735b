#!/usr/bin/env bash
# tsan.sh: C tests under ThreadSanitizer, again and again for DURATION seconds (300), which count from the end of the build; each at
# least once. Rust's standard library is compiled with it too, so it knows every lock and atomic. There are no suppressions, and the
# stand-in of the SDK counts as ours.
#
#   PROGRAMS="races races:wss flow"   takes some of the programs, over mqtt or another scheme
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh

need_nightly
if [ ! -f "$(rust_library)/std/src/lib.rs" ] || [ -f "$(rust_library)/origin" ]; then
    echo "skip ThreadSanitizer: $NIGHTLY has no sources of its own std (rustup component add rust-src)"
    exit 0
fi
host=$(rustc "$NIGHTLY" -vV | sed -n 's/^host: //p')
target=target/tsan
read -ra tests <<<"${PROGRAMS:-races races:mqtts races:wss threads callbacks lifecycle flow events publish subscribe connect receive session}"
programs=("${tests[@]%:*}")

export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
runtime=$(rustc "$NIGHTLY" --print sysroot)/lib/rustlib/$host/lib/librustc-nightly_rt.tsan.a
RUSTFLAGS=-Zsanitizer=thread "${MAKE:-make}" "${programs[@]/#/$target/c/tsan/}" VARIANT=tsan TARGET="$target" \
    RUST="$target/$host/release" CARGO="${CARGO:-cargo} $NIGHTLY" TSAN_RUNTIME="$runtime" \
    FEATURES="-Zbuild-std=std,panic_abort --target $host ${FEATURES:-}" >/dev/null

end=$((SECONDS + ${DURATION:-300}))
export C=$target/c TSAN_OPTIONS="halt_on_error=1 exitcode=66 second_deadlock_stack=1 allow_addr2line=1 ${TSAN_OPTIONS:-}"
passed=0 rounds=0
while ((rounds == 0 || SECONDS < end)); do
    rounds=$((rounds + 1))
    for test in "${tests[@]}"; do
        ((rounds == 1 || SECONDS < end)) || break
        scheme=mqtt
        [[ $test != *:* ]] || scheme=${test#*:}
        if ! output=$(scripts/c-test.sh tsan "${test%:*}" "$scheme" 2>&1); then
            echo "$output"
            echo "$passed passed, 1 failed: $test; again: PROGRAMS=$test make tsan"
            exit 1
        fi
        count=$(grep -oE '[0-9]+ passed' <<<"$output" | tail -n 1)
        [ "$rounds" != 1 ] || echo "$test: ${count% *} tests"
        passed=$((passed + ${count% *}))
    done
done
echo "$passed passed, 0 failed, in $rounds rounds of ${#tests[@]} programs"
