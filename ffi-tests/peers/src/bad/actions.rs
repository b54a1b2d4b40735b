//! What a server does then. Records are sealed where there are keys.

use super::Result;
use super::keys::{APPLICATION_DATA, hash};
use super::peer::{ALERT, CHANGE_CIPHER_SPEC, FRAGMENT, HANDSHAKE, Peer, extension, message, vector8, vector16};
use super::tls12::{HELLO_REQUEST, SERVER_HELLO_DONE, SERVER_KEY_EXCHANGE, certificates12, request12};
use super::tls13::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, ENCRYPTED_EXTENSIONS, FINISHED, KEY_UPDATE,
    NEW_SESSION_TICKET, SERVER_HELLO, certificates, hello, hello13, request13, ticket,
};
use super::websocket::{BINARY, CONTINUATION, FIN, PING, frame};

/// By its name.
pub struct Action {
    pub name: &'static str,
    pub run: fn(&mut Peer) -> Result,
}

const USER_CANCELED: u8 = 90;
const TEXT: u8 = 1;

pub const ACTIONS: &[Action] = &[
    Action { name: "serve", run: Peer::serve },
    Action { name: "silence", run: Peer::silence },
    Action { name: "close", run: Peer::close },
    Action { name: "reset", run: Peer::reset },
    Action { name: "half-record", run: |peer| then_silence(peer, |peer| peer.write(&[HANDSHAKE, 3, 3, 1, 0, 2, 0])) },
    Action {
        name: "half-record-close",
        run: |peer| {
            peer.write(&[HANDSHAKE, 3, 3, 1, 0, 2, 0])?;
            peer.close()
        },
    },
    // ---- other protocols ----
    Action {
        name: "http",
        run: |peer| then_close(peer, |peer| peer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")),
    },
    Action { name: "ssh", run: |peer| then_silence(peer, |peer| peer.write(b"SSH-2.0-OpenSSH_9.6\r\n")) },
    Action { name: "mqtt", run: |peer| then_silence(peer, |peer| peer.write(&[0x20, 2, 0, 0, 0xd0, 0])) },
    // ---- alerts ----
    Action { name: "close-notify", run: |peer| then_close(peer, |peer| peer.alert(1, 0)) },
    Action { name: "close-notify-alone", run: |peer| then_silence(peer, |peer| peer.alert(1, 0)) },
    Action { name: "fatal", run: |peer| then_close(peer, |peer| peer.alert(2, 40)) },
    Action { name: "unknown-alert", run: |peer| then_close(peer, |peer| peer.alert(2, 200)) },
    Action { name: "unknown-level", run: |peer| then_silence(peer, |peer| peer.alert(7, 40)) },
    Action { name: "short-alert", run: |peer| then_silence(peer, |peer| peer.record(ALERT, &[2])) },
    Action { name: "long-alert", run: |peer| then_silence(peer, |peer| peer.record(ALERT, &[2, 40, 0])) },
    Action { name: "warnings", run: |peer| flood_of(peer, ALERT, &[1, USER_CANCELED]) },
    // ---- records ----
    Action { name: "empty-handshake", run: |peer| flood_of(peer, HANDSHAKE, &[]) },
    Action { name: "empty-data", run: |peer| flood_of(peer, APPLICATION_DATA, &[]) },
    Action { name: "changes", run: |peer| peer.flood(|_| super::keys::record(CHANGE_CIPHER_SPEC, &[1])) },
    Action { name: "unknown-records", run: |peer| flood_of(peer, 99, &[1, 2, 3]) },
    Action { name: "too-long", run: |peer| then_silence(peer, |peer| peer.plain(HANDSHAKE, &[0; 0xffff])) },
    Action {
        name: "too-long-sealed",
        run: |peer| then_silence(peer, |peer| peer.record(APPLICATION_DATA, &[0; FRAGMENT + 1])),
    },
    Action { name: "damaged", run: |peer| then_silence(peer, |peer| peer.plain(APPLICATION_DATA, &[9; 64])) },
    // Three megabytes of a message that says it has 16.
    Action {
        name: "endless-message",
        run: |peer| {
            let mut first = true;
            peer.flood(|peer| {
                let head = [CERTIFICATE, 0xff, 0xff, 0xff];
                let head = if std::mem::take(&mut first) { &head[..] } else { &[0; 4][..] };
                peer.sealed(HANDSHAKE, &[head, &[0; 1000]].concat())
            })
        },
    },
    Action { name: "unknown-message", run: |peer| then_silence(peer, |peer| peer.say(77, &[0; 10])) },
    // ---- messages, in or out of place ----
    Action {
        name: "hello-requests",
        run: |peer| peer.flood(|peer| peer.sealed(HANDSHAKE, &message(HELLO_REQUEST, &[]))),
    },
    Action {
        name: "server-hello",
        run: |peer| {
            then_silence(peer, |peer| {
                let body = hello13(peer, 0x0304, 0x1303, 0x1d, &peer.own_share);
                peer.say(SERVER_HELLO, &body)
            })
        },
    },
    Action { name: "extensions", run: |peer| then_silence(peer, |peer| peer.say(ENCRYPTED_EXTENSIONS, &[0, 0])) },
    Action { name: "certificate", run: |peer| then_silence(peer, Peer::certificate13) },
    Action { name: "certificate12", run: |peer| then_silence(peer, Peer::certificate12) },
    Action { name: "exchange", run: |peer| then_silence(peer, Peer::key_exchange12) },
    Action { name: "verify", run: |peer| then_silence(peer, Peer::verify13) },
    Action { name: "done", run: |peer| then_silence(peer, Peer::done12) },
    Action { name: "finished", run: |peer| then_silence(peer, |peer| peer.say(FINISHED, &[7; 32])) },
    Action { name: "request", run: |peer| then_silence(peer, |peer| peer.request13(&[])) },
    Action {
        name: "bad-signature",
        run: |peer| {
            then_silence(peer, |peer| {
                let signature = peer.identity.sign(b"something else");
                peer.say(CERTIFICATE_VERIFY, &[&[4, 3][..], &vector16(&signature)].concat())
            })
        },
    },
    Action {
        name: "unknown-scheme",
        run: |peer| {
            then_silence(peer, |peer| peer.say(CERTIFICATE_VERIFY, &[&[0xfe, 0xfe][..], &vector16(&[1; 70])].concat()))
        },
    },
    Action {
        name: "bad-exchange",
        run: |peer| {
            then_silence(peer, |peer| {
                let parameters = [&[3, 0, 0x1d][..], &vector8(&peer.own_share)].concat();
                let signature = peer.identity.sign(b"something else");
                peer.say(SERVER_KEY_EXCHANGE, &[&parameters, &[4, 3][..], &vector16(&signature)].concat())?;
                peer.done12()
            })
        },
    },
    Action { name: "change", run: |peer| then_silence(peer, |peer| peer.plain(CHANGE_CIPHER_SPEC, &[1])) },
    Action { name: "done-with-body", run: |peer| then_silence(peer, |peer| peer.say(SERVER_HELLO_DONE, &[1, 2, 3])) },
    Action {
        name: "early-data",
        run: |peer| then_silence(peer, |peer| peer.record(APPLICATION_DATA, &[0x20, 2, 0, 0])),
    },
    Action { name: "ticket", run: |peer| then_silence(peer, |peer| peer.say(NEW_SESSION_TICKET, &ticket(100))) },
    Action { name: "key-update", run: |peer| then_silence(peer, |peer| peer.say(KEY_UPDATE, &[0])) },
    Action { name: "bad-key-update", run: |peer| then_silence(peer, |peer| peer.say(KEY_UPDATE, &[9])) },
    Action {
        name: "joined-with-next",
        // A message more in the record of the ServerHello, where the keys change.
        run: |peer| {
            then_silence(peer, |peer| {
                let body = hello13(peer, 0x0304, 0x1303, 0x1d, &peer.own_share);
                let both = [message(SERVER_HELLO, &body), message(ENCRYPTED_EXTENSIONS, &[0, 0])].concat();
                peer.record(HANDSHAKE, &both)
            })
        },
    },
    // ---- floods that are allowed, or are not obviously forbidden ----
    Action {
        name: "tickets",
        run: |peer| peer.flood(|peer| peer.sealed(HANDSHAKE, &message(NEW_SESSION_TICKET, &ticket(100)))),
    },
    Action {
        name: "large-tickets",
        run: |peer| peer.flood(|peer| peer.sealed(HANDSHAKE, &message(NEW_SESSION_TICKET, &ticket(FRAGMENT - 100)))),
    },
    Action { name: "key-updates", run: |peer| peer.flood(|peer| peer.key_update(false)) },
    Action { name: "key-updates-asking", run: |peer| peer.flood(|peer| peer.key_update(true)) },
    // One before each answer: nothing is wrong with that.
    Action {
        name: "serve-key-updates",
        run: |peer| {
            peer.serve_with(|peer| {
                let bytes = peer.key_update(false);
                peer.write(&bytes)
            })
        },
    },
    Action {
        name: "serve-tickets",
        run: |peer| {
            peer.serve_with(|peer| {
                let bytes = message(NEW_SESSION_TICKET, &ticket(100));
                (0..20).try_for_each(|_| peer.record(HANDSHAKE, &bytes))
            })
        },
    },
    Action {
        name: "serve-empty",
        run: |peer| peer.serve_with(|peer| (0..8).try_for_each(|_| peer.record(APPLICATION_DATA, &[]))),
    },
    // ---- ServerHello, after the ClientHello ----
    Action { name: "hello-ssl3", run: |peer| hello_of(peer, &[3, 0], 0x1303, None) },
    Action { name: "hello-tls11", run: |peer| hello_of(peer, &[3, 2], 0xc009, Some(&[])) },
    Action { name: "hello-no-suite", run: |peer| hello_of(peer, &[3, 3], 0x00ff, None) },
    Action { name: "hello-suite-not-offered", run: |peer| hello_of(peer, &[3, 3], 0x1304, None) },
    Action { name: "hello-suite-of-other-version", run: |peer| hello_of(peer, &[3, 3], 0xcca9, None) },
    Action {
        name: "hello-version-unknown",
        run: |peer| {
            hello_of(
                peer,
                &[3, 3],
                0x1303,
                Some(&[extension(43, &[3, 9]), extension(51, &[0, 0x1d, 0, 1, 1])].concat()),
            )
        },
    },
    Action { name: "hello-no-share", run: |peer| hello_of(peer, &[3, 3], 0x1303, Some(&extension(43, &[3, 4]))) },
    Action { name: "hello-group-not-offered", run: |peer| share_of(peer, 0x1e, &[1; 56]) },
    Action { name: "hello-share-empty", run: |peer| share_of(peer, 0x1d, &[]) },
    Action { name: "hello-share-short", run: |peer| share_of(peer, 0x1d, &[1; 31]) },
    Action { name: "hello-share-zero", run: |peer| share_of(peer, 0x1d, &[0; 32]) },
    Action {
        name: "hello-twice-extension",
        run: |peer| hello_of(peer, &[3, 3], 0x1303, Some(&[extension(43, &[3, 4]), extension(43, &[3, 4])].concat())),
    },
    Action {
        name: "hello-extension-not-asked",
        run: |peer| {
            let share = [&[0, 0x1d][..], &vector16(&peer.own_share)].concat();
            hello_of(
                peer,
                &[3, 3],
                0x1303,
                Some(&[extension(43, &[3, 4]), extension(51, &share), extension(16, &[0, 2, 1, b'x'])].concat()),
            )
        },
    },
    Action {
        name: "hello-psk-not-offered",
        run: |peer| {
            let share = [&[0, 0x1d][..], &vector16(&peer.own_share)].concat();
            hello_of(
                peer,
                &[3, 3],
                0x1303,
                Some(&[extension(43, &[3, 4]), extension(51, &share), extension(41, &[0, 0])].concat()),
            )
        },
    },
    Action { name: "hello-empty", run: |peer| then_silence(peer, |peer| peer.say(SERVER_HELLO, &[])) },
    Action {
        name: "hello-cut",
        run: |peer| {
            then_silence(peer, |peer| {
                let body = hello13(peer, 0x0304, 0x1303, 0x1d, &peer.own_share);
                peer.say(SERVER_HELLO, &body[..50])
            })
        },
    },
    Action {
        name: "hello-too-long",
        run: |peer| {
            then_silence(peer, |peer| {
                let body = hello13(peer, 0x0304, 0x1303, 0x1d, &peer.own_share);
                peer.say(SERVER_HELLO, &[body, vec![0; 9]].concat())
            })
        },
    },
    Action {
        name: "hello-many-extensions",
        run: |peer| {
            let many: Vec<u8> = (0x4000..0x5000).flat_map(|kind| extension(kind, &[])).collect();
            hello_of(peer, &[3, 3], 0x1303, Some(&many))
        },
    },
    Action { name: "retry-same", run: |peer| retry(peer, 0x1d) },
    Action { name: "retry-unknown", run: |peer| retry(peer, 0x6666) },
    Action {
        name: "retry-twice",
        run: |peer| {
            retry_once(peer, 0x17)?;
            peer.next_record()?; // for middleboxes
            retry(peer, 0x17)
        },
    },
    // ---- certificates ----
    Action { name: "no-certificates", run: |peer| chain_of(peer, 0, 0) },
    Action { name: "empty-certificates", run: |peer| chain_of(peer, 4, 0) },
    Action { name: "garbage-certificate", run: |peer| chain_of(peer, 1, 300) },
    Action { name: "eight-certificates", run: |peer| chain_of(peer, 8, 1) },
    Action { name: "nine-certificates", run: |peer| chain_of(peer, 9, 1) },
    Action { name: "tiny-certificates", run: |peer| chain_of(peer, 1000, 1) },
    Action { name: "many-tiny-certificates", run: |peer| chain_of(peer, 10_000, 1) },
    Action { name: "huge-certificate", run: |peer| chain_of(peer, 1, 60_000) },
    Action { name: "long-chain", run: |peer| chain_of(peer, 4, 16_300) },
    Action { name: "many-names", run: |peer| names_of(peer, 20_000, 1) },
    Action { name: "some-names", run: |peer| names_of(peer, 101, 20) },
    Action { name: "empty-names", run: |peer| names_of(peer, 3, 0) },
    // ---- WebSocket ----
    Action {
        name: "long-head",
        run: |peer| {
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nX: ")?;
            peer.flood(|_| vec![b'x'; 100])
        },
    },
    Action {
        name: "many-fields",
        run: |peer| {
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")?;
            peer.flood(|_| b"X: y\r\n".to_vec())
        },
    },
    Action { name: "continues", run: |peer| peer.flood(|_| b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()) },
    Action {
        name: "early-hints",
        run: |peer| peer.flood(|_| b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".to_vec()),
    },
    Action {
        name: "redirect",
        run: |peer| then_close(peer, |peer| peer.send(b"HTTP/1.1 302 Found\r\nLocation: http://localhost/\r\n\r\n")),
    },
    Action { name: "pings", run: |peer| peer.flood(|_| frame(FIN | PING, b"ping")) },
    Action { name: "pongs", run: |peer| peer.flood(|_| frame(FIN | 10, &[1; 125])) },
    Action { name: "empty-frames", run: |peer| peer.flood(|_| frame(FIN | BINARY, &[])) },
    Action {
        name: "fragments",
        run: |peer| {
            peer.send(&frame(BINARY, &[]))?;
            peer.flood(|_| frame(CONTINUATION, &[]))
        },
    },
    Action { name: "text", run: |peer| then_silence(peer, |peer| peer.send(&frame(FIN | TEXT, b"text"))) },
    Action {
        name: "reserved-bits",
        run: |peer| then_silence(peer, |peer| peer.send(&frame(FIN | BINARY | 0x40, b"x"))),
    },
    Action { name: "unknown-opcode", run: |peer| then_silence(peer, |peer| peer.send(&frame(FIN | 5, b"x"))) },
    Action { name: "masked", run: |peer| then_silence(peer, |peer| peer.send(&[FIN | BINARY, 0x81, 1, 2, 3, 4, 5])) },
    Action { name: "long-ping", run: |peer| then_silence(peer, |peer| peer.send(&frame(FIN | PING, &[1; 126]))) },
    Action { name: "cut-ping", run: |peer| then_silence(peer, |peer| peer.send(&frame(PING, b"x"))) },
    Action {
        name: "lone-continuation",
        run: |peer| then_silence(peer, |peer| peer.send(&frame(FIN | CONTINUATION, b"x"))),
    },
    Action {
        name: "huge-frame",
        run: |peer| {
            then_silence(peer, |peer| {
                peer.send(&[FIN | BINARY, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x30])
            })
        },
    },
    Action {
        name: "serve-pings",
        run: |peer| peer.serve_with(|peer| (0..20).try_for_each(|_| peer.send(&frame(FIN | PING, b"ping")))),
    },
    Action {
        name: "serve-empty-frames",
        run: |peer| peer.serve_with(|peer| (0..20).try_for_each(|_| peer.send(&frame(FIN | BINARY, &[])))),
    },
];

fn then_silence(peer: &mut Peer, run: impl FnOnce(&mut Peer) -> Result) -> Result {
    run(peer)?;
    peer.silence()
}

fn then_close(peer: &mut Peer, run: impl FnOnce(&mut Peer) -> Result) -> Result {
    run(peer)?;
    peer.close()
}

fn flood_of(peer: &mut Peer, kind: u8, payload: &[u8]) -> Result {
    peer.flood(|peer| peer.sealed(kind, payload))
}

/// A ServerHello with this version and suite, and these extensions or the right ones of TLS 1.3.
fn hello_of(peer: &mut Peer, version: &[u8; 2], suite: u16, extensions: Option<&[u8]>) -> Result {
    let mut body = match extensions {
        Some(extensions) => hello(peer, suite, extensions),
        None => hello13(peer, 0x0304, suite, 0x1d, &peer.own_share),
    };
    body[..2].copy_from_slice(version);
    then_silence(peer, |peer| peer.say(SERVER_HELLO, &body))
}

fn share_of(peer: &mut Peer, group: u16, share: &[u8]) -> Result {
    let body = hello13(peer, 0x0304, 0x1303, group, share);
    then_silence(peer, |peer| peer.say(SERVER_HELLO, &body))
}

/// A HelloRetryRequest for this group.
fn retry_once(peer: &mut Peer, group: u16) -> Result {
    let mut body = hello(peer, 0x1303, &[extension(43, &[3, 4]), extension(51, &group.to_be_bytes())].concat());
    body[2..34].copy_from_slice(&hash(b"HelloRetryRequest"));
    peer.say(SERVER_HELLO, &body)
}

fn retry(peer: &mut Peer, group: u16) -> Result {
    then_silence(peer, |peer| retry_once(peer, group))
}

/// A chain of so many certificates with so many bytes each, in the version that the keys tell.
fn chain_of(peer: &mut Peer, count: usize, len: usize) -> Result {
    let chain = vec![vec![0x30; len]; count];
    let body = if peer.seal.is_some() { certificates(&chain) } else { certificates12(&chain) };
    then_silence(peer, |peer| {
        peer.say(CERTIFICATE, &body)?;
        if peer.seal.is_some() {
            return peer.verify13();
        }
        peer.key_exchange12()?;
        peer.done12()
    })
}

/// A CertificateRequest with so many names of so many bytes each, and what should follow.
fn names_of(peer: &mut Peer, count: usize, len: usize) -> Result {
    let names = vec![vec![0x30; len]; count];
    then_silence(peer, |peer| {
        if peer.seal.is_some() {
            peer.say(CERTIFICATE_REQUEST, &request13(&names))?;
            peer.certificate13()?;
            return peer.verify13();
        }
        peer.say(CERTIFICATE_REQUEST, &request12(&names))?;
        peer.done12()
    })
}
