#!/usr/bin/env bash
# small-buffers.sh COMMAND...: runs it in a network namespace of its own, whose loopback interface has packets and socket
# buffers as small as the device's. Needs root.
set -euo pipefail

exec unshare --net bash -c '
    ip link set lo up mtu 1400
    echo "4096 16384 16384" >/proc/sys/net/ipv4/tcp_wmem
    echo "4096 8192 8192" >/proc/sys/net/ipv4/tcp_rmem
    exec "$@"' small-buffers "$@"
