use portreeve_reports::Cause;
use portreeve_secrets::credentials::{Class, Expiry};

use super::*;

fn series(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn every_known_series_is_there_before_anything_happened() {
    let text = Metrics::new("1.2.3").encode(Exposition::OpenMetrics).unwrap();
    for line in [
        "portreeve_findings{severity=\"critical\",verdict=\"fail\"} 0",
        "portreeve_findings_opened_total 0",
        "portreeve_findings_resolved_total 0",
        "portreeve_coverage_ratio 0.0",
        "portreeve_image_verifications_total{result=\"unsigned\"} 0",
        "portreeve_image_verification_duration_seconds_count 0",
        "portreeve_admission_requests_total{operation=\"create\",decision=\"deny\"} 0",
        "portreeve_admission_duration_seconds_count 0",
        "portreeve_admission_in_flight 0",
        "portreeve_admission_uncommitted_total 0",
        "portreeve_scan_last_success_timestamp_seconds{scanner=\"images\"} 0.0",
        "portreeve_scans_total{scanner=\"posture\",result=\"failure\"} 0",
        "portreeve_registry_requests_total{outcome=\"rate-limited\"} 0",
        "portreeve_watch_restarts_total 0",
        "portreeve_watch_connected 0",
        "portreeve_store_lost_total 0",
        "portreeve_store_writes_total{result=\"success\"} 0",
        "portreeve_index_objects 0",
        "portreeve_credentials{class=\"tls-certificate\"} 0",
        "portreeve_credential_expiry_timestamp_seconds{class=\"jwt\"} NaN",
        "portreeve_credentials_read{kind=\"Secret\"} 0",
        "portreeve_platform_components{state=\"kept-back\"} 0",
        "portreeve_platform_drift{class=\"foreign-owner\"} 0",
        "portreeve_platform_writes_total 0",
        "portreeve_secrets_synced{state=\"invalid\"} 0",
        "portreeve_secrets_writes_total 0",
        "portreeve_secrets_drift_total 0",
        "portreeve_secrets_last_success_timestamp_seconds 0.0",
        "portreeve_build_info{version=\"1.2.3\"} 1",
    ] {
        assert!(series(&text).contains(&line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn using_the_metrics_makes_no_new_series() {
    let metrics = Metrics::new("1");
    let before = metrics.encode(Exposition::OpenMetrics).unwrap().lines().count();
    metrics.set_findings(|_, _| 3);
    metrics.store.written(false);
    metrics.images.verified(ImageResult::Mismatch, Duration::from_millis(3));
    let held = metrics.admission.in_flight();
    assert!(metrics.encode(Exposition::OpenMetrics).unwrap().contains("portreeve_admission_in_flight 1\n"));
    drop(held);
    assert!(metrics.encode(Exposition::OpenMetrics).unwrap().contains("portreeve_admission_in_flight 0\n"));
    metrics.admission.answered(Operation::Unreadable, Decision::Error, Duration::ZERO);
    metrics.scans.scanned(Scanner::Posture, Outcome::Success, Timestamp::UNIX_EPOCH);
    metrics
        .credentials
        .set([(Class::Jwt, &Expiry::At(Timestamp::UNIX_EPOCH)), (Class::Jwt, &Expiry::Never)].into_iter(), |_| true);
    assert!(metrics.encode(Exposition::OpenMetrics).unwrap().contains("portreeve_credentials{class=\"jwt\"} 2\n"));
    metrics.sources.registry_requests(crate::registry::RequestOutcome::TimedOut, 1);
    assert_eq!(metrics.encode(Exposition::OpenMetrics).unwrap().lines().count(), before);
}

#[test]
fn that_no_credential_ends_is_said_only_where_all_was_read() {
    let metrics = Metrics::new("1");
    let earliest = |class: &str| {
        let text = metrics.encode(Exposition::Classic).unwrap();
        let name = format!("portreeve_credential_expiry_timestamp_seconds{{class=\"{class}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned).unwrap()
    };
    let (soon, garbage) = (Expiry::At(Timestamp::UNIX_EPOCH), Expiry::Unknown(Cause::Unreadable, "no certificate"));
    let found = [
        (Class::Jwt, &soon),
        (Class::Jwt, &garbage),
        (Class::TlsCertificate, &garbage),
        (Class::TlsCertificate, &Expiry::Never),
        (Class::BasicAuth, &Expiry::Never),
    ];
    metrics.credentials.set(found.into_iter(), |_| true);
    assert_eq!(["jwt", "tls-certificate", "basic-auth", "kubeconfig"].map(earliest), ["0.0", "NaN", "+Inf", "+Inf"]);
    // One of a kind that is not read may end earlier, and what is known to end is said all the same.
    metrics.credentials.set(found.into_iter(), |kind| kind == HolderKind::ConfigMap);
    assert_eq!(["jwt", "tls-certificate", "basic-auth", "kubeconfig"].map(earliest), ["0.0", "NaN", "NaN", "NaN"]);
    let text = metrics.encode(Exposition::Classic).unwrap();
    for line in ["portreeve_credentials_read{kind=\"Secret\"} 0", "portreeve_credentials_read{kind=\"ConfigMap\"} 1"] {
        assert!(series(&text).contains(&line), "{line} is not in\n{text}");
    }
}

#[test]
fn every_metric_is_in_the_documentation() {
    let documented = include_str!("../../../../docs/metrics.md");
    let text = Metrics::new("1").encode(Exposition::Classic).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() > 30, "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !documented.contains(&format!("| `{name}` |"))).collect();
    assert_eq!(missing, [&""; 0], "these are not in docs/metrics.md");
}
