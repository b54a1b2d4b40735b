"""The brokers that chaos.py runs, and what the ledger lets each of them do."""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

LIBC = ctypes.CDLL(None)
SCHEMES = ["mqtt", "mqtts", "ws", "wss"]

# What a broker may do to messages in a round, besides the rules of ledger.h, by the kind of round: the network's faults alone; an
# orderly end (SIGTERM) and restart of the broker; kill -9, after which nothing of what it knew is left.
#
# lose      a message that it has acknowledged does not arrive
# drop      the same, on its way to handles of the library alone
# again     a message with QoS 0 or 2 arrives twice
# resent    the same, to handles of the library alone
# reorder   a message overtakes others, on its way to handles of the library alone
# stuck     an acknowledgement or a message does not come before the next connection, or before another message
# low       it cannot take QoS 2 over a bad network: in a storm nothing is published with it
# raise     a message arrives with the subscription's QoS, above its own
#
# When a broker forgets everything, messages are lost that it had acknowledged, and those are doubled that it had passed on and not
# acknowledged: nobody's fault.
FORGETS = "lose again"
ALLOWED = {
    # It writes what it knows to a file when it ends. After a kill that file is removed: sessions in it would be seconds old, with
    # identifiers that mean other messages by now. 2.0.11 publishes again what it had released (PUBREL) already after a restart, and after
    # a connection that broke before PUBREL had left for a second time. Over TLS it sends a message with QoS 0 twice when the socket is
    # full and OpenSSL's list of errors has one of another connection, for which it takes that then.
    "mosquitto": {"network": "resent", "restart": "again", "kill": FORGETS},
    # Keeps its sessions in memory. 1.2.0 publishes again, on the next connection, what it had released already, and what was under way
    # before what it has stored meanwhile, whatever came first.
    "aedes": {
        "network": "resent reorder",
        "restart": "resent reorder " + FORGETS,
        "kill": "resent reorder " + FORGETS,
    },
    # Keeps its sessions in memory. 0.20 delivers with the subscription's QoS, publishes again what it had released already, and ends
    # each connection that brings a PUBREL whose message it does not know (any more), instead of answering it. What was under way to a
    # client when its connection broke does not always come.
    "rumqttd": {"network": "low raise stuck drop resent", "restart": "low raise stuck " + FORGETS, "kill": "low raise stuck " + FORGETS},
    # Keeps its sessions in memory. 0.12.1 delivers with the subscription's QoS, does not answer a PUBREL whose message it does not know,
    # and what was under way to a client when its connection broke is lost or comes twice.
    "amqtt": {"network": "low raise stuck drop resent", "restart": "low raise stuck " + FORGETS, "kill": "low raise stuck " + FORGETS},
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Fallen(Exception):
    """A broker has ended by itself, as this one is known to do."""


class Broker:
    """A broker in a process of its own, and the relays that add what schemes it lacks."""

    relayed = []
    # Whether it is known to end by itself; that ends its rounds, and nothing can be said of the last one.
    falls = False

    def __init__(self, places):
        self.places = places  # of peers, certificates, packages, and a folder of its own
        self.folder = places.work / self.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.log = open(self.folder / "log", "ab")
        self.ports = {scheme: free_port() for scheme in SCHEMES if scheme not in self.relayed}
        self.process = None
        self.wanted = False
        self.relays = [self.relay(scheme) for scheme in self.relayed]

    def spawn(self, *command, **options):
        """It ends with this program, however that ends."""
        return subprocess.Popen([str(word) for word in command], stderr=self.log, preexec_fn=lambda: LIBC.prctl(1, signal.SIGKILL),
                                env=os.environ | {"TMPDIR": str(self.folder)}, **options)

    def relay(self, scheme):
        tls = ["--tls", self.places.certs / "server.pem", self.places.certs / "server.key"] if scheme in ("mqtts", "wss") else []
        websocket = ["--websocket"] if scheme in ("ws", "wss") else []
        process = self.spawn(self.places.peers / "relay", "--to", f"127.0.0.1:{self.ports['mqtt']}", *tls, *websocket,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ports[scheme] = int(process.stdout.readline().decode().rsplit(":", 1)[1])
        # What it says about each connection is of no use here, and must not fill the pipe.
        subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        return process

    def start(self):
        self.process = self.spawn(*self.command(), stdin=subprocess.PIPE, stdout=self.log)
        until = time.monotonic() + 60
        for port in self.ports.values():
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > until:
                        raise SystemExit(f"chaos: {self.name} does not start, see {self.folder}/log") from None
                    time.sleep(0.05)
        self.wanted = True

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def must_run(self):
        if not self.runs():
            said = f"{self.name} has ended by itself with status {self.process.returncode}, see {self.folder}/log"
            raise Fallen(said) if self.falls else SystemExit(f"chaos: {said}")

    def end(self, kill):
        self.must_run()
        self.wanted = False
        self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:  # it waits for its clients
            print(f"    {self.name} has not ended in 20 s, and is killed", flush=True)
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        if kill:
            self.forget()

    def forget(self):
        pass

    def stop(self):
        if self.runs():
            self.end(kill=True)
        for relay in self.relays:
            relay.stdin.close()
            relay.wait()
        self.log.close()


class Mosquitto(Broker):
    name = "mosquitto"

    def command(self):
        lines = ["allow_anonymous true", "set_tcp_nodelay true", "persistence true", f"persistence_location {self.folder}/",
                 "autosave_interval 0", "max_queued_messages 0", "max_inflight_messages 0",
                 *(["log_type all"] if os.environ.get("VERBOSE") else ["log_type error", "log_type warning"]),
                 f"user {os.environ.get('USER') or 'root'}"]
        for scheme, port in self.ports.items():
            lines.append(f"listener {port} 127.0.0.1")
            if scheme in ("ws", "wss"):
                lines.append("protocol websockets")
            if scheme in ("mqtts", "wss"):
                lines += [f"certfile {self.places.certs}/server.pem", f"keyfile {self.places.certs}/server.key"]
        (self.folder / "conf").write_text("\n".join(lines) + "\n")
        return [os.environ.get("MOSQUITTO") or shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin"), "-c",
                self.folder / "conf"]

    def forget(self):
        (self.folder / "mosquitto.db").unlink(missing_ok=True)


class Rumqttd(Broker):
    """As the demo has it, with relays in front: what it has of TLS itself are libraries that take long to build. 0.20 panics when a client
    with a will comes back in the moment in which its last connection ends (server/broker.rs, line 544)."""

    name = "rumqttd"
    falls = True
    relayed = SCHEMES[1:]

    def command(self):
        return [self.places.peers / "demo-broker", self.ports["mqtt"]]


class Aedes(Broker):
    name = "aedes"

    def command(self):
        here = pathlib.Path(__file__).parent
        return ["node", here / "aedes.mjs", self.places.packages / "node", self.places.certs / "server.pem",
                self.places.certs / "server.key", *self.ports.values()]


class Amqtt(Broker):
    name = "amqtt"

    def command(self):
        lines = ["listeners:", "  default:", "    type: tcp", f"    bind: 127.0.0.1:{self.ports['mqtt']}"]
        for scheme in SCHEMES[1:]:
            lines += [f"  {scheme}:", f"    type: {'ws' if scheme in ('ws', 'wss') else 'tcp'}",
                      f"    bind: 127.0.0.1:{self.ports[scheme]}"]
            if scheme != "ws":
                lines += ["    ssl: true", f"    certfile: {self.places.certs}/server.pem", f"    keyfile: {self.places.certs}/server.key"]
        lines += ["plugins:", "  amqtt.plugins.authentication.AnonymousAuthPlugin:", "    allow_anonymous: true"]
        (self.folder / "conf.yaml").write_text("\n".join(lines) + "\n")
        return [self.places.packages / "amqtt/bin/amqtt", "-c", self.folder / "conf.yaml"]


BROKERS = {broker.name: broker for broker in (Mosquitto, Rumqttd, Aedes, Amqtt)}
