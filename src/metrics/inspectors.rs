//! What is counted of inspector processes, and what they counted themselves.

use std::sync::PoisonError;

use prometheus::proto::MetricFamily;

use super::{Family, Metrics};

/// How inspector processes are.
const STATES: [&str; 3] = ["starting", "up", "down"];

/// Why they end before their time.
const REASONS: [&str; 6] = ["crashed", "killed", "stalled", "memory", "renewed", "failed"];

impl Metrics {
    pub(super) fn start_inspectors_at_zero(&self) {
        for reason in REASONS {
            self.inspector_restarts.with_label_values(&[reason]).inc_by(0);
        }
    }

    /// Sets how many inspector processes start, are up, and are down.
    pub fn set_inspectors(&self, counts: [usize; 3]) {
        for (state, count) in STATES.iter().zip(counts) {
            self.inspectors.with_label_values(&[*state]).set(count as i64);
        }
    }

    /// Counts an inspector process that ended before its time: `crashed`, `killed`, `stalled`, `memory`, `renewed`
    /// or `failed`.
    pub fn inspector_restart(&self, reason: &str) {
        self.inspector_restarts.with_label_values(&[reason]).inc();
    }

    /// All that this process counted.
    pub fn snapshot(&self) -> Vec<Family> {
        self.registry.gather().iter().map(Family::of).collect()
    }

    /// Takes in all that the inspector process `number` has counted, in the place of what it said before.
    pub fn absorb(&self, number: u64, families: Vec<Family>) {
        self.absorbed.lock().unwrap_or_else(PoisonError::into_inner).absorb(number, families);
    }

    /// Keeps what the inspector process `number` has counted: nothing more will come of it.
    pub fn ended(&self, number: u64) {
        self.absorbed.lock().unwrap_or_else(PoisonError::into_inner).end(number);
    }

    /// What this process counted and what was absorbed.
    pub(super) fn gathered(&self) -> Vec<MetricFamily> {
        self.absorbed.lock().unwrap_or_else(PoisonError::into_inner).with(&self.registry.gather())
    }
}
