#!/usr/bin/env python3
"""measures.py LOGS MACHINE: the heap and stack table of docs/memory.md from what the firmware has measured on that machine, in
the logs of a whole run of scripts/firmware.sh. Fails when something is above its target, or needs more than the document says; WRITE=1 puts the table
there. With other compilers, or another core ($MADE_WITH), than the table names only the targets are compared, and that is said.

    MEASURE CORE SCHEME NAME BYTES      in the logs of `device`
    STACK BYTES BYTES                   in the log of each program: the MQTT task, that of TLS handshakes; the most counts
"""

import os
import re
import subprocess
import sys

DOCUMENT = "docs/memory.md"
SCHEMES = ("mqtt", "ws", "mqtts", "wss")
# What makes the table, and its compiler.
MACHINES = {"virt": ("make firmware-test", "riscv64-unknown-elf-gcc"), "csky": ("make csky-test", "csky-elfabiv2-gcc")}
# Name, text, target without and with TLS.
ROWS = [
    ("heap_idle", "heap of an idle handle", 1024, 1024),
    ("heap_connected", "connected", 4096, 16384),
    ("heap_peak_of_connect", "at most while it connects, with the stack of the handshake", None, None),
    ("heap_idle_after_a_connection", "idle after a connection, with a ticket where there is TLS", 8192, 8192),
    ("stack_of_mqtt_task", "stack of the MQTT task", 6144, 6144),
    ("stack_of_handshake", "stack of a TLS handshake", None, 20480 - 4096),
]
ROWS += [
    (f"stack_of_{call}", f"stack of {call}", 1024, 1024)
    for call in "init connect subscribe publish unsubscribe reconnect disconnect deinit".split()
]
TLS_ONLY = ("stack_of_handshake",)


def tolerance(documented):
    """Tasks meet in another order each time: the kernel saves what it interrupts on their stacks, and lwIP may still have a
    part of a connection that has just ended."""
    return max(256, documented // 10)


def measured(folder):
    values = {}

    def keep(name, scheme, value):
        values[name, scheme] = max(value, values.get((name, scheme), 0))

    for file in os.listdir(folder):
        name = re.fullmatch(r"[a-z_]+--([a-z]+)\.log", file)
        if not name:
            continue
        with open(os.path.join(folder, file), errors="replace") as log:
            text = log.read()
        for scheme, row, value in re.findall(r"^MEASURE \w+ (\w+) (\w+) (\d+)$", text, re.M):
            keep(row, scheme, int(value))
        for task, step in re.findall(r"^STACK (\d+) (\d+)$", text, re.M):
            keep("stack_of_mqtt_task", name[1], int(task))
            if int(step):
                keep("stack_of_handshake", name[1], int(step))
    return values


def table(values, begin, end):
    head = ["", *SCHEMES, "target", "with TLS"]
    lines = [begin, "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, text, *targets in ROWS:
        numbers = [values.get((name, scheme)) for scheme in SCHEMES] + targets
        lines.append(f"| {text} | " + " | ".join("" if n is None else f"{n:,}" for n in numbers) + " |")
    return "\n".join([*lines, end])


def documented(text):
    values = {}
    names = {row[1]: row[0] for row in ROWS}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in names:
            for scheme, cell in zip(SCHEMES, cells[1:]):
                if cell:
                    values[names[cells[0]], scheme] = int(cell.replace(",", ""))
    return values


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main():
    values = measured(sys.argv[1])
    made_by, gcc = MACHINES[sys.argv[2]]
    compilers = f"{os.environ['MADE_WITH']}, {first_line(gcc, '--version')}"
    end = f"<!-- end of {made_by} -->"
    new = table(values, f"<!-- {made_by}: {compilers} -->", end)
    print(new)
    with open(DOCUMENT) as file:
        text = file.read()
    old = re.search(f"<!-- {made_by}: (.*?) -->\n.*?{end}", text, re.S)
    if not old:
        sys.exit(f"{DOCUMENT} has no place for the table")

    failed = False
    for name, label, without_tls, with_tls in ROWS:
        for scheme in SCHEMES:
            target = with_tls if scheme in ("mqtts", "wss") else without_tls
            value = values.get((name, scheme))
            if value is None and not (name in TLS_ONLY and scheme in ("mqtt", "ws")):
                failed = True
                print(f"not measured: {label}, {scheme}")
            elif value is not None and target is not None and value > target:
                failed = True
                print(f"above its target: {label}, {scheme}: {value} of {target}")
    if os.environ.get("WRITE"):
        with open(DOCUMENT, "w") as file:
            file.write(text.replace(old[0], new))
    elif old[1] != compilers:
        print(f"not compared with {DOCUMENT}: {old[1]} made its figures, not {compilers}")
    else:
        said = documented(old[0])
        for (name, scheme), value in sorted(values.items()):
            label = next((row[1] for row in ROWS if row[0] == name), None)
            # What other measurements are made of; and the peak, which lwIP's packets of that moment make.
            if label is None or name == "heap_peak_of_connect":
                continue
            was = said.get((name, scheme))
            if was is None or value > was + tolerance(was):
                failed = True
                print(f"{DOCUMENT} says {was} for {label}, {scheme}; it is {value}. WRITE=1 {made_by} puts it there")
    sys.exit(failed)


main()
