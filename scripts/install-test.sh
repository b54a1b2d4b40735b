#!/usr/bin/env bash
# Installs into an empty folder, then builds examples/minimal.c as a stranger would, with nothing but pkg-config's
# answers, and runs it against mosquitto: as documented, against the shared libraries, and as a static program. A program
# that has certificates built in is linked with both kinds of library.
set -euo pipefail
cd "$(dirname "$0")/.."

prefix=$(mktemp -d)
broker=
trap 'rm -rf "$prefix"; [ -z "$broker" ] || kill "$broker"' EXIT
"${MAKE:-make}" install PREFIX="$prefix"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listener %s 127.0.0.1\nallow_anonymous true\nuser %s\n' "$port" "$(id -un)" >"$prefix/mosquitto.conf"
PATH="$PATH:/usr/sbin" "${MOSQUITTO:-mosquitto}" -c "$prefix/mosquitto.conf" &
broker=$!
for _ in {1..100}; do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
done

example=$PWD/examples/minimal.c
built_in=$PWD/ffi-tests/built_in.c
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
cd "$prefix"
try() { # NAME FLAG...
    local name=$1
    shift
    ${CC:-cc} "$example" "$@" -o "$name"
    ldd "$name" || true # says "not a dynamic executable" of a static one, and fails
    "./$name" "mqtt://127.0.0.1:$port"
}
flags() { pkg-config --cflags --libs "$@" wm-mqtt-client; }

try documented $(flags --static)
try shared $(flags)
# All of it is read: ldd fails when its reader leaves early.
libraries=$(ldd shared)
grep -q "$prefix/lib/libwm_mqtt_client.so.[0-9]" <<<"$libraries"
try static -static $(flags --static)

${CC:-cc} "$built_in" $(flags) -o built-in-shared
./built-in-shared
${CC:-cc} "$built_in" $(flags --static) -o built-in-static
./built-in-static
