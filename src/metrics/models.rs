//! What is counted of models.

use super::Metrics;

impl Metrics {
    /// Counts a picture given to `model`: `scored`, `unchanged`, `flat`, `shed` or `failed`.
    pub fn score(&self, model: &str, outcome: &str) {
        self.scores.with_label_values(&[model, outcome]).inc();
    }

    /// Says whether the configured `model` scores pictures.
    pub fn set_model_up(&self, model: &str, up: bool) {
        self.model_up.with_label_values(&[model]).set(i64::from(up));
    }

    /// Says what a loaded model runs on (see `Provider::word`), and the SHA-256 that its scores bear.
    pub fn set_model_info(&self, model: &str, provider: &str, digest: &str) {
        self.model_info.with_label_values(&[model, provider, digest]).set(1);
    }
}
