//! The date of the build, and the weak symbols that stable Rust cannot define.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let date = env::var("SOURCE_DATE_EPOCH").ok().and_then(|date| date.parse().ok()).unwrap_or_else(now);
    println!("cargo::rustc-env=WM_MQTT_BUILD_TIME={date}");

    // On the device the SDK compiles it, with its own compiler and flags.
    let enabled = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if enabled("HOST") && enabled("TLS") {
        let source = "src/ffi/mqtt_client_tls.c";
        println!("cargo::rerun-if-changed={source}");
        cc::Build::new().file(source).compile("mqtt_client_tls");
    }
}
