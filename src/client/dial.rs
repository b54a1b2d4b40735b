//! From a host's addresses to one TCP connection.

use alloc::vec::{self, Vec};
use core::net::SocketAddr;

use super::connection::Means;
use super::pipe::LinkSocket;
use super::trouble::Trouble;
use crate::port::{Net, NetError, Port, Socket, Token};
use crate::time::{Instant, Millis};

/// One address after the other, each with its share of the time.
pub(super) struct Dial<P: Port> {
    rest: vec::IntoIter<SocketAddr>,
    token: Token,
    socket: Option<LinkSocket<P>>,
    give_up: Instant,
}

impl<P: Port> Dial<P> {
    pub(super) fn new(addresses: Vec<SocketAddr>, now: Instant) -> Self {
        Self { rest: addresses.into_iter(), token: 0, socket: None, give_up: now }
    }

    pub(super) fn is(&self, token: Token) -> bool {
        self.token == token
    }

    pub(super) fn poll(
        &mut self,
        means: &mut Means<P>,
        limit: Instant,
    ) -> Result<Option<(Token, LinkSocket<P>)>, Trouble> {
        loop {
            if let Some(mut socket) = self.socket.take() {
                match socket.established() {
                    Ok(()) => return Ok(Some((self.token, socket))),
                    Err(NetError::WouldBlock) if !means.clock.is_over(self.give_up) => {
                        self.socket = Some(socket);
                        return Ok(None);
                    }
                    Err(_) => {}
                }
            }
            let Some(address) = self.rest.next() else { return Err(Trouble::Unreachable) };
            self.token = means.new_token();
            if let Ok(socket) = means.net.connect(self.token, address) {
                let share = limit.millis_from(means.now()) / (self.rest.len() as Millis + 1);
                self.give_up = means.now() + share;
                self.socket = Some(socket);
            }
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.give_up
    }
}
