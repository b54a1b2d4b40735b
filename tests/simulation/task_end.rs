//! The end of the MQTT task, and who joins it.

use std::cell::RefCell;

use crate::app::{Handle, config};
use crate::directed::*;
use crate::memory::{self, Plan};
use crate::promises::all_is_gone;
use crate::world::{call_later, run, with};

/// A deinit that gave up waiting for a task that is not run: nobody waits for that any more.
#[test]
fn a_deinit_that_has_given_up_joins_nobody() {
    let handle = connected();
    with(|w| w.stop_mqtt_task(20_000));
    handle.remove();
    with(|w| assert!(!w.tasks[0].ended));
    run(10_000);
    with(|w| assert!(w.tasks[0].ended));
    all_is_gone();
}

/// An init for which there is no memory is no reason for a deinit to return before the task has ended.
#[test]
fn an_init_that_fails_beside_the_last_deinit() {
    let handle = connected();
    let hub = handle.hub;
    with(|w| w.broker.style.closes = 0);
    let failed = call_later(50, move || {
        memory::plan(Plan::Burst { first: 1, count: 1_000 });
        let added = Handle::try_new(hub, 2, config("other")).is_some();
        memory::is_back();
        added
    });
    let took = handle.remove();
    assert_eq!(failed.borrow().map(|it| it.0), Some(false));
    with(|w| assert!(w.tasks[0].ended, "remove returns after {took} ms, and the task goes on"));
    all_is_gone();
}

/// The task ends while a deinit still waits for a call. Then another client comes, whose task is not to begin beside it; or none
/// does, and the task has not just ended when that deinit returns.
#[test]
fn a_task_that_ended_before_its_deinit_returns() {
    for comes_another in [true, false] {
        let handle = connected();
        let hub = handle.hub;
        with(|w| {
            w.broker.style.ignores_subscription = 1000;
            w.books.alone = false;
            w.books.clients = 2;
        });
        let caller = handle.clone();
        let call = call_later(0, move || caller.subscribe("f", 1));
        let removed = call_later(1_000, move || handle.remove());
        let next = call_later(3_000, move || {
            let next = comes_another.then(|| Handle::new(hub, 2, config("next")))?;
            assert_eq!(next.connect(), Ok(()));
            Some(next)
        });
        run(30_000);
        assert!(removed.borrow().is_some() && call.borrow().is_some());
        let ended: &[bool] = if comes_another { &[true, false] } else { &[true] };
        with(|w| assert_eq!(w.tasks.iter().map(|task| task.ended).collect::<Vec<_>>(), ended));
        with(|w| assert!(w.tasks[0].is_joined));
        if let Some(next) = next.borrow_mut().take().expect("over").0 {
            next.remove();
        }
        all_is_gone();
    }
}

/// On the device, where the idle task frees the stack of the last task only when it runs.
#[test]
fn a_task_that_nobody_waits_for_is_joined_before_the_next() {
    let handle = connected();
    let hub = handle.hub;
    with(|w| {
        w.must_join = true;
        w.books.clients = 2;
    });
    let removed = RefCell::new(Some(handle.clone()));
    react(move |_| {
        let handle = removed.borrow_mut().take();
        if let Some(handle) = handle {
            handle.remove();
        }
    });
    assert!(handle.publish("t", 1, 10).1.is_ok());
    run(1_000);
    with(|w| assert!(w.tasks[0].ended && !w.tasks[0].is_released));
    let next = Handle::new(hub, 2, config("next"));
    assert_eq!(next.connect(), Ok(()));
    next.remove();
    all_is_gone();
}
