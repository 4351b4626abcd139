//! Median time of one judgement on one core, by a key for each storage and by an identity for each kind of log:
//! `cargo bench -p portreeve-trust`. The call does no I/O, so its time is CPU time. Bars (DESIGN.md §7): 0.15 ms by a key,
//! 0.6 ms by an identity.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_trust::evidence::{ImageEvidence, Lookup, Referrer, ReferrerContent};
use portreeve_trust::identity::{Identity, TextMatch};
use portreeve_trust::policy::{Given, ImagePolicy};
use portreeve_trust::verify::judge;

const ROUNDS: usize = 2000;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let key = include_bytes!("../tests/fixtures/signer.pub").to_vec();
    let by_key = Given { keys: BTreeMap::from([("signer.pub".to_owned(), key)]), ..Given::default() };
    let by_key = ImagePolicy::given(by_key, 1)?;
    let both: ImageEvidence = serde_json::from_str(include_str!("../tests/fixtures/one.json"))?;
    let v2 = ImageEvidence { referrers: Lookup::Absent, ..both.clone() };
    let v3 = ImageEvidence { tag_signatures: Lookup::Absent, ..both.clone() };
    for (name, evidence) in [("keyed v2", v2), ("keyed v3", v3), ("keyed v2 and v3", both)] {
        measure(name, &by_key, &evidence)?;
    }
    for (name, folder, case) in [
        ("keyless, Rekor v2 and timestamp", "keyless", "keyless-logged"),
        ("keyless, Rekor v1", "rekor_v1", "keyless-logged-v1"),
    ] {
        let (policy, evidence) = recorded(folder, case)?;
        measure(name, &policy, &evidence)?;
    }
    Ok(())
}

/// A recorded bundle, and the policy of whoever signed it.
fn recorded(folder: &str, name: &str) -> Result<(ImagePolicy, ImageEvidence), Failed> {
    let file = |name: &str| std::fs::read(format!("{}/tests/{folder}/{name}", env!("CARGO_MANIFEST_DIR")));
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&file("cases.json")?)?;
    let case = cases.iter().find(|case| case["name"] == name).ok_or("no such case")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let identity = Identity {
        issuer: TextMatch::exact(&text(&case["signer"]["issuer"]))?,
        subject: TextMatch::exact(&text(&case["signer"]["subject"]))?,
        claims: BTreeMap::new(),
    };
    let trust_root = Some(("trusted_root.json".to_owned(), file("trusted_root.json")?));
    let policy = ImagePolicy::given(Given { identity: Some(identity), trust_root, ..Given::default() }, 1)?;
    let digest = Digest::parse(&text(&case["digest"]))?;
    let content = ReferrerContent::Bundle(file(&format!("{name}.bundle.json"))?);
    let evidence = ImageEvidence {
        repository: text(&case["repository"]),
        digest: digest.clone(),
        tag_signatures: Lookup::Absent,
        tag_attestations: None,
        referrers: Lookup::Found(vec![Referrer { digest, artifact_type: None, content }]),
    };
    Ok((policy, evidence))
}

fn measure(name: &str, policy: &ImagePolicy, evidence: &ImageEvidence) -> Result<(), Failed> {
    let image = ImageReference::parse(&evidence.repository)?.pinned(evidence.digest.clone());
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let judgement = judge(policy, &image, None, Some(black_box(evidence)), Timestamp::UNIX_EPOCH);
        times.push(start.elapsed());
        assert!(black_box(judgement).verified().is_some(), "{name} was not verified");
    }
    report(name, &mut times);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let micros = |part: usize| times[times.len() * part / 100].as_nanos() as f64 / 1000.0;
    println!("{name}: median {:.1} µs, p99 {:.1} µs ({ROUNDS} rounds)", micros(50), micros(99));
}
