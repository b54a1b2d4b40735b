#!/usr/bin/env bash
# firmware.sh [PROGRAM[:SCHEME[:TEST]]...]: builds the firmware images and runs them: the demo over its four schemes, the tests of
# firmware/tests and the C tests of ffi-tests/tests that run there. Each one's verdict is the exit status of the firmware,
# within a time limit. MACHINE=virt (the default) is QEMU's, MACHINE=csky the device's core in an emulator: CSKY_EMULATOR, or the
# one in firmware/csky/emulator. What all of them together have measured is compared with docs/memory.md; WRITE=1 puts it
# there. See firmware/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/sources.sh
. scripts/rust.sh
need_nightly

machine=${MACHINE:-virt}
out=$PWD/target/firmware
[ "$machine" = virt ] || out=$out-$machine
peers=${WM_MQTT_PEERS:-$PWD/ffi-tests/peers/target/debug}
export FIRMWARE_IMAGES=$out/c
export WM_MQTT_PEERS=$peers WM_MQTT_CERTS=${WM_MQTT_CERTS:-$PWD/target/test-certs} TEST_SLOWNESS=${TEST_SLOWNESS:-3}
# Warnings and errors are printed, as an application would have it: the stack that this takes counts, and what fails once says why.
export WM_LOG_LEVEL=${WM_LOG_LEVEL:-2}
target=riscv32imac-unknown-none-elf
tests=(bad_peers callbacks config connect events flow hostile keepalive publish real_broker receive session sloppy subscribe threads)
# TLS runs into the limits of the heap on the other machine.
[ "$machine" != csky ] || tests+=(tls tls_traffic)
own=()
for source in firmware/tests/*.c "firmware/$machine/tests/"*.c; do [ ! -e "$source" ] || own+=("$(basename "$source" .c)"); done

# The library, and what else is special about a machine, for the images' Makefile.
build_virt() {
    lwip "$out"
    local flags="-march=rv32imac -mabi=ilp32 -D__ILP32__=1 --specs=picolibc.specs -Os -ffunction-sections -fdata-sections"
    env CC_${target//-/_}=riscv64-unknown-elf-gcc AR_${target//-/_}=riscv64-unknown-elf-ar CFLAGS_${target//-/_}="$flags" \
        RUSTFLAGS="-Zunstable-options -Cpanic=immediate-abort -Zfmt-debug=none -Zlocation-detail=none" \
        "${CARGO:-cargo}" "$NIGHTLY" build --locked --release --manifest-path firmware/Cargo.toml --target "$target" \
        -Zbuild-std=core,alloc --target-dir "$out/rust"
    library=$out/rust/$target/release/libfirmware.a
}

# The library as the component has it.
build_csky() {
    export PATH="$PATH:/opt/csky/bin"
    csky-elfabiv2-gcc -mcpu=ck803fr1 -mhard-float -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -Iinclude \
        -Iffi-tests/sdk/include ffi-tests/abi.c
    scripts/csky.sh roots
    scripts/csky.sh checks
    library=$PWD/target/csky-w800-elfabiv2/flash/roots.a checks=$PWD/target/csky-w800-elfabiv2/flash/checks.a
    [ -z "${CSKY_EMULATOR:-}" ] || return 0
    "${CARGO:-cargo}" build --locked --release --manifest-path firmware/csky/emulator/Cargo.toml --target-dir "$out/rust"
    export CSKY_EMULATOR=$out/rust/release/csky-emulator
}

# Whether our emulator takes each instruction for what a disassembler does.
own_emulator() {
    set -o pipefail
    compared_with_objdump session 100000 && same_halfwords
}

# What the board check has as halfwords is what the assembler makes of the instructions' names.
same_halfwords() {
    local names source=examples/board_check/main/src/computations.c
    for names in "" -DNAMES; do
        # shellcheck disable=SC2086 # none, or one word
        csky-elfabiv2-gcc -mcpu=ck803fr1 -mhard-float -Os $names -c "$source" -o "$out/computations.o"
        csky-elfabiv2-objcopy -O binary -j .text "$out/computations.o" "$out/computations$names"
    done
    cmp "$out/computations" "$out/computations-DNAMES"
}

compared_with_objdump() { # IMAGE LEAST
    csky-elfabiv2-objdump -d -j .text "$out/c/$1" >"$out/$1.disassembled"
    "$CSKY_EMULATOR" --list "$out/c/$1" | python3 -c '
import re, sys
ours = dict(line.split(None, 1) for line in sys.stdin)
wrong = compared = 0
for line in open(sys.argv[1]):
    found = re.match(r"\s+([0-9a-f]+):\t([0-9a-f]+)\s+\t(\S+)", line)
    if found and not found[3].startswith("."):
        compared += 1
        if ours[found[1]].split() != [str(len(found[2]) // 2), found[3]]:
            wrong += 1
            print(line.rstrip(), "is", ours[found[1]].strip())
print(compared, "instructions compared with the disassembler,", wrong, "differ")
sys.exit(wrong > 0 or compared < int(sys.argv[2]))' "$out/$1.disassembled" "$2"
}

build() {
    "build_$machine"
    make --no-print-directory -j2 -f firmware/Makefile OUT="${out#"$PWD/"}/c" TESTS="${tests[*]} ${own[*]}" LWIP="$out/lwip" \
        KERNEL="$(package firmware/kernel/Cargo.toml freertos-next)/FreeRTOS-Kernel" \
        SHIM="$(package firmware/Cargo.toml freertos-rust)/src/freertos/shim.c" RUST="$library" MACHINE="$machine" CHECKS="${checks:-}"
}

# One program; its output and how it ended go to a file of its own, and are printed as soon as it has ended.
run() { # SECONDS NAME COMMAND...
    local limit=$1 name=$2 status=0 start=$SECONDS verdict=ok
    local log=$logs/${name//[^a-z_]/-}.log
    shift 2
    timeout --kill-after=5 "$limit" "$@" </dev/null >"$log" 2>&1 || status=$?
    case $status in
        0) ;;
        124 | 137) verdict="FAIL still running after $limit s" ;;
        *) verdict="FAIL status $status" ;;
    esac
    {
        echo "---- $name ----"
        cat "$log"
        echo "---- $name: $verdict, $((SECONDS - start)) s"
    } >"$log.done"
    cat "$log.done"
}

# The programs mostly wait: several of them at a time, each in a network of its own.
jobs=${JOBS:-$((2 * $(nproc)))} started=0
in_parallel() { # as run
    if [ "$started" -ge "$jobs" ]; then wait -n; fi
    started=$((started + 1))
    run "$@" &
}

mkdir -p "$out"
if [ "$machine" = csky ] && ! PATH="$PATH:/opt/csky/bin" command -v csky-elfabiv2-gcc >/dev/null; then
    echo "skip firmware on C-SKY: no csky-elfabiv2-gcc"
    exit 0
fi
build
[ -x "$peers/demo-broker" ] || make peers
[ "$WM_MQTT_CERTS/ca.pem" -nt "$peers/certs" ] || "$peers/certs" "$WM_MQTT_CERTS"

logs=$out/logs
rm -rf "$logs"
mkdir "$logs"
runs=("$@")
demo=(in_parallel 240 demo python3 firmware/agent.py -- scripts/demo.sh firmware/demo.sh "$peers/demo-broker")
# Over the other schemes what differs is below MQTT. The longest first.
if [ -n "${BENCH:-}" ]; then
    runs=(messages)
    [ "$machine" = virt ] || runs+=(handshakes:mqtts)
elif [ "$#" = 0 ] && [ "$machine" = virt ]; then
    runs=(bad_peers:mqtts chaos chaos:wss network names interface keepalive board_check:wss device_tls:mqtts device_tls:wss heap:mqtts receive device)
    for scheme in mqtts ws wss; do runs+=("device:$scheme" "receive:$scheme" "connect:$scheme" "session:$scheme"); done
    for test in "${tests[@]}"; do
        case $test in bad_peers | keepalive | receive) ;; *) runs+=("$test") ;; esac
    done
    "${demo[@]}"
elif [ "$#" = 0 ]; then
    # A handshake takes an emulator half a second: TLS in part, both versions and all kinds of keys.
    runs=(handshakes:mqtts messages device:wss board_check:wss session:wss keepalive device:mqtts tls::versions tls::identities tls_traffic::forgotten)
    runs+=(device:ws device session:ws receive:ws)
    for test in "${tests[@]}"; do
        case $test in bad_peers | keepalive | tls | tls_traffic) ;; *) runs+=("$test") ;; esac
    done
    export out
    export -f own_emulator compared_with_objdump same_halfwords
    [ "$CSKY_EMULATOR" != "$out/rust/release/csky-emulator" ] || in_parallel 60 emulator bash -ec own_emulator
    "${demo[@]}"
fi
for run in "${runs[@]}"; do
    IFS=: read -r test scheme name <<<"$run"
    scheme=${scheme:-mqtt}
    WM_MQTT_SCHEME=$scheme in_parallel 400 "$test, $scheme${name:+, $name}" python3 firmware/agent.py "$out/c/$test" -v ${name:+"$name"}
done
wait
grep -h '^---- .*: FAIL ' "$logs"/*.done || true
passed=$(cat "$logs"/*.done | grep -c '^---- .*: ok, ' || true)
echo "$passed of $started programs on the machine $machine, $SECONDS s"
[ "$passed" = "$started" ]
[ "$#" = 0 ] || exit 0
MADE_WITH=$(made_with)
export MADE_WITH
[ -n "${BENCH:-}" ] || python3 firmware/measures.py "$logs" "$machine"
[ "${CSKY_EMULATOR:-}" != "$out/rust/release/csky-emulator" ] || python3 firmware/instructions.py "$logs"
