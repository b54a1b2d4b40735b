# shellcheck shell=bash
# Which Rust toolchain compiles for the device. To be sourced.

# What targets/toolchain says.
{ read -r pinned_nightly && read -r pinned_rustc; } < <(grep -v '^#' targets/toolchain)

# Sets NIGHTLY, the first argument of cargo and rustc (+name): $RUST_NIGHTLY if that names one, else the one of targets/toolchain,
# else one that is called nightly. Fails when it is not there.
find_nightly() {
    local name version
    for name in ${RUST_NIGHTLY:-$pinned_nightly nightly}; do
        if version=$(RUSTUP_AUTO_INSTALL=0 rustc "+$name" --version 2>/dev/null); then
            export NIGHTLY=+$name
            [ "$version" = "$pinned_rustc" ] ||
                echo "warning: $name is $version; figures and flags were made with $pinned_nightly ($pinned_rustc)" >&2
            return 0
        fi
    done
    return 1
}

# find_nightly for scripts that cannot do without.
need_nightly() {
    find_nightly && return
    echo "no toolchain ${RUST_NIGHTLY:-$pinned_nightly}: rustup toolchain install ${RUST_NIGHTLY:-$pinned_nightly} --profile minimal -c rust-src -c clippy" >&2
    exit 1
}

# The folder where that toolchain has, or would have, the sources of core and alloc.
rust_library() {
    echo "$(rustc "$NIGHTLY" --print sysroot)/lib/rustlib/src/rust/library"
}

# The compiler, whose core and alloc it compiles, and a sum of them: what flash and stack depend on.
made_with() {
    local library origin sum
    library=$(rust_library)
    if [ -f "$library/origin" ]; then # scripts/rust-src.sh
        origin=$(<"$library/origin")
    elif [ -f "$library/../../../manifest-rust-src" ]; then
        origin="rustup's rust-src"
    else
        origin="sources of unknown origin"
    fi
    sum=$(cd "$library" && find core alloc compiler-builtins -type f -name '*.rs' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
    echo "$(rustc "$NIGHTLY" --version), core and alloc of $origin (${sum:0:8})"
}
