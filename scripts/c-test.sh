#!/usr/bin/env bash
# c-test.sh valgrind|sanitize TEST: runs a C test program that `make test-programs` built. A program that ran no test fails.
set -euo pipefail
cd "$(dirname "$0")/.."

kinds=definite,indirect,possible
case $1 in
    valgrind)
        run=(valgrind --quiet --fair-sched=yes --soname-synonyms=somalloc=nouserintercepts --leak-check=full --show-leak-kinds=$kinds
            --errors-for-leak-kinds=$kinds --error-exitcode=99 "target/c/plain/$2")
        export TEST_SLOWNESS=${TEST_SLOWNESS:-10}
        ;;
    sanitize)
        run=("target/c/sanitize/$2")
        # The tests of the 10 s and 30 s limits run here, where they cost least.
        export TEST_SLOWNESS=${TEST_SLOWNESS:-3} SLOW=1 UBSAN_OPTIONS=print_stacktrace=1
        ;;
esac
output=$(mktemp)
trap 'rm -f "$output"' EXIT
timeout --kill-after=10 1200 "${run[@]}" 2>&1 | tee "$output"
grep -qE '\b[1-9][0-9]* passed' "$output"
