//! Which task runs next, all from one number, so that this number repeats a schedule.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use shuttle::current::TaskId;
use shuttle::scheduler::{Schedule, Scheduler, Task};

/// What was explored.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) schedules: u64,
    pub(crate) decisions: u64,
    pub(crate) different: HashSet<u64>,
}

/// How a schedule is made.
enum Way {
    /// Any task at each step, or the running one with odds of this to one.
    Random(u64),
    /// The task of the highest priority; at some steps the running one becomes the lowest (probabilistic concurrency testing,
    /// Burckhardt et al. 2010).
    Priorities { order: Vec<TaskId>, change: Vec<u64> },
}

/// Schedules from a first number on, until somebody says that it is enough.
pub(crate) struct Seeded<F> {
    next: u64,
    enough: F,
    random: u64,
    way: Way,
    step: u64,
    hash: DefaultHasher,
    figures: Arc<Mutex<Figures>>,
}

impl<F: FnMut(u64) -> bool> Seeded<F> {
    /// `enough` is asked before each schedule, with how many there were.
    pub(crate) fn new(first: u64, enough: F, figures: Arc<Mutex<Figures>>) -> Self {
        Self { next: first, enough, random: 0, way: Way::Random(0), step: 0, hash: DefaultHasher::new(), figures }
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn begin(&mut self) {
        (self.random, self.step, self.hash) = (self.next, 0, DefaultHasher::new());
        self.way = match self.random() % 8 {
            0 => Way::Random(0),
            1 => Way::Random(1 << (self.random() % 6)),
            _ => {
                // How long schedules are differs, and most begins early.
                let length = 64 << (self.random() % 5);
                let changes = 1 + self.random() % 3;
                Way::Priorities { order: Vec::new(), change: (0..changes).map(|_| self.random() % length).collect() }
            }
        };
    }
}

impl<F: FnMut(u64) -> bool> Scheduler for Seeded<F> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let figures = self.figures.clone();
        let mut figures = figures.lock().unwrap();
        if figures.schedules > 0 {
            figures.different.insert(self.hash.finish());
            figures.decisions += self.step;
        }
        if (self.enough)(figures.schedules) {
            return None;
        }
        self.begin();
        figures.schedules += 1;
        let seed = self.next;
        crate::SEED.store(seed, Ordering::Relaxed);
        self.next += 1;
        Some(Schedule::new(seed))
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, _: bool) -> Option<TaskId> {
        let random = self.random();
        // Nobody who sleeps is woken for nothing: `world` has no use for that.
        let runnable: Vec<&&Task> = runnable.iter().filter(|task| !task.can_spuriously_wakeup()).collect();
        let current = current.filter(|current| runnable.iter().any(|task| task.id() == *current));
        let next = match (&mut self.way, current) {
            (Way::Random(stay), Some(current)) if random % (*stay + 1) != 0 => current,
            (Way::Random(_), _) => runnable[(random >> 32) as usize % runnable.len()].id(),
            (Way::Priorities { order, change }, current) => {
                for task in &runnable {
                    if !order.contains(&task.id()) {
                        order.insert((random >> 32) as usize % (order.len() + 1), task.id());
                    }
                }
                if let Some(current) = current.filter(|_| change.contains(&self.step)) {
                    order.retain(|task| *task != current);
                    order.push(current);
                }
                let first = order.iter().find(|id| runnable.iter().any(|task| task.id() == **id));
                *first.expect("one that can run")
            }
        };
        self.step += 1;
        self.hash.write_usize(next.into());
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        let random = self.random();
        self.hash.write_u64(random);
        random
    }
}
