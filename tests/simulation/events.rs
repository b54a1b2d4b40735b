//! The SDK's event queue: so many entries for everybody, one task that delivers them.

use std::collections::{BTreeSet, VecDeque};

use wm_mqtt_client::client::{Events, Hub, Notification};
use wm_mqtt_client::protocol::Buffer;

use super::memory;
use super::port::{Sim, SimBuffer};
use super::world::{EVENT_TASK, note, with};

#[derive(Debug)]
enum Entry {
    Ours(Notification<SimBuffer>),
    AddCallback,
    RemoveCallback,
    Probe(u32),
    /// Of `wm_event_deinit`: what is behind it is thrown away. And `wm_event_init` so many milliseconds later.
    Exit(u64),
    Foreign,
}

/// An event, as the application's callback sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Connected,
    Disconnected(Option<usize>),
    Published(u16),
    Data { client: usize, topic: String, payload: Vec<u8>, qos: u8, dup: bool, retain: bool, id: u16 },
}

/// The queue's state.
#[derive(Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    /// Ours that were thrown away while one before them was being delivered.
    thrown: Vec<Delivery>,
    /// How many may be in it.
    pub(crate) size: usize,
    /// Between `wm_event_deinit` and `wm_event_init`.
    stopped: bool,
    /// It was ended once, so that events which the library has sent may never be delivered.
    pub(crate) restarted: bool,
    listening: bool,
    /// How often the library has registered.
    pub(crate) listens: u32,
    pub(crate) hub: Option<&'static Hub<Sim>>,
    pub(crate) busy_until: u64,
    /// Ours that are queued or being delivered.
    ours: usize,
    pub(crate) ours_peak: usize,
    /// A handle was removed, whose last events may exceed our share.
    pub(crate) unbounded: bool,
    /// Messages whose event was accepted: client's token and serial number.
    pub(crate) accepted: BTreeSet<(usize, u64)>,
    /// Our own callback comes before the application's.
    pub(crate) ours_first: bool,
    /// Milliseconds in which a send failed.
    pub(crate) refused: u64,
    refused_at: u64,
    pub(crate) lost_foreign: u64,
}

impl Queue {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn is_full(&self) -> bool {
        self.stopped || self.entries.len() >= self.size
    }

    /// Other modules send events; what does not fit is lost.
    pub(crate) fn foreign(&mut self, count: usize) {
        for _ in 0..count {
            if self.is_full() {
                self.lost_foreign += 1;
            } else {
                self.entries.push_back(Entry::Foreign);
            }
        }
    }
}

/// How the hub sees the queue.
#[derive(Debug)]
pub(crate) struct SimEvents;

/// Something of ours but an event of the application.
fn enter(entry: Entry) -> bool {
    let out = memory::is_out();
    with(|w| {
        w.unlocked("an event");
        let room = !w.queue.is_full() && !out;
        if room {
            w.activity += 1;
            w.queue.entries.push_back(entry);
        }
        room
    })
}

impl Events<Sim> for SimEvents {
    fn listen(&self) -> bool {
        with(|w| w.queue.listens += 1);
        enter(Entry::AddCallback)
    }

    fn unlisten(&self) {
        with(|w| {
            w.unlocked("an event");
            if !w.queue.is_full() {
                w.queue.entries.push_back(Entry::RemoveCallback);
            }
        });
    }

    fn probe(&self, number: u32) -> bool {
        assert!(i32::try_from(number).is_ok());
        enter(Entry::Probe(number))
    }

    fn send(&self, event: &mut Option<Notification<SimBuffer>>) -> bool {
        let out = memory::is_out();
        with(|w| {
            w.unlocked("an event");
            if w.queue.is_full() || out {
                // The first try in a millisecond moves the task's deadline; the others come from asking for that.
                let first = w.queue.refused_at != w.now;
                w.queue.refused_at = w.now;
                w.queue.refused += u64::from(first);
                w.activity += u64::from(first);
                return false;
            }
            w.activity += 1;
            w.queue.ours += 1;
            w.queue.ours_peak = w.queue.ours_peak.max(w.queue.ours);
            assert!(
                w.queue.ours <= w.limits.event_share || w.queue.unbounded,
                "more than our share of the event queue"
            );
            let event = event.take().expect("an event");
            if let Notification::Data { client, message } = &event
                && let Some(serial) = message.payload.as_ref().and_then(|p| super::app::serial(p.as_slice()))
            {
                w.queue.accepted.insert((*client, serial));
            }
            w.queue.entries.push_back(Entry::Ours(event));
            true
        })
    }
}

fn describe(event: &Notification<SimBuffer>) -> Delivery {
    match event {
        Notification::Connected => Delivery::Connected,
        Notification::Disconnected { client } => Delivery::Disconnected(*client),
        Notification::Published { id } => Delivery::Published(*id),
        Notification::Data { client, message } => Delivery::Data {
            client: *client,
            topic: String::from_utf8(message.topic.as_slice().to_vec()).expect("topics are UTF-8"),
            payload: message.payload.as_ref().map(|p| p.as_slice().to_vec()).unwrap_or_default(),
            qos: message.qos.level(),
            dup: message.dup,
            retain: message.retain,
            id: message.id,
        },
    }
}

/// The event task delivers the first entry.
pub(crate) fn deliver() {
    let (entry, listeners) = with(|w| {
        w.running.push(EVENT_TASK);
        w.turns_in_vain = 0;
        let entry = w.queue.entries.pop_front().expect("an entry");
        (entry, if w.queue.listening { w.queue.hub } else { None })
    });
    match entry {
        Entry::AddCallback => with(|w| w.queue.listening = true),
        Entry::RemoveCallback => with(|w| w.queue.listening = false),
        Entry::Probe(number) => {
            if let Some(hub) = listeners {
                let _library = memory::library();
                hub.delivered(Some(number));
            }
        }
        Entry::Foreign => {}
        Entry::Exit(down) => exit(down),
        Entry::Ours(event) => {
            let delivery = describe(&event);
            note(|| format!("event {}", brief(&delivery)));
            let (handler, ours_first) = with(|w| (w.handler.clone(), w.queue.ours_first));
            let delivered = || {
                with(|w| w.queue.ours -= 1);
                if let Some(hub) = listeners {
                    with(|w| w.promises.delivered(w.now));
                    let _library = memory::library();
                    hub.delivered(None);
                }
            };
            if ours_first {
                delivered();
            }
            if let Some(handler) = handler {
                handler(&delivery);
            }
            // the application frees topic and payload
            drop(event);
            if !ours_first {
                delivered();
            }
        }
    }
    enter_thrown();
    with(|w| {
        if w.faults.slow_callback > 0 {
            w.queue.busy_until = w.now + w.rng.between(0, w.faults.slow_callback);
        }
        assert_eq!(w.running.pop(), Some(EVENT_TASK));
    });
}

/// `wm_event_deinit` and `wm_event_init`: all registrations are forgotten, and what is queued is thrown away; or, as the
/// SDK does it, delivered, and only what comes while that lasts is thrown away. The application registers its callback again
/// at once.
pub(crate) fn restart(throw: bool, down: u64) {
    note(|| format!("the event queue restarts, throws away: {throw}"));
    if throw {
        exit(down);
    } else {
        with(|w| w.queue.entries.push_back(Entry::Exit(down)));
    }
}

fn exit(down: u64) {
    let thrown = with(|w| {
        (w.queue.listening, w.queue.stopped, w.queue.restarted) = (false, true, true);
        w.later(down, || with(|w| w.queue.stopped = false));
        std::mem::take(&mut w.queue.entries)
    });
    for entry in thrown {
        if let Entry::Ours(event) = entry {
            with(|w| {
                w.queue.ours -= 1;
                w.queue.thrown.push(describe(&event));
            });
        }
    }
    if !with(|w| w.is_running(EVENT_TASK)) {
        with(|w| w.running.push(EVENT_TASK));
        enter_thrown();
        with(|w| assert_eq!(w.running.pop(), Some(EVENT_TASK)));
    }
}

/// Nobody is to blame for their loss.
fn enter_thrown() {
    for delivery in with(|w| std::mem::take(&mut w.queue.thrown)) {
        super::app::enter(&delivery);
    }
}

fn brief(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Data { client, topic, payload, qos, dup, id, .. } => {
            format!("Data to {client}: {topic} #{:?} qos {qos} dup {dup} id {id}", super::app::serial(payload))
        }
        other => format!("{other:?}"),
    }
}
