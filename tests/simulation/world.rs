//! The world under the client: a clock that jumps, tasks that take turns, and an agenda of what happens when.
//!
//! Everything runs in one thread. A task that waits runs the world meanwhile, so waits nest like calls; what that adds
//! to the length of an outer wait is kept apart (`Frame::lag`), because with real tasks it would not be there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use wm_mqtt_client::port::{Limits, Parts, Task};
use wm_mqtt_client::protocol;

use super::app::Books;
use super::broker::Broker;
use super::events::{Delivery, Queue};
use super::hosts::Hosts;
use super::memory;
use super::net::{Conn, NetState};
use super::promises::Promises;
use super::rng::Rng;

/// `Port::current_task` of the MQTT task, of the event task, of the application's main task, and of the task of handshakes.
pub(crate) const MQTT_TASK: usize = 1000;
pub(crate) const EVENT_TASK: usize = 2000;
pub(crate) const MAIN_TASK: usize = 3000;
pub(crate) const DEEP_TASK: usize = 4000;

/// Far more than the longest test takes.
const MOST_STEPS: u64 = 20_000_000;

/// What the network and the event queue do to us, in permille or milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// One-way latency of a segment.
    pub(crate) latency: (u64, u64),
    /// Longest delay of a readiness report.
    pub(crate) late_readiness: u64,
    /// Largest segment; 0: whatever is written is one.
    pub(crate) segment: usize,
    /// Bytes that fit in each direction of a connection.
    pub(crate) capacity: usize,
    /// How long the client's TCP keeps an acknowledgement back, unless there is something to send it with, while the
    /// server's waits for it with the next segment (Nagle); 0: neither does so.
    pub(crate) delayed_ack: u64,
    /// A connect is refused, black-holed, refused at once.
    pub(crate) refuse: u64,
    pub(crate) black_hole: u64,
    /// A name is not found; longest lookup.
    pub(crate) lookup_fails: u64,
    pub(crate) lookup: u64,
    /// `Waker`-less preemption: at a lock other tasks run first.
    pub(crate) preempt: u64,
    /// The event callback takes up to this long for one event.
    pub(crate) slow_callback: u64,
    /// A socket takes or gives only a part of what it could.
    pub(crate) partial: u64,
    /// A task is not run for a while, wherever it is; and how long at most.
    pub(crate) stall: u64,
    pub(crate) stall_for: u64,
    /// The MQTT task, or the whole system, stands still right behind a PINGREQ, until its answer is late.
    pub(crate) stop_at_ping: u64,
    /// The MQTT task wakes up though nobody has woken it.
    pub(crate) spurious: u64,
    /// There is no memory for a reserve of TLS.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    pub(crate) no_reserve: u64,
    /// What a broker says over TLS is spoilt.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    pub(crate) bad_tls: u64,
    /// A step of a handshake takes so long at most.
    pub(crate) compute: u64,
}

impl Faults {
    /// A quick network that loses nothing.
    pub(crate) const NONE: Faults = Faults {
        latency: (1, 3),
        late_readiness: 0,
        segment: 0,
        capacity: 65_536,
        delayed_ack: 0,
        refuse: 0,
        black_hole: 0,
        lookup_fails: 0,
        lookup: 1,
        preempt: 0,
        slow_callback: 0,
        partial: 0,
        stall: 0,
        stall_for: 1,
        stop_at_ping: 0,
        spurious: 0,
        no_reserve: 0,
        bad_tls: 0,
        compute: 0,
    };
}

type Action = Box<dyn FnOnce()>;
/// The application's callback.
type Handler = Rc<dyn Fn(&Delivery)>;
/// Runs a task's next step; how long it sleeps then, `None`: it is over.
type AppBody = Box<dyn FnMut() -> Option<u64>>;

pub(crate) struct TaskSlot {
    body: Option<Box<dyn Task>>,
    pub(crate) net: usize,
    pub(crate) ended: bool,
    pub(crate) is_joined: bool,
    /// Its stack may go when it ends.
    pub(crate) is_released: bool,
    /// So often it must come to its wait before its deadline is known: what a turn makes of it shows at the next, and one that
    /// nobody asked for, as these are, may move it.
    settling: u8,
    /// The one that it had at its last wait.
    deadline: Option<u64>,
    /// It is not run before.
    stopped_until: u64,
}

/// A task of handshakes, which waits at the end of a turn only.
#[cfg_attr(not(feature = "tls"), allow(dead_code))]
pub(crate) struct DeepSlot {
    body: Option<Box<dyn Task>>,
    /// Whether it was woken; `None`: it does not sleep.
    sleeps: Option<Box<dyn Fn() -> bool>>,
    pub(crate) ended: bool,
    pub(crate) joined: bool,
    /// Nobody can join it any more, and it waits for that.
    pub(crate) is_lost: bool,
}

struct App {
    at: u64,
    body: Option<AppBody>,
    ended: bool,
}

/// A call of the API that is on the stack.
#[derive(Default)]
pub(crate) struct Frame {
    pub(crate) name: &'static str,
    pub(crate) lag: u64,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) parts: Parts,
    agenda: BTreeMap<(u64, u64), Action>,
    sequence: u64,
    pub(crate) tasks: Vec<TaskSlot>,
    pub(crate) deep: Vec<DeepSlot>,
    /// As on the device, the stack of an MQTT task may be there until it is joined, although nobody waits for that.
    pub(crate) must_join: bool,
    pub(crate) nets: Vec<NetState>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) hosts: Hosts,
    pub(crate) broker: Broker,
    pub(crate) queue: Queue,
    pub(crate) books: Books,
    pub(crate) handler: Option<Handler>,
    apps: Vec<App>,
    /// Who runs, innermost last.
    pub(crate) running: Vec<usize>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) locks_held: usize,
    /// How many calls were woken by somebody with a lock.
    pub(crate) woken_under_lock: usize,
    preemptions: usize,
    /// Called at each lock, before it is taken.
    pub(crate) at_lock: Option<Rc<dyn Fn()>>,
    pub(crate) buffers: usize,
    pub(crate) buffers_peak: usize,
    pub(crate) signals: usize,
    pub(crate) sockets: usize,
    /// Acknowledgements that the client's TCP sent when it had kept them back long enough.
    pub(crate) late_acks: u64,
    /// Turns of MQTT tasks that had a reason.
    pub(crate) turns: u64,
    /// How many since the clock moved, a byte was read or written, or an event delivered.
    pub(crate) turns_in_vain: u64,
    /// What was done in all.
    pub(crate) steps: u64,
    /// Whatever the MQTT task does to the world, counted; and what it does to the network that cannot be left to the next turn.
    pub(crate) activity: u64,
    pub(crate) deeds: u64,
    /// How long the MQTT task, or the whole system, has stood still at most.
    pub(crate) longest_stop: u64,
    /// And all such times together.
    stopped: u64,
    pub(crate) promises: Promises,
    /// Log lines of interest, printed when a test fails.
    pub(crate) trace: bool,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// A glance at the world, too short for anything to happen in it.
pub(crate) fn with<R>(look: impl FnOnce(&mut World) -> R) -> R {
    let _world = memory::world();
    WORLD.with(|world| look(world.borrow_mut().as_mut().expect("no world")))
}

/// As [`with`], for destructors that may run when the world is gone.
pub(crate) fn with_if_any(look: impl FnOnce(&mut World)) {
    let _world = memory::world();
    let _ = WORLD.try_with(|world| {
        if let Ok(mut world) = world.try_borrow_mut()
            && let Some(world) = world.as_mut()
        {
            look(world);
        }
    });
}

/// A new world.
pub(crate) fn create(seed: u64, start: u64) {
    memory::is_back();
    let world = World {
        now: start,
        rng: Rng::new(seed),
        faults: Faults::NONE,
        limits: Limits {
            io_buffer: 2048,
            #[cfg(feature = "tls")]
            record: 1024,
            #[cfg(feature = "tls")]
            chain: 16_384,
            #[cfg(feature = "tls")]
            names: 100,
            session: protocol::Limits { window: 20, outgoing: 4096, payload: u16::MAX },
            backlog: 16 * 1024,
            event_share: 16,
        },
        parts: Parts::BUILT,
        agenda: BTreeMap::new(),
        sequence: 0,
        tasks: Vec::new(),
        deep: Vec::new(),
        must_join: false,
        nets: Vec::new(),
        conns: Vec::new(),
        hosts: Hosts::default(),
        broker: Broker::default(),
        queue: Queue::new(32),
        books: Books::default(),
        handler: None,
        apps: Vec::new(),
        running: vec![MAIN_TASK],
        frames: Vec::new(),
        locks_held: 0,
        woken_under_lock: 0,
        preemptions: 0,
        at_lock: None,
        buffers: 0,
        buffers_peak: 0,
        signals: 0,
        sockets: 0,
        late_acks: 0,
        turns: 0,
        turns_in_vain: 0,
        steps: 0,
        activity: 0,
        deeds: 0,
        longest_stop: 0,
        stopped: 0,
        promises: Promises::default(),
        trace: std::env::var_os("SIM_TRACE").is_some(),
    };
    // The old world's tasks hold things that want to be counted when they go: let it go while there is none.
    let old = WORLD.with(|slot| slot.borrow_mut().take());
    drop(old);
    super::logged::begin(world.trace);
    WORLD.with(|slot| *slot.borrow_mut() = Some(world));
    with(|w| w.promises.before = memory::live());
}

/// A line about what happens, for a human who looks at a failing seed.
pub(crate) fn note(line: impl FnOnce() -> String) {
    if with(|w| w.trace) {
        let line = line();
        with(|w| w.note(|| line));
    }
}

/// What can be done next.
enum Job {
    Turn(usize),
    Deep(usize),
    /// Nobody has asked for it.
    Spurious(usize),
    Deliver,
    App(usize),
    Act(Action),
}

impl World {
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>10} {}", self.now, line());
        }
    }

    /// Does `action` in `delay` milliseconds.
    pub(crate) fn later(&mut self, delay: u64, action: impl FnOnce() + 'static) {
        self.at(self.now + delay, action);
    }

    pub(crate) fn at(&mut self, time: u64, action: impl FnOnce() + 'static) {
        self.sequence += 1;
        self.agenda.insert((time.max(self.now), self.sequence), Box::new(action));
    }

    pub(crate) fn is_running(&self, task: usize) -> bool {
        self.running.contains(&task)
    }

    /// Nobody may do `what` with a lock in hand.
    pub(crate) fn unlocked(&self, what: &str) {
        assert_eq!(self.locks_held, 0, "{what} while a lock is held");
    }

    /// When the MQTT task of this slot wants to run; the past counts as now.
    fn turn_due(&self, slot: &TaskSlot) -> Option<u64> {
        if slot.ended || slot.body.is_none() {
            return None;
        }
        let net = &self.nets[slot.net];
        let due = if slot.settling > 0 || net.woken || !net.ready.is_empty() { Some(self.now) } else { net.deadline };
        due.map(|at| at.max(slot.stopped_until))
    }

    /// The MQTT task is not run for so long: a task above it does not wait, flash is written, somebody debugs.
    pub(crate) fn stop_mqtt_task(&mut self, ms: u64) {
        let until = self.now + ms;
        self.longest_stop = self.longest_stop.max(ms);
        self.stopped += ms;
        self.tasks.iter_mut().for_each(|slot| slot.stopped_until = until);
    }

    /// Nothing is run for so long.
    pub(crate) fn sleep(&mut self, ms: u64) {
        self.now += ms;
        self.longest_stop = self.longest_stop.max(ms);
        self.stopped += ms;
    }

    /// Whether it may happen that the MQTT task is not run.
    pub(crate) fn mqtt_task_stands_still(&self) -> bool {
        self.longest_stop > 0 || self.faults.stall > 0
    }

    /// The task of handshakes that has something to do.
    pub(crate) fn deep_due(&mut self) -> Option<usize> {
        let at = self
            .deep
            .iter()
            .position(|slot| slot.body.is_some() && slot.sleeps.as_ref().is_none_or(|was_woken| was_woken()))?;
        self.deep[at].sleeps = None;
        Some(at)
    }

    #[cfg(feature = "tls")]
    pub(crate) fn has_no_reserve(&mut self) -> bool {
        self.rng.permille(self.faults.no_reserve)
    }

    fn deliver_due(&self) -> Option<u64> {
        let idle = !self.is_running(EVENT_TASK) && !self.queue.is_empty();
        if idle { Some(self.queue.busy_until) } else { None }
    }

    fn next_job(&mut self, until: u64) -> Option<Job> {
        loop {
            // 0: MQTT tasks, 1: event task, 2: applications, 3: agenda, 4: task of handshakes
            let mut jobs: Vec<(u64, u8, usize)> = Vec::new();
            let turns = self.tasks.iter().enumerate();
            jobs.extend(turns.filter_map(|(n, slot)| self.turn_due(slot).map(|at| (at, 0, n))));
            jobs.extend(self.deliver_due().map(|at| (at, 1, 0)));
            let apps = self.apps.iter().enumerate().filter(|(_, app)| app.body.is_some());
            jobs.extend(apps.map(|(n, app)| (app.at, 2, n)));
            jobs.extend(self.agenda.keys().next().map(|(at, _)| (*at, 3, 0)));
            if self.is_running(DEEP_TASK) {
                // A call may take longer than a short step does.
                let is_long = self.faults.compute > 100;
                jobs.retain(|job| is_long || matches!(job.1, 0 | 3));
            } else if !self.is_running(MQTT_TASK) {
                jobs.extend(self.deep_due().map(|n| (self.now, 4, n)));
            }
            let first = jobs.iter().map(|job| job.0).min()?;
            if first > until {
                return None;
            }
            if first > self.now {
                self.now = first;
                self.turns_in_vain = 0;
                continue;
            }
            let due: Vec<_> = jobs.into_iter().filter(|job| job.0 <= self.now).collect();
            let (_, kind, n) = if due.len() == 1 { due[0] } else { due[self.rng.below(due.len())] };
            if self.faults.spurious > 0 && kind != 0 && self.rng.permille(self.faults.spurious) {
                // Not due, not over, and not the one under whose turn this happens.
                let idle = |slot: &TaskSlot| slot.body.is_some() && slot.stopped_until <= self.now;
                if let Some(n) = self.tasks.iter().position(idle) {
                    // Its deadline may be another one now.
                    return Some(Job::Spurious(n));
                }
            }
            return Some(match kind {
                0 => Job::Turn(n),
                1 => Job::Deliver,
                2 => Job::App(n),
                4 => Job::Deep(n),
                _ => Job::Act(self.agenda.pop_first()?.1),
            });
        }
    }

    /// Something happens: a turn that is still to come sees that, and may move the deadline.
    fn unsettle(&mut self) {
        self.tasks.iter_mut().filter(|slot| slot.settling > 0).for_each(|slot| slot.settling = 2);
    }
}

/// Does one thing. `false`: there is nothing to do up to `until`, and the clock stands there.
pub(crate) fn step(until: u64) -> bool {
    let _world = memory::world();
    let job = with(|w| {
        w.steps += 1;
        assert!(w.steps < MOST_STEPS, "this never ends");
        let job = w.next_job(until);
        if job.is_none() && w.now < until {
            w.now = until;
            w.turns_in_vain = 0;
        }
        job
    });
    if !matches!(job, None | Some(Job::Turn(_) | Job::Spurious(_))) {
        with(World::unsettle);
    }
    match job {
        None => return false,
        Some(Job::Turn(slot)) => turn(slot, false),
        Some(Job::Spurious(slot)) => turn(slot, true),
        Some(Job::Deep(n)) => deep_turn(n),
        Some(Job::Deliver) => super::events::deliver(),
        Some(Job::App(n)) => app_step(n),
        Some(Job::Act(action)) => action(),
    }
    true
}

/// Runs the world for `ms` milliseconds.
pub(crate) fn run(ms: u64) {
    let until = with(|w| w.now + ms);
    while step(until) {}
}

/// Runs the world until `done`, at most for `ms` milliseconds; whether it came to that.
pub(crate) fn run_until(ms: u64, mut done: impl FnMut() -> bool) -> bool {
    let until = with(|w| w.now + ms);
    while !done() {
        if !step(until) {
            return done();
        }
    }
    true
}

/// One turn of an MQTT task, and once more to its wait, where it says what it waits for.
fn turn(slot: usize, is_spurious: bool) {
    let mut body = with(|w| {
        w.running.push(MQTT_TASK);
        w.tasks[slot].body.take().expect("a task that does not run")
    });
    let (before, deeds, begin) = with(|w| (w.activity, w.deeds, w.now));
    let library = memory::library();
    let more = body.turn();
    drop(library);
    with(|w| {
        assert_eq!(w.locks_held, 0, "a turn ends with a lock");
        assert_eq!(w.running.pop(), Some(MQTT_TASK));
        let reason = w.nets[w.tasks[slot].net].had_reason;
        // A turn that nobody asked for, as this one may be, can still move the deadline.
        let deadline = w.nets[w.tasks[slot].net].deadline;
        let has_moved = w.promises.looked_after && w.tasks[slot].deadline != deadline;
        w.tasks[slot].deadline = deadline;
        let is_settled = !reason && !is_spurious && !has_moved && w.activity == before;
        let settling = &mut w.tasks[slot].settling;
        *settling = if is_settled { settling.saturating_sub(1) } else { 2 };
        // If events went to their queue, there is more to do; if time went by, a limit may be over; who was interrupted may be
        // about to wake the task.
        if !reason && w.activity - before == w.deeds - deeds && w.now == begin && w.preemptions == 0 {
            w.would_sleep(w.deeds - deeds);
        }
        w.promises.memory(w.now.saturating_sub(w.stopped));
        if reason {
            w.turns += 1;
            w.turns_in_vain += 1;
            assert!(w.turns_in_vain < 1_000, "the MQTT task runs in circles");
        }
        if more {
            w.tasks[slot].body = Some(body);
        } else {
            w.tasks[slot].ended = true;
            // dropped outside
            w.at(w.now, move || drop(body));
        }
    });
}

/// A task of handshakes starts.
#[cfg(feature = "tls")]
pub(crate) fn start_deep(body: Box<dyn Task>) -> usize {
    with(|w| {
        // The last one may be in the midst of its last turn.
        assert!(w.deep.iter().all(|slot| slot.body.is_none()), "two tasks of handshakes");
        w.deep.push(DeepSlot { body: Some(body), sleeps: None, ended: false, joined: false, is_lost: false });
        w.deep.len() - 1
    })
}

/// It has no turn before it was woken.
pub(crate) fn sleep_deep(was_woken: impl Fn() -> bool + 'static) {
    with(|w| w.deep.last_mut().expect("it runs").sleeps = Some(Box::new(was_woken)));
}

/// Its next turn.
pub(crate) fn deep_turn(slot: usize) {
    let mut body = with(|w| {
        w.running.push(DEEP_TASK);
        w.deep[slot].body.take().expect("a task that does not run")
    });
    let library = memory::library();
    let more = body.turn();
    drop(library);
    with(|w| {
        w.unlocked("a turn ends");
        assert_eq!(w.running.pop(), Some(DEEP_TASK));
        if more {
            w.deep[slot].body = Some(body);
        } else {
            w.deep[slot].ended = true;
            // dropped outside
            w.at(w.now, move || drop(body));
        }
    });
}

/// The task of handshakes computes for a while, and others run meanwhile.
#[cfg(feature = "tls")]
pub(crate) fn compute() {
    let until = with(|w| {
        let takes_long = w.running.last() == Some(&DEEP_TASK) && w.faults.compute > 0;
        takes_long.then(|| w.now + w.rng.between(0, w.faults.compute))
    });
    let Some(until) = until else { return };
    let _world = memory::world();
    // The lock of what it computes is the one that nobody waits for.
    let held = with(|w| std::mem::take(&mut w.locks_held));
    assert!(held <= 1, "computing while a lock is held");
    while step(until) {}
    with(|w| w.locks_held = held);
}

/// A task starts.
pub(crate) fn start(body: Box<dyn Task>) -> usize {
    with(|w| {
        let net = w.nets.len() - 1;
        assert!(w.tasks.iter().all(|task| task.is_released), "the stack of an MQTT task beside that of the next");
        w.tasks.push(TaskSlot {
            body: Some(body),
            net,
            ended: false,
            is_joined: false,
            is_released: false,
            settling: 2,
            deadline: None,
            stopped_until: 0,
        });
        w.tasks.len() - 1
    })
}

/// A task of the application starts, in `delay` milliseconds; which.
pub(crate) fn start_app(delay: u64, body: impl FnMut() -> Option<u64> + 'static) -> usize {
    with(|w| {
        w.apps.push(App { at: w.now + delay, body: Some(Box::new(body)), ended: false });
        w.apps.len() - 1
    })
}

/// A call from a task of its own, in `delay` milliseconds; where its result will be.
pub(crate) fn call_later<R: 'static>(delay: u64, call: impl FnOnce() -> R + 'static) -> Outcome<R> {
    let outcome = Rc::new(RefCell::new(None));
    let (result, mut call) = (outcome.clone(), Some(call));
    start_app(delay, move || {
        let value = call.take().expect("called once")();
        *result.borrow_mut() = Some((value, with(|w| w.now)));
        None
    });
    outcome
}

/// The result of [`call_later`], and when it came.
pub(crate) type Outcome<R> = Rc<RefCell<Option<(R, u64)>>>;

pub(crate) fn apps_running() -> bool {
    with(|w| w.apps.iter().any(|app| !app.ended))
}

fn app_step(n: usize) {
    let mut body = with(|w| {
        w.running.push(1 + n);
        w.apps[n].body.take().expect("an application that does not run")
    });
    let sleep = body();
    with(|w| {
        assert_eq!(w.running.pop(), Some(1 + n));
        match sleep {
            Some(ms) => {
                w.apps[n].at = w.now + ms;
                w.apps[n].body = Some(body);
            }
            None => w.apps[n].ended = true,
        }
    });
}

/// The MQTT task may stand still here, in the middle of its turn, while time, network and broker go on.
pub(crate) fn stall_point() {
    let until = with(|w| {
        let faults = &w.faults;
        let (stall, longest) = (faults.stall, faults.stall_for);
        let possible = stall > 0 && w.locks_held == 0 && w.running.last() == Some(&MQTT_TASK);
        let ms = if possible && w.rng.permille(stall) { w.rng.between(1, longest) } else { 0 };
        w.now + ms
    });
    let _world = memory::world();
    while let Some(action) = with(|w| {
        if w.now >= until {
            return None;
        }
        let first = w.agenda.keys().next().map_or(until, |(at, _)| *at);
        w.now = w.now.max(first.min(until));
        w.turns_in_vain = 0;
        if first > until || w.agenda.is_empty() { None } else { Some(w.agenda.pop_first()?.1) }
    }) {
        action();
    }
    with(|w| w.now = w.now.max(until));
}

/// Other tasks may come in between here, as far as that can be shown with one stack: the MQTT task cannot be
/// interrupted by who waits for it.
pub(crate) fn preemption_point() {
    if let Some(hook) = with(|w| w.at_lock.clone()) {
        let _world = memory::world();
        hook();
    }
    let (times, stall) = with(|w| {
        let possible = w.locks_held == 0 && w.preemptions < 2 && !w.frames.is_empty() && !w.is_running(MQTT_TASK);
        let (preempt, stall, stall_for) = (w.faults.preempt, w.faults.stall, w.faults.stall_for);
        let mut happens = |permille, most| {
            if possible && permille > 0 && w.rng.permille(permille) { w.rng.between(1, most) } else { 0 }
        };
        (happens(preempt, 4), happens(stall, stall_for))
    });
    if times == 0 && stall == 0 {
        return;
    }
    let before = with(|w| {
        w.preemptions += 1;
        w.now
    });
    for _ in 0..times {
        step(before);
    }
    if stall > 0 {
        while step(before + stall) {}
    }
    with(|w| {
        w.preemptions -= 1;
        w.unsettle();
        let lag = w.now - before;
        if let Some(frame) = w.frames.last_mut() {
            frame.lag += lag;
        }
    });
}

/// Calls the API, and how long that took, but for what only this simulation adds.
pub(crate) fn timed<R>(name: &'static str, call: impl FnOnce() -> R) -> (R, u64) {
    let before = with(|w| {
        w.frames.push(Frame { name, lag: 0 });
        w.turns_in_vain = 0;
        w.now
    });
    let library = memory::library();
    let result = call();
    drop(library);
    with(|w| {
        let frame = w.frames.pop().expect("a frame");
        (result, (w.now - before).saturating_sub(frame.lag))
    })
}
