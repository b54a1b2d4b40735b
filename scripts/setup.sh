#!/usr/bin/env bash
# Installs what the tests need and is not there: Debian packages (needs root), the Rust sources of core and alloc and, where
# its script is at hand, the C compiler of the device.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
need() { # PACKAGE COMMAND...: the package is needed if the command fails
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || packages+=("$package")
}
need_program() { PATH="$PATH:/usr/sbin:/sbin" need "$2" command -v "$1"; }

[ -n "${MOSQUITTO:-}" ] || need_program mosquitto mosquitto
need_program mosquitto_pub mosquitto-clients
need_program openssl openssl
need_program valgrind valgrind
need_program pkg-config pkg-config
need_program cmake cmake
need_program ninja ninja-build
need_program "${CXX:-c++}" g++
need_program cmake cmake
need_program qemu-system-riscv32 qemu-system-misc
need_program riscv64-unknown-elf-gcc gcc-riscv64-unknown-elf
need picolibc-riscv64-unknown-elf test -e /usr/lib/picolibc/riscv64-unknown-elf/picolibc.specs
need dpkg-dev command -v dpkg-source
need gcc-multilib "${CC:-cc}" -m32 -fsyntax-only -x c - <<<'#include <stdio.h>'

if [ "${#packages[@]}" -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "setup: please install as root: ${packages[*]}" >&2
        exit 1
    fi
    # The tests start brokers of their own: Debian's service must not be started.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

if [ ! -f "$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library/core/src/lib.rs" ]; then
    if [ -f ../shared/tools/rust-src.sh ]; then
        bash ../shared/tools/rust-src.sh nightly
    else
        rustup component add rust-src --toolchain nightly
    fi
fi

# The device's C compiler, for the C half of the cryptography: 10 to 15 minutes, once a machine.
if [ -f ../shared/tools/csky-toolchain.sh ] && ! PATH="$PATH:/opt/csky/bin" command -v csky-elfabiv2-gcc >/dev/null; then
    bash ../shared/tools/csky-toolchain.sh
fi
