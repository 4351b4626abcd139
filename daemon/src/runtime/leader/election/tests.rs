use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn lease(holder: Option<&str>, transitions: u64, renewed: Option<&str>) -> SeenLease {
    SeenLease { holder: holder.map(str::to_owned), transitions, renewed: renewed.map(str::to_owned) }
}

fn election() -> Election {
    Election::new("us".to_owned(), Epoch::default())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_lease_that_nobody_holds_is_taken_at_once() {
    let now = Instant::now();
    assert_eq!(election().elect(now, None), Action::Take(Epoch::new(1)));
    assert_eq!(election().elect(now, Some(&lease(None, 4, None))), Action::Take(Epoch::new(5)));
}

#[test]
fn a_held_lease_is_taken_when_it_has_not_changed_for_its_duration_whatever_time_it_says() {
    for renewed in ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "hello"] {
        let (mut election, start) = (election(), Instant::now());
        let dead = lease(Some("them"), 7, Some(renewed));
        assert_eq!(election.elect(start, Some(&dead)), Action::Wait);
        assert_eq!(election.elect(start + DURATION - SECOND, Some(&dead)), Action::Wait);
        assert_eq!(election.elect(start + DURATION, Some(&dead)), Action::Take(Epoch::new(8)));
    }
}

#[test]
fn each_renewal_of_another_starts_the_waiting_anew() {
    let (mut election, mut now) = (election(), Instant::now());
    for renewal in 0..10 {
        let renewed = lease(Some("them"), 7, Some(&renewal.to_string()));
        assert_eq!(election.elect(now, Some(&renewed)), Action::Wait);
        now += DURATION - SECOND;
        assert_eq!(election.elect(now, Some(&renewed)), Action::Wait);
    }
}

#[test]
fn ours_is_renewed_and_anything_else_stops_us() {
    let now = Instant::now();
    let mut ours = election();
    ours.taken(Epoch::new(3));
    let same = lease(Some("us"), 3, Some("t"));
    assert_eq!(ours.elect(now, Some(&same)), Action::Renew);
    for (seen, expected) in [
        (Some(lease(Some("them"), 4, Some("t"))), "the lease is held by them"),
        (Some(lease(Some("us"), 2, Some("t"))), "the lease was edited by somebody else"),
        (Some(lease(None, 3, Some("t"))), "the lease was edited by somebody else"),
        (None, "the lease was deleted by somebody else"),
    ] {
        let Action::Stop(reason) = ours.clone().elect(now, seen.as_ref()) else { panic!("{seen:?} did not stop us") };
        assert_eq!(reason.to_string(), expected);
    }
}

#[test]
fn a_lease_deleted_below_another_is_left_until_that_one_must_have_stopped() {
    let (mut election, start) = (election(), Instant::now());
    election.elect(start, Some(&lease(Some("them"), 7, Some("t"))));
    assert_eq!(election.elect(start + SECOND, None), Action::Wait);
    assert_eq!(election.elect(start + SECOND + DURATION, None), Action::Take(Epoch::new(8)));
}

#[test]
fn a_holder_edited_away_is_not_one_that_gave_the_lease_back() {
    let (mut election, start) = (election(), Instant::now());
    election.elect(start, Some(&lease(Some("them"), 7, Some("t"))));
    let edited = lease(None, 7, Some("t"));
    assert_eq!(election.elect(start + SECOND, Some(&edited)), Action::Wait);
    let given_back = lease(None, 7, None);
    assert_eq!(election.elect(start + 2 * SECOND, Some(&given_back)), Action::Take(Epoch::new(8)));
}

#[test]
fn terms_never_go_back_although_the_lease_does() {
    let now = Instant::now();
    let mut election = Election::new("us".to_owned(), Epoch::new(40));
    assert_eq!(election.elect(now, Some(&lease(None, 2, None))), Action::Take(Epoch::new(41)));
    election.elect(now, Some(&lease(None, 90, None)));
    assert_eq!(election.elect(now, None), Action::Take(Epoch::new(91)));
}

#[test]
fn a_number_that_cannot_be_increased_makes_us_wait() {
    let mut election = election();
    let last = lease(None, LAST_EPOCH, None);
    assert_eq!(election.elect(Instant::now(), Some(&last)), Action::Wait);
    assert!(election.is_exhausted());
}

#[test]
fn who_stood_back_takes_the_lease_again_when_nobody_came_and_waits_like_others_when_somebody_did() {
    let (mut election, start) = (election(), Instant::now());
    election.taken(Epoch::new(1));
    election.elect(start, Some(&lease(Some("us"), 1, Some("t"))));
    let free = lease(None, 1, None);
    election.stand_back(start + DURATION);
    assert_eq!(election.elect(start + SECOND, Some(&free)), Action::Wait);
    let mut other = election.clone();
    assert_eq!(election.elect(start + DURATION, Some(&free)), Action::Take(Epoch::new(2)));
    other.elect(start + SECOND, Some(&lease(Some("them"), 2, Some("t"))));
    assert_eq!(other.elect(start + 2 * SECOND, Some(&lease(None, 2, None))), Action::Take(Epoch::new(3)));
}

/// Two processes, a lease, and time that passes as it likes between the looks of either of them.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Look(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..4_000).prop_map(Step::Pass),
        8 => (0_usize..2).prop_map(Step::Look),
    ];
    prop::collection::vec(step, 1..200)
}

struct Candidate {
    election: Election,
    deadline: Option<Instant>,
}

impl Candidate {
    fn look(&mut self, now: Instant, lease: &mut Option<SeenLease>) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.deadline = None;
            self.election.stand_back(now);
        }
        let renewed = Some(format!("{now:?}"));
        match self.election.elect(now, lease.as_ref()) {
            Action::Take(epoch) => {
                let holder = Some(self.election.identity().to_owned());
                *lease = Some(SeenLease { holder, transitions: epoch.number(), renewed });
                self.election.taken(epoch);
                self.deadline = Some(now + super::super::RENEW_WITHIN);
            }
            Action::Renew => {
                *lease = lease.take().map(|lease| SeenLease { renewed, ..lease });
                self.deadline = Some(now + super::super::RENEW_WITHIN);
            }
            Action::Wait => {}
            Action::Stop(_) => self.deadline = None,
        }
    }
}

proptest! {
    #[test]
    fn never_do_two_lead_at_a_time_and_never_does_a_term_come_twice(steps in steps()) {
        let mut now = Instant::now();
        let mut lease = None;
        let mut candidates = ["a", "b"].map(|name| Candidate {
            election: Election::new(name.to_owned(), Epoch::default()),
            deadline: None,
        });
        let mut last = 0;
        for step in steps {
            match step {
                Step::Pass(milliseconds) => now += Duration::from_millis(milliseconds),
                Step::Look(who) => candidates[who].look(now, &mut lease),
            }
            let leading = candidates.iter().filter(|one| one.deadline.is_some_and(|deadline| now < deadline)).count();
            prop_assert!(leading <= 1);
            let transitions = lease.as_ref().map_or(last, |lease: &SeenLease| lease.transitions);
            prop_assert!(transitions >= last);
            last = transitions;
        }
    }
}
