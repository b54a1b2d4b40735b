#!/usr/bin/env bash
# demo.sh PROGRAM DEMO-BROKER: runs PROGRAM with the URI in $BROKER and, if given, the file $CA; without $BROKER it starts
# DEMO-BROKER and runs PROGRAM once for each scheme.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${BROKER:-}" ]; then
    exec "$1" "$BROKER" ${CA:+"$CA"}
fi

# It quits when its standard input is closed: with this script at the latest, however that ends.
coproc PEER { exec "$2"; }
peer=$PEER_PID # bash forgets that one as soon as the broker has ended
declare -A file
uris=()
while [ -z "${file[key]:-}" ]; do
    read -r word rest <&"${PEER[0]}"
    case $word in
        *://*) uris+=("$word") ;;
        *) file[$word]=$rest ;;
    esac
done

failed=()
for uri in "${uris[@]}"; do
    arguments=()
    case $uri in
        mqtts:*) arguments=("${file[ca]}" "${file[cert]}" "${file[key]}") ;; # both sides prove who they are
        wss:*) arguments=("${file[ca]}") ;;
    esac
    echo "---- ${uri%%:*} ----"
    "$1" "$uri" "${arguments[@]}" || failed+=("${uri%%:*}")
    echo
done

# The broker removes its files.
eval "exec ${PEER[1]}>&-"
wait "$peer"

if [ "${#failed[@]}" -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
echo "mqtt, mqtts, ws and wss: everything arrived"
