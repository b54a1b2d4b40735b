#!/usr/bin/env python3
"""Checks what is linked with the library, on Linux and on the device, offline: each package has a licence that lets it be linked
with anything and passed on with a notice, and none is there in two versions but those named here. What only builds or tests it is
not looked at."""

import re
import subprocess
import sys

FREE = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CDLA-Permissive-2.0", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib"}
# Why there are two versions.
DOUBLE = {"getrandom": "ring draws its random numbers from 0.2, tungstenite from 0.4, on Linux only"}
BUILDS = {
    "Linux": [],
    "the device": ["--no-default-features", "--features", "freertos,tls,tls12,rsa,ed25519,chacha20,websocket,webpki-roots"],
}


def is_free(licence):
    """SPDX: alternatives of conjunctions, in parentheses or not."""
    licence = licence.replace("/", " OR ")
    while group := re.search(r"\(([^()]*)\)", licence):
        licence = licence[: group.start()] + ("MIT" if is_free(group[1]) else "closed") + licence[group.end() :]
    return any(
        all(part.partition(" WITH ")[0].strip() in FREE for part in option.split(" AND ")) for option in licence.split(" OR ")
    )


def main():
    faults = []
    for name, options in BUILDS.items():
        command = ["cargo", "tree", "--locked", "--offline", "--edges=normal", "--prefix=none", "--format={p}|{l}"]
        output = subprocess.run(command + options, check=True, capture_output=True, text=True).stdout
        packages = dict(line.removesuffix(" (*)").split("|") for line in output.splitlines() if line)
        versions = {}
        for package, licence in packages.items():
            versions.setdefault(package.split()[0], set()).add(package.split()[1])
            if not is_free(licence):
                faults.append(f"{name}: {package} has the licence {licence or 'that it does not name'}")
        for crate, several in versions.items():
            if len(several) > 1 and (crate not in DOUBLE or name != "Linux"):
                faults.append(f"{name}: {crate} in {' and '.join(sorted(several))}")
        print(f"{name}: {len(packages)} packages")
    print("\n".join(faults), end="\n" if faults else "")
    return bool(faults)


sys.exit(main())
