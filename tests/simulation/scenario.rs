//! Random applications on random networks with random brokers; afterwards everything must have arrived.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use wm_mqtt_client::port::Limits;
use wm_mqtt_client::protocol;

use super::app::{self, Handle, all_have_arrived, audit, new_serial, payload};
use super::broker;
use super::hosts::{Peer, peer, v4, v6};
use super::manners::Style;
use super::memory::{self, Plan};
use super::promises::{Bounds, all_is_gone, is_well};
use super::rng::Rng;
use super::stage::Stage;
use super::world::{self, Faults, create, note, run_until, start_app, with};

/// Bytes pass as they are; or a stream in between expands and holds them. The WebSocket engine of Linux cannot fail an
/// allocation.
const PLAIN: &[&str] = &["mqtt://broker"];
const ANY: &[&str] = if cfg!(feature = "websocket") { &["mqtt://broker", "ws://broker:1883"] } else { PLAIN };

#[cfg(feature = "tls")]
const TLS: &[&str] = &["mqtts://broker:1883"];
#[cfg(feature = "tls")]
const ANY_TLS: &[&str] =
    if cfg!(feature = "websocket") { &["mqtts://broker:1883", "wss://broker:1883", "mqtt://broker"] } else { TLS };

/// The longest messages of applications, and of a server that says anything.
const LONGEST: (usize, usize) = (3100, 65_600);

/// What a scenario has seen: CONNECT packets that the broker has accepted, messages that were published in both directions,
/// milliseconds of its clock.
pub(crate) type Seen = [u64; 3];

/// A scenario of this seed.
pub(crate) fn run(seed: u64) -> Seen {
    play(seed, Rng::new(seed ^ 0xabcd_ef01), Rng::new(seed).permille(200))
}

/// A scenario where these bytes choose: the world, calls, what the server says, and when.
pub(crate) fn run_bytes(bytes: &[u8]) -> Seen {
    play(1, Rng::from_bytes(bytes), false)
}

fn faults(rng: &mut Rng, rough: u64) -> Faults {
    let mut faults = Faults {
        latency: rng.pick(&[(0, 0), (1, 10), (20, 200)]),
        late_readiness: rng.pick(&[0, 5, 100]),
        segment: rng.pick(&[0, 7, 100, 1400]),
        capacity: rng.pick(&[64, 1000, 16_384, 65_536]),
        slow_callback: rng.pick(&[0, 0, 10, 500]),
        preempt: rng.pick(&[0, 20, 100]),
        partial: rng.pick(&[0, 300, 900]),
        stall: rng.pick(&[0, 0, 2, 20]),
        stall_for: rng.pick(&[5, 900, 13_000]),
        delayed_ack: rng.pick(&[0, 0, 40, 250]),
        ..Faults::NONE
    };
    faults.spurious = rng.pick(&[0, 2, 50]);
    if rough > 0 {
        faults.refuse = rng.pick(&[0, 200]);
        faults.black_hole = rng.pick(&[0, 100]);
        faults.lookup_fails = rng.pick(&[0, 100]);
        faults.lookup = rng.pick(&[0, 100, 20_000, 1_000_000]);
    }
    faults
}

fn style(rng: &mut Rng, rough: u64, forgives_order: bool) -> Style {
    let mut style = Style {
        reply: rng.pick(&[(0, 0), (0, 5), (50, 300), (0, 3000)]),
        closes: rng.pick(&[0, 500, 1000]),
        window: rng.pick(&[0, 1, 20]),
        sloppy: rng.permille(300),
        twice: rng.pick(&[0, 0, 100]),
        late: rng.pick(&[0, 0, 300]),
        pieces: rng.pick(&[0, 0, 200]),
        forgives_order,
        ..Style::GOOD
    };
    if rough > 0 {
        style.refuses = rng.pick(&[0, 100]);
        style.ignores = rng.pick(&[0, 50]);
        style.refuses_subscription = rng.pick(&[0, 100]);
        style.ignores_subscription = rng.pick(&[0, 50]);
    }
    style
}

/// A network and a broker that lose nothing and take their time for nothing: no connection may end but by a call. Tasks stand
/// still, but for no longer than a limit is put off in the middle of what they do, and the event queue is full.
fn kind(rng: &mut Rng) -> (Faults, Style) {
    // What waits before a PINGREQ may take longer than keep-alive.
    let (latency, capacity) = rng.pick(&[((1, 3), 65_536), ((1, 3), 65_536), ((100, 150), 600), ((100, 150), 120)]);
    let faults = Faults {
        latency,
        capacity,
        late_readiness: rng.pick(&[0, 5]),
        segment: rng.pick(&[0, 100, 1400]),
        slow_callback: rng.pick(&[0, 10, 500]),
        preempt: rng.pick(&[0, 20, 100]),
        partial: rng.pick(&[0, 300]),
        stall: rng.pick(&[0, 2, 20]),
        stall_for: rng.pick(&[5, 100]),
        spurious: rng.pick(&[0, 50]),
        stop_at_ping: rng.pick(&[0, 200, 500]),
        ..Faults::NONE
    };
    (faults, Style { window: rng.pick(&[0, 1, 20]), closes: rng.pick(&[0, 500, 1000]), ..Style::GOOD })
}

/// The same over TLS.
#[cfg(feature = "tls")]
fn secure(rng: &mut Rng, no_memory: bool, is_kind: bool, faults: Faults) -> (&'static [&'static str], Faults) {
    let mut faults = Faults { compute: rng.pick(&[0, 3, 100, 101, 2000, 40_000]), ..faults };
    if !is_kind {
        faults.bad_tls = rng.pick(&[0, 0, 5, 50]);
        faults.no_reserve = rng.pick(&[0, 0, 3, 50]);
    }
    (if no_memory && cfg!(feature = "tungstenite") { TLS } else { ANY_TLS }, faults)
}

/// Addresses of the broker, whoever else answers there, and how many connections race.
fn addresses(rng: &mut Rng) -> (Vec<SocketAddr>, usize) {
    let others = [Peer::Broker, Peer::Refuses, Peer::Silent, Peer::Unroutable, Peer::Distant, Peer::Dies, Peer::Mute];
    match rng.below(4) {
        0 => (vec![v4(Peer::Broker, 0)], 1),
        1 => (vec![v4(Peer::Broker, 0)], 2),
        // A lookup gives one, of one family.
        2 => {
            let (peers, other) = ([v4 as fn(Peer, u8) -> SocketAddr, v6], rng.pick(&others));
            let broker = rng.below(2);
            (vec![peers[broker](Peer::Broker, 0), peers[1 - broker](other, 1)], 1)
        }
        _ => {
            let family = |rng: &mut Rng| if rng.permille(500) { v4 as fn(Peer, u8) -> SocketAddr } else { v6 };
            let mut addresses: Vec<_> = (0..rng.below(4) as u8).map(|n| family(rng)(rng.pick(&others), n)).collect();
            addresses.insert(rng.below(addresses.len() + 1), v4(Peer::Broker, 9));
            (addresses, 2)
        }
    }
}

fn limits(rng: &mut Rng, entries: usize) -> Limits {
    Limits {
        io_buffer: rng.pick(&[50, 600, 2048, MOST_READ]),
        #[cfg(feature = "tls")]
        record: 1024,
        #[cfg(feature = "tls")]
        chain: 16_384,
        #[cfg(feature = "tls")]
        names: 100,
        session: protocol::Limits {
            window: rng.pick(&[1, 5, 20]),
            outgoing: rng.pick(&[200, 1000, 4096]),
            payload: u16::MAX,
        },
        backlog: rng.pick(&[0, 2000, 16_384]),
        event_share: usize::max(entries / 2, 1),
    }
}

/// The largest `io_buffer` of all, and a record of TLS.
const MOST_READ: usize = 16_384;

/// What so many clients may take of memory, each with these bounds; `told`: messages besides, of which callbacks are told; `unkept`:
/// bytes that were read, and that there may be no memory to keep as they are.
fn bounds(clients: usize, limits: &Limits, longest: usize, told: usize, unkept: usize, schemes: &[&str]) -> Bounds {
    let Limits { io_buffer, session, backlog, .. } = *limits;
    // A message and its list entry; what waits for the socket, as a list that doubles when it grows; bytes that were read and
    // written; entries of events, whose bound is four times that in a callback; tungstenite, rustls.
    let kept = usize::from(session.window) * 2200;
    let own = 8192 + kept + 12 * session.outgoing + 8 * io_buffer + 16 * backlog;
    let layers =
        ["ws", "s:"].map(|layer| 512 * 1024 * usize::from(schemes.iter().any(|scheme| scheme.contains(layer))));
    let own = own + layers.iter().sum::<usize>();
    // Those that wait, and if there are none one. While a call waits in a callback there may be more.
    let messages = usize::max(backlog, longest) + told * longest;
    let in_callback = usize::max(4 * backlog, longest) + 2 * longest + unkept;
    Bounds {
        own: clients * own + 32_768,
        one: messages,
        messages: clients * messages,
        in_callback: clients * in_callback,
    }
}

fn play(seed: u64, mut rng: Rng, is_secure: bool) -> Seen {
    let start = rng.pick(&[0, u64::from(u32::MAX) - 40_000, 1 << 40]);
    create(seed, start);
    let (hostile, is_kind) = match rng.below(8) {
        0 => (true, false),
        1 | 2 => (false, true),
        _ => (false, false),
    };
    let rough = if is_kind { 0 } else { rng.between(0, 2) };
    let no_memory = if rough > 1 { rng.pick(&[0, 0, 20]) } else { 0 };
    let forgetful = no_memory > 0 || hostile;
    let (faults, style) =
        if is_kind { kind(&mut rng) } else { (faults(&mut rng, rough), style(&mut rng, rough, forgetful)) };
    let style = Style { hostile, ..style };
    // Neither the network nor the MQTT task needs seconds for what is little.
    let is_fast = faults.latency.1 < 10 && (faults.stall == 0 || faults.stall_for < 100);
    let entries = rng.pick(&[1, 2, 3, 8, 32, 64]);
    let limits = limits(&mut rng, entries);
    let window = style.window;
    let clients = rng.pick(&[1, 1, 2, 3]);
    let (addresses, races) = if is_kind { (vec![v4(Peer::Broker, 0)], 2) } else { addresses(&mut rng) };
    let removes = u64::from(clients > 1 && rng.permille(300));
    let ours_first = rng.permille(300);
    // Without the WebSocket's memory less is too much.
    let is_plain = no_memory > 0 && cfg!(feature = "tungstenite") || rng.permille(400);
    let schemes = if is_plain { PLAIN } else { ANY };
    #[cfg(feature = "tls")]
    let (schemes, faults) =
        if is_secure { secure(&mut rng, no_memory > 0, is_kind, faults) } else { (schemes, faults) };
    #[cfg(not(feature = "tls"))]
    let _ = is_secure;
    let length = rng.pick(&[10_000, 40_000, 120_000]);
    with(|w| {
        (w.faults, w.limits, w.broker.style) = (faults, limits, style);
        w.hosts.names.insert("broker", addresses);
        w.hosts.races = races;
        w.queue.size = entries;
        w.queue.ours_first = ours_first;
        w.books.alone = clients == 1;
        (w.promises.looked_after, w.promises.hostile) = (true, hostile);
    });
    let stage = Rc::new(Stage {
        hub: app::hub(),
        handles: RefCell::default(),
        persistent: RefCell::default(),
        until: start + length,
        busy_handler: rng.pick(&[0, 300, 1000]),
        no_memory,
        removes,
        schemes,
        hostile,
        is_kind,
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
            Some(1 + stage.below(pause) as u64)
        });
    }
    let fate = stage.clone();
    start_app(1000, move || {
        if fate.over() {
            return None;
        }
        fate.fate(rough);
        Some(1 + fate.below(2000) as u64)
    });
    with(|w| {
        let longest = if hostile { LONGEST.1 } else { LONGEST.0 };
        // Handles that come when others have gone may be there beside their last events.
        let count = if removes > 0 { 3 * clients } else { clients };
        let unkept = if no_memory > 0 { MOST_READ } else { 0 };
        w.promises.bounds = Some(bounds(count, &w.limits, longest, usize::from(ours_first), unkept, schemes));
        w.promises.calls_in_callbacks = stage.busy_handler > 0;
        w.promises.is_forgetful = no_memory > 0;
    });
    run_until(length, || stage.over());
    assert!(run_until(300_000, || !world::apps_running()), "a call does not return");
    finish(&stage, window, forgetful);
    if is_kind {
        assert_eq!(with(|w| w.books.lost), 0, "connections were lost on a network that loses nothing");
        // A reconnect waits up to 10 s for what is to leave, and for a slow network 1 s.
        if is_fast && with(|w| w.longest_stop < 8_000) {
            all_have_arrived(&stage.persistent.borrow());
        }
    }
    with(|w| [w.broker.connects, w.books.sent.len() as u64 + w.broker.routed, w.now - start])
}

/// The world calms down; everything must arrive, and then everything ends.
fn finish(stage: &Stage, window: usize, forgetful: bool) {
    note(|| "the world calms down".into());
    memory::is_back();
    with(|w| {
        let Faults { segment, capacity, partial, spurious, stop_at_ping, .. } = w.faults;
        w.faults = Faults { segment, capacity, partial, spurious, stop_at_ping, ..Faults::NONE };
        w.broker.style.window = window;
    });
    broker::behave();
    // Long enough for dead connections to be noticed. Three times keep-alive: where nobody knew yet that the event queue had been begun
    // anew, a connection that is silent goes on reading when its PINGREQ is due, and its silence counts from there.
    world::run(210_000);
    with(|w| w.faults.stop_at_ping = 0);
    world::run(15_000);
    // A server that talks wants to hear of its clients all the same [MQTT-3.1.2-23].
    with(|w| w.broker.longest_silence = 0);
    for second in 0..15 {
        with(|w| w.later(1000 * second, || broker::publish("all", &payload(new_serial(), 10), 0)));
    }
    world::run(20_000);
    let silence = with(|w| w.broker.longest_silence);
    assert!(silence <= 110 || stage.hostile, "a client says nothing for {silence} % of keep-alive");
    let handles = stage.handles.borrow().clone();
    // An address where connections die is not the first one the next time, and does not race then.
    let deaths =
        with(|w| w.hosts.names["broker"].iter().filter(|a| matches!(peer(**a), Peer::Dies | Peer::Mute)).count());
    let mut last = Vec::new();
    for handle in &handles {
        let try_often = |call: fn(&Handle) -> app::Result<()>| {
            // That events were thrown away is noticed half a second after a call has waited behind them, and that may fail.
            let after_a_while = || {
                world::run(1000);
                with(|w| w.queue.restarted) && call(handle).is_ok()
            };
            let is_up = (0..=deaths).any(|_| call(handle).is_ok()) || after_a_while();
            assert!(is_up, "no connection on a network without faults");
        };
        try_often(Handle::connect);
        if forgetful {
            // As below.
            world::run(1000);
            // What there was no memory for comes again with a new connection.
            try_often(Handle::reconnect);
        }
    }
    let settled = run_until(300_000, || with(|w| !w.broker.owes() && w.queue.is_empty()));
    assert!(settled, "the broker's messages are not taken");
    // Until an event was delivered nobody knows the event task: a subscribe might be in it, and would fail behind CONNECTED.
    world::run(1000);
    last.extend(handles.iter().map(is_well));
    world::run(30_000);
    with(|w| {
        let is_there = |serial| w.broker.arrivals.get(serial).is_some_and(|arrival| arrival.taken == 1);
        assert!(last.iter().all(is_there), "a message on a network without faults is lost");
    });
    // Who believes a server that says anything has nothing to claim.
    if !stage.hostile {
        audit(&stage.persistent.borrow(), !forgetful);
    }
    for handle in &handles {
        assert!(handle.disconnect() < 1000, "a disconnect with nothing in flight");
        assert!(!with(|w| w.broker.is_connected(&handle.id)), "connected behind a disconnect");
    }
    world::run(1000);
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
