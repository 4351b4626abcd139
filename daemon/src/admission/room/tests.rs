use std::net::Ipv4Addr;
use std::time::Duration;

use futures::FutureExt as _;

use super::*;

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn later() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

/// Takes as much as it can, one by one.
fn greedy(room: &Room, last: u8) -> (Held, usize) {
    let mut held = room.nothing(address(last));
    let taken = (0..).take_while(|_| held.grow(1)).count();
    (held, taken)
}

#[test]
fn whoever_takes_all_it_can_leaves_half_of_what_there_was() {
    let room = Room::new(80);
    let (first, taken) = greedy(&room, 1);
    assert_eq!(taken, 40);
    assert!(!room.nothing(address(1)).grow(1), "as much again over another connection");
    let (_second, taken) = greedy(&room, 2);
    assert_eq!(taken, 20);
    drop(first);
    assert_eq!(greedy(&room, 1).1, 30);
}

#[test]
fn those_who_hold_together_get_equal_parts_in_the_end() {
    let room = Room::new(1000);
    let mut held: Vec<Vec<Held>> = (0..4).map(|_| Vec::new()).collect();
    // One after the other gives back a tenth and takes as much as it can.
    for round in 0..400 {
        let of = round % 4;
        if let Some(most) = held[of].len().checked_sub(held[of].len() / 10 + 1) {
            held[of].truncate(most);
        }
        loop {
            let mut one = room.nothing(address(u8::try_from(of).unwrap()));
            if !one.grow(1) {
                break;
            }
            held[of].push(one);
        }
    }
    let parts: Vec<usize> = held.iter().map(Vec::len).collect();
    assert!(parts.iter().all(|part| (180..=220).contains(part)), "{parts:?}");
}

#[tokio::test]
async fn half_is_left_whatever_the_parts_are() {
    let room = Room::new(400);
    let _first = room.enter(address(1), 100, later()).await.unwrap();
    assert!(room.enter(address(1), 150, later()).now_or_never().is_none());
    assert!(room.enter(address(2), 200, later()).now_or_never().is_some());
}

#[tokio::test]
async fn within_an_address_the_first_who_waits_is_the_next_and_other_addresses_do_not_wait_for_it() {
    let room = Room::new(16);
    let first = room.enter(address(1), 8, later()).await.unwrap();
    let mut whole = Box::pin(room.enter(address(1), 8, later()));
    let mut part = Box::pin(room.enter(address(1), 1, later()));
    assert!((&mut whole).now_or_never().is_none() && (&mut part).now_or_never().is_none());
    let other = room.enter(address(2), 8, later()).now_or_never().unwrap().unwrap();
    drop((first, other));
    let second = whole.await.unwrap();
    // What is lighter did not overtake, and still waits: the address has half.
    assert!((&mut part).now_or_never().is_none());
    drop(second);
    assert!(part.await.is_some());
}

#[tokio::test]
async fn who_went_away_while_waiting_leaves_nothing_behind() {
    let room = Room::new(4);
    let held = room.enter(address(1), 4, later()).await.unwrap();
    let gone: Vec<_> = (0..10).map(|_| Box::pin(room.enter(address(1), 4, later()))).collect();
    let gone = gone.into_iter().map(|mut waits| ((&mut waits).now_or_never().is_none(), waits));
    assert!(gone.collect::<Vec<_>>().iter().all(|(waits, _)| *waits));
    let soon = Deadline::after(Duration::from_millis(1));
    assert!(room.enter(address(1), 4, soon).await.is_none());
    drop(held);
    let held = room.enter(address(2), 4, later()).now_or_never().unwrap();
    assert!(held.is_some());
    drop(held);
    let shares = room.0.lock().unwrap();
    assert_eq!((shares.free, shares.of.len()), (4, 0));
}
