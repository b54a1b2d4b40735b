//! A TLS handshake, computed in a task of its own: that has the stack which public-key cryptography takes, and the MQTT
//! task serves its other clients meanwhile.

use alloc::vec::Vec;
use core::mem::take;

use super::pipe::Pipe;
use super::trouble::Trouble;
use super::{AuthMode, Client, Config};
use crate::log;
use crate::port::{Lock, Port, Shared, Signal, Task};
use crate::time::Instant;
pub(super) use crate::transport::tls::TlsConfig;
use crate::transport::tls::{self, Settings};
use crate::transport::uri::Uri;
use crate::transport::{LayerError, Layers};

/// A handshake, as the MQTT task sees it. When it is dropped its task ends, after the step that it computes.
pub(super) struct Handshake<P: Port>(Shared<Desk<P>>);

/// What comes of it: layers that are through with TLS's handshake, and what the next connection resumes.
pub(super) struct Secured {
    pub(super) config: TlsConfig,
    pub(super) layers: Layers,
}

/// What the MQTT task and the handshake's have in common.
struct Desk<P: Port> {
    client: Shared<Client<P>>,
    /// Wakes the handshake's task.
    signal: P::Signal,
    exchange: P::Lock<Exchange>,
}

struct Exchange {
    /// From the server, for the next step.
    input: Vec<u8>,
    /// For the server.
    output: Vec<u8>,
    progress: Progress,
}

#[allow(clippy::large_enum_variant)] // a handshake has one, at one place
enum Progress {
    /// The handshake's task computes, or has input to begin with.
    Busy,
    /// It waits for input.
    Idle,
    Done(Result<Secured, Trouble>),
    /// The MQTT task does not want it any more.
    CalledOff,
    /// The handshake's task has let go of everything.
    Over,
}

impl<P: Port> Handshake<P> {
    /// Begins it, if the URI's scheme asks for it, with what was prepared for an earlier connection or without.
    pub(super) fn begin(
        client: &Shared<Client<P>>,
        uri: &Uri<'_>,
        config: Option<&TlsConfig>,
    ) -> Result<Option<Self>, Trouble> {
        if !uri.scheme.tls {
            return Ok(None);
        }
        let make = || {
            let exchange = || Exchange { input: Vec::new(), output: Vec::new(), progress: Progress::Busy };
            Some(Desk { client: client.clone(), signal: P::Signal::new()?, exchange: P::Lock::new(exchange)? })
        };
        let desk = Shared::try_new_with(make).ok_or(Trouble::NoMemory)?;
        let task = Steps { desk: desk.clone(), config: config.cloned() };
        P::spawn_deep(task).ok_or(Trouble::NoMemory)?;
        Ok(Some(Self(desk)))
    }

    /// Passes on what either side has for the other; what has come of the handshake when it is done. The server's end of
    /// the stream is noticed when the task has nothing to compute.
    pub(super) fn advance(&self, pipe: &mut Pipe<P>, buffer: &mut [u8]) -> Result<Option<Secured>, Trouble> {
        let is_idle = {
            let mut exchange = self.0.exchange.lock();
            pipe.answer(&mut exchange.output)?;
            match &mut exchange.progress {
                Progress::Idle => true,
                progress @ Progress::Done(_) => match core::mem::replace(progress, Progress::Over) {
                    Progress::Done(result) => return result.map(Some),
                    _ => false,
                },
                _ => false,
            }
        };
        if !is_idle || !pipe.readable {
            return Ok(None);
        }
        let mut fed = Ok(());
        pipe.read(buffer, &mut |input| fed = self.feed(input))?;
        fed.map(|()| None)
    }

    fn feed(&self, input: &[u8]) -> Result<(), Trouble> {
        let mut exchange = self.0.exchange.lock();
        exchange.input.try_reserve_exact(input.len()).map_err(|_| Trouble::NoMemory)?;
        exchange.input.extend_from_slice(input);
        exchange.progress = Progress::Busy;
        drop(exchange);
        self.0.signal.notify();
        Ok(())
    }

    /// Its task ends, after the step that it computes.
    pub(super) fn call_off(&self) {
        let mut exchange = self.0.exchange.lock();
        exchange.progress = match exchange.progress {
            Progress::Busy | Progress::Idle | Progress::CalledOff => Progress::CalledOff,
            Progress::Done(_) | Progress::Over => Progress::Over,
        };
        drop(exchange);
        self.0.signal.notify();
    }

    /// Whether its task uses no memory any more but its stack, which the system takes back.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.0.exchange.lock().progress, Progress::Over)
    }
}

impl<P: Port> Drop for Handshake<P> {
    fn drop(&mut self) {
        self.call_off();
    }
}

impl<P: Port> Desk<P> {
    /// What the server has sent, once there is some; `None` when nobody wants the handshake any more.
    fn next_input(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut exchange = self.exchange.lock();
                match exchange.progress {
                    Progress::Idle => {}
                    Progress::Busy => return Some(take(&mut exchange.input)),
                    _ => return None,
                }
            }
            self.signal.wait(Instant::NEVER);
        }
    }

    /// Tells the MQTT task; `false` when it does not want the handshake any more.
    fn report(&self, output: Vec<u8>, progress: Progress) -> bool {
        let mut exchange = self.exchange.lock();
        let is_wanted = !matches!(exchange.progress, Progress::CalledOff);
        if is_wanted {
            // The MQTT task has taken what was there before it gave input.
            (exchange.output, exchange.progress) = (output, progress);
        }
        drop(exchange);
        self.client.leave_work();
        is_wanted
    }
}

/// The body of the handshake's task.
struct Steps<P: Port> {
    desk: Shared<Desk<P>>,
    config: Option<TlsConfig>,
}

impl<P: Port> Steps<P> {
    /// All of the handshake; the output of its last step.
    fn run(&mut self, output: &mut Vec<u8>) -> Option<Result<Secured, Trouble>> {
        let client = self.desk.client.clone();
        let config = match self.config.take() {
            Some(config) => Ok(config),
            None => step::<P, _>(P::limits().handshake, || tls_config::<P>(client.config())),
        };
        let config = match config {
            Ok(config) => config,
            Err(trouble) => return Some(Err(trouble)),
        };
        let mut layers = Layers::default();
        let mut result = step::<P, _>(P::limits().handshake, || {
            // It was checked before anybody could ask for a connection.
            let Ok(uri) = client.config().broker() else { return Ok(()) };
            layers.begin_tls(&config, uri.host, output)?;
            if uri.scheme.websocket { layers.begin_websocket(&uri, P::random, output) } else { Ok(()) }
        });
        while result.is_ok() && layers.is_in_tls_handshake() {
            if !self.desk.report(take(output), Progress::Idle) {
                return None;
            }
            let input = self.desk.next_input()?;
            let mut is_early = false;
            result = step::<P, _>(P::limits().handshake, || layers.receive(&input, output, &mut |_| is_early = true));
            if is_early {
                result = Err(Trouble::Early);
            }
        }
        Some(result.map(|()| Secured { config, layers }))
    }
}

impl<P: Port> Task for Steps<P> {
    fn turn(&mut self) -> bool {
        let mut output = Vec::new();
        let reported = match self.run(&mut output) {
            Some(result) => self.desk.report(output, Progress::Done(result)),
            None => false,
        };
        if !reported {
            self.desk.exchange.lock().progress = Progress::Over;
            self.desk.client.leave_work();
        }
        false
    }
}

/// A step of the handshake, with so much heap in reserve: rustls ends the program where a library for a device should return
/// an error.
fn step<P: Port, R>(need: usize, work: impl FnOnce() -> Result<R, LayerError>) -> Result<R, Trouble> {
    P::with_reserve(need, work).ok_or(Trouble::NoMemory)?.map_err(Trouble::Layer)
}

fn tls_config<P: Port>(config: &Config) -> Result<TlsConfig, LayerError> {
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
    let settings = Settings {
        verify,
        ca: config.ca.as_deref(),
        authorities: P::authorities(),
        identity,
        alpn,
        tls12: P::parts().tls12,
        record: P::limits().record,
        clock: P::unix_time,
    };
    Ok(TlsConfig::new(settings)?)
}
