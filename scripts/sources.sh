# shellcheck shell=bash
# Where the sources of others are that the firmware and the component's test compile. To be sourced.

# lwIP's sources from Debian, into FOLDER/lwip, with package lists of our own: the system's need not have deb-src switched on.
lwip() { # FOLDER, absolute
    local out=$1 apt=$1/apt folder
    [ ! -f "$out/lwip/src/Filelists.mk" ] || return 0
    rm -rf "$apt" "$out/lwip"
    mkdir -p "$apt"/{sources,lists/partial,cache/archives/partial}
    for folder in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        [ ! -f "$folder" ] || sed 's/^deb /deb-src /; s/^Types: *deb$/Types: deb-src/' "$folder" >"$apt/sources/$(basename "$folder")"
    done
    local options=(-q -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$apt/sources" -o "Dir::State::lists=$apt/lists"
        -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)")
    apt-get "${options[@]}" update
    (cd "$apt" && apt-get "${options[@]}" source --download-only lwip)
    mkdir "$out/lwip"
    tar xf "$apt"/lwip_*.orig.tar.* --strip-components=1 -C "$out/lwip"
}

# The folder of a package in a graph of cargo's.
package() { # MANIFEST NAME
    cargo metadata --locked --format-version 1 --manifest-path "$1" |
        python3 -c 'import json, os, sys
print(*(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == sys.argv[1]))' "$2"
}
