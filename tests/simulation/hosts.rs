//! The names of the world, and who answers at their addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use wm_mqtt_client::port::Token;

/// Who answers at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Broker,
    Refuses,
    Silent,
    /// Fails before a connection is even begun.
    Unroutable,
    /// The broker, whose TCP connects half a second later than others.
    Distant,
    /// TCP connects, and then something ends the connection.
    Dies,
    /// TCP connects, and then nobody says anything.
    Mute,
}

const PEERS: [Peer; 7] =
    [Peer::Broker, Peer::Refuses, Peer::Silent, Peer::Unroutable, Peer::Distant, Peer::Dies, Peer::Mute];

/// How much later than others [`Peer::Distant`] connects.
pub(crate) const DISTANCE: u64 = 500;

/// One of several addresses where `peer` answers.
pub(crate) fn v4(peer: Peer, number: u8) -> SocketAddr {
    (Ipv4Addr::new(10, 0, number, peer as u8), 1883).into()
}

/// The same of the other family.
pub(crate) fn v6(peer: Peer, number: u8) -> SocketAddr {
    (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, number.into(), peer as u16), 1883).into()
}

pub(crate) fn peer(address: SocketAddr) -> Peer {
    let last = match address {
        SocketAddr::V4(v4) => v4.ip().octets()[3].into(),
        SocketAddr::V6(v6) => v6.ip().segments()[7],
    };
    PEERS[usize::from(last)]
}

/// Names and their addresses.
#[derive(Debug)]
pub(crate) struct Hosts {
    pub(crate) names: BTreeMap<&'static str, Vec<SocketAddr>>,
    /// Connections of an attempt beside each other. With 1 a lookup gives one address, as lwIP's does.
    pub(crate) races: usize,
    pub(crate) lookups: usize,
    /// They find nothing, for want of a thread or a file.
    pub(crate) no_lookups: bool,
    /// Lookups that were neither answered nor forgotten.
    pub(crate) looking: BTreeSet<(usize, Token)>,
    /// Every connection that was begun, and when.
    pub(crate) dialed: Vec<(u64, SocketAddr)>,
    /// Sockets that there were when one was begun, at most.
    pub(crate) most_beside: usize,
    /// Sockets that the system has.
    pub(crate) most_sockets: usize,
    /// How often it had none.
    pub(crate) refused: usize,
}

impl Default for Hosts {
    fn default() -> Self {
        let mut names = BTreeMap::new();
        names.insert("nowhere", vec![]);
        names.insert("silent", vec![v4(Peer::Silent, 0)]);
        names.insert("refusing", vec![v4(Peer::Refuses, 0)]);
        names.insert(
            "second-best",
            [Peer::Unroutable, Peer::Refuses, Peer::Silent, Peer::Broker].map(|peer| v4(peer, 0)).to_vec(),
        );
        Self {
            names,
            races: 2,
            lookups: 0,
            no_lookups: false,
            looking: BTreeSet::new(),
            dialed: Vec::new(),
            most_beside: 0,
            most_sockets: usize::MAX,
            refused: 0,
        }
    }
}

impl Hosts {
    /// The answer to a lookup; `than`: to that of the other family.
    pub(crate) fn look_up(&self, name: &str, than: Option<SocketAddr>) -> Vec<SocketAddr> {
        let all = self.names.get(name).cloned().unwrap_or_else(|| vec![v4(Peer::Broker, 0)]);
        if self.races > 1 {
            assert_eq!(than, None, "a lookup gives all addresses");
            return all;
        }
        let of_family = |is_v6| all.iter().copied().find(|address| address.is_ipv6() == is_v6);
        let one = match than {
            Some(than) => of_family(!than.is_ipv6()),
            None => of_family(false).or(of_family(true)),
        };
        one.into_iter().collect()
    }
}
