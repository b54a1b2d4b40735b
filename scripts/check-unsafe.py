#!/usr/bin/env python3
"""Compares docs/unsafe.md with the `unsafe` of src/: each block and each implementation, where it stands and why it is sound, as its
SAFETY comment says. WRITE=1 writes the page. Fails too for one without that comment, and for one outside of src/ffi and src/port.
What stands in tests is left out."""

import os
import re
import sys
from pathlib import Path

PAGE = Path("docs/unsafe.md")
HEAD = """# Where the code is `unsafe`

Every `unsafe` block and implementation of the library, tests left out, with the comment that says why it is sound. `unsafe` is in
`src/ffi` and `src/port` only; `client`, `protocol` and `transport` forbid it. Generated from the source by `WRITE=1
scripts/check-unsafe.py`; `make test` compares.

| where | in | why it is sound |
|---|---|---|
"""
ALLOWED = ("src/ffi/", "src/port/")
USE = re.compile(r"\bunsafe (\{|impl\b)")
ITEM = re.compile(r"^(\s*)(?:pub(?:\([^)]*\))? )?(?:const )?(?:unsafe )?(?:extern \"C\" )?(?:fn (\w+)|(impl\b.*) \{$)")
COMMENT = re.compile(r"^\s*//(?!/) ?(.*)$")


def reason(lines, at):
    """The SAFETY comment in front of a line, or of the statement that the line belongs to."""
    while at > 0 and not COMMENT.match(lines[at - 1]) and not re.search(r"[;{}]\s*$", lines[at - 1]):
        at -= 1
    text = []
    while at > 0 and (comment := COMMENT.match(lines[at - 1])):
        at -= 1
        text.insert(0, comment[1].strip())
    joined = " ".join(text)
    return joined.partition("SAFETY: ")[2]


def uses(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    if "#[cfg(test)]" in lines:
        lines = lines[: lines.index("#[cfg(test)]")]
    items = []
    for at, line in enumerate(lines):
        if item := ITEM.match(line):
            items = [outer for outer in items if outer[0] < len(item[1])] + [(len(item[1]), item[2] or item[3])]
        if COMMENT.match(line) or not (use := USE.search(line)):
            continue
        inside = line.strip().removesuffix(" {}") if use[1] == "impl" else items[-1][1] if items else "a constant"
        yield at + 1, inside, reason(lines, at)


def main():
    rows, faults = [], []
    for path in sorted(Path("src").rglob("*.rs")):
        if path.name == "tests.rs" or "tests" in path.parts:
            continue
        for line, inside, why in uses(path):
            if not why:
                faults.append(f"{path}:{line}: no SAFETY comment")
            if not str(path).startswith(ALLOWED):
                faults.append(f"{path}:{line}: unsafe outside of src/ffi and src/port")
            rows.append(f"| `{path}` | `{inside}` | {why.replace('|', chr(92) + '|')} |\n")
    page = HEAD + "".join(rows)
    if os.environ.get("WRITE"):
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page:
        faults.append(f"{PAGE} is out of date: WRITE=1 {sys.argv[0]}")
    print("\n".join(faults) or f"{len(rows)} uses of unsafe")
    return bool(faults)


sys.exit(main())
