//! Stub.
pub mod classify;
