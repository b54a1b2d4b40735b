//! The test peer of the C tests: TLS and WebSocket in front of a broker that speaks neither.
//!
//! It says on standard output what it sees, line by line, and quits when its standard input is closed:
//!
//! ```text
//! listening on 127.0.0.1:PORT
//! connection N
//! tls version=1.3 suite=NAME resumed=yes|no sni=NAME|- alpn=NAME|- client=CN|-
//! http path=/mqtt?x host=localhost:1234 protocol=mqtt
//! end close_notify=yes|no close=1000|-       the client's side has ended
//! failed REASON                              instead of it: the client was refused, or broke a protocol
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::net::{TcpListener, ToSocketAddrs};
use std::process::exit;
use std::{io, thread};

use lexopt::Arg::Long;
use lexopt::ValueExt;
use peers::relay::{self, Options};
use peers::report::Report;
use peers::{tls, websocket};
use rustls::version::{TLS12, TLS13};

const USAGE: &str = "\
usage: relay --to HOST:PORT [option]...

  --to HOST:PORT       the broker, which is connected to after the handshakes
  --listen HOST:PORT   127.0.0.1:0 if not given

  --tls CERT KEY       TLS, with a certificate chain and its key in PEM files
  --client-ca CA       a certificate signed by one of these is required of the client
  --versions 1.2|1.3   only this one
  --suites WORD        only cipher suites whose name contains it; valgrind takes AES-GCM's output for uninitialised,
                       CHACHA20's not
  --no-tickets         no session tickets: TLS 1.2 resumes by session id, TLS 1.3 does not resume
  --no-resumption      nothing is resumed
  --alpn NAME,NAME     the protocols that the server speaks
  --record N           the largest TLS record, with its header
  --truncate           no close_notify at the end

  --websocket          WebSocket, inside of TLS if both are given
  --path PATH          another one than this is answered with 404
  --interim            answers 100 and 103 before the final one
  --no-subprotocol     the answer names no subprotocol
  --frame N            the largest payload of a frame to the client; what was read at once is fragments of one message
  --frames             these frames are messages of their own
  --ping               a ping before each frame
  --no-close           no close frame at the end

  --segment N          writes to the client have N bytes at most, each sent at once
";

fn main() {
    let (listen, options) = match parse() {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("relay: {error}\n\n{USAGE}");
            exit(2);
        }
    };
    let listener = match TcpListener::bind(&listen) {
        Ok(listener) => listener,
        Err(error) => fail(format!("{listen}: {error}")),
    };
    let report = Report::stdout();
    match listener.local_addr() {
        Ok(address) => report.line(format!("listening on {address}")),
        Err(error) => fail(error),
    }
    thread::spawn(move || fail(format!("{:?}", relay::serve(&listener, options, &report))));

    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}

fn parse() -> Result<(String, Options), Box<dyn Error>> {
    let mut arguments = lexopt::Parser::from_env();
    let (mut to, mut listen) = (None, "127.0.0.1:0".to_owned());
    let (mut segment, mut truncate) = (usize::MAX, false);
    let (mut use_tls, mut use_websocket) = (false, false);
    let mut tls = tls::Options::new("", "");
    let mut websocket = websocket::Options::default();

    while let Some(argument) = arguments.next()? {
        let Long(name) = argument else { return Err(argument.unexpected().into()) };
        match name.to_owned().as_str() {
            "to" => to = arguments.value()?.string()?.to_socket_addrs()?.next(),
            "listen" => listen = arguments.value()?.string()?,
            "tls" => {
                use_tls = true;
                tls.certificate = arguments.value()?.into();
                tls.key = arguments.value()?.into();
            }
            "client-ca" => tls.client_ca = Some(arguments.value()?.into()),
            "versions" => tls.versions = versions(&arguments.value()?)?,
            "suites" => tls.suites = arguments.value()?.string()?,
            "no-tickets" => tls.tickets = false,
            "no-resumption" => tls.resumption = false,
            "alpn" => tls.alpn = arguments.value()?.string()?.split(',').map(|name| name.as_bytes().to_vec()).collect(),
            "record" => tls.record = Some(arguments.value()?.parse()?),
            "truncate" => truncate = true,
            "websocket" => use_websocket = true,
            "path" => websocket.path = Some(arguments.value()?.string()?),
            "interim" => websocket.interim = true,
            "no-subprotocol" => websocket.subprotocol = false,
            "frame" => websocket.frame = size(&arguments.value()?)?,
            "frames" => websocket.messages = true,
            "ping" => websocket.ping = true,
            "no-close" => websocket.close = false,
            "segment" => segment = size(&arguments.value()?)?,
            _ => return Err(Long(name).unexpected().into()),
        }
    }
    let mut options = Options::new(to.ok_or("--to is missing, or names no address")?);
    options.tls = if use_tls { Some(tls.config()?) } else { None };
    options.websocket = use_websocket.then_some(websocket);
    options.segment = segment;
    options.truncate = truncate;
    Ok((listen, options))
}

fn versions(value: &OsString) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, Box<dyn Error>> {
    match value.to_str() {
        Some("1.2") => Ok(vec![&TLS12]),
        Some("1.3") => Ok(vec![&TLS13]),
        _ => Err(format!("--versions {} is neither 1.2 nor 1.3", value.display()).into()),
    }
}

fn size(value: &OsString) -> Result<usize, Box<dyn Error>> {
    match value.parse()? {
        0 => Err("a size of 0".into()),
        size => Ok(size),
    }
}

fn fail(message: impl std::fmt::Display) -> ! {
    eprintln!("relay: {message}");
    exit(1)
}
