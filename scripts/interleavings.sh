#!/usr/bin/env bash
# interleavings.sh: the library over a model of the system (interleavings/), whose scheduler tries one order of its tasks after the
# other, for DURATION seconds in all (300), which count from the end of the build. A schedule is a number: SEED (1) is the first, the
# others follow it, so another SEED tries others. A failure names its own, and prints the command that repeats it.
#
#   ONLY="deinit loss"   takes some of the scenarios
#   SCHEDULES=1          at most so many of each
#   TRACE=1              says what happens
set -euo pipefail
cd "$(dirname "$0")/.."

target=$PWD/target/interleavings
cargo=(env CARGO_TARGET_DIR="$target" "${CARGO:-cargo}")
options=(--quiet --release --locked --manifest-path interleavings/Cargo.toml)
"${cargo[@]}" build "${options[@]}"
# The reference count, under loom.
"${cargo[@]}" test "${options[@]}" --test shared

program=$target/release/interleavings
read -ra scenarios <<<"${ONLY:-$("$program" | tr '\n' ' ')}"
jobs=$(nproc)
# Each at least for a second.
DURATION=$(((${DURATION:-300} * jobs + ${#scenarios[@]} - 1) / ${#scenarios[@]}))
# What is freed is overwritten: who reads it all the same reads nonsense.
export DURATION MALLOC_PERTURB_=165
logs=$target/logs
rm -rf "$logs" && mkdir -p "$logs"
# shellcheck disable=SC2016 # for the inner shell
printf '%s\n' "${scenarios[@]}" | xargs -P "$jobs" -I {} bash -c '"$0" {} >"$1/{}" 2>&1 || : >"$1/{}.failed"' "$program" "$logs"
failed=()
for scenario in "${scenarios[@]}"; do
    # Shuttle has a word of its own about failures.
    grep -v '^Task failed, serializing schedule$\|^test panicked in task' "$logs/$scenario" || true
    [ ! -e "$logs/$scenario.failed" ] || failed+=("$scenario")
done
awk '/ schedules, / { schedules += $2; decisions += $(NF - 1) }
    END { printf "%d schedules, %d decisions, ", schedules, decisions }' "${scenarios[@]/#/$logs/}"
echo "${#failed[@]} of ${#scenarios[@]} scenarios failed${failed[*]:+: ${failed[*]}}"
[ "${#failed[@]}" = 0 ]
