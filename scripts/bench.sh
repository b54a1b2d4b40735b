#!/usr/bin/env bash
# bench.sh: this library and other clients at the same work, with the same broker (mosquitto, on the loopback), interleaved, medians of
# ROUNDS (3); some ten minutes without the first build. The machine should have nothing else to do. Prints tables, with how many
# times as good we are as the best of the others, and leaves target/bench/run/bench.json and plots beside it.
#
#   WRITE=1                  puts them into docs/performance.md, docs/bench.json and docs/bench-*.svg
#   ROWS="publish trip-1"    only rows that begin so; CLIENTS="wm rumqttc" only these clients: bench/rows.py has both
#   SHORT=1                  few messages: whether it works, not how fast anything is
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin"

folder=target/bench/run
mkdir -p "$folder"
scripts/setup.sh bench
echo "building, the first time for some minutes"
"${MAKE:-make}" --no-print-directory bench-programs >"$folder/build.log" 2>&1 || { tail -n 50 "$folder/build.log" && exit 1; }

key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
certificate() { # NAME EXTENSIONS OPTION...
    openssl req -x509 "${key[@]}" -days 3650 -subj "/CN=$1" -keyout "$folder/$1.key" -out "$folder/$1.pem" -extensions ours \
        -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n[ours]\n%b\n' "$2") "${@:3}" 2>/dev/null
}
certificate ca "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign"
certificate server "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1" -CA "$folder/ca.pem" -CAkey "$folder/ca.key"

python3 bench/run.py target/c/bench "$folder" "$folder"
if [ -n "${WRITE:-}" ]; then
    cp "$folder/bench.json" docs/
    python3 bench/report.py docs/bench.json docs docs/performance.md
else
    python3 bench/report.py "$folder/bench.json" "$folder"
fi
