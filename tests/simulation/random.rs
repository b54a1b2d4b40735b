//! Random applications on random networks with random brokers; afterwards everything must have arrived.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use wm_mqtt_client::client::{Config, Error, Hub};
use wm_mqtt_client::port::Limits;
use wm_mqtt_client::protocol;

use crate::app::{self, Handle, audit, config, enter, new_serial, payload, text};
use crate::broker::{self, Style};
use crate::events::{self, Delivery};
use crate::hosts::{Peer, peer, v4, v6};
use crate::memory::{self, Plan};
use crate::port::Sim;
use crate::rng::Rng;
use crate::world::{self, Faults, create, note, run, run_until, start_app, with};

/// Bytes pass as they are; or a stream in between expands and holds them. The WebSocket engine of Linux cannot fail an
/// allocation.
const PLAIN: &[&str] = &["mqtt://broker"];
const ANY: &[&str] = if cfg!(feature = "websocket") { &["mqtt://broker", "ws://broker:1883"] } else { PLAIN };

/// How many of the tests below share the seeds.
const PARTS: u64 = 2;

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (0..count.unwrap_or(300)).collect(),
    }
}

fn run_part(part: u64) {
    for seed in seeds().into_iter().filter(|seed| seed % PARTS == part) {
        let result = catch_unwind(AssertUnwindSafe(|| scenario(seed)));
        if let Err(panic) = result {
            eprintln!("seed {seed} fails: SIM_SEED={seed} SIM_TRACE=1 cargo test --test simulation random");
            resume_unwind(panic);
        }
    }
}

#[test]
fn random_even_seeds() {
    run_part(0);
}

#[test]
fn random_odd_seeds() {
    run_part(1);
}

/// A random pick.
fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len())].clone()
}

/// What the scenario's tasks share.
struct Stage {
    rng: RefCell<Rng>,
    hub: &'static Hub<Sim>,
    handles: RefCell<Vec<Handle>>,
    /// Clients with persistent sessions whose handles were never removed.
    persistent: RefCell<BTreeSet<String>>,
    /// The application acts until then.
    until: u64,
    /// In permille: an event makes the application act.
    busy_handler: u64,
    /// Likewise: an allocation fails.
    no_memory: u64,
    removes: u64,
    /// Schemes of the handles.
    schemes: &'static [&'static str],
}

impl Stage {
    fn below(&self, bound: usize) -> usize {
        self.rng.borrow_mut().below(bound)
    }

    fn permille(&self, n: u64) -> bool {
        self.rng.borrow_mut().permille(n)
    }

    fn over(&self) -> bool {
        with(|w| w.now) >= self.until
    }

    fn handle(&self) -> Option<Handle> {
        let handles = self.handles.borrow();
        if handles.is_empty() { None } else { Some(handles[self.below(handles.len())].clone()) }
    }

    fn add(&self) {
        let key = with(|w| {
            w.books.clients += 1;
            w.books.clients as usize
        });
        let id = format!("client{key}");
        let clean_session = self.permille(200);
        let keep_alive = pick(&mut self.rng.borrow_mut(), &[3, 10, 60]);
        let scheme = pick(&mut self.rng.borrow_mut(), self.schemes);
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
        pick(&mut self.rng.borrow_mut(), &["all".to_owned(), format!("to/client{key}"), format!("from/client{key}")])
    }

    fn filter(&self, id: &str) -> String {
        pick(&mut self.rng.borrow_mut(), &[format!("to/{id}"), "all".into(), "from/+".into(), "#".into()])
    }

    fn publish(&self, handle: &Handle) {
        let len = pick(&mut self.rng.borrow_mut(), &[0, 10, 100, 490, 520, 2000]);
        let (_, result) = handle.publish(&self.topic(), self.below(3) as u8, len);
        // Some applications care.
        if result == Err(Error::Disconnected) && self.permille(300) {
            let _ = handle.connect();
        }
    }

    /// Any call on any handle.
    fn act(&self) {
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
            730..770 => drop(handle.try_disconnect()),
            770..810 => drop(handle.reconnect()),
            810..830 if self.removes > 0 => {
                drop(handle);
                self.remove();
                if self.permille(700) {
                    self.add();
                }
            }
            _ => drop(handle.connect()),
        }
    }

    /// As the SDK's examples do in their callback.
    fn example_on_connected(&self, handle: &Handle) {
        let id = handle.id.clone();
        let _ = handle.publish(&format!("from/{id}"), 1, 20);
        let _ = handle.subscribe(&format!("to/{id}"), 2);
        let _ = handle.subscribe("all", 1);
        let _ = handle.unsubscribe("nothing");
    }

    fn event(&self, delivery: &Delivery) {
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

    /// Something happens to the world.
    fn fate(&self, rough: u64) {
        match self.below(100) {
            0..50 => {
                for _ in 0..1 + self.below(5) {
                    let (serial, len) = (new_serial(), pick(&mut self.rng.borrow_mut(), &[5, 50, 600, 3000]));
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
            88..91 if rough > 1 => broker::close_all(),
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
                // Of everything, or only for messages of some size: then connections come and go meanwhile.
                let plans =
                    [Plan::Permille(short), Plan::MessagesOver(0), Plan::MessagesOver(40), Plan::MessagesOver(500)];
                let plan = pick(&mut self.rng.borrow_mut(), &plans);
                memory::plan(plan);
                let ms = 100 + self.below(if matches!(plan, Plan::Permille(_)) { 10_000 } else { 60_000 }) as u64;
                with(|w| w.later(ms, move || memory::eases(usual)));
            }
            _ => {}
        }
    }
}

fn faults(rng: &mut Rng, rough: u64) -> Faults {
    let mut faults = Faults {
        latency: pick(rng, &[(0, 0), (1, 10), (20, 200)]),
        late_readiness: pick(rng, &[0, 5, 100]),
        segment: pick(rng, &[0, 7, 100, 1400]),
        capacity: pick(rng, &[64, 1000, 16_384, 65_536]),
        slow_callback: pick(rng, &[0, 0, 10, 500]),
        preempt: pick(rng, &[0, 20, 100]),
        partial: pick(rng, &[0, 300, 900]),
        stall: pick(rng, &[0, 0, 2, 20]),
        stall_for: pick(rng, &[5, 900, 13_000]),
        delayed_ack: pick(rng, &[0, 0, 40, 250]),
        ..Faults::NONE
    };
    if rough > 0 {
        faults.refuse = pick(rng, &[0, 200]);
        faults.black_hole = pick(rng, &[0, 100]);
        faults.lookup_fails = pick(rng, &[0, 100]);
        faults.lookup = pick(rng, &[0, 100, 20_000]);
    }
    faults
}

fn style(rng: &mut Rng, rough: u64, forgives_order: bool) -> Style {
    let mut style = Style {
        reply: pick(rng, &[(0, 0), (0, 5), (50, 300), (0, 3000)]),
        closes: pick(rng, &[0, 500, 1000]),
        window: pick(rng, &[0, 1, 20]),
        sloppy: rng.permille(300),
        forgives_order,
        ..Style::GOOD
    };
    if rough > 0 {
        style.refuses = pick(rng, &[0, 100]);
        style.ignores = pick(rng, &[0, 50]);
        style.refuses_subscription = pick(rng, &[0, 100]);
        style.ignores_subscription = pick(rng, &[0, 50]);
    }
    style
}

/// Addresses of the broker, whoever else answers there, and how many connections race.
fn addresses(rng: &mut Rng) -> (Vec<SocketAddr>, usize) {
    let others = [Peer::Broker, Peer::Refuses, Peer::Silent, Peer::Unroutable, Peer::Distant, Peer::Dies, Peer::Mute];
    match rng.below(4) {
        0 => (vec![v4(Peer::Broker, 0)], 1),
        1 => (vec![v4(Peer::Broker, 0)], 2),
        // A lookup gives one, of one family.
        2 => {
            let (peers, other) = ([v4 as fn(Peer, u8) -> SocketAddr, v6], pick(rng, &others));
            let broker = rng.below(2);
            (vec![peers[broker](Peer::Broker, 0), peers[1 - broker](other, 1)], 1)
        }
        _ => {
            let family = |rng: &mut Rng| if rng.permille(500) { v4 as fn(Peer, u8) -> SocketAddr } else { v6 };
            let mut addresses: Vec<_> = (0..rng.below(4) as u8).map(|n| family(rng)(pick(rng, &others), n)).collect();
            addresses.insert(rng.below(addresses.len() + 1), v4(Peer::Broker, 9));
            (addresses, 2)
        }
    }
}

fn scenario(seed: u64) {
    let mut rng = Rng::new(seed ^ 0xabcd_ef01);
    let start = pick(&mut rng, &[0, u64::from(u32::MAX) - 40_000, 1 << 40]);
    create(seed, start);
    let rough = rng.between(0, 2);
    let faults = faults(&mut rng, rough);
    let no_memory = if rough > 1 { pick(&mut rng, &[0, 0, 20]) } else { 0 };
    let forgetful = no_memory > 0;
    let style = style(&mut rng, rough, forgetful);
    let entries = pick(&mut rng, &[1, 2, 3, 8, 32, 64]);
    let limits = Limits {
        io_buffer: pick(&mut rng, &[50, 600, 2048, 16_384]),
        #[cfg(feature = "tls")]
        record: 1024,
        #[cfg(feature = "tls")]
        chain: 16_384,
        #[cfg(feature = "tls")]
        names: 100,
        session: protocol::Limits {
            window: pick(&mut rng, &[1, 5, 20]),
            outgoing: pick(&mut rng, &[200, 1000, 4096]),
            payload: u16::MAX,
        },
        backlog: pick(&mut rng, &[0, 2000, 16_384]),
        event_share: usize::max(entries / 2, 1),
    };
    let window = style.window;
    let clients = pick(&mut rng, &[1, 1, 2, 3]);
    let (addresses, races) = addresses(&mut rng);
    let removes = u64::from(clients > 1 && rng.permille(300));
    let ours_first = rng.permille(300);
    with(|w| {
        (w.faults, w.limits, w.broker.style) = (faults, limits, style);
        w.hosts.names.insert("broker", addresses);
        w.hosts.races = races;
        w.queue.size = entries;
        w.queue.ours_first = ours_first;
        w.books.alone = clients == 1;
    });
    let length = pick(&mut rng, &[10_000, 40_000, 120_000]);
    let stage = Rc::new(Stage {
        hub: app::hub(),
        handles: RefCell::default(),
        persistent: RefCell::default(),
        until: start + length,
        busy_handler: pick(&mut rng, &[0, 300, 1000]),
        no_memory,
        removes,
        schemes: if forgetful && cfg!(feature = "tungstenite") { PLAIN } else { ANY },
        rng: RefCell::new(rng),
    });
    for _ in 0..clients {
        stage.add();
    }
    memory::plan(Plan::Permille(no_memory));
    let handler = stage.clone();
    with(|w| w.handler = Some(Rc::new(move |delivery| handler.event(delivery))));
    for _ in 0..clients * 2 {
        let (stage, pause) = (stage.clone(), 1 + stage.below(4000));
        start_app(stage.below(100) as u64, move || {
            if stage.over() {
                return None;
            }
            stage.act();
            Some(stage.below(pause) as u64)
        });
    }
    let fate = stage.clone();
    start_app(1000, move || {
        if fate.over() {
            return None;
        }
        fate.fate(rough);
        Some(fate.below(2000) as u64)
    });
    run(length);
    assert!(run_until(300_000, || !world::apps_running()), "a call does not return");
    finish(&stage, window, forgetful);
}

/// The world calms down; everything must arrive, and then everything ends.
fn finish(stage: &Stage, window: usize, forgetful: bool) {
    note(|| "the world calms down".into());
    memory::is_back();
    with(|w| {
        let Faults { segment, capacity, partial, .. } = w.faults;
        w.faults = Faults { segment, capacity, partial, ..Faults::NONE };
        w.broker.style.window = window;
    });
    broker::behave();
    // Long enough for dead connections to be noticed.
    run(150_000);
    let handles = stage.handles.borrow().clone();
    // An address where connections die is not the first one the next time, and does not race then.
    let deaths =
        with(|w| w.hosts.names["broker"].iter().filter(|a| matches!(peer(**a), Peer::Dies | Peer::Mute)).count());
    for handle in &handles {
        let connected = (0..=deaths).any(|_| handle.connect().is_ok());
        assert!(connected, "on a network without faults");
        if forgetful {
            // Until an event was delivered nobody knows the event task: the call might be in it, and would fail behind messages.
            run(1000);
            // What there was no memory for comes again with a new connection.
            assert_eq!(handle.reconnect(), Ok(()));
        }
    }
    let settled = run_until(300_000, || with(|w| !w.broker.owes() && w.queue.is_empty()));
    assert!(settled, "the broker's messages are not taken");
    run(30_000);
    audit(&stage.persistent.borrow(), !forgetful);
    for handle in &handles {
        assert!(handle.disconnect() < 1000, "a disconnect with nothing in flight");
    }
    run(1000);
    // A handle that was removed while the event task stood still for more than 10 s has lost its last event.
    with(|w| {
        let missing = w.books.connected - w.books.disconnected;
        assert!(missing <= w.books.clients - handles.len() as u64, "{missing} DISCONNECTED events are missing");
    });
    drop(handles);
    let handles = std::mem::take(&mut *stage.handles.borrow_mut());
    for handle in handles {
        assert!(handle.remove() < 1000, "a remove with nothing in flight");
    }
    all_is_gone();
}

/// After the last handle: no task, no socket, no memory.
pub(crate) fn all_is_gone() {
    run(15_000);
    with(|w| {
        assert!(w.tasks.iter().all(|task| task.ended), "the MQTT task goes on");
        assert_eq!(w.sockets, 0, "sockets are left");
        assert!(w.hosts.looking.is_empty(), "lookups that nobody waits for");
        assert!(w.queue.is_empty(), "events are left");
        assert_eq!(w.buffers, 0, "buffers are left");
        assert_eq!(w.signals, 0, "signals are left");
    });
}
