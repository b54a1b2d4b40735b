#!/usr/bin/env python3
"""Checks the Markdown pages: what they link to is there, files and anchors, and a page and its translation agree.

PAGE.zh-CN.md has the blocks of PAGE.md in the same order: headings of the same level, paragraphs, items, rows of tables, code
blocks. In each of them stand the same pieces of code, the same numbers and the same links, so whoever changes one of these in one
page has to change the other too. What the words say nobody checks but the reader. The toolchain that they name is that of
targets/toolchain. The table in docs/deviations.md of what ends a connection and what is a warning has every text with which the
source says so, no other, and tests that there are. docs/testing.md names files and tests that there are.

Pictures, PICTURE.svg and PICTURE.zh-CN.svg, are XML, have a title and a description, and their translation differs in text alone.
"""

import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from xml.etree import ElementTree

LANGUAGE = ".zh-CN"
TRANSLATED = LANGUAGE + ".md"
# Where a page is read, if not where it is kept.
READ_IN = {"scripts/release/README.md": "."}

# Where the source says why a connection ends, or what it warns of: a file, and where in it.
REFUSALS = [
    ("src/protocol/event.rs", "impl Say for Violation", "\n}"),
    ("src/protocol/warnings.rs", "fn tell", "\n    }\n"),
    ("src/transport/websocket/error.rs", "impl Say for Error", "\n}"),
    ("src/transport/websocket/error.rs", "const HTTP_STATUS", "\n"),
    ("src/transport/websocket/mod.rs", "mod violation", "\n}"),
    ("src/transport/websocket/tungstenite.rs", "fn error", "\n}"),
    ("src/transport/websocket/upgrade.rs", "static FIELDS", ";\n"),
    ("src/transport/websocket/upgrade.rs", "fn check", "\n}"),
]

LINK = re.compile(r"\[((?:`[^`]*`|[^\]`])*)\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
START = re.compile(r"\s*(?:(?P<heading>#+(?=\s))|(?P<item>-(?: \[[ x]\])?(?=\s)|\d+\.(?=\s))|(?P<row>\|))\s*")


def blocks(page):
    """(line, kind, text) of each block; what a code block says is its kind, as nothing in it may differ."""
    found, fence, inside = [], None, False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            if fence is None:
                fence = [number, line, ""]
                found.append(fence)
            else:
                fence = None
            inside = False
        elif fence is not None:
            fence[1] += "\n" + line
        elif not line.strip():
            inside = False
        elif start := START.match(line):
            kind = start["heading"] or start["item"] or f"row of {line.count('|')}"
            found.append([number, kind, line[start.end() :]])
            inside = bool(start["item"])
        elif inside:
            found[-1][2] += " " + line.strip()
        else:
            found.append([number, "paragraph", line.strip()])
            inside = True
    return found


def anchors(page):
    """As GitHub makes them of the headings."""
    seen = {}
    for _, kind, text in blocks(page):
        if kind.startswith("#"):
            slug = re.sub(r"[^\w\- ]", "", LINK.sub(r"\1", text).strip().lower()).replace(" ", "-")
            count = seen[slug] = seen.get(slug, -1) + 1
            yield slug if count == 0 else f"{slug}-{count}"


def check_links(page):
    for line, _, text in blocks(page):
        for _, link in LINK.findall(text):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = Path(READ_IN.get(str(page), page.parent)) / path if path else page
            if not target.exists():
                yield f"{page}:{line}: {link} is not there"
            elif anchor and anchor not in anchors(target):
                yield f"{page}:{line}: {target} has no heading for #{anchor}"
            elif str(page).endswith(TRANSLATED) and path.endswith(".md") and not path.endswith(TRANSLATED):
                if target.with_name(target.stem + TRANSLATED).exists() and not text.endswith("| 简体中文"):
                    yield f"{page}:{line}: {link} has a translation"


def check_toolchain(page, pinned):
    for line, kind, text in blocks(page):
        for name in re.findall(r"nightly-\d{4}-\d\d-\d\d", kind + text):
            if name != pinned:
                yield f"{page}:{line}: {name} is not the toolchain, {pinned} is"


def facts(text):
    plain = LINK.sub(r" \1 ", text)
    return {
        "code": sorted(CODE.findall(plain)),
        "numbers": sorted(NUMBER.findall(CODE.sub(" ", plain))),
        # An anchor is its heading's name, in the page's language.
        "links": sorted(re.sub(r"#.*", "#", link.replace(LANGUAGE + ".", ".")) for _, link in LINK.findall(text)),
    }


def check_pair(page, translation):
    languages = {page: f"English | [简体中文]({translation.name})", translation: f"[English]({page.name}) | 简体中文"}
    both = []
    for one, expected in languages.items():
        found = blocks(one)
        if len(found) < 2 or found[1][2] != expected:
            yield f"{one}: the line below the title is not: {expected}"
            return
        both.append(found[:1] + found[2:])
    for left, right in zip_longest(*both, fillvalue=(None, "nothing", "")):
        where = f"{page}:{left[0]}, {translation}:{right[0]}"
        if left[1] != right[1]:
            yield f"{where}: {left[1]!r} here, {right[1]!r} there"
            return  # what follows is not side by side
        theirs = facts(right[2])
        for name, ours in facts(left[2]).items():
            if ours != theirs[name]:
                yield f"{where}: {name} {ours} here, {theirs[name]} there"


SVG = "{http://www.w3.org/2000/svg}"
WORDS = {SVG + "title", SVG + "desc", SVG + "text"}


def check_pictures(pictures):
    drawn = {}
    for picture in pictures:
        try:
            elements = list(ElementTree.parse(picture).iter())
        except ElementTree.ParseError as error:
            yield f"{picture}: {error}"
            continue
        for name in ("title", "desc"):
            if not any(one.tag == SVG + name and (one.text or "").strip() for one in elements):
                yield f"{picture}: no {name}"
        drawn[picture] = [without_words(one) for one in elements]
    for translation in drawn:
        original = translation.with_name(translation.name.replace(LANGUAGE + ".", "."))
        for left, right in zip_longest(drawn.get(original, ()), drawn[translation]):
            if left != right:
                yield f"{original}, {translation}: {left} here, {right} there"
                break  # what follows is not side by side


def without_words(element):
    attributes = {name: value for name, value in element.attrib.items() if not name.endswith("}lang")}
    return element.tag.removeprefix(SVG), attributes, None if element.tag in WORDS else (element.text or "").strip()


def literals(path, begin, end):
    """(what it leads to, text) of each string in a part of a source; "either" for a name that other texts are made with."""
    source = Path(path).read_text(encoding="utf-8")
    start = source.index(begin)
    for line in source[start : source.index(end, start)].splitlines():
        for text in re.findall(r'(?<!b)"([^"]+)"', re.sub(r"(?<!:)//.*", "", line)):
            if re.search(r"\w", text):
                verdict = "either" if begin.startswith("static") else "warn" if "warn" in path + line else "end"
                yield verdict, text.strip(" :;")


def check_refusals():
    page = Path("docs/deviations.md")
    rows = [
        (line, *[cell.strip() for cell in text.split("|")])
        for line, kind, text in blocks(page)
        if kind == "row of 6" and not text.startswith(("from the server", "---"))
    ]
    says = {(verdict, text) for place in REFUSALS for verdict, text in literals(*place)}
    if not rows or len(says) < 40:
        yield f"{page}: {len(rows)} rows, {len(says)} texts in the source: that is not the table, or not the source"
    for verdict, text in sorted(says):
        if not any(verdict in (row[2], "either") and text in " ".join(CODE.findall(row[3])) for row in rows):
            yield f"{page}: no row says that {text!r} in the source is: {verdict}"
    files = [path for path in listed("*.rs", "*.c") if path.exists() and "tests" in path.parts]
    tests = {name for path in files for name in re.findall(r"^\s*(?:fn|static void) (\w+)[(<]", path.read_text(), re.M)}
    for line, _, verdict, log, _, held in (row[:6] for row in rows):
        if verdict not in ("end", "warn", "pass") or (verdict == "pass") == bool(log):
            yield f"{page}:{line}: {verdict!r} with {log!r} in the log"
        for text in CODE.findall(log):
            rest = text
            for said in sorted((said for of, said in says if of in (verdict, "either")), key=len, reverse=True):
                rest = re.sub(rf"(?<!\w){re.escape(said)}(?!\w)", "", rest)
            if not re.fullmatch(r"[A-Z :]*", rest):
                yield f"{page}:{line}: nothing in the source says {text!r}"
        for test in CODE.findall(held) or [""]:
            if test not in tests:
                yield f"{page}:{line}: there is no test {test!r}"


def check_proofs():
    """In a cell a file or folder stands before the tests in it; a table without any is not that table."""
    page, proofs = Path("docs/testing.md"), 0
    for line, kind, text in blocks(page):
        within = None
        for code in CODE.findall(text.split("|")[2]) if kind == "row of 4" else ():
            proofs += 1
            if "/" in code:
                within = Path(code)
                if not within.exists():
                    yield f"{page}:{line}: there is no {code}"
            elif within is None or not within.is_file() or not re.search(rf"\b{re.escape(code)}\b", within.read_text()):
                yield f"{page}:{line}: {within} has no {code!r}"
    if proofs < 150:
        yield f"{page}: only {proofs} files and tests are named"


def listed(*patterns):
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    return [Path(name) for name in subprocess.check_output(command, text=True).splitlines()]


def main():
    pages, pictures = listed("*.md"), listed("*.svg")
    translations = [page for page in pages if page.name.endswith(TRANSLATED)]
    pairs = [(page.with_name(page.name.removesuffix(TRANSLATED) + ".md"), page) for page in translations]
    wrong = [message for page in pages for message in check_links(page)]
    pinned = next(line for line in Path("targets/toolchain").read_text().splitlines() if not line.startswith("#"))
    wrong += [message for page in pages for message in check_toolchain(page, pinned)]
    wrong += [message for pair in pairs for message in check_pair(*pair)]
    wrong += check_pictures(pictures)
    wrong += check_refusals()
    wrong += check_proofs()
    if wrong or not pairs:
        sys.exit("\n".join([*wrong, f"check-documents: {len(wrong)} wrong, {len(pairs)} translations"]))
    print(f"{len(pages)} pages, {len(pairs)} of them translations; {len(pictures)} pictures")


main()
