//! What a server says in a TLS handshake. However it is cut, each step takes not more of the heap than was said before, the end is final,
//! and in the clear it does not depend on the pieces.

use std::sync::LazyLock;

use rustls::{ServerConfig, ServerConnection};
use wm_mqtt_client::transport::Layers;
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::config::{CERTIFICATE, KEY, settings, take_added};
use crate::heap::peak;
use crate::pieces::{cut, lengths};
use crate::scripted::{Script, plain, scripted_server};
use crate::support::Identity;

const HOST: &str = "broker.example";

/// Verifies nothing; verifies; has a certificate of its own.
static CLIENTS: LazyLock<[TlsConfig; 4]> = LazyLock::new(|| {
    let ca = Some(CERTIFICATE.as_bytes());
    let identity = Some((CERTIFICATE.as_bytes(), KEY.as_bytes()));
    [
        settings(),
        Settings { verify: true, ca, ..settings() },
        Settings { identity, ..settings() },
        Settings { verify: true, ca, identity, ..settings() },
    ]
    .map(|settings| TlsConfig::new(settings).unwrap())
});

static SERVERS: LazyLock<[(ServerConfig, Script); 2]> = LazyLock::new(|| {
    let identity = Identity::new(CERTIFICATE, KEY);
    [&rustls::version::TLS13, &rustls::version::TLS12].map(|version| scripted_server(version, &identity))
});

struct Client {
    layers: Layers,
    out: Vec<u8>,
    /// What is with the network.
    sent: Vec<u8>,
}

impl Client {
    fn new(config: &TlsConfig) -> Self {
        let mut client = Self { layers: Layers::default(), out: Vec::new(), sent: Vec::new() };
        client.layers.begin_tls(config, HOST, &mut client.out).unwrap();
        client
    }

    /// As its owner does: step by step, as far as there is memory for each.
    fn receive(&mut self, mut rest: &[u8]) -> Result<(), String> {
        self.sent.append(&mut self.out);
        self.out = Vec::new();
        while !rest.is_empty() {
            let (len, need) = self.layers.handshake_step(rest).map_err(|error| error.to_string())?;
            take_added();
            assert!(len > 0);
            let (piece, behind) = rest.split_at(len);
            rest = behind;
            let is_handshake = !self.layers.is_open();
            let (result, most) =
                peak(|| self.layers.receive(piece, &mut self.out, &mut |part| assert!(!part.is_empty())));
            let need = need.bytes + take_added();
            assert!(!is_handshake || most <= need, "{most} bytes, and not {need} for {len}");
            if let Err(error) = result {
                let error = error.to_string();
                // That is the end.
                let len = self.out.len();
                let again = self.layers.receive(b"more", &mut self.out, &mut |_| panic!("data behind the end"));
                assert_eq!(again.map_err(|error| error.to_string()), Err(error.clone()));
                assert!(self.layers.send(b"data", &mut self.out).is_err());
                self.layers.close(&mut self.out);
                assert_eq!(self.out.len(), len, "output behind the end");
                return Err(error);
            }
        }
        Ok(())
    }
}

/// A program that writes messages, so that lengths fit what they are of more often than not. Each instruction is a byte: bytes that follow
/// it, a vector that begins with so many bytes of length, its end, or its contents again and again.
fn assemble(mut program: &[u8]) -> Vec<u8> {
    const LARGEST: usize = 40_000;
    let mut out = Vec::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    let close = |out: &mut Vec<u8>, (begin, width): (usize, usize), wrong: u8| {
        let len = (out.len() - begin - width + usize::from(wrong)).to_be_bytes();
        out[begin..][..width].copy_from_slice(&len[len.len() - width..]);
    };
    while let Some((instruction, rest)) = program.split_first() {
        program = rest;
        let number = instruction >> 2;
        match instruction & 3 {
            0 => {
                let (bytes, rest) = program.split_at(program.len().min(number.into()));
                out.extend_from_slice(bytes);
                program = rest;
            }
            1 => {
                let width = 1 + usize::from(number) % 3;
                open.push((out.len(), width));
                out.resize(out.len() + width, 0);
            }
            2 => {
                if let Some(vector) = open.pop() {
                    close(&mut out, vector, number);
                }
            }
            _ => {
                if let Some((begin, width)) = open.last() {
                    let contents = out[begin + width..].to_vec();
                    let times = usize::from(number).pow(2).min((LARGEST - out.len()) / contents.len().max(1));
                    out.extend(contents.repeat(times));
                }
            }
        }
        if out.len() >= LARGEST {
            out.truncate(LARGEST);
            break;
        }
    }
    while let Some(vector) = open.pop() {
        if vector.0 + vector.1 <= out.len() {
            close(&mut out, vector, 0);
        }
    }
    out
}

/// The first byte says, beside how many [pieces](lengths) there are, who the client is, and in which way the server speaks.
pub fn run(data: &[u8]) {
    let Some((flags, lengths, data)) = lengths(data) else { return };
    let config = &CLIENTS[usize::from(flags & 3)];
    match flags >> 2 & 3 {
        0 => in_the_clear(config, data, lengths),
        1 => {
            // TLS 1.2 up to the key exchange
            let hello = [&[2, 0, 0, 38, 3, 3][..], &[7; 32], &[0, 0xc0, 0x2b, 0]].concat();
            let size = if lengths.len() & 1 == 0 { 16_384 } else { 100 };
            in_the_clear(config, &[plain(&hello, size), plain(&assemble(data), size)].concat(), lengths);
        }
        version => encrypted(config, &SERVERS[usize::from(version & 1)], &assemble(data), lengths),
    }
}

fn in_the_clear(config: &TlsConfig, stream: &[u8], lengths: &[u8]) {
    let mut whole = Client::new(config);
    let result = whole.receive(stream);
    assert!(!whole.layers.is_open(), "open without a key");
    let mut pieces = Client::new(config);
    let in_pieces = cut(stream, lengths).try_for_each(|piece| pieces.receive(piece));
    assert_eq!(in_pieces, result);
}

/// A server that shakes hands as it should, but for what its first encrypted records say.
fn encrypted(config: &TlsConfig, (server, script): &(ServerConfig, Script), messages: &[u8], lengths: &[u8]) {
    let size = [16_384, 1000, 100, 16_384][lengths.len() & 3];
    let records = messages.chunks(size).map(<[u8]>::to_vec).collect();
    *script.lock().unwrap() = [records].into();
    let mut client = Client::new(config);
    let mut server = ServerConnection::new(server.clone().into()).unwrap();
    for _ in 0..8 {
        client.sent.append(&mut client.out);
        let mut output = &std::mem::take(&mut client.sent)[..];
        while !output.is_empty() && server.read_tls(&mut output).is_ok() {
            if server.process_new_packets().is_err() {
                break;
            }
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        if flight.is_empty() {
            break;
        }
        if cut(&flight, lengths).try_for_each(|piece| client.receive(piece)).is_err() {
            break;
        }
    }
}
