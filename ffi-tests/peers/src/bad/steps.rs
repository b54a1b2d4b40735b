//! How far an honest server has come when it turns bad.

use super::Result;
use super::peer::Peer;

/// By its name: all that comes before, too.
pub struct Step {
    pub name: &'static str,
    pub run: fn(&mut Peer) -> Result,
}

pub const STEPS: &[Step] = &[
    Step { name: "start", run: |_| Ok(()) },
    Step { name: "hello", run: Peer::hello },
    // TLS 1.3
    Step { name: "hello13", run: |peer| peer.begin13().map(drop) },
    Step { name: "extensions13", run: |peer| up_to_extensions(peer).map(drop) },
    Step {
        name: "request13",
        run: |peer| {
            up_to_extensions(peer)?;
            peer.request13(&[])
        },
    },
    Step {
        name: "certificate13",
        run: |peer| {
            up_to_extensions(peer)?;
            peer.certificate13()
        },
    },
    Step { name: "verify13", run: |peer| up_to_verify(peer).map(drop) },
    Step { name: "finished13", run: Peer::accept13 },
    Step {
        name: "connack13",
        run: |peer| {
            peer.accept13()?;
            peer.connack()
        },
    },
    // TLS 1.2
    Step { name: "hello12", run: Peer::begin12 },
    Step {
        name: "certificate12",
        run: |peer| {
            peer.begin12()?;
            peer.certificate12()
        },
    },
    Step {
        name: "exchange12",
        run: |peer| {
            peer.begin12()?;
            peer.certificate12()?;
            peer.key_exchange12()
        },
    },
    Step { name: "done12", run: up_to_done },
    Step {
        name: "client12",
        run: |peer| {
            up_to_done(peer)?;
            peer.client_finished12().map(drop)
        },
    },
    Step {
        name: "change12",
        run: |peer| {
            up_to_done(peer)?;
            let keys = peer.client_finished12()?;
            peer.change12(keys).map(drop)
        },
    },
    Step { name: "finished12", run: Peer::accept12 },
    Step {
        name: "connack12",
        run: |peer| {
            peer.accept12()?;
            peer.connack()
        },
    },
    // WebSocket, without TLS
    Step { name: "request", run: |peer| peer.request().map(drop) },
    Step {
        name: "half-head",
        run: |peer| {
            let head = peer.request()?;
            peer.send(&head.as_bytes()[..head.len() / 2])
        },
    },
    Step { name: "upgrade", run: Peer::upgrade },
    Step {
        name: "frames",
        run: |peer| {
            peer.upgrade()?;
            peer.connack()
        },
    },
];

fn up_to_extensions(peer: &mut Peer) -> Result<super::tls13::Secrets> {
    let secrets = peer.begin13()?;
    peer.extensions13()?;
    Ok(secrets)
}

fn up_to_verify(peer: &mut Peer) -> Result<super::tls13::Secrets> {
    let secrets = up_to_extensions(peer)?;
    peer.certificate13()?;
    peer.verify13()?;
    Ok(secrets)
}

fn up_to_done(peer: &mut Peer) -> Result {
    peer.begin12()?;
    peer.certificate12()?;
    peer.key_exchange12()?;
    peer.done12()
}
