//! What is promised whatever happens, looked after at every step.

use super::app::Handle;
use super::memory;
use super::wire::{self, FromClient};
use super::world::{World, run, with};

/// What a call is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Connection,
    /// SUBSCRIBE or UNSUBSCRIBE with this filter.
    Answer(Vec<u8>),
}

struct Call {
    client: String,
    wish: Wish,
    began: u64,
    ended: Option<u64>,
}

/// Bytes that there may be at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of the library's own.
    pub(crate) own: usize,
    /// The messages of one client.
    pub(crate) one: usize,
    /// Of topics and payloads, and of those while a call waits in a callback.
    pub(crate) messages: usize,
    pub(crate) in_callback: usize,
}

/// Promises that concern everybody, and what is needed to look after them.
#[derive(Default)]
pub(crate) struct Promises {
    /// Somebody looks after them: a random scenario does.
    pub(crate) looked_after: bool,
    /// A server may answer a request before it has left.
    pub(crate) hostile: bool,
    /// Counts when calls begin and return.
    moment: u64,
    calls: Vec<Call>,
    connecting: usize,
    /// Calls for a connection that had one in the end.
    connected: u64,
    pub(crate) bounds: Option<Bounds>,
    pub(crate) calls_in_callbacks: bool,
    /// Memory is short now and then.
    pub(crate) is_forgetful: bool,
    /// When the library first heard of a delivery. Before, every call may be one in a callback.
    first_event: Option<u64>,
    /// What was taken for the sake of such calls is delivered.
    settled: bool,
    /// What the library had of memory when the world began.
    pub(crate) before: usize,
    /// Bytes of topics and payloads, and locks.
    pub(crate) messages: usize,
    pub(crate) locks: usize,
}

impl Promises {
    /// A call begins.
    pub(crate) fn begins(&mut self, client: &str, wish: Wish) -> usize {
        self.moment += 1;
        self.connecting += usize::from(wish == Wish::Connection);
        self.calls.push(Call { client: client.to_owned(), wish, began: self.moment, ended: None });
        self.calls.len() - 1
    }

    pub(crate) fn ends(&mut self, call: usize, has_succeeded: bool) {
        self.moment += 1;
        let call = &mut self.calls[call];
        call.ended = Some(self.moment);
        if call.wish == Wish::Connection {
            self.connecting -= 1;
            self.connected += u64::from(has_succeeded);
        }
    }

    /// When something begins or returns.
    pub(crate) fn moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Somebody is looked for in the network.
    pub(crate) fn dials(&self) {
        assert!(!self.looked_after || self.connecting > 0, "no call waits for a connection that is being made");
    }

    /// The library hears that an event was delivered.
    pub(crate) fn delivered(&mut self, now: u64) {
        self.first_event.get_or_insert(now);
    }

    /// CONNECTED was told so often.
    pub(crate) fn told(&self, connected: u64) {
        let most = self.connected + self.connecting as u64;
        assert!(!self.looked_after || connected <= most, "connected, and no call has said so");
    }

    fn check(&self, client: &str, wish: &Wish, moment: u64) {
        let is_it = |call: &Call| {
            call.client == client
                && call.wish == *wish
                && call.began <= moment
                && call.ended.is_none_or(|at| at > moment)
        };
        let may = !self.looked_after || self.hostile && *wish != Wish::Connection;
        assert!(may || self.calls.iter().rev().any(is_it), "{client} sends {wish:?}, and no call waits");
    }

    /// The library has so much memory now, which does not count the time in which nothing was run.
    pub(crate) fn memory(&mut self, now: u64) {
        let Some(Bounds { own, one, messages, in_callback }) = self.bounds else { return };
        // A call that began before has returned by then.
        let is_known = self.first_event.is_some_and(|first| now > first + 45_000);
        self.settled |= is_known && self.messages <= one;
        let is_lax = self.calls_in_callbacks || self.is_forgetful || !self.settled;
        // Without memory to leave what was read where it is, a message is taken all the same.
        let messages = if is_lax { in_callback } else { messages };
        let live = memory::live() - self.before;
        assert!(live <= own, "the library has {live} bytes, and {own} are enough");
        assert!(self.messages <= messages, "{} bytes of messages, and {messages} are enough", self.messages);
    }
}

/// What a client hands to its socket, as far as it can be read: without a WebSocket around it.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    /// Bytes that the socket did not take: they come again.
    rest: usize,
    stream: Vec<u8>,
    /// When the packet at the beginning of `stream` began.
    begun: u64,
    client: Option<String>,
    is_other: bool,
}

impl Tap {
    /// The client hands `bytes` over, of which the socket takes the first `taken`.
    pub(crate) fn written(&mut self, promises: &mut Promises, bytes: &[u8], taken: usize) {
        let again = std::mem::replace(&mut self.rest, bytes.len() - taken) > 0;
        self.is_other |= self.client.is_none() && self.stream.is_empty() && bytes[0] != 0x10;
        if again || self.is_other || !promises.looked_after {
            return;
        }
        if self.stream.is_empty() {
            self.begun = promises.moment();
        }
        self.stream.extend(bytes);
        while let Ok(Some((packet, len))) = wire::decode(&self.stream) {
            self.stream.drain(..len);
            self.packet(promises, packet);
            self.begun = promises.moment();
        }
    }

    fn packet(&mut self, promises: &Promises, packet: FromClient) {
        let (wish, client) = match packet {
            FromClient::Connect { client_id, .. } => {
                self.client = Some(String::from_utf8(client_id).expect("checked"));
                (Wish::Connection, &self.client)
            }
            FromClient::Subscribe { filters, .. } => (Wish::Answer(filters[0].0.clone()), &self.client),
            FromClient::Unsubscribe { filters, .. } => (Wish::Answer(filters[0].clone()), &self.client),
            _ => return,
        };
        promises.check(client.as_ref().expect("CONNECT comes first"), &wish, self.begun);
    }
}

impl World {
    /// A turn of the MQTT task that nobody had asked for has done something: the task would sleep there. It may find memory,
    /// or an entry behind those that wait of a message for which there was none.
    pub(crate) fn would_sleep(&self, deeds: u64) {
        let may = self.promises.is_forgetful || !self.promises.looked_after;
        assert!(deeds == 0 || may, "there was something to do, and nobody has woken the task");
    }

    /// A call has waited in vain: only deinit may, or if the MQTT task is not run.
    pub(crate) fn waited_in_vain(&self) {
        let name = self.frames.last().map_or("remove", |frame| frame.name);
        let may = name == "remove" || self.mqtt_task_stands_still() || !self.promises.looked_after;
        assert!(may, "nobody has ended {name} in time");
    }
}

/// Whatever a network without faults does at once: a subscription, and a message that must arrive; its serial number.
pub(crate) fn is_well(handle: &Handle) -> u64 {
    let before = with(|w| w.now);
    assert!(handle.subscribe("last/#", 1).is_ok(), "on a network without faults");
    let (serial, result) = handle.publish("from/all", 2, 20);
    assert!(result.is_ok(), "{result:?} on a network without faults");
    let ms = with(|w| w.now) - before;
    assert!(ms < 1000, "a subscription and a message took {ms} ms");
    serial
}

/// After the last handle: no task, no socket, no memory.
pub(crate) fn all_is_gone() {
    run(15_000);
    with(|w| {
        assert!(w.tasks.iter().all(|task| task.ended), "the MQTT task goes on");
        assert!(w.must_join || w.tasks.iter().all(|task| task.is_released), "the stack of an MQTT task is left");
        assert!(w.deep.iter().all(|task| task.ended && !task.is_lost), "the stack of a task of handshakes is lost");
        assert_eq!(w.sockets, 0, "sockets are left");
        assert!(w.hosts.looking.is_empty(), "lookups that nobody waits for");
        assert!(w.queue.is_empty(), "events are left");
        assert_eq!(w.buffers, 0, "buffers are left");
        assert_eq!(w.signals, 0, "signals are left");
        if w.promises.looked_after {
            assert_eq!(w.promises.locks, 1, "the hub's lock is left");
            // Its places for handles.
            let live = memory::live() - w.promises.before;
            assert!(live <= 1024, "{live} bytes are left");
        }
    });
}
