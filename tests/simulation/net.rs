//! A network of byte streams with latency, segments, little room, and readiness that is reported once.

use std::collections::VecDeque;
use std::net::SocketAddr;

use wm_mqtt_client::port::{Net, NetError, Readiness, Socket, Token, Waker};
use wm_mqtt_client::time::Instant;

use super::hosts::{self, DISTANCE, Peer};
use super::memory;
use super::promises::Tap;
use super::world::{World, stall_point, with, with_if_any};

const RESET: NetError = NetError::broken(104);
const REFUSED: NetError = NetError::broken(111);

/// What the world knows of one `Net`.
#[derive(Debug, Default)]
pub(crate) struct NetState {
    pub(crate) woken: bool,
    /// How often somebody has called its waker.
    pub(crate) wakes: u64,
    pub(crate) ready: VecDeque<(Token, Option<Vec<SocketAddr>>)>,
    /// What the task waits for, if nothing is ready.
    pub(crate) deadline: Option<u64>,
    /// The last wait reported something, or its deadline had passed.
    pub(crate) had_reason: bool,
    /// How often it was told that messages may gather.
    pub(crate) gathers: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Up,
    Broken(NetError),
    /// The client has given the socket back.
    Closed,
}

/// A TCP connection: `up` is the way to the server, `down` the way back.
#[derive(Debug)]
pub(crate) struct Conn {
    net: usize,
    token: Token,
    stage: Stage,
    /// The client was told to wait, so that it must be told when there is something.
    wants_read: bool,
    wants_write: bool,
    up_moving: usize,
    up_arrived: Vec<u8>,
    up_last: u64,
    /// Bytes in all that the client has sent and whose acknowledgement it has; the end of the stream is one of them.
    up_sent: usize,
    up_acknowledged: usize,
    /// The client has ended its half of the stream.
    pub(crate) shut: bool,
    down_waiting: VecDeque<u8>,
    down_moving: usize,
    down_arrived: VecDeque<u8>,
    down_last: u64,
    /// Bytes in all that the server has sent, that have arrived, that the client's TCP has acknowledged, and of whose
    /// acknowledgement the server knows.
    down_sent: usize,
    down_received: usize,
    down_acknowledged: usize,
    down_settled: usize,
    /// The server ends its half when everything before has left.
    down_end: bool,
    down_ended: bool,
    /// That was reported.
    told_end: bool,
    /// The server has the connection.
    pub(crate) at_server: bool,
    /// Segments wait until then.
    pub(crate) stalled_until: u64,
    /// Bytes that the client has read in all.
    pub(crate) bytes_read: usize,
    /// The server has forgotten the connection, and says so to whoever sends something on it.
    pub(crate) resets: bool,
    tap: Tap,
}

impl World {
    fn latency(&mut self) -> u64 {
        let (low, high) = self.faults.latency;
        self.rng.between(low, high)
    }

    /// Reports a connection's readiness, sooner or later.
    fn report(&mut self, id: usize) {
        let late = self.faults.late_readiness;
        let delay = if late > 0 && self.rng.permille(500) { self.rng.between(0, late) } else { 0 };
        let (net, token) = (self.conns[id].net, self.conns[id].token);
        if delay == 0 {
            self.push_ready(net, token, None);
        } else {
            self.later(delay, move || with(|w| w.push_ready(net, token, None)));
        }
    }

    /// In any order with other news.
    fn push_ready(&mut self, net: usize, token: Token, addresses: Option<Vec<SocketAddr>>) {
        let at = self.rng.below(self.nets[net].ready.len() + 1);
        self.nets[net].ready.insert(at, (token, addresses));
    }

    fn can_read(&mut self, id: usize) {
        if std::mem::take(&mut self.conns[id].wants_read) {
            self.report(id);
        }
    }

    fn can_write(&mut self, id: usize) {
        if std::mem::take(&mut self.conns[id].wants_write) {
            self.report(id);
        }
    }

    /// Both halves at once: whoever waits learns of it.
    fn break_conn(&mut self, id: usize, error: NetError) {
        let conn = &mut self.conns[id];
        if conn.stage == Stage::Closed {
            return;
        }
        conn.stage = Stage::Broken(error);
        conn.down_arrived.clear();
        conn.down_waiting.clear();
        if conn.wants_read || conn.wants_write {
            (conn.wants_read, conn.wants_write) = (false, false);
            self.report(id);
        }
    }

    /// Cuts `bytes` into segments, and when each arrives after the last one, which came at `last`.
    fn segments(&mut self, id: usize, mut last: u64, bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut segments = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = match self.faults.segment {
                0 => rest.len(),
                limit => 1 + self.rng.below(limit),
            };
            let (segment, others) = rest.split_at(most.min(rest.len()));
            rest = others;
            last = last.max(self.now + self.latency()).max(self.conns[id].stalled_until);
            segments.push((last, segment.to_vec()));
        }
        segments
    }

    // ---- the server's end ----

    /// The server writes; there is always room on its side.
    pub(crate) fn server_write(&mut self, id: usize, bytes: &[u8]) {
        self.conns[id].down_waiting.extend(bytes);
        self.move_down(id);
    }

    /// The server closes when everything it has written has left.
    pub(crate) fn server_close(&mut self, id: usize) {
        self.conns[id].at_server = false;
        self.conns[id].down_end = true;
        self.move_down(id);
    }

    /// The server, or something on the way, kills the connection.
    pub(crate) fn reset(&mut self, id: usize) {
        self.conns[id].at_server = false;
        let latency = self.latency();
        self.later(latency, move || with(|w| w.break_conn(id, RESET)));
        self.later(0, move || super::broker::link_gone(id));
    }

    fn move_down(&mut self, id: usize) {
        let conn = &mut self.conns[id];
        let room = self.faults.capacity.saturating_sub(conn.down_moving + conn.down_arrived.len());
        let mut count = room.min(conn.down_waiting.len());
        if self.faults.delayed_ack > 0 {
            let allowed = if conn.down_settled < conn.down_sent { 0 } else { self.faults.segment.max(1) };
            count = count.min(allowed);
        }
        let bytes: Vec<u8> = conn.down_waiting.drain(..count).collect();
        conn.down_moving += count;
        conn.down_sent += count;
        let last = conn.down_last;
        for (at, segment) in self.segments(id, last, &bytes) {
            self.conns[id].down_last = at;
            self.at(at, move || {
                with(|w| {
                    let conn = &mut w.conns[id];
                    conn.down_moving -= segment.len();
                    conn.down_received += segment.len();
                    let received = conn.down_received;
                    if conn.stage == Stage::Up {
                        conn.down_arrived.extend(&segment);
                        w.can_read(id);
                    }
                    let delay = w.faults.delayed_ack;
                    w.later(delay, move || {
                        with(|w| {
                            if w.conns[id].down_acknowledged < received {
                                w.late_acks += u64::from(delay > 0);
                                w.acknowledge(id);
                            }
                        });
                    });
                });
            });
        }
        let conn = &mut self.conns[id];
        if conn.down_end && conn.down_waiting.is_empty() {
            conn.down_end = false;
            let at = conn.down_last.max(self.now + self.faults.latency.0).max(conn.stalled_until);
            self.at(at, move || {
                with(|w| {
                    w.conns[id].down_ended = true;
                    w.can_read(id);
                });
            });
        }
    }

    /// The client's TCP acknowledges what has arrived.
    fn acknowledge(&mut self, id: usize) {
        let received = self.conns[id].down_received;
        if self.conns[id].down_acknowledged < received {
            self.conns[id].down_acknowledged = received;
            let latency = self.latency();
            self.later(latency, move || {
                with(|w| {
                    w.conns[id].down_settled = w.conns[id].down_settled.max(received);
                    w.move_down(id);
                });
            });
        }
    }

    /// The server's TCP acknowledges what it has of the client's first `sent` bytes: all of them.
    fn acknowledge_up(&mut self, id: usize, sent: usize) {
        let at = (self.now + self.latency()).max(self.conns[id].stalled_until);
        self.at(at, move || {
            with(|w| {
                let conn = &mut w.conns[id];
                conn.up_acknowledged = conn.up_acknowledged.max(sent);
            });
        });
    }

    /// What has arrived at the server.
    pub(crate) fn server_read(&mut self, id: usize) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.conns[id].up_arrived);
        if !bytes.is_empty() && self.conns[id].stage == Stage::Up {
            self.can_write(id);
        }
        bytes
    }

    /// Bytes that lie at the client and that it has not read.
    pub(crate) fn unread(&self, id: usize) -> usize {
        self.conns[id].down_arrived.len()
    }
}

/// The network, as the MQTT task has it.
#[derive(Debug)]
pub(crate) struct SimNet(usize);

/// Wakes it.
#[derive(Clone, Debug)]
pub(crate) struct SimWaker(usize);

impl Waker for SimWaker {
    fn wake(&self) {
        with(|w| {
            w.unlocked("waking the task");
            w.nets[self.0].woken = true;
            w.nets[self.0].wakes += 1;
        });
    }
}

impl SimNet {
    fn look_up(&self, token: Token, host: &str, port: u16, than: Option<SocketAddr>) -> bool {
        let net = self.0;
        if memory::is_out() || host == "memoryless" {
            return false;
        }
        with(|w| {
            w.unlocked("a name lookup");
            w.activity += 1;
            w.deeds += 1;
            w.promises.dials();
            assert_eq!(port, 1883);
            let delay = if host == "never" { 1_000_000_000_000 } else { w.rng.between(0, w.faults.lookup) };
            let fails = w.rng.permille(w.faults.lookup_fails) || w.hosts.no_lookups;
            let found = if fails { Vec::new() } else { w.hosts.look_up(host, than) };
            w.hosts.lookups += 1;
            w.hosts.looking.insert((net, token));
            w.later(delay, move || {
                with(|w| {
                    w.hosts.looking.remove(&(net, token));
                    w.push_ready(net, token, Some(found));
                });
            });
            true
        })
    }
}

impl Net for SimNet {
    type Socket = SimSocket;
    type Waker = SimWaker;

    fn open() -> Option<Self> {
        if memory::is_out() {
            return None;
        }
        with(|w| {
            w.nets.push(NetState::default());
            Some(Self(w.nets.len() - 1))
        })
    }

    fn waker(&self) -> SimWaker {
        SimWaker(self.0)
    }

    fn resolve(&mut self, token: Token, host: &str, port: u16) -> bool {
        self.look_up(token, host, port, None)
    }

    fn resolve_other(&mut self, token: Token, host: &str, port: u16, than: SocketAddr) -> bool {
        Self::races() == 1 && self.look_up(token, host, port, Some(than))
    }

    fn lookup_failed(&self, _: Token) -> bool {
        with(|w| w.hosts.no_lookups)
    }

    fn forget(&mut self, token: Token) {
        with(|w| w.hosts.looking.remove(&(self.0, token)));
    }

    fn races() -> usize {
        with(|w| w.hosts.races)
    }

    fn connect(&mut self, token: Token, address: SocketAddr) -> Result<SimSocket, NetError> {
        if memory::is_out() {
            return Err(NetError::EXHAUSTED);
        }
        with(|w| {
            w.unlocked("connecting");
            w.activity += 1;
            w.deeds += 1;
            w.promises.dials();
            if w.sockets >= w.hosts.most_sockets {
                w.hosts.refused += 1;
                assert!(w.hosts.refused < 10_000, "a socket is asked for again and again");
                return Err(NetError::EXHAUSTED);
            }
            w.hosts.dialed.push((w.now, address));
            w.hosts.most_beside = w.hosts.most_beside.max(w.sockets);
            let mut peer = hosts::peer(address);
            if matches!(peer, Peer::Broker | Peer::Distant) {
                if !w.broker.up || w.rng.permille(w.faults.refuse) {
                    peer = Peer::Refuses;
                } else if w.rng.permille(w.faults.black_hole) {
                    peer = Peer::Silent;
                }
            }
            if peer == Peer::Unroutable {
                return Err(NetError::broken(101));
            }
            let id = w.conns.len();
            w.conns.push(Conn {
                net: self.0,
                token,
                stage: Stage::Connecting,
                wants_read: false,
                wants_write: true,
                up_moving: 0,
                up_arrived: Vec::new(),
                up_last: 0,
                up_sent: 0,
                up_acknowledged: 0,
                shut: false,
                down_waiting: VecDeque::new(),
                down_moving: 0,
                down_arrived: VecDeque::new(),
                down_last: 0,
                down_sent: 0,
                down_received: 0,
                down_acknowledged: 0,
                down_settled: 0,
                down_end: false,
                down_ended: false,
                told_end: false,
                at_server: false,
                stalled_until: 0,
                bytes_read: 0,
                resets: false,
                tap: Tap::default(),
            });
            w.sockets += 1;
            let latency = 2 * w.latency() + if peer == Peer::Distant { DISTANCE } else { 0 };
            match peer {
                Peer::Broker | Peer::Distant => w.later(latency, move || {
                    let accepted = with(|w| {
                        if w.conns[id].stage != Stage::Connecting {
                            return false;
                        }
                        if !w.broker.up {
                            w.break_conn(id, REFUSED);
                            return false;
                        }
                        w.conns[id].stage = Stage::Up;
                        w.conns[id].at_server = true;
                        w.can_write(id);
                        true
                    });
                    if accepted {
                        super::broker::accept(id);
                    }
                }),
                Peer::Dies | Peer::Mute => w.later(latency, move || {
                    with(|w| {
                        if w.conns[id].stage == Stage::Connecting {
                            w.conns[id].stage = Stage::Up;
                            w.can_write(id);
                        }
                        if peer == Peer::Dies {
                            w.later(1, move || with(|w| w.break_conn(id, RESET)));
                        }
                    });
                }),
                Peer::Refuses => w.later(latency, move || with(|w| w.break_conn(id, REFUSED))),
                Peer::Silent | Peer::Unroutable => {}
            }
            Ok(SimSocket { id, is_drained: false })
        })
    }

    fn wait(&mut self, deadline: Option<Instant>, mut ready: impl FnMut(Token, Readiness)) {
        let news = with(|w| {
            w.unlocked("sleeping");
            let net = &mut w.nets[self.0];
            net.deadline = deadline.map(Instant::as_millis);
            let woken = std::mem::take(&mut net.woken);
            let news = std::mem::take(&mut net.ready);
            net.had_reason = woken || !news.is_empty() || net.deadline.is_some_and(|deadline| deadline <= w.now);
            let mut is_over = |token| {
                w.conns.iter_mut().filter(|conn| conn.net == self.0 && conn.token == token).any(|conn| {
                    conn.told_end |= conn.down_ended;
                    conn.told_end || matches!(conn.stage, Stage::Broken(_))
                })
            };
            news.into_iter()
                .map(|(token, addresses)| match addresses {
                    Some(addresses) => (token, Readiness::Resolved(addresses)),
                    None if is_over(token) => (token, Readiness::Ended),
                    None => (token, Readiness::Socket),
                })
                .collect::<Vec<_>>()
        });
        for (token, readiness) in news {
            ready(token, readiness);
        }
    }

    fn gather(&mut self) {
        with(|w| w.nets[self.0].gathers += 1);
    }
}

/// A connection, as the MQTT task has it.
#[derive(Debug)]
pub(crate) struct SimSocket {
    id: usize,
    is_drained: bool,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let id = self.id;
        with_if_any(|w| {
            w.unlocked("closing a socket");
            w.activity += 1;
            w.deeds += 1;
            w.sockets -= 1;
            let conn = &mut w.conns[id];
            let stage = std::mem::replace(&mut conn.stage, Stage::Closed);
            if stage != Stage::Up {
                return;
            }
            // Whoever closes with bytes unread sends a reset, which may overtake what is on its way.
            let at = if conn.down_arrived.is_empty() { conn.up_last } else { w.now };
            let at = at.max(w.now + w.latency());
            w.at(at, move || super::broker::link_gone(id));
        });
    }
}

impl Socket for SimSocket {
    fn established(&mut self) -> Result<(), NetError> {
        with(|w| {
            w.unlocked("a socket");
            let conn = &mut w.conns[self.id];
            match conn.stage {
                Stage::Connecting => {
                    conn.wants_write = true;
                    Err(NetError::WouldBlock)
                }
                Stage::Up => Ok(()),
                Stage::Broken(error) => Err(error),
                Stage::Closed => unreachable!(),
            }
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        stall_point();
        with(|w| {
            w.unlocked("reading");
            w.activity += 1;
            let conn = &mut w.conns[self.id];
            match conn.stage {
                Stage::Broken(error) => return Err(error),
                Stage::Up => {}
                _ => panic!("read from a socket that is not connected"),
            }
            if conn.down_arrived.is_empty() {
                if conn.down_ended {
                    return Ok(0);
                }
                conn.wants_read = true;
                return Err(NetError::WouldBlock);
            }
            let most = conn.down_arrived.len().min(buffer.len());
            let count = if w.rng.permille(w.faults.partial) { 1 + w.rng.below(most) } else { most };
            let conn = &mut w.conns[self.id];
            for (place, byte) in buffer.iter_mut().zip(conn.down_arrived.drain(..count)) {
                *place = byte;
            }
            conn.bytes_read += count;
            w.turns_in_vain = 0;
            w.deeds += 1;
            w.move_down(self.id);
            let conn = &mut w.conns[self.id];
            // Some ports know of the end only from what was reported, and not each read shows that it was the last.
            let shows = conn.bytes_read % 3 > 0 && (!conn.down_ended || conn.told_end);
            self.is_drained = shows && conn.down_arrived.is_empty();
            conn.wants_read |= self.is_drained;
            Ok(count)
        })
    }

    fn is_drained(&self) -> bool {
        self.is_drained
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, NetError> {
        let id = self.id;
        stall_point();
        with(|w| {
            w.unlocked("writing");
            w.activity += 1;
            let conn = &mut w.conns[id];
            match conn.stage {
                Stage::Broken(error) => return Err(error),
                Stage::Up => {}
                _ => panic!("written to a socket that is not connected"),
            }
            assert!(!conn.shut, "written after the end of the stream");
            assert!(!bytes.is_empty(), "nothing written");
            let room = w.faults.capacity.saturating_sub(conn.up_moving + conn.up_arrived.len());
            if room == 0 {
                conn.wants_write = true;
                conn.tap.written(&mut w.promises, bytes, 0);
                return Err(NetError::WouldBlock);
            }
            let most = bytes.len().min(room);
            let count = if w.rng.permille(w.faults.partial) { 1 + w.rng.below(most) } else { most };
            w.conns[id].up_moving += count;
            w.conns[id].tap.written(&mut w.promises, bytes, count);
            w.turns_in_vain = 0;
            w.deeds += 1;
            w.acknowledge(id);
            let last = w.conns[id].up_last;
            for (at, segment) in w.segments(id, last, &bytes[..count]) {
                w.conns[id].up_last = at;
                w.conns[id].up_sent += segment.len();
                let sent = w.conns[id].up_sent;
                w.at(at, move || {
                    let arrived = with(|w| {
                        let conn = &mut w.conns[id];
                        conn.up_moving -= segment.len();
                        if conn.at_server {
                            conn.up_arrived.extend(&segment);
                            w.acknowledge_up(id, sent);
                        } else if conn.down_ended || conn.down_end || conn.resets {
                            // Nobody listens any more: the answer is a reset.
                            w.break_conn(id, RESET);
                        }
                        w.conns[id].at_server
                    });
                    if arrived {
                        super::broker::readable(id);
                    }
                });
            }
            Ok(count)
        })
    }

    fn acknowledge(&mut self) {
        with(|w| {
            w.unlocked("a socket");
            w.activity += 1;
            w.acknowledge(self.id);
        });
    }

    fn shutdown(&mut self) {
        let id = self.id;
        with(|w| {
            w.unlocked("a socket");
            w.activity += 1;
            let earliest = w.now + w.faults.latency.0;
            let conn = &mut w.conns[id];
            conn.up_sent += usize::from(!conn.shut);
            conn.shut = true;
            let (sent, at) = (conn.up_sent, conn.up_last.max(earliest).max(conn.stalled_until));
            w.at(at, move || {
                super::broker::end_of_stream(id);
                with(|w| w.acknowledge_up(id, sent));
            });
        });
    }

    fn is_acknowledged(&mut self) -> bool {
        with(|w| {
            w.unlocked("a socket");
            let conn = &w.conns[self.id];
            conn.stage != Stage::Up || conn.up_acknowledged == conn.up_sent
        })
    }
}
