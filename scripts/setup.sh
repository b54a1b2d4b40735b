#!/usr/bin/env bash
# setup.sh [check | bench]: installs what `make test`, or only `make check` or `make bench`, needs and is not there: Debian packages,
# parts of the Rust toolchains and, for all tests, the device's C compiler, which takes some 20 minutes to build, once. Packages and compiler need
# root and Debian; elsewhere it says what is missing and stops.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh

packages=()
need() { # PACKAGE COMMAND...: the package is needed if the command fails
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || packages+=("$package")
}
need_program() { PATH="$PATH:/usr/sbin:/sbin" need "$2" command -v "$1"; }

[ -n "${MOSQUITTO:-}" ] || need_program mosquitto mosquitto
need_program openssl openssl
need_program python3 python3
need_program "${CXX:-c++}" g++
need gcc-multilib "${CC:-cc}" -m32 -fsyntax-only -x c - <<<'#include <stdio.h>'
if [ "${1:-}" != check ]; then
    need_program valgrind valgrind
    need libmosquitto-dev test -e /usr/include/mosquitto.h
    need libpaho-mqtt-dev test -e /usr/include/MQTTAsync.h
fi
if [ -z "${1:-}" ]; then
    need_program mosquitto_pub mosquitto-clients
    need_program pkg-config pkg-config
    need_program cmake cmake
    need_program ninja ninja-build
    need_program ip iproute2
    need_program qemu-system-riscv32 qemu-system-misc
    need_program riscv64-unknown-elf-gcc gcc-riscv64-unknown-elf
    need picolibc-riscv64-unknown-elf test -e /usr/lib/picolibc/riscv64-unknown-elf/picolibc.specs
    need dpkg-dev command -v dpkg-source
fi

may_install=
[ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || may_install=yes
missing=("${packages[@]}")
[ -n "${1:-}" ] || PATH="$PATH:/opt/csky/bin" command -v csky-elfabiv2-gcc >/dev/null ||
    missing+=("csky-elfabiv2-gcc, which scripts/csky-toolchain.sh builds")
if [ -z "$may_install" ] && [ "${#missing[@]}" -gt 0 ]; then
    echo "setup: please install as root (these are Debian's names): ${missing[*]}" >&2
    exit 1
fi

if [ "${#packages[@]}" -gt 0 ]; then
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

component() { # RUSTUP-COMPONENT CARGO COMMAND [TOOLCHAIN]
    "$2" ${4:++"$4"} "$3" --version >/dev/null 2>&1 || rustup component add "$1" ${4:+--toolchain "$4"}
}
component rustfmt "${CARGO:-cargo}" fmt
component clippy "${CARGO:-cargo}" clippy
[ -z "${1:-}" ] || exit 0

if ! find_nightly; then
    rustup toolchain install "${RUST_NIGHTLY:-$pinned_nightly}" --profile minimal -c rust-src -c clippy
    need_nightly
fi
component clippy "${CARGO:-cargo}" clippy "${NIGHTLY#+}"
scripts/rust-src.sh
# One on PATH is the developer's own. Ours the script builds where it is not there, or older than the script.
if [ -n "$may_install" ] && ! command -v csky-elfabiv2-gcc >/dev/null; then scripts/csky-toolchain.sh; fi
