//! What Portreeve judges and by which rules: subjects, facts, controls, frameworks, and the engine.
//!
//! * [`object`], [`workload`]: Kubernetes objects as judged subjects, from files, Lists, the API and AdmissionReviews.
//! * [`image`]: image references and what is known of an image ([`facts::ImageFact`]).
//! * [`world`]: what else is known (service accounts, network policies, owners), with what could not be seen.
//! * [`control`], [`framework`]: the authored YAML; adding a control is adding a file under `controls/`.
//! * [`engine`]: the one evaluation. Pure: objects, world and parameters in, findings out.

pub mod control;
pub mod engine;
pub mod facts;
pub mod framework;
pub mod image;
pub mod image_contract;
pub mod layers;
pub mod object;
pub mod workload;
pub mod world;
