#!/usr/bin/env bash
# c-test.sh plain|valgrind|sanitize|tsan TEST [SCHEME]: runs a C test program that `make test-programs` built, over mqtt (the default),
# mqtts, ws or wss. A program that ran no test fails. $C is the Makefile's.
set -euo pipefail
cd "$(dirname "$0")/.."

kinds=definite,indirect,possible
programs=${C:-target/c}
export WM_MQTT_SCHEME=${3:-mqtt}
case $1 in
    plain) run=("$programs/plain/$2") ;;
    valgrind)
        run=(valgrind --quiet --fair-sched=yes --soname-synonyms=somalloc=nouserintercepts --leak-check=full --show-leak-kinds=$kinds
            --errors-for-leak-kinds=$kinds --error-exitcode=99)
        case $2-$WM_MQTT_SCHEME in
            bad_peers* | tls* | websocket* | *-mqtts | *-wss) run+=(--suppressions=ffi-tests/harness/ring.supp) ;;
        esac
        run+=("$programs/plain/$2")
        export TEST_SLOWNESS=${TEST_SLOWNESS:-10}
        ;;
    sanitize)
        run=("$programs/sanitize/$2")
        export TEST_SLOWNESS=${TEST_SLOWNESS:-3} UBSAN_OPTIONS=print_stacktrace=1
        # The tests of the 10 s and 30 s limits run here, where they cost least, and for one scheme.
        [ "$WM_MQTT_SCHEME" != mqtt ] || export SLOW=1
        ;;
    tsan)
        run=("$programs/tsan/$2")
        export TEST_SLOWNESS=${TEST_SLOWNESS:-5}
        ;;
esac
output=$(mktemp)
trap 'rm -f "$output"' EXIT
timeout --kill-after=10 1200 "${run[@]}" 2>&1 | tee "$output"
grep -qE '\b[1-9][0-9]* passed' "$output"
