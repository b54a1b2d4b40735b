#!/usr/bin/env bash
# Builds and lints the library for the device's C-SKY core: no std, the device port's Rust half. Needs nightly Rust with
# rust-src. With the device's C toolchain on PATH (csky-elfabiv2-gcc) it links too, and prints the flash that the public
# functions need; the symbols of the SDK and of the port's C half stay open.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
target=csky-unknown-none-elfabiv2
# LLVM's C-SKY back end does not get through compiler_builtins without optimisation.
export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_OPT_LEVEL=z
# For flash: a panic stops at once, without a message, a place or Debug texts.
export RUSTFLAGS="-Zunstable-options -Cpanic=immediate-abort -Zfmt-debug=none -Zlocation-detail=none"
device=(--locked --lib --no-default-features --features freertos --target "targets/$target.json"
    -Z json-target-spec -Zbuild-std=core,alloc)

"$cargo" +nightly rustc --release --crate-type staticlib "${device[@]}"
"$cargo" +nightly clippy "${device[@]}" -- -D warnings

command -v csky-elfabiv2-gcc >/dev/null || { echo "no csky-elfabiv2-gcc: not linked, flash not measured"; exit 0; }
out=target/$target/flash
mkdir -p "$out"
# Rust's objects carry an attribute section that the linker refuses to mix with gcc's.
csky-elfabiv2-objcopy --remove-section .csky.attributes "target/$target/release/libwm_mqtt_client.a" "$out/library.a"
roots=$(sed -n 's/.*\(wm_mqtt_client_[a-z]*\)(.*/-Wl,-u,\1/p' include/wm_mqtt_client.h | sort -u)
# shellcheck disable=SC2086 # a list of options
csky-elfabiv2-gcc -mcpu=ck803f -mhard-float -nostdlib -nostartfiles -Wl,--gc-sections,--unresolved-symbols=ignore-all \
    -Wl,-e,wm_mqtt_client_init $roots "$out/library.a" -lgcc -o "$out/library.elf"
csky-elfabiv2-size "$out/library.elf"
