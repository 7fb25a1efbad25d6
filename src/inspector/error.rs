//! Why nothing can be inspected.

use crate::bank::BankError;
use crate::decode::DecodeError;
use crate::model::ModelError;
use crate::source::SourceError;

/// The inspection could not start. The message is the stage's own.
#[derive(Debug, thiserror::Error)]
pub enum InspectorError {
    /// The folder of banks.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// A decoder.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A model, or the runtime.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A process could not begin.
    #[error("an inspector process cannot begin: {reason}")]
    Process {
        /// In its own words.
        reason: String,
    },
    /// The operating system gave no thread, no process or no socket, or the other side is gone.
    #[error("the operating system does not give what inspecting takes: {0}; look for a limit on processes or memory")]
    System(#[from] std::io::Error),
}

impl InspectorError {
    /// A bounded word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bank(error) => error.kind(),
            Self::Decode(error) => error.kind(),
            Self::Model(error) => error.kind(),
            Self::Source(error) => error.kind(),
            Self::Process { .. } => "process",
            Self::System(_) => "system",
        }
    }

    /// Whether starting again, with nothing changed, may well succeed.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::System(_))
    }
}
