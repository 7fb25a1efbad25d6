//! The core: builds every stage from the configuration, wires the line, and takes it down in good order.
//!
//! The only room that sees more than one stage. It decides nothing itself: it moves access units, pictures, findings and
//! decisions from the stage that made them to the stage that wants them, over bounded channels.

mod acting;
mod attached;
mod backend;
mod banking;
mod breaking;
mod building;
mod classes;
mod deciding;
mod error;
mod history;
mod inspectors;
mod ordering;
mod publishers;
mod quarantining;
mod reconciling;
mod reporting;
mod showing;
mod streams;
mod suspicions;
mod telling;
mod unrecorded;
mod webhooks;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

pub use self::classes::Config as ClassConfig;
pub use self::error::{Error, Fault};
pub use self::inspectors::Program;
pub use self::reporting::Config as ReportsConfig;
pub use self::streams::Config as StreamsConfig;

use self::acting::Acting;
use self::backend::Backend;
use self::banking::Banking;
use self::breaking::Breaking;
use self::classes::Classes;
use self::deciding::{Deciding, Notice};
use self::history::History;
use self::inspectors::{Inspectors, Plan};
use self::publishers::Publishers;
use self::quarantining::{Alarms, Quarantining};
use self::reconciling::Reconciling;
use self::reporting::Desk;
use self::showing::Showing;
use self::streams::Streams;
use self::suspicions::Suspicions;
use self::telling::Telling;
use self::unrecorded::Unrecorded;
use self::webhooks::Remembering;
use crate::act::Gate;
use crate::act::aftermath::Keeper;
use crate::act::outbox::{self, Bell};
use crate::act::servers::{self, Fallbacks, HookToken, MediaServer};
use crate::act::webhook::Webhook;
use crate::api;
use crate::bank::{Banks, Watch};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::inspector::wire::Limits;
use crate::inspector::{Inspection, Line, Setup};
use crate::judge::quarantine::Ward;
use crate::judge::{Judge, Policy};
use crate::ledger::Ledger;
use crate::stream::Session;

/// Findings on their way to the judge; when they are this many, detectors wait.
const NOTICES: usize = 1024;

/// Signals that were set aside on their way into their banks; when they are more, the others wait their turn.
const ALARMS: usize = 64;

/// How long a shutdown waits for requests to media servers and webhooks that are under way.
const GRACE: Duration = Duration::from_secs(5);

/// Runs until SIGINT or SIGTERM. Inspectors are started as `program` says.
///
/// # Errors
/// When something cannot be built from the configuration, or the HTTP interface stops by itself.
pub fn run(config: &Config, program: Program) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (house, parts) = building::build(config)?;
    runtime.block_on(house.live(config, program, parts))
}

/// What every thread may hold a share of.
struct House {
    clock: Clock,
    telling: Telling,
    ledger: Arc<Ledger>,
    gate: Arc<Gate>,
    policy: Arc<Policy>,
    servers: Vec<Arc<dyn MediaServer>>,
    hook_tokens: HashMap<Arc<str>, HookToken>,
    fallbacks: Arc<Fallbacks>,
    webhooks: Vec<Webhook>,
    bell: Arc<Bell>,
}

/// What exactly one thread will own.
struct Parts {
    banks: Banks,
    watch: Watch,
    /// Sessions that a decision of an earlier run closes and that were not observed gone yet.
    closed: HashMap<Session, Option<Timestamp>>,
    breaking: Breaking,
    history: History,
}

impl House {
    /// Starts every stage, works until told to stop, and stops them from left to right, so that nothing under way is
    /// lost between two of them.
    async fn live(self, config: &Config, program: Program, parts: Parts) -> Result<(), Error> {
        let listener = api::bind(&config.api).await?;
        let (notices, inbox) = bounded(NOTICES);
        let Parts { banks, watch, closed, breaking, history } = parts;
        let streams = Arc::new(self.streams(config, &notices));
        let inspection = self.inspect(config, program, &streams)?;
        let (to_keep, asked) = bounded(ALARMS);
        let quarantining = Quarantining {
            banks: config.banks.dir.clone(),
            notices: notices.clone(),
            metrics: Arc::clone(&self.telling.metrics),
            clock: self.clock,
        };
        let keeper = start("quarantine", move || quarantining.run(&asked))?;
        let deciding = Deciding { closed, breaking, history, ..self.deciding(config, &streams, Alarms::new(to_keep)) };
        let (alive, mut fallen) = watch::channel(());
        let judge = start("judge", move || {
            let _alive = alive;
            deciding.run(&inbox);
        })?;
        let (stop, stopped) = watch::channel(false);
        let outbox = tokio::spawn(outbox::run(self.acting(config, &streams), stopped));
        let mut keeping = self.keep(config, &streams, (watch, banks), &notices);
        let ready = Arc::new(AtomicBool::new(true));
        let (desk, reporting) = reporting::open(&self, config, &streams)?;
        keeping.spawn(reporting);
        let backend = self.backend(config, &streams, desk, &ready, &notices);
        info!(listen = %config.api.listen, "ready");

        // Without its judge the house would look well and decide nothing: better that it is restarted.
        let stopping = async move {
            tokio::select! {
                () = told_to_stop() => {}
                _gone = fallen.changed() => error!("the judge's thread panicked: stopping; report this"),
            }
        };
        let served = api::serve(listener, &config.api, Arc::new(backend), stopping).await;
        ready.store(false, Ordering::Release);
        info!("stopping");
        keeping.shutdown().await;
        let left = Arc::clone(&streams);
        let ended = tokio::task::spawn_blocking(move || {
            left.detach_all();
            inspection.stop();
        });
        // A thread that panicked has said so on standard error.
        drop(ended.await);
        // Fails only when the judge is gone already.
        drop(notices.send(Notice::Close));
        let judged = tokio::task::spawn_blocking(move || judge.join()).await;
        if tokio::time::timeout(GRACE, join(keeper)).await.is_err() {
            warn!("a bank that is to say which signals are set aside is left as it is: something has it locked");
        }
        stop.send_replace(true);
        if tokio::time::timeout(GRACE, outbox).await.is_err() {
            warn!("actions under way are left to the next start");
        }
        served?;
        if matches!(judged, Ok(Ok(()))) { Ok(()) } else { Err(Error::Panicked) }
    }

    fn streams(&self, config: &Config, notices: &Sender<Notice>) -> Streams {
        Streams {
            config: config.streams.clone(),
            max_gap: config.sample.max_gap,
            places: config.sample.max_streams.get(),
            inspection: OnceLock::new(),
            notices: notices.clone(),
            telling: self.telling.clone(),
            clock: self.clock,
            classes: Classes::new(&config.class),
            publishers: Publishers::default(),
            suspicions: Suspicions::default(),
            entries: RwLock::default(),
        }
    }

    /// Starts what inspects streams: other processes, unless the configuration says that this one is to.
    fn inspect(&self, config: &Config, program: Program, streams: &Arc<Streams>) -> Result<Arc<dyn Inspection>, Error> {
        let hearing = Arc::clone(streams);
        let report = Arc::new(move |event| hearing.hear(event));
        let (clock, metrics) = (self.clock, Arc::clone(&self.telling.metrics));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let processes = config.inspector.processes.unwrap_or(cores.clamp(2, 4));
        let setup = setup(config, processes);
        let inspection: Arc<dyn Inspection> = if processes == 0 {
            Arc::new(Line::start(&setup, clock, &metrics, report)?)
        } else {
            setup.check()?;
            let limits = Limits { open_files: config.inspector.max_open_files, memory: config.inspector.memory };
            Arc::new(Inspectors::start(Plan { program, processes, setup, limits, clock, metrics, report })?)
        };
        // Set for the first time: nobody else does it.
        drop(streams.inspection.set(Arc::clone(&inspection)));
        Ok(inspection)
    }

    fn deciding(&self, config: &Config, streams: &Arc<Streams>, alarms: Alarms) -> Deciding {
        Deciding {
            judge: Judge::new(Arc::clone(&self.policy)),
            ward: Ward::new(config.banks.quarantine.clone()),
            alarms,
            policy: Arc::clone(&self.policy),
            ledger: Arc::clone(&self.ledger),
            gate: Arc::clone(&self.gate),
            servers: config.server.clone(),
            webhooks: self.webhooks.clone(),
            source: config.act.source.clone(),
            streams: Arc::clone(streams),
            telling: self.telling.clone(),
            bell: Arc::clone(&self.bell),
            clock: self.clock,
            closed: HashMap::new(),
            breaking: Breaking::new(self.policy.breaker(), None),
            history: History::default(),
            unrecorded: Unrecorded::default(),
        }
    }

    fn acting(&self, config: &Config, streams: &Arc<Streams>) -> outbox::Worker {
        let acting =
            Acting { ledger: Arc::clone(&self.ledger), streams: Arc::clone(streams), telling: self.telling.clone() };
        let flowing = Arc::clone(streams);
        outbox::Worker {
            outbox: Arc::clone(&self.ledger) as _,
            bell: Arc::clone(&self.bell),
            servers: self.servers.clone(),
            fallbacks: Arc::clone(&self.fallbacks),
            keepers: config
                .server
                .iter()
                .filter_map(Keeper::new)
                .map(|keeper| (Arc::clone(keeper.server()), keeper))
                .collect(),
            flow: Arc::new(move |session| flowing.get(session).map(|stream| stream.received())),
            webhooks: self.webhooks.clone(),
            config: config.act.clone(),
            clock: self.clock,
            metrics: Arc::clone(&self.telling.metrics),
            observer: acting.observer(),
        }
    }

    /// Starts what keeps the house in step with the world: one task a media server, one for the banks, and one that
    /// shows states.
    fn keep(
        &self,
        config: &Config,
        streams: &Arc<Streams>,
        (watch, banks): (Watch, Banks),
        notices: &Sender<Notice>,
    ) -> JoinSet<()> {
        let mut keeping = JoinSet::new();
        keeping.spawn(Banking::new(watch, banks, Arc::clone(&self.telling.metrics)).run());
        for server in &self.servers {
            let reconciling = Reconciling {
                server: Arc::clone(server),
                streams: Arc::clone(streams),
                gate: Arc::clone(&self.gate),
                notices: notices.clone(),
                metrics: Arc::clone(&self.telling.metrics),
                clock: self.clock,
                every: config.streams.reconcile_every,
            };
            keeping.spawn(reconciling.run());
        }
        for webhook in &self.webhooks {
            let remembering = Remembering {
                webhook: webhook.clone(),
                ledger: Arc::clone(&self.ledger),
                metrics: Arc::clone(&self.telling.metrics),
                clock: self.clock,
            };
            keeping.spawn(remembering.run());
        }
        let showing = Showing {
            servers: self.servers.iter().map(|server| Arc::clone(server.name())).collect(),
            streams: Arc::clone(streams),
            gate: Arc::clone(&self.gate),
            ledger: Arc::clone(&self.ledger),
            metrics: Arc::clone(&self.telling.metrics),
            clock: self.clock,
        };
        keeping.spawn(showing.run());
        keeping
    }

    fn backend(
        &self,
        config: &Config,
        streams: &Arc<Streams>,
        desk: Desk,
        ready: &Arc<AtomicBool>,
        notices: &Sender<Notice>,
    ) -> Backend {
        Backend {
            servers: self.servers.iter().map(|server| (Arc::clone(server.name()), Arc::clone(server))).collect(),
            hook_tokens: self.hook_tokens.clone(),
            streams: Arc::clone(streams),
            gate: Arc::clone(&self.gate),
            ledger: Arc::clone(&self.ledger),
            telling: self.telling.clone(),
            desk,
            clock: self.clock,
            ready: Arc::clone(ready),
            notices: notices.clone(),
            webhooks: self.webhooks.clone(),
            source: config.act.source.clone(),
            bell: Arc::clone(&self.bell),
        }
    }
}

/// All that one of so many inspectors needs to know of the configuration: of what is had once a machine or a media server,
/// each has its share.
pub fn setup(config: &Config, inspectors: usize) -> Setup {
    let inspectors = inspectors.max(1);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let attach = config.source.attach_per_second.get().div_ceil(inspectors as u32);
    let mut setup = Setup {
        source: config.source.clone(),
        sample: config.sample.clone(),
        decode: config.decode.clone(),
        model: config.model.clone(),
        banks: config.banks.dir.clone(),
        folders: config.server.iter().filter_map(folder).collect(),
        workers: config.decode.workers.unwrap_or(cores).max(1).div_ceil(inspectors),
    };
    setup.source.attach_per_second = NonZeroU32::new(attach).unwrap_or(NonZeroU32::MIN);
    setup.sample.lookback_total_bytes = config.sample.lookback_total_bytes.div_ceil(inspectors);
    setup.sample.max_promoted = Some(config.sample.max_promoted.unwrap_or(2 * cores).div_ceil(inspectors));
    setup
}

/// The folder that a server's streams are pulled from, if it is one.
fn folder(server: &servers::Config) -> Option<PathBuf> {
    (server.pull.scheme() == "file").then(|| server.pull.to_file_path().ok())?
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    Ok(thread::Builder::new().name(name.to_owned()).spawn(work)?)
}

async fn join(thread: JoinHandle<()>) {
    // A thread that panicked has said so on standard error; the others are still to be taken down.
    drop(tokio::task::spawn_blocking(move || thread.join()).await);
}

async fn told_to_stop() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return drop(tokio::signal::ctrl_c().await);
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_had_once_is_shared_out_among_inspectors() {
        let mut config = Config::default();
        (config.decode.workers, config.sample.max_promoted) = (Some(4), Some(7));
        config.sample.lookback_total_bytes = 1000;
        for (inspectors, expected) in [(0, (4, 7, 1000, 50)), (1, (4, 7, 1000, 50)), (3, (2, 3, 334, 17))] {
            let Setup { workers, sample, source, .. } = setup(&config, inspectors);
            let shares =
                (workers, sample.max_promoted.unwrap(), sample.lookback_total_bytes, source.attach_per_second.get());
            assert_eq!(shares, expected, "{inspectors}");
        }
    }
}
