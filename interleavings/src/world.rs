//! The system under the model: tasks that sleep and wake each other, and a clock.
//!
//! Time passes only when every task sleeps: then the clock jumps to the first deadline. So a wake-up that gets lost shows as time
//! that passes where none should, or, without a deadline, as a deadlock. Schedules with stalls are the exception: there the clock
//! also jumps while tasks run, as if these had not been run for so long.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{JoinHandle, Thread};

use crate::events::Queue;
use crate::net::Network;
use crate::server::Server;

/// Where tasks sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the signal with this number.
    Signal(usize),
    /// In the wait of the network with this number.
    Net(usize),
    /// The event task, when its queue is empty.
    Queue,
    /// The server, when nothing has come.
    Server,
    /// Until the task with this number ends.
    End(usize),
    /// Until the MQTT task ends, whoever has started it.
    MqttTask,
    /// The application, until something is delivered.
    App,
    /// For a while.
    Nap,
}

struct Sleeper {
    place: Place,
    deadline: Option<u64>,
    thread: Thread,
}

pub(crate) struct World {
    /// Milliseconds.
    pub(crate) now: u64,
    /// How many of them passed while tasks ran.
    pub(crate) stalled: u64,
    /// One look at clock or lock of so many stalls; 0: none.
    pub(crate) stalls: u32,
    /// Bound of each backlog, in bytes.
    pub(crate) backlog: usize,
    /// Tasks that have not ended.
    alive: usize,
    /// By the number of the task.
    sleepers: BTreeMap<usize, Sleeper>,
    started: usize,
    ended: Vec<usize>,
    /// Locks held by a task.
    locks: BTreeMap<usize, usize>,
    /// The library's tasks that have not ended.
    pub(crate) mqtt_tasks: usize,
    pub(crate) signals: usize,
    pub(crate) last_signal: usize,
    pub(crate) net: Network,
    pub(crate) queue: Queue,
    pub(crate) server: Server,
    /// Frees what the library's statics own.
    pub(crate) statics: Vec<Box<dyn FnOnce()>>,
    /// Longest call that nothing holds up; `None`: calls may have to wait.
    pub(crate) prompt: Option<u64>,
    trace: bool,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// A glance at the world, in which no other task runs.
#[track_caller]
pub(crate) fn with<R>(look: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with(|world| look(world.borrow_mut().as_mut().expect("no world")))
}

/// Begins a new world, whose first task is the caller.
pub(crate) fn create() {
    let world = World {
        now: 1000,
        stalled: 0,
        stalls: 0,
        backlog: 256,
        alive: 1,
        sleepers: BTreeMap::new(),
        started: 0,
        ended: Vec::new(),
        locks: BTreeMap::new(),
        mqtt_tasks: 0,
        signals: 0,
        last_signal: 0,
        net: Network::default(),
        queue: Queue::new(32),
        server: Server::default(),
        statics: Vec::new(),
        prompt: None,
        trace: std::env::var_os("TRACE").is_some(),
    };
    WORLD.with(|slot| *slot.borrow_mut() = Some(world));
}

/// The only task left: frees what statics own, and looks for what was forgotten.
pub(crate) fn destroy() {
    for free in with(|w| std::mem::take(&mut w.statics)) {
        free();
    }
    with(|w| {
        assert_eq!(w.alive, 1, "tasks were left");
        assert_eq!(w.signals, 0, "signals were left");
        assert!(w.net.is_empty(), "sockets or networks were left");
        assert!(w.locks.values().all(|held| *held == 0), "locks were left");
    });
    WORLD.with(|slot| slot.borrow_mut().take());
}

/// The running task.
fn me() -> usize {
    shuttle::current::me().into()
}

fn name(thread: &Thread) -> &str {
    thread.name().unwrap_or("main")
}

/// Other tasks may go on here.
pub(crate) fn point() {
    shuttle::thread::sleep(Duration::ZERO);
}

/// A number below `bound`, of this schedule.
pub(crate) fn below(bound: u32) -> u32 {
    thread_rng().gen_range(0..bound)
}

/// A line about what happens.
pub(crate) fn note(line: impl FnOnce() -> String) {
    if with(|w| w.trace) {
        println!("{:>6} {:<10} {}", with(|w| w.now), name(&shuttle::thread::current()), line());
    }
}

impl World {
    /// Takes those that sleep in a place, to be woken outside of [`with`].
    fn take(&mut self, wanted: impl Fn(&Sleeper) -> bool) -> Vec<Thread> {
        let (woken, others) = std::mem::take(&mut self.sleepers).into_iter().partition(|(_, sleeper)| wanted(sleeper));
        self.sleepers = others;
        let woken: BTreeMap<usize, Sleeper> = woken;
        woken.into_values().map(|sleeper| sleeper.thread).collect()
    }

    fn take_due(&mut self) -> Vec<Thread> {
        let now = self.now;
        self.take(|sleeper| sleeper.deadline.is_some_and(|deadline| deadline <= now))
    }

    /// If everybody sleeps, time passes.
    fn pass_time(&mut self) -> Vec<Thread> {
        if self.alive == 0 || self.sleepers.len() < self.alive {
            return Vec::new();
        }
        let Some(next) = self.sleepers.values().filter_map(|sleeper| sleeper.deadline).min() else {
            let who: Vec<_> = self.sleepers.values().map(|sleeper| (name(&sleeper.thread), sleeper.place)).collect();
            panic!("everybody sleeps for ever: {who:?}");
        };
        self.now = self.now.max(next);
        self.take_due()
    }

    /// The caller, who may be about to wait, holds no lock.
    pub(crate) fn unlocked(&self, what: &str) {
        assert_eq!(self.locks.get(&me()).copied().unwrap_or(0), 0, "a lock is held across {what}");
    }

    pub(crate) fn count_lock(&mut self, more: bool) {
        let held = self.locks.entry(me()).or_default();
        *held = if more { *held + 1 } else { *held - 1 };
    }
}

/// Wakes those that sleep in a place, whose condition has changed.
pub(crate) fn wake(place: Place) {
    note(|| format!("  wakes {place:?}"));
    for thread in with(|w| w.take(|sleeper| sleeper.place == place)) {
        thread.unpark();
    }
}

/// Sleeps until `ready` returns something (`None`: the deadline has passed).
pub(crate) fn sleep<R>(
    place: Place,
    deadline: Option<u64>,
    mut ready: impl FnMut(&mut World) -> Option<R>,
) -> Option<R> {
    let me = me();
    point();
    with(|w| w.unlocked("a wait"));
    loop {
        let (over, due) = with(|w| {
            w.sleepers.remove(&me);
            if let Some(result) = ready(w) {
                return (Some(Some(result)), Vec::new());
            }
            if deadline.is_some_and(|deadline| deadline <= w.now) {
                return (Some(None), Vec::new());
            }
            if let Place::Signal(_) = place {
                let waits = w.sleepers.values().any(|sleeper| sleeper.place == place);
                assert!(!waits, "two tasks wait on a signal");
            }
            w.sleepers.insert(me, Sleeper { place, deadline, thread: shuttle::thread::current() });
            (None, w.pass_time())
        });
        if let Some(over) = over {
            note(|| format!("  is awake: {place:?}"));
            return over;
        }
        note(|| format!("  sleeps: {place:?} {deadline:?}"));
        for thread in due {
            thread.unpark();
        }
        shuttle::thread::park();
    }
}

/// Does nothing for so long.
pub(crate) fn nap(ms: u64) {
    let until = with(|w| w.now) + ms;
    let _: Option<()> = sleep(Place::Nap, Some(until), |_| None);
}

/// In schedules with stalls the system may stand still here for any time that matters to somebody.
pub(crate) fn stall_point() {
    const PAUSES: [u64; 6] = [1, 30, 600, 2_500, 10_600, 31_000];
    let stalls = with(|w| w.stalls);
    if stalls == 0 || below(stalls) > 0 {
        return;
    }
    let ms = PAUSES[below(PAUSES.len() as u32) as usize];
    let due = with(|w| {
        w.now += ms;
        w.stalled += ms;
        w.take_due()
    });
    note(|| format!("stood still for {ms} ms"));
    for thread in due {
        thread.unpark();
    }
}

/// A task that runs.
pub(crate) struct Task {
    number: usize,
    thread: JoinHandle<()>,
}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Task {
    let number = with(|w| {
        (w.alive, w.started) = (w.alive + 1, w.started + 1);
        w.started
    });
    let body = move || {
        body();
        let due = with(|w| {
            w.unlocked("a task's end");
            w.alive -= 1;
            w.ended.push(number);
            let mut due = w.take(|sleeper| sleeper.place == Place::End(number));
            due.extend(w.pass_time());
            due
        });
        for thread in due {
            thread.unpark();
        }
    };
    let thread = shuttle::thread::Builder::new().name(format!("{name} {number}")).spawn(body).expect("a thread");
    Task { number, thread }
}

impl Task {
    pub(crate) fn join(self) {
        let ended = sleep(Place::End(self.number), None, |w| w.ended.contains(&self.number).then_some(()));
        assert_eq!(ended, Some(()));
        self.thread.join().expect("it ran to its end");
    }
}
