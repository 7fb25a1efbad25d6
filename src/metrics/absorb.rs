//! What other processes of the house counted, added to what this one did.
//!
//! Each inspector sends all that its own registry holds, again and again. Counters and histograms of all of them, those that
//! have ended included, add up with the core's, so that nothing ever runs backwards; gauges are those of who lives.

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use serde::{Deserialize, Serialize};

/// A metric with all its series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    name: String,
    help: String,
    kind: Kind,
    series: Vec<Series>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Series {
    labels: Vec<(String, String)>,
    /// The value, or a histogram's sum.
    value: f64,
    /// A histogram's count.
    count: u64,
    /// A histogram's buckets: upper bounds, and how many lie at or below them.
    buckets: Vec<(f64, u64)>,
}

/// What was absorbed so far.
#[derive(Debug, Default)]
pub(super) struct Absorbed {
    living: BTreeMap<u64, Vec<Family>>,
    ended: Vec<Family>,
}

impl Absorbed {
    /// Takes in all that the process `number` has counted, in the place of what it said before.
    pub(super) fn absorb(&mut self, number: u64, families: Vec<Family>) {
        self.living.insert(number, families);
    }

    /// Keeps what the process `number` has counted, of which nothing more will come.
    pub(super) fn end(&mut self, number: u64) {
        let last = self.living.remove(&number).unwrap_or_default();
        let lasting = last.into_iter().filter(|family| family.kind != Kind::Gauge);
        merge(&mut self.ended, lasting.collect::<Vec<_>>().iter());
    }

    /// `own`, and everything that was absorbed.
    pub(super) fn with(&self, own: &[MetricFamily]) -> Vec<MetricFamily> {
        let mut all: Vec<Family> = own.iter().map(Family::of).collect();
        merge(&mut all, self.ended.iter().chain(self.living.values().flatten()));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all.into_iter().map(MetricFamily::from).collect()
    }
}

fn merge<'f>(all: &mut Vec<Family>, more: impl Iterator<Item = &'f Family>) {
    for family in more {
        match all.iter_mut().find(|known| known.name == family.name && known.kind == family.kind) {
            Some(known) => known.merge(family),
            None => all.push(family.clone()),
        }
    }
}

impl Family {
    pub(super) fn of(family: &MetricFamily) -> Self {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => Kind::Counter,
            MetricType::HISTOGRAM => Kind::Histogram,
            _ => Kind::Gauge,
        };
        let series = |metric: &Metric| {
            let histogram = metric.get_histogram();
            let value = match kind {
                Kind::Counter => metric.get_counter().get_value(),
                Kind::Gauge => metric.get_gauge().get_value(),
                Kind::Histogram => histogram.get_sample_sum(),
            };
            let bucket = |bucket: &Bucket| (bucket.upper_bound(), bucket.cumulative_count());
            Series {
                labels: metric.get_label().iter().map(|label| (label.name().into(), label.value().into())).collect(),
                value,
                count: histogram.get_sample_count(),
                buckets: histogram.get_bucket().iter().map(bucket).collect(),
            }
        };
        let series = family.get_metric().iter().map(series).collect();
        Self { name: family.name().to_owned(), help: family.help().to_owned(), kind, series }
    }

    fn merge(&mut self, other: &Self) {
        for series in &other.series {
            match self.series.iter_mut().find(|known| known.labels == series.labels) {
                Some(known) => known.merge(series, self.kind, &self.name),
                None => self.series.push(series.clone()),
            }
        }
    }
}

impl Series {
    fn merge(&mut self, other: &Self, kind: Kind, name: &str) {
        self.value = match kind {
            // Broken in one, it is broken.
            Kind::Gauge if name.ends_with("_up") => self.value.min(other.value),
            Kind::Gauge if name.ends_with("_info") => self.value.max(other.value),
            _ => self.value + other.value,
        };
        self.count += other.count;
        for ((_, count), (_, more)) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
    }
}

impl From<Family> for MetricFamily {
    fn from(family: Family) -> Self {
        let mut metrics = Vec::with_capacity(family.series.len());
        for series in family.series {
            let label = |(name, value): (String, String)| {
                let mut label = LabelPair::default();
                label.set_name(name);
                label.set_value(value);
                label
            };
            let mut metric = Metric::from_label(series.labels.into_iter().map(label).collect());
            match family.kind {
                Kind::Counter => {
                    let mut counter = Counter::default();
                    counter.set_value(series.value);
                    metric.set_counter(counter);
                }
                Kind::Gauge => {
                    let mut gauge = Gauge::default();
                    gauge.set_value(series.value);
                    metric.set_gauge(gauge);
                }
                Kind::Histogram => {
                    let bucket = |(bound, count)| {
                        let mut bucket = Bucket::default();
                        bucket.set_upper_bound(bound);
                        bucket.set_cumulative_count(count);
                        bucket
                    };
                    let mut histogram = Histogram::default();
                    histogram.set_sample_sum(series.value);
                    histogram.set_sample_count(series.count);
                    histogram.set_bucket(series.buckets.into_iter().map(bucket).collect());
                    metric.set_histogram(histogram);
                }
            }
            metrics.push(metric);
        }
        let mut written = Self::default();
        written.set_name(family.name);
        written.set_help(family.help);
        written.set_field_type(match family.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        written.set_metric(metrics);
        written
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::metrics::{Metrics, PictureOutcome, Stage};

    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let text = metrics.render().unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn what_inspectors_counted_adds_up_with_the_core_s_also_when_they_have_ended() {
        let (core, one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap(), Metrics::new().unwrap());
        let pictures = "sluicegate_pictures_total{outcome=\"inspected\"}";
        let decoded = "sluicegate_stage_seconds_count{stage=\"decode\"}";
        for (metrics, count) in [(&core, 1), (&one, 10), (&other, 100)] {
            metrics.pictures(PictureOutcome::Inspected, count);
            metrics.stage(Stage::Decode, Duration::from_millis(20));
            metrics.set_queue_ready(count as usize);
        }
        core.absorb(1, one.snapshot());
        core.absorb(1, one.snapshot());
        core.absorb(2, other.snapshot());
        assert_eq!(value(&core, pictures), Some(111.0));
        assert_eq!(value(&core, decoded), Some(3.0));
        assert_eq!(value(&core, "sluicegate_stage_seconds_bucket{stage=\"decode\",le=\"0.03\"}"), Some(3.0));
        assert_eq!(value(&core, "sluicegate_queue_ready"), Some(111.0));
        core.ended(1);
        assert_eq!((value(&core, pictures), value(&core, decoded)), (Some(111.0), Some(3.0)));
        assert_eq!(value(&core, "sluicegate_queue_ready"), Some(101.0), "who has ended holds nothing any more");
        one.pictures(PictureOutcome::Inspected, 5);
        core.absorb(3, one.snapshot());
        assert_eq!(value(&core, pictures), Some(126.0), "the one in its place counts for itself");
    }

    #[test]
    fn a_model_that_is_broken_anywhere_is_broken_and_what_is_information_stays_one() {
        let (core, one, other) = (Metrics::new().unwrap(), Metrics::new().unwrap(), Metrics::new().unwrap());
        one.set_model_up("safety", true);
        other.set_model_up("safety", false);
        core.absorb(1, one.snapshot());
        assert_eq!(value(&core, "sluicegate_model_up{model=\"safety\"}"), Some(1.0));
        core.absorb(2, other.snapshot());
        assert_eq!(value(&core, "sluicegate_model_up{model=\"safety\"}"), Some(0.0));
        let build = format!("sluicegate_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&core, &build), Some(1.0));
    }
}
