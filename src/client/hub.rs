//! What all handles share: the list of them, the MQTT task, and the account of our events in the SDK's queue.

use alloc::vec::Vec;

use super::engine::Engine;
#[cfg(feature = "tls")]
use super::handshake::HandshakeTask;
use super::outstanding::{Deliveries, Outstanding};
use super::{Client, Config, DRAIN_TIMEOUT, Error, Notification, TASK_END_TIMEOUT};
use crate::port::{Join, Lock, Net, Port, Shared, Signal, Waker};
use crate::sync::{AtomicBool, Ordering};
use crate::time::Instant;

/// The SDK's event queue.
pub trait Events<P: Port>: Sync {
    /// Asks for [`Hub::delivered`] to be called, from the event task, for each event of ours and each probe that it delivers.
    /// Asking again changes nothing. `false` when the queue was full: ask again later.
    fn listen(&self) -> bool;

    /// Ends what [`Self::listen`] has asked for, behind the events that were sent before.
    fn unlisten(&self);

    /// Sends an event without blocking, and takes it. `false` when the queue is full: then it is still there.
    fn send(&self, event: &mut Option<Notification<P::Buffer>>) -> bool;

    /// Sends an event that only we see, with a number. `false` when the queue was full.
    fn probe(&self, number: u32) -> bool;
}

/// All clients of the program, and the MQTT task that serves them.
pub struct Hub<P: Port> {
    state: P::Lock<HubState<P>>,
    events: &'static dyn Events<P>,
    /// What the event task tells the MQTT task.
    deliveries: Deliveries,
    /// The MQTT task runs, or its waker was called: who leaves something for it need not call that.
    awake: AtomicBool,
    /// The MQTT task is to call [`Hub::take_arrivals`]: clients have come, or the task of handshakes has ended.
    arrivals: AtomicBool,
}

struct HubState<P: Port> {
    /// All clients, each with the handle's address as its key.
    clients: Vec<(usize, Shared<Client<P>>)>,
    /// Clients that are not known any more, and whose end a deinit still waits for.
    ending: usize,
    /// Clients that the MQTT task has not taken yet.
    arrivals: Vec<Shared<Client<P>>>,
    last_token: usize,
    /// How many events of ours there were until the last MQTT task ended, modulo 2^32.
    events_before: u32,
    task: Option<RunningTask<P>>,
    /// The last MQTT task that ended, to be joined by the deinit that waits for it, or else before the next one starts.
    ended: Option<P::Join>,
    /// The signal of the deinit that waits for the MQTT task's end.
    end_waiter: Option<P::Signal>,
    /// The task that computes TLS handshakes.
    #[cfg(feature = "tls")]
    handshakes: HandshakeTask<P>,
}

struct RunningTask<P: Port> {
    waker: <P::Net as Net>::Waker,
    join: P::Join,
}

impl<P: Port> Hub<P> {
    /// An empty hub; `None` when there is no memory.
    pub fn new(events: &'static dyn Events<P>) -> Option<Self> {
        Some(Self {
            state: P::Lock::new(|| HubState {
                clients: Vec::new(),
                ending: 0,
                arrivals: Vec::new(),
                last_token: 0,
                events_before: 0,
                task: None,
                ended: None,
                end_waiter: None,
                #[cfg(feature = "tls")]
                handshakes: HandshakeTask::NONE,
            })?,
            events,
            deliveries: Deliveries::new(),
            awake: AtomicBool::new(false),
            arrivals: AtomicBool::new(false),
        })
    }

    /// Makes a client, known by `key` from now on; its token is never used again. `None` when there is no memory.
    pub fn add(&'static self, key: usize, config: Config) -> Option<Shared<Client<P>>> {
        let mut state = self.state.lock();
        state.clients.try_reserve(1).ok()?;
        let token = state.last_token + 1;
        let client = Shared::try_new_with(|| Client::new(self, token, config))?;
        state.last_token = token;
        state.clients.push((key, client.clone()));
        let waiter = state.end_waiter.take();
        drop(state);
        release(waiter);
        Some(client)
    }

    /// The client known by `key`.
    pub fn find(&self, key: usize) -> Option<Shared<Client<P>>> {
        let state = self.state.lock();
        state.clients.iter().find(|(known, _)| *known == key).map(|(_, client)| client.clone())
    }

    /// Forgets `key`, then ends its client: disconnects it, waits for what is in flight and for every other call on it,
    /// and with the last client waits for the end of the task too, except in the event task and where events alone keep the task.
    /// `None`: no such client.
    pub fn remove(&self, key: usize) -> Option<()> {
        let client = {
            let mut state = self.state.lock();
            let at = state.clients.iter().position(|(known, _)| *known == key)?;
            state.ending += 1;
            state.clients.swap_remove(at).1
        };
        let deadline = P::now() + DRAIN_TIMEOUT;
        client.close(deadline);
        drop(client);
        self.wait_for_end(deadline);
        Some(())
    }

    /// Without clients the task ends: the deinit that was the last to be done waits for that, except in the event task, on which
    /// the task may depend.
    fn wait_for_end(&self, deadline: Instant) {
        let in_event_task = self.deliveries.event_task() == P::current_task();
        let waiter = if in_event_task { None } else { P::Signal::new() };
        let (waits, last_token) = {
            let mut state = self.state.lock();
            state.ending -= 1;
            if !state.clients.is_empty() || state.ending > 0 {
                return;
            }
            if waiter.is_none() {
                state.ended = state.ended.take().and_then(Join::detach);
            }
            state.end_waiter = waiter.clone().filter(|_| state.task.is_some());
            (state.end_waiter.is_some(), state.last_token)
        };
        self.wake();
        let Some(waiter) = waiter else { return };
        // `close` may have used up the time until `deadline`; the MQTT task is about to end then.
        let in_time = !waits || waiter.wait(deadline.max(P::now()) + TASK_END_TIMEOUT);
        if !in_time {
            let mut state = self.state.lock();
            // This deinit gives up. If another client has come meanwhile, the signal may be that of another deinit.
            if state.last_token == last_token {
                state.end_waiter = None;
            }
        }
        self.join_ended();
    }

    /// Joins the last MQTT task that ended: it has left its loop.
    fn join_ended(&self) {
        let ended = self.state.lock().ended.take();
        if let Some(ended) = ended {
            ended.join();
        }
    }

    /// Puts a client into the care of the task, which starts with the first one. Fails when the task could not start, or
    /// the client was removed.
    pub(super) fn attach(&'static self, client: &Shared<Client<P>>) -> Result<(), Error> {
        self.join_ended();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if !state.clients.iter().any(|(_, known)| Shared::same(known, client)) {
            return Err(Error::Disconnected);
        }
        state.arrivals.try_reserve(1).map_err(|_| Error::Failure)?;
        let waker = match &state.task {
            Some(task) => task.waker.clone(),
            None => {
                let outstanding = Outstanding::new(&self.deliveries, state.events_before, P::limits().event_share);
                let (engine, waker) =
                    outstanding.and_then(|outstanding| Engine::new(self, outstanding)).ok_or(Error::Failure)?;
                // Its first wait is over at once.
                self.awake.store(true, Ordering::SeqCst);
                let join = P::spawn(engine).ok_or(Error::Failure)?;
                state.task = Some(RunningTask { waker: waker.clone(), join });
                waker
            }
        };
        // Before another call of this client may find the waker and wake the task with it: then that is to wait for the lock here.
        self.arrivals.store(true, Ordering::SeqCst);
        // Before the client is among the arrivals: the MQTT task may take it from there at once, and give it up.
        client.attached(waker);
        state.arrivals.push(client.clone());
        Ok(())
    }

    /// Does `work` under the lock with what is known of the task that computes handshakes, and whether there is an MQTT task.
    #[cfg(feature = "tls")]
    pub(super) fn with_handshakes<R>(&self, work: impl FnOnce(&mut HandshakeTask<P>, bool) -> R) -> R {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        work(&mut state.handshakes, state.task.is_some())
    }

    /// The task that computes handshakes has ended, and the MQTT task is to join it.
    #[cfg(feature = "tls")]
    pub(super) fn handshakes_ended(&self) {
        self.arrivals.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes the task, if there is one.
    fn wake(&self) {
        let waker = {
            let state = self.state.lock();
            // Under the lock: for the next task it must not look as if this had woken it.
            state.task.as_ref().filter(|_| self.must_wake()).map(|task| task.waker.clone())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the caller, who has left something for the MQTT task, is to call its waker: nobody has since the task last
    /// looked.
    pub(super) fn must_wake(&self) -> bool {
        !self.awake.swap(true, Ordering::SeqCst)
    }

    /// The task is about to look at what was left for it: whoever comes from now on must wake it again.
    pub(super) fn about_to_look(&self) {
        self.awake.store(false, Ordering::SeqCst);
    }

    /// Called by the MQTT task: the clients that came since it last asked.
    pub(super) fn take_arrivals(&self) -> Option<Vec<Shared<Client<P>>>> {
        if !self.arrivals.swap(false, Ordering::SeqCst) {
            return None;
        }
        #[cfg(feature = "tls")]
        HandshakeTask::join(self);
        Some(core::mem::take(&mut self.state.lock().arrivals))
    }

    /// Called by the task when it serves nobody: whether it may end, and then it must. Its events are `outstanding`.
    pub(super) fn try_end(&self, outstanding: &Outstanding) -> bool {
        let mut state = self.state.lock();
        if !state.clients.is_empty() || !state.arrivals.is_empty() {
            return false;
        }
        state.events_before = outstanding.all();
        let join = state.task.take().map(|task| task.join);
        let is_waited_for = state.ending > 0 || state.end_waiter.is_some();
        state.ended = if is_waited_for { join } else { join.and_then(Join::detach) };
        let waiter = state.end_waiter.take();
        drop(state);
        release(waiter);
        #[cfg(feature = "tls")]
        HandshakeTask::join(self);
        true
    }

    /// Called by the task when nothing but events keeps it: a deinit does not wait for those.
    pub(super) fn end_is_delayed(&self) {
        let waiter = self.state.lock().end_waiter.take();
        release(waiter);
    }

    /// Whether no event can be delivered until the caller returns. Before the first event nobody knows the event task:
    /// then it may be this one.
    pub(super) fn may_block_events(&self) -> bool {
        let event_task = self.deliveries.event_task();
        event_task == 0 || event_task == P::current_task()
    }

    /// To be called from the event task for each event of ours that it delivers, and for each probe, with its number (see
    /// [`Events::listen`]).
    pub fn delivered(&self, probe: Option<u32>) {
        if self.deliveries.delivered(P::current_task(), probe) {
            self.wake();
        }
    }

    pub(super) fn events(&self) -> &dyn Events<P> {
        self.events
    }
}

/// Wakes the deinit that waits, if one does: the MQTT task has ended, or goes on for new clients or for events alone. Not to be called
/// under the lock, for which the deinit would only wait again.
fn release<S: Signal>(waiter: Option<S>) {
    if let Some(waiter) = waiter {
        waiter.notify();
    }
}
