#!/usr/bin/env bash
# The builds with fewer features: each is linted, its Rust tests run, and what is switched off leaves no trace in the
# library. The default build is tested by the other steps, the device's by csky.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
out=target/features

# What each feature brings, as it shows in the library once it is linked: names of functions, and that of an authority.
# What is for QUIC nothing brings.
declare -A trace=(
    [tls]='rustls|ring_core|webpki|mqtt_client_tls|transport3tls'
    [tls12]='(client|ring)(\.\.|5)tls12'
    [rsa]='4ring3rsa|RsaSign'
    [ed25519]='[Ee]d25519'
    [chacha20]='Cha[Cc]ha20Poly1305|provider8CHACHA20|ring_core.*(chacha|poly1305)'
    [quic]='4ring4aead4quic|4ring4quic'
    [websocket]='httparse|sha1_smol|edge_ws|transport9websocket'
    [tungstenite]='tungstenite'
    [webpki-roots]='ISRG Root X1'
)

check() { # FEATURE...
    local features feature library=$out/debug/libwm_mqtt_client.so
    features=$(IFS=, && echo "host,$*")
    features=${features%,}
    echo "---- $features ----"
    "$cargo" clippy --locked --all-targets --no-default-features --features "$features" --target-dir $out -- -D warnings
    "$cargo" test --locked --lib --test tls --no-default-features --features "$features" --target-dir $out
    "$cargo" rustc --locked --lib --crate-type cdylib --no-default-features --features "$features" --target-dir $out
    { nm --no-demangle "$library" 2>/dev/null && grep -aoF 'ISRG Root X1' "$library" || true; } >$out/symbols
    for feature in "${!trace[@]}"; do
        case " $* " in
            *" $feature "*) grep -qE "${trace[$feature]}" $out/symbols || { echo "$feature is on, but not in it"; return 1; } ;;
            *) ! grep -E "${trace[$feature]}" $out/symbols || { echo "$feature is off, but in it"; return 1; } ;;
        esac
    done
}

check
check websocket
# Linux' engine cannot fail an allocation, the device's must.
"$cargo" test --locked --test simulation --no-default-features --features host,websocket --target-dir $out websocket
# What examples/board_check expects of a board.
"$cargo" test --locked --lib --features checks --target-dir $out checks
check websocket tungstenite
check tls
check tls rsa chacha20
check tls tls12 ed25519 webpki-roots
check tls tls12 rsa chacha20 websocket # the device's choice
check tls tls12 rsa ed25519 chacha20 websocket webpki-roots
echo "8 builds are right"
