//! Requests for whose answer nobody waits any more.

use crate::support::*;
use crate::wire::FromClient::{self, Subscribe, Unsubscribe};
use crate::wire::{self, FromServer};

fn subscribe(id: u16, filter: &str) -> FromClient {
    Subscribe { id, filters: vec![(filter.into(), 1)] }
}

#[test]
fn what_has_not_begun_to_leave_is_taken_back() {
    let mut bench = Bench::connected();
    let large = [0; 600];
    bench.publish(0, "t", &large);
    let [a, b] = ["a", "b"].map(|filter| bench.session.subscribe(filter.as_bytes(), Some(qos(1))).unwrap());
    let c = bench.session.subscribe(b"c", None).unwrap();
    bench.session.forget(a);
    assert_eq!(
        bench.sent(),
        [
            FromClient::Publish(publish(0, 0, "t", &large)),
            subscribe(b, "b"),
            Unsubscribe { id: c, filters: vec!["c".into()] }
        ]
    );
    assert_eq!(bench.receive(&[FromServer::SubAck { id: a, code: 1 }]), []);
    assert_eq!(bench.receive(&[FromServer::UnsubAck(c)]), [Seen::Unsubscribed(c)]);
    assert!(!bench.session.is_idle());
    bench.session.forget(b);
    assert!(bench.session.is_idle());
}

#[test]
fn what_has_begun_to_leave_leaves_whole() {
    let mut bench = Bench::connected();
    let [a, b] = ["a", "b"].map(|filter| bench.session.subscribe(filter.as_bytes(), Some(qos(1))).unwrap());
    let mut left = bench.transmit(1, 1);
    bench.session.forget_all();
    left.extend(bench.transmit(usize::MAX, 4096));
    assert_eq!(wire::decode_all(&left), [subscribe(a, "a")]);
    assert!(bench.session.is_idle());
    assert_eq!(bench.receive(&[a, b].map(|id| FromServer::SubAck { id, code: 1 })), []);
}
