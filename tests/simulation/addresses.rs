//! Hosts with several addresses: which is tried when, and which is first.

use std::net::SocketAddr;

use wm_mqtt_client::client::Error;

use crate::app::{Handle, config, with_host};
use crate::broker;
use crate::directed::*;
use crate::hosts::{DISTANCE, Peer, v4, v6};
use crate::memory::{self, Plan};
use crate::promises::all_is_gone;
use crate::world::{call_later, run, with};

use Peer::{Broker, Dies, Distant, Mute, Refuses, Silent, Unroutable};

/// A round trip or two.
const AT_ONCE: u64 = 50;

/// A handle of a host with these addresses.
fn host_with(addresses: &[SocketAddr]) -> Handle {
    let handle = one_with(with_host(config("c"), "host"));
    now_with(addresses);
    handle
}

/// The name has these addresses from now on.
fn now_with(addresses: &[SocketAddr]) {
    with(|w| w.hosts.names.insert("host", addresses.to_vec()));
}

/// Lookups give one address, and connections do not race.
fn one_at_a_time(addresses: &[SocketAddr]) -> Handle {
    let handle = host_with(addresses);
    with(|w| w.hosts.races = 1);
    handle
}

/// A connect: whether it succeeds, how long it takes, and which addresses it tries when.
fn dial(handle: &Handle) -> (bool, u64, Vec<(u64, SocketAddr)>) {
    let start = now();
    with(|w| w.hosts.dialed.clear());
    let result = handle.connect();
    assert!(matches!(result, Ok(()) | Err(Error::Failure)));
    let took = now() - start;
    with(|w| {
        assert_eq!(w.sockets, usize::from(result.is_ok()), "sockets are left");
        assert!(w.hosts.most_beside < w.hosts.races, "{} under way beside each other", w.hosts.most_beside + 1);
        (result.is_ok(), took, w.hosts.dialed.iter().map(|(at, address)| (at - start, *address)).collect())
    })
}

/// Connects and disconnects: how long it takes, and which address is tried first.
fn visit(handle: &Handle) -> (u64, SocketAddr) {
    let (connected, took, dialed) = dial(handle);
    assert!(connected, "{dialed:?}");
    handle.disconnect();
    run(1_000);
    (took, dialed[0].1)
}

fn end(handle: Handle) {
    handle.remove();
    all_is_gone();
}

#[test]
fn the_next_begins_beside_a_silent_one() {
    let handle = host_with(&[v4(Silent, 0), v4(Broker, 0)]);
    let (connected, took, dialed) = dial(&handle);
    assert!(connected && (250..250 + AT_ONCE).contains(&took), "{took} ms");
    let times: Vec<u64> = dialed.iter().map(|(at, _)| at - dialed[0].0).collect();
    assert_eq!(times, [0, 250]);
    end(handle);
}

#[test]
fn the_next_begins_at_once_when_one_fails() {
    for first in [Refuses, Unroutable] {
        let handle = host_with(&[v4(first, 0), v4(first, 1), v4(Broker, 0)]);
        let (connected, took, dialed) = dial(&handle);
        assert!(connected && took < AT_ONCE, "{first:?}: {took} ms");
        assert_eq!(dialed.len(), 3);
        end(handle);
    }
}

#[test]
fn two_at_a_time() {
    let handle = host_with(&[v4(Silent, 0), v4(Silent, 1), v4(Broker, 0)]);
    let (connected, took, _) = dial(&handle);
    assert!(connected && (3_000..3_000 + AT_ONCE).contains(&took), "{took} ms");
    end(handle);
    // One that fails makes room at once.
    let handle = host_with(&[v4(Silent, 0), v4(Refuses, 1), v4(Broker, 0)]);
    let (connected, took, _) = dial(&handle);
    assert!(connected && (250..250 + AT_ONCE).contains(&took), "{took} ms");
    end(handle);
}

/// The last of many comes to its turn, however many are silent.
#[test]
fn many_silent_ones() {
    let mut addresses: Vec<_> = (0..30).map(|number| v4(Silent, number)).collect();
    addresses.push(v4(Broker, 0));
    let handle = host_with(&addresses);
    let (connected, took, _) = dial(&handle);
    assert!(connected && took < 30_000, "{took} ms");
    end(handle);
}

/// Each has a while, however many wait.
#[test]
fn far_too_many_silent_ones() {
    let addresses: Vec<_> = (0..200).map(|number| v4(Silent, number)).collect();
    let handle = host_with(&addresses);
    let (connected, took, dialed) = dial(&handle);
    assert!(!connected && (30_000..30_000 + AT_ONCE).contains(&took), "{took} ms");
    assert!((200..=2 * 30_000 / 250).contains(&dialed.len()), "{} connections", dialed.len());
    end(handle);
}

/// An address that has lost its place to another is tried again, with more time.
#[test]
fn one_that_was_given_up_comes_again() {
    let handle = host_with(&[v4(Broker, 0), v4(Silent, 1), v4(Silent, 2)]);
    with(|w| {
        w.faults.black_hole = 1000;
        w.later(2_000, || with(|w| w.faults.black_hole = 0));
    });
    let (connected, took, dialed) = dial(&handle);
    assert!(connected && took < 7_000, "{took} ms");
    assert_eq!(dialed.iter().filter(|(_, address)| *address == v4(Broker, 0)).count(), 2);
    end(handle);
    // Three that need longer than the first time that each has.
    let handle = host_with(&[v4(Distant, 0), v4(Distant, 1), v4(Distant, 2)]);
    with(|w| w.faults.latency = (2_000, 2_000));
    let (connected, took, _) = dial(&handle);
    assert!(connected, "{took} ms");
    end(handle);
}

#[test]
fn all_are_dead() {
    for (addresses, least) in [
        (vec![v4(Silent, 0); 2], 30_000),
        ((0..5).map(|number| v4(Silent, number)).collect(), 30_000),
        (vec![v4(Silent, 0), v6(Refuses, 0)], 30_000),
        (vec![v4(Refuses, 0), v6(Refuses, 0), v4(Unroutable, 0)], 0),
    ] {
        let handle = host_with(&addresses);
        let (connected, took, dialed) = dial(&handle);
        assert!(!connected && (least..least + AT_ONCE).contains(&took), "{addresses:?}: {took} ms");
        assert!(addresses.iter().all(|address| dialed.iter().any(|(_, dialed)| dialed == address)), "{dialed:?}");
        end(handle);
    }
}

#[test]
fn families_take_turns() {
    let (a, b, c) = (v6(Silent, 0), v6(Silent, 1), v6(Silent, 2));
    let (d, e) = (v4(Silent, 0), v4(Broker, 0));
    let handle = host_with(&[a, b, c, d, e]);
    let (connected, _, dialed) = dial(&handle);
    let order: Vec<_> = dialed.iter().map(|(_, address)| *address).collect();
    assert!(connected && order == [a, d, b, e], "{order:?}");
    end(handle);
}

#[test]
fn the_loser_is_closed() {
    let handle = host_with(&[v4(Distant, 0), v4(Broker, 0)]);
    let (connected, took, _) = dial(&handle);
    assert!(connected && (250..DISTANCE).contains(&took));
    run(2 * DISTANCE);
    with(|w| assert_eq!((w.broker.connects, w.broker.links(), w.sockets), (1, 1, 1)));
    end(handle);
    // Or the other way round.
    let handle = host_with(&[v4(Distant, 0), v4(Silent, 0)]);
    let (connected, took, _) = dial(&handle);
    assert!(connected && (DISTANCE..DISTANCE + AT_ONCE).contains(&took));
    end(handle);
}

#[test]
fn nothing_is_left_of_a_race_that_is_called_off() {
    let handle = host_with(&[v4(Silent, 0), v4(Silent, 1), v4(Silent, 2)]);
    let (caller, ender) = (handle.clone(), handle.clone());
    let connect = call_later(0, move || caller.connect());
    call_later(4_000, move || {
        with(|w| assert_eq!(w.sockets, 2));
        ender.disconnect()
    });
    run(4_010);
    with(|w| assert_eq!(w.sockets, 0));
    assert_eq!(connect.borrow().expect("over").0, Err(Error::Failure));
    end(handle);
}

#[test]
fn the_one_that_served_is_first() {
    let (silent, broker) = (v4(Silent, 0), v4(Broker, 0));
    let handle = host_with(&[silent, broker, v4(Silent, 1)]);
    assert_eq!(visit(&handle).1, silent);
    for _ in 0..3 {
        let (took, first) = visit(&handle);
        assert!(first == broker && took < AT_ONCE, "{took} ms");
    }
    // The same after a connection that was lost.
    assert_eq!(handle.connect(), Ok(()));
    broker::close_all(|_| false);
    run(1_000);
    assert_eq!(visit(&handle).1, broker);
    // Among addresses that have changed, too; and no longer when it is not among them.
    now_with(&[v4(Silent, 2), v4(Broker, 1), broker]);
    assert_eq!(visit(&handle).1, broker);
    now_with(&[v4(Silent, 2), v4(Broker, 1)]);
    assert_eq!(visit(&handle).1, v4(Silent, 2));
    assert_eq!(visit(&handle).1, v4(Broker, 1));
    end(handle);
}

#[test]
fn the_next_is_first_after_a_death_behind_tcp() {
    for (first, least) in [(Dies, 0), (Mute, 30_000)] {
        let addresses = [v4(first, 0), v4(first, 1), v4(Broker, 0)];
        let handle = host_with(&addresses);
        for address in &addresses[..2] {
            let (connected, took, dialed) = dial(&handle);
            assert!(!connected && (least..least + AT_ONCE).contains(&took), "{first:?}: {took} ms");
            assert_eq!(dialed.iter().map(|(_, address)| address).collect::<Vec<_>>(), [address]);
        }
        for _ in 0..2 {
            let (took, address) = visit(&handle);
            assert!(address == addresses[2] && took < AT_ONCE, "{first:?}: {took} ms");
        }
        end(handle);
    }
}

/// Quicker than the others, it would win each race.
#[test]
fn the_one_that_died_does_not_race() {
    let handle = host_with(&[v4(Dies, 0), v4(Distant, 0)]);
    assert!(!dial(&handle).0);
    assert_eq!(visit(&handle).1, v4(Distant, 0));
    end(handle);
    // But when the others do not answer it has its turn.
    let handle = host_with(&[v4(Broker, 0), v4(Silent, 0)]);
    with(|w| w.broker.style.refuses = 1000);
    assert!(matches!(handle.connect(), Err(Error::Refused(_))));
    broker::behave();
    let (connected, took, _) = dial(&handle);
    assert!(connected && (3_000..3_000 + AT_ONCE).contains(&took), "{took} ms");
    end(handle);
}

#[test]
fn a_single_address_that_dies() {
    let handle = host_with(&[v4(Dies, 0)]);
    for _ in 0..3 {
        let (connected, took, dialed) = dial(&handle);
        assert!(!connected && took < AT_ONCE, "{took} ms");
        assert_eq!(dialed.len(), 1);
    }
    now_with(&[v4(Broker, 0)]);
    assert_eq!(visit(&handle).1, v4(Broker, 0));
    end(handle);
}

/// Without a socket for it the next one waits for the end of the one before.
#[test]
fn one_socket_is_left() {
    for (first, least) in [(Silent, 3_000), (Refuses, 0)] {
        let handle = host_with(&[v4(first, 0), v4(Broker, 0)]);
        with(|w| w.hosts.most_sockets = 1);
        let (connected, took, _) = dial(&handle);
        assert!(connected && (least..least + AT_ONCE).contains(&took), "{first:?}: {took} ms");
        end(handle);
    }
    let handle = host_with(&[v4(Broker, 0), v4(Broker, 1)]);
    with(|w| w.hosts.most_sockets = 0);
    let (connected, took, _) = dial(&handle);
    assert!(!connected && took < AT_ONCE);
    with(|w| w.hosts.most_sockets = 2);
    assert!(dial(&handle).0);
    end(handle);
}

/// Not even when the time for all of them passes meanwhile, and the task was not run: the answer may be in the network.
#[test]
fn one_socket_is_left_and_the_task_stands_still() {
    let handle = host_with(&[v4(Distant, 0), v4(Broker, 0)]);
    with(|w| {
        w.hosts.most_sockets = 1;
        w.faults.latency = (15_600, 15_600);
        w.later(1_000, || with(|w| w.stop_mqtt_task(30_500)));
        w.later(2_000, || with(|w| w.faults.latency = (1, 3)));
    });
    let (connected, took, dialed) = dial(&handle);
    assert!(connected && dialed.len() == 1, "{took} ms, {dialed:?}");
    end(handle);
}

/// What has come while the task stood still counts, and what is due begins.
#[test]
fn the_task_stands_still() {
    for (addresses, stopped, most) in [
        ([v4(Silent, 0), v4(Broker, 0)], 10_000, 10_100 + AT_ONCE),
        ([v4(Silent, 0), v4(Distant, 0)], 20_000, 20_400 + AT_ONCE),
        ([v4(Silent, 0), v4(Distant, 0)], 29_000, 29_400 + AT_ONCE),
    ] {
        let handle = host_with(&addresses);
        with(|w| w.later(300, move || with(|w| w.stop_mqtt_task(stopped - 300))));
        let (connected, took, _) = dial(&handle);
        assert!(connected && took < most, "{took} ms");
        end(handle);
    }
}

/// What comes up to a second after a late turn counts too, at the end of an address' time and of the whole.
#[test]
fn the_answer_is_in_the_network() {
    for (races, latency, stopped) in [(1, 8_500, (14_000, 17_000)), (2, 15_500, (28_000, 31_200))] {
        let handle = match races {
            1 => one_at_a_time(&[v4(Distant, 0), v6(Silent, 0)]),
            _ => host_with(&[v4(Distant, 0)]),
        };
        with(|w| {
            w.faults.latency = (latency, latency);
            w.later(1_000, || with(|w| w.faults.latency = (1, 3)));
            w.later(stopped.0, move || with(|w| w.stop_mqtt_task(stopped.1 - stopped.0)));
        });
        let (connected, took, _) = dial(&handle);
        assert!(connected && took < 2 * latency + DISTANCE + AT_ONCE, "{took} ms");
        end(handle);
    }
}

#[test]
fn the_other_family_is_not_looked_up_without_need() {
    let handle = one_at_a_time(&[v4(Distant, 0), v6(Broker, 0)]);
    for lookups in 1..4 {
        visit(&handle);
        with(|w| assert_eq!(w.hosts.lookups, lookups));
    }
    end(handle);
}

#[test]
fn the_other_family_when_one_fails() {
    for (first, least) in [(Refuses, 0), (Unroutable, 0), (Silent, 15_000)] {
        for (one, other) in [(v4(first, 0), v6(Broker, 0)), (v6(first, 0), v4(Broker, 0))] {
            let handle = one_at_a_time(&[one, other]);
            let (took, address) = visit(&handle);
            if one.is_ipv4() {
                assert!(address == one && (least..least + AT_ONCE).contains(&took), "{first:?}: {took} ms");
            }
            // It is the first the next time.
            for _ in 0..2 {
                let (took, address) = visit(&handle);
                assert!(address == other && took < AT_ONCE, "{first:?}: {took} ms");
            }
            // And if it is gone, the other one.
            now_with(&[match other {
                SocketAddr::V4(_) => v6(Broker, 1),
                SocketAddr::V6(_) => v4(Broker, 1),
            }]);
            visit(&handle);
            end(handle);
        }
    }
}

#[test]
fn the_other_family_after_a_death_behind_tcp() {
    let handle = one_at_a_time(&[v4(Dies, 0), v6(Dies, 0)]);
    for address in [v4(Dies, 0), v6(Dies, 0), v4(Dies, 0)] {
        let (connected, took, dialed) = dial(&handle);
        assert!(!connected && took < AT_ONCE && dialed.len() == 1 && dialed[0].1 == address, "{dialed:?}");
    }
    now_with(&[v4(Dies, 0), v6(Broker, 0)]);
    assert_eq!(visit(&handle).1, v6(Broker, 0));
    end(handle);
    // There is none.
    let handle = one_at_a_time(&[v4(Dies, 0)]);
    for _ in 0..2 {
        let (connected, took, dialed) = dial(&handle);
        assert!(!connected && took < AT_ONCE && dialed.len() == 1, "{dialed:?}");
    }
    end(handle);
}

#[test]
fn no_family_can_be_reached() {
    for (addresses, least, tries) in [
        (vec![], 0, 0),
        (vec![v4(Silent, 0)], 30_000, 1),
        (vec![v6(Silent, 0)], 30_000, 1),
        (vec![v4(Refuses, 0)], 0, 1),
        (vec![v4(Refuses, 0), v6(Refuses, 0)], 0, 2),
        (vec![v4(Silent, 0), v6(Refuses, 0)], 15_000, 2),
        (vec![v4(Refuses, 0), v6(Silent, 0)], 30_000, 2),
        (vec![v4(Silent, 0), v6(Silent, 0)], 30_000, 2),
    ] {
        let handle = one_at_a_time(&addresses);
        for _ in 0..2 {
            let (connected, took, dialed) = dial(&handle);
            assert!(!connected && (least..least + AT_ONCE).contains(&took), "{addresses:?}: {took} ms");
            assert_eq!(dialed.len(), tries, "{addresses:?}");
        }
        end(handle);
    }
}

/// A lookup of the other family that finds nothing, or never ends, does not end the connection that is under way.
#[test]
fn a_slow_address_while_the_other_family_is_looked_up() {
    for lookup in [1, 1 << 40] {
        let handle = one_at_a_time(&[v4(Distant, 0)]);
        with(|w| {
            w.faults.latency = (8_000, 8_000);
            w.later(10_000, move || with(|w| (w.faults.latency, w.faults.lookup) = ((1, 3), lookup)));
        });
        let (connected, took, dialed) = dial(&handle);
        assert!(connected && dialed.len() == 1, "{took} ms");
        with(|w| assert_eq!(w.hosts.lookups, 2));
        end(handle);
    }
}

/// Nor does one that there is no memory for.
#[test]
fn a_slow_address_while_there_is_no_memory_for_a_lookup() {
    let handle = one_at_a_time(&[v6(Distant, 0)]);
    visit(&handle);
    with(|w| {
        w.faults.latency = (8_000, 8_000);
        w.later(10_000, || with(|w| w.faults.latency = (1, 3)));
        w.later(10_000, || memory::plan(Plan::Over(0)));
        w.later(15_500, || assert!(memory::is_back() > 0));
    });
    let (connected, took, dialed) = dial(&handle);
    assert!(connected && dialed.len() == 1, "{took} ms");
    end(handle);
}
