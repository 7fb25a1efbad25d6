//! Every metric name, declared once.
//!
//! Labels are bounded words from the configuration or the code: no stream name, address, key or hash of content ever
//! becomes one.
//! `docs/metrics.md` describes each of them, and a test holds the two lists together.

mod absorb;
mod banks;
mod inspectors;
mod models;
mod registering;
mod sampling;
mod words;

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub use self::absorb::Family;
use self::registering::{counter, counters, gauge, gauges, histogram, register};
pub use self::words::{PictureOutcome, Stage};
use crate::report::Category;

/// The metrics of one process, with the registry they live in. Handed to whoever counts; never global.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    absorbed: std::sync::Mutex<absorb::Absorbed>,
    inspectors: IntGaugeVec,
    inspector_restarts: IntCounterVec,
    streams: IntGaugeVec,
    uninspectable: IntGaugeVec,
    stream_seconds: CounterVec,
    reports: IntCounterVec,
    access_units: IntCounterVec,
    reconnects: IntCounterVec,
    pictures: IntCounterVec,
    inspection_interval: Histogram,
    inspection_latency: Histogram,
    queue_ready: IntGauge,
    sampling: sampling::Sampling,
    scores: IntCounterVec,
    model_up: IntGaugeVec,
    model_info: IntGaugeVec,
    stage_seconds: HistogramVec,
    errors: IntCounterVec,
    findings: IntCounterVec,
    verdicts: IntCounterVec,
    shadow_verdicts: IntCounterVec,
    unrecorded: IntGauge,
    breaker_open: IntGauge,
    breaker_openings: IntCounter,
    actions: IntCounterVec,
    verdict_to_request: Histogram,
    cutoff: Histogram,
    cuts_failed: IntCounterVec,
    cut_tail: HistogramVec,
    admissions: IntCounterVec,
    admission_seconds: Histogram,
    denies: IntGauge,
    outbox_pending: IntGauge,
    bank_signals: IntGaugeVec,
    quarantined: IntCounterVec,
    quarantine_refused: IntCounterVec,
    vetoes: IntCounterVec,
}

const FAST: &[f64] = &[0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
const INTERVAL: &[f64] = &[0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0];
const LATENCY: &[f64] =
    &[0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0];
const CUTOFF: &[f64] = &[0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0];

impl Metrics {
    /// Declares every metric in a registry of its own.
    ///
    /// # Errors
    /// When two metrics share a name: a bug, found by the first test that calls this.
    #[expect(clippy::too_many_lines, reason = "one entry a metric")]
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let r = &registry;
        let build = gauges(r, "sluicegate_build_info", "Always 1; labelled with the version.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            absorbed: std::sync::Mutex::default(),
            inspectors: gauges(r, "sluicegate_inspectors", "Inspector processes, by state.", &["state"])?,
            inspector_restarts: counters(
                r,
                "sluicegate_inspector_restarts_total",
                "Inspector processes that ended before their time and were started again, by reason.",
                &["reason"],
            )?,
            streams: gauges(
                r,
                "sluicegate_streams",
                "Streams attached, by media server and state.",
                &["server", "state"],
            )?,
            uninspectable: gauges(
                r,
                "sluicegate_streams_uninspectable",
                "Streams that cannot be inspected, by reason.",
                &["reason"],
            )?,
            stream_seconds: {
                let opts = Opts::new(
                    "sluicegate_stream_seconds_total",
                    "Time streams were attached, by whether a picture was inspected within the gap.",
                );
                register(r, CounterVec::new(opts, &["coverage"])?)?
            },
            reports: counters(
                r,
                "sluicegate_reports_total",
                "Reports of streams, by category and what became of them.",
                &["category", "outcome"],
            )?,
            access_units: counters(
                r,
                "sluicegate_access_units_total",
                "Video access units received, keyframe or delta.",
                &["kind"],
            )?,
            reconnects: counters(
                r,
                "sluicegate_source_reconnects_total",
                "Times a source was attached again, by reason.",
                &["reason"],
            )?,
            pictures: counters(
                r,
                "sluicegate_pictures_total",
                "Pictures the sampler chose, by what became of them.",
                &["outcome"],
            )?,
            inspection_interval: histogram(
                r,
                "sluicegate_inspection_interval_seconds",
                "From one look at a stream to the next look at it.",
                INTERVAL,
            )?,
            inspection_latency: histogram(
                r,
                "sluicegate_inspection_latency_seconds",
                "From the arrival of a look's access unit until its picture was compared with all banks.",
                LATENCY,
            )?,
            queue_ready: gauge(r, "sluicegate_queue_ready", "Streams with work waiting for a decoder.")?,
            sampling: sampling::Sampling::new(r)?,
            scores: counters(
                r,
                "sluicegate_scores_total",
                "Pictures given to a model, by model and outcome.",
                &["model", "outcome"],
            )?,
            model_up: gauges(
                r,
                "sluicegate_model_up",
                "1 while a configured model scores pictures, 0 while it is broken.",
                &["model"],
            )?,
            model_info: gauges(
                r,
                "sluicegate_model_info",
                "Always 1; labelled with what a loaded model runs on and its digest.",
                &["model", "provider", "digest"],
            )?,
            stage_seconds: {
                let opts = HistogramOpts::new("sluicegate_stage_seconds", "Time one picture spends in a stage.")
                    .buckets(FAST.to_vec());
                register(r, HistogramVec::new(opts, &["stage"])?)?
            },
            errors: counters(r, "sluicegate_errors_total", "Errors, by stage and kind.", &["stage", "kind"])?,
            findings: counters(r, "sluicegate_findings_total", "Findings, by detector.", &["detector"])?,
            verdicts: counters(r, "sluicegate_verdicts_total", "Verdicts, by verdict and rule.", &["verdict", "rule"])?,
            shadow_verdicts: counters(
                r,
                "sluicegate_shadow_verdicts_total",
                "Verdicts in the shadow, from which nothing follows, by verdict and rule.",
                &["verdict", "rule"],
            )?,
            unrecorded: gauge(r, "sluicegate_decisions_unrecorded", "Decisions that the ledger has no room for yet.")?,
            breaker_open: gauge(r, "sluicegate_breaker_open", "1 while nothing is cut by itself, else 0.")?,
            breaker_openings: counter(r, "sluicegate_breaker_openings_total", "Times the breaker opened.")?,
            actions: counters(
                r,
                "sluicegate_actions_total",
                "Attempts at an action, by action and outcome.",
                &["action", "outcome"],
            )?,
            verdict_to_request: histogram(
                r,
                "sluicegate_verdict_to_request_seconds",
                "From a verdict to its first request to the media server.",
                FAST,
            )?,
            cutoff: histogram(
                r,
                "sluicegate_cutoff_seconds",
                "From the arrival of the first access unit in the evidence to the publisher being observed gone.",
                CUTOFF,
            )?,
            cuts_failed: counters(
                r,
                "sluicegate_cuts_failed_total",
                "Cuts after which the publisher is still there, whoever was asked, by media server.",
                &["server"],
            )?,
            cut_tail: {
                let opts = HistogramOpts::new(
                    "sluicegate_cut_tail_seconds",
                    "From the end of a session to the last of its files moved out of reach, by media server.",
                );
                register(r, HistogramVec::new(opts.buckets(CUTOFF.to_vec()), &["server"])?)?
            },
            admissions: counters(
                r,
                "sluicegate_admissions_total",
                "Answers to publishers who asked to publish, by media server and answer.",
                &["server", "answer"],
            )?,
            admission_seconds: histogram(r, "sluicegate_admission_seconds", "Time to answer a publish hook.", FAST)?,
            denies: gauge(r, "sluicegate_denies", "Denies in force.")?,
            outbox_pending: gauge(r, "sluicegate_outbox_pending", "Actions not yet done or given up.")?,
            bank_signals: gauges(r, "sluicegate_bank_signals", "Signals loaded, by bank.", &["bank"])?,
            quarantined: counters(
                r,
                "sluicegate_signals_quarantined_total",
                "Signals set aside by themselves because they fired alone in many streams, by bank.",
                &["bank"],
            )?,
            quarantine_refused: counters(
                r,
                "sluicegate_quarantine_refused_total",
                "Times that more signals would have been set aside by themselves than may be, by bank.",
                &["bank"],
            )?,
            vetoes: counters(
                r,
                "sluicegate_vetoes_total",
                "Pictures whose matches a benign bank vetoed, by that bank.",
                &["bank"],
            )?,
            registry,
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    /// A counter that first appears with its first event hides that event from `increase()`: where all labels are
    /// known beforehand, the series begins at zero.
    fn start_at_zero(&self) {
        let bounded: [(&IntCounterVec, &[&str]); 4] = [
            (&self.access_units, &["keyframe", "delta"]),
            (&self.reconnects, &["ended", "error", "stalled", "no_video"]),
            (&self.pictures, &["offered", "inspected", "superseded", "stale", "failed"]),
            (&self.findings, &["known", "classify", "state", "report"]),
        ];
        for (counter, words) in bounded {
            for word in words {
                counter.with_label_values(&[*word]).inc_by(0);
            }
        }
        for coverage in ["inspected", "missed"] {
            self.stream_seconds.with_label_values(&[coverage]).inc_by(0.0);
        }
        for category in Category::ALL {
            for outcome in ["received", "repeated", "refused", "founded", "unfounded"] {
                self.reports.with_label_values(&[category.word(), outcome]).inc_by(0);
            }
        }
        self.start_inspectors_at_zero();
        for action in ["kick", "notify", "quarantine"] {
            for outcome in ["done", "retry", "gave_up"] {
                self.actions.with_label_values(&[action, outcome]).inc_by(0);
            }
        }
    }

    /// The names of all metrics, sorted: for the test that holds the documentation to them.
    pub fn names(&self) -> Vec<String> {
        let described = [
            self.inspectors.desc(),
            self.inspector_restarts.desc(),
            self.streams.desc(),
            self.uninspectable.desc(),
            self.stream_seconds.desc(),
            self.reports.desc(),
            self.access_units.desc(),
            self.reconnects.desc(),
            self.pictures.desc(),
            self.inspection_interval.desc(),
            self.inspection_latency.desc(),
            self.queue_ready.desc(),
            self.scores.desc(),
            self.model_up.desc(),
            self.model_info.desc(),
            self.stage_seconds.desc(),
            self.errors.desc(),
            self.findings.desc(),
            self.verdicts.desc(),
            self.shadow_verdicts.desc(),
            self.unrecorded.desc(),
            self.breaker_open.desc(),
            self.breaker_openings.desc(),
            self.actions.desc(),
            self.verdict_to_request.desc(),
            self.cutoff.desc(),
            self.cuts_failed.desc(),
            self.cut_tail.desc(),
            self.admissions.desc(),
            self.admission_seconds.desc(),
            self.denies.desc(),
            self.outbox_pending.desc(),
            self.bank_signals.desc(),
            self.quarantined.desc(),
            self.quarantine_refused.desc(),
            self.vetoes.desc(),
        ];
        let mut names: Vec<String> =
            described.iter().chain(&self.sampling.desc()).flatten().map(|desc| desc.fq_name.clone()).collect();
        names.push("sluicegate_build_info".to_owned());
        names.sort();
        names
    }

    /// The Prometheus text format.
    ///
    /// # Errors
    /// When the text cannot be encoded: a bug.
    pub fn render(&self) -> Result<String, MetricsError> {
        Ok(TextEncoder::new().encode_to_string(&self.gathered())?)
    }

    /// Sets how many streams of `server` are in the state `word` (see `StreamState::word`).
    pub fn set_streams(&self, server: &str, word: &str, count: usize) {
        self.streams.with_label_values(&[server, word]).set(count as i64);
    }

    /// Sets how many streams are uninspectable for `reason` (see `UninspectableReason::word`).
    pub fn set_uninspectable(&self, reason: &str, count: usize) {
        self.uninspectable.with_label_values(&[reason]).set(count as i64);
    }

    /// Counts time that a stream was attached: whether a picture of it was inspected within the gap.
    pub fn stream_time(&self, inspected: bool, span: Duration) {
        let coverage = if inspected { "inspected" } else { "missed" };
        self.stream_seconds.with_label_values(&[coverage]).inc_by(span.as_secs_f64());
    }

    /// Counts a report: `received`, `repeated` or `refused`, and later `founded` or `unfounded`.
    pub fn report(&self, category: &str, outcome: &str) {
        self.reports.with_label_values(&[category, outcome]).inc();
    }

    /// Counts one access unit received.
    pub fn access_unit(&self, keyframe: bool) {
        self.access_units.with_label_values(&[if keyframe { "keyframe" } else { "delta" }]).inc();
    }

    /// Counts a source being attached again: `ended`, `error`, `stalled` or `no_video`.
    pub fn reconnect(&self, reason: &str) {
        self.reconnects.with_label_values(&[reason]).inc();
    }

    /// Counts pictures by what became of them.
    pub fn pictures(&self, outcome: PictureOutcome, count: u64) {
        self.pictures.with_label_values(&[outcome.word()]).inc_by(count);
    }

    /// Records the time from one look at a stream to the next.
    pub fn inspection_interval(&self, interval: Duration) {
        self.inspection_interval.observe(interval.as_secs_f64());
    }

    /// Records the time from the arrival of a look's access unit until its picture was compared with all banks.
    pub fn inspection_latency(&self, latency: Duration) {
        self.inspection_latency.observe(latency.as_secs_f64());
    }

    /// Sets how many streams wait for a decoder.
    pub fn set_queue_ready(&self, streams: usize) {
        self.queue_ready.set(streams as i64);
    }

    /// Records the time that one picture spent in `stage`.
    pub fn stage(&self, stage: Stage, spent: Duration) {
        self.stage_seconds.with_label_values(&[stage.word()]).observe(spent.as_secs_f64());
    }

    /// Counts an error of `stage` by its `kind()`.
    pub fn error(&self, stage: Stage, kind: &str) {
        self.errors.with_label_values(&[stage.word(), kind]).inc();
    }

    /// Counts a finding of `detector` (see `Observation::detector`).
    pub fn finding(&self, detector: &str) {
        self.findings.with_label_values(&[detector]).inc();
    }

    /// Begins the series of a rule at zero.
    pub fn expect_verdict(&self, verdict: &str, rule: &str) {
        self.verdicts.with_label_values(&[verdict, rule]).inc_by(0);
    }

    /// Counts a verdict.
    pub fn verdict(&self, verdict: &str, rule: &str) {
        self.verdicts.with_label_values(&[verdict, rule]).inc();
    }

    /// Counts an attempt at an action by how it ended.
    pub fn action(&self, action: &str, outcome: &str) {
        self.actions.with_label_values(&[action, outcome]).inc();
    }

    /// Counts a verdict from which nothing follows.
    pub fn shadow_verdict(&self, verdict: &str, rule: &str) {
        self.shadow_verdicts.with_label_values(&[verdict, rule]).inc();
    }

    /// Sets the number of decisions that wait to be recorded.
    pub fn set_unrecorded(&self, count: usize) {
        self.unrecorded.set(count as i64);
    }

    /// Says whether the breaker is open.
    pub fn set_breaker(&self, open: bool) {
        self.breaker_open.set(i64::from(open));
    }

    /// Counts that the breaker opened.
    pub fn breaker_opened(&self) {
        self.breaker_openings.inc();
    }

    /// Records the time from a verdict to the first request to the media server.
    pub fn verdict_to_request(&self, spent: Duration) {
        self.verdict_to_request.observe(spent.as_secs_f64());
    }

    /// Records a cut-off latency: first access unit of the evidence received to publisher observed gone.
    pub fn cutoff(&self, spent: Duration) {
        self.cutoff.observe(spent.as_secs_f64());
    }

    /// Begins the series of a media server at zero.
    pub fn expect_server(&self, server: &str) {
        self.cuts_failed.with_label_values(&[server]).inc_by(0);
    }

    /// Counts a cut after which the publisher is still there, whoever was asked.
    pub fn cut_failed(&self, server: &str) {
        self.cuts_failed.with_label_values(&[server]).inc();
    }

    /// Records how long after the end of a session the last of its files was moved out of reach.
    pub fn cut_tail(&self, server: &str, tail: Duration) {
        self.cut_tail.with_label_values(&[server]).observe(tail.as_secs_f64());
    }

    /// Counts and times an answer to a publish hook: `allow` or `refuse`.
    pub fn admission(&self, server: &str, answer: &str, spent: Duration) {
        self.admissions.with_label_values(&[server, answer]).inc();
        self.admission_seconds.observe(spent.as_secs_f64());
    }

    /// Sets the number of denies in force.
    pub fn set_denies(&self, count: usize) {
        self.denies.set(count as i64);
    }

    /// Sets the number of actions not yet done or given up.
    pub fn set_outbox_pending(&self, count: usize) {
        self.outbox_pending.set(count as i64);
    }
}

/// A metric could not be declared or encoded.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

#[cfg(test)]
mod tests;
