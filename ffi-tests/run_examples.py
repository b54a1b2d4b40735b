#!/usr/bin/env python3
"""Builds the SDK's own MQTT examples, unmodified, against this library on a host, and runs them.

    run_examples.py --sdk <checkout or bare git directory> [--run LIST] [--compile-only]

For each example it takes main/src/main.c and the files embedded next to it out of the SDK, compiles it as the SDK
does (gnu99), renames its main(), links it with example_keeper.c, the host stand-in and the library, and runs it
against a mosquitto that it starts on free ports of 127.0.0.1. An example passes if its four calls return message
ids and its handlers report the connection, the publication and a retained message.
"""

import argparse
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
EXAMPLES = ("tcp", "ssl", "ws", "wss")
SCHEMES = {"tcp": "mqtt", "ssl": "mqtts", "ws": "ws", "wss": "wss"}
RETAINED = ("/topic/qos0", "hello from run_examples")


class Failure(Exception):
    """Something an example needs went wrong; the text says what."""


def run(command, **options):
    """Runs a command and returns its output; raises Failure with that output if it fails."""
    command = [str(word) for word in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise Failure(f"{shlex.join(command)}\n{text}exit status {done.returncode}")
    return text


class Sdk:
    """Reads files of an SDK, from a checkout or from the newest commit of a git directory."""

    def __init__(self, place):
        self.place = Path(place).resolve()
        self.bare = not (self.place / "examples").is_dir()
        if self.bare:
            run(["git", f"--git-dir={self.git_dir()}", "rev-parse", "--verify", "--quiet", "HEAD"])

    def git_dir(self):
        inner = self.place / ".git"
        return inner if inner.exists() else self.place

    def read(self, path):
        if not self.bare:
            return (self.place / path).read_bytes()
        done = subprocess.run(["git", f"--git-dir={self.git_dir()}", "show", f"HEAD:{path}"], capture_output=True)
        if done.returncode != 0:
            raise Failure(f"{path}: {done.stderr.decode(errors='replace')}")
        return done.stdout


def embedded_files(cmake):
    """(path, is_text) of each file that main/CMakeLists.txt embeds."""
    found = []
    for variable, body in re.findall(r"list\s*\(\s*APPEND\s+(ADD_EMBEDDED_(?:TEXT)?FILES)\s+([^)]*)\)", cmake):
        found += [(path, variable == "ADD_EMBEDDED_TEXTFILES") for path in re.findall(r'"([^"]+)"', body)]
    return found


def embed(path, content, is_text):
    """C source of an embedded file: the symbols of the SDK's build. Only text files get a final NUL."""
    parts = ["main"] + [p for p in path.split("/") if p not in (".", "..")]
    symbol = "__binary_" + "_".join(parts).replace(".", "_")
    if is_text:
        content += b"\0"
    values = ",".join(str(byte) for byte in content)
    return (f"#include <stdint.h>\nconst uint8_t {symbol}[{len(content)}] = {{{values}}};\n"
            f"const uint32_t {symbol}_length = {len(content)};\n")


def broker_symbol(kconfig):
    """Name and default value of the Kconfig symbol that holds the broker's address."""
    match = re.search(r'config\s+(BROKER_UR[LI])\s.*?default\s+"([^"]*)"', kconfig, re.S)
    if not match:
        raise Failure("its Kconfig has no BROKER_URL or BROKER_URI")
    return "CONFIG_" + match.group(1), match.group(2)


def build(name, sdk, options, work, uri):
    """Compiles and links one example; returns the program."""
    base = f"examples/network/mqtt/{name}/main"
    source = work / "main.c"
    source.write_bytes(sdk.read(f"{base}/src/main.c"))
    symbol, default = broker_symbol(sdk.read(f"{base}/Kconfig").decode())

    cc = shlex.split(options.cc)
    flags = shlex.split(options.cflags)
    objects = []

    example = work / "example.o"
    run(cc + ["-std=gnu99", "-g", *flags, f'-D{symbol}="{uri or default}"', '-DCONFIG_EXAMPLE_WIFI_SSID="host"',
              "-c", source, "-o", example])
    run([options.objcopy, "--redefine-sym", "main=app_main", example])
    objects.append(example)

    for number, (path, is_text) in enumerate(embedded_files(sdk.read(f"{base}/CMakeLists.txt").decode())):
        data = work / f"embedded{number}.c"
        data.write_text(embed(path, sdk.read(f"{base}/{path}"), is_text))
        objects.append(data.with_suffix(".o"))
        run(cc + [*flags, "-c", data, "-o", objects[-1]])

    sources = [HERE / "example_keeper.c"]
    if not options.sdk_lib:
        sources += sorted((HERE / "sdk" / "src").glob("*.c"))
    for file in sources:
        objects.append(work / (file.stem + "_host.o"))
        run(cc + ["-std=gnu11", "-g", *flags, "-c", file, "-o", objects[-1]])

    program = work / name
    if not options.compile_only:
        libraries = shlex.split(options.libs) + ([options.sdk_lib] if options.sdk_lib else [])
        run(cc + [*flags, *objects, *libraries, "-lpthread", "-ldl", "-lm", "-o", program], cwd=options.cwd)
    return program


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Broker:
    """A mosquitto with one listener for each example that is to run, and a retained message for them."""

    def __init__(self, program, names, work):
        self.ports = {name: free_port() for name in {"tcp", *names}}
        self.log = work / "mosquitto.log"
        lines = ["allow_anonymous true", "persistence false"]
        if os.geteuid() == 0:
            # Otherwise it gives root up and cannot read its key in our directory.
            lines.append("user root")
        if self.ports.keys() & {"ssl", "wss"}:
            self.make_certificate(work)
        for name, port in self.ports.items():
            lines.append(f"listener {port} 127.0.0.1")
            if name in ("ws", "wss"):
                lines.append("protocol websockets")
            if name in ("ssl", "wss"):
                lines += [f"certfile {work}/cert.pem", f"keyfile {work}/key.pem"]
        (work / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([program, "-c", str(work / "mosquitto.conf")], stdout=log, stderr=log)
        try:
            self.wait_until_up()
            self.retain()
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def make_certificate(work):
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", work / "key.pem", "-out", work / "cert.pem"])

    def wait_until_up(self):
        deadline = time.monotonic() + 10
        for port in self.ports.values():
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise Failure(f"mosquitto does not start:\n{self.log.read_text()}") from None
                    time.sleep(0.05)

    def retain(self):
        """Publishes the retained message: CONNECT, PUBLISH (QoS 1, retain), DISCONNECT."""

        def field(text):
            return struct.pack(">H", len(text)) + text.encode()

        topic, text = RETAINED
        connect = field("MQTT") + b"\x04\x02\x00\x0a" + field("run_examples")
        publish = field(topic) + b"\x00\x01" + text.encode()
        with socket.create_connection(("127.0.0.1", self.ports["tcp"]), 5) as s:
            s.sendall(b"\x10" + bytes([len(connect)]) + connect + b"\x33" + bytes([len(publish)]) + publish)
            got = b""
            while len(got) < 8:
                part = s.recv(16)
                if not part:
                    break
                got += part
            s.sendall(b"\xe0\x00")
        if got != b"\x20\x02\x00\x00\x40\x02\x00\x01":
            raise Failure(f"the broker answers {got.hex()} to a retained message")

    def uri(self, name):
        return f"{SCHEMES[name]}://127.0.0.1:{self.ports[name]}"

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def check_output(text, expect_data):
    """What is missing from an example's output, as a list of sentences."""
    missing = [f"'{w}' is missing" for w in ("mqtt connected", "mqtt published, msg_id=") if w not in text]
    for call, times in (("publish", 1), ("subscribe", 2), ("unsubscribe", 1)):
        # The examples say "successful" whatever the call returned: only the number tells.
        ids = [int(n) for n in re.findall(rf"sent {call} successful, msg_id=(-?\d+)", text)]
        if len(ids) != times or min(ids) <= 0:
            missing.append(f"{call}: message ids {ids}, expected {times} above 0")
    if expect_data:
        missing += [f"'{w}' is missing" for w in (f"TOPIC={RETAINED[0]}", f"DATA={RETAINED[1]}") if w not in text]
    return missing


def run_example(program, options, expect_data):
    environment = dict(os.environ, EXAMPLE_TIMEOUT=str(options.timeout))
    if expect_data:
        environment["EXAMPLE_EXPECT_DATA"] = "1"
    try:
        done = subprocess.run(shlex.split(options.wrapper) + [str(program)], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=options.timeout + 60)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"does not end:\n{(late.stdout or b'').decode(errors='replace')}") from None
    text = done.stdout.decode(errors="replace").replace("\r\n", "\n")
    missing = check_output(text, expect_data)
    if done.returncode != 0:
        missing.insert(0, f"exit status {done.returncode}")
    if missing:
        raise Failure("\n".join(missing) + "\noutput:\n" + text)
    if options.verbose:
        print(text, end="")


def names(text):
    chosen = [name for name in text.split(",") if name]
    unknown = set(chosen) - set(EXAMPLES)
    if unknown:
        raise argparse.ArgumentTypeError(f"no such example: {', '.join(sorted(unknown))}")
    return chosen


def arguments():
    include = f"-I{shlex.quote(str(ROOT / 'include'))} -I{shlex.quote(str(HERE / 'sdk' / 'include'))}"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdk", required=True, help="the SDK: a checkout or a (bare) git directory")
    parser.add_argument("--only", type=names, default=list(EXAMPLES), metavar="LIST",
                        help="examples to build, comma-separated (default: all)")
    parser.add_argument("--run", type=names, default=list(EXAMPLES), metavar="LIST",
                        help="examples to run as well, for example those that the library has the features for (default: all)")
    parser.add_argument("--compile-only", action="store_true", help="neither link nor run")
    parser.add_argument("--cflags", default=include, help="include paths and compiler flags (default: %(default)s)")
    parser.add_argument("--libs", default=shlex.quote(str(ROOT / "target/release/libwm_mqtt_client.a")),
                        help="the library and what it needs (default: %(default)s)")
    parser.add_argument("--sdk-lib", help="the stand-in as a library (default: its sources are compiled)")
    parser.add_argument("--broker", metavar="ADDRESS",
                        help="host:port or a whole URI of a running broker (default: a mosquitto of our own)")
    parser.add_argument("--mosquitto", default=shutil.which("mosquitto") or "/usr/sbin/mosquitto")
    parser.add_argument("--wrapper", default="", help="command to run the examples under, for example valgrind")
    parser.add_argument("--timeout", type=int, default=30, help="seconds to wait for the events (default: 30)")
    parser.add_argument("--cc", default=os.environ.get("CC", "cc"))
    parser.add_argument("--objcopy", default=os.environ.get("OBJCOPY", "objcopy"))
    parser.add_argument("-v", "--verbose", action="store_true", help="show the examples' output")
    options = parser.parse_args()
    options.cwd = os.getcwd()
    if options.compile_only:
        options.run = []
    options.run = [name for name in options.run if name in options.only]
    return options


def address(name, options, broker):
    """The broker's URI for an example, None for the default of its Kconfig."""
    if options.broker:
        return options.broker if "://" in options.broker else f"{SCHEMES[name]}://{options.broker}"
    return broker.uri(name) if broker and name in broker.ports else None


def main():
    options = arguments()
    failed = 0
    broker = None
    with tempfile.TemporaryDirectory(prefix="run_examples_") as directory:
        try:
            sdk = Sdk(options.sdk)
            if options.run and not options.broker:
                place = Path(directory) / "broker"
                place.mkdir()
                broker = Broker(options.mosquitto, options.run, place)
            for name in options.only:
                done = "compiled" if options.compile_only else "built"
                try:
                    work = Path(directory) / name
                    work.mkdir()
                    program = build(name, sdk, options, work, address(name, options, broker))
                    if name in options.run:
                        run_example(program, options, expect_data=broker is not None)
                        done = "ran"
                    print(f"PASS {name} ({done})", flush=True)
                except Failure as reason:
                    failed += 1
                    print(f"FAIL {name}: {reason}", flush=True)
        except Failure as reason:
            failed += 1
            print(f"FAIL: {reason}", flush=True)
        finally:
            if broker:
                broker.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
