//! Stub.
pub mod model;
