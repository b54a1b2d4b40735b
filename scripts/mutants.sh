#!/usr/bin/env bash
# mutants.sh: changes the code in one place at a time (cargo-mutants) and runs the tests that must notice. A change that nothing
# notices must stand in tests/mutants.txt, with the reason why it may; and what stands there must exist and go unnoticed.
#
#   FILES="src/client src/transport/uri.rs"   takes some files or folders of the groups below; without, all of them
#   RE='in Session.*::publish'                takes the mutants whose name matches
#   SHARD=3/20                                takes the fourth of twenty parts: every twentieth mutant
#   SHORT=1                                   some mutants of src/protocol, and whether the list is well formed: half a minute
#   LIST=1                                    only prints the names
#
# It works on a copy in target/mutants. What each stage has built and printed is in target/mutants/*/mutants.out/log.
set -euo pipefail
cd "$(dirname "$0")/.."

version=27.1.0
out=${OUT:-$PWD/target/mutants}
tree=$out/tree
list=$PWD/tests/mutants.txt
mutants=$PWD/target/tools/bin/cargo-mutants
[ "$("$mutants" mutants --version 2>/dev/null || true)" = "cargo-mutants $version" ] ||
    CARGO_TARGET_DIR=$out/tool "${CARGO:-cargo}" install --quiet --debug --locked --root target/tools "cargo-mutants@$version"
rm -rf "$out/tool" "$tree"
mkdir -p "$tree"
# With new times, so that nothing is taken for built that was built from a mutant.
tar c --exclude=./target --exclude=./.git --exclude=./ffi-tests . | tar xm -C "$tree"
# No test wants the static library. Where the client is optimized (below), what it depends on is not, nor across the parts that are
# compiled again one at a time.
sed -i 's/^crate-type = .*/crate-type = ["rlib"]/' "$tree/Cargo.toml"
printf '\n[profile.test]\nlto = "off"\n[profile.test.package."*"]\nopt-level = 0\n' >>"$tree/Cargo.toml"
cd "$tree"

export CARGO_TARGET_DIR=$out/build CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0
export RUST_BACKTRACE=0 SIM_SEEDS=${SIM_SEEDS:-20} PROPTEST_CASES=${PROPTEST_CASES:-64}
runner=CARGO_TARGET_$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)_RUNNER

# What is mutated, the features it is built with, how far that is optimized, and the tests of each stage, which sees what those before
# it have missed: the seconds of computation that they may take, several times as many as they need, however busy the machine is; and
# which they are.
groups=(protocol uri tls client)
group() {
    optimization=0 unseen=()
    case $1 in
    protocol)
        files=(src/protocol src/time.rs)
        features=host,websocket
        stages=("5 --test=protocol" "10 --lib" "120 --test=simulation")
        ;;
    uri)
        files=(src/transport/uri.rs)
        features=host,tls,websocket
        stages=("10 --lib" "120 --test=simulation")
        ;;
    tls)
        files=(src/transport/tls/{limits,verifier,tickets,need}.rs)
        features=host,tls,tls12,rsa,ed25519,chacha20,websocket,tungstenite,webpki-roots
        stages=("10 --lib" "60 --test=tls")
        ;;
    client)
        files=(src/client)
        features=host,websocket
        # What only TLS needs only C tests see.
        local tls="with_handshakes|handshakes_ended|leave_work|wait_for_layers|layers_wait|answer|set_layers|has_memory|description"
        unseen=(--exclude=src/client/handshake.rs "--exclude-re=::($tls)\b")
        # All tests together take two seconds instead of eleven, and compiling is hardly slower.
        optimization=1
        stages=("20 --test=simulation" "10 --lib")
        ;;
    esac
}

# cargo-mutants' names without the place, which moves, but with the line that is changed: FILE: MUTANT | LINE
keys() {
    local file line column name
    while IFS=: read -r file line column name; do
        echo "$file:$name | $(sed -n "${line}s/^ *//p" "$file")" "${column:+}"
    done | sed 's/ *$//' | LC_ALL=C sort -u
}

# The options that choose what is asked for of `files`; none if nothing is.
chosen() {
    local file asked
    for file in "${files[@]}"; do
        for asked in ${FILES:-"$file"}; do
            asked=${asked%/}
            case $asked/ in "$file"/*) ;; *) case $file/ in "$asked"/*) asked=$file ;; *) continue ;; esac ;; esac
            if [ -d "$asked" ]; then echo "--file=$asked/**"; else echo "--file=$asked"; fi
        done
    done
}

# Runs some tests over the mutants that the options choose.
stage() { # SECONDS+TESTS OPTION...
    local tests of_cargo=() of_tests=() status=0
    read -ra tests <<<"$1"
    shift
    export CARGO_PROFILE_TEST_OPT_LEVEL=$optimization
    # A mutant may run or allocate without end. The variable is for libtest's --fail-fast, which a stable toolchain does not let through.
    export "$runner=prlimit --cpu=${tests[0]} --as=4000000000 env RUSTC_BOOTSTRAP=1"
    for option in "${tests[@]:1}"; do
        case $option in --skip=*) of_tests+=("$option") ;; *) of_cargo+=("--cargo-arg=$option") ;; esac
    done
    rm -rf "$results"
    mkdir -p "$results"
    nice -n 5 "$mutants" mutants --in-place --no-config --colors=never --cap-lints=true --timeout=300 \
        --no-default-features --features="$features" --output="$results" --cargo-arg=--locked "${of_cargo[@]}" "$@" \
        -- -- -Zunstable-options --fail-fast "${of_tests[@]}" >"$results/log" 2>&1 || status=$?
    # 2: some were missed, 3: some ran out of time.
    case $status in 0 | 2 | 3) ;; *) tail -n 60 "$results/log" && exit 1 ;; esac
}

# The mutants of a group that are asked for; what becomes of them goes to the files mutants, caught, missed, unviable and timeout.
run() { # GROUP
    local files features optimization unseen stages options number=0 results kind
    group "$1"
    mapfile -t options < <(FILES="" chosen)
    "$mutants" mutants --no-config --list "${options[@]}" "${unseen[@]}" >>"$out/existing"
    mapfile -t options < <(chosen)
    [ "${#options[@]}" -gt 0 ] || return 0
    options+=("${unseen[@]}")
    [ -z "${RE:-}" ] || options+=(--re="$RE")
    [ -z "${SHARD:-}" ] || options+=(--shard="$SHARD" --sharding=round-robin)
    "$mutants" mutants --no-config --list "${options[@]}" >"$out/left"
    cat "$out/left" >>"$out/mutants"
    [ -z "${LIST:-}" ] || stages=()
    [ -z "${SHORT:-}" ] || stages=("${stages[@]:0:1}")
    for tests in "${stages[@]}"; do
        [ -s "$out/left" ] || break
        number=$((number + 1))
        results=$out/$1-$number
        stage "$tests" "${options[@]}"
        echo "$1, $tests: $(tail -n 1 "$results/log")"
        for kind in caught unviable timeout; do cat "$results/mutants.out/$kind.txt" >>"$out/$kind"; done
        cp "$results/mutants.out/missed.txt" "$out/left"
        mapfile -t options < <(sed 's/[][().*+?{}|^$\\]/\\&/g; s/.*/--re=^&$/' "$out/left")
        options+=("--file=src/**")
    done
    cat "$out/left" >>"$out/missed"
}

for kind in existing mutants caught missed unviable timeout; do : >"$out/$kind"; done
if [ -n "${SHORT:-}" ]; then
    # One of each kind; the one in `Outbox::room` changes nothing, and stands in the list.
    FILES=src/protocol
    RE='== with != in .*::id_len$|delete ! in Received::unreleased$|(> with ==|[|] with &) in put_fixed_header$|> with >= in Outbox::room$|Received::release .* with None$'
    expected=6
fi
for name in "${groups[@]}"; do run "$name"; done
if [ -n "${LIST:-}" ]; then
    cat "$out/mutants"
    exit
fi

for kind in existing caught missed; do keys <"$out/$kind" >"$out/$kind.keys"; done
sed '/^#/d; /^$/d' "$list" | LC_ALL=C sort -u >"$out/listed"
both() { LC_ALL=C comm -12 "$1" "$2"; }
first() { LC_ALL=C comm -23 "$1" "$2"; }
status=0
fault() { # TEXT: it is one if there are lines on standard input, which no pipe may be: status is of this shell
    if grep .; then
        echo "^ $1"
        status=1
    fi
}
cd "$out"
fault "nothing notices these, and tests/mutants.txt does not say why" < <(first missed.keys listed)
fault "tests/mutants.txt names these, and they do not exist" < <(first listed existing.keys)
[ -n "${SHARD:-}" ] || fault "tests/mutants.txt says that nothing notices these, and a test does" < <(first <(both listed caught.keys) missed.keys)
fault "tests/mutants.txt gives no reason for these" < <(awk '/^#/ { reason = 1 } /^$/ { reason = 0 } /^[^#]/ && !reason' "$list")
count() { wc -l <"$1"; }
if [ "$(count mutants)" -lt "${expected:-1}" ]; then
    echo "of ${expected:-1} mutants that were to be looked at there are $(count mutants)"
    status=1
fi
echo "$(count mutants) mutants: $(count caught) caught, $(count timeout) out of time, $(count missed) missed, $(count unviable) do not compile"
exit $status
