//! Configuration: layers, the typed schema, origins, diagnostics.
//!
//! [`schema::Config`] holds the values of a stage, [`schema::keys`] describes
//! them. This room knows nothing of stages' work and tensors.

pub mod schema;
