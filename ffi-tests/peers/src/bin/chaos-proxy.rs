//! A bad network in front of servers: `chaos-proxy [--storm] SEED PORT...` listens on a free port for each PORT of 127.0.0.1, and
//! prints
//!
//! ```text
//! listening on 127.0.0.1:PORT...
//! ```
//!
//! It reads lines, answers each with one that counts what has happened so far, and quits when its input is closed:
//!
//! ```text
//! storm        faults happen from now on; --storm: from the beginning
//! calm         none happen
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::exit;
use std::sync::Arc;
use std::{env, thread};

use peers::chaos::{self, Weather};
use peers::report::Report;

fn main() {
    let mut arguments = env::args().skip(1).peekable();
    let storm = arguments.next_if_eq("--storm").is_some();
    let seed = arguments.next().and_then(|word| word.parse::<u64>().ok());
    let servers: Option<Vec<u16>> = arguments.map(|word| word.parse().ok()).collect();
    let (Some(seed), Some(servers)) = (seed, servers) else {
        eprintln!("usage: chaos-proxy [--storm] SEED PORT...");
        exit(2);
    };
    let weather = Arc::new(Weather::default());
    weather.set_storm(storm);
    let report = Report::stdout();
    let ports: io::Result<Vec<String>> = (0..)
        .zip(servers)
        .map(|(index, port)| {
            listen((Ipv4Addr::LOCALHOST, port).into(), seed.wrapping_mul(256).wrapping_add(index), &weather)
        })
        .collect();
    match ports {
        Ok(ports) => report.line(format!("listening on {}", ports.join(" "))),
        Err(error) => {
            eprintln!("chaos-proxy: {error}");
            exit(1);
        }
    }
    for line in io::stdin().lines().map_while(Result::ok) {
        match line.as_str() {
            "storm" => weather.set_storm(true),
            "calm" => weather.set_storm(false),
            _ => eprintln!("chaos-proxy: \"{line}\" is neither storm nor calm"),
        }
        report.line(weather.describe());
    }
}

/// On a free port; its address.
fn listen(server: SocketAddr, seed: u64, weather: &Arc<Weather>) -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?.to_string();
    let weather = weather.clone();
    thread::spawn(move || chaos::serve(&listener, server, seed, &weather));
    Ok(address)
}
