//! Every scenario with its n-th allocation failing, for every n, alone or with those behind it: nothing aborts, nothing
//! leaks, every call returns, and with memory back everything arrives.
//!
//! An allocation that must not fail ends the process, so each test runs itself again in a process of its own, and says
//! which one it was. `SIM_NO_MEMORY=17+3 cargo test --test simulation out_of_memory::publish` runs one case: the 17th
//! allocation and the two behind it fail, with a backtrace of each.

use std::any::type_name;
use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;

use wm_mqtt_client::client::{Config, Error, Hub};

use crate::app::{self, Handle, Result, audit, config, enter, text, with_host};
use crate::broker;
use crate::directed::{got, react, send};
use crate::events::{Delivery, SimEvents};
use crate::manners::Style;
use crate::memory::{self, Plan};
use crate::port::Sim;
use crate::promises::all_is_gone;
use crate::world::{self, Faults, call_later, create, run, run_until, with};

/// How many allocations fail in a row.
const BURSTS: [u64; 3] = [1, 3, u64::MAX];

/// What a scenario works with.
struct Stage {
    hub: &'static Hub<Sim>,
    handles: RefCell<Vec<Handle>>,
    last_key: RefCell<usize>,
}

impl Stage {
    fn add(&self, config: Config) -> Result<Handle> {
        *self.last_key.borrow_mut() += 1;
        let handle = Handle::try_new(self.hub, *self.last_key.borrow(), config).ok_or(Error::Failure)?;
        with(|w| w.books.clients += 1);
        self.handles.borrow_mut().push(handle.clone());
        Ok(handle)
    }

    /// The first client.
    fn one(&self) -> Handle {
        self.handles.borrow()[0].clone()
    }

    /// One more, connected and subscribed.
    fn subscribed(&self) -> Result<Handle> {
        let handle = self.add(config(&format!("c{}", *self.last_key.borrow() + 1)))?;
        handle.connect()?;
        handle.subscribe("in/#", 2)?;
        Ok(handle)
    }

    fn remove(&self, handle: Handle) {
        self.handles.borrow_mut().retain(|other| other.key != handle.key);
        handle.remove();
    }
}

/// A client that is neither connected nor known to the MQTT task.
fn fresh(stage: &Stage) {
    stage.add(config("c1")).expect("memory");
}

/// A client that is connected and subscribed to everything at QoS 2.
fn subscribed(stage: &Stage) {
    stage.subscribed().expect("memory");
    run(100);
}

/// As `subscribed`, with ten messages to the broker that it has not acknowledged, large and small.
fn in_flight(stage: &Stage) {
    subscribed(stage);
    with(|w| w.broker.style.acknowledges = false);
    for n in 0..10 {
        assert!(stage.one().publish("t", 1 + n % 2, if n % 3 == 0 { 700 } else { 20 }).1.is_ok());
    }
    run(100);
}

/// Runs `act` on what `begin` has made, with and without memory.
fn sweep<A: Fn(&Stage) -> Result<()>>(begin: fn(&Stage), act: A) {
    // the path of the test that has made the closure
    let test = type_name::<A>().trim_end_matches("::{{closure}}").split_once("::").expect("a path").1;
    match std::env::var("SIM_NO_MEMORY") {
        Ok(case) if case == "all" => {
            let clean = attempt(begin, &act, Plan::Never).live;
            for count in BURSTS {
                for first in 1.. {
                    println!("case {first}+{count}");
                    let attempt = attempt(begin, &act, Plan::Burst { first, count });
                    assert!(attempt.live <= clean, "{} bytes leaked", attempt.live - clean);
                    if attempt.refused == 0 {
                        break;
                    }
                }
            }
        }
        Ok(case) => {
            let (first, count) = case.split_once('+').expect("a case, as 17+3");
            memory::show_refusals();
            let number = |text: &str| text.parse().expect("a number");
            attempt(begin, &act, Plan::Burst { first: number(first), count: number(count) });
        }
        Err(_) => {
            let output = again(test, "all");
            if !output.status.success() {
                let log = String::from_utf8_lossy(&output.stdout).into_owned();
                let case = log.lines().rev().find_map(|line| line.strip_prefix("case ")).unwrap_or("0+0");
                let details = again(test, case);
                println!("{}", String::from_utf8_lossy(&details.stdout));
                println!("{}", String::from_utf8_lossy(&details.stderr));
                panic!("{}: SIM_NO_MEMORY={case} cargo test --test simulation {test}", output.status);
            }
        }
    }
}

/// This test in a process of its own.
fn again(test: &str, case: &str) -> std::process::Output {
    let program = std::env::current_exe().expect("this program");
    let arguments = [test, "--exact", "--nocapture", "--test-threads=1"];
    Command::new(program).args(arguments).env("SIM_NO_MEMORY", case).output().expect("a process")
}

/// What is left of an attempt.
struct Attempt {
    refused: u64,
    live: usize,
}

fn attempt(begin: fn(&Stage), act: &impl Fn(&Stage) -> Result<()>, plan: Plan) -> Attempt {
    create(1, 5_000);
    let before = memory::live();
    let stage = Stage { hub: app::hub(), handles: RefCell::default(), last_key: RefCell::default() };
    with(|w| {
        w.broker.style.forgives_order = true;
        w.handler = Some(Rc::new(enter));
    });
    begin(&stage);
    memory::plan(plan);
    let result = act(&stage);
    let refused = memory::is_back();
    assert!(refused > 0 || result == Ok(()), "{result:?} with enough memory");
    assert!(matches!(result, Ok(()) | Err(Error::Failure | Error::Disconnected)), "{result:?}");
    recover(&stage);
    // With memory it works.
    assert_eq!(act(&stage), Ok(()));
    recover(&stage);
    let handles = std::mem::take(&mut *stage.handles.borrow_mut());
    for handle in handles {
        handle.remove();
    }
    all_is_gone();
    Attempt { refused, live: memory::live() - before }
}

/// There is memory, and nobody misbehaves: every client works, and what was not delivered comes with a new connection.
fn recover(stage: &Stage) {
    with(|w| {
        w.faults = Faults::NONE;
        w.handler = Some(Rc::new(enter));
    });
    broker::behave();
    assert!(run_until(100_000, || !world::apps_running()), "a call does not return");
    run(150_000);
    let handles = stage.handles.borrow().clone();
    for handle in &handles {
        assert_eq!(handle.connect(), Ok(()));
        assert_eq!(handle.reconnect(), Ok(()));
        assert!(handle.publish("t", 2, 10).1.is_ok());
        assert!(handle.subscribe("in/#", 2).is_ok());
    }
    let before = handles.first().map(|handle| got(handle).len());
    send(1, 2, 10);
    assert!(run_until(100_000, || with(|w| !w.broker.owes() && w.queue.is_empty())), "messages are not taken");
    run(10_000);
    assert!(before.is_none_or(|before| got(&handles[0]).len() > before), "messages do not come");
    audit(&handles.iter().filter(|h| !h.client.config().clean_session).map(|h| h.id.clone()).collect(), false);
    with(|w| assert_eq!(w.books.connected - w.books.disconnected, handles.len() as u64, "events are lost"));
}

#[test]
fn hub() {
    sweep(fresh, |_| {
        let _library = memory::library();
        Hub::<Sim>::new(&SimEvents).map(drop).ok_or(Error::Failure)
    });
}

#[test]
fn add_and_remove() {
    sweep(fresh, |stage| {
        let handle = stage.add(config("other"))?;
        stage.remove(handle);
        Ok(())
    });
}

#[test]
fn connect() {
    sweep(fresh, |stage| stage.one().connect());
}

#[test]
fn connect_with_everything() {
    sweep(
        |stage| {
            let everything = Config {
                username: Some(text("user")),
                password: Some(text("password")),
                will_topic: Some(text("will")),
                will_message: Some(text("message")),
                will_qos: 2,
                debug: true,
                ..config("c1")
            };
            stage.add(with_host(everything, "second-best")).expect("memory");
        },
        |stage| stage.one().connect(),
    );
}

#[test]
fn connect_a_second_client() {
    sweep(subscribed, |stage| stage.subscribed().map(drop));
}

#[test]
fn connect_two_at_a_time() {
    sweep(fresh, |stage| {
        let (first, second) = (stage.one(), stage.one());
        let other = call_later(0, move || second.connect());
        let result = first.connect();
        run(1_000);
        let other = other.borrow().map_or(Err(Error::Failure), |(other, _)| other);
        result.and(other)
    });
}

#[test]
fn connect_in_vain() {
    sweep(fresh, |stage| {
        stage.one().disconnect();
        with(|w| w.broker.up = false);
        let refused = stage.one().connect();
        with(|w| w.broker.up = true);
        assert_eq!(refused, Err(Error::Failure));
        stage.one().connect()
    });
}

#[test]
fn publish() {
    sweep(subscribed, |stage| {
        let mut result = Ok(());
        for qos in 0..3 {
            for len in [0, 600, 3000] {
                result = result.and(stage.one().publish("t", qos, len).1.map(drop));
            }
        }
        run(1_000);
        result
    });
}

/// The broker is slow, so all of the window waits in the library, and then publish waits for room.
#[test]
fn publish_to_a_full_window() {
    sweep(subscribed, |stage| {
        with(|w| w.broker.style.reply = (500, 500));
        let mut result = Ok(());
        for n in 0..25 {
            result = result.and(stage.one().publish("t", 1 + n % 2, 20).1.map(drop));
        }
        run(5_000);
        result
    });
}

/// Nothing leaves, so all of it waits in the outgoing queue.
#[test]
fn publish_to_a_slow_network() {
    sweep(subscribed, |stage| {
        with(|w| w.faults = Faults { capacity: 50, segment: 20, ..Faults::NONE });
        let mut result = Ok(());
        for n in 0..15 {
            result = result.and(stage.one().publish("t", n % 3, [10, 400, 700][usize::from(n % 2)]).1.map(drop));
        }
        run(5_000);
        result
    });
}

#[test]
fn subscribe_and_unsubscribe() {
    sweep(subscribed, |stage| {
        let subscribed = stage.one().subscribe(&"long/".repeat(200), 1).map(drop);
        subscribed.and(stage.one().unsubscribe("other").map(drop))
    });
}

#[test]
fn a_subscription_without_an_answer() {
    sweep(subscribed, |stage| {
        with(|w| w.broker.style.ignores_subscription = 1000);
        assert!(matches!(stage.one().subscribe("other", 1), Err(Error::Failure | Error::Disconnected)));
        Ok(())
    });
}

#[test]
fn disconnect() {
    sweep(subscribed, |stage| {
        stage.one().disconnect();
        run(1_000);
        stage.one().connect()
    });
}

#[test]
fn disconnect_with_messages_in_flight() {
    sweep(in_flight, |stage| {
        with(|w| w.later(5_000, broker::behave));
        stage.one().disconnect();
        run(1_000);
        stage.one().connect()
    });
}

#[test]
fn reconnect_with_messages_in_flight() {
    sweep(in_flight, |stage| {
        let result = stage.one().reconnect();
        broker::behave();
        run(1_000);
        result
    });
}

#[test]
fn reconnect_a_clean_session() {
    sweep(
        |stage| {
            let handle = stage.add(Config { clean_session: true, ..config("c1") }).expect("memory");
            assert_eq!(handle.connect(), Ok(()));
        },
        |stage| stage.one().reconnect(),
    );
}

#[test]
fn a_lost_connection() {
    sweep(in_flight, |stage| {
        broker::die(true);
        run(1_000);
        broker::behave();
        stage.one().connect()
    });
}

#[test]
fn a_connection_that_the_server_closes() {
    sweep(subscribed, |stage| {
        send(5, 2, 100);
        broker::close_all(|_| false);
        run(1_000);
        stage.one().connect()
    });
}

#[test]
fn garbage() {
    sweep(subscribed, |stage| {
        send(5, 2, 100);
        broker::say("c1", b"\xff\xff");
        run(1_000);
        stage.one().connect()
    });
}

#[test]
fn remove_a_connected_client() {
    sweep(subscribed, |stage| {
        let handle = stage.subscribed()?;
        send(3, 2, 100);
        let result = handle.publish("t", 1, 100).1;
        stage.remove(handle);
        result.map(drop)
    });
}

#[test]
fn remove_the_last_client() {
    sweep(
        |_| {},
        |stage| {
            let result = stage.subscribed().map(drop);
            send(3, 2, 100);
            run(2);
            let handles = stage.handles.borrow().clone();
            handles.into_iter().for_each(|handle| stage.remove(handle));
            result
        },
    );
}

/// While another call waits.
#[test]
fn remove_a_client_that_is_in_use() {
    sweep(subscribed, |stage| {
        let handle = stage.subscribed()?;
        with(|w| w.broker.style.ignores_subscription = 1000);
        let caller = handle.clone();
        let call = call_later(0, move || caller.subscribe("other", 1));
        run(100);
        stage.remove(handle);
        run(100);
        assert!(matches!(*call.borrow(), Some((Err(_), _))));
        Ok(())
    });
}

#[test]
fn messages() {
    sweep(subscribed, |_| {
        for qos in 0..3 {
            for len in [0, 100, 3000] {
                send(1, qos, len);
            }
        }
        run(1_000);
        Ok(())
    });
}

#[test]
fn many_messages() {
    sweep(subscribed, |_| {
        with(|w| w.broker.style.window = 0);
        send(40, 1, 20);
        send(40, 2, 20);
        run(5_000);
        Ok(())
    });
}

#[test]
fn oversized_messages() {
    sweep(subscribed, |_| {
        (0..3).for_each(|qos| broker::publish("in/x", &[0; 70_000], qos));
        send(1, 1, 65_535);
        run(1_000);
        Ok(())
    });
}

/// Events wait in the backlog, until it is full, and input is left over.
#[test]
fn a_full_event_queue() {
    sweep(subscribed, |stage| {
        with(|w| {
            w.broker.style.window = 0;
            w.queue.foreign(32);
            w.queue.busy_until = w.now + 5_000;
        });
        send(30, 1, 400);
        send(50, 2, 400);
        let result = stage.one().publish("t", 2, 10).1;
        run(10_000);
        result.map(drop)
    });
}

/// The application does in its callback what the SDK's examples do.
#[test]
fn calls_in_a_callback() {
    sweep(subscribed, |stage| {
        let (caller, results) = (stage.one(), Rc::new(RefCell::new(Vec::new())));
        let log = results.clone();
        react(move |delivery| {
            if *delivery == Delivery::Connected {
                let calls = [caller.publish("t", 1, 20).1, caller.subscribe("x", 1), caller.unsubscribe("x")];
                log.borrow_mut().extend(calls);
            }
        });
        send(10, 2, 100);
        let result = stage.one().reconnect();
        run(1_000);
        let results = results.borrow();
        results.iter().fold(result, |all, call| all.and(call.map(drop)))
    });
}

#[test]
fn keep_alive() {
    sweep(subscribed, |stage| {
        run(130_000);
        stage.one().connect()
    });
}

#[test]
fn a_broker_that_does_not_read() {
    sweep(subscribed, |_| {
        with(|w| {
            w.broker.style = Style { window: 0, reads: false, ..w.broker.style.clone() };
            w.faults.capacity = 40;
            w.later(5_000, broker::behave);
        });
        send(50, 1, 10);
        run(10_000);
        Ok(())
    });
}

#[test]
fn three_clients() {
    sweep(
        |stage| {
            subscribed(stage);
            stage.subscribed().expect("memory");
            stage.subscribed().expect("memory");
        },
        |stage| {
            let handles = stage.handles.borrow().clone();
            let mut result = Ok(());
            for (n, handle) in handles.iter().enumerate() {
                send(2, 1, 50);
                result = result.and(handle.publish("in/y", n as u8, 20).1.map(drop));
            }
            run(1_000);
            result.and(handles[1].reconnect())
        },
    );
}

/// The device's engine; that of Linux cannot fail an allocation.
#[cfg(all(feature = "websocket", not(feature = "tungstenite")))]
mod websocket {
    use super::*;

    fn fresh(stage: &Stage) {
        stage.add(with_host(config("c1"), "ws://broker:1883")).expect("memory");
    }

    fn subscribed(stage: &Stage) {
        fresh(stage);
        assert_eq!(stage.one().connect(), Ok(()));
        assert!(stage.one().subscribe("in/#", 2).is_ok());
        run(100);
    }

    #[test]
    fn connect() {
        sweep(fresh, |stage| stage.one().connect());
    }

    #[test]
    fn traffic() {
        sweep(subscribed, |stage| {
            send(3, 2, 600);
            let mut result = Ok(());
            for qos in 0..3 {
                for len in [20, 3000] {
                    result = result.and(stage.one().publish("t", qos, len).1.map(drop));
                }
            }
            run(1_000);
            result.and(stage.one().unsubscribe("other").map(drop))
        });
    }

    #[test]
    fn reconnect() {
        sweep(subscribed, |stage| {
            send(3, 1, 100);
            stage.one().reconnect()
        });
    }

    #[test]
    fn keep_alive() {
        sweep(subscribed, |stage| {
            run(130_000);
            stage.one().connect()
        });
    }
}
