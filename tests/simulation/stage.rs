//! Random applications, and what happens to them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use wm_mqtt_client::client::{Config, Error, Hub};

use super::app::{Handle, config, enter, new_serial, payload, text};
use super::broker;
use super::events::{self, Delivery};
use super::hostile::{self, Trick};
use super::memory::{self, Plan};
use super::port::Sim;
use super::rng::Rng;
use super::world::{note, with};

/// Enough for any of them.
const MOST_MESSAGES: u64 = 5_000;
const MOST_STEPS: u64 = 1_000_000;

/// What the scenario's tasks share.
pub(crate) struct Stage {
    pub(crate) rng: RefCell<Rng>,
    pub(crate) hub: &'static Hub<Sim>,
    pub(crate) handles: RefCell<Vec<Handle>>,
    /// Clients with persistent sessions whose handles were never removed.
    pub(crate) persistent: RefCell<BTreeSet<String>>,
    /// The application acts until then.
    pub(crate) until: u64,
    /// In permille: an event makes the application act.
    pub(crate) busy_handler: u64,
    /// Likewise: an allocation fails.
    pub(crate) no_memory: u64,
    pub(crate) removes: u64,
    /// Schemes of the handles.
    pub(crate) schemes: &'static [&'static str],
    /// The server may say anything.
    pub(crate) hostile: bool,
    /// The world loses nothing; then it says itself when tasks stand still.
    pub(crate) is_kind: bool,
}

impl Stage {
    pub(crate) fn below(&self, bound: usize) -> usize {
        self.rng.borrow_mut().below(bound)
    }

    fn permille(&self, n: u64) -> bool {
        self.rng.borrow_mut().permille(n)
    }

    fn pick<T: Clone>(&self, from: &[T]) -> T {
        self.rng.borrow_mut().pick(from)
    }

    /// Whether nobody acts any more.
    pub(crate) fn over(&self) -> bool {
        // Callbacks that publish may call forth more and more.
        with(|w| w.now >= self.until || w.broker.routed > MOST_MESSAGES || w.steps > MOST_STEPS)
            || self.rng.borrow().is_over()
    }

    fn handle(&self) -> Option<Handle> {
        let handles = self.handles.borrow();
        if handles.is_empty() { None } else { Some(handles[self.below(handles.len())].clone()) }
    }

    pub(crate) fn add(&self) {
        let key = with(|w| {
            w.books.clients += 1;
            w.books.clients as usize
        });
        let id = format!("client{key}");
        let clean_session = self.permille(200);
        let keep_alive = self.pick(&[3, 10, 60]);
        let scheme = self.pick(self.schemes);
        let config = Config { clean_session, keep_alive, uri: text(scheme), ..config(&id) };
        let Some(handle) = Handle::try_new(self.hub, key, config) else { return };
        if !clean_session {
            self.persistent.borrow_mut().insert(id);
        }
        self.handles.borrow_mut().push(handle);
    }

    fn remove(&self) {
        let handle = {
            let mut handles = self.handles.borrow_mut();
            if handles.is_empty() {
                return;
            }
            let at = self.below(handles.len());
            handles.swap_remove(at)
        };
        self.persistent.borrow_mut().remove(&handle.id);
        handle.remove();
    }

    fn topic(&self) -> String {
        let key = 1 + self.below(3);
        self.pick(&["all".to_owned(), format!("to/client{key}"), format!("from/client{key}")])
    }

    fn filter(&self, id: &str) -> String {
        self.pick(&[format!("to/{id}"), "all".into(), "from/+".into(), "#".into()])
    }

    fn publish(&self, handle: &Handle) {
        let len = self.pick(&[0, 10, 100, 490, 520, 2000]);
        let (_, result) = handle.publish(&self.topic(), self.below(3) as u8, len);
        // Some applications care.
        if result == Err(Error::Disconnected) && self.permille(300) {
            let _ = handle.connect();
        }
    }

    /// What is published right before the end of a connection, which nobody sends again.
    fn last_words(&self, handle: &Handle) {
        for _ in 0..self.below(3) {
            let len = self.pick(&[10, 2000]);
            let _ = handle.publish(&self.topic(), 0, len);
        }
    }

    /// Any call on any handle.
    pub(crate) fn act(&self) {
        let Some(handle) = self.handle() else { return self.add() };
        match self.below(1000) {
            0..450 => self.publish(&handle),
            450..600 => {
                for _ in 0..self.below(30) {
                    self.publish(&handle);
                }
            }
            600..700 => drop(handle.subscribe(&self.filter(&handle.id), self.below(3) as u8)),
            700..730 => drop(handle.unsubscribe(&self.filter(&handle.id))),
            730..770 => {
                self.last_words(&handle);
                let _ = handle.try_disconnect();
            }
            770..810 => {
                self.last_words(&handle);
                let _ = handle.reconnect();
            }
            810..830 if self.removes > 0 => {
                drop(handle);
                self.remove();
                if self.permille(700) {
                    self.add();
                }
            }
            830..836 => self.flood(&handle),
            _ => drop(handle.connect()),
        }
    }

    /// More than there is room for, on a slow network.
    fn flood(&self, handle: &Handle) {
        let topic = self.topic();
        let _ = (0..100).all(|_| handle.publish(&topic, 0, 2000).1.is_ok());
    }

    /// As the SDK's examples do in their callback.
    fn example_on_connected(&self, handle: &Handle) {
        let id = handle.id.clone();
        let _ = handle.publish(&format!("from/{id}"), 1, 20);
        let _ = handle.subscribe(&format!("to/{id}"), 2);
        let _ = handle.subscribe("all", 1);
        let _ = handle.unsubscribe("nothing");
    }

    pub(crate) fn event(&self, delivery: &Delivery) {
        enter(delivery);
        if self.over() || !self.permille(self.busy_handler) {
            return;
        }
        let Some(handle) = self.handle() else { return };
        match delivery {
            Delivery::Connected => self.example_on_connected(&handle),
            Delivery::Disconnected(_) if self.permille(500) => drop(handle.reconnect()),
            Delivery::Disconnected(_) => drop(handle.connect()),
            _ if self.permille(100) => self.act(),
            _ => {}
        }
    }

    /// The server says something that no broker should.
    fn lie(&self) {
        let rng = &mut *self.rng.borrow_mut();
        if rng.permille(500) {
            let trick = Trick::random(rng);
            with(|w| w.broker.tricks.push_back(trick));
        } else {
            let client = format!("client{}", 1 + rng.below(3));
            broker::say(&client, &hostile::bytes(rng));
        }
    }

    /// Something happens to the world.
    pub(crate) fn fate(&self, rough: u64) {
        if self.hostile && self.permille(500) {
            return self.lie();
        }
        match self.below(112) {
            0..50 => {
                for _ in 0..1 + self.below(5) {
                    let (serial, len) = (new_serial(), self.pick(&[5, 50, 600, 3000]));
                    broker::publish(&self.topic(), &payload(serial, len), self.below(3) as u8);
                }
            }
            50..55 => {
                for _ in 0..100 {
                    let serial = new_serial();
                    broker::publish(&self.topic(), &payload(serial, 100), 1 + self.below(2) as u8);
                }
            }
            55..70 => with(|w| w.queue.foreign(40)),
            70..80 if rough > 0 => broker::break_one(),
            80..85 if rough > 0 => broker::stall_one(1000 * (1 + self.below(30)) as u64),
            85..88 if rough > 1 => {
                note(|| "the broker dies".into());
                broker::die(false);
                with(|w| w.later(5_000, || with(|w| w.broker.up = true)));
            }
            88..91 if rough > 1 => broker::close_all(|link| link % 2 == 0),
            91..94 if rough > 1 => {
                with(|w| {
                    w.broker.style.reads = false;
                    w.later(20_000, || {
                        with(|w| w.broker.style.reads = true);
                        broker::look();
                    });
                });
            }
            94..96 => events::restart(self.permille(300), self.below(200) as u64),
            96..100 if self.no_memory > 0 => {
                note(|| "memory is short for a while".into());
                let (short, usual) = (self.no_memory * (10 + 40 * self.below(2) as u64), self.no_memory);
                // Of everything, or only for messages of some size: then connections come and go meanwhile; or for large
                // records of TLS, its handshakes and what waits for the socket.
                let (plan, most) = match self.below(5) {
                    0 => (Plan::Permille(short), 10_000),
                    1 => (Plan::OwnOver(2048), 10_000),
                    _ => (Plan::MessagesOver(self.pick(&[0, 40, 500])), 60_000),
                };
                memory::plan(plan);
                let ms = 100 + self.below(most) as u64;
                with(|w| w.later(ms, move || memory::eases(usual)));
            }
            100..103 if !self.is_kind => {
                let ms = 1 + self.below(15_000) as u64;
                note(|| format!("the MQTT task is not run for {ms} ms"));
                with(|w| w.stop_mqtt_task(ms));
            }
            103..105 if !self.is_kind => {
                let ms = self.pick(&[50, 1500, 20_000, 100_000]);
                note(|| format!("the whole system sleeps for {ms} ms"));
                with(|w| w.sleep(ms));
            }
            105..108 if rough > 0 => broker::vanish_one(self.permille(500)),
            108..110 if rough > 0 => broker::stall_one(u64::MAX / 2),
            110..112 if rough > 1 => broker::lose_sessions(),
            _ => {}
        }
    }
}
