//! Keeps what can be seen from outside up to date: states of streams, denies, what waits in the outbox.

use std::sync::Arc;
use std::time::Duration;

use super::streams::Streams;
use crate::act::Gate;
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::metrics::{Metrics, Stage};

/// How often.
const EVERY: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Showing {
    pub(super) servers: Vec<Arc<str>>,
    pub(super) streams: Arc<Streams>,
    pub(super) gate: Arc<Gate>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

impl Showing {
    /// Works until it is dropped.
    pub(super) async fn run(self) {
        let mut beat = tokio::time::interval(EVERY);
        loop {
            beat.tick().await;
            self.streams.show(&self.servers);
            self.gate.expire(self.clock.now());
            self.metrics.set_denies(self.gate.count());
            let ledger = Arc::clone(&self.ledger);
            match tokio::task::spawn_blocking(move || ledger.pending()).await {
                Ok(Ok(pending)) => self.metrics.set_outbox_pending(pending),
                Ok(Err(error)) => self.metrics.error(Stage::Ledger, error.kind()),
                // Only when the runtime is going down.
                Err(_ended) => return,
            }
        }
    }
}
