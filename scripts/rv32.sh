#!/usr/bin/env bash
# Builds the library for 32-bit RISC-V and links it as scripts/csky.sh does for the device, into
# target/riscv32imac-unknown-none-elf/flash: the second column of scripts/size.sh, by a compiler whose back end is mature.
# Needs nightly Rust with rust-src, and Debian's gcc-riscv64-unknown-elf and picolibc.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh
need_nightly

cargo=${CARGO:-cargo} target=riscv32imac-unknown-none-elf gcc=riscv64-unknown-elf-gcc
flags="-march=rv32imac -mabi=ilp32"
export CC_riscv32imac_unknown_none_elf=$gcc AR_riscv32imac_unknown_none_elf=riscv64-unknown-elf-ar
# ring takes a RISC-V for one of 64 bits otherwise.
export CFLAGS_riscv32imac_unknown_none_elf="$flags -D__ILP32__=1 --specs=picolibc.specs -Os -ffunction-sections -fdata-sections"
out=target/$target/flash
mkdir -p "$out"
roots=$(sed -n 's/.*\(wm_mqtt_client_[a-z]*\)(.*/-Wl,-u,\1/p' include/wm_mqtt_client.h | sort -u; echo -Wl,-u,wm_mqtt_authorities)
libc=$(printf -- '-Wl,--defsym=%s=wm_mqtt_client_init ' memcpy memmove memset memcmp)

build() { # NAME FEATURES
    "$cargo" "$NIGHTLY" rustc --locked --lib --no-default-features --features "freertos$2" --config targets/rv32.toml \
        --release --crate-type staticlib
    # shellcheck disable=SC2086 # lists of options
    $gcc $flags -nostdlib -nostartfiles -Wl,--gc-sections -Wl,-e,wm_mqtt_client_init \
        -Wl,--no-warn-execstack,--no-warn-rwx-segments $libc -Wl,--unresolved-symbols=ignore-all $roots \
        "target/$target/release/libwm_mqtt_client.a" -lgcc -o "$out/$1.elf"
}

# As scripts/csky.sh.
build tcp ""
build websocket ",websocket"
build tls13 ",websocket,tls,rsa,chacha20"
build tls12 ",websocket,tls,rsa,chacha20,tls12"
build roots ",websocket,tls,rsa,chacha20,tls12,webpki-roots"
build smallest ",tls,rsa"
