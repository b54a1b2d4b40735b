#!/usr/bin/env bash
# Packs the component with its library prebuilt, for people without a Rust toolchain: target/wm-mqtt-client-VERSION-w800.tar.gz
# and its SHA-256. Needs what the component needs to be built: nightly Rust with rust-src and the device's C compiler, the
# vendor's csky-elfabiv2-gcc on PATH or one in /opt/csky that takes its options.
#
# The same commit and toolchains give the same bytes: order, owner, dates and modes of the files are fixed. $OUT is another
# folder than target.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh
need_nightly

export PATH="$PATH:/opt/csky/sdk-bin"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
out=${OUT:-target}
build=$out/release-w800
name=wm-mqtt-client-$version-w800
stage=$build/mqtt

if ! command -v csky-elfabiv2-gcc >/dev/null; then
    echo "release: no csky-elfabiv2-gcc on PATH or in /opt/csky/sdk-bin" >&2
    exit 1
fi

# One folder for all: they have most of what is compiled in common. Kconfig's defaults and the authorities, which the linker
# leaves out.
for choices in "OFF OFF" "ON OFF" "ON ON"; do
    read -r all checks <<<"$choices"
    cmake -S scripts/release -B "$build" -DCMAKE_C_COMPILER=csky-elfabiv2-gcc -DCMAKE_AR=csky-elfabiv2-ar \
        -DCMAKE_OBJCOPY=csky-elfabiv2-objcopy -DCONFIG_MQTT_CLIENT_TLS=$all -DCONFIG_MQTT_CLIENT_TLS12=$all \
        -DCONFIG_MQTT_CLIENT_BUILTIN_ROOTS=$all -DCONFIG_MQTT_CLIENT_WEBSOCKET=$all \
        -DCONFIG_MQTT_CLIENT_TLS_RSA=$all -DCONFIG_MQTT_CLIENT_TLS_CHACHA20=$all -DCONFIG_MQTT_CLIENT_SHORTEN_ASSEMBLY=ON \
        -DCONFIG_MQTT_CLIENT_CHECKS=$checks
done

# As components/mqtt of the SDK has it.
rm -rf "$stage"
mkdir -p "$stage"
cp --parents CMakeLists.txt Kconfig LICENSE CHANGELOG.md SECURITY*.md cmake/device.cmake cmake/prj-config.cmake include/wm_mqtt_client.h \
    src/port/freertos/*.[ch] src/ffi/mqtt_client_tls.c docs/* \
    examples/board_check/{*.md,CMakeLists.txt,prj.config,main/CMakeLists.txt,main/src/*} "$stage"
rm "$stage"/docs/{architecture,linux,linux.zh-CN,testing,unsafe}.md # of the sources that are not here
install -D -m 644 -t "$stage/lib" "$build"/libwm_mqtt_client_{tcp,full,checks}.a
install -D -m 644 -t "$stage/lib/freertos-rust" "$build/freertos-rust/shim.c"
scripts/release/notices.py >"$stage/THIRD-PARTY-NOTICES.txt"
sed "s|@VERSION@|$version|; s|@RUSTC@|$(made_with)|; s|@GCC@|$(csky-elfabiv2-gcc --version | head -n 1)|" \
    scripts/release/README.md >"$stage/README.md"
(cd "$stage" && find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum >../SHA256SUMS && mv ../SHA256SUMS .)

tar --create --directory="$build" --sort=name --format=ustar --owner=0 --group=0 --numeric-owner \
    --mtime="@$SOURCE_DATE_EPOCH" --mode=u=rwX,go=rX mqtt | gzip --no-name --best >"$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256" && cat "$name.tar.gz.sha256")
