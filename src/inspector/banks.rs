//! Keeps the banks that pictures are compared with in step with their files, so that what is added works within a second.
//!
//! Only reads. Where a bank cannot be read, what was in force of it stays, and that is told and counted here too: whoever keeps the
//! banks may well be able to read what an inspector process cannot.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tracing::{debug, warn};

use super::InspectorError;
use crate::bank::{InForce, Watch};
use crate::metrics::{Metrics, Stage};

/// How often the folder of banks is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// The folder of banks, watched.
pub(super) struct Banks {
    watch: Watch,
    in_force: Arc<InForce>,
    metrics: Arc<Metrics>,
    /// It was told that the folder cannot be looked at.
    told: bool,
}

impl Banks {
    /// Reads the banks of `folder`. One that is damaged is not in force until it is mended.
    pub(super) fn open(folder: &std::path::Path, metrics: &Arc<Metrics>) -> Result<Self, InspectorError> {
        let (watch, in_force) = (Watch::new(folder)?, Arc::new(InForce::new(Arc::new([]))));
        let mut banks = Self { watch, in_force, metrics: Arc::clone(metrics), told: false };
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
                for problem in &seen.problems {
                    self.metrics.error(Stage::Known, problem.kind());
                    warn!(%problem, "pictures are not compared with a bank as it is now");
                }
                for problem in &seen.unindexed {
                    debug!(%problem, "a bank has no index of its own");
                }
                self.told = false;
                self.in_force.replace(seen.banks);
            }
            Ok(None) => self.told = false,
            Err(problem) => {
                self.metrics.error(Stage::Known, problem.kind());
                if !std::mem::replace(&mut self.told, true) {
                    warn!(%problem, "the banks cannot be looked at; those in force stay");
                }
            }
        }
    }
}
