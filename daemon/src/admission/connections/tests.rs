use std::net::{Ipv4Addr, Ipv6Addr};

use futures::FutureExt as _;

use super::*;

const API_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

fn is_gone(place: &Place) -> bool {
    place.guest.gone().now_or_never().is_some()
}

/// So many guests, one after the other.
fn come(guests: &Arc<Guests>, address: IpAddr, many: usize) -> Vec<Place> {
    (0..many).map(|_| Arc::clone(guests).enter(address)).collect()
}

#[test]
fn who_has_not_asked_for_longest_makes_room() {
    let guests = Arc::default();
    let full = come(&guests, OTHER, MOST);
    full[0].guest.asks();
    let newest = Arc::clone(&guests).enter(OTHER);
    let gone: Vec<usize> = (0..MOST).filter(|at| is_gone(&full[*at])).collect();
    assert_eq!((gone, is_gone(&newest)), (vec![1], false));
    drop((full, newest));
    assert!(guests.present().is_empty());
}

#[test]
fn a_flood_from_one_address_closes_no_connection_of_another() {
    let guests = Arc::default();
    let few = come(&guests, API_SERVER, 100);
    let flood = come(&guests, OTHER, 3 * MOST);
    flood.iter().for_each(|place| place.guest.asks());
    let more = come(&guests, API_SERVER, 100);
    assert_eq!(few.iter().chain(&more).filter(|place| is_gone(place)).count(), 0);
    let stays = flood.iter().filter(|place| !is_gone(place)).count();
    assert_eq!((stays, guests.present().len()), (MOST - 200, MOST));
}

#[test]
fn an_address_is_the_same_however_it_is_written() {
    let guests = Arc::default();
    let _flood = come(&guests, OTHER, MOST - 1);
    let one = Arc::clone(&guests).enter(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let written = Arc::clone(&guests).enter(Ipv4Addr::new(10, 0, 0, 2).to_ipv6_mapped().into());
    assert_eq!((is_gone(&one), written.guest.address()), (false, OTHER));
}
