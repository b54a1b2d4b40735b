#!/usr/bin/env bash
# chaos.sh: real brokers behind a bad network, for DURATION seconds in all (240), over all four schemes; see ffi-tests/chaos.
# `make chaos` builds what it needs.
#
#   SEED=7                      chooses faults, sizes and ends of brokers; when each happens depends on the machine too
#   BROKERS="mosquitto amqtt"   of mosquitto, rumqttd, aedes and amqtt (all)
#   KINDS="network kill"        these rounds in each generation, of network, restart and kill
#   VERBOSE=1 WM_LOG_LEVEL=4    mosquitto's log has every packet, and the application's; WORK names another folder for the brokers
#   HANDLES=200 RATE=400        handles, and messages in a second of all together
#
# aedes and amqtt are put into target/chaos, once; that needs node with npm, and Python.
set -euo pipefail
cd "$(dirname "$0")/.."

export BROKERS=${BROKERS:-mosquitto rumqttd aedes amqtt} DURATION=${DURATION:-240} SEED=${SEED:-$RANDOM}
export HANDLES=${HANDLES:-200} RATE=${RATE:-400}
peers=ffi-tests/peers/target/debug
certs=${WM_MQTT_CERTS:-target/test-certs}
packages=target/chaos
mkdir -p "$packages" "$certs"

for broker in $BROKERS; do
    case $broker in
        mosquitto) PATH="$PATH:/usr/sbin" command -v "${MOSQUITTO:-mosquitto}" >/dev/null || scripts/setup.sh check ;;
        rumqttd) ;; # in ffi-tests/peers
        aedes) [ -e "$packages/node/node_modules/ws" ] || npm install --silent --no-audit --no-fund --prefix "$packages/node" aedes@1.2.0 ws@8.18.3 ;;
        amqtt)
            if [ ! -e "$packages/amqtt/bin/amqtt" ]; then
                python3 -m venv "$packages/amqtt"
                "$packages/amqtt/bin/pip" install --quiet --disable-pip-version-check amqtt==0.12.1
            fi
            ;;
        *) echo "chaos: $broker is none of mosquitto, rumqttd, aedes, amqtt" >&2 && exit 2 ;;
    esac
done
[ "$certs/ca.pem" -nt "$peers/certs" ] || "$peers/certs" "$certs"

run=(python3 ffi-tests/chaos/chaos.py "${PROGRAM:-target/c/chaos}" "$peers" "$certs" "$packages" "${WORK:-$packages/work}")
# A container may not allow it.
if unshare --net true 2>/dev/null; then run=(scripts/small-buffers.sh "${run[@]}"); else echo "chaos: no network namespace to be had, the buffers are large"; fi
echo "seed $SEED"
"${run[@]}"
