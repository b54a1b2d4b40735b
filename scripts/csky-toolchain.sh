#!/usr/bin/env bash
# csky-toolchain.sh [FOLDER]: builds a C compiler for the device's core from Debian's source packages of binutils, gcc 12 and
# newlib, into /opt/csky or the folder given: about 20 minutes on two processors, once a machine. What is there already and of
# this version is left alone, an older one is built anew and takes its place when it is complete. Needs Debian and the right to
# write to the folder; root where packages have to be installed.
#
# FOLDER/bin has the compiler, FOLDER/sdk-bin the same by the vendor's options, for the SDK's build: `-mcpu=ck804ef` becomes
# ck803fr1, `-mistack` goes, and a prelude settles where newlib differs from the vendor's. gcc has no ck804ef, and its ck803ef
# multiplies into HI and LO, which the SDK's context switch does not save.
#
# Upstream's gcc knows no product of 32 by 32 to 64 bits in general registers (mul.u32 and its like), which the vendor's
# compiler makes of plain C; `patch_gcc` gives it that, for -mcpu=ck803fr1.
set -euo pipefail

# What stands in FOLDER/version and in what `csky-elfabiv2-gcc --version` says. To be raised with whatever changes the compiler.
version="wm-mqtt-client 1"
target=csky-elfabiv2
cpu=ck803fr1
prefix=$(realpath -m "${1:-/opt/csky}")
new=$prefix.new

say() { echo "csky toolchain: $*"; }
fail() {
    say "$*" >&2
    exit 1
}

patch_gcc() { # SOURCES
    python3 - "$1/gcc/config/csky/csky_insn_dsp.md" <<'PY'
import pathlib, sys

path = pathlib.Path(sys.argv[1])
text = path.read_text()

def template(extend, sums):
    product = f"""(mult:DI ({extend}:DI (match_operand:SI 1 "register_operand" "r"))
                 ({extend}:DI (match_operand:SI 2 "register_operand" "r")))"""
    if sums:
        product = f"""(plus:DI {product}
                 (match_operand:DI 3 "register_operand" "0"))"""
    return product

# The product may take the place of its factors: the processor has read them before, and the vendor's archives have it so, the
# low and the high register. The sum may not, of which they have no example.
for name, extend, mnemonic, sums in (("mulsidi3", "sign_extend", "mul.s32", False), ("umulsidi3", "zero_extend", "mul.u32", False),
                                     ("umaddsidi4", "zero_extend", "mula.u32", True)):
    old = f'(define_insn "{name}"'
    start = text.index(old)
    end = text.index("\n\n", start)
    hilo = text[start:end].replace(old, f'(define_insn "*{name}_hilo"').replace(
        '"TARGET_DSP"', '"TARGET_DSP && !CSKY_ISA_FEATURE (3E3r1)"')
    assert "!CSKY_ISA_FEATURE" in hilo
    pattern = template(extend, sums)
    expand = pattern.replace(' "r"', "").replace(' "0"', "")
    text = text[:start] + f"""(define_expand "{name}"
  [(set (match_operand:DI 0 "register_operand")
        {expand})]
  "TARGET_DSP || CSKY_ISA_FEATURE (3E3r1)")

(define_insn "*{name}_pair"
  [(set (match_operand:DI 0 "register_operand" "={"&" if sums else ""}r")
        {pattern})]
  "CSKY_ISA_FEATURE (3E3r1)"
  "{mnemonic}\\t%0, %1, %2"
  [(set_attr "length" "4")])

{hilo}""" + text[end:]
path.write_text(text)
PY
}

# newlib 3.3 does not know the processor: it gets the portable routines, and the byte order.
patch_newlib() { # SOURCES
    python3 - "$1" <<'PY'
import pathlib, sys

def insert(file, before, text):
    path = pathlib.Path(sys.argv[1]) / file
    old = path.read_text()
    assert before in old
    path.write_text(old.replace(before, text + before, 1))

insert("newlib/configure.host", "  a29k)\n\tmachine_dir=a29k\n", "  csky*)\n\tmachine_dir=\n\t;;\n")
insert("newlib/libc/include/machine/ieeefp.h", "#ifdef __fr30__", "#ifdef __csky__\n#define __IEEE_LITTLE_ENDIAN\n#endif\n\n")
PY
}

# Each in a folder of its own, installed into $new.
common=(--target=$target --prefix="$new" --disable-nls MAKEINFO=true CFLAGS=-O2 CXXFLAGS=-O2)

build_binutils() { # SOURCES
    mkdir "$work/binutils" && cd "$work/binutils"
    "$1/configure" "${common[@]}" --disable-gdb --disable-gprof --disable-gprofng --disable-sim
    make -j"$(nproc)" MAKEINFO=true
    make install MAKEINFO=true
}

build_gcc() { # SOURCES
    mkdir "$work/gcc" && cd "$work/gcc"
    "$1/configure" "${common[@]}" CFLAGS_FOR_TARGET="-O2 -g0" --with-pkgversion="$version" --enable-languages=c --with-newlib \
        --disable-libssp --disable-shared --disable-threads --disable-libquadmath --disable-multilib --disable-lto \
        --disable-libcc1 --disable-plugin --with-cpu=$cpu --with-float=hard --with-endian=little
    # Debian's archive leaves out gcc's manuals. What would compare them with the code has nothing to do, what would make them
    # fails: whether the compiler is there is looked at behind it.
    make -k -j"$(nproc)" all-gcc MAKEINFO=true || true
    touch gcc/s-tm-texi
    make -k all-gcc MAKEINFO=true || true
    make -k install-gcc MAKEINFO=true || true
    [ -x "$("$new/bin/$target-gcc" -print-prog-name=cc1)" ]
    make -j"$(nproc)" all-target-libgcc MAKEINFO=true
    make install-target-libgcc MAKEINFO=true
    make -j"$(nproc)" all-target-newlib MAKEINFO=true
    make install-target-newlib MAKEINFO=true
}

# The SDK defines time_t, clockid_t and what pthread has by itself.
write_sdk_bin() {
    local bin=$new/sdk-bin tool
    mkdir -p "$bin"
    cat >"$bin/prelude.h" <<'H'
#ifndef WM_COMPILER_PRELUDE_H
#define WM_COMPILER_PRELUDE_H
#include <errno.h>
#include <sys/_types.h>
#ifndef _TIME_T_DECLARED
typedef _TIME_T_ time_t;
#define __time_t_defined
#define _TIME_T_DECLARED
#endif
struct timespec { time_t tv_sec; long tv_nsec; };
#endif
H
    sed "s|@GCC@|$target-gcc|; s|@CPU@|$cpu|" >"$bin/$target-gcc" <<'W'
#!/bin/bash
bin=$(dirname "$(readlink -f "$0")")
arguments=() compiling='' assembling=''
for argument; do
    case $argument in
        -mcpu=ck804ef) arguments+=(-mcpu=@CPU@) ;;
        -mistack) ;;
        *)
            arguments+=("$argument")
            case $argument in
                *.S | *.s) assembling=yes ;;
                -c) compiling=yes ;;
            esac
            ;;
    esac
done
if [ -n "$compiling" ] && [ -z "$assembling" ]; then
    for name in __clockid_t_defined _CLOCKID_T_DECLARED _MODE_T_DECLARED __timer_t_defined _TIMER_T_DECLARED \
        _SYS__PTHREADTYPES_H_ _SYS_TIMESPEC_H_ _SYS_TIME_H_ _SYS__TIMESPEC_H_ _SYS_SIGNAL_H; do arguments+=("-D$name"); done
    arguments+=(-include "$bin/prelude.h")
fi
exec "$bin/../bin/@GCC@" "${arguments[@]}"
W
    chmod +x "$bin/$target-gcc"
    ln -sf $target-gcc "$bin/$target-g++"
    for tool in ar objcopy objdump nm readelf size ranlib ld strip as; do
        ln -sf "../bin/$target-$tool" "$bin/$target-$tool"
    done
}

# What the compiler was changed for: the three products, also where a register is both factor and product, and nothing that
# touches HI and LO.
try() {
    cat >"$work/try.c" <<'C'
#include <stdint.h>
uint64_t product(uint32_t a, uint32_t b) { return (uint64_t)a * b; }
int64_t product_signed(int32_t a, int32_t b) { return (int64_t)a * b; }
uint64_t sum(uint64_t sum, uint32_t a, uint32_t b) { return sum + (uint64_t)a * b; }
uint64_t wide(uint64_t a, uint64_t b) { return a * b; }
C
    "$new/sdk-bin/$target-gcc" -mcpu=ck804ef -mhard-float -Os -S "$work/try.c" -o "$work/try.s"
    local mnemonic
    for mnemonic in mul.u32 mul.s32 mula.u32; do grep -qwF "$mnemonic" "$work/try.s"; done
    if grep -E 'm[ft](hi|lo)|__muldi3|mul[us]a?[[:space:]]' "$work/try.s"; then return 1; fi
    "$new/bin/$target-gcc" -mcpu=$cpu -mhard-float -c "$work/try.s" -o "$work/try.o"
    "$new/bin/$target-gcc" -print-file-name=libc.a | xargs test -f
}

# ---- what is there already ----

current() { [ "$(cat "$prefix/version" 2>/dev/null)" = "$version" ]; }
if current; then
    say "already in $prefix"
    exit 0
fi
# It will be replaced as a whole.
if [ -e "$prefix" ] && [ -n "$(ls -A "$prefix")" ] && [ ! -d "$prefix/sdk-bin" ] && [ ! -e "$prefix/version" ]; then
    fail "$prefix has something else in it; name another folder"
fi

packages=(binutils-source gcc-12-source newlib-source build-essential libgmp-dev libmpfr-dev libmpc-dev texinfo flex bison xz-utils)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    command -v apt-get >/dev/null || fail "it builds Debian's source packages, and this is no Debian"
    [ "$(id -u)" = 0 ] || fail "please install as root: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
mkdir -p "$(dirname "$prefix")" 2>/dev/null && [ -w "$(dirname "$prefix")" ] || fail "cannot write to $(dirname "$prefix")"

# ---- building ----

# Two at a time would be in each other's way: the second finds what the first has made.
exec 9<"$(dirname "$prefix")"
flock 9
if current; then
    say "already in $prefix"
    exit 0
fi
if [ -x "$prefix/bin/$target-gcc" ]; then
    say "$prefix has another version ($(cat "$prefix/version" 2>/dev/null || echo "without a name")): building $version"
fi

# Also what is left of a run that was killed.
work=$prefix.build
clean() { rm -rf "$work" "$new" "$prefix.old"; }
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
clean
mkdir "$work" "$new"
export PATH="$new/bin:$PATH"
unset CC CXX CPP CFLAGS CXXFLAGS CPPFLAGS LDFLAGS MAKEFLAGS MFLAGS MAKELEVEL AR AS LD

step() { # WHAT COMMAND...: the end of its output where it fails
    local name=$1 status
    shift
    say "$name"
    # Not as a condition, where `set -e` would not hold.
    set +e
    (
        set -e
        "$@"
    ) >"$work/log" 2>&1 9>&-
    status=$?
    set -e
    if [ "$status" != 0 ]; then
        tail -n 60 "$work/log" >&2
        fail "$name: failed"
    fi
}

unpack() {
    cd "$work"
    local archive
    for archive in /usr/src/binutils/binutils-*.tar.xz /usr/src/gcc-12/gcc-12.*.tar.xz /usr/src/newlib/newlib-*.tar.xz; do
        mkdir "$(basename "$(dirname "$archive")")-source"
        tar -xf "$archive" --strip-components 1 -C "$(basename "$(dirname "$archive")")-source"
    done
    patch_gcc "$work/gcc-12-source"
    patch_newlib "$work/newlib-source"
    ln -s "$work/newlib-source/newlib" "$work/newlib-source/libgloss" gcc-12-source/
}

step "sources" unpack
step "binutils" build_binutils "$work/binutils-source"
step "gcc, libgcc, newlib" build_gcc "$work/gcc-12-source"
step "the SDK's options" write_sdk_bin
step "trying it" try
echo "$version" >"$new/version"

# Compiler and linker look for their parts from where they are.
if [ -e "$prefix" ]; then mv "$prefix" "$prefix.old"; fi
mv "$new" "$prefix"
"$prefix/bin/$target-gcc" --version | head -n 1
