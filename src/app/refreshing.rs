//! Keeps the banks in force in step with their files, so that what is added works within a second.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use crate::bank::{InForce, Refreshed, Watch};
use crate::metrics::{Metrics, Stage};

/// How often the folder of banks is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Refreshing {
    pub(super) watch: Watch,
    pub(super) banks: Arc<InForce>,
    pub(super) metrics: Arc<Metrics>,
}

impl Refreshing {
    /// Works until it is dropped.
    pub(super) async fn run(mut self) {
        let mut beat = tokio::time::interval(EVERY);
        loop {
            beat.tick().await;
            let looked = tokio::task::spawn_blocking(move || {
                let seen = self.watch.look();
                (self, seen)
            });
            // Only when the runtime is going down.
            let Ok((refreshing, seen)) = looked.await else { return };
            self = refreshing;
            match seen {
                Ok(Some(seen)) => self.put_in_force(seen),
                Ok(None) => {}
                Err(problem) => {
                    self.metrics.error(Stage::Known, problem.kind());
                    error!(%problem, "the banks cannot be looked at; those in force stay");
                }
            }
        }
    }

    fn put_in_force(&self, seen: Refreshed) {
        for problem in &seen.problems {
            self.metrics.error(Stage::Known, problem.kind());
            error!(%problem, "a bank cannot be read; what was in force of it stays");
        }
        for name in &seen.removed {
            self.metrics.set_bank_signals(&name.shared(), 0);
            info!(bank = %name, "bank removed");
        }
        for bank in &seen.changed {
            self.metrics.expect_bank(&bank.name().shared());
            self.metrics.set_bank_signals(&bank.name().shared(), bank.signals().len());
            info!(bank = %bank.name(), signals = bank.signals().len(), revision = bank.revision(), "bank loaded");
        }
        self.banks.replace(seen.banks);
    }
}
