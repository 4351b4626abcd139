use std::convert::Infallible;

use axum::body::Bytes;
use futures::{FutureExt as _, stream};

use super::*;

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

fn later() -> Deadline {
    Deadline::after(LONG)
}

/// A review of so many values.
fn review(values: usize) -> String {
    let text = |list: &str| {
        format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","operation":"CREATE","object":[{list}]}}}}"#
        )
    };
    let without = 7;
    text(&vec!["1"; values - without].join(","))
}

async fn taken(intake: &Intake, body: impl Into<Body>) -> Result<ReviewRequest, Refused> {
    intake.review(body.into(), later()).await.map(|(request, _)| request)
}

#[tokio::test]
async fn a_review_has_at_most_so_many_values() {
    let intake = Intake::default();
    for values in [MAX_REVIEW_VALUES - 1, MAX_REVIEW_VALUES] {
        assert!(taken(&intake, review(values)).await.is_ok(), "{values}");
    }
    let refused = taken(&intake, review(MAX_REVIEW_VALUES + 1)).await.unwrap_err();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(refused.to_string(), "not an AdmissionReview: more than 200000 values");
}

#[tokio::test]
async fn a_review_has_at_most_so_many_bytes_whether_it_says_so_or_not() {
    let intake = Intake::default();
    let padded = |bytes: usize| review(10) + &" ".repeat(bytes - review(10).len());
    let unannounced = |text: String| {
        let chunks: Vec<_> = text.as_bytes().chunks(64 << 10).map(Bytes::copy_from_slice).collect();
        Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>)))
    };
    for bytes in [MAX_REVIEW_BYTES - 1, MAX_REVIEW_BYTES] {
        assert!(taken(&intake, padded(bytes)).await.is_ok(), "{bytes}");
        assert!(taken(&intake, unannounced(padded(bytes))).await.is_ok(), "{bytes}");
    }
    let above = padded(MAX_REVIEW_BYTES + 1);
    assert_eq!(taken(&intake, above.clone()).await.unwrap_err(), Refused::TooLarge);
    assert_eq!(taken(&intake, unannounced(above)).await.unwrap_err(), Refused::TooLarge);
}

#[tokio::test]
async fn a_body_that_does_not_end_is_given_up() {
    let intake = Intake::default();
    let endless = || Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let refused = intake.review(endless(), Deadline::after(SHORT)).await.unwrap_err();
    assert!(matches!(refused, Refused::Slow(time) if time <= SHORT), "{refused:?}");
    assert_eq!(Refused::Slow(BODY_TIMEOUT).to_string(), "the body did not arrive within 5 s");
    assert_eq!(Refused::Slow(SHORT).to_string(), "the body did not arrive within 20 ms");
}

#[tokio::test]
async fn large_reviews_wait_for_each_other_until_the_deadline_and_small_ones_for_none_of_them() {
    let intake = Intake::default();
    let (_, held) = intake.review(review(MAX_REVIEW_VALUES).into(), later()).await.unwrap();
    let large = intake.review(review(SMALL_TREE + 100).into(), Deadline::after(SHORT)).await;
    assert_eq!(large.unwrap_err(), Refused::Busy);
    assert!(taken(&intake, review(SMALL_TREE - 100)).await.is_ok());
    drop(held);
    assert!(taken(&intake, review(SMALL_TREE + 100)).await.is_ok());
}

#[tokio::test]
async fn bodies_on_their_way_are_counted_and_the_first_who_waits_is_the_next() {
    let room = Room::new((2, 4), (8, 8));
    let first = room.enter(8, later()).await.unwrap();
    let mut whole = Box::pin(room.enter(8, later()));
    let mut part = Box::pin(room.enter(3, later()));
    assert!((&mut whole).now_or_never().is_none() && (&mut part).now_or_never().is_none());
    drop(first);
    // What is lighter does not overtake.
    let second = whole.await.unwrap();
    assert!((&mut part).now_or_never().is_none());
    let small = [room.enter(2, later()).await.unwrap(), room.enter(1, later()).await.unwrap()];
    assert_eq!(room.enter(2, Deadline::after(SHORT)).await.unwrap_err(), Refused::Busy);
    drop((second, small));
    assert!(part.await.is_ok() && room.enter(100, later()).await.is_ok());
}

#[test]
fn images_weigh_what_is_found_about_them_however_they_are_written() {
    assert_eq!(most_values(b"1"), 1);
    assert_eq!(most_values(br#"[{"a":[1,2]}]"#), 5);
    assert_eq!(most_values(br#"{"image":"x"}"#), 2 + OF_IMAGE);
    assert_eq!(most_values(br#"{"im\u0061ge":"x"}"#), 2 + OF_IMAGE);
}
