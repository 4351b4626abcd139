//! When things are judged again: merged queues and cron times ([`plan`], pure), and what waits for them ([`driver`]).

pub mod driver;
pub mod plan;
