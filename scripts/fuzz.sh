#!/usr/bin/env bash
# fuzz.sh: runs the fuzzing targets, one after the other, for DURATION seconds in all (420), which counts from the end of the build.
# TARGETS="decoder session" takes some of them. What they find grows in target/fuzz/corpus and is where the next run begins.
#
#   WRITE=1             puts the smallest corpus that covers the same into fuzz/corpus, or 64 files of it
#   SANITIZER=address   finds mistakes of dependencies' unsafe code, and takes twice the time
#
# A crash is made smaller, and left in target/fuzz/crashes. `cargo test one_file` in fuzz/ with FUZZ_FILE=that file runs it
# again, FUZZ_TRACE=1 says what happens in `session`, SIM_TRACE=1 in `client`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh

need_nightly
read -ra targets <<<"${TARGETS:-decoder session client tls websocket upgrade uri config}"
duration=${DURATION:-420}
host=$(rustc "$NIGHTLY" -vV | sed -n 's/^host: //p')
out=$PWD/target/fuzz
most=64
# What cargo-fuzz has the compiler do: count edges, and show what is compared.
coverage=(-Cpasses=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage+=("-Cllvm-args=-sanitizer-coverage-$option")
done
# Without the linker's clearing up it would miss what C programs bring along.
flags="${coverage[*]} -Cpanic=abort -Clink-arg=-Wl,--gc-sections ${SANITIZER:+-Zsanitizer=$SANITIZER}"
CARGO_TARGET_DIR=$out RUSTFLAGS=$flags "${CARGO:-cargo}" "$NIGHTLY" build --quiet --release --locked --features libfuzzer --manifest-path fuzz/Cargo.toml --target "$host" "${targets[@]/#/--bin=}"

executions=0 failed=()
for target in "${targets[@]}"; do
    program=$out/$host/release/$target
    corpus=$out/corpus/$target
    crashes=$out/crashes/$target
    log=$out/$target.log
    mkdir -p "$corpus" "$crashes" "fuzz/corpus/$target"
    status=0
    "$program" "$corpus" "fuzz/corpus/$target" -max_total_time=$((duration / ${#targets[@]})) -max_len=2048 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$crashes/" -print_final_stats=1 -use_value_profile="${VALUE_PROFILE:-0}" >"$log" 2>&1 || status=$?
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    executions=$((executions + ${count:-0}))
    covered=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
    echo "$target: ${count:-0} executions, ${covered:-nothing covered}, corpus of $(find "$corpus" -type f | wc -l)"
    if [ "$status" != 0 ]; then
        failed+=("$target")
        grep -E 'panicked at|^(left|right| *left| *right):|ERROR: |instead of' -A 2 "$log" | head -n 20
        crash=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        if [ -n "$crash" ]; then
            "$program" -minimize_crash=1 -max_total_time=20 -exact_artifact_path="$crash.small" "$crash" >"$log.small" 2>&1 || true
            [ -s "$crash.small" ] || cp "$crash" "$crash.small"
            echo "  $crash.small: $(head -c 200 "$crash.small" | od -An -v -tx1 | tr -d " \n")"
        fi
    elif [ -n "${WRITE:-}" ]; then
        rm -rf "$out/merged" && mkdir -p "$out/merged"
        # By edges alone: how often each is passed would make some hundred files of it.
        "$program" -set_cover_merge=1 -use_counters=0 "$out/merged" "$corpus" "fuzz/corpus/$target" -max_len="${LARGEST:-1024}" >"$log.merge" 2>&1
        # What a person has put there has a name.
        (cd "fuzz/corpus/$target" && printf '%s\n' * | grep -E '^[0-9a-f]{40}$' | xargs -r rm)
        # The largest cover most.
        (cd "$out/merged" && ls -S | head -n "$most") | xargs -I {} mv "$out/merged/{}" "fuzz/corpus/$target/"
    fi
done
echo "$executions executions, ${#failed[@]} of ${#targets[@]} targets failed${failed[*]:+: ${failed[*]}}"
[ "${#failed[@]}" = 0 ]
