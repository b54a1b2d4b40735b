#!/usr/bin/env python3
"""Prints the licence notices of what the prebuilt libraries are made of: each package that cargo compiles into them for the
device, with the texts that its authors ship, and Rust's own libraries. Fails when a package has no text and none can be made."""
import json
import os
import pathlib
import subprocess
import sys

FEATURES = "freertos,tls,tls12,rsa,chacha20,websocket,webpki-roots"
NAMES = ("license", "licence", "copying", "copyright", "notice", "unlicense")
NIGHTLY = os.environ["NIGHTLY"]  # scripts/rust.sh
ROOT = pathlib.Path(__file__).parents[2]


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, text=True, capture_output=True).stdout


def cargo(command, *arguments):
    return run("cargo", NIGHTLY, command, "--locked", "--config", "targets/csky.toml", "--no-default-features",
               "--features", FEATURES, *arguments)


def packages():
    """Those that are linked: neither build scripts' dependencies nor procedural macros."""
    tree = cargo("tree", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
    linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    found = [p for p in json.loads(cargo("metadata", "--format-version", "1"))["packages"]
             if (p["name"], "v" + p["version"]) in linked and p["source"]]
    if len(found) + 1 != len(linked):
        sys.exit(f"notices: {len(linked)} packages are linked, {len(found)} and ours were found")
    return sorted(found, key=lambda p: p["name"])


def texts(package, standard):
    """What the authors ship; else the text of their choice that needs no more than their names."""
    folder = pathlib.Path(package["manifest_path"]).parent
    found = sorted(f for f in folder.rglob("*") if f.is_file() and f.name.lower().startswith(NAMES))
    if found:
        return [(str(f.relative_to(folder)), f.read_text(errors="replace")) for f in found]
    if "Apache-2.0" in package["license"].split(" OR "):
        return [("Apache-2.0 (the package has no file)", standard("Apache-2.0"))]
    if package["license"] == "MIT" and package["authors"]:
        return [("MIT (the package has no file)", mit(standard, ", ".join(package["authors"])))]
    sys.exit(f"notices: no text for {package['name']}, {package['license']}")


def mit(standard, authors):
    blank = "Copyright (c) <year> <copyright holders>"
    text = standard("MIT")
    assert blank in text
    return text.replace(blank, f"Copyright (c) {authors}")


def main():
    sysroot = pathlib.Path(run("rustc", NIGHTLY, "--print", "sysroot").strip())

    def standard(name):
        return (sysroot / "share/doc/rust/licenses" / f"{name}.txt").read_text()

    rust = run("rustc", NIGHTLY, "--version").split()[1]
    developers = "The Rust Project Developers (see https://thanks.rust-lang.org)"
    both = [("Apache-2.0", standard("Apache-2.0")), ("MIT", mit(standard, developers))]
    entries = [(p["name"], p["version"], p["license"], p["repository"] or "", texts(p, standard)) for p in packages()]
    source = "https://github.com/rust-lang/rust"
    entries += [
        ("alloc", rust, "MIT OR Apache-2.0", source, both),
        ("compiler_builtins", rust, "MIT AND Apache-2.0 WITH LLVM-exception AND (MIT OR Apache-2.0)", source,
         both + [("LLVM-exception", standard("LLVM-exception"))]),
        ("core", rust, "(MIT OR Apache-2.0) AND Unicode-3.0", source, both + [("Unicode-3.0", standard("Unicode-3.0"))]),
    ]

    print("What the libraries in lib/ are made of besides our own code, and lib/freertos-rust/shim.c, which belongs to\n"
          "freertos-rust. libwm_mqtt_client_tcp.a has a part of it. Texts that are the same are printed once, below the list.\n")
    numbers = {}
    for name, version, license, repository, files in entries:
        print(f"{name} {version}\n    {license}\n    {repository}")
        for file, text in files:
            number = numbers.setdefault(text.strip("\r\n"), len(numbers) + 1)
            print(f"    {file}: text {number}")
    for text, number in numbers.items():
        print(f"\n{'=' * 30} text {number} {'=' * 30}\n\n{text}")


main()
