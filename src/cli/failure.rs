//! How a command fails: an exit code and, where the command has not told already, a message.

use std::io::{self, Write};
use std::process::ExitCode;

/// The codes that the command ends with, after `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// What was looked at is not well: `doctor`, `replay`, `policy test` and `scan` alone end so.
    Unwell = 1,
    /// Something could not be inspected: `scan` alone ends so, whatever went wrong.
    NotInspected = 2,
    /// The command line or the configuration is wrong.
    Usage = 64,
    /// Something that is needed is missing or cannot be reached.
    Missing = 69,
    /// It is our fault.
    Bug = 70,
}

/// A command that did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: Option<anyhow::Error>,
}

/// What a command comes to.
pub(super) type Outcome = Result<(), Failure>;

impl Failure {
    /// A failure about which everything is said already.
    pub const fn told(exit: Exit) -> Self {
        Self { exit, error: None }
    }

    /// Writes the message, with its causes, to standard error; gives the code to end with.
    pub fn report(&self) -> ExitCode {
        if let Some(error) = &self.error {
            // Where standard error is closed, the code is all that can be said.
            writeln!(io::stderr(), "error: {error:#}").ok();
        }
        ExitCode::from(self.exit as u8)
    }
}

/// Says which exit code an error means.
pub(super) trait OrExit<T> {
    /// The value, or a failure with `exit`.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: Some(error.into()) })
    }
}
