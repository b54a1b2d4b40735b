//! The session as a machine: calls of its owner, bytes of a server, cut anywhere, and time, in any order. Beside it goes a
//! [model](model::Model) of what it has promised. At the end a server comes that does what it should, and then nothing may be left.

mod model;

use std::collections::VecDeque;
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use wm_mqtt_client::protocol::{
    Connect, Event, Limits, PublishError, QoS, Session, SubscribeError, TimeoutError, Violation, Will,
};
use wm_mqtt_client::time::{Instant, Millis};

use self::model::{Message, Model, Outcome, Phase, Receipt};
use crate::heap::{Bytes, fail_allocation};
use crate::server::{self, Stop};
use crate::wire::{FromClient, FromServer, Publish};

/// Prints what happens, with FUZZ_TRACE=1 in the environment.
macro_rules! trace {
    ($($what:tt)*) => {
        if $crate::session::is_traced() {
            eprintln!($($what)*);
        }
    };
}
use trace;

fn is_traced() -> bool {
    static TRACED: OnceLock<bool> = OnceLock::new();
    *TRACED.get_or_init(|| std::env::var_os("FUZZ_TRACE").is_some())
}

const TOPICS: [&str; 4] = ["t", "a/b", "é/of a topic that is longer than the others", "/"];
const LENGTHS: [usize; 10] = [0, 1, 5, 20, 100, 300, 505, 520, 700, 2000];

/// Limits first, then actions until the bytes are used up.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    fail_allocation(0);
    let Ok(mut machine) = Machine::new(&mut input) else { return };
    while !input.is_empty() {
        match machine.step(&mut input) {
            Ok(true) => {}
            // An owner that goes on after an error is not told the truth, but is not punished with a panic.
            Ok(false) => return machine.poke(input.take_rest()),
            Err(_) => break,
        }
    }
    machine.finish();
}

struct Machine {
    session: Session<Bytes>,
    model: Model,
    limits: Limits,
    now: Instant,
    /// Of messages whose event nobody has accepted yet.
    receipts: VecDeque<(wm_mqtt_client::protocol::Receipt, Receipt)>,
    /// What the server has sent and the session has not been given.
    arriving: Vec<u8>,
    /// What the session was given, down to the end of the last packet.
    taken: Vec<u8>,
    /// What a server answers to what it has received.
    answers: VecDeque<FromServer>,
    /// There is no memory for the message that is coming.
    is_refused: bool,
    /// What the session writes into.
    buffer: Vec<u8>,
    /// Bytes that were handed over and are not with the network.
    held: usize,
    /// All has left since the session was last asked for something.
    is_quiet: bool,
    keep_alive: Millis,
    last_sent: Instant,
    last_received: Instant,
    last_ping: Instant,
    reading: bool,
}

impl Machine {
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let limits = Limits {
            window: [20, 1, 2, 5][usize::from(input.arbitrary::<u8>()? & 3)],
            outgoing: [4096, 1, 100, 64 * 1024][usize::from(input.arbitrary::<u8>()? & 3)],
            payload: [u16::MAX, 16, 600, 0][usize::from(input.arbitrary::<u8>()? & 3)],
        };
        let now = Instant::from_millis(1_000_000);
        Ok(Self {
            session: Session::new(limits, None),
            model: Model::new(limits.payload),
            limits,
            now,
            receipts: VecDeque::new(),
            arriving: Vec::new(),
            taken: Vec::new(),
            answers: VecDeque::new(),
            is_refused: false,
            buffer: vec![0; 4096],
            held: 0,
            is_quiet: false,
            keep_alive: 0,
            last_sent: now,
            last_received: now,
            last_ping: now,
            reading: true,
        })
    }

    /// One action; whether the session's owner behaves.
    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<bool> {
        let action: u8 = input.arbitrary()?;
        let argument = usize::from(action >> 5);
        match action & 31 {
            0 => {
                self.close();
                self.connect(&connect_of(input)?);
            }
            // With a server that accepts.
            1 | 2 => {
                self.close();
                self.connect(&Connect { clean_session: argument == 1, ..connect_of(&mut Unstructured::new(&[0; 8]))? });
                self.flush();
                let present = argument > 1;
                self.arriving = FromServer::ConnAck { present, code: 0 }.encode();
                return Ok(self.receive(usize::MAX, argument & 1 == 0));
            }
            3 => self.close(),
            4 => {
                self.session.disconnect();
                self.model.disconnect();
                self.is_quiet = false;
            }
            5..=8 => self.publish(usize::from(action & 31) - 5, argument, input)?,
            9 => self.subscribe(argument)?,
            10 => self.forget(argument),
            11 | 12 => self.accept(),
            13 | 14 => drop(self.transmit([1, 2, 3, 7, 50, 600, 1000, 4096][argument])),
            15 => self.flush(),
            16 => self.confirm([1, 2, 5, 20, 100, 1000, 10_000, usize::MAX][argument].min(self.held)),
            17 | 18 => return Ok(self.receive([1, 2, 3, 10, 100, 1000, 0, usize::MAX][argument], input.arbitrary()?)),
            19 | 20 => {
                for _ in 0..=argument {
                    self.arriving.extend(self.answers.pop_front().iter().flat_map(FromServer::encode));
                }
            }
            21 => drop(self.answers.pop_front()),
            22..=24 => {
                let packet = self.packet(action, input)?;
                self.arriving.extend(packet.encode());
            }
            25 => self.arriving.extend(input.bytes(argument + 1)?),
            26 => {
                self.now = self.now + [1, 99, 500, 950, 1900, 2000, 5000, 30_000][argument];
                return Ok(self.handle_timeout());
            }
            27 => {
                // At the very moment.
                self.now = match self.session.deadline() {
                    Instant::NEVER => self.now,
                    deadline => deadline.max(self.now),
                };
                return Ok(self.handle_timeout());
            }
            28 => {
                let reading = argument & 1 == 0;
                if reading && !self.reading {
                    self.last_received = self.now;
                }
                self.reading = reading;
                self.session.set_reading(self.now, reading);
            }
            29 => fail_allocation(argument as u32),
            30 => self.session.set_room([usize::MAX, 0, 5, 20, 100, 500, 1000, usize::MAX][argument]),
            _ => self.check(),
        }
        Ok(true)
    }

    fn close(&mut self) {
        trace!("close");
        self.session.closed();
        self.model.closed();
        (self.held, self.is_refused, self.is_quiet, self.reading) = (0, false, false, true);
        self.session.set_reading(self.now, true);
        for bytes in [&mut self.arriving, &mut self.taken] {
            bytes.clear();
        }
        self.answers.clear();
        self.check();
        assert_eq!(self.session.transmit(&mut [0; 100]), 0, "output when closed");
        assert!(
            !self.session.wants_write() && self.session.deadline() == Instant::NEVER && self.session.announced() == 0
        );
    }

    /// A new transport. `connect` may be one that its owner must not use.
    fn connect(&mut self, connect: &Connect<'_>) {
        trace!("connect {connect:?}");
        if !connect.is_well_formed() {
            return;
        }
        self.session.connect(self.now, connect).unwrap();
        let bytes = |bytes: &[u8]| bytes.to_vec();
        let packet = FromClient::Connect {
            client_id: connect.client_id.to_vec(),
            clean: connect.clean_session,
            keep_alive: connect.keep_alive,
            will: connect.will.map(|will| crate::wire::Will {
                topic: will.topic.to_vec(),
                message: will.message.to_vec(),
                qos: will.qos.level(),
                retain: will.retain,
            }),
            username: connect.username.map(bytes),
            // [MQTT-3.1.2-22]
            password: connect.username.and(connect.password).map(bytes),
        };
        self.model.connect(packet, connect.clean_session);
        self.keep_alive = Millis::from(connect.keep_alive) * 1000;
        (self.last_sent, self.last_received) = (self.now, self.now);
        self.reading = true;
    }

    fn publish(&mut self, qos: usize, argument: usize, input: &mut Unstructured<'_>) -> Result<()> {
        // QoS 1 and 2 most of the time.
        let qos = [0, 1, 2, 2][qos];
        let more: u8 = input.arbitrary()?;
        let (topic, retain) = (TOPICS[argument & 3].as_bytes(), argument & 4 != 0);
        // Each says something else.
        let payload = vec![more; LENGTHS[usize::from(more) % LENGTHS.len()]];
        let level = QoS::from_level(qos).unwrap();
        let room = self.session.room(level);
        let result = self.session.publish(topic, &payload, level, retain);
        trace!("publish, QoS {qos}, {} bytes: {result:?}", payload.len());
        let is_full = qos > 0 && self.model.messages.len() >= usize::from(self.limits.window);
        match result {
            _ if self.model.phase != Phase::Connected => assert_eq!(result, Err(PublishError::NotConnected)),
            _ if is_full => assert_eq!(result, Err(PublishError::WindowFull)),
            Ok(id) => self.model.published(Message::new(id, qos, retain, topic, payload)),
            Err(PublishError::Congested) => assert!(!self.is_quiet, "congested, and nothing waits"),
            Err(error) => panic!("{error:?}"),
        }
        if self.model.phase == Phase::Connected {
            assert_eq!(room.err(), result.err());
        }
        self.is_quiet = false;
        Ok(())
    }

    fn subscribe(&mut self, argument: usize) -> Result<()> {
        let qos = QoS::from_level((argument & 3) as u8);
        // Longer ones too
        let filter = ["#", "a/+/b", "+", "/"][argument & 3].repeat(if argument > 5 { 600 } else { 1 });
        let result = self.session.subscribe(filter.as_bytes(), qos);
        trace!("subscribe, QoS {qos:?}: {result:?}");
        match result {
            Ok(id) => {
                assert_eq!(self.model.phase, Phase::Connected);
                self.model.requested(id, filter.as_bytes(), qos.map(QoS::level));
            }
            Err(error) => {
                assert_eq!(error, SubscribeError::NotConnected);
                assert_ne!(self.model.phase, Phase::Connected);
            }
        }
        self.is_quiet = false;
        Ok(())
    }

    /// One that waits for its answer, or all.
    fn forget(&mut self, argument: usize) {
        if argument == 7 {
            trace!("forget all");
            self.session.forget_all();
            self.model.forgotten(None);
        } else if let Some(id) = self.model.requests.iter().filter(|r| r.pending).map(|r| r.id).nth(argument) {
            trace!("forget {id}");
            self.session.forget(id);
            self.model.forgotten(Some(id));
        }
    }

    fn accept(&mut self) {
        let Some((receipt, known)) = self.receipts.pop_front() else { return };
        trace!("accept {known:?}");
        self.session.accepted(receipt).unwrap();
        self.model.accepted(known);
        self.is_quiet = false;
    }

    /// Lets the session write up to `len` bytes; whether that was all.
    fn transmit(&mut self, len: usize) -> bool {
        let buffer = &mut self.buffer[..len];
        let wants_write = self.session.wants_write();
        let filled = self.session.transmit(buffer);
        assert!(wants_write || filled == 0, "it did not want to write");
        self.held += filled;
        for packet in self.model.sent(&buffer[..filled]) {
            self.answers.extend(answer(&packet));
        }
        if filled == len {
            return false;
        }
        assert_eq!(self.session.transmit(&mut self.buffer), 0, "a second part, when there was room in the first");
        self.model.check_drained();
        self.is_quiet = self.held == 0;
        if self.is_quiet {
            assert!(!self.session.wants_write() && !self.session.is_congested());
            assert_eq!(self.session.is_idle(), self.model.is_answered());
        }
        true
    }

    /// All that the session wants to write goes to the network.
    fn flush(&mut self) {
        while !self.transmit(self.buffer.len()) {
            self.confirm(self.held);
        }
        self.confirm(self.held);
        self.transmit(self.buffer.len());
    }

    /// The network has taken so much.
    fn confirm(&mut self, len: usize) {
        self.session.transmitted(self.now, len);
        self.held -= len;
        if len > 0 {
            self.last_sent = self.now;
        }
    }

    /// Gives the session so much of what is arriving, until there is an event. Whether its owner behaves: `is_good`, if there is an error.
    fn receive(&mut self, len: usize, is_good: bool) -> bool {
        let mut len = len.min(self.arriving.len());
        if len > 0 {
            self.last_received = self.now;
        }
        self.is_quiet = false;
        // What the session waits for, it gets: once for room, once for memory.
        for attempt in 0.. {
            let mut rest = &self.arriving[..len];
            let result = self.session.handle_input(self.now, &mut rest);
            let consumed = len - rest.len();
            trace!("receive {consumed} of {len} bytes: {result:?}");
            len -= consumed;
            self.taken.extend(self.arriving.drain(..consumed));
            let waits = len > 0 && matches!(result, Ok(None));
            if !self.compare(result) {
                return self.fail(is_good);
            }
            if !waits {
                break;
            }
            assert!(attempt < 3, "no event, and yet input is left");
            if self.session.announced() > 0 {
                self.session.set_room(usize::MAX);
            } else if is_good {
                self.session.skip();
                self.is_refused = true;
            } else {
                assert!(self.session.has_memory());
            }
        }
        true
    }

    /// What the session says of what it was given; whether the connection goes on.
    fn compare(&mut self, result: std::result::Result<Option<Event>, Violation>) -> bool {
        let taken = std::mem::take(&mut self.taken);
        let mut rest = &taken[..];
        let outcome = loop {
            match server::packet(rest) {
                Ok((packet, len)) => {
                    rest = &rest[len..];
                    trace!("  received {packet:?}");
                    let is_refused =
                        matches!(packet, server::Packet::Publish(_)) && std::mem::take(&mut self.is_refused);
                    let early = rest.is_empty() && matches!(result, Err(Violation::EarlyAcknowledgement));
                    let is_told = rest.is_empty() && matches!(result, Ok(Some(Event::Published(_))));
                    match self.model.receive(packet, is_refused, early, is_told) {
                        Outcome::Nothing => {}
                        outcome => break outcome,
                    }
                }
                Err(Stop::More) => break Outcome::Nothing,
                // A topic that was not kept is not looked at.
                Err(Stop::Bad(_)) if self.is_refused => return false,
                Err(Stop::Bad(malformed)) => break Outcome::Violation(malformed.into()),
            }
        };
        self.taken = rest.to_vec();
        match (result, outcome) {
            (Ok(None), Outcome::Nothing) => true,
            (Err(violation), Outcome::Violation(expected)) => {
                assert_eq!(violation, expected);
                false
            }
            (Ok(Some(event)), outcome) => {
                assert!(rest.is_empty(), "an event with bytes behind it");
                self.compare_event(event, outcome)
            }
            (result, outcome) => panic!("{result:?} instead of {outcome:?}"),
        }
    }

    fn compare_event(&mut self, event: Event, outcome: Outcome<'_>) -> bool {
        match (event, outcome) {
            (Event::Connected { session_present }, Outcome::Connected { present }) => {
                assert_eq!(session_present, present)
            }
            (Event::Refused(reason), Outcome::Refused(code)) => {
                assert_eq!(reason.code(), code);
                return false;
            }
            (Event::Published(id), Outcome::Published(expected)) => assert_eq!(id, expected),
            (Event::Unsubscribed(id), Outcome::Unsubscribed(expected)) => assert_eq!(id, expected),
            (Event::Subscribed { id, granted }, Outcome::Subscribed { id: expected, granted: level }) => {
                assert_eq!((id, granted.map(QoS::level)), (expected, level));
            }
            (Event::Message(receipt), Outcome::Message(publish, serial)) => {
                let message = self.session.take_message().unwrap();
                server::assert_same(&message, &publish);
                assert!(self.session.take_message().is_none());
                self.receipt(receipt, &publish, serial);
            }
            (Event::Skipped(receipt), Outcome::TooLarge(publish, serial)) => self.receipt(receipt, &publish, serial),
            (Event::Skipped(receipt), Outcome::NoMemory(publish, serial)) => {
                // The server would send it again.
                let is_lost_for_good = publish.qos == 0 || self.model.clean;
                assert!(is_lost_for_good || self.model.connection > 3, "given up too early");
                self.receipt(receipt, &publish, serial);
            }
            (Event::Missed, Outcome::NoMemory(publish, serial)) => {
                assert!(publish.qos > 0 && !self.model.clean);
                self.model.missed(serial);
            }
            (event, outcome) => panic!("{event:?} instead of {outcome:?}"),
        }
        true
    }

    fn receipt(&mut self, receipt: wm_mqtt_client::protocol::Receipt, publish: &server::Publish<'_>, serial: u32) {
        let (id, qos, connection) = (publish.id, publish.qos, self.model.connection);
        self.receipts.push_back((receipt, Receipt { id, qos, serial, connection }));
    }

    /// The connection is to end. Its owner does that, or goes on.
    fn fail(&mut self, is_good: bool) -> bool {
        if is_good {
            self.close();
        }
        is_good
    }

    fn handle_timeout(&mut self) -> bool {
        let (is_due, is_busy) = (self.session.deadline() <= self.now, self.session.wants_write());
        let result = self.session.handle_timeout(self.now);
        trace!("{:?}: {result:?}", self.now);
        let is_on = self.keep_alive > 0 && self.model.phase == Phase::Connected;
        assert_eq!(self.session.deadline() < Instant::NEVER, is_on);
        match result {
            Ok(()) => {
                if is_due {
                    self.model.pinged(is_busy);
                    self.last_ping = self.now;
                    self.is_quiet = false;
                }
                assert!(self.session.deadline() > self.now, "the same deadline again");
                // [MQTT-3.1.2-23]
                let is_silent = is_on && self.now >= self.last_sent + self.keep_alive;
                assert!(!is_silent || self.session.wants_write(), "nothing leaves in time");
                true
            }
            Err(error) => {
                assert_eq!(error, TimeoutError::ServerSilent);
                let since = self.last_received.max(self.last_ping);
                assert!(is_due && self.reading && self.now >= since + self.keep_alive, "not silent for that long");
                self.close();
                true
            }
        }
    }

    fn check(&mut self) {
        assert!(!self.session.is_idle() || self.model.is_answered());
        assert_eq!(self.session.is_connected(), self.model.phase == Phase::Connected);
    }

    /// A packet of the server, with an identifier that is in use more often than not.
    fn packet(&self, action: u8, input: &mut Unstructured<'_>) -> Result<FromServer> {
        let (choice, which): (u8, u8) = input.arbitrary()?;
        let small = u16::from(which & 7) + 1;
        let nth = |ids: &mut dyn Iterator<Item = u16>| ids.nth((which & 15).into()).unwrap_or(small);
        let ours = nth(&mut self.model.messages.iter().map(|m| m.id));
        let theirs = nth(&mut self.model.received.iter().map(|r| r.id));
        let request = nth(&mut self.model.requests.iter().map(|r| r.id));
        if action & 31 == 22 {
            let (qos, more): (u8, u8) = input.arbitrary()?;
            let (topic, payload) =
                (TOPICS[usize::from(qos >> 4 & 3)], vec![more; LENGTHS[usize::from(more) % LENGTHS.len()]]);
            let (qos, retain, dup) = (choice % 3, qos & 4 != 0, qos & 8 != 0);
            let id = if choice & 0x80 == 0 { small } else { theirs };
            let (id, dup) = if qos == 0 { (0, false) } else { (id, dup) };
            return Ok(FromServer::Publish(Publish { topic: topic.into(), payload, qos, retain, dup, id }));
        }
        Ok(match choice % 10 {
            0 => FromServer::PubAck(ours),
            1 | 2 => FromServer::PubRec(ours),
            3 => FromServer::PubComp(ours),
            4 | 5 => FromServer::PubRel(theirs),
            6 => FromServer::SubAck { id: request, code: [0, 1, 2, 0x80][usize::from(choice >> 5 & 3)] },
            7 => FromServer::UnsubAck(request),
            8 => FromServer::PingResp,
            _ => {
                FromServer::ConnAck { present: which & 0x80 != 0, code: if which & 0x40 == 0 { 0 } else { which & 7 } }
            }
        })
    }

    /// A server that does what it should: all that was accepted arrives, and nothing is left.
    fn finish(mut self) {
        trace!("finish");
        fail_allocation(0);
        self.session.set_room(usize::MAX);
        self.close();
        let connect = connect_of(&mut Unstructured::new(&[0; 8])).unwrap_or_else(|_| unreachable!());
        self.connect(&connect);
        self.answers.push_back(FromServer::ConnAck { present: true, code: 0 });
        // It has received every PUBREC that has left, so what it has not released now is what was never accepted.
        let mut releases: VecDeque<u16> = VecDeque::new();
        for _ in 0..1000 {
            self.flush();
            while !self.receipts.is_empty() {
                self.accept();
            }
            if self.answers.is_empty() && releases.is_empty() && self.is_quiet {
                releases = self.model.received.iter().map(|r| r.id).collect();
                if releases.is_empty() {
                    break;
                }
            }
            let answer = self.answers.pop_front().or_else(|| releases.pop_front().map(FromServer::PubRel));
            self.arriving.extend(answer.iter().flat_map(FromServer::encode));
            while !self.arriving.is_empty() {
                assert!(self.receive(usize::MAX, true));
                assert_ne!(self.model.phase, Phase::Closed, "a good server is refused");
            }
        }
        assert!(self.model.is_answered() && self.session.is_idle(), "{:?} is left", self.model.messages);
        assert!(self.model.received.is_empty());
    }

    /// Bytes, and calls, after an error: no promise is left but that nothing panics, and what comes out ends.
    fn poke(mut self, mut rest: &[u8]) {
        while let Some((first, behind)) = rest.split_first() {
            let mut piece = &behind[..behind.len().min(usize::from(first >> 4))];
            rest = &behind[piece.len()..];
            while let Ok(Some(event)) = self.session.handle_input(self.now, &mut piece) {
                if let Event::Message(receipt) = event
                    && first & 1 != 0
                {
                    let _ = self.session.accepted(receipt);
                }
            }
            match first & 14 {
                0 => drop(self.session.publish(b"t", &[0; 600], QoS::ExactlyOnce, false)),
                2 => drop(self.session.subscribe(b"t", None)),
                4 => drop(self.session.handle_timeout(self.now)),
                6 => drop(self.session.transmit(&mut [0; 100])),
                8 => self.session.skip(),
                _ => self.now = self.now + 700,
            }
        }
        for _ in 0..1000 {
            if self.session.transmit(&mut self.buffer) == 0 {
                return;
            }
        }
        panic!("output without end");
    }
}

/// What a server answers.
fn answer(packet: &FromClient) -> Option<FromServer> {
    Some(match packet {
        FromClient::Publish(publish) => match publish.qos {
            0 => return None,
            1 => FromServer::PubAck(publish.id),
            _ => FromServer::PubRec(publish.id),
        },
        FromClient::PubRec(id) => FromServer::PubRel(*id),
        FromClient::PubRel(id) => FromServer::PubComp(*id),
        FromClient::Subscribe { id, .. } => FromServer::SubAck { id: *id, code: 0 },
        FromClient::Unsubscribe { id, .. } => FromServer::UnsubAck(*id),
        FromClient::PingReq => FromServer::PingResp,
        FromClient::Connect { .. } | FromClient::PubAck(_) | FromClient::PubComp(_) | FromClient::Disconnect => {
            return None;
        }
    })
}

/// A CONNECT; of zeros one for a persistent session with keep-alive.
fn connect_of<'a>(input: &mut Unstructured<'_>) -> Result<Connect<'a>> {
    let (flags, more, keep_alive): (u8, u8, u8) = input.arbitrary()?;
    const TEXTS: [&[u8]; 4] = [b"client", b"", b"a\0b", b"\xff"];
    let text = |at: u8| TEXTS[usize::from(at & 3)];
    let will = Will {
        topic: text(more),
        message: text(more >> 2),
        qos: QoS::from_level(flags >> 1 & 1).unwrap(),
        retain: flags & 4 != 0,
    };
    Ok(Connect {
        client_id: text(flags >> 6),
        clean_session: flags & 1 != 0,
        keep_alive: [2, 0, 5, 1, 60, u16::MAX][usize::from(keep_alive) % 6],
        will: (flags & 8 != 0).then_some(will),
        username: (flags & 16 != 0).then_some(text(more >> 4)),
        password: (flags & 32 != 0).then_some(text(more >> 6)),
    })
}
