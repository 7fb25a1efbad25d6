//! Stub: the wiring is written elsewhere.

use crate::config::Config;

/// The service could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that is needed is missing.
    #[error("{0}")]
    Missing(String),
}

/// Runs until told to stop.
pub fn run(_config: Config) -> Result<(), Error> {
    Err(Error::Missing("this build cannot watch streams yet".to_owned()))
}
