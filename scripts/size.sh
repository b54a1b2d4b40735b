#!/usr/bin/env bash
# Prints the flash and the static RAM of the library on the device's C-SKY core and on a 32-bit RISC-V, and what that flash
# consists of, as the tables of docs/memory.md, and that document's heap and stack. Fails when something is above its target, and
# when the document has other tables; WRITE=1 puts these there. Needs what scripts/csky.sh and scripts/rv32.sh need to link.
#
# Other compilers, and other sources of core and alloc, make other code. The first line names those that made it, for which the
# targets are; with others (Debian's core and alloc take 0.4 % more) 1 % more is let pass, and that is said.
set -euo pipefail
shopt -s inherit_errexit # an image that is not there ends table() too
cd "$(dirname "$0")/.."
. scripts/rust.sh
need_nightly

export PATH="$PATH:/opt/csky/bin"
document=docs/memory.md csky=target/csky-w800-elfabiv2/flash rv32=target/riscv32imac-unknown-none-elf/flash
scripts/csky.sh >&2
if ! command -v csky-elfabiv2-gcc >/dev/null; then
    echo "skip size: no csky-elfabiv2-gcc"
    exit 0
fi
scripts/rv32.sh >&2
compilers="$(made_with), $(csky-elfabiv2-gcc --version | head -n 1), $(riscv64-unknown-elf-gcc --version | head -n 1)"
begin="<!-- make size: $compilers -->" end="<!-- end of make size -->"

# Name, image of scripts/csky.sh, target for what it adds, and for the sum; 0: none. Each row has what those above it have; a row
# without a target for what it adds (-) stands for itself.
table() {
    local before=0 rv32_before=0 name image part whole sum ram rv32_sum rv32_ram adds rv32_adds
    echo "| features | adds | target | in all | target | static RAM | RV32: adds | in all | static RAM |"
    echo "|---|---|---|---|---|---|---|---|---|"
    while IFS='|' read -r name image part whole; do
        read -r sum ram < <(csky-elfabiv2-size "$csky/$image.elf" | flash_and_ram)
        read -r rv32_sum rv32_ram < <(riscv64-unknown-elf-size "$rv32/$image.elf" | flash_and_ram)
        adds=$((sum - before)) rv32_adds=$((rv32_sum - rv32_before))
        if [ "$part" = - ]; then adds='' rv32_adds=''; fi
        echo "| $name | $adds | $(limit "$part") | $sum | $(limit "$whole") | $ram | $rv32_adds | $rv32_sum | $rv32_ram |"
        before=$sum rv32_before=$rv32_sum
    done <<'ROWS'
TCP only|tcp|0|34304
`websocket`|websocket|12288|0
`tls`, `rsa`, `chacha20` (TLS 1.3)|tls13|0|0
`tls12`|tls12|0|306000
`webpki-roots`|roots|0|0
smallest TLS: `tls`, `rsa`|smallest|-|281000
ROWS
}

flash_and_ram() { awk 'NR == 2 { print $1 + $2, $2 + $3 }'; }

limit() {
    case $1 in 0 | -) ;; *) echo "$1" ;; esac
}

sums=$(table)
new="$begin
$sums

$(scripts/flash-by-crate.py "$csky" "TCP only=tcp" "\`websocket\`=websocket" "\`tls12\`=tls12")
$end"
echo "$new"
status=0 tolerance=0
grep -qxF "$begin" "$document" || tolerance=0.01
echo "$sums" | awk -F ' *[|] *' -v tolerance="$tolerance" '
    function above(limit, value, what) {
        if (limit ~ /^[0-9]+$/ && value + 0 > limit * (1 + tolerance)) { print "above its target:", $2, what, value - limit, "bytes too many"; failed = 1 }
    }
    { above($4, $3, "adds"); above($6, $5, "has in all") }
    $7 ~ /^[0-9]+$/ { above(1024, $7, "has of static RAM") }
    END { exit failed }' || status=1

if [ -n "${WRITE:-}" ]; then
    NEW=$new perl -0pi -e 's/<!-- make size: .*?<!-- end of make size -->/$ENV{NEW}/s' "$document"
elif [ "$tolerance" != 0 ]; then
    echo "compared with the targets and 1 % more, not with the figures of $document. Those are of"
    echo "    $(sed -n 's/^<!-- make size: \(.*\) -->$/\1/p' "$document"), these of"
    echo "    $compilers"
elif [ "$(sed -n '/^<!-- make size:/,/^<!-- end of make size/p' "$document")" != "$new" ]; then
    echo "$document has other figures; WRITE=1 make size puts these there"
    status=1
fi

echo "Heap and stack, as make csky-test and make firmware-test have measured them:"
sed -n '/^<!-- make csky-test:/,/^<!-- end of make csky-test/p; /^<!-- make firmware-test:/,/^<!-- end of make firmware-test/p' "$document"
exit $status
