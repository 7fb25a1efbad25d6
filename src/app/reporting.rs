//! What people report: taken, kept, and only then weighed.
//!
//! A report raises how closely its stream is looked at, and how soon, and is told to the judge as one more finding. It
//! never acts by itself. Promises: a report that was answered for is in the ledger; those that come in together are
//! written together, so that a flood of them does not hold up what else is to be written; nothing of a report stays in
//! memory; of one session the judge hears [`TOLD`] reports in ten minutes at most, so that a flood cannot wash other
//! evidence away; a reporter whose word counts little raises little.

mod asked;
mod bucket;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tracing::{error, info};
use uuid::Uuid;

pub(super) use self::bucket::Bucket;
use super::deciding::Notice;
use super::streams::Streams;
use super::telling::Telling;
use crate::act::outbox::Bell;
use crate::act::webhook::{Topic, Webhook, event};
use crate::api::{BackendError, Notice as Filed, Notifier, Receipt, ReportError};
use crate::clock::{Clock, Timestamp};
use crate::config::duration;
use crate::decision::Action;
use crate::finding::{self, Finding, Observation};
use crate::ledger::{COUNTED, Ledger, LedgerError, Reception};
use crate::metrics::Stage;
use crate::report::{Report, Reporter};
use crate::stream::{Attention, Session, StreamId};

/// Reports written in one go.
const TOGETHER: usize = 128;

/// Reports on their way to the ledger; when they are this many, senders wait.
const WAITING: usize = 256;

/// Reports of one session that the judge hears in ten minutes.
pub(super) const TOLD: u32 = 128;

/// Below this a reporter's word raises nothing; whoever looks at reports sees it all the same.
const LEAST: f32 = 0.1;

/// From here on it is believed that it is a matter of life.
const BELIEVED: f32 = 0.5;

/// The section `[reports]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many reports a second are taken, of all reporters together; as many as in ten seconds may come at once.
    pub per_second: u32,
    /// How many reports one reporter may send within an hour.
    pub per_reporter: u32,
    /// How long a report keeps its stream looked at closely, if its sender's word counts in full.
    #[serde(with = "duration")]
    pub attention_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { per_second: 50, per_reporter: 20, attention_for: Duration::from_mins(2) }
    }
}

impl Config {
    /// What makes no sense: the key, and what to do.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        [("per_second", self.per_second), ("per_reporter", self.per_reporter)]
            .into_iter()
            .filter(|(_, most)| *most == 0)
            .map(|(key, _)| (key, "no report could ever come in: write 1 or more".to_owned()))
            .collect()
    }
}

/// A report on its way to the ledger, and who waits for it.
pub(super) struct Coming {
    report: Report,
    answer: oneshot::Sender<Result<Reception, BackendError>>,
}

/// Where reports are handed in, and who writes them, for a house with these streams.
pub(super) fn open(
    house: &super::House,
    config: &crate::config::Config,
    streams: &Arc<Streams>,
) -> Result<(Desk, impl Future<Output = ()> + use<>), LedgerError> {
    let key = house.ledger.reporters_key()?;
    let servers = house.servers.iter().map(|server| Arc::clone(server.name())).collect();
    let (telling, reports) = (house.telling.clone(), config.reports.clone());
    let (desk, coming) = Desk::new(reports.clone(), key, servers, Arc::clone(streams), telling.clone(), house.clock);
    let reporting = Reporting {
        config: reports,
        ledger: Arc::clone(&house.ledger),
        streams: Arc::clone(streams),
        webhooks: house.webhooks.clone(),
        source: config.act.source.clone(),
        telling,
        bell: Arc::clone(&house.bell),
    };
    Ok((desk, reporting.run(coming)))
}

/// Where reports come in.
pub(super) struct Desk {
    config: Config,
    /// Of reporters' digests.
    key: [u8; 32],
    servers: HashSet<Arc<str>>,
    bucket: Mutex<Bucket>,
    inbox: mpsc::Sender<Coming>,
    streams: Arc<Streams>,
    telling: Telling,
    clock: Clock,
}

impl Desk {
    /// A desk, and where what is handed in there comes out.
    pub(super) fn new(
        config: Config,
        key: [u8; 32],
        servers: HashSet<Arc<str>>,
        streams: Arc<Streams>,
        telling: Telling,
        clock: Clock,
    ) -> (Self, mpsc::Receiver<Coming>) {
        let (inbox, coming) = mpsc::channel(WAITING);
        let (per_second, now) = (config.per_second, clock.now());
        let bucket = Mutex::new(Bucket::new(per_second.saturating_mul(10), f64::from(per_second), now));
        (Self { config, key, servers, bucket, inbox, streams, telling, clock }, coming)
    }

    /// Takes a report: it is in the ledger when this returns.
    pub(super) async fn take(&self, filed: Filed) -> Result<Receipt, ReportError> {
        let received = self.clock.now();
        let category = filed.category;
        let stream = StreamId::parse(&filed.stream);
        if !self.servers.contains(&stream.server) {
            return Err(ReportError::NoSuchServer);
        }
        let may = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(received);
        if let Err(wait) = may {
            self.telling.metrics.report(category.word(), "refused");
            return Err(ReportError::TooMany { wait });
        }
        let mut on_the_air = self.streams.sessions_of(&stream);
        if let Some(meant) = &filed.session {
            // Whoever publishes there now may be somebody else.
            on_the_air.retain(|live| live.id == *meant);
        }
        let session = match on_the_air.as_slice() {
            _ if filed.session.is_some() => filed.session,
            [only] => Some(only.id.clone()),
            _ => None,
        };
        let report = Report {
            id: Uuid::now_v7(),
            stream,
            session,
            reporter: self.reporter(filed.notifier.as_ref()),
            category,
            imminent: filed.imminent,
            explanation: filed.explanation,
            received,
        };
        let id = report.id;
        let gone = || BackendError("the service is stopping".to_owned());
        let (answer, answered) = oneshot::channel();
        self.inbox.send(Coming { report, answer }).await.map_err(|_ended| gone())?;
        let reception = answered.await.map_err(|_ended| gone())??;
        let (id, repeated, word) = match reception {
            Reception::Kept { .. } => (id, false, "received"),
            Reception::Repeated(earlier) => (earlier, true, "repeated"),
            Reception::TooMany => {
                self.telling.metrics.report(category.word(), "refused");
                return Err(ReportError::TooMany { wait: COUNTED / self.config.per_reporter.max(1) });
            }
        };
        self.telling.metrics.report(category.word(), word);
        Ok(Receipt { id, received, live: !on_the_air.is_empty(), repeated })
    }

    /// The digest of what somebody is known by: their account, else their address.
    fn reporter(&self, notifier: Option<&Notifier>) -> Reporter {
        let Some(notifier) = notifier else { return Reporter::Anonymous };
        let known_by = match &notifier.account {
            Some(account) => format!("account {account}"),
            None => format!("email {}", notifier.email.to_lowercase()),
        };
        // A key of any length will do.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return Reporter::Anonymous };
        mac.update(known_by.as_bytes());
        let digest = hex::encode(mac.finalize().into_bytes());
        Reporter::Known(digest.get(..32).unwrap_or_default().into())
    }
}

/// Writes what came in, and then has it weighed.
pub(super) struct Reporting {
    pub(super) config: Config,
    pub(super) ledger: Arc<Ledger>,
    pub(super) streams: Arc<Streams>,
    pub(super) webhooks: Vec<Webhook>,
    /// What webhooks' events name as their source.
    pub(super) source: String,
    pub(super) telling: Telling,
    pub(super) bell: Arc<Bell>,
}

impl Reporting {
    /// Works until nobody is left to hand anything in.
    pub(super) async fn run(self, mut coming: mpsc::Receiver<Coming>) {
        let this = Arc::new(self);
        let mut together = Vec::with_capacity(TOGETHER);
        while coming.recv_many(&mut together, TOGETHER).await > 0 {
            let (reports, answers): (Vec<Report>, Vec<_>) =
                together.drain(..).map(|Coming { report, answer }| (report, answer)).unzip();
            let writing = Arc::clone(&this);
            let written = spawn_blocking(move || writing.write(&reports)).await;
            let failed = |why: String| std::iter::repeat_n(Err(BackendError(why)), answers.len()).collect();
            let receptions: Vec<Result<Reception, BackendError>> = match written {
                Ok(Ok(receptions)) => receptions.into_iter().map(Ok).collect(),
                Ok(Err(error)) => failed(error.to_string()),
                Err(error) => failed(format!("the ledger's thread failed: {error}")),
            };
            for (answer, reception) in answers.into_iter().zip(receptions) {
                // Whoever asked may have gone away; the report stays.
                drop(answer.send(reception));
            }
        }
    }

    fn write(&self, reports: &[Report]) -> Result<Vec<Reception>, LedgerError> {
        let receptions = self.ledger.receive(reports, self.config.per_reporter, |report, weight| {
            let id = Uuid::now_v7();
            let wanting = self.webhooks.iter().filter(|webhook| webhook.wants(Topic::ReportReceived));
            let weighed = weighed(report, weight);
            let body = || event::report_received(id, &report.stream, &weighed, report.received, &self.source);
            let notify = |webhook: &Webhook| Action::Notify { webhook: Arc::clone(webhook.name()), body: body() };
            wanting.map(|webhook| (Uuid::now_v7(), notify(webhook))).collect()
        });
        let receptions = receptions.inspect_err(|error| {
            self.telling.metrics.error(Stage::Ledger, error.kind());
            error!(%error, reports = reports.len(), "reports could not be written and are answered so");
        })?;
        if self.webhooks.iter().any(|webhook| webhook.wants(Topic::ReportReceived)) {
            self.bell.ring();
        }
        for (report, reception) in reports.iter().zip(&receptions) {
            if let Reception::Kept { weight } = reception {
                self.weigh(report, *weight);
            }
        }
        Ok(receptions)
    }

    /// Raises attention, and tells the judge.
    fn weigh(&self, report: &Report, weight: f32) {
        let Report { id, stream, category, imminent, received, .. } = report;
        info!(%stream, category = category.word(), imminent, report = %id, "reported");
        let raised = raised(*imminent, weight).map(|level| (level, self.config.attention_for.mul_f32(weight)));
        for session in self.streams.sessions_of(stream) {
            if report.session.as_ref().is_some_and(|meant| *meant != session.id) {
                continue;
            }
            if self.streams.reported(&session, raised, *received) {
                // Waits when the judge is behind: evidence is never dropped. Fails only when the judge has ended.
                drop(self.streams.notices.send(found(session, weighed(report, weight), *received)));
            }
        }
    }
}

/// How closely to look at a stream that somebody reports whose word counts so much.
fn raised(imminent: bool, weight: f32) -> Option<Attention> {
    match imminent {
        _ if weight < LEAST => None,
        true if weight >= BELIEVED => Some(Attention::Imminent),
        _ => Some(Attention::Reported),
    }
}

fn weighed(report: &Report, weight: f32) -> finding::Report {
    finding::Report {
        id: report.id,
        reporter: report.reporter.word(),
        category: report.category.word().into(),
        imminent: report.imminent,
        weight,
    }
}

fn found(session: Session, report: finding::Report, at: Timestamp) -> Notice {
    let observation = Observation::Report(report);
    Notice::Found(Finding { session, sequence: 0, pts: None, arrived: at, found: at, observation })
}
