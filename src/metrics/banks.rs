//! What is counted of banks.

use super::Metrics;

impl Metrics {
    /// Begins the series of a bank at zero.
    pub fn expect_bank(&self, bank: &str) {
        self.quarantined.with_label_values(&[bank]).inc_by(0);
        self.quarantine_refused.with_label_values(&[bank]).inc_by(0);
        self.vetoes.with_label_values(&[bank]).inc_by(0);
    }

    /// Counts a signal of `bank` that was set aside by itself.
    pub fn signal_quarantined(&self, bank: &str) {
        self.quarantined.with_label_values(&[bank]).inc();
    }

    /// Counts that more signals of `bank` would have been set aside by themselves than may be.
    pub fn quarantine_refused(&self, bank: &str) {
        self.quarantine_refused.with_label_values(&[bank]).inc();
    }

    /// Counts a picture whose matches the benign bank `bank` vetoed.
    pub fn veto(&self, bank: &str) {
        self.vetoes.with_label_values(&[bank]).inc();
    }

    /// Sets the number of signals loaded of `bank`.
    pub fn set_bank_signals(&self, bank: &str, count: usize) {
        self.bank_signals.with_label_values(&[bank]).set(count as i64);
    }
}
