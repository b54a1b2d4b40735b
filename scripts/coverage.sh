#!/usr/bin/env bash
# coverage.sh: prints the lines of src/protocol that the corpora in fuzz/corpus do not pass, and how many they do. Needs the component
# llvm-tools of the stable toolchain (rustup component add llvm-tools). PARTS="src/protocol src/transport/uri.rs" looks at others.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo} out=$PWD/target/coverage
read -ra parts <<<"${PARTS:-src/protocol}"
tools=$(rustc --print target-libdir)/../bin
[ -x "$tools/llvm-cov" ] || {
    echo "no llvm-cov: rustup component add llvm-tools" >&2
    exit 1
}
rm -rf "$out/profiles"
export CARGO_TARGET_DIR=$out RUSTFLAGS=-Cinstrument-coverage LLVM_PROFILE_FILE=$out/profiles/%p.profraw
"$cargo" test --locked --manifest-path fuzz/Cargo.toml --test replay >&2
# Build scripts of dependencies have left profiles too.
program=$(find "$out/debug/deps" -name 'replay-*' -type f -executable -newer fuzz/Cargo.toml -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
"$tools/llvm-profdata" merge --sparse -o "$out/profile" "$out"/profiles/*.profraw
"$tools/llvm-cov" export --format=lcov --instr-profile="$out/profile" "$program" "${parts[@]/#/$PWD/}" | awk -v folder="$PWD/" '
    /^SF:/ { file = substr($0, 4); sub(folder, "", file) }
    /^DA:/ { split(substr($0, 4), line, ","); all++; if (line[2] > 0) passed++; else print file ":" line[1] }
    END { printf "%d of %d lines, %.1f %%\n", passed, all, 100 * passed / all; exit all == 0 }'
