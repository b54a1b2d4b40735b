#!/usr/bin/env bash
# Compiles the public header alone, as C and C++, without a warning, and the assertions of the binary contract for
# pointers of 8 and of 4 bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

flags=(-Wall -Wextra -Wpedantic -Werror -Iinclude -Iffi-tests/sdk/include -fsyntax-only)
check() {
    echo "$*"
    "$@"
}
for standard in c99 c11; do
    check "${CC:-cc}" -std=$standard "${flags[@]}" -x c - <<<'#include "wm_mqtt_client.h"
int main(void) { return 0; }'
done
check "${CXX:-c++}" -std=c++17 "${flags[@]}" -x c++ - <<<'#include "wm_mqtt_client.h"
int main() { return 0; }'
for bits in 64 32; do
    check "${CC:-cc}" -std=gnu11 -m$bits "${flags[@]}" -Wno-pedantic ffi-tests/abi.c
done
