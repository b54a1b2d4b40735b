# shellcheck shell=bash
# Steps of a test run: each is printed with its duration and how many tests passed in it, the first that fails ends the run and
# shows its output. The output of each is in target/test-logs. To be sourced, from the repository's folder.

export CARGO=${CARGO:-cargo} MAKE=${MAKE:-make} PATH="$PATH:/usr/sbin"
logs=target/test-logs
rm -rf "$logs"
mkdir -p "$logs"
steps=0 passed=0 skipped=0

step() { # NAME COMMAND...
    local name=$1 log status=0 start=$EPOCHREALTIME count
    shift
    steps=$((steps + 1))
    printf -v log '%s/%02d.log' "$logs" "$steps"
    "$@" </dev/null >"$log" 2>&1 || status=$?
    local seconds
    seconds=$(awk -v from="$start" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }')
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
