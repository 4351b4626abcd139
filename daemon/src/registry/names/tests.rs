use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use super::*;

/// A resolver: names below `evil.example` and `hang.example`, and all names once it is broken, are not answered before
/// the end of the test; `gone.example` does not exist.
struct Servers {
    /// Look-ups that never come back wait for this to be dropped.
    end: Option<Sender<()>>,
    state: Arc<State>,
}

struct State {
    ended: Mutex<Receiver<()>>,
    asked: Mutex<Vec<String>>,
    broken: Mutex<bool>,
}

impl Servers {
    fn new() -> Self {
        let (end, ended) = channel();
        let state = State { ended: Mutex::new(ended), asked: Mutex::default(), broken: Mutex::new(false) };
        Self { end: Some(end), state: Arc::new(state) }
    }

    fn names(&self) -> Names {
        let state = Arc::clone(&self.state);
        Names::new(Arc::new(move |name| {
            state.asked.lock().unwrap().push(name.to_owned());
            let hangs = ["evil.example", "hang.example"].contains(&zone(name)) || *state.broken.lock().unwrap();
            if hangs {
                state.ended.lock().unwrap_or_else(PoisonError::into_inner).recv().unwrap_err();
            }
            if name == "gone.example" {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            Ok(vec![SocketAddr::from(([192, 0, 2, 1], 0))])
        }))
    }

    fn asked(&self, name: &str) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.end.take();
    }
}

fn is_unanswered(answer: Answer) -> bool {
    answer.is_err_and(|error| error.is::<Unanswered>())
}

#[tokio::test]
async fn names_of_one_zone_that_are_never_answered_stop_no_other_name() {
    let servers = Servers::new();
    let names = servers.names();
    let evil: Vec<String> = (0..2 * LOOK_UPS).map(|number| format!("n{number}.evil.example")).collect();
    let hang = futures::future::join_all(evil.iter().map(|name| names.addresses(name)));
    let others = async {
        tokio::task::yield_now().await;
        for other in ["quay.io", "ghcr.io", "gone.example"] {
            let answer = timeout(PATIENCE, names.addresses(other)).await.expect(other);
            assert_eq!(answer.is_ok(), other != "gone.example", "{other}");
        }
    };
    tokio::select! {
        biased;
        _ = hang => panic!("names were answered that never are"),
        () = others => {}
    }
}

#[tokio::test]
async fn a_name_that_is_not_answered_is_left_alone_for_a_while() {
    let servers = Servers::new();
    let names = servers.names();
    assert!(is_unanswered(names.addresses("a.hang.example").await));
    assert!(is_unanswered(names.addresses("a.hang.example").await));
    assert_eq!(servers.asked("a.hang.example"), 1);
    // An answer, whatever it is, costs nothing and is not kept.
    for _ in 0..2 {
        assert!(names.addresses("gone.example").await.is_err_and(|error| error.is::<io::Error>()));
    }
    assert_eq!(servers.asked("gone.example"), 2);
}

#[tokio::test]
async fn a_name_that_was_answered_before_has_those_addresses_while_it_is_not() {
    let servers = Servers::new();
    let names = servers.names();
    let before = names.addresses("quay.io").await.unwrap();
    *servers.state.broken.lock().unwrap() = true;
    assert_eq!(names.addresses("quay.io").await.unwrap(), before);
    // All room there is may be taken.
    let _room = names.room.acquire_many(u32::try_from(names.room.available_permits()).unwrap()).await.unwrap();
    assert_eq!(names.addresses("quay.io").await.unwrap(), before);
    assert_eq!(servers.asked("quay.io"), 2);
}

#[test]
fn a_zone_is_the_last_two_labels() {
    for (name, expected) in [
        ("a.b.evil.example", "evil.example"),
        ("evil.example", "evil.example"),
        ("a.evil.example.", "evil.example"),
        ("registry", "registry"),
        ("", ""),
    ] {
        assert_eq!(zone(name), expected, "{name}");
    }
}
