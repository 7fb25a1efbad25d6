//! Keeps the banks that pictures are compared with in step with their files, so that what is added works within a second.
//!
//! Only reads. What is wrong with a bank is told by whoever keeps the banks; here what was in force of it stays.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tracing::debug;

use super::InspectorError;
use crate::bank::{InForce, Watch};

/// How often the folder of banks is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// The folder of banks, watched.
pub(super) struct Banks {
    watch: Watch,
    in_force: Arc<InForce>,
}

impl Banks {
    /// Reads the banks of `folder`. One that is damaged is not in force until it is mended.
    pub(super) fn open(folder: &std::path::Path) -> Result<Self, InspectorError> {
        let mut banks = Self { watch: Watch::new(folder)?, in_force: Arc::new(InForce::new(Arc::new([]))) };
        banks.look();
        Ok(banks)
    }

    /// The banks in force, to be shared.
    pub(super) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force)
    }

    /// Works until whoever holds the other end of `stop` lets go of it.
    pub(super) fn follow(mut self, stop: &Receiver<()>) {
        while stop.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            self.look();
        }
    }

    fn look(&mut self) {
        match self.watch.look() {
            Ok(Some(seen)) => {
                for problem in seen.problems.iter().chain(&seen.unindexed) {
                    debug!(%problem, "a bank is not as it should be");
                }
                self.in_force.replace(seen.banks);
            }
            Ok(None) => {}
            Err(problem) => debug!(%problem, "the banks cannot be looked at; those in force stay"),
        }
    }
}
