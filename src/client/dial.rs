//! From a host's name to one TCP connection.
//!
//! Where the port lets two connections be under way beside each other, they race as RFC 8305 says: the families of the
//! addresses take turns, and the next address begins a moment after the one before, or at once when one fails. Elsewhere each
//! address has a share of the time, and so has the lookup of the other family. What came of the last connection says which
//! address is first.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::Config;
use super::connection_error::ConnectionError;
use crate::port::{Net, NetError, Socket, Token};
use crate::time::{Clock, Instant, Millis};

/// How long a connection is under way alone, before the next address is tried beside it (RFC 8305 section 5).
const HEAD_START: Millis = 250;
/// How long one of two connections stays when another address waits for its place: enough for a lost SYN. Its address is
/// tried again, and then has more time.
const PATIENCE: Millis = 3000;

/// What came of the last connection: it says which address is first.
pub(super) struct Preference {
    /// TCP has connected to it last. Where connections do not race, only families are told apart.
    last: Option<SocketAddr>,
    is_ipv6: bool,
    /// MQTT has connected too, or nothing has. If not, the address behind it is first, and this one does not race.
    has_served: bool,
}

/// An attempt to connect to a host by TCP.
pub(super) struct Dial<N: Net> {
    /// Names all lookups and sockets of this attempt.
    token: Token,
    begun: Instant,
    limit: Instant,
    /// Lookups that were not made yet: the first one gives all addresses, or the port knows another one.
    may_resolve: bool,
    may_resolve_other: bool,
    /// A lookup is under way.
    looking: bool,
    /// What the last lookup has given, and how many of those were tried.
    addresses: Vec<SocketAddr>,
    tried: usize,
    /// Which of the addresses is not tried beside another, see [`Preference`].
    last_resort: Option<usize>,
    tries: [Option<Try<N>>; 2],
    /// When the next address may be tried beside another.
    next: Instant,
    /// What it fails with when there is nothing left to try.
    failure: Failure,
}

#[derive(Clone, Copy)]
enum Failure {
    NotFound,
    Unreachable,
    Exhausted,
}

/// A connection that is under way.
struct Try<N: Net> {
    socket: N::Socket,
    /// Which of the addresses, when they were looked up once.
    at: usize,
    is_ipv6: bool,
    /// When the try ends if another address waits for its place.
    give_up: Instant,
}

impl Preference {
    pub(super) const NONE: Self = Self { last: None, is_ipv6: false, has_served: true };

    /// MQTT has connected over the address that TCP was connected to last.
    pub(super) fn served(&mut self) {
        self.has_served = true;
    }

    /// Puts the address that is to be the first there; the one that is not to race, if any, is the last then.
    fn apply(&self, addresses: &mut [SocketAddr]) -> Option<usize> {
        let at = addresses.iter().position(|address| Some(*address) == self.last)?;
        addresses.rotate_left(at);
        if self.has_served {
            return None;
        }
        addresses.rotate_left(1);
        Some(addresses.len() - 1)
    }
}

impl<N: Net> Dial<N> {
    /// An attempt that begins with a lookup.
    pub(super) fn new(token: Token, now: Instant, limit: Instant) -> Self {
        Self {
            token,
            begun: now,
            limit,
            may_resolve: true,
            may_resolve_other: true,
            looking: false,
            addresses: Vec::new(),
            tried: 0,
            last_resort: None,
            tries: [None, None],
            next: now,
            failure: Failure::NotFound,
        }
    }

    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// The answer to a lookup.
    pub(super) fn resolved(&mut self, addresses: Vec<SocketAddr>, preference: &Preference) {
        (self.looking, self.addresses, self.tried) = (false, addresses, 0);
        if N::races() > 1 {
            alternate(&mut self.addresses);
            self.last_resort = preference.apply(&mut self.addresses);
        }
    }

    /// Does what can be done now; the socket, once one is connected.
    pub(super) fn poll(
        &mut self,
        net: &mut N,
        clock: &Clock,
        config: &Config,
        preference: &mut Preference,
    ) -> Result<Option<N::Socket>, ConnectionError> {
        let (mut under_way, mut in_time) = (0, false);
        for place in 0..N::races() {
            let Some(one) = &mut self.tries[place] else { continue };
            let outcome = one.socket.established();
            let is_over = clock.is_over(one.give_up);
            if outcome == Err(NetError::WouldBlock) && !(is_over && self.waiting() > 0) {
                (under_way, in_time) = (under_way + 1, in_time | !is_over);
                continue;
            }
            let Some(Try { socket, at, is_ipv6, .. }) = self.tries[place].take() else { continue };
            if outcome.is_ok() {
                (preference.is_ipv6, preference.has_served) = (is_ipv6, false);
                if N::races() > 1 {
                    preference.last = self.addresses.get(at).copied();
                }
                self.give_up(net);
                return Ok(Some(socket));
            }
            drop(socket);
            self.failure = Failure::Unreachable;
            if N::races() > 1 {
                self.next = clock.now();
                if outcome == Err(NetError::WouldBlock) && self.addresses.try_reserve(1).is_ok() {
                    self.addresses.push(self.addresses[at]);
                }
            }
        }
        if clock.is_over(self.limit) {
            return Err(ConnectionError::TimedOut);
        }
        while self.waiting() > 0 && (under_way == 0 || under_way < N::races() && clock.now() >= self.next()) {
            if self.begin(net, clock.now(), under_way) {
                (under_way, in_time) = (under_way + 1, true);
            }
        }
        if !self.looking && self.waiting() == 0 && !in_time {
            self.look_up(net, config, preference, under_way)?;
            if !self.looking && under_way == 0 {
                return Err(match self.failure {
                    Failure::NotFound if net.lookup_failed(self.token) => ConnectionError::NoResources,
                    Failure::NotFound => ConnectionError::HostNotFound,
                    Failure::Unreachable => ConnectionError::Unreachable,
                    Failure::Exhausted => ConnectionError::NoResources,
                });
            }
        }
        Ok(None)
    }

    /// When to poll again if the network says nothing.
    pub(super) fn deadline(&self, clock: &Clock) -> Instant {
        let mut deadline = clock.end_of(self.limit);
        for one in self.tries[..N::races()].iter().flatten() {
            let give_up = clock.end_of(one.give_up);
            if give_up > clock.now() {
                deadline = deadline.min(give_up);
            }
        }
        if N::races() > 1 && self.waiting() > 0 && self.next() > clock.now() {
            deadline.min(self.next())
        } else {
            deadline
        }
    }

    /// The attempt ends: the answer to a lookup that is under way is not wanted any more.
    pub(super) fn give_up(&self, net: &mut N) {
        if self.looking {
            net.forget(self.token);
        }
    }

    fn waiting(&self) -> usize {
        self.addresses.len() - self.tried
    }

    /// When the next address may be tried beside another.
    fn next(&self) -> Instant {
        self.next + if self.last_resort == Some(self.tried) { PATIENCE } else { 0 }
    }

    /// Tries the next address, beside this many; whether that is under way.
    fn begin(&mut self, net: &mut N, now: Instant, beside: usize) -> bool {
        let waiting = self.waiting() as Millis;
        let left = self.limit.millis_from(now);
        let time = if N::races() > 1 {
            let fair = left / waiting * N::races() as Millis;
            now.millis_from(self.begun).max(PATIENCE).min(fair).max(HEAD_START)
        } else {
            left / (waiting + Millis::from(self.may_resolve | self.may_resolve_other))
        };
        let place = usize::from(N::races() > 1 && self.tries[0].is_some());
        let (at, address) = (self.tried, self.addresses[self.tried]);
        self.tried += 1;
        match net.connect(self.token, address) {
            Ok(socket) => {
                self.tries[place] = Some(Try { socket, at, is_ipv6: address.is_ipv6(), give_up: now + time });
                if N::races() > 1 {
                    self.next = now + HEAD_START;
                }
                return true;
            }
            // A socket becomes free when the connection under way beside this one has ended.
            Err(NetError::EXHAUSTED) if N::races() > 1 && beside > 0 => (self.tried, self.next) = (at, Instant::NEVER),
            Err(error) => {
                self.failure = if error == NetError::EXHAUSTED { Failure::Exhausted } else { Failure::Unreachable };
            }
        }
        false
    }

    /// Makes the next lookup, if there is one. Beside connections that are `under_way` there need not be memory for it.
    fn look_up(
        &mut self,
        net: &mut N,
        config: &Config,
        preference: &Preference,
        under_way: usize,
    ) -> Result<(), ConnectionError> {
        // connect has checked the URI before it asked for a connection.
        let broker = config.broker().map_err(|_| ConnectionError::BadUri)?;
        let v4 = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let than = if preference.is_ipv6 == preference.has_served { Some(v4) } else { self.addresses.first().copied() };
        if let Some(than) = than
            && core::mem::take(&mut self.may_resolve_other)
            && net.resolve_other(self.token, broker.host, broker.port, than)
        {
            self.looking = true;
        } else if core::mem::take(&mut self.may_resolve) {
            self.looking = net.resolve(self.token, broker.host, broker.port);
            if !self.looking && under_way == 0 {
                return Err(ConnectionError::NoMemory);
            }
        }
        Ok(())
    }
}

/// Lets the families take turns, as far as they go (RFC 8305 section 4).
fn alternate(addresses: &mut [SocketAddr]) {
    for at in 1..addresses.len() {
        let before = addresses[at - 1].is_ipv6();
        let Some(other) = addresses[at..].iter().position(|address| address.is_ipv6() != before) else { return };
        addresses[at..=at + other].rotate_right(1);
    }
}
