//! The breaker at work: counts what is cut by itself, and when that is too much says so everywhere, once and also after
//! a restart.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};
use uuid::Uuid;

use super::streams::Streams;
use super::telling::Telling;
use crate::act::webhook::event::{self, BreakerOpened, Fault};
use crate::act::webhook::{Topic, Webhook};
use crate::api::{BreakerView, Happening};
use crate::clock::Timestamp;
use crate::decision::{Action, Actor, Decision};
use crate::judge::breaker::{self, Breaker, Cut, Opening, Suspect};
use crate::ledger::Ledger;
use crate::metrics::Stage;

/// Under which name the ledger keeps it.
const KEPT: &str = "breaker";

/// See the module.
pub(super) struct Breaking {
    breaker: Breaker,
    config: breaker::Config,
    /// The ledger has it otherwise.
    unkept: bool,
    /// Not yet in the outbox.
    unannounced: Vec<(Uuid, Action)>,
}

impl Breaking {
    /// As it was before the restart. What was kept by another release and cannot be read is closed, and so is what is not
    /// wanted any more.
    pub(super) fn new(config: &breaker::Config, kept: Option<&str>) -> Self {
        let mut breaker = Breaker::new(config.clone());
        let unkept = kept.is_some() && !config.enabled;
        match kept.filter(|_| config.enabled).map(serde_json::from_str::<Opening>) {
            Some(Ok(opening)) => breaker.restore(opening),
            Some(Err(error)) => {
                warn!(%error, "the breaker was open before the restart, and why cannot be read: it is closed");
            }
            None => {}
        }
        Self { breaker, config: config.clone(), unkept, unannounced: Vec::new() }
    }

    /// Whether nothing may be cut by itself.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        self.breaker.opening(now).is_some()
    }

    /// Whether the ledger is still to learn of it.
    pub(super) fn is_unkept(&self) -> bool {
        self.unkept
    }

    /// Counts what the policy cut by itself.
    pub(super) fn count(
        &mut self,
        decision: &Decision,
        streams: &Streams,
        telling: &Telling,
        webhooks: &[Webhook],
        source: &str,
    ) {
        let Decision { session, decided, rule, evidence, .. } = decision;
        let on_air = streams.get(session).map_or(Duration::ZERO, |stream| stream.on_air(*decided));
        let live = streams.established(*decided, self.config.established);
        let Some(opening) = self.breaker.count(Cut::new(*decided, on_air, rule, evidence), live) else { return };
        let within_seconds = self.config.within.as_secs_f64();
        let (at, cuts, live) = (opening.at, opening.cuts, opening.live);
        let fault = fault(opening);
        error!(
            cuts,
            within_seconds,
            live,
            fault = fault.as_ref().map(said),
            "the breaker opened: too much was cut by itself, and what would be cut is held instead. Look at what is at \
             fault, then close it with `sluicegate breaker close`"
        );
        let opened = BreakerOpened { cuts, within_seconds, live, fault, until: opening.until };
        let body = event::breaker_opened(Uuid::now_v7(), &opened, at, source);
        for webhook in webhooks.iter().filter(|webhook| webhook.wants(Topic::BreakerOpened)) {
            let action = Action::Notify { webhook: Arc::clone(webhook.name()), body: body.clone() };
            self.unannounced.push((Uuid::now_v7(), action));
        }
        self.unkept = true;
        telling.metrics.set_breaker(true);
        telling.metrics.breaker_opened();
        telling.tell_at_large(at, Happening::Breaker { breaker: self.view(at) });
    }

    /// Somebody closes it; what it was open for is told.
    pub(super) fn close(&mut self, by: &Actor, now: Timestamp, telling: &Telling) -> BreakerView {
        let was = self.view(now);
        if self.breaker.close().is_some() {
            if let Actor::Operator { name, reason } = by {
                warn!(%name, %reason, "the breaker was closed: what rules cut is cut again");
            }
            self.closed(now, telling);
        }
        was
    }

    /// Closes it where its time has passed, and hands on what waits; whether there is something new in the outbox. Call
    /// it every second.
    pub(super) fn tick(&mut self, now: Timestamp, ledger: &Ledger, telling: &Telling) -> bool {
        if self.breaker.expire(now).is_some() {
            info!("the breaker closed by itself: what rules cut is cut again");
            self.closed(now, telling);
        }
        telling.metrics.set_breaker(self.is_open(now));
        if self.unkept {
            let opening = self.breaker.opening(now).map(serde_json::to_string).and_then(Result::ok);
            match ledger.keep(KEPT, opening.as_deref()) {
                Ok(()) => self.unkept = false,
                Err(error) => telling.metrics.error(Stage::Ledger, error.kind()),
            }
        }
        if self.unannounced.is_empty() {
            return false;
        }
        match ledger.announce(&self.unannounced, now) {
            Ok(()) => self.unannounced.clear(),
            Err(error) => {
                telling.metrics.error(Stage::Ledger, error.kind());
                error!(%error, "that the breaker opened waits to be told to webhooks");
            }
        }
        self.unannounced.is_empty()
    }

    /// What the ledger keeps of it.
    pub(super) fn kept(ledger: &Ledger) -> Result<Option<String>, crate::ledger::LedgerError> {
        ledger.kept(KEPT)
    }

    /// As the interface shows it.
    pub(super) fn view(&self, now: Timestamp) -> BreakerView {
        let Some(opening) = self.breaker.opening(now) else { return BreakerView::closed() };
        let suspect = |suspect: &Option<Suspect>| suspect.as_ref().map(|suspect| Arc::clone(&suspect.name));
        BreakerView {
            open: true,
            since: Some(opening.at),
            until: opening.until,
            cuts: opening.cuts,
            live: opening.live,
            rule: suspect(&opening.rule),
            bank: suspect(&opening.bank),
            model: suspect(&opening.model),
        }
    }

    fn closed(&mut self, now: Timestamp, telling: &Telling) {
        self.unkept = true;
        telling.metrics.set_breaker(false);
        telling.tell_at_large(now, Happening::Breaker { breaker: BreakerView::closed() });
    }
}

/// What most of the cuts have in common: the bank or the model before the rule that weighs them.
fn fault(opening: &Opening) -> Option<Fault> {
    let bank = opening.bank.as_ref().map(|bank| (bank.cuts, Fault::Bank(Arc::clone(&bank.name))));
    let model = opening.model.as_ref().map(|model| (model.cuts, Fault::Model(Arc::clone(&model.name))));
    let rule = opening.rule.as_ref().map(|rule| (rule.cuts, Fault::Rule(Arc::clone(&rule.name))));
    let mut worst: Option<(usize, Fault)> = None;
    for (cuts, fault) in [bank, model, rule].into_iter().flatten() {
        if worst.as_ref().is_none_or(|(most, _)| cuts > *most) {
            worst = Some((cuts, fault));
        }
    }
    worst.map(|(_, fault)| fault)
}

fn said(fault: &Fault) -> String {
    match fault {
        Fault::Rule(name) => format!("the rule `{name}`"),
        Fault::Bank(name) => format!("the bank `{name}`"),
        Fault::Model(name) => format!("the model `{name}`"),
    }
}
