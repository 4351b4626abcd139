//! Custom resources on the real API server: what is installed, refused, followed, and said about each of them.

#[path = "resources/site.rs"]
mod site;

#[path = "resources/following.rs"]
mod following;
#[path = "resources/platforms.rs"]
mod platforms;
#[path = "resources/poison.rs"]
mod poison;
#[path = "resources/roots.rs"]
mod roots;
#[path = "resources/schema.rs"]
mod schema;
#[path = "resources/statuses.rs"]
mod statuses;
