//! Stub.
pub mod duration;
