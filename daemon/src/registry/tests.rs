//! The client against registries that no real program can be: each test asserts the outcome, and that time, bytes and
//! requests stay bounded. Real registries are tested with the other real parts.

mod credentials;
mod fixture;
mod helpers;
mod hostile;
mod limits;
mod providers;
mod sharing;
mod tls;
mod tokens;
mod writing;
