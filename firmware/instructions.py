#!/usr/bin/env python3
"""instructions.py LOGS: the tables of docs/performance.md, medians of what the firmware on C-SKY has counted in rounds. Fails when
even the best round of something takes more than the document says, beyond a tolerance; WRITE=1 puts the tables there. With other
compilers, or another core ($MADE_WITH), than a table names nothing is compared, and that is said.

    INSTRUCTIONS TABLE ; ROW ; COLUMN ; NUMBER      in the logs, for each round, or for all of them together
"""

import glob
import os
import re
import statistics
import subprocess
import sys

DOCUMENT = "docs/performance.md"
# What a figure of the document is, and what is no difference, in this row: random numbers and the time that the network takes make
# less. Where a server's answers come in between, their number at a time is a matter of luck.
TABLES = {
    "handshakes": (lambda count: f"{count / 1e6:.2f}", lambda row: 1.03),
    "messages": (lambda count: f"{count:,.0f}", lambda row: 1.03 if re.search("publish, QoS 0|receive, QoS [01]", row) else 1.20),
}
LINE = r"^INSTRUCTIONS (\S+) ; (.*) ; (.*) ; (\d+)$"


def measured(folder):
    """{table: {row: {column: [count of each round]}}}, in their order."""
    tables = {name: {} for name in TABLES}
    for path in sorted(glob.glob(f"{folder}/*.log")):
        with open(path, errors="replace") as log:
            for table, row, column, count in re.findall(LINE, log.read(), re.M):
                tables[table].setdefault(row, {}).setdefault(column, []).append(int(count))
    return tables


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def first_line(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def compare(name, rows, text, compilers):
    """The document with this table; whether it may stand."""
    figure, tolerance = TABLES[name]
    found = re.search(f"<!-- make csky-test: {name}: (.*?) -->\n(.*?)\n<!-- end of make csky-test: {name} -->", text, re.S)
    if not found:
        sys.exit(f"{DOCUMENT} has no place for the table of {name}")
    head, _, *lines = found[2].splitlines()
    columns = cells(head)[1:]
    said = {row: dict(zip(columns, map(lambda cell: float(cell.replace(",", "")), rest))) for row, *rest in map(cells, lines)}
    if not rows or {row: set(columns) for row in rows} != {row: set(counts) for row, counts in rows.items()}:
        sys.exit(f"{name}: not measured, or other columns than {columns}")
    print(head, "|---" * (len(columns) + 1) + "|", sep="\n")
    new, fits = [], True
    for row, counts in rows.items():
        values = [figure(statistics.median(counts[column])) for column in columns]
        new.append("| " + " | ".join([row, *values]) + " |")
        print(new[-1], *(f"{max(counts[column]) / min(counts[column]) - 1:.1%}" for column in columns), "apart")
        for column in columns:
            before, best = said.get(row, {}).get(column), figure(min(counts[column]))
            if before is None or float(best.replace(",", "")) > before * tolerance(row):
                fits = False
                print(f"{DOCUMENT} says {before} for {row}, {column}; it is {best} at best")
    begin = f"<!-- make csky-test: {name}: {compilers} -->"
    table = "\n".join([begin, head, "|---" * (len(columns) + 1) + "|", *new, f"<!-- end of make csky-test: {name} -->"])
    if found[1] != compilers:
        print(f"not compared with {DOCUMENT}: {found[1]} made its figures, not {compilers}")
        fits = True
    return text.replace(found[0], table), fits


def main():
    compilers = f"{os.environ['MADE_WITH']}, {first_line('csky-elfabiv2-gcc', '--version')}"
    with open(DOCUMENT) as file:
        text = file.read()
    fit = True
    for name, rows in measured(sys.argv[1]).items():
        text, fits = compare(name, rows, text, compilers)
        fit &= fits
    if os.environ.get("WRITE"):
        with open(DOCUMENT, "w") as file:
            file.write(text)
    elif not fit:
        sys.exit("WRITE=1 make csky-test puts these figures there")


main()
