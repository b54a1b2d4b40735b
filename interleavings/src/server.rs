//! The broker: one task that answers at once, unless a scenario wants it otherwise.

use std::collections::{BTreeMap, BTreeSet};

use crate::net;
use crate::wire::{self, FromClient, FromServer, Publish};
use crate::world::{self, Place, note, sleep, wake, with};

#[derive(Default)]
struct Session {
    /// QoS 2 identifiers that are not released.
    unreleased: BTreeSet<u16>,
    /// Sent with QoS 1 and not acknowledged.
    unacknowledged: Vec<Publish>,
    last_id: u16,
}

#[derive(Default)]
pub(crate) struct Server {
    is_over: bool,
    /// Client identifiers by connection.
    clients: BTreeMap<usize, String>,
    sessions: BTreeMap<String, Session>,
    /// Connections that it will reset, each behind a packet that chance chooses.
    pub(crate) resets: u32,
    /// Messages with QoS 1 that it sends behind each SUBACK.
    pub(crate) messages: u32,
    /// How long SUBACK, UNSUBACK and PUBACK take: one of these.
    pub(crate) delays: Vec<u64>,
    /// PUBACKs are sent two at a time.
    pub(crate) in_pairs: bool,
    held: Vec<u8>,
    /// Refuses connections with this code.
    pub(crate) refuses: u8,
    /// Payloads of messages that came with QoS 1 and 2, once each for QoS 2.
    pub(crate) got: Vec<Vec<u8>>,
    /// Payloads of messages that a client has acknowledged.
    pub(crate) acknowledged: Vec<Vec<u8>>,
}

/// Starts the server.
pub(crate) fn start() -> world::Task {
    world::spawn("server", || {
        while let Some(id) = sleep(Place::Server, None, |w| {
            let mut conns = w.net.conns.iter_mut();
            let news = conns.find_map(|(id, conn)| std::mem::take(&mut conn.news).then_some(*id));
            match news {
                None if w.server.is_over => Some(None),
                news => news.map(Some),
            }
        })
        .flatten()
        {
            serve(id);
        }
    })
}

/// Ends it.
pub(crate) fn stop(task: world::Task) {
    with(|w| w.server.is_over = true);
    wake(Place::Server);
    task.join();
}

/// Everything that has come on a connection.
fn serve(id: usize) {
    loop {
        let packet = with(|w| {
            let conn = w.net.conns.get_mut(&id)?;
            let (packet, len) = wire::decode(&conn.input).expect("a client keeps to the protocol")?;
            conn.input.drain(..len);
            Some(packet)
        });
        let Some(packet) = packet else { break };
        note(|| format!("{packet:?}"));
        let ends = handle(id, packet);
        if ends || (with(|w| w.server.resets) > 0 && world::below(6) == 0) {
            if !ends {
                note(|| "resets the connection".into());
                with(|w| w.server.resets -= 1);
            }
            net::end(id, !ends);
            break;
        }
    }
    let is_gone = with(|w| w.net.conns.get(&id).is_some_and(|conn| conn.dropped));
    if is_gone {
        with(|w| {
            w.net.conns.remove(&id);
            w.server.clients.remove(&id);
        });
    } else if with(|w| w.net.conns.get(&id).is_some_and(|conn| conn.shut)) {
        net::end(id, false);
    }
}

/// A packet; whether it ends the connection.
fn handle(id: usize, packet: FromClient) -> bool {
    let client = with(|w| w.server.clients.get(&id).cloned());
    let reply = |packet: FromServer| net::send(id, &packet.encode());
    let late = || {
        let delays = with(|w| w.server.delays.clone());
        if !delays.is_empty() {
            world::nap(delays[world::below(delays.len() as u32) as usize]);
        }
    };
    let session = |look: &mut dyn FnMut(&mut Session)| {
        let client = client.clone().expect("CONNECT comes first");
        with(|w| look(w.server.sessions.entry(client).or_default()));
    };
    match packet {
        FromClient::Connect { client_id, clean, .. } => {
            let code = with(|w| w.server.refuses);
            let client = String::from_utf8(client_id).expect("checked");
            let (present, again) = with(|w| {
                if clean {
                    w.server.sessions.remove(&client);
                }
                w.server.clients.insert(id, client.clone());
                let present = w.server.sessions.contains_key(&client);
                let session = w.server.sessions.entry(client).or_default();
                let again: Vec<u8> = session
                    .unacknowledged
                    .iter()
                    .flat_map(|message| Publish { dup: true, ..message.clone() }.encode())
                    .collect();
                (present, again)
            });
            reply(FromServer::ConnAck { present: present && code == 0, code });
            if code != 0 {
                return true;
            }
            net::send(id, &again);
        }
        FromClient::Publish(message) => {
            let mut is_new = true;
            session(&mut |session| is_new = message.qos < 2 || session.unreleased.insert(message.id));
            if message.qos > 0 && is_new {
                with(|w| w.server.got.push(message.payload.clone()));
            }
            match message.qos {
                0 => {}
                1 => {
                    late();
                    let bytes = with(|w| {
                        let server = &mut w.server;
                        let waits = server.in_pairs && server.held.is_empty();
                        server.held.extend(FromServer::PubAck(message.id).encode());
                        if waits { Vec::new() } else { std::mem::take(&mut server.held) }
                    });
                    net::send(id, &bytes);
                }
                _ => reply(FromServer::PubRec(message.id)),
            }
        }
        FromClient::PubRel(packet) => {
            session(&mut |session| {
                session.unreleased.remove(&packet);
            });
            reply(FromServer::PubComp(packet));
        }
        FromClient::PubAck(packet) => {
            let mut payload = Vec::new();
            session(&mut |session| {
                let at = session.unacknowledged.iter().position(|message| message.id == packet).expect("it was sent");
                payload = session.unacknowledged.remove(at).payload;
            });
            with(|w| w.server.acknowledged.push(payload));
        }
        FromClient::PubRec(_) | FromClient::PubComp(_) => panic!("nothing is sent with QoS 2"),
        FromClient::Subscribe { id: packet, .. } => {
            late();
            reply(FromServer::SubAck { id: packet, code: 1 });
            for _ in 0..with(|w| w.server.messages) {
                let mut bytes = Vec::new();
                session(&mut |session| {
                    session.last_id += 1;
                    let payload = format!("message {}", session.last_id).into_bytes();
                    let message = Publish {
                        topic: b"t".to_vec(),
                        payload,
                        qos: 1,
                        retain: false,
                        dup: false,
                        id: session.last_id,
                    };
                    bytes = message.encode();
                    session.unacknowledged.push(message);
                });
                net::send(id, &bytes);
            }
        }
        FromClient::Unsubscribe { id: packet, .. } => {
            late();
            reply(FromServer::UnsubAck(packet));
        }
        FromClient::PingReq => reply(FromServer::PingResp),
        FromClient::Disconnect => return true,
    }
    false
}
