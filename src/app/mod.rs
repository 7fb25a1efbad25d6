//! The core: builds every stage from the configuration, wires the line, and takes it down in good order.
//!
//! The only room that sees more than one stage. It decides nothing itself: it moves access units, pictures, findings and
//! decisions from the stage that made them to the stage that wants them, over bounded channels.

mod acting;
mod attached;
mod backend;
mod deciding;
mod error;
mod inspecting;
mod reconciling;
mod streams;
mod telling;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

pub use self::error::{Error, Fault};
pub use self::streams::Config as StreamsConfig;

use self::acting::Acting;
use self::backend::Backend;
use self::deciding::{Deciding, Notice};
use self::inspecting::{Ticket, Worker};
use self::reconciling::Reconciling;
use self::streams::{Queue, Streams};
use self::telling::Telling;
use crate::act::outbox::{self, Bell};
use crate::act::servers::{self, MediaServer};
use crate::act::webhook::Webhook;
use crate::act::Gate;
use crate::bank::{Bank, Store};
use crate::clock::Clock;
use crate::config::Config;
use crate::decode::Decoder;
use crate::detect::classify::Classify;
use crate::detect::known::Known;
use crate::judge::{Judge, Policy};
use crate::ledger::Ledger;
use crate::metrics::{Metrics, Stage};
use crate::source::Sources;
use crate::{api, model};

/// Findings on their way to the judge; when they are this many, detectors wait.
const NOTICES: usize = 1024;

/// How often streams' states are shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// How long a shutdown waits for requests to media servers and webhooks that are under way.
const GRACE: Duration = Duration::from_secs(5);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// When something cannot be built from the configuration, or the HTTP interface stops by itself.
pub fn run(config: Config) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let house = House::build(&config)?;
    runtime.block_on(house.live(&config))
}

/// Everything that is built before anything starts.
struct House {
    clock: Clock,
    telling: Telling,
    ledger: Arc<Ledger>,
    gate: Arc<Gate>,
    policy: Arc<Policy>,
    banks: Arc<[Arc<Bank>]>,
    models: Vec<model::Session>,
    decoders: Vec<Decoder>,
    sources: Sources,
    servers: Vec<Arc<dyn MediaServer>>,
    webhooks: Vec<Webhook>,
    closed: HashSet<crate::stream::Session>,
}

impl House {
    fn build(config: &Config) -> Result<Self, Error> {
        let clock = Clock::system();
        let metrics = Arc::new(Metrics::new()?);
        let ledger = Arc::new(Ledger::open(&config.ledger)?);
        let gate = Arc::new(Gate::new(ledger.denies(clock.now())?));
        let closed: HashSet<_> = ledger.unfinished_kicks()?.into_iter().collect();
        info!(denies = gate.count(), unfinished = closed.len(), "the ledger is open");
        let policy = Arc::new(Policy::parse(config.policy.clone())?);
        for sentence in policy.sentences() {
            info!("rule: {sentence}");
        }
        let banks = load_banks(config, &metrics)?;
        let models = model::open(&config.model)?;
        let workers = config.decode.workers.or_else(|| thread::available_parallelism().ok().map(usize::from));
        let decoders = (0..workers.unwrap_or(1).max(1)).map(|_| Decoder::new(&config.decode));
        let servers = config.server.iter().map(|server| servers::build(server, &config.act));
        let webhooks = config.webhook.iter().map(|webhook| Webhook::new(webhook, &config.act));
        Ok(Self {
            clock,
            telling: Telling::new(metrics),
            ledger,
            gate,
            policy,
            banks,
            models,
            decoders: decoders.collect::<Result<_, _>>()?,
            sources: Sources::new(config.source.clone(), clock)?,
            servers: servers.collect::<Result<_, _>>()?,
            webhooks: webhooks.collect::<Result<_, _>>()?,
            closed,
        })
    }

    /// Starts every stage, works until told to stop, and stops them from left to right, so that nothing under way is
    /// lost between two of them.
    async fn live(self, config: &Config) -> Result<(), Error> {
        let Self { clock, telling, ledger, gate, policy, banks, models, decoders, sources, servers, webhooks, closed } =
            self;
        let listener = api::bind(&config.api).await?;
        let metrics = Arc::clone(&telling.metrics);
        let (notices, inbox) = bounded(NOTICES);
        let queue = Arc::new(Queue::new(config.sample.max_streams));
        let bell = Arc::new(Bell::default());
        let streams = Arc::new(Streams::new(
            config.streams.clone(), config.sample.clone(), sources, Arc::clone(&queue), notices.clone(),
            telling.clone(), clock,
        ));
        let models = Arc::new(start_models(models, config, &notices, &metrics, clock)?);
        let workers = start_workers(decoders, &queue, |decoder| Worker {
            decoder,
            known: Known::new(Arc::clone(&banks)),
            models: Arc::clone(&models),
            notices: notices.clone(),
            metrics: Arc::clone(&metrics),
            clock,
        })?;
        let deciding = Deciding {
            judge: Judge::new(Arc::clone(&policy)),
            policy,
            ledger: Arc::clone(&ledger),
            gate: Arc::clone(&gate),
            webhooks: webhooks.clone(),
            source: config.act.source.clone(),
            streams: Arc::clone(&streams),
            telling: telling.clone(),
            bell: Arc::clone(&bell),
            clock,
            closed,
        };
        let judge = start("judge", move || deciding.run(&inbox))?;

        let (stop, stopped) = watch::channel(false);
        let outbox = tokio::spawn(outbox::run(
            outbox::Worker {
                outbox: Arc::clone(&ledger) as _,
                bell: Arc::clone(&bell),
                servers: servers.clone(),
                webhooks,
                config: config.act.clone(),
                clock,
                metrics: Arc::clone(&metrics),
                observer: Acting { ledger: Arc::clone(&ledger), telling: telling.clone() }.observer(),
            },
            stopped.clone(),
        ));
        let mut keeping = JoinSet::new();
        for server in &servers {
            let reconciling = Reconciling {
                server: Arc::clone(server),
                streams: Arc::clone(&streams),
                gate: Arc::clone(&gate),
                notices: notices.clone(),
                metrics: Arc::clone(&metrics),
                clock,
                every: config.streams.reconcile_every,
            };
            keeping.spawn(reconciling.run());
        }
        let names = servers.iter().map(|server| Arc::clone(server.name())).collect();
        keeping.spawn(show(names, Arc::clone(&streams), Arc::clone(&gate), Arc::clone(&ledger), telling.clone(), clock));

        let ready = Arc::new(AtomicBool::new(true));
        let backend = Backend {
            servers: servers.iter().map(|server| (Arc::clone(server.name()), Arc::clone(server))).collect::<HashMap<_, _>>(),
            streams: Arc::clone(&streams),
            gate,
            ledger,
            telling,
            clock,
            ready: Arc::clone(&ready),
        };
        info!(listen = %config.api.listen, "ready");
        let served = api::serve(listener, &config.api, Arc::new(backend), told_to_stop()).await;
        ready.store(false, Ordering::Release);
        info!("stopping");

        keeping.shutdown().await;
        streams.detach_all();
        queue.close();
        for worker in workers {
            join(worker).await;
        }
        drop(models);
        // Fails only when the judge is gone already.
        drop(notices.send(Notice::Close));
        join(judge).await;
        stop.send_replace(true);
        if tokio::time::timeout(GRACE, outbox).await.is_err() {
            warn!("actions under way are left to the next start");
        }
        Ok(served?)
    }
}

fn load_banks(config: &Config, metrics: &Metrics) -> Result<Arc<[Arc<Bank>]>, Error> {
    let store = Store::open(&config.banks.dir)?;
    let mut banks = Vec::new();
    for name in store.names()? {
        let bank = store.load(&name)?;
        metrics.set_bank_signals(&name.shared(), bank.signals().len());
        info!(bank = %name, signals = bank.signals().len(), revision = bank.revision(), "bank loaded");
        banks.push(Arc::new(bank));
    }
    if banks.is_empty() {
        warn!(folder = %config.banks.dir.display(), "there is no bank: add one with `sluicegate bank add`, and restart");
    }
    Ok(banks.into())
}

fn start_models(
    sessions: Vec<model::Session>, config: &Config, notices: &Sender<Notice>, metrics: &Arc<Metrics>, clock: Clock,
) -> Result<Vec<Classify<Ticket>>, Error> {
    let start = |session| {
        let notices = notices.clone();
        let on_scores = move |ticket: Ticket, observation| {
            // Waits when the judge is behind: evidence is never dropped. Fails only when the judge has ended.
            drop(notices.send(Notice::Found(ticket.finding(observation, clock.now()))));
        };
        Classify::start(session, config.model.queue, clock, Arc::clone(metrics), on_scores)
    };
    Ok(sessions.into_iter().map(start).collect::<Result<_, _>>()?)
}

fn start_workers(
    decoders: Vec<Decoder>, queue: &Arc<Queue>, worker: impl Fn(Decoder) -> Worker,
) -> Result<Vec<JoinHandle<()>>, Error> {
    let start_one = |decoder| {
        let (worker, queue) = (worker(decoder), Arc::clone(queue));
        start("inspect", move || worker.run(&queue))
    };
    decoders.into_iter().map(start_one).collect()
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    Ok(thread::Builder::new().name(name.to_owned()).spawn(work)?)
}

async fn join(thread: JoinHandle<()>) {
    // A thread that panicked has said so on standard error; the others are still to be taken down.
    drop(tokio::task::spawn_blocking(move || thread.join()).await);
}

/// Keeps what can be seen from outside up to date.
async fn show(
    servers: Vec<Arc<str>>, streams: Arc<Streams>, gate: Arc<Gate>, ledger: Arc<Ledger>, telling: Telling, clock: Clock,
) {
    let mut beat = tokio::time::interval(SHOW_EVERY);
    loop {
        beat.tick().await;
        streams.show(&servers);
        gate.expire(clock.now());
        telling.metrics.set_denies(gate.count());
        let asked = Arc::clone(&ledger);
        match tokio::task::spawn_blocking(move || asked.pending()).await {
            Ok(Ok(pending)) => telling.metrics.set_outbox_pending(pending),
            Ok(Err(error)) => telling.metrics.error(Stage::Ledger, error.kind()),
            Err(_) => return,
        }
    }
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
