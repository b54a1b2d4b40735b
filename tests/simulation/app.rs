//! The application: calls that are timed and entered in the books, and the books.

use std::collections::{BTreeMap, BTreeSet};

use wm_mqtt_client::client::{AuthMode, Client, Config, Error, Hub, Text};
use wm_mqtt_client::port::Shared;

use super::events::{Delivery, SimEvents};
use super::port::Sim;
use super::promises::Wish;
use super::world::{EVENT_TASK, note, timed, with};

/// Who has sent and received what.
#[derive(Default)]
pub(crate) struct Books {
    last_serial: u64,
    pub(crate) sent: BTreeMap<u64, Sent>,
    /// Tokens by client identifier.
    pub(crate) tokens: BTreeMap<String, usize>,
    /// Messages that were delivered to a client: serial number and QoS.
    pub(crate) got: BTreeMap<usize, Vec<(u64, u8)>>,
    /// PUBLISHED events by packet identifier.
    pub(crate) published: BTreeMap<u16, u32>,
    pub(crate) connected: u64,
    pub(crate) disconnected: u64,
    /// How many of those were lost, and not ended by a call.
    pub(crate) lost: u64,
    /// Only one client: its events must come in order.
    pub(crate) alone: bool,
    pub(crate) clients: u64,
    /// By client identifier, when the latest of the calls began whose messages have arrived.
    latest: BTreeMap<String, u64>,
    pub(crate) calls: u64,
    pub(crate) slowest: BTreeMap<&'static str, u64>,
}

/// A message that was given to publish.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) client: String,
    pub(crate) qos: u8,
    /// `None` while the call runs.
    pub(crate) result: Option<Result<u16>>,
    /// When the call began and returned, as [`Promises`](super::promises::Promises) counts.
    began: u64,
    ended: u64,
}

impl Books {
    /// A message has come to the broker for the first time: all are behind it that were published when its call had returned.
    pub(crate) fn arrives(&mut self, client: &str, serial: u64) {
        let Some(sent) = self.sent.get(&serial) else { return };
        let latest = self.latest.entry(client.to_owned()).or_default();
        assert!(sent.ended >= *latest, "message {serial} comes behind one that was published later");
        *latest = sent.began.max(*latest);
    }
}

/// A payload that knows its number and its length.
pub(crate) fn payload(serial: u64, len: usize) -> Vec<u8> {
    let mut payload = format!("#{serial}#").into_bytes();
    payload.resize(payload.len().max(len), serial as u8);
    payload
}

/// The number in a payload.
pub(crate) fn serial(payload: &[u8]) -> Option<u64> {
    let rest = payload.strip_prefix(b"#")?;
    let end = rest.iter().position(|byte| *byte == b'#')?;
    let serial: u64 = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    rest[end + 1..].iter().all(|byte| *byte == serial as u8).then_some(serial)
}

pub(crate) fn new_serial() -> u64 {
    with(|w| {
        w.books.last_serial += 1;
        w.books.last_serial
    })
}

/// A hub of this world.
pub(crate) fn hub() -> &'static Hub<Sim> {
    static EVENTS: SimEvents = SimEvents;
    let hub: &'static Hub<Sim> = Box::leak(Box::new(Hub::new(&EVENTS).expect("a hub")));
    with(|w| w.queue.hub = Some(hub));
    hub
}

pub(crate) fn text(text: &str) -> Text {
    Text::copy(text.as_bytes()).expect("memory")
}

pub(crate) fn config(id: &str) -> Config {
    Config {
        uri: text("mqtt://broker"),
        client_id: text(id),
        username: None,
        password: None,
        auth_mode: AuthMode { verify: false, present: false },
        #[cfg(feature = "tls")]
        ca: None,
        #[cfg(feature = "tls")]
        cert: None,
        #[cfg(feature = "tls")]
        key: None,
        alpn: Vec::new(),
        will_topic: None,
        will_message: None,
        will_qos: 0,
        will_retain: false,
        keep_alive: 60,
        clean_session: false,
        debug: false,
    }
}

pub(crate) fn with_host(config: Config, host: &str) -> Config {
    Config { uri: text(host), ..config }
}

/// A handle of the application.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) hub: &'static Hub<Sim>,
    pub(crate) client: Shared<Client<Sim>>,
    pub(crate) key: usize,
    pub(crate) id: String,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The bound of a call in milliseconds, and what the simulation's own delays may add.
fn bounded<R>(name: &'static str, bound: u64, who: &str, call: impl FnOnce() -> R) -> (R, u64)
where
    R: std::fmt::Debug,
{
    note(|| format!("{who} {name}()"));
    let (result, ms) = timed(name, call);
    note(|| format!("{who} {name} = {result:?} after {ms} ms"));
    with(|w| {
        w.books.calls += 1;
        let slowest = w.books.slowest.entry(name).or_default();
        *slowest = (*slowest).max(ms);
    });
    // A call waits 2 s longer for a task that is not run.
    let bound = if with(|w| w.mqtt_task_stands_still()) { bound + 2_000 } else { bound };
    assert!(ms <= bound, "{name} took {ms} ms");
    (result, ms)
}

impl Handle {
    /// `wm_mqtt_client_init`.
    pub(crate) fn new(hub: &'static Hub<Sim>, key: usize, config: Config) -> Self {
        Self::try_new(hub, key, config).expect("memory")
    }

    pub(crate) fn try_new(hub: &'static Hub<Sim>, key: usize, config: Config) -> Option<Self> {
        let id = String::from_utf8(config.client_id.to_vec()).expect("a client identifier");
        let config = Config { debug: with(|w| w.trace), ..config };
        let client = timed("init", || hub.add(key, config)).0?;
        with(|w| w.books.tokens.insert(id.clone(), client.token()));
        Some(Self { hub, client, key, id })
    }

    pub(crate) fn token(&self) -> usize {
        self.client.token()
    }

    /// A call with a wish that must end with it.
    fn wishing<T>(&self, wish: Wish, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let number = with(|w| w.promises.begins(&self.id, wish));
        let result = call();
        with(|w| w.promises.ends(number, result.is_ok()));
        result
    }

    pub(crate) fn connect(&self) -> Result<()> {
        let call = || bounded("connect", 40_500, &self.id, || Client::connect(&self.client)).0;
        self.wishing(Wish::Connection, call)
    }

    pub(crate) fn reconnect(&self) -> Result<()> {
        let call = || bounded("reconnect", 40_500, &self.id, || Client::reconnect(&self.client)).0;
        self.wishing(Wish::Connection, call)
    }

    /// How long it took.
    pub(crate) fn disconnect(&self) -> u64 {
        let (result, ms) = self.try_disconnect();
        assert_eq!(result, Ok(()));
        ms
    }

    /// Its result as well: it fails when the server has not received everything.
    pub(crate) fn try_disconnect(&self) -> (Result<()>, u64) {
        bounded("disconnect", 11_000, &self.id, || self.client.disconnect())
    }

    /// `wm_mqtt_client_deinit`; how long it took.
    pub(crate) fn remove(self) -> u64 {
        with(|w| w.queue.unbounded = true);
        let Self { hub, client, key, id } = self;
        drop(client);
        let (removed, ms) = bounded("remove", 11_000, &id, || hub.remove(key));
        assert!(removed.is_some());
        ms
    }

    pub(crate) fn subscribe(&self, filter: &str, qos: u8) -> Result<u16> {
        let call = || bounded("subscribe", 10_000, &self.id, || self.client.subscribe(filter.as_bytes(), qos)).0;
        self.wishing(Wish::Answer(filter.into()), call)
    }

    pub(crate) fn unsubscribe(&self, filter: &str) -> Result<u16> {
        let call = || bounded("unsubscribe", 10_000, &self.id, || self.client.unsubscribe(filter.as_bytes())).0;
        self.wishing(Wish::Answer(filter.into()), call)
    }

    /// Publishes a new message; its serial number, and what publish said.
    pub(crate) fn publish(&self, topic: &str, qos: u8, len: usize) -> (u64, Result<u16>) {
        let serial = new_serial();
        let client = self.id.clone();
        with(|w| {
            let began = w.promises.moment();
            w.books.sent.insert(serial, Sent { client, qos, result: None, began, ended: u64::MAX });
        });
        note(|| format!("{client} has #{serial} of {len} bytes, qos {qos}", client = self.id));
        let payload = payload(serial, len);
        let call = || self.client.publish(topic.as_bytes(), &payload, qos, false);
        let (result, _) = bounded("publish", 10_000, &self.id, call);
        with(|w| {
            let ended = w.promises.moment();
            let sent = w.books.sent.get_mut(&serial).expect("entered");
            (sent.result, sent.ended) = (Some(result), ended);
        });
        if let Ok(id) = result {
            assert_eq!(id == 0, qos == 0);
        }
        (serial, result)
    }
}

/// Enters an event in the books, and checks what can be checked at once.
pub(crate) fn enter(delivery: &Delivery) {
    with(|w| {
        assert_eq!(w.running.last(), Some(&EVENT_TASK));
        let books = &mut w.books;
        let most = if books.alone { 1 } else { books.clients };
        match delivery {
            Delivery::Connected => {
                books.connected += 1;
                assert!(books.connected - books.disconnected <= most, "CONNECTED twice");
                w.promises.told(books.connected);
            }
            Delivery::Disconnected(client) => {
                books.disconnected += 1;
                books.lost += u64::from(client.is_some());
                assert!(books.disconnected <= books.connected, "DISCONNECTED without CONNECTED");
                assert!(client.is_none_or(|client| books.tokens.values().any(|token| *token == client)));
            }
            Delivery::Published(id) => {
                assert!(books.connected > books.disconnected, "PUBLISHED outside a connection");
                *books.published.entry(*id).or_default() += 1;
            }
            Delivery::Data { client, payload, qos, .. } => {
                assert!(books.connected > books.disconnected, "DATA outside a connection");
                assert!(books.tokens.values().any(|token| token == client), "DATA for nobody");
                let Some(serial) = serial(payload) else {
                    assert!(w.broker.style.hostile, "a payload was changed: {payload:?}");
                    return;
                };
                books.got.entry(*client).or_default().push((serial, *qos));
            }
        }
    });
}

/// Each number where it comes first.
fn firsts(serials: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    serials.filter(|serial| seen.insert(*serial)).collect()
}

/// What must hold when nothing is under way any more: of the clients whose sessions are persistent and were never
/// removed, everything that was to arrive has arrived.
pub(crate) fn audit(persistent: &BTreeSet<String>, in_order: bool) {
    with(|w| {
        let (books, broker) = (&w.books, &w.broker);
        for (serial, sent) in &books.sent {
            let arrival = broker.arrivals.get(serial);
            let taken = arrival.map_or(0, |arrival| arrival.taken);
            let sure = persistent.contains(&sent.client);
            match (sent.qos, sent.result.expect("no call is under way")) {
                (_, Err(error)) => assert!(arrival.is_none(), "message {serial} arrived in spite of {error:?}"),
                (0, Ok(_)) => assert!(taken <= 1, "message {serial} at QoS 0 came {taken} times"),
                (1, Ok(_)) => assert!(taken >= 1 || !sure, "message {serial} at QoS 1 is lost"),
                // A broker that has forgotten the first PUBLISH takes the second one too.
                (_, Ok(_)) if broker.forgotten.contains(&sent.client) => {
                    assert!(taken >= 1 || !sure, "message {serial} at QoS 2 is lost with the broker's session")
                }
                (_, Ok(_)) => {
                    assert!(taken == 1 || (!sure && taken == 0), "message {serial} at QoS 2 came {taken} times")
                }
            }
        }
        let is_sure = |client: &String| persistent.contains(client) && !broker.forgotten.contains(client);
        for (client, token) in books.tokens.iter().filter(|(client, _)| is_sure(client)) {
            let owed = || broker.owed.iter().filter(|owed| owed.client == *client);
            let got = || books.got.get(token).into_iter().flatten();
            let mut balance: BTreeMap<u64, (i64, bool)> = BTreeMap::new();
            for owed in owed() {
                // Of two copies with the same number one may have come with QoS 1.
                let (missing, exactly) = balance.entry(owed.serial).or_insert((0, true));
                *missing += 1;
                *exactly &= owed.qos == 2;
            }
            for (serial, _) in got() {
                balance.entry(*serial).or_insert((0, false)).0 -= 1;
            }
            for (serial, (missing, exactly)) in balance {
                // Where memory was short, one of two copies may have been given up, and nobody can tell which.
                let may = !in_order && got().any(|got| got.0 == serial);
                assert!(missing <= 0 || may, "message {serial} for {client} is lost");
                assert!(missing >= 0 || !exactly, "message {serial} for {client} at QoS 2 came {} times", 1 - missing);
            }
            for qos in (1..=2).filter(|_| in_order) {
                let first = firsts(got().filter(|got| got.1 == qos).map(|got| got.0));
                let expected = firsts(owed().filter(|owed| owed.qos == qos).map(|owed| owed.serial));
                assert_eq!(first, expected, "order of messages for {client} at QoS {qos}");
            }
        }
        // Every identifier that publish gave out is told of once.
        if books.tokens.keys().all(|client| persistent.contains(client)) {
            let mut given: BTreeMap<u16, u32> = BTreeMap::new();
            for sent in books.sent.values().filter(|sent| sent.qos > 0) {
                if let Some(Ok(id)) = sent.result {
                    *given.entry(id).or_default() += 1;
                }
            }
            assert_eq!(books.published, given, "PUBLISHED events");
        }
    });
}

/// What must hold besides where no connection was lost.
pub(crate) fn all_have_arrived(persistent: &BTreeSet<String>) {
    with(|w| {
        for (serial, sent) in &w.books.sent {
            let is_there = w.broker.arrivals.get(serial).is_some_and(|arrival| arrival.taken > 0);
            let is_sure = persistent.contains(&sent.client) && matches!(sent.result, Some(Ok(_)));
            assert!(
                is_there || !is_sure,
                "message {serial} at QoS {} is lost on a network that loses nothing",
                sent.qos
            );
        }
    });
}
