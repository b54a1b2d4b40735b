//! What the simulated network does, as far as tests of the client build on it.

use std::net::SocketAddr;

use wm_mqtt_client::port::{Net, Readiness, Socket};

use crate::net::{Peer, SimNet, address, address_v6};
use crate::world::{create, run, with};

fn net() -> SimNet {
    create(1, 5_000);
    SimNet::open().unwrap()
}

#[test]
fn one_family_at_a_time() {
    let mut net = net();
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
                Readiness::Socket => panic!("no socket is there"),
            });
        }
        found
    };
    let (v4, v6) = (address(Peer::Silent), address_v6(Peer::Broker));
    assert_eq!(found("silent.broker", None), Some(vec![v4]));
    assert_eq!(found("silent.broker", Some(v4)), Some(vec![v6]));
    assert_eq!(found("silent.broker", Some(v6)), Some(vec![v4]));
    assert_eq!(found("none.broker", None), Some(vec![v6]));
    assert_eq!(found("none.broker", Some(v6)), Some(vec![]));
    assert_eq!(found("silent", Some(v4)), None);
}

#[test]
fn what_is_sent_is_acknowledged_when_it_has_arrived() {
    let mut net = net();
    with(|w| w.faults.latency = (20, 20));
    let mut socket = net.connect(1, address_v6(Peer::Broker)).unwrap();
    run(100);
    assert_eq!(socket.established(), Ok(()));
    assert!(socket.is_acknowledged());
    assert_eq!(socket.write(b"\x10"), Ok(1));
    socket.shutdown();
    run(30);
    assert!(!socket.is_acknowledged());
    run(30);
    assert!(socket.is_acknowledged());
    net.close(socket);
}
