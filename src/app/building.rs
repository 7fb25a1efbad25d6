//! Builds every stage from the configuration, before anything starts: what cannot work is said now.

use std::sync::Arc;

use tracing::{info, warn};

use super::breaking::Breaking;
use super::deciding::STANDING_DENY;
use super::history::{self, History};
use super::ordering::OPERATOR;
use super::telling::Telling;
use super::{Error, House, Parts, webhooks};
use crate::act::outbox::Bell;
use crate::act::servers::{self, Fallback, HookToken};
use crate::act::webhook::Webhook;
use crate::act::{ActError, Gate};
use crate::bank::{Banks, Watch};
use crate::clock::Clock;
use crate::config::Config;
use crate::decision::Verdict;
use crate::judge::Policy;
use crate::ledger::Ledger;
use crate::metrics::{Metrics, Stage};

pub(super) fn build(config: &Config) -> Result<(House, Parts), Error> {
    let clock = Clock::system();
    let metrics = Arc::new(Metrics::new()?);
    let policy = Arc::new(Policy::parse(config.policy.clone())?);
    for sentence in policy.sentences() {
        info!("rule: {sentence}");
    }
    for (verdict, rule) in policy.verdicts() {
        metrics.expect_verdict(verdict.word(), rule);
    }
    metrics.expect_verdict(Verdict::Cut.word(), STANDING_DENY);
    for verdict in [Verdict::Hold, Verdict::Cut, Verdict::Ban] {
        metrics.expect_verdict(verdict.word(), OPERATOR);
    }
    let servers = config.server.iter().map(|server| servers::build(server, &config.act)).collect::<Result<_, _>>()?;
    let token = |server: &servers::Config| Some((server.name.clone(), HookToken::new(server.hook_token.as_ref()?)));
    let hook_tokens = config.server.iter().filter_map(token).collect();
    let webhooks: Vec<Webhook> =
        config.webhook.iter().map(|webhook| Webhook::new(webhook, &config.act)).collect::<Result<_, _>>()?;
    let fallbacks =
        config.server.iter().map(|server| Ok((Arc::clone(&server.name), Fallback::all(server, &config.act)?)));
    let fallbacks = Arc::new(fallbacks.collect::<Result<_, ActError>>()?);
    for server in &config.server {
        metrics.expect_server(&server.name);
    }
    let ledger = Arc::new(Ledger::open(&config.ledger)?);
    webhooks::restore(&webhooks, &ledger)?;
    let gate = Arc::new(Gate::new(ledger.denies(clock.now())?));
    let closed = ledger.unfinished_kicks()?;
    ledger.keep_policy(&policy.digest(), &policy.text(), clock.now())?;
    let breaking = Breaking::new(policy.breaker(), Breaking::kept(&ledger)?.as_deref());
    let history = History::new(ledger.standing(history::MOST)?);
    if breaking.is_open(clock.now()) {
        warn!("the breaker is open since before the restart: what rules cut is held; see `sluicegate breaker`");
    }
    info!(denies = gate.count(), unfinished = closed.len(), "the ledger is open");
    let (banks, watch) = banks(config, &metrics)?;
    let parts =
        Parts { banks, watch, closed: closed.into_iter().map(|session| (session, None)).collect(), breaking, history };
    let house = House {
        clock,
        telling: Telling::new(metrics),
        ledger,
        gate,
        policy,
        servers,
        hook_tokens,
        fallbacks,
        webhooks,
        bell: Arc::new(Bell::default()),
    };
    Ok((house, parts))
}

/// The banks, and whoever watches them for changes. At the start a damaged bank is an error: nobody should believe it to
/// be in force.
fn banks(config: &Config, metrics: &Metrics) -> Result<(Banks, Watch), Error> {
    let mut watch = Watch::new(&config.banks.dir)?;
    let Some(seen) = watch.look()? else {
        warn!(folder = %config.banks.dir.display(), "there is no bank yet: add one with `sluicegate bank add`");
        return Ok((Arc::new([]), watch));
    };
    if let Some(problem) = seen.problems.into_iter().next() {
        return Err(problem.into());
    }
    for problem in &seen.unindexed {
        metrics.error(Stage::Known, problem.kind());
        warn!(%problem, "an index was built in memory");
    }
    for bank in &seen.changed {
        metrics.expect_bank(&bank.name().shared());
        metrics.set_bank_signals(&bank.name().shared(), bank.len());
        info!(bank = %bank.name(), signals = bank.len(), revision = bank.revision(), "bank loaded");
    }
    Ok((seen.banks, watch))
}
