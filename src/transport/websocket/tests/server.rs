//! Against tungstenite's server, over TCP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use ::tungstenite::handshake::server::{Request, Response};
use ::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use ::tungstenite::protocol::frame::{CloseFrame, Frame};
use ::tungstenite::{Message, accept_hdr};

use super::*;

with_each_engine! { conversation no_subprotocol }

type ServerSocket = ::tungstenite::WebSocket<TcpStream>;

/// A client connected to a server that answers with this subprotocol and then does as told.
struct Pair<E> {
    client: Client<E>,
    tcp: TcpStream,
    server: thread::JoinHandle<()>,
}

impl<E: Engine> Pair<E> {
    fn new(subprotocol: Option<&'static str>, script: fn(ServerSocket)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            #[allow(clippy::result_large_err)] // the callback's type is given
            let callback = move |request: &Request, mut response: Response| {
                assert_eq!(request.uri(), "/mqtt?x");
                assert_eq!(request.headers()["host"], std::format!("{address}"));
                assert_eq!(request.headers()["sec-websocket-protocol"], "mqtt");
                if let Some(name) = subprotocol {
                    response.headers_mut().insert("Sec-WebSocket-Protocol", name.parse().unwrap());
                }
                Ok(response)
            };
            script(accept_hdr(listener.accept().unwrap().0, callback).unwrap());
        });
        let tcp = TcpStream::connect(address).unwrap();
        let uri = std::format!("ws://u:p@{address}/mqtt?x");
        let mut out = Vec::new();
        let socket = WebSocket::connect(&Uri::parse(&uri).unwrap(), urandom, &mut out).unwrap();
        Self { client: Client { socket, up: Vec::new(), out }, tcp, server }
    }

    fn flush(&mut self) {
        self.tcp.write_all(&self.client.out).unwrap();
        self.client.out.clear();
    }

    /// Sends what is to be sent and receives until then.
    fn run(&mut self, done: impl Fn(&Client<E>) -> bool) -> Result<(), Error> {
        let mut buffer = [0; 1000];
        while !done(&self.client) {
            self.flush();
            let len = self.tcp.read(&mut buffer).unwrap();
            assert!(len > 0, "the server is gone");
            let result = self.client.receive(&buffer[..len]);
            self.flush();
            result?;
        }
        Ok(())
    }
}

fn urandom(buffer: &mut [u8]) -> bool {
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(buffer)).is_ok()
}

fn conversation<E: Engine>() {
    let mut pair = Pair::<E>::new(Some("mqtt"), |mut socket| {
        let data =
            |opcode, payload: &[u8], last| Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(opcode), last));
        loop {
            match socket.read().unwrap() {
                Message::Binary(message) if message == "fragments" => {
                    socket.write(data(Data::Binary, b"one ", false)).unwrap();
                    socket.write(Message::Ping(vec![7; 125].into())).unwrap();
                    socket.write(data(Data::Continue, b"two ", false)).unwrap();
                    socket.write(data(Data::Continue, b"three", true)).unwrap();
                    socket.flush().unwrap();
                    assert_eq!(socket.read().unwrap(), Message::Pong(vec![7; 125].into()));
                }
                Message::Binary(message) if message == "close" => {
                    let frame = CloseFrame { code: CloseCode::Away, reason: "restart".into() };
                    socket.close(Some(frame.clone())).unwrap();
                    assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
                    return;
                }
                Message::Binary(echo) => socket.send(Message::Binary(echo)).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    });
    pair.run(|client| client.socket.is_open()).unwrap();
    for len in [1, 125, 126, 65_535, 65_536, 300_000] {
        pair.client.send(&pattern(len)).unwrap();
        pair.run(|client| client.up.len() >= len).unwrap();
        assert!(pair.client.up == pattern(len), "{len}");
        pair.client.up.clear();
    }
    pair.client.send(b"fragments").unwrap();
    pair.run(|client| client.up.len() >= 13).unwrap();
    assert_eq!(pair.client.up, b"one two three");
    pair.client.send(b"close").unwrap();
    assert_eq!(pair.run(|_| false), Err(Error::Closed(Some(1001))));
    pair.server.join().unwrap();

    let mut pair = Pair::<E>::new(Some("mqtt"), |mut socket| {
        let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!() };
        assert_eq!(frame.code, CloseCode::Normal);
        assert!(matches!(socket.flush(), Err(::tungstenite::Error::ConnectionClosed)));
    });
    pair.run(|client| client.socket.is_open()).unwrap();
    pair.client.socket.close(&mut pair.client.out);
    assert_eq!(pair.run(|_| false), Err(Error::Closed(Some(1000))));
    pair.server.join().unwrap();
}

fn no_subprotocol<E: Engine>() {
    for (subprotocol, result) in [(None, Ok(())), (Some("mqttv3.1"), Err(Error::Field("Sec-WebSocket-Protocol")))] {
        let mut pair = Pair::<E>::new(subprotocol, |_| {});
        assert_eq!(pair.run(|client| client.socket.is_open()), result);
        pair.server.join().unwrap();
    }
}
