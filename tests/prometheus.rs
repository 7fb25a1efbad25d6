//! A real Prometheus scrapes real endpoints with the example configuration, and then everything that is asked of it gets
//! an answer: each query of the dashboard gives numbers, each recording rule records, each alert fires.
//!
//! Three targets stand in for what can happen: one where every metric moves and everything goes wrong at times, one that
//! has just started and has no bank, and one that is down.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Url};
use serde_json::Value;
use sluicegate::api::{
    self, Backend, BackendError, BreakerView, DeadLetterView, DecisionView, Event, HookError, Notice, Order,
    OrderError, Receipt, ReportError, ReportView, Reports, StreamView, TestView, TimelineView, WebhookView, Webhooks,
};
use sluicegate::decision::{Actor, Decision, Deny, Verdict};
use sluicegate::media_server::Reply;
use sluicegate::metrics::{Metrics, PictureOutcome, Stage};
use sluicegate::report::Outcome;
use sluicegate::stream::{StreamState, UninspectableReason};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_mins(1);
const OFTEN: Duration = Duration::from_millis(200);

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// A backend that has only metrics, and touches them before each scrape.
struct Measured {
    metrics: Metrics,
    touch: fn(&Metrics),
}

#[async_trait]
impl Reports for Measured {
    async fn report(&self, _: Notice) -> Result<Receipt, ReportError> {
        Err(ReportError::NoSuchServer)
    }

    async fn reports(&self, _: usize, _: bool) -> Result<Vec<ReportView>, BackendError> {
        Ok(Vec::new())
    }

    async fn report_by_id(&self, _: Uuid) -> Result<Option<ReportView>, BackendError> {
        Ok(None)
    }

    async fn judge_report(&self, _: Uuid, _: Outcome) -> Result<Option<ReportView>, BackendError> {
        Ok(None)
    }
}

#[async_trait]
impl Backend for Measured {
    async fn hook(&self, _: &str, _: Option<&str>, _: HeaderMap, _: Bytes) -> Result<Reply, HookError> {
        Err(HookError::NotConfigured)
    }

    fn streams(&self) -> Vec<StreamView> {
        Vec::new()
    }

    async fn decisions(&self, _: usize) -> Result<Vec<Decision>, BackendError> {
        Ok(Vec::new())
    }

    async fn decision(&self, _: Uuid) -> Result<Option<DecisionView>, BackendError> {
        Ok(None)
    }

    async fn denies(&self) -> Result<Vec<Deny>, BackendError> {
        Ok(Vec::new())
    }

    async fn order(&self, _: Order) -> Result<Vec<Decision>, OrderError> {
        Err(OrderError::NoSuchServer)
    }

    async fn release(&self, _: Uuid, _: Actor) -> Result<bool, BackendError> {
        Ok(false)
    }

    async fn timeline(&self, _: Uuid) -> Result<Option<TimelineView>, BackendError> {
        Ok(None)
    }

    async fn breaker(&self) -> Result<BreakerView, BackendError> {
        Ok(BreakerView::closed())
    }

    async fn close_breaker(&self, _: Actor) -> Result<BreakerView, BackendError> {
        Ok(BreakerView::closed())
    }

    fn metrics(&self) -> String {
        (self.touch)(&self.metrics);
        self.metrics.render().unwrap()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        broadcast::channel(1).1
    }
}

#[async_trait]
impl Webhooks for Measured {
    async fn webhooks(&self) -> Result<Vec<WebhookView>, BackendError> {
        Ok(Vec::new())
    }

    async fn test_webhook(&self, _: &str) -> Result<Option<TestView>, BackendError> {
        Ok(None)
    }

    async fn dead_letters(&self, _: &str, _: usize) -> Result<Vec<DeadLetterView>, BackendError> {
        Ok(Vec::new())
    }

    async fn replay(&self, _: &str, _: Option<Vec<Uuid>>) -> Result<Option<usize>, BackendError> {
        Ok(None)
    }
}

/// Moves every metric, and so that every alert has its reason.
fn everything_happens(metrics: &Metrics) {
    metrics.set_inspectors([1, 2, 1]);
    for _ in 0..4 {
        metrics.inspector_restart("crashed");
    }
    for word in StreamState::WORDS {
        metrics.set_streams("main", word, 2);
    }
    metrics.set_uninspectable(UninspectableReason::NoVideo.word(), 1);
    metrics.stream_time(true, Duration::from_secs(3));
    metrics.stream_time(false, Duration::from_secs(1));
    metrics.report("violence", "received");
    metrics.inspection_interval(Duration::from_secs(9));
    metrics.inspection_latency(Duration::from_millis(60));
    metrics.access_unit(true);
    metrics.access_unit(false);
    metrics.reconnect("stalled");
    metrics.pictures(PictureOutcome::Offered, 4);
    metrics.pictures(PictureOutcome::Inspected, 1);
    metrics.pictures(PictureOutcome::Superseded, 2);
    metrics.pictures(PictureOutcome::Failed, 1);
    metrics.set_queue_ready(3);
    metrics.set_promoted(2);
    metrics.set_ring_bytes(90_000_000);
    metrics.sampled(1, 30, 4);
    metrics.score("safety", "scored");
    metrics.score("safety", "shed");
    // However still the streams are, a model that cannot keep up is told of.
    for _ in 0..20 {
        metrics.score("safety", "unchanged");
    }
    for stage in [Stage::Decode, Stage::Known, Stage::Classify] {
        metrics.stage(stage, Duration::from_millis(15));
    }
    metrics.error(Stage::Ledger, "full");
    metrics.error(Stage::Act, "gone");
    metrics.finding("known");
    metrics.shadow_verdict(Verdict::Cut.word(), "on-trial");
    metrics.set_unrecorded(1);
    metrics.set_breaker(true);
    metrics.breaker_opened();
    metrics.finding("classify");
    metrics.verdict(Verdict::Cut.word(), "known-content");
    for outcome in ["done", "retry", "gave_up"] {
        metrics.action("kick", outcome);
    }
    metrics.set_model_up("safety", false);
    metrics.set_model_info("safety", "cpu", "fef443ed");
    metrics.verdict_to_request(Duration::from_millis(4));
    metrics.cutoff(Duration::from_secs(7));
    metrics.expect_server("main");
    metrics.cut_failed("main");
    metrics.cut_tail("main", Duration::from_secs(9));
    metrics.admission("main", "allow", Duration::from_millis(1));
    metrics.admission("main", "refuse", Duration::from_secs(2));
    metrics.set_denies(1);
    metrics.set_outbox_pending(1);
    metrics.set_bank_signals("stand-in", 48);
    metrics.expect_bank("stand-in");
    metrics.signal_quarantined("stand-in");
    metrics.quarantine_refused("stand-in");
    metrics.veto("cards");
}

#[test]
fn everything_that_can_be_measured_is() {
    let metrics = Metrics::new().unwrap();
    everything_happens(&metrics);
    let text = metrics.render().unwrap();
    for name in metrics.names() {
        assert!(text.lines().any(|line| line.starts_with(&name)), "`{name}` is never touched");
    }
}

/// Serves metrics on a free port; gives `host:port`.
async fn serve(touch: fn(&Metrics)) -> String {
    let config = api::Config { listen: "127.0.0.1:0".parse().unwrap(), ..api::Config::default() };
    let listener = api::bind(&config).await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let backend = Arc::new(Measured { metrics: Metrics::new().unwrap(), touch });
    tokio::spawn(async move { api::serve(listener, &config, backend, std::future::pending()).await });
    at
}

/// An address that nobody listens on.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// A Prometheus of our own, gone when dropped.
struct Prometheus {
    process: Child,
    at: Url,
    client: Client,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Prometheus {
    /// Starts one with the example configuration, its targets and intervals replaced.
    async fn start(targets: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let example = fs::read_to_string(deploy("prometheus/prometheus.yml")).unwrap();
        let config = example
            .replace("[\"127.0.0.1:8410\"]", &format!("{targets:?}"))
            .replace("_interval: 5s", "_interval: 500ms")
            .replace("_timeout: 5s", "_timeout: 500ms");
        assert_ne!(config, example, "the example no longer has what this test replaces");
        let config_file = folder.path().join("prometheus.yml");
        fs::write(&config_file, config).unwrap();
        fs::copy(deploy("prometheus/rules.yml"), folder.path().join("rules.yml")).unwrap();
        let log = folder.path().join("log");
        let listen = nobody().await;
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .expect("cannot start `prometheus`: apt install prometheus");
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().no_proxy().build().unwrap();
        let at = format!("http://{listen}/api/v1/").parse().unwrap();
        Self { process, at, client, log, _folder: folder }
    }

    /// The `data` of an answer; `None` while there is no answer. An answer that is an error ends the test.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let mut url = self.at.join(path).unwrap();
        url.query_pairs_mut().extend_pairs(parameters);
        let answer = self.client.get(url).send().await.ok()?.text().await.ok()?;
        // Until it is ready it answers in prose.
        let answer: Value = serde_json::from_str(&answer).ok()?;
        assert_eq!(answer["status"], "success", "{path} {parameters:?}: {answer}");
        Some(answer["data"].clone())
    }

    /// Asks again and again until `found` finds what it looks for in the answer.
    async fn wait<T>(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        what: &str,
        found: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let mut last = None;
        let asking = async {
            let mut again = tokio::time::interval(OFTEN);
            loop {
                again.tick().await;
                let answer = self.ask(path, parameters).await;
                if let Some(found) = answer.as_ref().and_then(&found) {
                    return found;
                }
                last = answer;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(found) => found,
            Err(tokio::time::error::Elapsed { .. }) => {
                panic!("{what}\nlast answer: {last:?}\n{}", fs::read_to_string(&self.log).unwrap())
            }
        }
    }

    /// Waits until `query` gives at least one number.
    async fn gives_numbers(&self, query: &str) {
        let numbers = |data: &Value| {
            let results = data["result"].as_array()?;
            results.iter().any(|result| result["value"][1].as_str().is_some_and(|v| v != "NaN")).then_some(())
        };
        self.wait("query", &[("query", query)], &format!("no numbers from: {query}"), numbers).await;
    }
}

/// The queries of the dashboard with its variables filled in, and those that fill its variables.
fn dashboard() -> (Vec<String>, Vec<String>) {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(deploy("grafana/sluicegate.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| fill(target["expr"].as_str().unwrap())).collect();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let labels = variables.filter_map(|variable| variable["definition"].as_str()).map(fill).collect();
    (queries, labels)
}

fn fill(query: &str) -> String {
    let filled = [("$__rate_interval", "10s"), ("$__range", "1m"), ("$job", ".+"), ("$instance", ".+")]
        .iter()
        .fold(query.to_owned(), |query, (variable, value)| query.replace(variable, value));
    assert!(!filled.contains('$'), "a variable that this test does not know: {filled}");
    filled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_asked_gets_an_answer() {
    let targets = [serve(everything_happens).await, serve(|_| ()).await, nobody().await];
    let prometheus = Prometheus::start(&targets).await;
    let up = |data: &Value| (data["result"].as_array()?.len() == 2).then_some(());
    prometheus.wait("query", &[("query", "up{job=\"sluicegate\"} == 1")], "the endpoints are not up", up).await;

    let (queries, labels) = dashboard();
    assert!(queries.len() > 20, "the dashboard's queries were not found");
    for query in &queries {
        prometheus.gives_numbers(query).await;
    }
    for definition in &labels {
        let (series, label) = definition
            .strip_prefix("label_values(")
            .and_then(|inside| inside.strip_suffix(')'))
            .and_then(|inside| inside.rsplit_once(", "))
            .unwrap();
        let values = |data: &Value| (!data.as_array()?.is_empty()).then_some(());
        let path = format!("label/{label}/values");
        prometheus.wait(&path, &[("match[]", series)], &format!("no values for {definition}"), values).await;
    }

    let rules = prometheus.wait("rules", &[], "no rules", rules).await;
    assert!(rules.len() > 10, "the rules were not loaded");
    for rule in &rules {
        prometheus.gives_numbers(rule["query"].as_str().unwrap()).await;
    }
    // Prometheus itself sees the same: nothing failed, and every alert is on its way or firing.
    let all_well = |data: &Value| {
        let well =
            |rule: &Value| rule["health"] == "ok" && (rule["type"] == "recording" || rule["state"] != "inactive");
        self::rules(data)?.iter().all(well).then_some(())
    };
    prometheus.wait("rules", &[], "a rule fails or an alert stays silent", all_well).await;
}

fn rules(data: &Value) -> Option<Vec<Value>> {
    let groups = data["groups"].as_array()?.iter();
    let rules: Vec<Value> = groups.filter_map(|group| group["rules"].as_array()).flatten().cloned().collect();
    (!rules.is_empty()).then_some(rules)
}

#[test]
fn promtool_has_nothing_to_say() {
    for (what, file) in [("rules", "prometheus/rules.yml"), ("config", "prometheus/prometheus.yml")] {
        let checked = Command::new("promtool").args(["check", what]).arg(deploy(file)).output();
        let checked = checked.expect("cannot start `promtool`: apt install prometheus");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}
