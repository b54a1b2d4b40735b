#!/usr/bin/env bash
# Compiles and lints the device core for C-SKY: no std, no port of ours. Needs nightly Rust with rust-src.
#
# As an rlib, since a static library would need the allocator and the panic handler of a port; without LTO, since rustc
# would leave bitcode in it otherwise, and never generate the device's code; optimised, since LLVM's C-SKY back end does
# not get through compiler_builtins without.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_DEV_OPT_LEVEL=1
core=(--locked --lib --crate-type rlib --no-default-features
    --target targets/csky-unknown-none-elfabiv2.json -Z json-target-spec -Zbuild-std=core,alloc)

"${CARGO:-cargo}" +nightly rustc --release "${core[@]}"
RUSTC_WORKSPACE_WRAPPER=clippy-driver "${CARGO:-cargo}" +nightly rustc --profile check "${core[@]}" -- -D warnings
