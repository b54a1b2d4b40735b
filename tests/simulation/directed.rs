//! What the tests of single behaviours share.

use std::cell::RefCell;
use std::rc::Rc;

use wm_mqtt_client::client::Config;

use crate::app::{self, Handle, config, enter, new_serial, payload};
use crate::broker;
use crate::events::Delivery;
use crate::world::{create, run, with};

/// A world with one client that is not connected yet; events are entered in the books.
pub(crate) fn one_with(config: Config) -> Handle {
    create(1, 5_000);
    let handle = Handle::new(app::hub(), 1, config);
    with(|w| {
        w.books.alone = true;
        w.books.clients = 1;
        w.handler = Some(Rc::new(enter));
    });
    handle
}

pub(crate) fn one() -> Handle {
    one_with(config("c"))
}

/// Connected, and its event delivered.
pub(crate) fn connected() -> Handle {
    let handle = one();
    assert_eq!(handle.connect(), Ok(()));
    run(100);
    assert_eq!(with(|w| w.books.connected), 1);
    handle
}

/// Connected and subscribed to everything at QoS 2.
pub(crate) fn subscribed() -> Handle {
    let handle = connected();
    assert!(handle.subscribe("in/#", 2).is_ok());
    handle
}

/// Messages for `subscribed` wait at the broker; their serial numbers.
pub(crate) fn send(count: usize, qos: u8, len: usize) -> Vec<u64> {
    (0..count)
        .map(|_| {
            let serial = new_serial();
            broker::publish("in/x", &payload(serial, len), qos);
            serial
        })
        .collect()
}

/// Serial numbers that were delivered to a client, in order.
pub(crate) fn got(handle: &Handle) -> Vec<u64> {
    let token = handle.token();
    with(|w| w.books.got.get(&token).into_iter().flatten().map(|got| got.0).collect())
}

/// The events that are delivered from now on, beside the books.
pub(crate) fn record() -> Rc<RefCell<Vec<Delivery>>> {
    let record: Rc<RefCell<Vec<Delivery>>> = Rc::default();
    let copy = record.clone();
    react(move |delivery| copy.borrow_mut().push(delivery.clone()));
    record
}

/// The application does this for each event.
pub(crate) fn react(reaction: impl Fn(&Delivery) + 'static) {
    with(|w| {
        w.handler = Some(Rc::new(move |delivery| {
            enter(delivery);
            reaction(delivery);
        }));
    });
}

pub(crate) fn now() -> u64 {
    with(|w| w.now)
}
