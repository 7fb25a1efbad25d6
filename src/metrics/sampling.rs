//! What the samplers hold of the streams, how many streams are decoded continuously, and what is left out before that.

use prometheus::core::{Collector, Desc};
use prometheus::{IntCounter, IntGauge, Registry};

use super::{Metrics, counter, gauge};

/// See the module.
#[derive(Debug)]
pub(super) struct Sampling {
    promoted: IntGauge,
    ring_bytes: IntGauge,
    refused: IntCounter,
    skipped: IntCounter,
    cut: IntCounter,
    missed: IntCounter,
}

impl Sampling {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            promoted: gauge(r, "sluicegate_streams_promoted", "Streams that are decoded continuously.")?,
            ring_bytes: gauge(r, "sluicegate_ring_bytes", "Encoded frames held to look back at, in bytes.")?,
            refused: counter(
                r,
                "sluicegate_promotions_refused_total",
                "Times that a stream was to be decoded continuously, and there was no place.",
            )?,
            skipped: counter(
                r,
                "sluicegate_units_skipped_total",
                "Access units passed over in streams that are decoded continuously: the decoders are behind.",
            )?,
            cut: counter(
                r,
                "sluicegate_rings_cut_total",
                "Times that a stream dropped what it held to look back at: all held too much together.",
            )?,
            missed: counter(r, "sluicegate_segments_missed_total", "Segments of playlists that were not looked at.")?,
        })
    }

    pub(super) fn desc(&self) -> Vec<Vec<&Desc>> {
        let counters = [&self.refused, &self.skipped, &self.cut, &self.missed];
        let gauges = [&self.promoted, &self.ring_bytes].map(Collector::desc);
        gauges.into_iter().chain(counters.map(Collector::desc)).collect()
    }
}

impl Metrics {
    /// Sets how many streams are decoded continuously.
    pub fn set_promoted(&self, streams: usize) {
        self.sampling.promoted.set(streams as i64);
    }

    /// Sets how many bytes of encoded frames are held.
    pub fn set_ring_bytes(&self, bytes: usize) {
        self.sampling.ring_bytes.set(bytes as i64);
    }

    /// Counts segments of playlists that were not looked at.
    pub fn segments_missed(&self, segments: u64) {
        self.sampling.missed.inc_by(segments);
    }

    /// Counts streams that were to be decoded continuously and had no place, units that such streams left out, and times that a
    /// stream dropped what it held because all held too much together.
    pub fn sampled(&self, refused: u64, skipped: u64, cut: u64) {
        self.sampling.refused.inc_by(refused);
        self.sampling.skipped.inc_by(skipped);
        self.sampling.cut.inc_by(cut);
    }
}
