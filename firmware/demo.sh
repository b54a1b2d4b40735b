#!/usr/bin/env bash
# demo.sh [URI [CA [CERT KEY]]]: examples/demo.c on the firmware, as scripts/demo.sh calls it.
exec python3 firmware/agent.py "${FIRMWARE_IMAGES:-target/firmware/c}/demo" "$@"
