//! The task of handshakes, as far as that goes with servers that do not speak TLS.

use std::cell::Cell;
use std::rc::Rc;

use wm_mqtt_client::client::{AuthMode, Config, Error};

use crate::app::{Handle, config, text};
use crate::directed::one_with;
use crate::promises::all_is_gone;
use crate::world::{MQTT_TASK, call_later, deep_turn, run, with};

/// Its handshake ends with the first step.
fn without_authorities(id: &str) -> Config {
    let auth_mode = AuthMode { verify: true, present: false };
    Config { uri: text("mqtts://broker:1883"), auth_mode, ca: Some(text("no PEM")), ..config(id) }
}

/// At each of the MQTT task's locks, from the `first` in a turn on, the task of handshakes does what it has to do.
fn interrupt(first: u32) {
    let (turn, locks, runs) = (Cell::new(0), Cell::new(0), Cell::new(false));
    let hook = move || {
        if with(|w| w.running.last() != Some(&MQTT_TASK)) || runs.get() {
            return;
        }
        let now = with(|w| w.turns);
        locks.set(if turn.replace(now) == now { locks.get() + 1 } else { 1 });
        if locks.get() < first {
            return;
        }
        runs.set(true);
        while let Some(task) = with(|w| w.deep_due()) {
            deep_turn(task);
        }
        runs.set(false);
    };
    with(|w| w.at_lock = Some(Rc::new(hook)));
}

/// Also if it ends while another handshake begins, and the next one ends before anybody has looked.
#[test]
fn every_task_of_handshakes_is_joined() {
    for (first, stop) in (1..40).flat_map(|first| (1..8).map(move |stop| (first, stop))) {
        let one = one_with(without_authorities("c"));
        let other = Handle::new(one.hub, 2, without_authorities("d"));
        with(|w| {
            w.books.clients = 2;
            w.faults.latency = (1, 1);
            // The end of the first handshake and the beginning of the second one fall into one turn.
            w.later(stop, || with(|w| w.stop_mqtt_task(100)));
        });
        interrupt(first);
        let (a, b) = (one.clone(), other.clone());
        let calls = [call_later(0, move || a.connect()), call_later(1, move || b.connect())];
        run(1000);
        with(|w| w.at_lock = None);
        let results = calls.map(|call| call.borrow().expect("over").0);
        assert_eq!(results, [Err(Error::Failure); 2]);
        one.remove();
        other.remove();
        all_is_gone();
    }
}
