"""What `make bench` measures: clients and rows are data."""

from dataclasses import dataclass, field

OURS = "wm"
LIMIT = "raw"
# Programs, in the order of the tables; docs/performance.md says how each is used.
CLIENTS = {
    "wm": "this library",
    "libmosquitto": "libmosquitto",
    "paho_sync": "Paho C sync",
    "paho_async": "Paho C async",
    "rumqttc": "rumqttc",
    "raw": "raw socket",
}
PEERS = [name for name in CLIENTS if name not in (OURS, LIMIT)]


@dataclass
class Row:
    key: str
    title: str
    work: str  # of bench/programs/work.c
    options: dict
    n: int
    # Messages under callgrind, in two runs: what the second takes more is what they cost. None: not counted.
    counted: tuple | None = None
    # With the load in step: each message when the one before has been received.
    in_step: bool = False
    # The same for clients that would take too long.
    slow: dict = field(default_factory=dict)


SCHEMES = {"mqtt": "TCP", "mqtts": "TLS", "ws": "WebSocket", "wss": "WebSocket over TLS"}
# It takes 100 ms for each window of messages.
SLOW = {"paho_sync": (40, 240)}
# Nagle's algorithm may hold back each of their acknowledgements for 44 ms.
HELD_BACK = {"paho_sync": (100, 500), "paho_async": (100, 500)}
ROWS = [
    Row("publish-0-16", "publish QoS 0, 16 bytes", "publish", {"qos": 0, "size": 16}, 150000, (2000, 10000)),
    Row("publish-0-256", "publish QoS 0, 256 bytes", "publish", {"qos": 0, "size": 256}, 100000),
    Row("publish-0-4096", "publish QoS 0, 4096 bytes", "publish", {"qos": 0, "size": 4096}, 60000, (1000, 5000)),
    Row("publish-1-16", "publish QoS 1, 16 bytes", "publish", {"qos": 1, "size": 16}, 30000, (1000, 5000), slow=SLOW),
    Row("publish-2-16", "publish QoS 2, 16 bytes", "publish", {"qos": 2, "size": 16}, 15000, (1000, 5000), slow=SLOW),
    Row("receive-0-16", "receive QoS 0, 16 bytes", "receive", {"qos": 0, "size": 16}, 60000, (1000, 3000), in_step=True),
    Row("receive-0-256", "receive QoS 0, 256 bytes", "receive", {"qos": 0, "size": 256}, 60000),
    Row("receive-1-16", "receive QoS 1, 16 bytes", "receive", {"qos": 1, "size": 16}, 20000, (1000, 3000), in_step=True, slow=HELD_BACK),
    Row("receive-2-16", "receive QoS 2, 16 bytes", "receive", {"qos": 2, "size": 16}, 10000, (1000, 3000), in_step=True, slow=HELD_BACK),
    *(
        Row(f"trip-{qos}-{scheme}", f"round trip QoS {qos}, {name}", "trip", {"qos": qos, "scheme": scheme}, 2000)
        for scheme, name in SCHEMES.items()
        for qos in (0, 1, 2)
    ),
    Row("connect-mqtt", "connects, TCP", "connect", {"scheme": "mqtt"}, 1500),
    Row("connect-mqtts", "connects, TLS", "connect", {"scheme": "mqtts"}, 200),
    Row("connect-resumed", "connects, TLS resumed", "connect", {"scheme": "mqtts", "resume": 1}, 300),
    Row("idle", "connected and idle", "idle", {}, 1),
]


@dataclass
class Metric:
    key: str
    title: str
    more_is_better: bool
    digits: int


# What the tables show of each kind of work.
METRICS = {
    "per_second": Metric("per_second", "per second", True, 0),
    "p50": Metric("p50", "p50 µs", False, 1),
    "p99": Metric("p99", "p99 µs", False, 1),
    "cpu_us": Metric("cpu_us", "CPU µs", False, 2),
    "instructions": Metric("instructions", "instructions", False, 0),
    "system_calls": Metric("system_calls", "system calls", False, 3),
    "switches": Metric("switches", "context switches", False, 3),
    "allocations": Metric("allocations", "allocations", False, 2),
    "lost": Metric("lost", "lost of 1,000", False, 1),
    "wakeups": Metric("wakeups", "wake-ups per second", False, 1),
    "peak": Metric("peak", "peak memory, bytes", False, 0),
}
OF_WORK = {
    "publish": ["per_second", "cpu_us", "instructions", "system_calls", "switches", "allocations", "peak"],
    "receive": ["per_second", "lost", "cpu_us", "instructions", "system_calls", "switches", "allocations", "peak"],
    "trip": ["p50", "p99", "cpu_us"],
    "connect": ["per_second", "cpu_us"],
    "idle": ["wakeups", "peak"],
}


@dataclass
class Sweep:
    key: str
    title: str
    unit: str  # of the points
    work: str
    options: dict
    points: list
    option: str  # the option that the point is
    counted: tuple
    each: bool = False  # so many messages times the point, or times 8 if that is more


HANDLES = [1, 2, 4, 8, 16, 32, 64]
# Instructions per message of this library against what must not make them grow.
SWEEPS = [
    Sweep("connected-0", "publish QoS 0, on one of so many handles", "handles", "publish", {"qos": 0, "active": 1}, HANDLES, "handles", (2000, 10000)),
    Sweep("connected-1", "publish QoS 1, on one of so many handles", "handles", "publish", {"qos": 1, "active": 1}, HANDLES, "handles", (1000, 4000)),
    Sweep("handles-0", "publish QoS 0, on so many handles in turn", "handles", "publish", {"qos": 0}, HANDLES, "handles", (40, 160), each=True),
    Sweep("handles-1", "publish QoS 1, on so many handles in turn", "handles", "publish", {"qos": 1}, HANDLES, "handles", (40, 160), each=True),
    Sweep("window-1", "publish QoS 1, so many in flight", "messages in flight", "publish", {"qos": 1}, [1, 2, 5, 10, 20], "window", (1000, 4000)),
    Sweep("window-2", "publish QoS 2, so many in flight", "messages in flight", "publish", {"qos": 2}, [1, 2, 5, 10, 20], "window", (1000, 4000)),
    Sweep(
        "leaving-0", "publish QoS 0, 256 bytes, at once", "messages of 256 bytes",
        "publish", {"qos": 0, "size": 256}, [1, 4, 16, 64, 256, 1024], "burst", (8, 24), each=True,
    ),
    Sweep(
        "waiting-0", "receive QoS 0, 256 bytes, behind a callback", "messages of 256 bytes",
        "receive", {"qos": 0, "size": 256, "hold": 100}, [1, 4, 16, 64, 256, 1024], "burst", (2, 8), each=True,
    ),
]
