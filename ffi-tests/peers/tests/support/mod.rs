//! A relay with a broker behind it, and clients of all schemes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use peers::certificates::{CLIENT, Folder, SERVER};
use rustix::net::sockopt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

// ---- the relay, and a broker behind it ----

pub struct Relay {
    process: Child,
    lines: BufReader<ChildStdout>,
    port: u16,
    pub broker: TcpListener,
}

impl Relay {
    pub fn start(options: &str) -> Self {
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = broker.local_addr().unwrap().to_string();
        let mut process = Command::new(env!("CARGO_BIN_EXE_relay"))
            .args(["--to", &to])
            .args(options.split_whitespace())
            .current_dir(certificates())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        let mut relay = Relay { process, lines, port: 0, broker };
        relay.port = relay.line("listening").rsplit(':').next().unwrap().parse().unwrap();
        relay
    }

    /// The next line that begins with `word`.
    pub fn line(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the relay has ended");
            if line.starts_with(word) {
                return line.trim_end().to_owned();
            }
        }
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    pub fn broker(&self) -> TcpStream {
        let socket = self.broker.accept().unwrap().0;
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    /// How many hundredths of a second of processor time it takes in three tenths of a second, once it is through with what there was
    /// to do: the least of some, where it takes more than one.
    pub fn ticks_while_idle(&self) -> u64 {
        let ticks = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
            let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        };
        thread::sleep(Duration::from_millis(50));
        let mut least = u64::MAX;
        for _ in 0..5 {
            let before = ticks();
            thread::sleep(Duration::from_millis(300));
            least = least.min(ticks() - before);
            if least <= 1 {
                break;
            }
        }
        least
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

/// Both ends of one connection.
pub struct Pair {
    pub client: Client,
    pub broker: TcpStream,
    pub relay: Relay,
}

impl Pair {
    pub fn new(scheme: &str, options: &str) -> Self {
        // Options of a layer that is not there have nothing to do.
        let relay = Relay::start(options);
        let client = Client::new(scheme, relay.connect(), &client_config("ca.pem", false));
        let broker = relay.broker();
        Pair { client, broker, relay }
    }
}

pub fn read(socket: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

pub fn reset(socket: TcpStream) {
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
}

// ---- clients ----

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

#[allow(clippy::large_enum_variant, reason = "there are few of them")]
pub enum Client {
    Mqtt(TcpStream),
    Mqtts(Tls),
    Ws(WebSocket<TcpStream>),
    Wss(WebSocket<Tls>),
}

impl Client {
    pub fn new(scheme: &str, socket: TcpStream, config: &Arc<ClientConfig>) -> Self {
        let tls = |socket| {
            let mut tls = tls_client(socket, config);
            while tls.conn.is_handshaking() {
                tls.conn.complete_io(&mut tls.sock).unwrap();
            }
            tls
        };
        let url = "ws://localhost/mqtt?x";
        match scheme {
            "mqtt" => Client::Mqtt(socket),
            "mqtts" => Client::Mqtts(tls(socket)),
            "ws" => Client::Ws(tungstenite::client(url, socket).unwrap().0),
            _ => Client::Wss(tungstenite::client(url, tls(socket)).unwrap().0),
        }
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Client::Mqtt(socket) => socket,
            Client::Mqtts(tls) => &tls.sock,
            Client::Ws(websocket) => websocket.get_ref(),
            Client::Wss(websocket) => &websocket.get_ref().sock,
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        match self {
            Client::Mqtt(socket) => socket.write_all(bytes).unwrap(),
            Client::Mqtts(tls) => tls.write_all(bytes).and_then(|()| tls.flush()).unwrap(),
            Client::Ws(websocket) => websocket.send(Message::Binary(bytes.to_vec().into())).unwrap(),
            Client::Wss(websocket) => websocket.send(Message::Binary(bytes.to_vec().into())).unwrap(),
        }
    }

    /// What has come, at least a byte of it; nothing at the end.
    pub fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut buffer = vec![0; 20_000];
        let message = match self {
            Client::Mqtt(socket) => return socket.read(&mut buffer).map(|len| buffer[..len].to_vec()),
            Client::Mqtts(tls) => return tls.read(&mut buffer).map(|len| buffer[..len].to_vec()),
            Client::Ws(websocket) => next_message(websocket),
            Client::Wss(websocket) => next_message(websocket),
        };
        match message {
            Ok(Message::Binary(data)) => Ok(data.to_vec()),
            Ok(_) => Ok(Vec::new()),
            Err(Error::Io(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn close_code(&mut self) -> Option<CloseCode> {
        let message = match self {
            Client::Ws(websocket) => next_message(websocket),
            Client::Wss(websocket) => next_message(websocket),
            _ => return None,
        };
        match message.unwrap() {
            Message::Close(frame) => frame.map(|frame| frame.code),
            other => panic!("{other:?}"),
        }
    }

    /// Below WebSocket: how many bytes come until the end.
    pub fn rest(&mut self) -> std::io::Result<usize> {
        let mut bytes = Vec::new();
        match self {
            Client::Mqtt(socket) => socket.read_to_end(&mut bytes),
            Client::Mqtts(tls) => tls.read_to_end(&mut bytes),
            Client::Ws(websocket) => websocket.get_mut().read_to_end(&mut bytes),
            Client::Wss(websocket) => websocket.get_mut().read_to_end(&mut bytes),
        }
    }

    /// Says goodbye in each layer and sends FIN.
    pub fn end(&mut self) {
        match self {
            Client::Ws(websocket) => websocket.close(Some(normal())).unwrap(),
            Client::Wss(websocket) => websocket.close(Some(normal())).unwrap(),
            _ => {}
        }
        let tls = match self {
            Client::Mqtts(tls) => Some(tls),
            Client::Wss(websocket) => Some(websocket.get_mut()),
            _ => None,
        };
        if let Some(tls) = tls {
            tls.conn.send_close_notify();
            tls.flush().unwrap();
        }
        self.socket().shutdown(Shutdown::Write).unwrap();
    }
}

fn normal() -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: "".into() }
}

fn next_message<S: Read + Write>(websocket: &mut WebSocket<S>) -> tungstenite::Result<Message> {
    loop {
        match websocket.read()? {
            Message::Ping(_) => {}
            message => return Ok(message),
        }
    }
}

/// Has not begun its handshake yet.
pub fn tls_client(socket: TcpStream, config: &Arc<ClientConfig>) -> Tls {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), socket)
}

/// That trusts the authority in the file `ca`, with a certificate of its own or without.
pub fn client_config(ca: &str, own: bool) -> Arc<ClientConfig> {
    let folder = certificates();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join(ca)).unwrap()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    Arc::new(if own {
        let chain = vec![CertificateDer::from_pem_file(folder.join("client.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(folder.join("client.key")).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    } else {
        builder.with_no_client_auth()
    })
}

/// The folder with the certificates.
fn certificates() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certificates");
        fs::create_dir_all(&path).unwrap();
        let folder = Folder::new(&path).unwrap();
        folder.make(&SERVER).unwrap();
        folder.make(&CLIENT).unwrap();
        path
    })
}
