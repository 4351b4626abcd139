use std::convert::Infallible;
use std::net::Ipv4Addr;

use axum::body::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};

use super::*;

const LONG: Duration = Duration::from_secs(3600);
const API_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
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
    intake.review((body.into(), API_SERVER), later()).await.map(|(request, _)| request)
}

/// A body whose first bytes come, and no more.
fn stuck(bytes: usize) -> Body {
    let chunks: Vec<Bytes> = vec![b' '; bytes].chunks(16 << 10).map(Bytes::copy_from_slice).collect();
    Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>)).chain(stream::pending()))
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
    let refused = intake.review((endless(), API_SERVER), Deadline::after(SHORT)).await.err();
    assert!(matches!(refused, Some(Refused::Slow(time)) if time <= SHORT), "{refused:?}");
    assert_eq!(Refused::Slow(BODY_TIMEOUT).to_string(), "the body did not arrive within 5 s");
    assert_eq!(Refused::Slow(SHORT).to_string(), "the body did not arrive within 20 ms");
}

#[tokio::test]
async fn large_reviews_wait_for_each_other_until_the_deadline_and_small_ones_for_none_of_them() {
    let intake = Intake::default();
    let (_, held) = intake.review((review(MAX_REVIEW_VALUES).into(), API_SERVER), later()).await.ok().unwrap();
    let large = review(MAX_REVIEW_VALUES).into();
    let large = intake.review((large, API_SERVER), Deadline::after(SHORT)).await;
    assert_eq!(large.err(), Some(Refused::Busy));
    assert!(taken(&intake, review(SMALL_TREE - 100)).await.is_ok());
    drop(held);
    assert!(taken(&intake, review(MAX_REVIEW_VALUES)).await.is_ok());
}

#[tokio::test]
async fn the_largest_review_has_room_beside_all_that_another_address_can_hold() {
    let intake = Intake::default();
    let mut held = Vec::new();
    for values in [MAX_REVIEW_VALUES, SMALL_TREE].into_iter().chain([SMALL_TREE - 100; 30]) {
        let body = review(values).into();
        if let Ok((_, trees)) = intake.review((body, OTHER), Deadline::after(Duration::from_millis(300))).await {
            held.push(trees);
        }
    }
    assert!(held.len() > 10, "{}", held.len());
    let body = |bytes: usize| Box::pin(intake.review((stuck(bytes), OTHER), later()));
    let mut bodies: Vec<_> = [MAX_REVIEW_BYTES, SMALL_BODY].repeat(40).into_iter().map(body).collect();
    let stuck = bodies.iter_mut().map(|body| body.as_mut().now_or_never()).filter(Option::is_none).count();
    assert!((10..60).contains(&stuck), "{stuck}");
    let largest = review(MAX_REVIEW_VALUES);
    let padding = " ".repeat(MAX_REVIEW_BYTES - largest.len());
    assert_eq!(taken(&intake, largest + &padding).await.err(), None);
    assert_eq!(taken(&intake, review(SMALL_TREE)).await.err(), None);
}

#[tokio::test]
async fn a_body_has_room_for_what_has_arrived_and_no_more() {
    let intake = Intake::default();
    let refused = |body: Body| intake.review((body, API_SERVER), later());
    // Thousands that say little hold little.
    let mut little: Vec<_> = (0..2000).map(|_| Box::pin(refused(stuck(1)))).collect();
    assert!(little.iter_mut().all(|body| body.as_mut().now_or_never().is_none()));
    assert_eq!(taken(&intake, review(1000)).await.err(), None);
    let mut more: Vec<_> = (0..100).map(|_| Box::pin(refused(stuck(SMALL_BODY)))).collect();
    let crowded = more.iter_mut().filter_map(|body| body.as_mut().now_or_never()?.err()).collect::<Vec<_>>();
    assert!(!crowded.is_empty() && crowded.iter().all(|refused| *refused == Refused::Crowded), "{crowded:?}");
    drop((little, more));
    assert_eq!(taken(&intake, review(1000)).await.err(), None);
}

#[test]
fn images_weigh_what_is_found_about_them_however_they_are_written() {
    assert_eq!(most_values(b"1"), 1);
    assert_eq!(most_values(br#"[{"a":[1,2]}]"#), 5);
    assert_eq!(most_values(br#"{"image":"x"}"#), 2 + OF_IMAGE);
    for image in [r"\u0069mage", r"i\u006dage", r"i\u006Dage", r"im\u0061ge", r"ima\u0067e", r"imag\u0065"] {
        assert_eq!(most_values(format!(r#"{{"{image}":"x"}}"#).as_bytes()), 2 + OF_IMAGE, "{image}");
    }
}

#[test]
fn a_script_as_an_api_server_writes_it_weighs_nothing_of_an_image() {
    let script = r#"["if a \u003c b \u0026\u0026 c \u003e d; then \u2028\u0060\u006f\u006"]"#;
    assert_eq!(most_values(script.as_bytes()), 2);
}
