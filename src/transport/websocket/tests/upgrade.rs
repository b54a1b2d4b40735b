//! Request and answer.

use super::logged::logged;
use super::*;

/// Any engine: none of it is theirs.
type Client = super::Client<Embedded>;

fn request(uri: &str) -> String {
    let mut out = b"before ".to_vec();
    let uri = Uri::parse(uri).unwrap();
    WebSocket::<Embedded>::connect(&uri, sample, &mut out).unwrap();
    // one allocation, and a fallible one
    assert!(out.len() <= 7 + request::MAX_REST + uri.host.len() + uri.path.len());
    String::from_utf8(out).unwrap()
}

/// What the client makes of this answer, whole and byte by byte.
fn answer(text: &str) -> Result<(), Error> {
    let mut client = Client::connecting(sample);
    let result = client.receive(text.as_bytes());
    assert_eq!(client.socket.is_open(), result.is_ok(), "{text}");
    let mut slow = Client::connecting(sample);
    assert_eq!(slow.receive_pieces(text.as_bytes().chunks(1)), result, "{text}");
    assert_eq!(client.up.len() + slow.up.len(), 0);
    result
}

/// The good answer with one part replaced.
fn changed(from: &str, to: &str) -> Result<(), Error> {
    assert!(ANSWER.contains(from));
    answer(&ANSWER.replace(from, to))
}

#[test]
fn requests() {
    assert_eq!(
        request("ws://u:secret@broker/mqtt"),
        "before GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    for (uri, path, host) in [
        ("ws://b", "/mqtt", "b"),
        ("ws://b/", "/", "b"),
        ("ws://b/a/b?c=d&e#f", "/a/b?c=d&e", "b"),
        ("ws://b?c=/d", "/?c=/d", "b"),
        ("ws://b:80", "/mqtt", "b"),
        ("ws://b:443", "/mqtt", "b:443"),
        ("wss://b:443", "/mqtt", "b"),
        ("wss://b:80", "/mqtt", "b:80"),
        ("ws://b:9", "/mqtt", "b:9"),
        ("ws://10.0.0.2:65535", "/mqtt", "10.0.0.2:65535"),
        ("ws://[::1]", "/mqtt", "[::1]"),
        ("ws://[1:2:3:4:5:6:7:8]:10000?", "/?", "[1:2:3:4:5:6:7:8]:10000"),
        ("wss://[fe80::1]:8084/x", "/x", "[fe80::1]:8084"),
    ] {
        let request = request(uri);
        assert!(request.starts_with(&std::format!("before GET {path} HTTP/1.1\r\nHost: {host}\r\n")), "{request}");
    }
}

#[test]
fn accepted() {
    for (from, to) in [
        ("", ""),
        (" Switching Protocols", ""),
        ("\r\n", "\n"),
        ("Upgrade: websocket", "UPGRADE:WebSocket \t"),
        ("Connection: Upgrade", "connection: keep-alive , upgrade"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
        ("Connection: Upgrade", "Connection: Upgrade\r\nConnection: keep-alive"),
        ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket"),
        ("Sec-WebSocket-Protocol: mqtt", "sec-websocket-protocol: mqtt\r\nsec-websocket-protocol: mqtt"),
        ("Upgrade: websocket", "Sec-WebSocket-Extensions:\r\nUpgrade: websocket"),
        ("Upgrade: websocket", "Server: x\r\nDate: y\r\nX: \u{fc}\r\nUpgrade: websocket"),
    ] {
        assert_eq!(changed(from, to), Ok(()), "{to}");
    }
}

#[test]
fn no_subprotocol() {
    let (result, lines) = logged(|| changed("Sec-WebSocket-Protocol: mqtt\r\n", ""));
    assert_eq!(result, Ok(()));
    // Two connections, one of them byte by byte.
    assert_eq!(lines, ["WARN: WebSocket: no Sec-WebSocket-Protocol in the answer"; 2]);
    assert_eq!(logged(|| changed("", "")), (Ok(()), vec![]));
    // Without the others it is refused, and no warning tells of it.
    for field in ["Upgrade: w", "Connection: U", "Sec-WebSocket-Accept"] {
        let answer_without = ANSWER.replace("Sec-WebSocket-Protocol: mqtt\r\n", "").replace(field, "X: ");
        let (result, lines) = logged(|| answer(&answer_without));
        assert!(matches!(result, Err(Error::Field(name)) if field.starts_with(name)), "{field}: {result:?}");
        assert_eq!(lines, [""; 0]);
    }
}

#[test]
fn interim_answers_are_skipped() {
    // RFC 9110 section 15.2
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nLink: </script.js>\r\n\r\n";
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 100 Continue\n\n",
        "HTTP/1.1 102 Processing\r\nServer: x\r\n\r\n",
        hints,
        "HTTP/1.1 199 \r\nSec-WebSocket-Protocol: other\r\n\r\n",
    ] {
        for count in [1, 2, 5] {
            let interim = interim.repeat(count);
            assert_eq!(answer(&(interim.clone() + ANSWER)), Ok(()), "{interim}");
            // What comes at last counts, and comes it must.
            assert_eq!(answer(&(interim.clone() + "HTTP/1.1 403 Forbidden\r\n\r\n")), Err(Error::Status(403)));
            assert_eq!(answer(&(interim.clone() + "\x20\x02\0\x01\r\n\r\n")), Err(Error::Answer("not in HTTP/1.1")));
            let mut client = Client::connecting(sample);
            assert_eq!(client.receive(interim.as_bytes()), Ok(()));
            assert!(!client.socket.is_open());
            assert_eq!(client.receive(ANSWER.as_bytes()), Ok(()));
            assert!(client.socket.is_open());
        }
    }
    // No field of an interim answer counts for the final one.
    let without = ANSWER.replace("Upgrade: websocket\r\n", "");
    assert_eq!(
        answer(&("HTTP/1.1 100 \r\nUpgrade: websocket\r\n\r\n".to_owned() + &without)),
        Err(Error::Field("Upgrade"))
    );
    // A blank line before the answer is the same behind an interim one.
    assert_eq!(answer(&std::format!("\r\n{ANSWER}")), Ok(()));
    assert_eq!(answer(&std::format!("HTTP/1.1 100 \r\n\r\n\r\n{ANSWER}")), Ok(()));
    // Frames may stand right behind.
    let mut client = Client::connecting(sample);
    client.receive(&[hints.as_bytes(), ANSWER.as_bytes(), &frame(0x82, b"at once")].concat()).unwrap();
    assert_eq!(client.up, b"at once");
}

#[test]
fn interim_answers_count_for_the_longest_head() {
    let interim = "HTTP/1.1 100 \r\n\r\n";
    let count = (8192 - ANSWER.len()) / interim.len();
    let padding = "HTTP/1.1 100 \r\nA:\r\n\r\n";
    assert_eq!(answer(&(interim.repeat(count) + ANSWER)), Ok(()));
    assert_eq!(answer(&(interim.repeat(count + 1) + ANSWER)), Err(Error::HeadTooLong));
    assert_eq!(Client::connecting(sample).receive(padding.repeat(1000).as_bytes()), Err(Error::HeadTooLong));
}

#[test]
fn refused() {
    let [upgrade, connection] = [Error::Field("Upgrade"), Error::Field("Connection")];
    let [wrong, protocol] = [Error::Field("Sec-WebSocket-Accept"), Error::Field("Sec-WebSocket-Protocol")];
    let extension = Error::Field("Sec-WebSocket-Extensions");
    let http = Error::Answer("not in HTTP/1.1");
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for (from, to, error) in [
        ("Upgrade: websocket\r\n", "", upgrade),
        ("Upgrade: websocket", "Upgrade: h2c", upgrade),
        ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c", upgrade),
        ("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket", upgrade),
        ("Connection: Upgrade\r\n", "", connection),
        ("Connection: Upgrade", "Connection: keep-alive, upgraded", connection),
        (accept, "", wrong),
        ("s3pPL", "S3pPL", wrong),
        ("xOo=", "xOo", wrong),
        (accept, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Accept: x\r\n", wrong),
        ("Protocol: mqtt", "Protocol: mqttv3.1", protocol),
        ("Protocol: mqtt", "Protocol: mqtt, mqttv3.1", protocol),
        ("Protocol: mqtt", "Protocol:", protocol),
        ("Upgrade: websocket", "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: websocket", extension),
        ("HTTP/1.1", "HTTP/1.0", http),
        ("HTTP/1.1", "HTTP/2.0", http),
        ("HTTP/1.1", "\r\n\r\nHTTP/1.1", http),
        ("Upgrade: websocket\r\n", "Upgrade: websocket\r\n folded\r\n", http),
        ("Upgrade: websocket", "Upgrade : websocket", http),
        ("Upgrade: websocket", "no colon", http),
        (" 101 Switching Protocols", "", http),
        (" 101 ", " 1010 ", http),
        (" 101 ", " 404 ", Error::Status(404)),
        (" 101 ", " 200 ", Error::Status(200)),
        ("1.1 101 ", "1.0 503 ", Error::Status(503)),
        (" 101 ", " 000 ", Error::Status(0)),
    ] {
        assert_eq!(changed(from, to), Err(error), "{to}");
    }
    assert_eq!(answer("HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\nbody"), Err(Error::Status(302)));
    // what a broker says on its MQTT port
    assert_eq!(answer("\x20\x02\0\x01\r\n\r\n"), Err(http));
}

#[test]
fn many_fields() {
    let with = |extra: usize| changed("Upgrade: w", &std::format!("{}Upgrade: w", "A: b\r\n".repeat(extra)));
    assert_eq!(with(28), Ok(()));
    assert_eq!(with(29), Err(Error::Answer("more than 32 header fields")));
    assert_eq!(with(1200), Err(Error::Answer("more than 32 header fields")));
    let error = std::format!("HTTP/1.1 403 Forbidden\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert_eq!(answer(&error), Err(Error::Status(403)));
}

#[test]
fn long_head() {
    let padded = |len: usize| {
        let padding = std::format!("A: {}\r\nUpgrade: w", "x".repeat(len - ANSWER.len() - 5));
        ANSWER.replace("Upgrade: w", &padding)
    };
    assert_eq!(padded(8192).len(), 8192);
    assert_eq!(answer(&padded(8192)), Ok(()));
    assert_eq!(answer(&padded(8193)), Err(Error::HeadTooLong));
    let mut client = Client::connecting(sample);
    assert_eq!(client.receive(&[b'x'; 8192]), Ok(()));
    assert_eq!(client.receive(b"x"), Err(Error::HeadTooLong));
    assert_eq!(Client::connecting(sample).receive(&[b'\r'; 100_000]), Err(Error::HeadTooLong));
}

#[test]
fn not_open_yet() {
    let mut client = Client::connecting(sample);
    client.out.clear();
    assert!(!client.socket.is_open());
    assert_eq!(client.send(b"x"), Err(Error::NotOpen));
    assert_eq!(client.receive(b""), Ok(()));
    client.socket.close(&mut client.out);
    assert!(client.out.is_empty());
}

#[test]
fn no_randomness() {
    let uri = Uri::parse("ws://b").unwrap();
    let mut out = Vec::new();
    assert_eq!(WebSocket::<Embedded>::connect(&uri, |_| false, &mut out).err(), Some(Error::NoRandom));
    assert!(out.is_empty());
}

#[test]
fn texts() {
    for (error, text) in [
        (Error::Status(301), "WebSocket: HTTP status 301; redirects are not followed"),
        (Error::Status(404), "WebSocket: HTTP status 404"),
        (Error::Closed(Some(1001)), "WebSocket: closed by the server with code 1001"),
        (Error::Closed(None), "WebSocket: closed by the server"),
        (Error::Answer("not in HTTP/1.1"), "WebSocket: bad answer: not in HTTP/1.1"),
        (Error::Field("Upgrade"), "WebSocket: missing or wrong in the answer: Upgrade"),
        (Error::Protocol(violation::TEXT), "WebSocket: the server sent a text message"),
    ] {
        assert_eq!(std::format!("{error}"), text);
    }
}
