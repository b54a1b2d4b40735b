//! What an application configures for TLS: PEM, certificates, keys, protocols, host names. None of it takes more of the heap than was said
//! before, and what is good is taken whatever stands around it.

use std::cell::Cell;
use std::sync::LazyLock;

use wm_mqtt_client::transport::Layers;
use wm_mqtt_client::transport::tls::{Held, Need, Settings, Tls, TlsConfig};

use crate::heap::peak;

/// Of nobody.
pub(crate) static CERTIFICATE: &str = include_str!("certificate.pem");
pub(crate) static KEY: &str = include_str!("key.pem");

/// Beyond what `need` says: rustls makes itself a table for sessions where it has std, which the library does not use.
const STD: usize = 24 * 1024;

pub(crate) fn settings() -> Settings<'static> {
    Settings {
        verify: false,
        ca: None,
        authorities: &[],
        identity: None,
        alpn: Vec::new(),
        tls12: true,
        record: 16 * 1024,
        chain: 16 * 1024,
        names: 100,
        more: add,
        hold: |_| Some(Held::new(|| {})),
        // Later than any build.
        clock: || 4_000_000_000,
    }
}

thread_local! {
    /// Bytes of heap that steps of handshakes have asked for while they were computed.
    static ADDED: Cell<usize> = const { Cell::new(0) };
}

fn add(need: Need) -> bool {
    ADDED.set(ADDED.get() + need.bytes);
    true
}

/// How many bytes were added since the last call.
pub(crate) fn take_added() -> usize {
    ADDED.take()
}

fn config(settings: Settings<'_>) -> Option<TlsConfig> {
    let need = settings.need();
    let (config, most) = peak(|| TlsConfig::new(settings));
    assert!(most <= need + STD, "{most} bytes, and not {need}");
    config.ok()
}

/// As PEM, with this label.
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for three in der.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let is_there = digit <= three.len();
            text.push(if is_there { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize].into() } else { '=' });
        }
    }
    text + &format!("\n-----END {label}-----\n")
}

/// The first byte says what the others are.
pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind {
        0 => drop(config(Settings { verify: true, ca: Some(data), ..settings() })),
        1 => drop(config(Settings { identity: Some((data, KEY.as_bytes())), ..settings() })),
        2 => drop(config(Settings { identity: Some((CERTIFICATE.as_bytes(), data)), ..settings() })),
        3 => {
            let ca = pem("CERTIFICATE", data);
            drop(config(Settings { verify: true, ca: Some(ca.as_bytes()), ..settings() }));
        }
        4 => {
            let chain = pem("CERTIFICATE", data) + CERTIFICATE;
            drop(config(Settings { identity: Some((chain.as_bytes(), KEY.as_bytes())), ..settings() }));
        }
        5..=7 => {
            let key = pem(["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"][usize::from(kind - 5)], data);
            drop(config(Settings { identity: Some((CERTIFICATE.as_bytes(), key.as_bytes())), ..settings() }));
        }
        8 => {
            let alpn: Vec<_> = data.split(|c| *c == 0).map(<[u8]>::to_vec).collect();
            let may = alpn.iter().all(|name| (1..=255).contains(&name.len()));
            let may = may && alpn.iter().map(|name| name.len() + 1).sum::<usize>() <= 16_384;
            assert_eq!(config(Settings { alpn, ..settings() }).is_some(), may);
        }
        9 => {
            static CONFIGS: LazyLock<[TlsConfig; 2]> = LazyLock::new(|| {
                let verifying = Settings { verify: true, ca: Some(CERTIFICATE.as_bytes()), ..settings() };
                [settings(), verifying].map(|settings| TlsConfig::new(settings).unwrap())
            });
            let Ok(host) = str::from_utf8(data) else { return };
            for (config, verifies) in CONFIGS.iter().zip([false, true]) {
                let (mut layers, mut out) = (Layers::default(), Vec::new());
                let (result, most) = peak(|| layers.begin_tls(config, host, &mut out));
                assert!(most <= Tls::first_step(config) + 2 * host.len(), "{most} bytes for a ClientHello");
                assert!(result.is_ok() || verifies, "{host:?} is refused");
                // SNI never names an address.
                let names = out.windows(host.len().max(1)).any(|part| part == host.as_bytes());
                assert!(!names || host.parse::<std::net::IpAddr>().is_err());
            }
        }
        // A good certificate and key, with this around their lines. What is no character of a line may be everywhere.
        _ => {
            let around: Vec<u8> = data.iter().copied().filter(|c| !c.is_ascii_graphic() && *c != 0).collect();
            let decorate = |text: &str| {
                let mut out = Vec::new();
                for line in text.lines() {
                    for part in [&around[..], line.as_bytes(), &around, b"\n"] {
                        out.extend_from_slice(part);
                    }
                }
                out
            };
            let (chain, key) = (decorate(CERTIFICATE), decorate(KEY));
            let settings = Settings { verify: true, ca: Some(&chain), identity: Some((&chain, &key)), ..settings() };
            assert!(config(settings).is_some(), "{around:?} around each line");
        }
    }
}
