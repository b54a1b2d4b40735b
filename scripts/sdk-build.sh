#!/usr/bin/env bash
# sdk-build.sh SDK [PROJECT [CHOICE...]]: builds applications with a checkout of the WM IoT SDK and this component in place of
# the SDK's own, and prints how large the images are. The checkout is only read: links to it, and copies of what has to differ,
# are in target/sdk.
#
#   SDK      the folder that has tools/wm/wm.py
#   PROJECT  an application's folder. Without it: what "What was verified" in docs/sdk.md says of this script
#   CHOICE   what is chosen beside the project's prj.config, by a name from below; `vendor` is the SDK's own component
#            (default: default)
#
# The compiler is csky-elfabiv2-gcc on PATH, else the one in /opt/csky/sdk-bin. The public checkout lacks archives, and GNU's
# compiler what the vendor's has. Each such obstacle is looked for, and a line says what is done about it; none of them
# concerns the component, and with the vendor's SDK and compiler complete there should be none.
set -euo pipefail

declare -A choices=(
    [vendor]=""
    [tcp]="MQTT_CLIENT_TLS=n MQTT_CLIENT_WEBSOCKET=n"
    [websocket]="MQTT_CLIENT_TLS=n"
    [tls]="MQTT_CLIENT_WEBSOCKET=n"
    [tls13]="MQTT_CLIENT_TLS12=n MQTT_CLIENT_WEBSOCKET=n"
    [default]=""
    [roots]="MQTT_CLIENT_BUILTIN_ROOTS=y"
)

say() { echo "sdk-build: $*"; }
failed() {
    echo "sdk-build: FAILED: $*" >&2
    exit 1
}

[ $# -ge 1 ] || failed "usage: sdk-build.sh SDK [PROJECT [CHOICE...]], where CHOICE is one of ${!choices[*]}"
[ -f "$1/tools/wm/wm.py" ] || failed "$1 is no checkout of the SDK: there is no tools/wm/wm.py"
sdk=$(realpath "$1") project=
if [ $# -ge 2 ]; then
    { [ -f "$2/CMakeLists.txt" ] && [ -d "$2/main" ]; } || failed "$2 is no application's folder: no CMakeLists.txt or no main/"
    project=$(realpath "$2")
fi
[ $# -ne 2 ] || set -- "$@" default
for choice in "${@:3}"; do
    [ -n "${choices[$choice]+known}" ] || failed "$choice is none of ${!choices[*]}"
done
cd "$(dirname "$0")/.."
root=$PWD out=$PWD/target/sdk overlay=$PWD/target/sdk/overlay
[[ $root$sdk != *[[:space:]]* ]] || failed "the SDK's flags cannot hold a blank: $root, $sdk"

command -v csky-elfabiv2-gcc >/dev/null || export PATH="/opt/csky/sdk-bin:$PATH"
command -v csky-elfabiv2-gcc >/dev/null || failed "no csky-elfabiv2-gcc on PATH or in /opt/csky/sdk-bin"
compile=(csky-elfabiv2-gcc -mcpu=ck804ef -mhard-float -std=gnu99)
say "SDK $(sed -n 's/.*default "\(.*\)".*/\1/p' "$sdk/version"), $(csky-elfabiv2-gcc --version | head -n 1)"

# ---- the SDK, with what has to differ ----

# Python's packages are those that the SDK asks for.
if [ ! -x "$out/python/bin/python3" ] || ! cmp -s "$sdk/tools/wm/requirements.txt" "$out/python/requirements.txt"; then
    rm -rf "$out/python"
    python3 -m venv "$out/python"
    "$out/python/bin/pip" install -q --disable-pip-version-check -r "$sdk/tools/wm/requirements.txt"
    cp "$sdk/tools/wm/requirements.txt" "$out/python"
fi

# Links to all of it, but copies of what is changed below.
rm -rf "$overlay"
mkdir -p "$overlay/components/wm_soc" "$out/cargo" "$out/cargo-host"
for entry in "$sdk"/* "$sdk"/components/* "$sdk"/components/wm_soc/*; do
    case ${entry#"$sdk/"} in
        components | components/mqtt | components/wm_soc) ;;
        tools | components/wm_atcmd | components/wm_soc/w80x) cp -r "$entry" "$overlay/${entry#"$sdk/"}" ;;
        *) ln -s "$entry" "$overlay/${entry#"$sdk/"}" ;;
    esac
done
rules=$overlay/tools/cmake

compiles() { # CODE
    "${compile[@]}" -c -x c - -o "$out/tried.o" <<<"$1" 2>/dev/null
}

# Declarations that newlib's headers lack or have otherwise than the vendor's.
declarations=
declaration() { # WHAT CODE-THAT-SHOULD-COMPILE DECLARATION
    if ! compiles "$2"; then
        say "obstacle: $1"
        declarations+="$3"$'\n'
    fi
}
declaration "uint32_t is not unsigned int, which the kernel's port (HZ) and Bluetooth (k_sem_init) count on" \
    $'#include <stdint.h>\nextern const uint32_t HZ; const unsigned int HZ = 1;' \
    $'#undef __UINT32_TYPE__\n#define __UINT32_TYPE__ unsigned int\n#undef __INT32_TYPE__\n#define __INT32_TYPE__ int'
declaration "off_t is not int, as which Bluetooth declares it" $'#include <stdio.h>\ntypedef int off_t;' \
    $'#define __machine_off_t_defined\ntypedef int _off_t;'
declaration "struct timezone, of which wm_utils.h makes settimeofday, is declared nowhere" \
    $'#include <sys/time.h>\nint settimeofday(const struct timeval *, const struct timezone *);
    int settimeofday(const struct timeval *tv, const struct timezone *tz) { return 0; }' 'struct timezone;'
declaration "errno.h has no ESHUTDOWN, which Bluetooth returns" \
    $'#include <errno.h>\nint error = ESHUTDOWN;' '#define ESHUTDOWN 108'
declaration "stdio.h and string.h do not bring stdarg.h, which applications count on" \
    $'#include <stdio.h>\n#include <string.h>\nchar *f(va_list l) { return va_arg(l, char *); }' '#include <stdarg.h>'
if [ -n "$declarations" ]; then
    echo "$declarations" >"$overlay/declarations.h"
    echo "string(APPEND CMAKE_C_FLAGS \" -include $overlay/declarations.h\")" >>"$rules/compile.cmake"
fi

if ! compiles 'struct command { int errno; };'; then
    say "obstacle: errno is a macro before any header is included, and wm_atcmd.h calls a member so; not a macro behind that header"
    sed -i '1i #undef errno' "$overlay/components/wm_atcmd/include/wm_atcmd.h"
fi
compiles 'void reset_handler(void) {}' || failed "the compiler does not work"
link=("${compile[@]}" -nostdlib -Wl,-e,reset_handler -o "$out/tried.elf")
if ! "${link[@]}" "$out/tried.o" "-Wl,-ckmap=$out/tried.map" 2>/dev/null; then
    say "obstacle: the linker does not know -ckmap; -Map in its place"
    sed -i 's/-Wl,-ckmap=/-Wl,-Map,/' "$rules/project.cmake"
fi

changed=
for archive in "$overlay"/components/wm_soc/w80x/lib/*.a; do
    # In this order: the linker compares with what it has.
    if grep -q "merge target specific data" <<<"$("${link[@]}" -Wl,-r -Wl,--whole-archive "$archive" "$out/tried.o" 2>&1)"; then
        csky-elfabiv2-objcopy --remove-section .csky.attributes "$archive"
        changed+=" ${archive##*/}"
    fi
done
[ -z "$changed" ] || say "obstacle: archives are of a processor that the linker does not join with the compiler's; without that section:$changed"

missing_archive() { # FILE: an archive without an object is none to the linker
    "${compile[@]}" -c -x c /dev/null -o "$out/empty.o"
    csky-elfabiv2-ar rc "$1" "$out/empty.o"
}
missing=
for archive in $(grep -rhoE 'w80x/lib/lib[a-z0-9_]+\.a|CHIP_FAMILY_NAME\}/lib/lib[a-z0-9_]+\.a' "$sdk"/components/*/CMakeLists.txt |
    sed 's|.*/||' | sort -u); do
    [ -e "$overlay/components/wm_soc/w80x/lib/$archive" ] || missing+=" $archive"
done
for archive in $missing; do missing_archive "$overlay/components/wm_soc/w80x/lib/$archive"; done
[ -z "$missing" ] || say "obstacle: not in the checkout:$missing; stand-ins that do nothing for what is called in them"
if [ ! -f "$(csky-elfabiv2-gcc -print-file-name=libnosys.a)" ]; then
    say "obstacle: the compiler wants -lnosys and does not have it; stand-ins for what the C library calls in it"
    missing_archive "$overlay/libnosys.a"
    missing+=" libnosys.a"
fi
# Adds NAMES that a link misses, unless it is another fault, or the component needs one of them: those the SDK has.
stand_ins() { # NAMES
    local ours
    ours=$(awk '!/^#/ { print $1 }' docs/sdk-symbols.txt | sort | comm -12 - <(echo "$1"))
    [ -z "$ours" ] || failed "the component needs what is not there:" $ours
    [ -n "$missing" ] && [ -n "$1" ] && [ -n "$(comm -13 "$overlay/stand-ins" <(echo "$1"))" ] || return
    sort -u -o "$overlay/stand-ins" "$overlay/stand-ins" - <<<"$1"
    make_stand_ins
}
make_stand_ins() {
    {
        echo "void wm_sdk_build_stand_in(void) {}"
        sed 's/.*/__asm__(".weak &\\n.set &, wm_sdk_build_stand_in");/' "$overlay/stand-ins"
    } | "${compile[@]}" -c -x c - -o "$overlay/stand-ins.o"
}
if [ -n "$missing" ]; then
    : >"$overlay/stand-ins"
    make_stand_ins
    for language in C CXX; do
        echo "string(APPEND CMAKE_${language}_LINK_FLAGS \" -L$overlay $overlay/stand-ins.o\")" >>"$rules/compile.cmake"
    done
fi
# Assertions have the names of files in them: the sizes must not depend on where the checkout is.
if "${compile[@]}" -fmacro-prefix-map=a=b -c -x c /dev/null -o "$out/empty.o" 2>/dev/null; then
    echo "string(APPEND CMAKE_C_FLAGS \" -fmacro-prefix-map=$overlay=sdk -fmacro-prefix-map=$sdk=sdk\")" >>"$rules/compile.cmake"
fi

# ---- an application ----

wm() ( # in the folder of build
    cd "$folder"
    PATH="$out/python/bin:$PATH" WM_IOT_SDK_PATH=$overlay python3 "$overlay/tools/wm/wm.py" "$@"
)

build() { # PROJECT CHOICE: sets folder, log and image, its name without an ending
    local name option
    name=$(basename "$1")
    folder="$out/a folder/$2/$name" log="$out/$2-$name.log"
    rm -rf "$folder"
    mkdir -p "$folder"
    tar -C "$1" --exclude=./build -cf - . | tar -C "$folder" -xf -
    if [ "$2" = vendor ]; then
        ln -sfn "$sdk/components/mqtt" "$overlay/components/mqtt"
    else
        ln -sfn "$root" "$overlay/components/mqtt"
        # What cargo has built is for all of them.
        mkdir -p "$folder/build/components/mqtt"
        ln -s "$out/cargo" "$out/cargo-host" "$folder/build/components/mqtt"
    fi
    if [ -n "${choices[$2]}" ]; then
        { echo && printf 'CONFIG_%s\n' COMPONENT_MQTT_ENABLED=y ${choices[$2]}; } >>"$folder/prj.config"
    fi

    # What a link then takes from the C library may miss something in turn.
    : >"$log"
    while ! wm build >>"$log" 2>&1; do
        stand_ins "$(sed -n "s/.*undefined reference to [\`']\([^']*\)'.*/\1/p" "$log" | sort -u)" ||
            { tail -n 50 "$log"; failed "$name, $2: wm.py build"; }
    done
    image=$(find "$folder/build" -maxdepth 1 -name '*.fls')
    image=${image%.fls}
    [ -n "$image" ] || { tail -n 50 "$log"; failed "$name, $2: no image"; }
    [ "$2" = vendor ] || ! grep 'components/mqtt/.*warning:' "$log" || failed "$name, $2: warnings in the component"
    for option in ${choices[$2]}; do
        case $option in
            *=n) grep -qx "# CONFIG_${option%=n} is not set" "$folder/build/config/wmsdk.config" ;;
            *) grep -qx "CONFIG_$option" "$folder/build/config/wmsdk.config" ;;
        esac || failed "$name, $2: $option did not arrive"
    done
}

# How many bytes of the image come from files whose names match each PATTERN, by the linker's map.
share() { # MAP PATTERN...
    python3 - "$@" <<'PY'
import re, sys

map, patterns = open(sys.argv[1]).read(), sys.argv[2:]
if "Linker script and memory map" not in map: # another linker's
    sys.exit(print(*["?"] * len(patterns)))
map = map[map.index("Linker script and memory map") :]
sums, section = [0] * len(patterns), None
# An output section's name begins its line, an input section's stands after one blank, with a line of its own where it is long.
for line in re.sub(r"^( ?[.\w][^ \n]*)\n +0x", r"\1 0x", map, flags=re.M).splitlines():
    if output := re.match(r"[.\w]\S*", line):
        section = output[0]
    elif section in (".text", ".rodata", ".data", ".vdata"):
        if part := re.match(r" [.\w]\S* +0x\w+ +(0x\w+) (.*)", line):
            for i, pattern in enumerate(patterns):
                sums[i] += int(part[1], 16) * bool(re.search(pattern, part[2]))
print(*sums)
PY
}

declare -A vendors
row() { # PROJECT CHOICE, after build: its line in the table
    local name=$1 choice=$2 flash ram component mbedtls less=
    read -r flash ram < <(csky-elfabiv2-size "$image.elf" | awk 'NR == 2 { print $1 + $2, $2 + $3 }')
    read -r component mbedtls < <(share "$image.map" 'lib(mqtt|wm_mqtt_client[a-z_]*)[.]a' 'libmbedtls[.]a')
    if [ "$choice" = vendor ]; then
        vendors[$name]=$flash
    elif [ -n "${vendors[$name]:-}" ]; then
        printf -v less '%+d' $((flash - vendors[$name]))
    fi
    printf '%-13s%-14s%9s%10s%11s%9s%9s\n' "$name" "$choice" "$flash" "$less" "$component" "$mbedtls" "$ram"
}

# ---- what is built ----

passed=0
app() { # PROJECT CHOICE...
    local project=$1 choice
    shift
    for choice; do
        build "$project" "$choice"
        row "$(basename "$project")" "$choice"
        passed=$((passed + 1))
    done
}
printf '%-13s%-14s%9s%10s%11s%9s%9s\n' project choice flash "to vendor" component mbedTLS RAM

if [ -n "$project" ]; then
    app "$project" "${@:3}"
else
    examples=$sdk/examples
    mqtt_archives() { find "$folder/build/" -name 'lib*mqtt*.a'; }
    app "$examples/network/mqtt/tcp" vendor tcp websocket tls13 tls roots default
    before=$(stat -c %y "$folder/build/components/mqtt/libwm_mqtt_client_rust.a")
    wm build >>"$log" 2>&1 || failed "tcp: built again"
    [ "$(stat -c %y "$folder/build/components/mqtt/libwm_mqtt_client_rust.a")" = "$before" ] ||
        failed "nothing has changed, and the component's archive is another"
    for example in ssl ws wss; do
        app "$examples/network/mqtt/$example" default
    done
    app "$examples/atcmd" default
    [ -n "$(mqtt_archives)" ] || failed "atcmd: the component is not in it"
    app "$examples/hello_world" default
    { [ -z "$(mqtt_archives)" ] && ! grep -q cargo "$log"; } || failed "hello_world: something of the component was built"
fi
[ -z "$missing" ] || say "$(wc -l <"$overlay/stand-ins") functions had stand-ins: ${overlay#"$root/"}/stand-ins"
echo "$passed passed"
