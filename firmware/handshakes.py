#!/usr/bin/env python3
"""handshakes.py LOG: the table of docs/performance.md from what firmware/csky/tests/handshakes.c has counted: the instructions of a
TLS handshake, the median of its rounds. Fails when one takes more than the document says; WRITE=1 puts the table there. With
other compilers than those that the table names nothing is compared, and that is said.

    HANDSHAKE VERSION KEY full|resumed INSTRUCTIONS      in the log
"""

import os
import re
import statistics
import subprocess
import sys

DOCUMENT = "docs/performance.md"
END = "<!-- end of make csky-test: handshakes -->"
ROWS = [(version, key) for version in ("1.2", "1.3") for key in ("RSA-2048", "P-256")]
KINDS = ("full", "resumed")
# Random numbers and the time that the network takes make less than this.
TOLERANCE = 1.03


def measured(file):
    counts = {}
    with open(file, errors="replace") as log:
        for version, key, kind, count in re.findall(r"^HANDSHAKE (\S+) (\S+) (\S+) (\d+)$", log.read(), re.M):
            counts.setdefault((version, key, kind), []).append(int(count))
    for kind, all_of_it in counts.items():
        spread = max(all_of_it) / min(all_of_it) - 1
        print("TLS %s, %s, %s:" % kind, *all_of_it, f"({spread:.1%} apart)")
    return {kind: statistics.median(all_of_it) / 1e6 for kind, all_of_it in counts.items()}


def table(values, begin):
    lines = [begin, "| | full | resumed |", "|---|---|---|"]
    for version, key in ROWS:
        cells = (f"{values[version, key, kind]:.2f}" for kind in KINDS)
        lines.append(f"| TLS {version}, {key} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, END])


def documented(text):
    rows = re.findall(r"^\| TLS (\S+), (\S+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    return {(version, key, kind): float(cell) for version, key, *cells in rows for kind, cell in zip(KINDS, cells)}


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main():
    values = measured(sys.argv[1])
    missing = [(*row, kind) for row in ROWS for kind in KINDS if (*row, kind) not in values]
    if missing:
        sys.exit(f"not measured: {missing}")
    compilers = f"{first_line('rustc', '+nightly', '--version')}, {first_line('csky-elfabiv2-gcc', '--version')}"
    new = table(values, f"<!-- make csky-test: handshakes: {compilers} -->")
    print(new)
    with open(DOCUMENT) as file:
        text = file.read()
    old = re.search(f"<!-- make csky-test: handshakes: (.*?) -->\n.*?{END}", text, re.S)
    if not old:
        sys.exit(f"{DOCUMENT} has no place for the table")
    if os.environ.get("WRITE"):
        with open(DOCUMENT, "w") as file:
            file.write(text.replace(old[0], new))
        return
    if old[1] != compilers:
        print(f"not compared with {DOCUMENT}: {old[1]} made its figures, not {compilers}")
        return
    said = documented(old[0])
    failed = False
    for kind, value in values.items():
        if kind not in said or value > said[kind] * TOLERANCE:
            failed = True
            print(f"{DOCUMENT} says {said.get(kind)} for", "TLS %s, %s, %s;" % kind, f"it is {value:.2f}")
    if failed:
        sys.exit("WRITE=1 make csky-test puts these figures there")


main()
