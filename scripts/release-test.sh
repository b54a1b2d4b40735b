#!/usr/bin/env bash
# Makes the release twice, the second time in a copy of the sources: they are the same to the byte. Then looks into it: sums,
# archives, notices, and what its CMake takes for Kconfig's choices on a machine without Rust.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rust.sh
need_nightly

export PATH="$PATH:/opt/csky/sdk-bin"
if ! command -v csky-elfabiv2-gcc >/dev/null; then
    echo "skip release: no csky-elfabiv2-gcc"
    exit 0
fi
fail() {
    echo "release-test: $*" >&2
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
packed=wm-mqtt-client-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)-w800.tar.gz

"${MAKE:-make}" release
git ls-files -z | xargs -0 cp --parents -t "$work"
(cd "$work" && umask 077 && "${MAKE:-make}" release)
cmp "target/$packed" "$work/target/$packed"
(cd target && sha256sum --check "$packed.sha256")

mkdir "$work/components"
tar xf "target/$packed" -C "$work/components"
mqtt=$work/components/mqtt
(cd "$mqtt" && sha256sum --check --quiet SHA256SUMS)
[ "$(find "$mqtt" -type f ! -name SHA256SUMS | wc -l)" = "$(wc -l <"$mqtt/SHA256SUMS")" ] || fail "a file has no sum"

# What its documents point to is there.
while IFS=: read -r document link; do
    [ -e "$(dirname "$document")/$link" ] || fail "$document points to $link, which is not there"
done < <(grep -roE --include='*.md' '\]\([^)#:]+[)#]' "$mqtt" | sed 's/](//; s/.$//')

# ---- the archives ----

functions=$(sed -n 's/.*\(wm_mqtt_client_[a-z]*\)(.*/\1/p' include/wm_mqtt_client.h | sort -u)
for archive in tcp full checks; do
    library=$mqtt/lib/libwm_mqtt_client_$archive.a
    csky-elfabiv2-nm --extern-only --defined-only "$library" | awk 'NF == 3 { print $3 }' | sort >"$work/defined"
    for symbol in $functions WM_MQTT_EV; do
        grep -qx "$symbol" "$work/defined" || fail "$archive lacks $symbol"
    done
    # The SDK links all of it: whatever else it defined would be in all of the firmware's way.
    ! grep -vxE "$(tr '\n' '|' <<<"$functions")WM_MQTT_EV|wm_mqtt_check|wm_mqtt_check_product|wm_mqtt_authorities|__getrandom_custom|ring_core_[0-9A-Za-z_]*" "$work/defined" ||
        fail "$archive defines these too"
    # rcgu: LLVM's object, where the assembler has not taken the shortened one.
    ! csky-elfabiv2-ar t "$library" | grep -E 'compiler_builtins|rcgu' || fail "$archive has these members"
    ! csky-elfabiv2-readelf -SW "$library" | grep -E '\.csky\.attributes|\.debug' || fail "$archive has these sections"
    # Only Rust's half calls for a product of 64 bits: ring's C has the processor's instruction, as the vendor's compiler makes it.
    ! csky-elfabiv2-nm -A "$library" | awk '$(NF - 1) == "U" && $NF == "__muldi3" { print $1 }' | grep -vF .rust.o ||
        fail "$archive: these call __muldi3"
    for folder in "$HOME" "$PWD" "$work" "$(rustc "$NIGHTLY" --print sysroot)" .cargo/registry; do
        ! grep -aqF "$folder" "$library" || fail "$archive names $folder"
    done
done

[ "$(csky-elfabiv2-objdump -d "$mqtt/lib/libwm_mqtt_client_full.a" | grep -cw 'mul\.u32')" -gt 100 ] || fail "full hardly has mul.u32"

# As the SDK links it: what is missing is at address 0, which a call from low addresses reaches, and for what is the C
# library's there is some address near by. The authorities stay only where the C half refers to them.
libc=(-Wl,--defsym={memcpy,memmove,memset,memcmp}=wm_mqtt_client_init)
authorities() { # LINKER-OPTION...
    csky-elfabiv2-gcc -mcpu=ck804ef -mhard-float -nostdlib -nostartfiles -Wl,--gc-sections -Wl,-e,wm_mqtt_client_connect \
        -Wl,--no-warn-execstack -Wl,-Ttext=0x1000 -Wl,--unresolved-symbols=ignore-all "${libc[@]}" "$@" -Wl,--whole-archive \
        "$mqtt/lib/libwm_mqtt_client_full.a" -Wl,--no-whole-archive -lgcc -o "$work/linked" || fail "it does not link"
    grep -aqF "ISRG Root X1" "$work/linked" && echo there || echo "not there"
}
found="$(authorities), $(authorities -Wl,-u,wm_mqtt_authorities)"
[ "$found" = "not there, there" ] || fail "authorities without and with a reference to them: $found"

# ---- the notices: cargo keeps a folder for each package that it compiled for the device ----

count=0
for folder in target/release-w800/cargo/csky-w800-elfabiv2/release/.fingerprint/*; do
    name=$(basename "$folder" | sed 's/-[0-9a-f]*$//')
    [ "$name" != wm-mqtt-client ] || continue
    grep -qE "^$name [0-9]" "$mqtt/THIRD-PARTY-NOTICES.txt" || fail "no notice of $name"
    count=$((count + 1))
done
[ "$count" -gt 20 ] || fail "only $count packages were compiled"

# ---- Kconfig's choices, without Rust ----

mkdir "$work/sdk"
cat >"$work/sdk/CMakeLists.txt" <<LISTS
cmake_minimum_required(VERSION 3.19)
project(sdk NONE)
function(register_component)
    foreach(file \${ADD_SRCS} \${ADD_STATIC_LIB} \${ADD_INCLUDE})
        get_filename_component(file \${file} ABSOLUTE)
        if(NOT EXISTS \${file})
            message(FATAL_ERROR "\${file} does not exist")
        endif()
    endforeach()
    get_filename_component(archive "\${ADD_STATIC_LIB}" NAME)
    message(STATUS "\${archive}: \${ADD_SRCS}")
endfunction()
set(SDK_PATH $work/sdk)
set(CONFIG_COMPONENT_MQTT_ENABLED y)
add_subdirectory($mqtt mqtt)
LISTS
configure() { # CHOICE...
    rm -rf "$work/configured"
    env -i PATH="/usr/bin:/bin" "$(command -v cmake)" -S "$work/sdk" -B "$work/configured" "${@/%/=y}" 2>&1
}
take() { # ARCHIVE LEFT-OUT CHOICE...
    local archive=libwm_mqtt_client_$1.a left_out=$2 said
    shift 2
    said=$(configure "$@") || fail "$* does not configure: $said"
    grep -qF -- "-- $archive: src/" <<<"$said" || fail "$* does not take $archive: $said"
    if [ -n "$left_out" ]; then
        grep -qF "what Kconfig leaves out ($left_out)" <<<"$said" || fail "$* says nothing of $left_out: $said"
    else
        ! grep -F "leaves out" <<<"$said" || fail "$* leaves nothing out"
    fi
}
option=-DCONFIG_MQTT_CLIENT_
take tcp ""
all=(${option}TLS ${option}TLS12 ${option}TLS_RSA ${option}TLS_CHACHA20 ${option}WEBSOCKET)
take full "" "${all[@]}"
take full "" "${all[@]}" ${option}BUILTIN_ROOTS
take checks "" "${all[@]}" ${option}CHECKS
take full "tls12;chacha20;websocket" ${option}TLS ${option}TLS_RSA
take full "tls;tls12;rsa;chacha20" ${option}WEBSOCKET
if said=$(configure "${all[@]}" ${option}TLS_ED25519); then fail "Ed25519 configures: $said"; fi
grep -qF "the prebuilt library has no Ed25519" <<<"$said" || fail "says nothing of Ed25519: $said"
echo "the release is right"
