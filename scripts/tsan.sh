#!/usr/bin/env bash
# tsan.sh: C tests under ThreadSanitizer, for some DURATION seconds at most (600), which count from the end of the build. Rust's
# standard library is compiled with it too, so it knows every lock and atomic. No suppressions. The stand-in of the SDK counts as ours.
#
#   TESTS="threads flow"   takes some of the programs (those that use several threads)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh

need_nightly
host=$(rustc "$NIGHTLY" -vV | sed -n 's/^host: //p')
target=target/tsan
read -ra tests <<<"${TESTS:-races threads callbacks lifecycle flow events publish subscribe connect receive session}"

export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only RUSTFLAGS=-Zsanitizer=thread
runtime=$(rustc "$NIGHTLY" --print sysroot)/lib/rustlib/$host/lib/librustc-nightly_rt.tsan.a
"${MAKE:-make}" "${tests[@]/#/$target/c/tsan/}" VARIANT=tsan TARGET="$target" RUST="$target/$host/release" CARGO="${CARGO:-cargo} $NIGHTLY" \
    FEATURES="-Zbuild-std=std,panic_abort --target $host ${FEATURES:-}" TSAN_RUNTIME="$runtime" >/dev/null

end=$((SECONDS + ${DURATION:-600}))
export C=$target/c TSAN_OPTIONS="halt_on_error=1 exitcode=66 second_deadlock_stack=1 allow_addr2line=1 ${TSAN_OPTIONS:-}"
passed=0 failed=() left=()
for test in "${tests[@]}"; do
    if ((SECONDS >= end)); then
        left+=("$test")
        continue
    fi
    if output=$(scripts/c-test.sh tsan "$test" 2>&1); then
        count=$(grep -oE '[0-9]+ passed' <<<"$output" | tail -n 1)
        echo "$test: $count"
        passed=$((passed + ${count% *}))
    else
        echo "$output"
        failed+=("$test")
    fi
done
echo "$passed passed, ${#failed[@]} programs failed${failed[*]:+: ${failed[*]}}${left[*]:+, no time for ${left[*]}}"
[ "${#failed[@]}" = 0 ]
