//! What the simulated network does, as far as tests of the client build on it.

use std::net::SocketAddr;

use wm_mqtt_client::port::{Net, Readiness, Socket};

use crate::hosts::{Peer, v4, v6};
use crate::net::SimNet;
use crate::world::{create, run, with};

fn net() -> SimNet {
    create(1, 5_000);
    SimNet::open().unwrap()
}

#[test]
fn one_family_at_a_time() {
    let mut net = net();
    let (ours_v4, ours_v6) = (v4(Peer::Silent, 0), v6(Peer::Broker, 0));
    with(|w| {
        w.hosts.races = 1;
        w.hosts.names.insert("both", vec![ours_v4, ours_v6]);
        w.hosts.names.insert("one", vec![ours_v6]);
    });
    let mut found = |host: &str, than: Option<SocketAddr>| {
        let begun = match than {
            None => net.resolve(1, host, 1883),
            Some(than) => net.resolve_other(1, host, 1883, than),
        };
        let mut found = None;
        if begun {
            run(1_000);
            net.wait(None, |_, news| match news {
                Readiness::Resolved(addresses) => found = Some(addresses),
                Readiness::Socket | Readiness::Ended => panic!("no socket is there"),
            });
        }
        found
    };
    assert_eq!(found("both", None), Some(vec![ours_v4]));
    assert_eq!(found("both", Some(ours_v4)), Some(vec![ours_v6]));
    assert_eq!(found("both", Some(ours_v6)), Some(vec![ours_v4]));
    assert_eq!(found("one", None), Some(vec![ours_v6]));
    assert_eq!(found("one", Some(ours_v6)), Some(vec![]));
}

#[test]
fn what_is_sent_is_acknowledged_when_it_has_arrived() {
    let mut net = net();
    with(|w| w.faults.latency = (20, 20));
    let mut socket = net.connect(1, v6(Peer::Broker, 0)).unwrap();
    run(100);
    assert_eq!(socket.established(), Ok(()));
    assert!(socket.is_acknowledged());
    assert_eq!(socket.write(b"\x10"), Ok(1));
    socket.shutdown();
    run(30);
    assert!(!socket.is_acknowledged());
    run(30);
    assert!(socket.is_acknowledged());
}
