//! The admission door on the real API server: the chart's webhooks, the chart's account, the built daemon.

#[path = "admission/world.rs"]
mod world;

#[path = "admission/direct.rs"]
mod direct;
#[path = "admission/outage.rs"]
mod outage;
#[path = "admission/verdicts.rs"]
mod verdicts;
