#!/usr/bin/env python3
"""report.py BENCH.JSON FOLDER: prints the tables with what the best of the other clients does beside ours, and draws FOLDER/bench-*.svg.
With a page behind it puts the tables there, between its two marks."""

import json
import pathlib
import re
import sys

import plots
from rows import CLIENTS, LIMIT, METRICS, OF_WORK, OURS, PEERS, ROWS, SCHEMES, SWEEPS

COLUMNS = [LIMIT, OURS, *PEERS]
BEGIN, END = "<!-- make bench -->", "<!-- end of make bench -->"
# Tables: what is counted, of which work, and its heading.
TABLES = [
    ("per_second", ("publish", "receive"), "Messages per second"),
    ("cpu_us", ("publish", "receive"), "Processor time of the client's process for a message, µs"),
    ("instructions", ("publish", "receive"), "Instructions in user space for a message; received one at a time"),
    ("system_calls", ("publish", "receive"), "System calls for a message"),
    ("switches", ("publish", "receive"), "Context switches for a message"),
    ("allocations", ("publish", "receive"), "Allocations for a message"),
    ("lost", ("receive",), "Lost, of 1,000 messages"),
    ("peak", ("publish", "receive", "idle"), "Peak memory of the process, bytes"),
    ("p50", ("trip",), "Round trip, p50, µs"),
    ("p99", ("trip",), "Round trip, p99, µs"),
    ("per_second", ("connect",), "Connects per second, from the first connect to the end of the last client"),
    ("cpu_us", ("connect",), "Processor time of the client's process for a connect, µs"),
    ("wakeups", ("idle",), "Wake-ups per second"),
]


def shown(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}"


def ratio(metric, values):
    """How many times as good ours is as the best of the others: above 1 is ahead. None where that says nothing."""
    others = [values[peer] for peer in PEERS if values.get(peer) is not None]
    ours = values.get(OURS)
    if not others or ours is None:
        return None
    best = max(others) if metric.more_is_better else min(others)
    over, under = (ours, best) if metric.more_is_better else (best, ours)
    return over / under if over and under else None


def tables(found):
    """(heading, rows of cells), the first row is the head."""
    for key, works, heading in TABLES:
        metric, lines = METRICS[key], []
        for row in ROWS:
            values = {client: metrics.get(key) for client, metrics in found.get(row.key, {}).items()}
            if row.work not in works or not any(value is not None for value in values.values()):
                continue
            times = ratio(metric, values)
            lines.append([row.title, *(shown(values.get(client), metric.digits) for client in COLUMNS), "" if times is None else f"{times:,.0f}" if times >= 10 else f"{times:.2f}"])
        if lines:
            # The limit is a publisher, and one that waits for its own messages over TCP.
            drop = [at for at in range(1, len(COLUMNS) + 1) if all(line[at] == "–" for line in lines)]
            head = ["", *(CLIENTS[client] for client in COLUMNS), "ours : best"]
            yield heading, [[cell for at, cell in enumerate(line) if at not in drop] for line in [head, *lines]]


def markdown(rows):
    line = "|".join(["---"] + ["---:"] * (len(rows[0]) - 1))
    return "\n".join(["| " + " | ".join(rows[0]) + " |", f"|{line}|", *("| " + " | ".join(row) + " |" for row in rows[1:])])


def aligned(rows):
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))) for row in rows)


def machine(about):
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    return (
        f"Recorded on {about['date']} at commit {about['commit']}: {about['processor']}, {about['cores']} cores, {about['memory']:,} bytes of "
        f"memory, Linux {about['kernel']}; {', '.join(about['compilers'])}; {versions}. Medians of {about['rounds']} rounds, {about['seconds']} s "
        f"in all; the load average was {about['load']:.2f} before"
        + (", so times are noise, and only what is counted says something." if about["load"] > 0.5 else ".")
    )


def draw(found, sweeps, folder):
    names = [CLIENTS[client] for client in [OURS, *PEERS, LIMIT]]

    def values(row, key):
        return [found.get(row.key, {}).get(client, {}).get(key) for client in [OURS, *PEERS, LIMIT]]

    drawn = {}
    for name, key, title in (
        ("messages", "per_second", "Messages per second: longer is better"),
        ("cpu", "cpu_us", "Processor time for a message, µs: shorter is better"),
        ("instructions", "instructions", "Instructions in user space for a message: shorter is better"),
    ):
        panels = [(row.title, values(row, key)) for row in ROWS if row.work in ("publish", "receive") and any(values(row, key))]
        if panels:
            drawn[name] = plots.bars(title, f"{title}. One group of bars for each row of the table, one bar for each client.", names, panels)
    trips = []
    for row in (row for row in ROWS if row.work == "trip"):
        both = list(zip(values(row, "p50"), values(row, "p99")))
        if any(both[0]):
            trips.append((f"QoS {row.options['qos']}, {SCHEMES[row.options['scheme']]}", [both_ends if both_ends[0] else None for both_ends in both]))
    if trips:
        drawn["trips"] = plots.ranges("Round trip, µs: a dot at p50, a line to p99", "A row for each QoS and scheme, a line for each client.", names, trips)
    panels = [(sweep.title, sweep.unit, sweeps[sweep.key]) for sweep in SWEEPS if sweep.key in sweeps]
    if panels:
        drawn["sweeps"] = plots.lines(
            "Instructions for a message of this library, against what must not make them more",
            "One curve for each sweep: over handles, messages in flight, and messages that wait.", panels,
        )
    for name, picture in drawn.items():
        (folder / f"bench-{name}.svg").write_text(picture, encoding="utf-8")
    return drawn


def missing(found, clients):
    """What ought to have been measured: all metrics of ours, and something of each other client. Instructions are not counted in each
    row, system calls not on each machine."""
    for row in (row for row in ROWS if row.key in found):
        for key in OF_WORK[row.work]:
            if key not in found[row.key].get(OURS, {}) and key not in ("instructions", "system_calls"):
                yield f"{row.key}: {OURS} has no {key}"
    present = {client for clients in found.values() for client in clients}
    yield from (f"{client} is not there" for client in clients if client not in present)
    if not any("system_calls" in metrics for clients in found.values() for metrics in clients.values()):
        print("skip system calls: the kernel shows no tracepoints, or not to this user")


def main():
    result = json.loads(pathlib.Path(sys.argv[1]).read_text())
    folder = pathlib.Path(sys.argv[2])
    drawn = draw(result["rows"], result["sweeps"], folder)
    made = list(tables(result["rows"]))
    print("\n\n".join(f"{heading}\n{aligned(rows)}" for heading, rows in made))
    for sweep in SWEEPS:
        if sweep.key in result["sweeps"]:
            print(f"\n{sweep.title}: " + ", ".join(f"{x}: {y:,}" for x, y in result["sweeps"][sweep.key]))
    if len(sys.argv) > 3:
        page = pathlib.Path(sys.argv[3])
        text = machine(result["machine"]) + "\n\n" + "\n\n".join(f"{heading}:\n\n{markdown(rows)}" for heading, rows in made)
        marks = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.S)
        page.write_text(marks.sub(lambda _: f"{BEGIN}\n{text}\n{END}", page.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    faults = list(missing(result["rows"], result["clients"]))
    print("\n".join(["", *faults, machine(result["machine"])]))
    if faults:
        sys.exit(1)
    print(f"{len(made)} tables, {len(drawn)} plots: {folder}")


main()
