#!/usr/bin/env bash
# Installs into an empty folder, then builds examples/minimal.c as a stranger would, with nothing but pkg-config's
# answers, and runs it against mosquitto: as documented, against the shared libraries, and as a static program. A program
# that has certificates built in is linked with both kinds of library. Then the same with CMake: from what was installed,
# which has moved by then, and with the sources as a subdirectory, also without TLS. All paths have a blank.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
broker=
trap 'rm -rf "$work"; [ -z "$broker" ] || kill "$broker"' EXIT
prefix="$work/a folder"
"${MAKE:-make}" install PREFIX="$prefix"

# The same files under DESTDIR, which none of them names.
"${MAKE:-make}" install PREFIX="$prefix" DESTDIR="$work/a stage"
diff -r "$prefix" "$work/a stage$prefix"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listener %s 127.0.0.1\nallow_anonymous true\nuser %s\n' "$port" "$(id -un)" >"$prefix/mosquitto.conf"
PATH="$PATH:/usr/sbin" "${MOSQUITTO:-mosquitto}" -c "$prefix/mosquitto.conf" &
broker=$!
for _ in {1..100}; do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
done

root=$PWD
example=$PWD/examples/minimal.c
built_in=$PWD/ffi-tests/built_in.c
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
cd "$prefix"
compile() { # SOURCE NAME FLAG...: what pkg-config says is for a shell
    eval "${CC:-cc} \"\$1\" -o \"\$2\" ${*:3}"
}
try() { # NAME FLAG...
    local name=$1
    compile "$example" "$@"
    ldd "$name" || true # says "not a dynamic executable" of a static one, and fails
    "./$name" "mqtt://127.0.0.1:$port"
}
flags() { pkg-config --cflags --libs "$@" wm-mqtt-client; }

try documented "$(flags --static)"
try shared "$(flags)"
# All of it is read: ldd fails when its reader leaves early.
libraries=$(ldd shared)
grep -q "$prefix/lib/libwm_mqtt_client.so.[0-9]" <<<"$libraries"
try static -static "$(flags --static)"

compile "$built_in" built-in-shared "$(flags)"
./built-in-shared
compile "$built_in" built-in-static "$(flags --static)"
./built-in-static
# A program that calls nothing of the stand-in, and a linker that asks nobody but the program what is needed.
if command -v ld.gold >/dev/null; then
    compile "$built_in" built-in-gold -fuse-ld=gold "$(flags)"
    ./built-in-gold
else
    echo 'skip linking with gold: it is not there'
fi

# With the SDK and without its switch the file does nothing.
cmake -DSDK_PATH=/ -P "$root/CMakeLists.txt"

# moved/: nothing in the package may know where it was.
moved=$prefix/moved
mkdir "$moved"
mv "$prefix/lib" "$prefix/include" "$moved"
project() { # FOLDER CMAKE-COMMANDS CMAKE-OPTION...
    local folder=$1
    mkdir -p "$folder"
    cat >"$folder/CMakeLists.txt" <<LISTS
cmake_minimum_required(VERSION 3.19)
project(stranger C)
$2
add_executable(hello $example)
target_link_libraries(hello PRIVATE wm_mqtt::client)
LISTS
    shift 2
    cmake -S "$folder" -B "$folder/build" "$@"
    cmake --build "$folder/build"
    "$folder/build/hello" "mqtt://127.0.0.1:$port"
}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
project package "find_package(wm_mqtt_client 99 QUIET)
if(wm_mqtt_client_FOUND)
    message(FATAL_ERROR version-99-was-found)
endif()
find_package(wm_mqtt_client $version REQUIRED)" "-DCMAKE_PREFIX_PATH=$moved"
# Where cargo finds what it has built before.
project "$root/target/cmake test" "add_subdirectory(\"$root\" wm_mqtt)" -DWM_MQTT_CLIENT_FEATURES=
# What CMake was told before the library was built is what the library needs.
diff "$root/target/cmake test/build/wm_mqtt/native-static-libs" "$root/target/release/native-static-libs"

# Another choice of features: the next build has it.
rustls_symbols() { nm "$root/target/cmake test/build/hello" | grep -c rustls || true; }
[ "$(rustls_symbols)" != 0 ]
project "$root/target/cmake test" "add_subdirectory(\"$root\" wm_mqtt)" "-DWM_MQTT_CLIENT_FEATURES=host;websocket"
[ "$(rustls_symbols)" = 0 ]
