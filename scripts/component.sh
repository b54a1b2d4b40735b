#!/usr/bin/env bash
# The component as the SDK builds it, with a stand-in of the SDK's build (ffi-tests/component): what its text scan reads, what is
# compiled and linked, and what a user is told who has no cargo, no nightly toolchain, another one or no rust-src. What the images leave
# to the SDK is compared with docs/sdk-symbols.txt.
#
# Compiling needs the device's C compiler (csky-elfabiv2-gcc with the SDK's options: on PATH or in /opt/csky/sdk-bin).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/sources.sh
. scripts/rust.sh

export PATH="/opt/csky/sdk-bin:$PATH"
root=$PWD
# A name that is not quoted somewhere shows.
out="$root/target/component/a folder"
# As a user has it: with everything else that is in this repository, under the name of the SDK's component. The folder's name is the
# component's, and an application has one called "main".
component=$root/target/component/mqtt
cases=0
rm -rf "$out"
mkdir -p "$out"
ln -sfn "$root" "$component"

ok() {
    echo "ok: $1"
    cases=$((cases + 1))
}
failed() {
    echo "FAILED: $*"
    exit 1
}

# What Kconfig chooses by itself, and then what is given; for CMake and for C, as the SDK writes it.
kconfig() { # FILE OPTION=VALUE...
    {
        echo COMPONENT_MQTT_ENABLED=y
        awk '$1 == "config" { name = $2 } $1 == "default" && NF == 2 { print name "=" $2 }
            $1 == "depends" { print name "=" $3 "=needs" }' Kconfig
        [ $# = 1 ] || printf '%s\n' "${@:2}"
    } | awk -F = '$3 == "needs" { needs[$1] = $2; next } { value[$1] = $2 }
        END { for (name in value) if (value[name] != "n" && !(name in needs && value[needs[name]] == "n")) {
            print "set(CONFIG_" name " " value[name] ")"
            print "add_compile_definitions(CONFIG_" name "=" (value[name] == "y" ? 1 : value[name]) ")"
        } }' | sort >"$1"
}

configure() { # NAME COMPONENT; its Kconfig is NAME.cmake
    cmake -G Ninja -S ffi-tests/component -B "$out/$1" -DCOMPONENT="$2" -DCONFIG="$out/$1.cmake" -DSDK_PATH="$out/sdk" \
        -DPROJECT_PATH="$out/project" \
        -DHEADERS="$headers" -DCMAKE_C_COMPILER="$compiler" -DPROJECT="${project:-}" >"$out/$1.log" 2>&1
}

# A path with nothing on it but what the build needs, and a home without cargo.
without_cargo() (
    unset CARGO_HOME USERPROFILE
    export HOME="$out/home" PATH="$out/bin" RUST_NIGHTLY=${chosen:-}
    "$@"
)
mkdir "$out/bin" "$out/home"
for name in cmake ninja csky-elfabiv2-gcc csky-elfabiv2-ar csky-elfabiv2-objcopy csky-elfabiv2-nm ln mkdir tail basename dirname readlink; do
    program=$(command -v "$name") && ln -s "$program" "$out/bin/$name"
done

refuses() { # NAME TEXT [WARNING]: configuring ends with this message, and with where to get Rust from
    if without_cargo configure "$1" "$component"; then failed "$1: configured all the same"; fi
    [ "$(grep -c "^CMake Error" "$out/$1.log")" = 1 ] || failed "$1: another error besides"
    local said # CMake breaks long lines
    said=$(tr -s ' \n' ' ' <"$out/$1.log")
    grep -qF "mqtt: $2" <<<"$said" || failed "$1: does not say: $2"
    local name=${chosen:-$pinned_nightly}
    grep -qF "rustup toolchain install $name --profile minimal rustup component add rust-src --toolchain $name" <<<"$said" ||
        failed "$1: does not say what to install"
    grep -qF "${3:-}" <<<"$said" || failed "$1: does not warn: $3"
    ok "$1: $2${3:+ (a warning: $3)}"
}

# ---- what a user is told; nothing is compiled ----

headers=
compiler=$(command -v csky-elfabiv2-gcc || command -v cc)

touch "$out/off.cmake"
without_cargo configure off "$component" || failed "off"
grep -q '^-- scan: $' "$out/off.log" || failed "off: the scan finds headers"
! grep -q 'image\.elf\|wm_mqtt_' "$out/off/build.ninja" || failed "off: something is built"
ok "switched off it does nothing, and needs no cargo"

kconfig "$out/no-cargo.cmake"
refuses no-cargo "cargo not found"
fake() { # NAME SCRIPT: a program of Rust's
    mkdir -p "$out/home/.cargo/bin"
    printf '#!/bin/sh\n%s\n' "$2" >"$out/home/.cargo/bin/$1"
    chmod +x "$out/home/.cargo/bin/$1"
}
cp "$out/no-cargo.cmake" "$out/no-nightly.cmake"
fake cargo 'exit 1'
fake rustc 'exit 1'
refuses no-nightly "no toolchain $pinned_nightly of Rust"
fake_rustc() { # TOOLCHAIN VERSION: the only toolchain that is there
    fake rustc "[ \"\$1\" = '+$1' ] || exit 1; [ \"\$2\" = --version ] && echo '$2' || echo '$out/home'"
}
cp "$out/no-cargo.cmake" "$out/no-rust-src.cmake"
fake_rustc "$pinned_nightly" "$pinned_rustc"
refuses no-rust-src "the toolchain $pinned_nightly lacks rust-src"
fake_rustc nightly "$pinned_rustc"
refuses no-rust-src "the toolchain nightly lacks rust-src"
cp "$out/no-cargo.cmake" "$out/no-success.cmake"
mkdir -p "$out/home/lib/rustlib/src/rust/library/core"
refuses no-success "cargo could not build the library"
! grep "CMake Warning" "$out/no-success.log" || failed "no-success: a warning"
# Another toolchain: one that is called nightly, and one that the user names.
fake_rustc nightly "rustc 1.98.0-nightly"
refuses no-success "cargo could not build the library" "the toolchain nightly is rustc 1.98.0-nightly. Figures and flags"
chosen=mine refuses no-nightly "no toolchain mine of Rust"
fake_rustc mine "rustc 1.99.0-dev"
chosen=mine refuses no-success "cargo could not build the library" "the toolchain mine is rustc 1.99.0-dev. Figures and flags"

# Lines of prj.config that did not arrive are named, others are not.
mkdir "$out/project"
cat >"$out/project/prj.config" <<'LINES'
CONFIG_COMPONENT_NET_MANAGER_ENABLED=y
# CONFIG_MQTT_CLIENT_TLS12=y
CONFIG_MQTT_CLIENT_TLS=n
CONFIG_MQTT_CLIENT_TLS_ED25519=y
CONFIG_MQTT_CLIENT_WINDOW=30
CONFIG_MQTT_CLIENT_BACKLOG=16384
CONFIG_MQTT_CLIENT_TLS_RSA=y
# CONFIG_MQTT_CLIENT_WEBSOCKET is not set
# CONFIG_MQTT_CLIENT_BUILTIN_ROOTS is not set
LINES
mkdir -p "$out/prebuilt/lib/freertos-rust"
cp -r CMakeLists.txt Kconfig cmake include src "$out/prebuilt" # configures without cargo
touch "$out/prebuilt/lib/libwm_mqtt_client_"{full,tcp}.a "$out/prebuilt/lib/freertos-rust/shim.c"
ineffective() { # NAME: the lines that are named
    without_cargo configure "$1" "$out/prebuilt" || { cat "$out/$1.log"; failed "$1: does not configure"; }
    sed -n 's/^ *CONFIG_\(MQTT_CLIENT_[A-Z0-9_]*=[a-z0-9]* is [a-z0-9]*\)$/\1/p' "$out/$1.log" | paste -sd ,
}
kconfig "$out/prj.cmake"
said=$(ineffective prj)
[ "$said" = "MQTT_CLIENT_TLS=n is y,MQTT_CLIENT_TLS_ED25519=y is n,MQTT_CLIENT_WINDOW=30 is 20,MQTT_CLIENT_WEBSOCKET=n is y" ] ||
    failed "prj.config: names $said"
tr -s ' \n' ' ' <"$out/prj.log" | grep -qF "need CONFIG_COMPONENT_MQTT_ENABLED=y beside them" || failed "prj.config: does not say what to do"
kconfig "$out/prj.cmake" MQTT_CLIENT_TLS=n MQTT_CLIENT_WINDOW=30 MQTT_CLIENT_WEBSOCKET=n
sed -i '/ED25519/d; /TLS_RSA/d' "$out/project/prj.config"
said=$(ineffective prj)
[ -z "$said" ] || failed "prj.config, all of it arrived: names $said"
! grep -F "prj.config" "$out/prj.log" || failed "prj.config, all of it arrived: is spoken of"
rm "$out/project/prj.config"
ok "lines of prj.config that have no effect are named"

if ! command -v csky-elfabiv2-gcc >/dev/null; then
    echo "skip component: compiled nothing, no csky-elfabiv2-gcc"
    echo "$cases passed"
    exit 0
fi

# ---- what is compiled and linked ----

# Kernel and lwIP: the sources of the firmware. Their headers, and the SDK's, where the SDK has them.
lwip "$root/target/firmware"
kernel=$(package firmware/kernel/Cargo.toml freertos-next)/FreeRTOS-Kernel
make --no-print-directory -s -f firmware/Makefile MACHINE=virt OUT=target/component/made KERNEL="$kernel" target/component/made/include/made
mkdir -p "$out/sdk/components/freertos/include"
ln -s "$kernel/include" "$out/sdk/components/freertos/include/freertos"
headers="$root/ffi-tests/component/include;$root/firmware/board;$root/target/component/made/include;$root/firmware/sdk/include"
headers+=";$root/firmware/lwip;$root/target/firmware/lwip/src/include;$kernel/include"

# All of them share what cargo has built.
build() { # NAME COMPONENT
    mkdir -p "$out/$1/components/$(basename "$2")" target/component/cargo
    ln -sfn "$root/target/component/cargo" "$out/$1/components/$(basename "$2")/cargo"
    configure "$1" "$2" && cmake --build "$out/$1" >>"$out/$1.log" 2>&1 || { tail -n 50 "$out/$1.log"; failed "$1: build"; }
    csky-elfabiv2-nm "$out/$1/image.elf" >"$out/$1.symbols"
}

# What an image leaves to the SDK, and what the list says.
symbols() { # NAME
    awk '$1 == "U" { print $2 }' "$out/$1.symbols" | sort
}
listed() { # the name that it has here
    awk '!/^#/ { print $3 ? $3 : $1 }' docs/sdk-symbols.txt | sort
}

kconfig "$out/default.cmake"
build default "$component"
grep -qx -- "-- scan: $component/include" "$out/default.log" || failed "default: the scan does not find the headers"
grep -qF "(freertos,tls,tls12,rsa,chacha20,websocket)" "$out/default.log" || failed "default: other features"
ok "Kconfig's defaults"

before=$(stat -c %y "$out/default/image.elf")
cmake --build "$out/default" >>"$out/default.log" 2>&1
[ "$(stat -c %y "$out/default/image.elf")" = "$before" ] || failed "nothing has changed, and it is linked again"
ok "nothing has changed: nothing is linked"

! grep -i ed25519 "$out/default.symbols" || failed "default: has Ed25519 in it"
kconfig "$out/default.cmake" MQTT_CLIENT_BUILTIN_ROOTS=y MQTT_CLIENT_TLS_ED25519=y
cmake --build "$out/default" >>"$out/default.log" 2>&1 || failed "another choice in Kconfig: build"
csky-elfabiv2-nm "$out/default/image.elf" >"$out/all.symbols"
grep -qaF "ISRG Root X1" "$out/default/image.elf" || failed "the roots are not in it"
grep -qi ed25519 "$out/all.symbols" || failed "Ed25519 is not in it"
ok "another choice in Kconfig: compiled and linked by the next build"

diff <(listed) <(symbols all) >"$out/difference" ||
    failed "what the component takes from the SDK (>) is not what docs/sdk-symbols.txt says (<): $(grep '^[<>]' "$out/difference" | tr '\n' ' ')"
ok "it takes from the SDK what docs/sdk-symbols.txt says"

kconfig "$out/default.cmake" MQTT_CLIENT_SHORTEN_ASSEMBLY=n
cmake --build "$out/default" >>"$out/default.log" 2>&1 || failed "assembly not shortened: build"
text_size() { csky-elfabiv2-size "$1" | awk 'NR == 2 { print $1 }'; }
long=$(text_size "$out/default/image.elf")
kconfig "$out/default.cmake"
cmake --build "$out/default" >>"$out/default.log" 2>&1 || failed "assembly shortened again: build"
short=$(text_size "$out/default/image.elf")
[ "$long" -gt $((short + short / 8)) ] || failed "shortened assembly or not: $short and $long bytes"
csky-elfabiv2-nm "$out/default/image.elf" >"$out/default.symbols"
ok "rustc's own object is linked where Kconfig says so: $long bytes, not $short"

kconfig "$out/tcp.cmake" MQTT_CLIENT_TLS=n MQTT_CLIENT_WEBSOCKET=n
build tcp "$component"
grep -qF "(freertos)" "$out/tcp.log" || failed "tcp: other features"
! grep -E 'rustls|ring_core|mqtt_client_tls|edge_ws' "$out/tcp.symbols" || failed "tcp: has TLS or WebSocket in it"
more=$(comm -13 <(listed) <(symbols tcp))
[ -z "$more" ] || failed "tcp: takes from the SDK besides: $more"
ok "TCP only"

# What is left when cargo takes an archive of before is not what belongs to it.
built=target/component/cargo
if cmake -DBUILT="$built/csky-w800-elfabiv2/release/libwm_mqtt_client.a" -DASSEMBLY="$built/freertos-tls-tls12-rsa-chacha20-websocket.s" \
    -DLIBRARY="$out/mixed.a" -DSHORTEN=y -DCARGO="$(command -v cargo)" -DCOMPILER="$compiler" "-DFLAGS=-mcpu=ck804ef -mhard-float" \
    -DAR="$(command -v csky-elfabiv2-ar)" -DOBJCOPY="$(command -v csky-elfabiv2-objcopy)" -P cmake/archive.cmake >"$out/mixed.log" 2>&1; then
    failed "assembly of another build: taken"
fi
tr -s ' \n' ' ' <"$out/mixed.log" | grep -qF "is of another build than" || failed "assembly of another build: $(cat "$out/mixed.log")"
ok "assembly of another build is refused"

# What is libc's and libgcc's by that list is there.
gcc=(csky-elfabiv2-gcc -mcpu=ck804ef -mhard-float)
for library in libc libgcc; do
    csky-elfabiv2-nm -g --defined-only "$("${gcc[@]}" -print-file-name=$library.a)" 2>/dev/null | awk 'NF == 3 { print $3 }' |
        sort -u >"$out/$library"
    missing=$(awk -v library=$library '$2 == library { print $1 }' docs/sdk-symbols.txt | sort | comm -23 - "$out/$library")
    [ -z "$missing" ] || failed "not in $library: $missing"
done
ok "libc and libgcc have what the list says"

# The other way round: what the whole archives define for everybody. Weak are the helpers that compilers call, and the
# certificates that an application may replace.
csky-elfabiv2-nm -g --defined-only "$out"/default/components/*/lib*.a 2>/dev/null | awk 'NF == 3 { print $2, $3 }' | sort -u >"$out/defined"
foreign=$(grep -vE '^[A-Z] (wm_mqtt_|WM_MQTT_EV$|freertos_r[st]_|ring_core_0_|__getrandom_custom$|_R|_ZN)' "$out/defined" |
    grep -vE '^W (__atomic_(load|store|exchange|compare_exchange|fetch_(add|sub|and|or|xor|nand))_[124]|__sync_synchronize|__muldi3)$' |
    grep -vE '^[VW] mqtt_client_tls_(ca|cert|key)$' || true)
[ -z "$foreign" ] || failed "symbols of ours with names of others: $foreign"
clash=$(grep -v '^[VW] ' "$out/defined" | cut -d' ' -f2 | sort | comm -12 - <(sort -u "$out/libc" "$out/libgcc"))
[ -z "$clash" ] || failed "libc or libgcc define too: $clash"
ok "it defines nothing that may be somebody else's"

# ---- an application: the board check, with and without its computations in the library ----

headers+=";$root/ffi-tests/sdk/include"
for choice in y n; do
    kconfig "$out/board_check-$choice.cmake" MQTT_CLIENT_CHECKS=$choice
    project=$root/examples/board_check build "board_check-$choice" "$component"
done
for name in main board_check board_compute wm_mqtt_check wm_mqtt_check_product; do
    grep -q " T $name$" "$out/board_check-y.symbols" || failed "board_check: $name is not in it"
done
! grep -q " wm_mqtt_check" "$out/board_check-n.symbols" || failed "board_check: it has computations that Kconfig leaves out"
ok "examples/board_check"

# ---- prebuilt, without cargo ----

prebuilt=$out/components/wm-mqtt-client-0
mkdir -p "$prebuilt/lib/freertos-rust"
cp -r CMakeLists.txt Kconfig cmake include src "$prebuilt"
cp "$out"/tcp/components/*/libwm_mqtt_client_rust.a "$prebuilt/lib/libwm_mqtt_client_tcp.a"
cp "$out"/default/components/*/libwm_mqtt_client_rust.a "$prebuilt/lib/libwm_mqtt_client_full.a"
cp "$out"/tcp/components/*/freertos-rust/shim.c "$prebuilt/lib/freertos-rust/"
rm -rf "$out/home"
mkdir "$out/home"
for name in tcp default; do
    cp "$out/$name.cmake" "$out/prebuilt-$name.cmake"
    without_cargo build "prebuilt-$name" "$prebuilt"
    ! grep -q wm_mqtt_rust "$out/prebuilt-$name/build.ninja" || failed "prebuilt-$name: cargo is called"
    diff <(symbols "$name") <(symbols "prebuilt-$name") || failed "prebuilt-$name: links with something else"
done
ok "prebuilt archives, in a folder of another name, without cargo"

echo "$cases passed"
