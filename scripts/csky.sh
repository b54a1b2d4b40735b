#!/usr/bin/env bash
# csky.sh [NAME]: builds and lints the library for the device's C-SKY core, with each set of features below or with the one of
# that name: no std, the device port's Rust half. Needs nightly Rust with rust-src. With the device's C toolchain
# (csky-elfabiv2-gcc, on PATH or in /opt/csky/bin) TLS is built too, whose cryptography is partly C, and everything that the
# public functions need is linked, into target/csky-w800-elfabiv2/flash, where scripts/size.sh measures it. Without it only what
# is Rust alone is built.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh
need_nightly

cargo=${CARGO:-cargo}
export PATH="$PATH:/opt/csky/bin"
target=csky-w800-elfabiv2
# The C half of ring. gcc has no ck804ef, and its ck803ef uses registers that the SDK's tasks do not save; with ck803fr1 the one of
# scripts/csky-toolchain.sh multiplies as the vendor's compiler does.
cpu="-mcpu=ck803fr1 -mhard-float"
export CC_csky_w800_elfabiv2=csky-elfabiv2-gcc AR_csky_w800_elfabiv2=csky-elfabiv2-ar
export CFLAGS_csky_w800_elfabiv2="$cpu -Os -ffunction-sections -fdata-sections"
# cargo does not see when another compiler has taken this one's place: it sees other options.
CFLAGS_csky_w800_elfabiv2+=" -DCOMPILER_$({ csky-elfabiv2-gcc --version 2>/dev/null || true; } | cksum | cut -d ' ' -f 1)"
out=target/$target/flash
mkdir -p "$out"
# What the functions of the header need, and the port's C half when the authorities are wanted.
roots=$(sed -n 's/.*\(wm_mqtt_client_[a-z]*\)(.*/-Wl,-u,\1/p' include/wm_mqtt_client.h | sort -u; echo -Wl,-u,wm_mqtt_authorities)
# What the SDK has is at address 0 here, which a call from low addresses reaches. These come from its C library, where
# gcc's own code reaches less far.
libc=$(printf -- '-Wl,--defsym=%s=wm_mqtt_client_init ' memcpy memmove memset memcmp)

device() { # CARGO-COMMAND FEATURES ARGUMENT...
    local command=$1 features=$2
    shift 2
    "$cargo" "$NIGHTLY" "$command" --locked --lib --no-default-features --features "freertos$features" \
        --config targets/csky.toml "$@"
}

# The archive NAME from LIBRARY of cargo's, as the component does it.
archive() { # NAME LIBRARY
    cmake -DBUILT="target/$target/release/$2" -DASSEMBLY="$out/$1.s" -DLIBRARY="$out/$1.a" -DSHORTEN=y \
        -DCARGO="$cargo" -DTOOLCHAIN="$NIGHTLY" -DCOMPILER=csky-elfabiv2-gcc -DFLAGS="$cpu" \
        -DAR=csky-elfabiv2-ar -DOBJCOPY=csky-elfabiv2-objcopy \
        -P cmake/archive.cmake
}

build() { # NAME FEATURES
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    device clippy "$2" -- -D warnings
    device rustc "$2" --release --crate-type staticlib -- --emit asm="$out/$1.s"
    command -v csky-elfabiv2-gcc >/dev/null || return 0
    archive "$1" libwm_mqtt_client.a
    # shellcheck disable=SC2086 # lists of options
    csky-elfabiv2-gcc $cpu -nostdlib -nostartfiles -Wl,--gc-sections -Wl,-e,wm_mqtt_client_init \
        -Wl,--no-warn-execstack -Wl,-Ttext=0x1000 $libc -Wl,--unresolved-symbols=ignore-all $roots "$out/$1.a" -lgcc \
        -o "$out/$1.elf" -Wl,-Map,"$out/$1.map"
}

only=${1:-}
# Each with one feature more than the one before.
build tcp ""
build websocket ",websocket"
if ! command -v csky-elfabiv2-gcc >/dev/null; then
    echo "no csky-elfabiv2-gcc: built without TLS, not linked"
    exit 0
fi
build tls13 ",websocket,tls,rsa,chacha20"
build tls12 ",websocket,tls,rsa,chacha20,tls12" # the defaults of Kconfig
build roots ",websocket,tls,rsa,chacha20,tls12,webpki-roots"
# The least that speaks TLS to most brokers.
build smallest ",tls,rsa"
# With the computations of examples/board_check, for firmware.sh.
[ "$only" != checks ] || build checks ",websocket,tls,rsa,chacha20,tls12,webpki-roots,checks"
