//! TLS handshakes, computed in a task of their own: it has the stack which public-key cryptography takes, and the MQTT task
//! serves its other clients meanwhile. There is one such task while any handshake is under way, since a device has memory
//! for one such stack; it takes their steps in turn.

use alloc::vec::Vec;
use core::mem::{replace, take};

use super::connection_error::ConnectionError;
use super::pipe::Pipe;
use super::{AuthMode, Client, Config, Hub};
use crate::log;
use crate::port::{Join, Lock, Port, Shared, Signal, Task};
use crate::time::Instant;
pub(super) use crate::transport::tls::TlsConfig;
use crate::transport::tls::{self, Need, Settings, Tls};
use crate::transport::uri::Uri;
use crate::transport::{LayerError, Layers};

/// A handshake, as the MQTT task sees it. When it is dropped nothing more of it is computed.
pub(super) struct Handshake<P: Port>(Shared<Entry<P>>);

/// What comes of it.
#[derive(Default)]
struct Secured {
    config: Option<TlsConfig>,
    /// TLS alone.
    layers: Layers,
}

/// The task that computes handshakes, as others see it.
pub(super) struct HandshakeTask<P: Port> {
    running: Option<Worker<P>>,
    /// What is left of the last one.
    ended: Option<P::DeepJoin>,
}

struct Worker<P: Port> {
    join: P::DeepJoin,
    /// Wakes it.
    signal: P::Signal,
    handshakes: Vec<Shared<Entry<P>>>,
}

/// A handshake, as both tasks see it.
struct Entry<P: Port> {
    client: Shared<Client<P>>,
    exchange: P::Lock<Exchange>,
    /// Only the handshakes' task locks it while a step is computed, so nobody waits for that.
    secured: P::Lock<Secured>,
}

struct Exchange {
    /// From the server, for the next step.
    input: Vec<u8>,
    /// For the server.
    output: Vec<u8>,
    progress: Progress,
}

enum Progress {
    /// Nothing has been computed yet.
    New,
    /// A step is computed.
    Computing,
    /// The server's turn.
    Waiting,
    /// There is input for the next step.
    Fed,
    /// It has come to its end.
    Done(Result<(), ConnectionError>),
    /// The MQTT task wants nothing more of it.
    Over,
}

impl<P: Port> Handshake<P> {
    /// Begins it, if the URI's scheme asks for it, with what was prepared for an earlier connection or without.
    pub(super) fn begin(
        client: &Shared<Client<P>>,
        uri: &Uri<'_>,
        config: Option<&TlsConfig>,
    ) -> Result<Option<Self>, ConnectionError> {
        if !uri.scheme.tls {
            return Ok(None);
        }
        let exchange = || Exchange { input: Vec::new(), output: Vec::new(), progress: Progress::New };
        let secured = || Secured { config: config.cloned(), layers: Layers::default() };
        let make = || {
            let (exchange, secured) = (P::Lock::new(exchange)?, P::Lock::new(secured)?);
            Some(Entry { client: client.clone(), exchange, secured })
        };
        let entry = Shared::try_new_with(make).ok_or(ConnectionError::NoMemory)?;
        HandshakeTask::join(client.hub);
        HandshakeTask::add(client.hub, entry.clone()).ok_or(ConnectionError::NoResources)?;
        Ok(Some(Self(entry)))
    }

    /// Passes on what either side has for the other; whether the handshake is done: then the pipe has TLS, and `config` is for the
    /// next connection, which resumes this one's session. That the server has closed is noticed when nothing is computed.
    // Not inlined: its frame would lie under everything that TLS needs.
    #[inline(never)]
    pub(super) fn advance(
        &self,
        pipe: &mut Pipe<P>,
        buffer: &mut [u8],
        config: &mut Option<TlsConfig>,
    ) -> Result<bool, ConnectionError> {
        let waits = {
            let mut exchange = self.0.exchange.lock();
            pipe.answer(&mut exchange.output)?;
            if let Progress::Done(_) = exchange.progress
                && let Progress::Done(result) = replace(&mut exchange.progress, Progress::Over)
            {
                let mut secured = self.0.secured.lock();
                *config = secured.config.take();
                pipe.set_layers(&mut secured.layers);
                return result.map(|()| true);
            }
            matches!(exchange.progress, Progress::Waiting)
        };
        if waits && pipe.readable {
            let mut fed = Ok(());
            pipe.read(buffer, &mut |input| fed = self.feed(input))?;
            fed?;
        }
        Ok(false)
    }

    fn feed(&self, input: &[u8]) -> Result<(), ConnectionError> {
        let mut exchange = self.0.exchange.lock();
        exchange.input.try_reserve_exact(input.len()).map_err(|_| ConnectionError::NoMemory)?;
        exchange.input.extend_from_slice(input);
        exchange.progress = Progress::Fed;
        drop(exchange);
        self.0.wake();
        Ok(())
    }
}

impl<P: Port> Drop for Handshake<P> {
    fn drop(&mut self) {
        let progress = replace(&mut self.0.exchange.lock().progress, Progress::Over);
        if !matches!(progress, Progress::Computing) {
            drop(self.0.take_secured());
        }
        self.0.wake();
    }
}

impl<P: Port> HandshakeTask<P> {
    pub(super) const NONE: Self = Self { running: None, ended: None };

    /// Adds a handshake, and starts the task if it is the only one; `None` when there is no memory for that.
    fn add(hub: &'static Hub<P>, entry: Shared<Entry<P>>) -> Option<()> {
        // The last task may have ended since it was looked for: joined later than this, the next one could take its place.
        let (added, ended) = hub.with_handshakes(|task, _| (task.enter(hub, entry), task.ended.take()));
        if let Some(ended) = ended {
            ended.join();
        }
        added
    }

    fn enter(&mut self, hub: &'static Hub<P>, entry: Shared<Entry<P>>) -> Option<()> {
        let mut handshakes = Vec::new();
        match &mut self.running {
            Some(worker) => {
                worker.handshakes.try_reserve(1).ok()?;
                worker.handshakes.push(entry);
                worker.signal.notify();
            }
            None => {
                handshakes.try_reserve(1).ok()?;
                handshakes.push(entry);
                let signal = P::Signal::new()?;
                // It waits for the hub's lock.
                let join = P::spawn_deep(Steps { hub, signal: signal.clone() })?;
                self.running = Some(Worker { join, signal, handshakes });
            }
        }
        Some(())
    }

    /// Called by the MQTT task: gives the stack of the last task back, if there is one that has ended.
    pub(super) fn join(hub: &Hub<P>) {
        let ended = hub.with_handshakes(|task, _| task.ended.take());
        if let Some(ended) = ended {
            ended.join();
        }
    }
}

impl<P: Port> Entry<P> {
    /// Wakes the handshakes' task.
    fn wake(&self) {
        self.client.hub.with_handshakes(|task, _| {
            if let Some(worker) = &task.running {
                worker.signal.notify();
            }
        });
    }

    fn take_secured(&self) -> Secured {
        take(&mut *self.secured.lock())
    }

    /// What to compute the next step from, if there is something: what the server has sent, nothing for the first step.
    fn take_step(&self) -> Option<Vec<u8>> {
        let mut exchange = self.exchange.lock();
        let has_step = matches!(exchange.progress, Progress::New | Progress::Fed);
        has_step.then(|| {
            exchange.progress = Progress::Computing;
            take(&mut exchange.input)
        })
    }

    fn is_over(&self) -> bool {
        matches!(self.exchange.lock().progress, Progress::Done(_) | Progress::Over)
    }

    /// Computes a step, and tells the MQTT task if that still wants to know.
    fn compute(&self, input: &[u8]) {
        let mut output = Vec::new();
        let progress = {
            let mut secured = self.secured.lock();
            let Secured { config, layers } = &mut *secured;
            let result = if input.is_empty() {
                self.begin(config, layers, &mut output)
            } else {
                go_on::<P>(layers, input, &mut output)
            };
            if result.is_ok() && layers.is_in_tls_handshake() { Progress::Waiting } else { Progress::Done(result) }
        };
        let mut exchange = self.exchange.lock();
        if !matches!(exchange.progress, Progress::Computing) {
            drop(exchange);
            drop(self.take_secured());
            return;
        }
        // The MQTT task has taken what was there before it gave input.
        (exchange.output, exchange.progress) = (output, progress);
        drop(exchange);
        self.client.state().has_work = true;
    }

    /// The first step, up to the ClientHello.
    fn begin(
        &self,
        prepared: &mut Option<TlsConfig>,
        layers: &mut Layers,
        output: &mut Vec<u8>,
    ) -> Result<(), ConnectionError> {
        let own = self.client.config();
        // It was checked before anybody could ask for a connection.
        let host = own.broker().map_or("", |broker| broker.host);
        if prepared.is_none() {
            let settings = settings::<P>(own).map_err(ConnectionError::Layer)?;
            let need = settings.need();
            let mut settings = Some(settings);
            step::<P>(Need::whole(need), &mut || {
                *prepared = settings.take().map(TlsConfig::new).transpose()?;
                Ok(())
            })?;
        }
        let Some(config) = prepared else { return Ok(()) };
        step::<P>(Need::whole(Tls::first_step(config)), &mut || layers.begin_tls(config, host, output))
    }
}

/// A step with what the server has sent. What is to be sent to it, in an error as well, is appended to `output`.
fn go_on<P: Port>(layers: &mut Layers, mut input: &[u8], output: &mut Vec<u8>) -> Result<(), ConnectionError> {
    let mut is_early = false;
    while !input.is_empty() {
        let (len, need) = layers.handshake_step(input).map_err(ConnectionError::Layer)?;
        let (piece, rest) = input.split_at(len);
        step::<P>(need, &mut || layers.receive(piece, output, &mut |_| is_early = true))?;
        input = rest;
    }
    if is_early { Err(ConnectionError::DataBeforeConnect) } else { Ok(()) }
}

/// The body of the handshakes' task.
struct Steps<P: Port> {
    hub: &'static Hub<P>,
    signal: P::Signal,
}

impl<P: Port> Task for Steps<P> {
    fn turn(&mut self) -> bool {
        let next = self.hub.with_handshakes(|task, has_mqtt_task| {
            let handshakes = &mut task.running.as_mut()?.handshakes;
            handshakes.retain(|entry| !entry.is_over());
            if handshakes.is_empty() {
                // Without an MQTT task nobody joins this one.
                task.ended = task.running.take().map(|worker| worker.join).filter(|_| has_mqtt_task);
                return None;
            }
            for at in 0..handshakes.len() {
                if let Some(step) = handshakes[at].take_step() {
                    // Who has had a step comes last.
                    let entry = handshakes.remove(at);
                    handshakes.push(entry.clone());
                    return Some(Some((entry, step)));
                }
            }
            Some(None)
        });
        match next {
            Some(Some((entry, input))) => entry.compute(&input),
            Some(None) => drop(self.signal.wait(Instant::NEVER)),
            None => {
                self.hub.handshakes_ended();
                return false;
            }
        }
        true
    }
}

/// A step of the handshake, with so much heap in reserve: rustls ends the program where a library for a device should return
/// an error.
fn step<P: Port>(need: Need, work: &mut dyn FnMut() -> Result<(), LayerError>) -> Result<(), ConnectionError> {
    // Behind the handshake, where the need is nothing, TLS sees to that itself, and a task has one reserve.
    let _held = match need.bytes {
        0 => None,
        _ => Some(P::reserve(need).ok_or(ConnectionError::NoMemory)?),
    };
    work().map_err(ConnectionError::Layer)
}

fn settings<P: Port>(config: &Config) -> Result<Settings<'_>, LayerError> {
    let AuthMode { verify, present } = config.auth_mode;
    let identity = match (present, config.cert.as_deref(), config.key.as_deref()) {
        (false, ..) => None,
        (true, Some(cert), Some(key)) => Some((cert, key)),
        _ => return Err(tls::Error::Setup("auth_mode 2 and 3 need `cert` and `key`").into()),
    };
    if !verify {
        log::warn(&[&"the server is not verified (auth_mode): whoever is in between can read and change all"]);
    }
    let mut alpn = Vec::new();
    for name in &config.alpn {
        let mut copy = Vec::new();
        copy.try_reserve_exact(name.len()).and_then(|()| alpn.try_reserve(1)).map_err(|_| tls::Error::NoMemory)?;
        copy.extend_from_slice(name);
        alpn.push(copy);
    }
    Ok(Settings {
        verify,
        ca: config.ca.as_deref(),
        authorities: P::authorities(),
        identity,
        alpn,
        tls12: P::parts().tls12,
        record: P::limits().record,
        chain: P::limits().chain,
        names: P::limits().names,
        more: P::reserve_more,
        hold: P::reserve,
        clock: P::unix_time,
    })
}
