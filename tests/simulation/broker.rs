//! A broker: persistent sessions, three levels of QoS both ways, and bad manners on request. It fails the test when a
//! client breaks the standard.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::app::serial;
use super::hostile::Trick;
use super::manners::Style;
#[cfg(feature = "tls")]
use super::tls;
use super::websocket;
use super::wire::{self, FromClient, FromServer, Publish, Will};
use super::world::{World, with};

/// A TCP connection, as the broker sees it.
struct Link {
    client: Option<String>,
    /// Between the network and MQTT, if the client has begun with HTTP.
    websocket: Option<websocket::Server>,
    /// Between the network and all else, if the client has begun with a handshake.
    #[cfg(feature = "tls")]
    tls: Option<tls::Server>,
    input: Vec<u8>,
    output: Vec<u8>,
    flushing: bool,
    disconnected: bool,
    /// The client's half has ended, which is known when all before it was read.
    ended: bool,
    keep_alive: u64,
    last_packet: u64,
    /// Place of the last PUBLISH in the order of the client's messages.
    published: Option<usize>,
    /// Which messages were released, and the last one's place in the order of PUBREC.
    released: (BTreeSet<u16>, u64),
    /// CONNECT came and will never be answered.
    ignored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// PUBLISH sent, on this connection if there is one.
    Sent,
    /// PUBREL sent.
    Released,
}

struct Outgoing {
    message: Publish,
    stage: Stage,
    /// How many connections it was sent on.
    tries: u32,
}

/// A client's session.
#[derive(Default)]
struct Session {
    clean: bool,
    subscriptions: BTreeMap<String, u8>,
    in_flight: VecDeque<Outgoing>,
    waiting: VecDeque<Publish>,
    last_id: u16,
    /// Messages with QoS 2 between PUBLISH and PUBREL, by identifier.
    unreleased: BTreeSet<u16>,
    /// The places of their PUBREC packets in the order of all, also when PUBREL has come.
    received: BTreeMap<u16, u64>,
    link: Option<usize>,
}

/// A message that a session owes to its client.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) client: String,
    pub(crate) serial: u64,
    pub(crate) qos: u8,
}

/// What has come of a message from a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrival {
    /// How often it was taken as a message.
    pub(crate) taken: u32,
    /// A PUBLISH of it has come, on any connection: its place in the order of the client's messages, if its QoS has one.
    seen: bool,
    place: usize,
}

pub(crate) struct Broker {
    pub(crate) up: bool,
    pub(crate) style: Style,
    links: BTreeMap<usize, Link>,
    sessions: BTreeMap<String, Session>,
    pub(crate) arrivals: BTreeMap<u64, Arrival>,
    /// Serial numbers of messages with QoS above 0 in the order of their first arrival, by client.
    pub(crate) order: BTreeMap<String, Vec<u64>>,
    pub(crate) owed: Vec<Owed>,
    /// Clients whose persistent sessions were lost.
    pub(crate) forgotten: BTreeSet<String>,
    /// Messages that a client has acknowledged and not told.
    pub(crate) given_up: Vec<u64>,
    #[cfg(feature = "tls")]
    tls: tls::Configs,
    /// What becomes of what is said next.
    pub(crate) tricks: VecDeque<Trick>,
    pub(crate) connects: u64,
    /// That of the last CONNECT.
    pub(crate) will: Option<Will>,
    /// PUBREC packets for messages that wait for PUBREL.
    received: u64,
    /// Messages that came from elsewhere or were passed on, for each client that wants them.
    pub(crate) routed: u64,
    /// Connections that ended with DISCONNECT, and without.
    pub(crate) graceful: u64,
    pub(crate) lost: u64,
    pub(crate) pings: u64,
    /// Of WebSocket.
    pub(crate) close_frames: u64,
    pub(crate) acknowledged: u64,
    /// The longest silence of a client in units of its keep-alive time, in percent.
    pub(crate) longest_silence: u64,
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            up: true,
            style: Style::GOOD,
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            order: BTreeMap::new(),
            owed: Vec::new(),
            forgotten: BTreeSet::new(),
            given_up: Vec::new(),
            #[cfg(feature = "tls")]
            tls: tls::Configs::default(),
            tricks: VecDeque::new(),
            connects: 0,
            will: None,
            received: 0,
            routed: 0,
            graceful: 0,
            lost: 0,
            pings: 0,
            close_frames: 0,
            acknowledged: 0,
            longest_silence: 0,
        }
    }
}

/// Whether `filter` selects `topic` (section 4.7).
pub(crate) fn selects(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// Something in the world that the broker does, with the world at hand.
fn act(deed: impl FnOnce(&mut Broker, &mut World)) {
    with(|w| {
        let mut broker = std::mem::take(&mut w.broker);
        // whoever looks meanwhile must see these
        w.broker.up = broker.up;
        deed(&mut broker, w);
        w.broker = broker;
    });
}

/// A connection has come.
pub(crate) fn accept(id: usize) {
    act(|broker, w| {
        let link = Link {
            client: None,
            websocket: None,
            #[cfg(feature = "tls")]
            tls: None,
            input: Vec::new(),
            output: Vec::new(),
            flushing: false,
            disconnected: false,
            ended: false,
            keep_alive: 0,
            last_packet: w.now,
            published: None,
            released: Default::default(),
            ignored: false,
        };
        broker.links.insert(id, link);
    });
}

/// Bytes have come.
pub(crate) fn readable(id: usize) {
    act(|broker, w| broker.readable(w, id));
}

/// The client has ended its half.
pub(crate) fn end_of_stream(id: usize) {
    act(|broker, w| {
        if let Some(link) = broker.links.get_mut(&id) {
            link.ended = true;
        }
        broker.end_of_stream(w, id);
    });
}

/// The connection is gone.
pub(crate) fn link_gone(id: usize) {
    act(|broker, w| {
        w.conns[id].at_server = false;
        broker.unlink(id);
    });
}

/// From now on the broker reads, answers, and behaves, but for what it is sloppy in. It forgets connections whose other end
/// it does not hear, and those where a record's length is spoilt: the client waits for the rest of it.
pub(crate) fn behave() {
    act(|broker, w| {
        broker.up = true;
        broker.style = broker.style.behaved();
        broker.tricks.clear();
        let silent = broker.links.iter().filter(|(id, link)| w.conns[**id].stalled_until > w.now || link.is_spoilt());
        for id in silent.map(|(id, _)| *id).collect::<Vec<_>>() {
            w.conns[id].at_server = false;
            broker.unlink(id);
        }
    });
    look();
}

/// The server forgets one connection, and the client does not hear of it; or only when it says something.
pub(crate) fn vanish_one(resets: bool) {
    act(|broker, w| {
        let links: Vec<usize> = broker.links.keys().copied().collect();
        if !links.is_empty() {
            let id = links[w.rng.below(links.len())];
            (w.conns[id].at_server, w.conns[id].resets) = (false, resets);
            broker.unlink(id);
        }
    });
}

/// Reads what has come meanwhile.
pub(crate) fn look() {
    act(|broker, w| {
        let links: Vec<usize> = broker.links.keys().copied().collect();
        for id in links {
            broker.readable(w, id);
            broker.end_of_stream(w, id);
        }
    });
}

/// All connections break; with `up` false nobody can connect either.
pub(crate) fn die(up: bool) {
    let links = with(|w| {
        w.broker.up = up;
        w.broker.links.keys().copied().collect::<Vec<_>>()
    });
    with(|w| links.iter().for_each(|id| w.reset(*id)));
}

/// The sessions of clients that are not connected are lost.
pub(crate) fn lose_sessions() {
    act(|broker, _| {
        let idle = broker.sessions.iter().filter(|(_, session)| session.link.is_none());
        let clients: Vec<String> = idle.map(|(client, _)| client.clone()).collect();
        clients.iter().for_each(|client| broker.forget(client));
        broker.forgotten.extend(clients);
    });
}

/// One connection breaks, if there is one.
pub(crate) fn break_one() {
    with(|w| {
        let links: Vec<usize> = w.broker.links.keys().copied().collect();
        if !links.is_empty() {
            let id = links[w.rng.below(links.len())];
            w.reset(id);
        }
    });
}

/// Nothing gets through on one connection for a while.
pub(crate) fn stall_one(ms: u64) {
    with(|w| {
        let links: Vec<usize> = w.broker.links.keys().copied().collect();
        if !links.is_empty() {
            let id = links[w.rng.below(links.len())];
            // Who stands still for good does not go on sooner.
            w.conns[id].stalled_until = w.conns[id].stalled_until.max(w.now + ms);
        }
    });
}

/// Ends connections from the server's side: of those that `in_order` accepts the layers before.
pub(crate) fn close_all(in_order: impl Fn(usize) -> bool) {
    act(|broker, w| {
        let links: Vec<usize> = broker.links.keys().copied().collect();
        for id in links {
            if in_order(id) {
                broker.end_layers(w, id);
            }
            w.server_close(id);
            broker.unlink(id);
        }
    });
}

/// Says this to one client, in one frame of its own.
#[cfg(feature = "websocket")]
pub(crate) fn say_at_once(client: &str, bytes: &[u8]) {
    act(|broker, w| {
        let id = broker.link_of(client).expect("connected");
        let link = broker.links.get_mut(&id).expect("connected");
        let len = (bytes.len() as u64).to_be_bytes();
        let bytes = if link.websocket.is_some() { [&[0x82, 127], &len[..], bytes].concat() } else { bytes.to_vec() };
        let bytes = link.records(w, bytes);
        w.server_write(id, &bytes);
    });
}

/// Somebody publishes.
pub(crate) fn publish(topic: &str, payload: &[u8], qos: u8) {
    act(|broker, w| broker.route(w, topic, payload, qos, false));
}

/// Bytes for one client that no broker should send.
pub(crate) fn say(client: &str, bytes: &[u8]) {
    act(|broker, w| {
        if let Some(link) = broker.sessions.get(client).and_then(|session| session.link) {
            broker.reply(w, link, bytes);
        }
    });
}

impl Link {
    fn is_spoilt(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.as_ref().is_some_and(|tls| tls.2);
        #[cfg(not(feature = "tls"))]
        false
    }

    /// As they leave, if there is TLS.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self))]
    fn records(&mut self, w: &mut World, bytes: Vec<u8>) -> Vec<u8> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.records(&mut w.rng, &bytes);
        }
        #[cfg(not(feature = "tls"))]
        let _ = w;
        bytes
    }
}

impl Broker {
    pub(crate) fn is_connected(&self, client: &str) -> bool {
        self.sessions.get(client).is_some_and(|session| session.link.is_some())
    }

    pub(crate) fn has_session(&self, client: &str) -> bool {
        self.sessions.contains_key(client)
    }

    pub(crate) fn links(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn link_of(&self, client: &str) -> Option<usize> {
        self.sessions.get(client)?.link
    }

    pub(crate) fn is_subscribed(&self, client: &str, topic: &str) -> bool {
        self.sessions.get(client).is_some_and(|session| session.subscriptions.keys().any(|f| selects(f, topic)))
    }

    /// Whether there is something yet for a client that is connected.
    pub(crate) fn owes(&self) -> bool {
        let connected = self.sessions.values().filter(|session| session.link.is_some());
        connected.into_iter().any(|session| !session.in_flight.is_empty() || !session.waiting.is_empty())
    }

    /// Ends the layers of a connection in order, if it has come so far.
    fn end_layers(&mut self, w: &mut World, id: usize) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.client.is_some()) else { return };
        let close_frame: &[u8] = if link.websocket.is_some() { b"\x88\x02\x03\xe8" } else { b"" };
        let end = link.records(w, close_frame.to_vec());
        w.server_write(id, &end);
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut link.tls {
            w.server_write(id, &tls.end());
        }
    }

    fn unlink(&mut self, id: usize) {
        let Some(link) = self.links.remove(&id) else { return };
        if link.disconnected {
            self.graceful += 1;
        } else if link.client.is_some() {
            self.lost += 1;
        }
        let Some(client) = link.client else { return };
        let Some(session) = self.sessions.get_mut(&client) else { return };
        if session.link == Some(id) {
            session.link = None;
            if session.clean {
                self.forget(&client);
            }
        }
    }

    fn forget(&mut self, client: &str) {
        self.sessions.remove(client);
        self.owed.retain(|owed| owed.client != client);
    }

    fn end_of_stream(&mut self, w: &mut World, id: usize) {
        let Some(link) = self.links.get(&id) else { return };
        // After DISCONNECT its manners say whether it closes.
        if self.style.reads && link.ended && !link.disconnected {
            w.server_close(id);
            self.unlink(id);
        }
    }

    fn readable(&mut self, w: &mut World, id: usize) {
        if !self.style.reads {
            return;
        }
        let mut bytes = w.server_read(id);
        let Some(link) = self.links.get_mut(&id) else { return };
        #[cfg(feature = "tls")]
        {
            if link.client.is_none() && link.websocket.is_none() && link.tls.is_none() && bytes.starts_with(&[22]) {
                link.tls = Some(self.tls.accept(&mut w.rng));
            }
            if let Some(tls) = &mut link.tls {
                let (carried, answer) = tls.receive(&bytes);
                w.server_write(id, &answer);
                bytes = carried;
            }
        }
        let begins = link.client.is_none() && link.websocket.is_none() && link.input.is_empty();
        if begins && bytes.starts_with(b"G") {
            link.websocket = Some(websocket::Server::default());
        }
        if let Some(websocket) = &mut link.websocket {
            let (carried, answer) = websocket.receive(&bytes);
            self.close_frames += std::mem::take(&mut websocket.closes);
            let answer = link.records(w, answer);
            w.server_write(id, &answer);
            bytes = carried;
        }
        link.input.extend(bytes);
        loop {
            let Some(link) = self.links.get_mut(&id) else { return };
            let (packet, len) = match wire::decode(&link.input) {
                Ok(Some(found)) => found,
                Ok(None) => return,
                Err(error) => panic!("a client breaks the protocol: {error}"),
            };
            link.input.drain(..len);
            // [MQTT-3.14.4-2]
            assert!(!link.disconnected, "a packet after DISCONNECT: {packet:?}");
            let silence = w.now - link.last_packet;
            if let Some(percent) = (100 * silence).checked_div(link.keep_alive) {
                self.longest_silence = self.longest_silence.max(percent);
            }
            link.last_packet = w.now;
            if link.ignored {
                continue;
            }
            match (link.client.clone(), packet) {
                (None, FromClient::Connect { client_id, clean, keep_alive, will, .. }) => {
                    self.will = will;
                    link.keep_alive = u64::from(keep_alive) * 1000;
                    self.connect(w, id, String::from_utf8(client_id).expect("checked"), clean);
                }
                // [MQTT-3.1.0-1] [MQTT-3.1.0-2]
                (None, other) => panic!("not CONNECT but {other:?}"),
                (Some(client), packet) => self.packet(w, id, client, packet),
            }
        }
    }

    fn connect(&mut self, w: &mut World, id: usize, client: String, clean: bool) {
        if w.rng.permille(self.style.ignores) {
            self.links.get_mut(&id).expect("a link").ignored = true;
            return;
        }
        if w.rng.permille(self.style.refuses) {
            self.reply(w, id, &FromServer::ConnAck { present: false, code: 3 }.encode());
            self.flush(w, id);
            w.server_close(id);
            self.links.remove(&id);
            return;
        }
        self.connects += 1;
        // [MQTT-3.1.4-2]
        if let Some(old) = self.sessions.get(&client).and_then(|session| session.link) {
            if w.rng.permille(500) {
                w.reset(old);
            } else {
                w.server_close(old);
            }
            self.unlink(old);
        }
        if clean || self.sessions.get(&client).is_some_and(|session| session.clean) {
            self.forget(&client);
        }
        let present = self.sessions.contains_key(&client);
        self.links.get_mut(&id).expect("a link").client = Some(client.clone());
        let session = self.sessions.entry(client.clone()).or_default();
        (session.clean, session.link) = (clean, Some(id));
        let mut output = FromServer::ConnAck { present: present || self.style.sloppy && clean, code: 0 }.encode();
        output[2] |= u8::from(self.style.sloppy) << 7;
        // [MQTT-4.4.0-1]
        for outgoing in &mut session.in_flight {
            match outgoing.stage {
                Stage::Released => {
                    output.extend(FromServer::PubRel(outgoing.message.id).encode());
                }
                Stage::Sent => {
                    outgoing.message.dup = true;
                    outgoing.tries += 1;
                    output.extend(outgoing.message.encode());
                }
            }
        }
        self.reply(w, id, &output);
        self.pump(w, &client);
    }

    fn packet(&mut self, w: &mut World, id: usize, client: String, packet: FromClient) {
        w.note(|| match &packet {
            FromClient::Publish(p) => {
                format!("{client} -> PUBLISH #{:?} qos {} id {} dup {}", serial(&p.payload), p.qos, p.id, p.dup)
            }
            other => format!("{client} -> {other:?}"),
        });
        match packet {
            FromClient::Connect { .. } => panic!("a second CONNECT"), // [MQTT-3.1.0-2]
            FromClient::Publish(message) => self.message(w, id, &client, message),
            FromClient::PubRel(packet) => {
                if self.style.acknowledges {
                    let hostile = self.style.hostile;
                    let session = self.session(&client);
                    let is_known = session.unreleased.remove(&packet);
                    let place = session.received.get(&packet).copied();
                    assert!(place.is_some() || !is_known || hostile, "PUBREL {packet} comes before PUBREC"); // [MQTT-4.3.3-1]
                    let (released, last) = &mut self.links.get_mut(&id).expect("a link").released;
                    if let Some(place) = place.filter(|_| released.insert(packet)) {
                        // [MQTT-4.6.0-4]
                        let before = std::mem::replace(last, place);
                        assert!(before < place || hostile, "PUBREL {packet} comes behind one whose PUBREC came later");
                    }
                    self.answer(w, id, FromServer::PubComp(packet));
                }
            }
            FromClient::PubAck(packet) => {
                self.acknowledged(w, &client, packet, 1);
                self.session(&client).in_flight.retain(|o| !(o.message.id == packet && o.message.qos == 1));
                self.pump(w, &client);
            }
            FromClient::PubRec(packet) => {
                if let Some(outgoing) = self.acknowledged(w, &client, packet, 2) {
                    outgoing.stage = Stage::Released;
                    self.answer(w, id, FromServer::PubRel(packet));
                }
            }
            FromClient::PubComp(packet) => {
                let wonders = self.style.wonders() && !self.forgotten.contains(&client);
                let session = self.session(&client);
                let known = session.in_flight.iter().position(|o| o.message.id == packet && o.stage == Stage::Released);
                assert!(known.is_some() || !wonders, "PUBCOMP {packet} for no PUBREL");
                known.map(|known| session.in_flight.remove(known));
                self.pump(w, &client);
            }
            FromClient::Subscribe { id: packet, filters } => {
                assert_eq!(filters.len(), 1);
                let (filter, qos) = filters.into_iter().next().expect("a filter");
                if w.rng.permille(self.style.ignores_subscription) {
                    return;
                }
                let mut code = if self.style.sloppy { 0x87 } else { 0x80 };
                if !w.rng.permille(self.style.refuses_subscription) {
                    code = qos;
                    let filter = String::from_utf8(filter).expect("checked");
                    self.session(&client).subscriptions.insert(filter, qos);
                }
                self.answer(w, id, FromServer::SubAck { id: packet, code });
            }
            FromClient::Unsubscribe { id: packet, filters } => {
                for filter in filters {
                    let filter = String::from_utf8(filter).expect("checked");
                    self.session(&client).subscriptions.remove(&filter);
                }
                self.answer(w, id, FromServer::UnsubAck(packet));
            }
            FromClient::PingReq => {
                self.pings += 1;
                let keep_alive = self.links[&id].keep_alive;
                if keep_alive <= 10_000 && w.rng.permille(w.faults.stop_at_ping) {
                    // Once: limits are put off once. The answer is there in time, or not sent before a limit is put off.
                    w.faults.stop_at_ping = 0;
                    if w.rng.permille(500) {
                        let ms = keep_alive + w.rng.between(0, 3000);
                        w.stop_mqtt_task(ms);
                    } else {
                        let ms = keep_alive + w.rng.between(1100, 3000);
                        w.sleep(ms);
                    }
                }
                if self.style.pongs {
                    self.answer(w, id, FromServer::PingResp);
                }
            }
            FromClient::Disconnect => {
                let closes = w.rng.permille(self.style.closes);
                let link = self.links.get_mut(&id).expect("a link");
                link.disconnected = true;
                let session = self.session(&client);
                if session.link == Some(id) {
                    session.link = None;
                    if session.clean {
                        self.forget(&client);
                    }
                }
                if closes {
                    #[cfg(feature = "tls")]
                    if let Some(tls) = self.links.get_mut(&id).and_then(|link| link.tls.as_mut())
                        && w.rng.permille(500)
                    {
                        let end = tls.end();
                        w.server_write(id, &end);
                    }
                    w.server_close(id);
                    self.unlink(id);
                }
            }
        }
    }

    fn session(&mut self, client: &str) -> &mut Session {
        self.sessions.get_mut(client).expect("a session")
    }

    /// A PUBLISH from a client.
    fn message(&mut self, w: &mut World, id: usize, client: &str, message: Publish) {
        let number = serial(&message.payload).unwrap_or_else(|| panic!("not a message of ours: {message:?}"));
        let arrival = self.arrivals.entry(number).or_default();
        if !arrival.seen {
            w.books.arrives(client, number);
        }
        if message.qos > 0 {
            // [MQTT-3.3.1-1]
            assert!(message.dup || !arrival.seen, "message {number} comes again without DUP");
            let order = self.order.entry(client.to_owned()).or_default();
            if !arrival.seen {
                arrival.place = order.len();
                order.push(number);
            }
            let before = self.links.get_mut(&id).expect("a link").published.replace(arrival.place);
            // [MQTT-4.6.0-1]
            assert!(
                before < Some(arrival.place),
                "message {number} comes behind one that was published later, or twice"
            );
        }
        arrival.seen = true;
        if message.qos > 0 && !self.style.acknowledges {
            return;
        }
        let mut new = true;
        if message.qos == 2 {
            let session = self.session(client);
            new = session.unreleased.insert(message.id);
            session.received.remove(&message.id);
            assert!(new || message.dup, "QoS 2 identifier {} is used again before PUBREL", message.id);
        }
        if self.style.sloppy && message.qos == 2 {
            for packet in [message.id, u16::MAX] {
                self.answer(w, id, FromServer::PubRec(packet));
            }
        }
        match message.qos {
            1 => self.answer(w, id, FromServer::PubAck(message.id)),
            2 => self.answer(w, id, FromServer::PubRec(message.id)),
            _ => {}
        }
        if new {
            self.arrivals.entry(number).or_default().taken += 1;
            let topic = String::from_utf8(message.topic).expect("checked");
            self.route(w, &topic, &message.payload, message.qos, message.retain);
        }
    }

    /// An acknowledgement of a PUBLISH: of one that was sent on this connection, whose event was accepted, and in order.
    fn acknowledged(&mut self, w: &World, client: &str, packet: u16, qos: u8) -> Option<&mut Outgoing> {
        self.acknowledged += 1;
        let forgives = self.style.forgives_order || self.forgotten.contains(client);
        let session = self.sessions.get_mut(client).expect("a session");
        let clean = session.clean;
        let mut sent = session.in_flight.iter_mut().filter(|o| o.message.qos == qos && o.stage == Stage::Sent);
        // [MQTT-4.6.0-2] [MQTT-4.6.0-3]
        let outgoing = match forgives {
            true => sent.find(|o| o.message.id == packet),
            false => sent.next(),
        };
        // A client that has not read the CONNACK of the new session takes its identifiers for those of the old one.
        if self.style.hostile || self.forgotten.contains(client) {
            return outgoing;
        }
        let outgoing = outgoing.unwrap_or_else(|| panic!("{client} acknowledges {packet}, which was not sent"));
        assert_eq!(outgoing.message.id, packet, "{client} acknowledges out of order");
        // What is larger than that is skipped.
        let told = outgoing.message.payload.len() <= w.limits.session.payload.into();
        let number = serial(&outgoing.message.payload).filter(|_| told);
        if let (Some(number), Some(token)) = (number, w.books.tokens.get(client))
            && !w.queue.accepted.contains(&(*token, number))
        {
            // Without memory it is given up in a session that ends with its connection, or after three connections; with it
            // another copy, which says the same.
            let given_up = forgives && (clean || outgoing.tries > 3 || self.given_up.contains(&number));
            assert!(given_up, "{client} acknowledges message {number} before its event was accepted");
            let is_it = |owed: &Owed| owed.client == client && owed.serial == number;
            let at = self.owed.iter().position(is_it).expect("it was owed");
            self.owed.remove(at);
            self.given_up.push(number);
        }
        Some(outgoing)
    }

    /// A message to all who want it.
    fn route(&mut self, w: &mut World, topic: &str, payload: &[u8], qos: u8, _retain: bool) {
        let mut links = Vec::new();
        for (client, session) in &mut self.sessions {
            let wanted = session.subscriptions.iter().filter(|(filter, _)| selects(filter, topic)).map(|(_, q)| *q);
            let Some(granted) = wanted.max() else { continue };
            self.routed += 1;
            let qos = qos.min(granted);
            let (topic, payload) = (topic.as_bytes().to_vec(), payload.to_vec());
            let dup = qos == 0 && self.style.sloppy;
            let message = Publish { topic, payload, qos, retain: false, dup, id: 0 };
            if qos > 0 {
                if let Some(serial) = serial(&message.payload) {
                    self.owed.push(Owed { client: client.clone(), serial, qos });
                }
                session.waiting.push_back(message);
                links.push((client.clone(), None));
            } else if session.link.is_some() {
                links.push((client.clone(), Some((session.link, message))));
            }
        }
        for (client, direct) in links {
            match direct {
                Some((Some(link), message)) => self.reply(w, link, &message.encode()),
                _ => self.pump(w, &client),
            }
        }
    }

    /// Sends a client what its window allows.
    fn pump(&mut self, w: &mut World, client: &str) {
        let window = self.style.window;
        let Some(session) = self.sessions.get_mut(client) else { return };
        let Some(link) = session.link else { return };
        let mut output = Vec::new();
        while window == 0 || session.in_flight.len() < window {
            let Some(mut message) = session.waiting.pop_front() else { break };
            loop {
                session.last_id = session.last_id.checked_add(1).unwrap_or(1);
                if session.in_flight.iter().all(|o| o.message.id != session.last_id) {
                    break;
                }
            }
            message.id = session.last_id;
            output.extend(message.encode());
            session.in_flight.push_back(Outgoing { message, stage: Stage::Sent, tries: 1 });
        }
        if !output.is_empty() {
            self.reply(w, link, &output);
        }
    }

    /// Answers a packet, maybe twice. What need not come in order with others may come later.
    fn answer(&mut self, w: &mut World, id: usize, packet: FromServer) {
        let times = 1 + usize::from(w.rng.permille(self.style.twice));
        let in_any_order = matches!(packet, FromServer::SubAck { .. } | FromServer::UnsubAck(_) | FromServer::PingResp);
        // Who is sloppy acknowledges in any order too.
        if (in_any_order || self.style.sloppy) && w.rng.permille(self.style.late) {
            let delay = w.rng.between(0, 3000);
            w.later(delay, move || act(|broker, w| broker.say(w, id, &packet, times)));
        } else {
            self.say(w, id, &packet, times);
        }
    }

    /// Sends a packet so often, and enters it in the order of all if it is PUBREC on the connection that the client has now.
    fn say(&mut self, w: &mut World, id: usize, packet: &FromServer, times: usize) {
        if let (FromServer::PubRec(message), Some(link)) = (packet, self.links.get(&id))
            && let Some(session) = link.client.as_ref().and_then(|client| self.sessions.get_mut(client))
            && session.link == Some(id)
            && session.unreleased.contains(message)
        {
            self.received += 1;
            session.received.entry(*message).or_insert(self.received);
        }
        self.reply(w, id, &packet.encode().repeat(times));
    }

    fn reply(&mut self, w: &mut World, id: usize, bytes: &[u8]) {
        let (low, high) = self.style.reply;
        let Some(link) = self.links.get_mut(&id) else { return };
        match self.tricks.pop_front() {
            Some(trick) => link.output.extend(trick.apply(bytes)),
            None => link.output.extend(bytes),
        }
        if !link.flushing {
            link.flushing = true;
            let delay = w.rng.between(low, high);
            w.later(delay, move || act(|broker, w| broker.flush(w, id)));
        }
    }

    fn flush(&mut self, w: &mut World, id: usize) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.flushing = false;
        let mut output = std::mem::take(&mut link.output);
        if output.len() > 1 && w.rng.permille(self.style.pieces) {
            link.output = output.split_off(1 + w.rng.below(output.len() - 1));
            link.flushing = true;
            let delay = w.rng.between(1, 2000);
            w.later(delay, move || act(|broker, w| broker.flush(w, id)));
        }
        if !output.is_empty() {
            let output = if link.websocket.is_some() { websocket::frames(&output) } else { output };
            let output = link.records(w, output);
            #[cfg(feature = "tls")]
            let output = match &mut link.tls {
                Some(tls) if w.rng.permille(w.faults.bad_tls) => {
                    let (records, ends) = tls.spoil(&mut w.rng, output);
                    if ends {
                        w.later(0, move || {
                            with(|w| w.server_close(id));
                            link_gone(id);
                        });
                    }
                    records
                }
                _ => output,
            };
            w.server_write(id, &output);
        }
    }
}
