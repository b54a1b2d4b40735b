#!/usr/bin/env python3
"""flash-by-crate.py FOLDER TITLE=IMAGE...: prints what images of scripts/csky.sh consist of, as the second table of docs/memory.md.
Each function and each constant is a section in the linker's map; fails when they do not add up to the image's flash."""
import collections
import pathlib
import re
import subprocess
import sys

OURS = "wm_mqtt_client"
# The rooms of src/ in the table's order, one of them for the single files. Other crates follow, the largest first.
FILES = "log, memory, time"
ROOMS = ["ffi", "client", "protocol", "transport::uri", "transport::websocket", "transport::tls", "transport", "port", FILES]
RING_C = "ring, its C"
LIBGCC = "libgcc"
SHARED = "sequences that functions have in common"
TABLES = "read-only data: what has a name, and tables of `match`"
STRINGS = "read-only data: strings and other constants"
PADDING = "padding between them"
LAST = [LIBGCC, SHARED, TABLES, STRINGS, PADDING]

OUTPUT = re.compile(r"^(\.\S+)\s+0x([0-9a-f]+)\s+0x[0-9a-f]+", re.MULTILINE)
INPUT = re.compile(r"^ (\S+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+)(?: (.*))?$", re.MULTILINE)
# A crate in a mangled name (https://doc.rust-lang.org/rustc/symbol-mangling/v0.html); the length of what it is called follows.
CRATE = re.compile(r"C(?:s[0-9A-Za-z]*_)?(?=[0-9])")
LENGTH = re.compile(r"([0-9]+)_?")


def identifier(name, at):
    """The identifier at this place of a mangled name, and where it ends."""
    length = LENGTH.match(name, at)
    if not length:
        return "", at
    end = length.end() + int(length[1])
    return name[length.end():end], end


def named(name):
    """(crate, first module) of all the crates in a mangled name, in its order."""
    at = 0
    while crate := CRATE.search(name, at):
        text, at = identifier(name, crate.end())
        module, end = identifier(name, at)
        inner = f"{module}::{identifier(name, end)[0]}"
        yield text, inner if inner in ROOMS else module


def function_row(name, file):
    """Where a function counts."""
    if name.startswith("outlined."):
        return SHARED
    if LIBGCC in file:
        return LIBGCC
    if name.startswith("wm_mqtt_"):
        return "ffi"
    if not name.startswith("_R"):
        return RING_C
    # The function with which the port begins a task has all of that task compiled into it.
    if "4port8freertos" in name and "5spawn3run" in name:
        return "client"
    places = list(named(name))
    if "9drop_glue" in name:
        places = [place for place in places if place[0] not in ("core", "alloc")] or places
    crate, module = places[0]
    if crate == "__rustc": # rustc's names of the allocator's functions
        return "alloc"
    if crate != OURS:
        return crate
    return module if module in ROOMS else FILES


def row(section, file):
    """Where an input section counts."""
    if section == "*fill*":
        return PADDING
    if section.startswith(".text"):
        return function_row(section.removeprefix(".text.").removeprefix("unlikely."), file)
    return STRINGS if re.match(r"\.rodata\.(\.Lanon\.|str|cst)", section) else TABLES


def breakdown(folder, image):
    """The bytes of each row in an image."""
    text = (folder / f"{image}.map").read_text()
    outputs = list(OUTPUT.finditer(text, text.index("\nLinker script and memory map")))
    rows = collections.Counter()
    for output, following in zip(outputs, [*outputs[1:], None]):
        # What is not loaded is at address 0, and .bss is not in the flash.
        if int(output[2], 16) == 0 or output[1] == ".bss":
            continue
        for section in INPUT.finditer(text, output.end(), following.start() if following else len(text)):
            rows[row(section[1], section[3] or "")] += int(section[2], 16)
    size = subprocess.run(["csky-elfabiv2-size", folder / f"{image}.elf"], check=True, capture_output=True, text=True).stdout
    flash = sum(map(int, size.splitlines()[1].split()[:2]))
    if sum(rows.values()) != flash:
        sys.exit(f"flash-by-crate: the parts of {image} have {sum(rows.values())} bytes, the image has {flash}")
    return rows


def main():
    folder = pathlib.Path(sys.argv[1])
    titles, images = zip(*(argument.split("=") for argument in sys.argv[2:]))
    columns = [breakdown(folder, image) for image in images]
    print("| " + " | ".join(["bytes of", *titles]) + " |")
    print("|---" * (len(columns) + 1) + "|")
    crates = set().union(*columns) - {*ROOMS, *LAST}
    for name in [*ROOMS, *sorted(crates, key=lambda name: (-columns[-1][name], name)), *LAST]:
        title = f"`{name}`" if re.fullmatch(r"[\w:]+", name) else name
        print("| " + " | ".join([title, *(str(column[name] or "") for column in columns)]) + " |")
    print("| " + " | ".join(["in all", *(str(sum(column.values())) for column in columns)]) + " |")


main()
