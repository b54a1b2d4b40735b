"""chaos.py PROGRAM PEERS CERTS PACKAGES WORK: real brokers behind a bad network, and an application that judges what arrives.

For each broker: generations of handles, and in each rounds of some seconds. A round begins with a storm in the proxy; in some the broker
ends and comes back. Then it is calm, and everything must arrive. BROKERS, DURATION (seconds, of all brokers together), HANDLES, RATE
(messages in a second) and SEED come from the environment; see scripts/chaos.sh. KINDS="restart restart" takes these rounds in each generation.
"""

import collections
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

import brokers

Places = collections.namedtuple("Places", "program peers certs packages work")


class Lines:
    """A program that is told lines and answers with lines."""

    def __init__(self, *command, **options):
        self.name = pathlib.Path(command[0]).name
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        bufsize=1, **options)

    def tell(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # hear() says so

    def hear(self, word):
        """The next line that begins with this word; others are shown."""
        for line in self.process.stdout:
            if line.split(" ", 1)[0].strip() == word:
                return line.strip()
            print("   ", line.rstrip(), flush=True)
        raise SystemExit(f"chaos: {self.name} has ended with status {self.process.wait()}")

    def end(self):
        self.process.stdin.close()
        for line in self.process.stdout:
            print("   ", line.rstrip())
        return self.process.wait()


def numbers(line):
    return {name: int(value) for name, value in (word.split("=") for word in line.split() if "=" in word)}


def kill_and_restart(broker, dice, kind, until):
    """One end of the broker or two, at any moment of the round."""
    for _ in range(dice.randint(1, 2)):
        time.sleep(dice.uniform(0, max(0, until - time.monotonic()) / 2))
        broker.end(kill=kind == "kill")
        time.sleep(dice.uniform(0, 2))
        broker.start()


def round_of(kind, allowed, seconds, broker, proxy, application, dice):
    application.tell(f"round {seconds} {allowed}")
    application.hear("begun")
    proxy.tell("storm")
    proxy.hear("faults")
    if kind != "network":
        kill_and_restart(broker, dice, kind, time.monotonic() + seconds)
    application.hear("published")
    proxy.tell("calm")
    proxy.hear("faults")
    broker.must_run()
    application.tell("settle")
    application.hear("settled")


def watch(broker, application):
    """Nobody waits for what a broker cannot send that has ended by itself."""
    while application.process.poll() is None:
        if broker.wanted and not broker.runs():
            application.process.kill()
        time.sleep(1)


def chaos(name, seconds, places, dice):
    """One broker. What was counted."""
    broker = brokers.BROKERS[name](places)
    broker.start()
    seed = str(dice.getrandbits(48))
    proxy = Lines(places.peers / "chaos-proxy", seed, *broker.ports.values())
    ports = proxy.hear("listening").split()[2:]
    uris = [f"{scheme}://localhost:{port.rsplit(':', 1)[1]}" for scheme, port in zip(broker.ports, ports)]
    # Without caches of malloc and of threads what is in use is exact.
    environment = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1:glibc.pthread.stack_cache_size=0"}
    application = Lines(places.program, seed, os.environ["HANDLES"], os.environ["RATE"], broker.ports["mqtt"], places.certs / "ca.pem",
                        *uris, env=environment)
    threading.Thread(target=watch, args=(broker, application), daemon=True).start()
    try:
        generations(broker, seconds, proxy, application, dice)
        application.tell("totals")
        counts = numbers(application.hear("totals"))
        status = application.end()
    except SystemExit:
        broker.must_run()
        raise
    finally:
        application.process.kill()
        proxy.tell("calm")
        faults = numbers(proxy.hear("faults"))
        proxy.end()
        broker.stop()
    print(f"{name}: {counts['connections']} connections, no call took longer than {counts['longest']} ms")
    for qos in range(3):
        print(f"  QoS {qos}: " + ", ".join(f"{counts[f'{what}{qos}']} {what}" for what in
                                          ("accepted", "refused", "observed", "received", "again", "lost")), flush=True)
    return status, counts, faults


def generations(broker, seconds, proxy, application, dice):
    began = time.monotonic()
    length = max(4, min(15, seconds // 8))
    generation = 0
    while generation < 2 or time.monotonic() - began < seconds:
        generation += 1
        kinds = os.environ.get("KINDS", "").split() or (["network"] if generation % 2 else ["restart", "kill"])
        for number, kind in enumerate(kinds):
            at = time.monotonic()
            # When a broker has forgotten everything, a handle whose first CONNACK was lost is told by the second one that its session is
            # there. It is another one, with identifiers that begin anew: a message may have that of one that the handle has received and
            # awaits PUBREL for. So messages may be lost up to the end of the generation.
            allowances = brokers.ALLOWED[broker.name]
            forgetful = [earlier for earlier in kinds[:number] if "lose" in allowances[earlier]]
            round_of(kind, allowances[(forgetful or [kind])[0]], length, broker, proxy, application, dice)
            print(f"{broker.name}, generation {generation}, {kind}: settled after {time.monotonic() - at:.1f} s", flush=True)
        application.tell("end")
        application.hear("ended")


def main():
    places = Places(*(pathlib.Path(word).absolute() for word in sys.argv[1:]))
    names = os.environ["BROKERS"].split()
    seed = os.environ["SEED"]
    total, faults, failed, fallen = collections.Counter(), collections.Counter(), [], []
    for name in names:
        try:
            status, counts, fault = chaos(name, int(os.environ["DURATION"]) // len(names), places, random.Random(f"{seed} {name}"))
        except brokers.Fallen as error:
            print(f"    {error}: what has settled before counts", flush=True)
            fallen.append(name)
            continue
        total.update(counts)
        faults.update(fault)
        if status:
            failed.append(name)
    del faults["connections"]
    messages = ", ".join(f"{total[f'accepted{qos}']} with QoS {qos}" for qos in range(3))
    print(f"{total['connections']} connections; messages accepted: {messages}, {total['published']} PUBLISHED; "
          f"{sum(faults.values())} faults ({', '.join(f'{count} {name}' for name, count in faults.items())}); "
          f"brokers: {' '.join(names)}; seed {seed}{'; ended by themselves: ' + ' '.join(fallen) if fallen else ''}"
          f"{'; FAILED: ' + ' '.join(failed) if failed else ''}")
    return bool(failed)


sys.exit(main())
