# shellcheck shell=bash
# Steps of a test run: each is printed with its duration and how many tests passed in it, the first that fails ends the run and
# shows its output. The output of each is in target/test-logs. To be sourced, from the repository's folder.

export CARGO=${CARGO:-cargo} MAKE=${MAKE:-make} PATH="$PATH:/usr/sbin"
logs=target/test-logs
rm -rf "$logs"
mkdir -p "$logs"
steps=0 reported=0 passed=0 skipped=0 names=()

step() { # NAME COMMAND...
    finish
    name_next "$1"
    run "${@:2}" || true
    finish
}

# A step that runs beside others that were begun, $JOBS at a time: by default one for each processor. They are finished before the next
# step, and reported in their order.
begin() { # NAME COMMAND...
    # When one has failed no other is begun.
    if [ $((steps - reported)) -ge "${JOBS:-$(nproc)}" ] && ! wait -n; then finish; fi
    name_next "$1"
    run "${@:2}" &
}

finish() {
    wait
    while [ "$reported" -lt "$steps" ]; do
        reported=$((reported + 1))
        report "$(log_of "$reported")" "${names[reported]}"
    done
}

name_next() { # NAME
    steps=$((steps + 1))
    names[steps]=$1
}

log_of() { printf '%s/%02d.log' "$logs" "$1"; } # NUMBER

# The newest step.
run() { # COMMAND...
    local log status=0 start=$EPOCHREALTIME
    log=$(log_of "$steps")
    "$@" </dev/null >"$log" 2>&1 || status=$?
    awk -v from="$start" -v to="$EPOCHREALTIME" -v status="$status" 'BEGIN { printf "%d %.1f\n", status, to - from }' >"$log.ended"
    return "$status"
}

report() { # LOG NAME
    local log=$1 name=$2 status seconds count
    read -r status seconds <"$log.ended"
    if [ "$status" != 0 ]; then
        tail -n 200 "$log"
        echo "FAILED  ${seconds} s  $name (status $status, all of its output in $log)"
        echo "$passed passed, 1 failed"
        exit 1
    fi
    # What the test runners in the step counted; a step without any counts as one test.
    count=$(awk '{ for (i = 2; i <= NF; i++) if ($i ~ /^passed[,;.)]?$/) sum += $(i - 1) } END { print sum ? sum : 1 }' "$log")
    passed=$((passed + count))
    printf 'ok  %7s s  %s (%s)\n' "$seconds" "$name" "$count"
    if grep '^skip ' "$log" | sed 's/^/               /'; then
        skipped=$((skipped + $(grep -c '^skip ' "$log")))
    fi
}
