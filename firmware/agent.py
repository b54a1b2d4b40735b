"""Runs a firmware image and carries out the calls of its test harness: files, sockets and processes of this host.

    agent.py IMAGE [ARGUMENT...]
    agent.py -- COMMAND [ARGUMENT...]       runs a command, which may call agent.py again, in the network of the firmware

The firmware runs in a network namespace of its own that has nothing but the loopback interface, so nothing that the
firmware sends can leave the machine. QEMU's user network makes 127.0.0.1 of this namespace reachable for the firmware under
that very address. C-SKY images run in what CSKY_EMULATOR names, which makes the connections for them. A name server
answers there: `localhost` is 127.0.0.1 for a second, `v6.localhost` ::1, `both.localhost` both, names under `.silent` get no answer,
others do not exist. The exit status is the firmware's.
"""

import ctypes
import errno
import fcntl
import os
import pwd
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
# Far more than the table of calls in posix/agent.c: none waits for another one.
WORKERS = 80
EM_CSKY = 252
PASSED_ON = ("HEAP_STEP", "MOSQUITTO", "SLOW", "TEST_SLOWNESS", "TMPDIR", "WM_LOG_LEVEL", "WM_MQTT_")


# What the name server knows, by the number of the kind of record.
A, AAAA = {1: bytes((127, 0, 0, 1))}, {28: bytes(15) + b"\1"}
ADDRESSES = {"localhost": A, "v6.localhost": AAAA, "both.localhost": A | AAAA}


def own_network():
    uid, gid = os.getuid(), os.getgid()
    if LIBC.unshare(CLONE_NEWNET | (0 if uid == 0 else CLONE_NEWUSER)) != 0:
        sys.exit(f"agent: no network namespace: {os.strerror(ctypes.get_errno())}")
    if uid != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = 0x1 | 0x40  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", up))  # SIOCSIFFLAGS


def serve_names():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, client = server.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1").lower())
            at += 1 + query[at]
        question = query[12 : at + 5]
        if labels[-1:] == ["silent"]:
            continue
        known = ADDRESSES.get(".".join(labels))
        address = (known or {}).get(question[-3])
        # A second long.
        answer = b"" if address is None else b"\xc0\x0c" + question[-4:] + struct.pack(">IH", 1, len(address)) + address
        head = query[:2] + (b"\x85\x80" if known else b"\x85\x83") + b"\0\1" + struct.pack(">H", bool(answer)) + bytes(4)
        server.sendto(head + question + answer, client)


class Agent:
    """The calls; a method's name is that of its number in posix/agent.h. Each returns a number, or it and bytes."""

    NAMES = (
        "arguments socket bind listen accept connect port option poll recv send shutdown close pipe open read write seek"
        " spawn wait kill mkdtemp unlink rmdir access user"
    ).split()

    def __init__(self, line, arguments):
        self.line, self.given = line, arguments
        self.lock = threading.Lock()
        self.sockets, self.processes = {}, {}

    def serve(self):
        with ThreadPoolExecutor(WORKERS) as pool:
            while head := self.take(24):
                length, tag, call, *numbers = struct.unpack("<IIIiii", head)
                data = self.take(length - 20)
                pool.submit(self.carry_out, tag, self.NAMES[call], numbers, data)
            # The firmware is gone: what still waits for something never ends by itself.
            self.end()

    def take(self, count):
        data = b""
        while len(data) < count:
            part = self.line.recv(count - len(data))
            if not part:
                return b""
            data += part
        return data

    def carry_out(self, tag, name, numbers, data):
        error, out = 0, b""
        try:
            result = getattr(self, name)(*numbers, data)
            if isinstance(result, tuple):
                result, out = result
        except OSError as failure:
            result, error = -1, failure.errno or 5
        except Exception as failure:  # a bug of this program, which would be a hang
            print(f"agent: {name}: {failure!r}", file=sys.stderr, flush=True)
            os._exit(4)
        with self.lock:
            self.line.sendall(struct.pack("<IIii", 12 + len(out), tag, result, error) + out)

    def end(self):
        for process in self.processes.values():
            process.kill()

    def arguments(self, a, b, c, data):
        env = [f"{name}={value}" for name, value in os.environ.items() if name.startswith(PASSED_ON)]
        return len(self.given), b"".join(word.encode() + b"\0" for word in self.given + env)

    def keep(self, new):
        self.sockets[new.fileno()] = new
        return new.fileno()

    def socket(self, domain, kind, c, data):
        if domain != socket.AF_INET:  # QEMU's user network does not lead to ::1
            raise OSError(errno.EAFNOSUPPORT, "only IPv4")
        return self.keep(socket.socket(domain, kind))

    def bind(self, fd, domain, port, data):
        self.sockets[fd].bind(("127.0.0.1", port))
        return 0

    def listen(self, fd, backlog, c, data):
        self.sockets[fd].listen(backlog)
        return 0

    def accept(self, fd, b, c, data):
        return self.keep(self.sockets[fd].accept()[0])

    def connect(self, fd, port, c, data):
        self.sockets[fd].connect(("127.0.0.1", port))
        return 0

    def port(self, fd, b, c, data):
        return self.sockets[fd].getsockname()[1]

    def option(self, fd, level, name, data):
        self.sockets[fd].setsockopt(level, name, data)
        return 0

    def poll(self, ms, b, c, data):
        waiting = [list(item) for item in struct.iter_unpack("<ihh", data)]
        poll = select.poll()
        for fd, events, _ in waiting:
            if fd >= 0:
                poll.register(fd, events)
        ready = dict(poll.poll(None if ms < 0 else ms))
        return len(ready), b"".join(struct.pack("<ihh", fd, events, ready.get(fd, 0)) for fd, events, _ in waiting)

    def recv(self, fd, length, flags, data):
        got = self.sockets[fd].recv(length, flags)
        return len(got), got

    def send(self, fd, b, flags, data):
        return self.sockets[fd].send(data, flags)

    def shutdown(self, fd, how, c, data):
        self.sockets[fd].shutdown(how)
        return 0

    def close(self, fd, b, c, data):
        known = self.sockets.pop(fd, None)
        if known:
            known.close()
        else:
            os.close(fd)
        return 0

    def pipe(self, a, b, c, data):
        return 0, struct.pack("<ii", *os.pipe2(os.O_CLOEXEC))

    def open(self, kind, b, c, path):
        created = os.O_WRONLY | os.O_CREAT
        return os.open(path, (os.O_RDONLY, created | os.O_TRUNC, created | os.O_APPEND)[kind] | os.O_CLOEXEC, 0o600)

    def read(self, fd, length, c, data):
        got = os.read(fd, length)
        return len(got), got

    def write(self, fd, b, c, data):
        return os.write(fd, data)

    def seek(self, fd, offset, whence, data):
        return os.lseek(fd, offset, whence)

    def spawn(self, pipes, b, c, data):
        log, *words = data.decode().split("\0")[:-1]
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        if not pipes:
            file = open(log, "ab")
            options = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
        process = subprocess.Popen(words, bufsize=0, preexec_fn=end_with_us, **options)
        if not pipes:
            file.close()
            ends = b""
        else:
            # Tests that make hundreds of connections need not read what a relay says about each.
            fcntl.fcntl(process.stdout, 1031, 1 << 20)  # F_SETPIPE_SZ
            ends = struct.pack("<ii", os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno()))
            process.stdin.close()
            process.stdout.close()
        self.processes[process.pid] = process
        return process.pid, ends

    def wait(self, pid, options, c, data):
        process = self.processes[pid]
        status = process.poll() if options & os.WNOHANG else process.wait()
        if status is None:
            return 0, bytes(4)
        del self.processes[pid]
        return pid, struct.pack("<i", -status if status < 0 else status << 8)

    def kill(self, pid, number, c, data):
        self.processes[pid].send_signal(number)
        return 0

    def mkdtemp(self, a, b, c, path):
        made = path[:-6] + os.urandom(3).hex().encode()
        os.mkdir(made, 0o700)
        return 0, made

    def unlink(self, a, b, c, path):
        os.unlink(path)
        return 0

    def rmdir(self, a, b, c, path):
        os.rmdir(path)
        return 0

    def access(self, mode, b, c, path):
        return 0 if os.access(path, mode) else -1

    def user(self, a, b, c, data):
        return 0, pwd.getpwuid(os.geteuid()).pw_name.encode()


def end_with_us():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_machine(image, line):
    with open(image, "rb") as file:
        csky = struct.unpack("<18xH", file.read(20)) == (EM_CSKY,)
    if csky:
        command = [*os.environ["CSKY_EMULATOR"].split(), image]
    else:
        command = (
            ["qemu-system-riscv32", "-M", "virt", "-cpu", "rv32", "-m", "64M", "-bios", "none", "-nodefaults"]
            # So QEMU counts instructions. The other programs measure time, which then runs with what they execute.
            + ["-icount", "shift=0"] * (os.path.basename(image) == "messages")
            + ["-nographic", "-serial", "stdio", "-monitor", "none", "-kernel", image]
            + ["-global", "virtio-mmio.force-legacy=false"]
            + ["-netdev", "user,id=net", "-chardev", f"socket,id=agent,fd={line.fileno()}"]
            # Indirect descriptors would be taken from the firmware's heap.
            + ["-device", "virtio-net-device,netdev=net,indirect_desc=off", "-device", "virtio-rng-device,indirect_desc=off"]
            + ["-device", "virtio-serial-device,max_ports=1,indirect_desc=off", "-device", "virtconsole,chardev=agent"]
        )
    # The line of C-SKY images is their standard input.
    stdin = line if csky else subprocess.DEVNULL
    return subprocess.Popen(command, stdin=stdin, pass_fds=(line.fileno(),), preexec_fn=end_with_us)


def main():
    image, *arguments = sys.argv[1:]
    if not os.environ.get("FIRMWARE_NETWORK"):
        own_network()
    if image == "--":
        os.environ["FIRMWARE_NETWORK"] = "made"
        os.execvp(arguments[0], arguments)
    threading.Thread(target=serve_names, daemon=True).start()
    ours, theirs = socket.socketpair()
    machine = start_machine(image, theirs)
    theirs.close()
    agent = Agent(ours, [os.path.basename(image), *arguments])
    threading.Thread(target=agent.serve, daemon=True).start()
    status = machine.wait()
    agent.end()
    sys.stdout.flush()
    os._exit(status)


main()
