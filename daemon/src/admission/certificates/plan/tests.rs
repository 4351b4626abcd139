use jiff::SignedDuration;

use super::*;

const NAMES: [&str; 2] = ["portreeve.portreeve-system.svc", "127.0.0.1"];
const KNOWN: Settled = Settled { is_known: true, is_served: false };
const SERVED: Settled = Settled { is_known: true, is_served: true };

fn names() -> Vec<String> {
    NAMES.map(str::to_owned).to_vec()
}

fn now() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn held() -> Held {
    Held::default().made(Pair::make(&names(), now(), None).unwrap())
}

fn step(held: &Held, at: Timestamp, settled: Settled) -> Step {
    next(held, &names(), at, (false, settled))
}

#[test]
fn what_was_written_is_read_back_whole() {
    let staged = held().staged(Pair::make(&names(), now(), None).unwrap());
    let promoted = staged.clone().promoted();
    for held in [staged, promoted] {
        let read = Held::read(Some(&held.data()));
        assert_eq!(read.data(), held.data());
        assert_eq!(read.bundle(), held.bundle());
        assert_eq!(read.bundle().matches("BEGIN CERTIFICATE").count(), 2);
        let current = read.current.unwrap();
        assert_eq!((current.names, current.expires), (sorted(names()), now() + LIFETIME));
    }
}

#[test]
fn a_secret_whose_parts_do_not_belong_together_holds_nothing() {
    let (one, other) = (held().data(), held().data());
    for key in ["tls.crt", "tls.key", "ca.crt"] {
        let mut mixed = one.clone();
        mixed.insert(key.to_owned(), other[key].clone());
        assert!(Held::read(Some(&mixed)).current.is_none(), "{key} of another");
        mixed.insert(key.to_owned(), k8s_openapi::ByteString(b"-----BEGIN CERTIFICATE-----\nAA==\n".to_vec()));
        assert!(Held::read(Some(&mixed)).current.is_none(), "{key} is nothing");
        mixed.remove(key);
        assert!(Held::read(Some(&mixed)).current.is_none(), "no {key}");
    }
    assert_eq!(step(&Held::read(None), now(), Settled::default()), Step::Make);
}

#[test]
fn a_rotation_starts_at_two_thirds_of_the_life_and_waits_for_each_of_its_steps() {
    let held = held();
    assert_eq!(step(&held, now() + days(59), SERVED), Step::Rest);
    assert_eq!(step(&held, now() + days(61), SERVED), Step::Stage);
    let at = now() + days(61);
    let staged = held.staged(Pair::make(&names(), at, None).unwrap());
    assert_eq!(step(&staged, at, Settled::default()), Step::Rest);
    assert_eq!(step(&staged, at, KNOWN), Step::Promote);
    let promoted = staged.promoted();
    assert_eq!(step(&promoted, at, KNOWN), Step::Rest);
    assert_eq!(step(&promoted, at, SERVED), Step::Retire);
    let retired = promoted.retired();
    assert_eq!(step(&retired, at, SERVED), Step::Rest);
    assert_eq!(retired.bundle().matches("BEGIN CERTIFICATE").count(), 1);
}

#[test]
fn whoever_asks_and_other_names_start_a_rotation() {
    assert_eq!(next(&held(), &names(), now(), (true, SERVED)), Step::Stage);
    assert_eq!(next(&held(), &["other.svc".to_owned()], now(), (false, SERVED)), Step::Stage);
}

#[test]
fn a_clock_set_forward_starts_one_rotation_with_its_whole_overlap() {
    let (held, at) = (held(), now() + days(365 * 5));
    assert_eq!(step(&held, at, Settled::default()), Step::Stage);
    let staged = held.clone().staged(Pair::make(&names(), at, held.current.as_ref()).unwrap());
    assert_eq!(step(&staged, at, Settled::default()), Step::Rest, "nothing is hurried");
    let retired = staged.promoted().retired();
    for later in [at, now(), at - days(365 * 20)] {
        assert_eq!(step(&retired, later, SERVED), Step::Rest, "no flapping when the clock is set again");
    }
}

#[test]
fn a_clock_set_back_starts_nothing_and_makes_nothing_that_others_hold_for_expired() {
    let (held, at) = (held(), now() - days(365 * 5));
    assert_eq!(step(&held, at, SERVED), Step::Rest);
    let asked_for = Pair::make(&names(), at, held.current.as_ref()).unwrap();
    assert_eq!(asked_for.expires, now() + LIFETIME);
}

#[test]
fn a_new_certificate_is_valid_for_a_clock_that_is_years_behind() {
    let certificate = held().data()["tls.crt"].0.clone();
    let pem = x509_parser::pem::Pem::iter_from_buffer(&certificate).next().unwrap().unwrap();
    let begins = pem.parse_x509().unwrap().validity().not_before.timestamp();
    assert!(Timestamp::from_second(begins).unwrap() < now() - days(365));
}
