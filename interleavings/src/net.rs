//! The network: TCP connections that take no time, and the MQTT task's wait for them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::boundary::{Net, NetError, Readiness, Socket, Token, Waker};
use crate::model::ADDRESS;
use crate::time::Instant;
use crate::world::{self, Place, point, sleep, wake, with};

/// A connection, as both ends see it.
#[derive(Default)]
pub(crate) struct Conn {
    net: usize,
    token: Token,
    /// Bytes to the server, and to the client.
    pub(crate) input: Vec<u8>,
    output: VecDeque<u8>,
    /// The client has ended its half, or dropped its socket.
    pub(crate) shut: bool,
    pub(crate) dropped: bool,
    /// The server has closed (`false`) or reset (`true`) it.
    end: Option<bool>,
    /// There is something that the server has not seen.
    pub(crate) news: bool,
}

#[derive(Default)]
struct NetState {
    /// Its task has waited once.
    waited: bool,
    woken: bool,
    ready: Vec<(Token, Readiness)>,
}

#[derive(Default)]
pub(crate) struct Network {
    nets: BTreeMap<usize, NetState>,
    pub(crate) conns: BTreeMap<usize, Conn>,
    last: usize,
    /// The MQTT task is not run for so many milliseconds when it waits first.
    pub(crate) late: u64,
}

impl Network {
    pub(crate) fn is_empty(&self) -> bool {
        self.nets.is_empty() && self.conns.is_empty()
    }

    /// The client's end of a connection has something to see. Where its task sleeps.
    fn report(&mut self, id: usize) -> Option<Place> {
        let conn = self.conns.get(&id)?;
        let net = self.nets.get_mut(&conn.net)?;
        if !net.ready.iter().any(|(token, readiness)| *token == conn.token && matches!(readiness, Readiness::Socket)) {
            net.ready.push((conn.token, Readiness::Socket));
        }
        Some(Place::Net(conn.net))
    }
}

/// The server sends.
pub(crate) fn send(id: usize, bytes: &[u8]) {
    point();
    let place = with(|w| {
        let conn = w.net.conns.get_mut(&id)?;
        conn.output.extend(bytes);
        w.net.report(id)
    });
    place.into_iter().for_each(wake);
}

/// The server closes a connection, or resets it.
pub(crate) fn end(id: usize, reset: bool) {
    point();
    let place = with(|w| {
        let conn = w.net.conns.get_mut(&id)?;
        if reset {
            conn.output.clear();
        }
        conn.input.clear();
        conn.end.get_or_insert(reset);
        w.net.report(id)
    });
    place.into_iter().for_each(wake);
}

/// The MQTT task's network.
pub(crate) struct ModelNet(usize);

#[derive(Clone)]
pub(crate) struct ModelWaker(usize);

pub(crate) struct ModelSocket(usize);

impl Net for ModelNet {
    type Socket = ModelSocket;
    type Waker = ModelWaker;

    fn open() -> Option<Self> {
        Some(Self(with(|w| {
            w.net.last += 1;
            w.net.nets.insert(w.net.last, NetState::default());
            w.net.last
        })))
    }

    fn waker(&self) -> ModelWaker {
        ModelWaker(self.0)
    }

    fn resolve(&mut self, token: Token, _: &str, _: u16) -> bool {
        with(|w| {
            w.net.nets.get_mut(&self.0).expect("ours").ready.push((token, Readiness::Resolved(vec![ADDRESS])));
        });
        true
    }

    fn connect(&mut self, token: Token, _: SocketAddr) -> Result<ModelSocket, NetError> {
        with(|w| w.unlocked("a connect"));
        let id = with(|w| {
            w.net.last += 1;
            let id = w.net.last;
            w.net.conns.insert(id, Conn { net: self.0, token, ..Conn::default() });
            w.net.report(id);
            id
        });
        Ok(ModelSocket(id))
    }

    fn wait(&mut self, deadline: Option<Instant>, mut ready: impl FnMut(Token, Readiness)) {
        let late = with(|w| {
            let net = w.net.nets.get_mut(&self.0).expect("ours");
            if std::mem::replace(&mut net.waited, true) { 0 } else { w.net.late }
        });
        if late > 0 {
            world::nap(late);
        }
        let until = deadline.map(Instant::as_millis);
        let found = sleep(Place::Net(self.0), until, |w| {
            let net = w.net.nets.get_mut(&self.0).expect("ours");
            let has_reason = std::mem::take(&mut net.woken) || !net.ready.is_empty();
            has_reason.then(|| std::mem::take(&mut net.ready))
        });
        for (token, readiness) in found.into_iter().flatten() {
            ready(token, readiness);
        }
    }
}

impl Drop for ModelNet {
    fn drop(&mut self) {
        with(|w| w.net.nets.remove(&self.0));
    }
}

impl Waker for ModelWaker {
    fn wake(&self) {
        point();
        with(|w| {
            w.unlocked("a wake-up");
            // A waker may outlive its network.
            if let Some(net) = w.net.nets.get_mut(&self.0) {
                net.woken = true;
            }
        });
        wake(Place::Net(self.0));
    }
}

impl ModelSocket {
    fn with<R>(&self, look: impl FnOnce(&mut Conn) -> R) -> R {
        with(|w| {
            w.unlocked("I/O");
            look(w.net.conns.get_mut(&self.0).expect("ours"))
        })
    }

    fn news(&self) {
        self.with(|conn| conn.news = true);
        wake(Place::Server);
    }
}

impl Socket for ModelSocket {
    fn established(&mut self) -> Result<(), NetError> {
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        point();
        self.with(|conn| match conn.end {
            _ if !conn.output.is_empty() => {
                let len = buffer.len().min(conn.output.len());
                buffer.iter_mut().zip(conn.output.drain(..len)).for_each(|(to, from)| *to = from);
                Ok(len)
            }
            Some(true) => Err(NetError::broken(104)),
            Some(false) => Ok(0),
            None => Err(NetError::WouldBlock),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, NetError> {
        point();
        self.with(|conn| match conn.end {
            Some(true) => Err(NetError::broken(104)),
            Some(false) => Ok(()),
            None => {
                conn.input.extend(bytes);
                Ok(())
            }
        })?;
        self.news();
        Ok(bytes.len())
    }

    fn acknowledge(&mut self) {}

    fn shutdown(&mut self) {
        self.with(|conn| conn.shut = true);
        self.news();
    }

    fn is_acknowledged(&mut self) -> bool {
        self.with(|conn| conn.end.is_some() || conn.input.is_empty())
    }
}

impl Drop for ModelSocket {
    fn drop(&mut self) {
        self.with(|conn| conn.dropped = true);
        self.news();
    }
}
