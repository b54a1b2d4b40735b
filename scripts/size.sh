#!/usr/bin/env bash
# Prints the flash and the static RAM of the library on the device's C-SKY core and on a 32-bit RISC-V, as the table of
# docs/memory.md, what is above its target, and that document's heap and stack. Fails when the document has another table; WRITE=1 puts this one there. Needs
# what scripts/csky.sh and scripts/rv32.sh need to link.
#
# Other compilers make other code. The table names those that made it; with others it is not compared, and that is said.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH="$PATH:/opt/csky/bin"
document=docs/memory.md csky=target/csky-w800-elfabiv2/flash rv32=target/riscv32imac-unknown-none-elf/flash
scripts/csky.sh >&2
if ! command -v csky-elfabiv2-gcc >/dev/null; then
    echo "skip size: no csky-elfabiv2-gcc"
    exit 0
fi
scripts/rv32.sh >&2
compilers="$(rustc +nightly --version), $(csky-elfabiv2-gcc --version | head -n 1), $(riscv64-unknown-elf-gcc --version | head -n 1)"
begin="<!-- make size: $compilers -->" end="<!-- end of make size -->"

# Name, image of scripts/csky.sh, target in KB for what it adds, and for the sum; 0: none.
table() {
    local before=0 rv32_before=0 name image part whole sum ram rv32_sum rv32_ram
    echo "$begin"
    echo "| features | adds | target | in all | target | static RAM | RV32: adds | in all | static RAM |"
    echo "|---|---|---|---|---|---|---|---|---|"
    while IFS='|' read -r name image part whole; do
        read -r sum ram < <(csky-elfabiv2-size "$csky/$image.elf" | flash_and_ram)
        read -r rv32_sum rv32_ram < <(riscv64-unknown-elf-size "$rv32/$image.elf" | flash_and_ram)
        echo "| $name | $((sum - before)) | $(limit "$part") | $sum | $(limit "$whole") | $ram" \
            "| $((rv32_sum - rv32_before)) | $rv32_sum | $rv32_ram |"
        before=$sum rv32_before=$rv32_sum
    done <<'ROWS'
TCP only|tcp|0|32
`websocket`|websocket|12|0
`tls` (TLS 1.3)|tls13|0|0
`tls12`|tls12|0|380
`webpki-roots`|roots|0|0
ROWS
    echo "$end"
}

flash_and_ram() { awk 'NR == 2 { print $1 + $2, $2 + $3 }'; }

limit() { # KB
    if [ "$1" != 0 ]; then echo $(($1 * 1024)); fi
}

new=$(table)
echo "$new"
echo "$new" | awk -F ' *[|] *' '
    $4 ~ /^[0-9]+$/ && $3 > $4 { print "above its target:", $2, "adds", $3 - $4, "bytes too many" }
    $6 ~ /^[0-9]+$/ && $5 > $6 { print "above its target:", $2, "has", $5 - $6, "bytes too many in all" }
    $7 ~ /^[0-9]+$/ && $7 > 1024 { print "above its target:", $2, "has", $7 - 1024, "bytes of static RAM too many" }'

if [ -n "${WRITE:-}" ]; then
    NEW=$new perl -0pi -e 's/<!-- make size: .*?<!-- end of make size -->/$ENV{NEW}/s' "$document"
elif ! grep -qxF "$begin" "$document"; then
    echo "not compared with $document: $(grep -o 'make size: [^>]* ' "$document") made its figures, not $compilers"
elif [ "$(sed -n '/^<!-- make size:/,/^<!-- end of make size/p' "$document")" != "$new" ]; then
    echo "$document has other figures; WRITE=1 make size puts these there"
    exit 1
fi

echo "Heap and stack, as make csky-test and make firmware-test have measured them:"
sed -n '/^<!-- make csky-test:/,/^<!-- end of make csky-test/p; /^<!-- make firmware-test:/,/^<!-- end of make firmware-test/p' "$document"
