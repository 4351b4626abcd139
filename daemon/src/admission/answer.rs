//! One review: read, judge, record, answer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use portreeve_reports::{Effect, Finding, Subject, SubjectKey};

use super::connections::Guest;
use super::intake::{Intake, Refused};
use crate::cluster::writer::ClusterView;
use crate::config::valid::AdmissionScope;
use crate::judge::review::{DecisionReason, ReviewPath, Reviewed, decided};
use crate::judge::tally::image_outcome;
use crate::judge::{CurrentJudge, JudgeOptions};
use crate::registry::Deadline;
use crate::runtime::metrics::{Decision as Decided, ImageResult, Metrics, Operation};
use crate::store::{Decision, Record, RecorderHandle};

/// How long an answer waits for its decision to be committed.
pub const RECORD_WITHIN: Duration = Duration::from_millis(500);

/// What answers share.
#[derive(Clone)]
pub struct AdmissionState {
    /// The one evaluation.
    pub judge: CurrentJudge,
    /// Modes, exemptions and break-glass.
    pub scope: Arc<AdmissionScope>,
    /// The world as the index has it.
    pub view: ClusterView,
    /// Where decisions go.
    pub recorder: RecorderHandle,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Our own deadline, below the webhook's.
    pub deadline: Duration,
}

/// What the answers of one webhook share.
pub(super) struct Door {
    pub(super) state: AdmissionState,
    pub(super) intake: Intake,
}

/// `POST /mutate`
pub(super) async fn mutate(State(door): State<Arc<Door>>, guest: Extension<Arc<Guest>>, body: Body) -> Response {
    answer(&door, ReviewPath::Mutate, (&guest, body)).await
}

/// `POST /validate`
pub(super) async fn validate(State(door): State<Arc<Door>>, guest: Extension<Arc<Guest>>, body: Body) -> Response {
    answer(&door, ReviewPath::Validate, (&guest, body)).await
}

async fn answer(door: &Door, path: ReviewPath, (guest, body): (&Guest, Body)) -> Response {
    let started = Instant::now();
    guest.asks();
    let admission = &door.state.metrics.admission;
    let _in_flight = admission.in_flight();
    let answered = tokio::select! {
        reviewed = reviewed(door, path, (body, guest.address())) => reviewed,
        // Who had to make room for others is not worked for.
        () = guest.gone() => Err(Refused::Broken),
    };
    match answered {
        Ok(reviewed) => {
            let label = Decided::of(reviewed.decision.reason);
            admission.answered(Operation::of(reviewed.request.operation), label, started.elapsed());
            json(StatusCode::OK, reviewed.response.to_string())
        }
        Err(refused) => {
            // The body is never logged: it may hold a Secret.
            tracing::warn!(error = %refused, "an admission request was not answered with a decision");
            admission.answered(Operation::Unreadable, Decided::Error, started.elapsed());
            json(refused.status(), serde_json::json!({"error": refused.to_string()}).to_string())
        }
    }
}

async fn reviewed(door: &Door, path: ReviewPath, body: (Body, IpAddr)) -> Result<Reviewed, Refused> {
    let (state, started) = (&door.state, Instant::now());
    let options = JudgeOptions { now: Timestamp::now(), deadline: Deadline::after(state.deadline) };
    if !state.judge.is_settled() {
        // An image policy of the cluster may deny what files alone let in. The API server's failurePolicy decides.
        return Err(Refused::Unsettled);
    }
    let (request, _room) = door.intake.review(body, options.deadline).await?;
    // On its own, so that whoever sends no body costs no more than the wait for it.
    Box::pin(async {
        let (snapshot, judge) = (state.view.snapshot(), state.judge.now());
        let reviewed = decided(&judge, &snapshot.world, &state.scope, (request, path), &options).await?;
        count_images(&state.metrics, &reviewed.findings, started.elapsed());
        record(state, path, &reviewed, options.now).await;
        Ok(reviewed)
    })
    .await
}

/// Counts each image of a review; they were verified at the same time.
fn count_images(metrics: &Metrics, findings: &[Finding], took: Duration) {
    let mut images: BTreeMap<SubjectKey, Vec<Finding>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| matches!(finding.subject, Subject::Image { .. })) {
        images.entry(finding.subject.key()).or_default().push(finding.clone());
    }
    for findings in images.values() {
        metrics.images.verified(ImageResult::of(image_outcome(findings)), took);
    }
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Commits the decision of `/validate`. A dry run and what was not judged leave no trace; every use of break-glass
/// does.
async fn record(state: &AdmissionState, path: ReviewPath, reviewed: &Reviewed, at: Timestamp) {
    let unjudged = matches!(reviewed.decision.reason, DecisionReason::NotJudged | DecisionReason::Exempt);
    if path == ReviewPath::Mutate || reviewed.request.dry_run || unjudged {
        return;
    }
    let ack = state.recorder.send(Record::Decision(decision(state, reviewed, at)));
    let mut used = None;
    if let Some(finding) = break_glass(reviewed) {
        let subject = finding.subject.key();
        let batch = crate::store::SubjectFindings { subject, findings: vec![finding], at };
        used = Some(state.recorder.send(Record::Findings(batch)));
    }
    let committed = async {
        if let Some(used) = used {
            used.committed().await?;
        }
        ack.committed().await
    };
    match tokio::time::timeout(RECORD_WITHIN, committed).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!(%error, uid = reviewed.request.uid, "a decision was not recorded"),
        Err(_) => {
            state.metrics.admission.uncommitted.inc();
            tracing::warn!(uid = reviewed.request.uid, "a decision was answered before it was committed");
        }
    }
}

fn decision(state: &AdmissionState, reviewed: &Reviewed, at: Timestamp) -> Decision {
    let request = &reviewed.request;
    let mode = match reviewed.decision.reason {
        DecisionReason::BreakGlass => "break-glass",
        _ => match state.scope.mode_of(&request.namespace) {
            Effect::Block => "enforce",
            Effect::Warn => "warn",
            Effect::Audit => "audit",
        },
    };
    let digests = reviewed.findings.iter().filter_map(|finding| match &finding.subject {
        Subject::Image { digest, .. } => digest.clone(),
        _ => None,
    });
    let mut digests: Vec<String> = digests.collect();
    digests.sort();
    digests.dedup();
    Decision {
        at,
        uid: request.uid.clone(),
        door: "validate".to_owned(),
        operation: request.operation.as_str().to_owned(),
        kind: request.kind.clone(),
        namespace: request.namespace.clone(),
        name: request.name.clone(),
        allowed: reviewed.decision.allowed,
        mode: mode.to_owned(),
        codes: reviewed.decision.codes.iter().map(ToString::to_string).collect(),
        digests,
    }
}

/// Each use of break-glass is a finding about the object that was changed with it.
fn break_glass(reviewed: &Reviewed) -> Option<portreeve_reports::Finding> {
    (reviewed.decision.reason == DecisionReason::BreakGlass).then(|| reviewed.break_glass_finding()).flatten()
}
