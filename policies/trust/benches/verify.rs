//! Median time of one judgement by a key, for each storage, on one core: `cargo bench -p portreeve-trust`. The call
//! does no I/O, so its time is CPU time. Bar (DESIGN.md §7): 0.15 ms.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portreeve_policies::image::ImageReference;
use portreeve_trust::evidence::{ImageEvidence, Lookup};
use portreeve_trust::policy::{Given, ImagePolicy};
use portreeve_trust::verify::judge;

const ROUNDS: usize = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = include_bytes!("../tests/fixtures/signer.pub").to_vec();
    let policy =
        ImagePolicy::given(Given { keys: BTreeMap::from([("signer.pub".to_owned(), key)]), ..Given::default() }, 1)?;
    let both: ImageEvidence = serde_json::from_str(include_str!("../tests/fixtures/one.json"))?;
    let v2 = ImageEvidence { referrers: Lookup::Absent, ..both.clone() };
    let v3 = ImageEvidence { tag_signatures: Lookup::Absent, ..both.clone() };
    for (name, evidence) in [("keyed v2", v2), ("keyed v3", v3), ("keyed v2 and v3", both)] {
        let image = ImageReference::parse(&evidence.repository)?.pinned(evidence.digest.clone());
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let judgement = judge(&policy, &image, None, Some(black_box(&evidence)), Timestamp::UNIX_EPOCH);
            times.push(start.elapsed());
            assert!(black_box(judgement).verified().is_some(), "{name} was not verified");
        }
        report(name, &mut times);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let micros = |part: usize| times[times.len() * part / 100].as_nanos() as f64 / 1000.0;
    println!("{name}: median {:.1} µs, p99 {:.1} µs ({ROUNDS} rounds)", micros(50), micros(99));
}
