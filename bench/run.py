#!/usr/bin/env python3
"""run.py PROGRAMS CERTIFICATES FOLDER: each client at the same work, one after the other, some rounds of it; FOLDER/bench.json has
the medians. scripts/bench.sh builds what it needs and says what the variables do."""

import datetime
import itertools
import json
import os
import pathlib
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from rows import CLIENTS, LIMIT, OF_WORK, OURS, ROWS, SCHEMES, SWEEPS

UNSUPPORTED = 3
TIMEOUT = 120
# What SHORT runs: each work, scheme and QoS once.
IN_SHORT = ["publish-0-256", "publish-1", "receive-0-256", "receive-2", "trip-1", "connect", "idle"]


def options_of(options):
    return [word for name, value in options.items() for word in (f"--{name}" if len(name) > 1 else f"-{name}", str(value))]


class Broker:
    """mosquitto, with a listener for each scheme, and no limits of its own."""

    def __init__(self, certificates, folder):
        self.ports = {}
        lines = ["max_inflight_messages 0", "max_queued_messages 0", "set_tcp_nodelay true", "allow_anonymous true"]
        if os.getuid() == 0:
            lines.append("user root")
        for scheme in SCHEMES:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.ports[scheme] = free.getsockname()[1]
            lines.append(f"listener {self.ports[scheme]} 127.0.0.1")
            if scheme in ("ws", "wss"):
                lines.append("protocol websockets")
            if scheme in ("mqtts", "wss"):
                lines += [f"certfile {certificates}/server.pem", f"keyfile {certificates}/server.key"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.log = open(folder / "mosquitto.log", "w")
        program = os.environ.get("MOSQUITTO") or "mosquitto"
        self.process = subprocess.Popen([program, "-c", folder / "mosquitto.conf"], stdout=self.log, stderr=self.log)
        for _ in range(100):
            try:
                for port in self.ports.values():
                    socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"bench: the broker does not listen: {folder}/mosquitto.log")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Runner:
    def __init__(self, programs, certificates, broker):
        self.programs, self.certificates, self.broker = programs, certificates, broker
        self.numbers = itertools.count(1)

    def run(self, client, work, options, n, in_front=(), in_step=False, counting=False):
        """What the program says that it took, and its standard error; None for what the client cannot. That it fails is an error with
        ours alone: of another client it is said, and left out."""
        try:
            return self.attempt(client, work, options, n, in_front, in_step, counting)
        except subprocess.SubprocessError as error:
            said = f"bench: {client} has failed: {work} {options}, {n} messages: {error}"
            if client in (OURS, LIMIT):
                sys.exit(said)
            print(said, flush=True)
            return None, ""

    def attempt(self, client, work, options, n, in_front, in_step, counting):
        number = next(self.numbers)
        options = dict(options)
        scheme = options.setdefault("scheme", "mqtt")
        burst = options.get("burst", 1)
        options |= {"port": self.broker.ports[scheme], "plain": self.broker.ports["mqtt"], "n": n, "topic": f"bench/{number}"}
        if scheme in ("mqtts", "wss"):
            options["ca"] = self.certificates / "ca.pem"
        env = dict(os.environ)
        if counting:
            options["count"] = 1
            env["LD_PRELOAD"] = str(self.programs / "count.so")
        reading, writing = os.pipe() if in_step else (-1, -1)
        if in_step:
            options |= {"steps": writing, "silence": 60}
        command = [*in_front, self.programs / client, work, *options_of(options)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=env, pass_fds=[writing] if in_step else [], **pipes) as program:
            # Whatever it hangs in.
            watch = threading.Timer(TIMEOUT, program.kill)
            watch.start()
            if in_step:
                os.close(writing)
            try:
                if work == "receive" and program.stdout.readline() == "READY\n":
                    self.load(options, n, burst, reading)
                out, error = program.communicate()
            except subprocess.SubprocessError:
                program.kill()
                raise
            finally:
                watch.cancel()
                if in_step:
                    os.close(reading)
        if program.returncode == UNSUPPORTED:
            return None, error
        if program.returncode != 0:
            raise subprocess.SubprocessError(f"{program.returncode}\n{out}{error}")
        raw = json.loads(out)
        if in_front and raw["done"] != n:
            raise subprocess.SubprocessError(f"{raw['done']} were done")
        return raw, error

    def load(self, options, n, burst, reading):
        chosen = {"port": self.broker.ports["mqtt"], "n": n, "burst": burst, "topic": options["topic"]}
        chosen |= {name: options[name] for name in ("qos", "size") if name in options}
        if reading >= 0:
            chosen["steps"] = reading
        subprocess.run([self.programs / "load", *options_of(chosen)], pass_fds=[reading] if reading >= 0 else [], timeout=TIMEOUT, check=True)

    def instructions(self, client, work, options, counted, in_step=False):
        """For each message, of all threads: what the larger number takes more."""
        totals = []
        for n in counted:
            raw, said = self.run(client, work, options, n, ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"], in_step)
            if raw is None:
                return None
            totals.append(int(re.search(r"Collected : (\d+)", said)[1]))
        return (totals[1] - totals[0]) / (counted[1] - counted[0])


def timed(work, raw):
    """The metrics of a run for which only time counted."""
    done = max(raw["done"], 1)
    found = {"cpu_us": raw["cpu"] * 1e6 / done, "switches": raw["switches"] / done, "peak": raw["peak"]}
    if work in ("publish", "receive", "connect"):
        found["per_second"] = raw["done"] / max(raw["seconds"], 1e-6)
    if work == "receive":
        found["lost"] = 1000 * raw["lost"] / (raw["done"] + raw["lost"])
    if work == "trip":
        found |= {"p50": raw["p50"], "p99": raw["p99"]}
    if work == "idle":
        # The one wake-up is that of the thread that measures.
        found["wakeups"] = max(raw["switches"] - 1, 0) / raw["seconds"]
    return {key: value for key, value in found.items() if key in OF_WORK[work]}


class Bench:
    def __init__(self, runner, rows, clients, rounds, short, with_sweeps):
        self.runner, self.rows, self.clients, self.rounds = runner, rows, clients, rounds
        self.short, self.with_sweeps = short, with_sweeps
        self.found = {row.key: {} for row in rows}
        self.seconds, self.begin = 1, time.monotonic()

    def say(self, what):
        print(f"{time.monotonic() - self.begin:4.0f} s: {what}", flush=True)

    def less(self, n):
        return max(n // 500, 2) if self.short else n

    def counted(self, counted):
        return tuple(max(n // 20, 1) for n in counted) if self.short else counted

    def note(self, row, client, metrics):
        for key, value in metrics.items() if metrics else ():
            self.found[row.key].setdefault(client, {}).setdefault(key, []).append(value)

    def time(self):
        """Round after round, row after row, the clients in turn: what disturbs the machine disturbs all of them."""
        for turn in range(self.rounds):
            for row in self.rows:
                if row.work == "idle":
                    continue
                order = self.clients[turn % len(self.clients) :] + self.clients[: turn % len(self.clients)]
                for client in order:
                    raw, _ = self.runner.run(client, row.work, row.options | {"seconds": self.seconds}, self.less(row.n))
                    self.note(row, client, raw and timed(row.work, raw))
            self.say(f"round {turn + 1} of {self.rounds}")

    def idle(self):
        """Those who sleep do not disturb each other."""
        seconds = 1 if self.short else 10
        for row in (row for row in self.rows if row.work == "idle"):
            clients = [client for client in self.clients if client != LIMIT]
            with ThreadPoolExecutor(len(clients)) as pool:
                for client, (raw, _) in zip(clients, pool.map(lambda client: self.runner.run(client, row.work, {"seconds": seconds}, 1), clients)):
                    self.note(row, client, raw and timed(row.work, raw))

    def count(self):
        """Allocations and system calls, in runs of their own: counting takes time."""
        for row in (row for row in self.rows if row.work in ("publish", "receive")):
            for client in self.clients:
                raw, _ = self.runner.run(client, row.work, row.options | {"seconds": self.seconds}, self.less(row.n // 2), counting=True)
                counts = ("allocations", "system_calls")
                self.note(row, client, raw and {key: raw[key] / max(raw["done"], 1) for key in counts if key in raw})
        self.say("allocations and system calls counted")

    def instructions(self):
        """Two at a time: time does not count."""
        jobs = [(row, client) for row in self.rows if row.counted for client in self.clients]
        sweeps = [(sweep, point) for sweep in SWEEPS for point in (sweep.points[1:2] if self.short else sweep.points)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = [pool.submit(self.instructions_of, *job) for job in jobs]
            swept = [pool.submit(self.sweep, *one) for one in sweeps] if self.with_sweeps else []
            for (row, client), count in zip(jobs, counts):
                found = count.result()
                self.note(row, client, found and {"instructions": found})
            points = {}
            for (sweep, point), count in zip(sweeps, swept):
                points.setdefault(sweep.key, []).append([point, round(count.result())])
        self.say("instructions counted")
        return points

    def instructions_of(self, row, client):
        counted = self.counted(row.slow.get(client, row.counted))
        return self.runner.instructions(client, row.work, row.options, counted, row.in_step)

    def sweep(self, sweep, point):
        counted = sweep.counted if sweep.each else self.counted(sweep.counted)
        if sweep.each:
            counted = tuple(n * max(point, 8) // point * point for n in counted)
        return self.runner.instructions(OURS, sweep.work, sweep.options | {sweep.option: point}, counted, sweep.work == "receive")

    def medians(self):
        return {
            key: {client: {metric: float(f"{statistics.median(values):.6g}") for metric, values in metrics.items()} for client, metrics in clients.items()}
            for key, clients in self.found.items()
        }


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def machine():
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal: *(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)
    debian = {name: said("dpkg-query", "-W", "-f", "${Version}", name) for name in ("mosquitto", "libmosquitto1", "libpaho-mqtt1.3", "valgrind")}
    lock = pathlib.Path("bench/rumqttc/Cargo.lock").read_text()
    return {
        "date": datetime.date.today().isoformat(),
        "commit": said("git", "describe", "--always", "--dirty"),
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory": int(memory[1]) * 1024 if memory else 0,
        "kernel": platform.release(),
        "compilers": [said("rustc", "--version"), said(os.environ.get("CC", "cc"), "--version").split("\n")[0]],
        "versions": debian | {"rumqttc": re.search(r'name = "rumqttc"\nversion = "(.*)"', lock)[1]},
        "load": os.getloadavg()[0],
    }


def main():
    programs, certificates, folder = (pathlib.Path(name).resolve() for name in sys.argv[1:4])
    short = bool(os.environ.get("SHORT"))
    chosen = os.environ.get("ROWS", "").split()
    wanted = chosen or (IN_SHORT if short else [""])
    rows = [row for row in ROWS if any(row.key.startswith(name) for name in wanted)]
    clients = os.environ.get("CLIENTS", "").split() or list(CLIENTS)
    if not rows or set(clients) - set(CLIENTS):
        sys.exit(f"bench: rows are {', '.join(row.key for row in ROWS)}; clients are {', '.join(CLIENTS)}")
    rounds = int(os.environ.get("ROUNDS") or (1 if short else 3))
    begin, about = time.monotonic(), machine()
    broker = Broker(certificates, folder)
    try:
        bench = Bench(Runner(programs, certificates, broker), rows, clients, rounds, short, OURS in clients and not chosen)
        bench.time()
        bench.idle()
        bench.count()
        sweeps = bench.instructions()
    finally:
        broker.end()
    about |= {"rounds": rounds, "seconds": round(time.monotonic() - begin)}
    # With some rows alone not each client need have one.
    result = {"machine": about, "clients": [OURS] if chosen else clients, "rows": bench.medians(), "sweeps": sweeps}
    (folder / "bench.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


main()
