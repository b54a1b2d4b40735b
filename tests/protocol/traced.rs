//! What the log says of each packet, if it is asked for.

use wm_mqtt_client::protocol::Session;

use crate::support::*;
use crate::wire::FromServer::*;

#[test]
fn type_identifier_and_length_of_each_packet() {
    let mut bench = Bench::new(LIMITS);
    bench.session = Session::new(LIMITS, Some(7));
    let ((), lines) = logged(|| {
        log::set_max_level(log::LevelFilter::Debug);
        bench.reconnect(&PERSISTENT, false);
        let id = bench.session.subscribe(b"f", Some(qos(1))).unwrap();
        bench.publish(0, "t", b"");
        bench.publish(1, "t", b"p");
        bench.receive(&[SubAck { id, code: 1 }, Publish(publish(9, 1, "t", b"secret"))]);
        bench.accept();
        bench.sent();
        bench.reconnect(&PERSISTENT, true);
        bench.sent();
        bench.advance(60_000);
        bench.session.handle_timeout(bench.now).unwrap();
        bench.receive(&[PingResp]);
        bench.session.disconnect();
    });
    let expected = [
        "-> CONNECT, id 0, 15 bytes",
        "<- CONNACK, id 0, 2 bytes",
        "-> SUBSCRIBE, id 1, 8 bytes",
        "-> PUBLISH, id 0, 5 bytes",
        "-> PUBLISH, id 2, 8 bytes",
        "<- SUBACK, id 1, 3 bytes",
        "<- PUBLISH, id 9, 6 bytes",
        "-> PUBACK, id 9, 4 bytes",
        "-> CONNECT, id 0, 15 bytes",
        "<- CONNACK, id 0, 2 bytes",
        "-> PUBLISH, id 2, 8 bytes",
        "-> PINGREQ, id 0, 2 bytes",
        "<- PINGRESP, id 0, 0 bytes",
        "-> DISCONNECT, id 0, 2 bytes",
    ];
    assert_eq!(lines, expected.map(|line| format!("DEBUG: client 7 {line}")));
}

/// Behind what is sent again a new one leaves from where it is kept: it is named once, too.
#[test]
fn a_message_behind_repetitions() {
    let mut bench = Bench::new(LIMITS);
    bench.session = Session::new(LIMITS, Some(7));
    bench.reconnect(&PERSISTENT, false);
    bench.publish(1, "t", b"old");
    bench.sent();
    bench.reconnect(&PERSISTENT, true);
    let ((), lines) = logged(|| {
        log::set_max_level(log::LevelFilter::Debug);
        bench.publish(1, "t", b"new, longer");
        bench.sent();
    });
    let expected = ["-> PUBLISH, id 1, 10 bytes", "-> PUBLISH, id 2, 18 bytes"];
    assert_eq!(lines, expected.map(|line| format!("DEBUG: client 7 {line}")));
}
