//! Why the house could not be built, or had to come down.

use crate::act::ActError;
use crate::api::ApiError;
use crate::bank::BankError;
use crate::inspector::InspectorError;
use crate::judge::PolicyError;
use crate::ledger::LedgerError;
use crate::metrics::MetricsError;

/// The service could not start, or had to stop. The message is the stage's own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A media server or webhook is configured in a way that cannot work.
    #[error(transparent)]
    Act(#[from] ActError),
    /// The HTTP interface.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A bank.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// What inspects.
    #[error(transparent)]
    Inspector(#[from] InspectorError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The judge's thread broke off.
    #[error("the judge's thread panicked: start again, and report what standard error says")]
    Panicked,
    /// The operating system gave no thread.
    #[error("cannot start a thread: look for a limit on processes or memory")]
    Thread(#[from] std::io::Error),
}

/// Whose fault an error is: what the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The configuration's.
    Configuration,
    /// The machine's: something is missing, damaged or taken.
    Machine,
    /// Ours.
    Bug,
}

impl Error {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Act(_) | Self::Policy(_) => Fault::Configuration,
            Self::Metrics(_) | Self::Panicked => Fault::Bug,
            Self::Api(_) | Self::Bank(_) | Self::Inspector(_) | Self::Ledger(_) | Self::Thread(_) => Fault::Machine,
        }
    }
}
