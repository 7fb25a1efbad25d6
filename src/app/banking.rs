//! Keeps the banks: says when one is loaded, changed or damaged, and has a new base made of a bank in which much has changed,
//! in a thread of its own: nobody waits for it. Whoever compares pictures with them reads them by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::bank::{Bank, BankError, BankName, Banks, Compaction, Refreshed, Watch};
use crate::metrics::{Metrics, Stage};

/// How often the folder of banks is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Banking {
    watch: Watch,
    banks: Banks,
    metrics: Arc<Metrics>,
    under_way: Option<UnderWay>,
    /// Banks of which no base could be made, as they were then: not tried again before they change.
    failed: BTreeMap<BankName, u64>,
}

/// A compaction, and the bank as it was when it began.
struct UnderWay {
    bank: Arc<Bank>,
    done: oneshot::Receiver<Result<Compaction, BankError>>,
}

impl Banking {
    pub(super) const fn new(watch: Watch, banks: Banks, metrics: Arc<Metrics>) -> Self {
        Self { watch, banks, metrics, under_way: None, failed: BTreeMap::new() }
    }

    /// Works until it is dropped.
    pub(super) async fn run(mut self) {
        let mut beat = tokio::time::interval(EVERY);
        loop {
            beat.tick().await;
            let looked = tokio::task::spawn_blocking(move || {
                let seen = self.watch.look();
                (self, seen)
            });
            // Only when the runtime is going down.
            let Ok((banking, seen)) = looked.await else { return };
            self = banking;
            match seen {
                Ok(Some(seen)) => self.tell_of(seen),
                Ok(None) => {}
                Err(problem) => {
                    self.metrics.error(Stage::Known, problem.kind());
                    error!(%problem, "the banks cannot be looked at; those in force stay");
                }
            }
            self.compact();
        }
    }

    fn tell_of(&mut self, seen: Refreshed) {
        for problem in &seen.problems {
            self.metrics.error(Stage::Known, problem.kind());
            error!(%problem, "a bank cannot be read; what was in force of it stays");
        }
        for problem in &seen.unindexed {
            self.metrics.error(Stage::Known, problem.kind());
            warn!(%problem, "an index was built in memory");
        }
        for name in &seen.removed {
            self.metrics.set_bank_signals(&name.shared(), 0);
            info!(bank = %name, "bank removed");
        }
        for bank in &seen.changed {
            self.metrics.expect_bank(&bank.name().shared());
            self.metrics.set_bank_signals(&bank.name().shared(), bank.len());
            info!(bank = %bank.name(), signals = bank.len(), revision = bank.revision(), "bank loaded");
        }
        self.banks = seen.banks;
    }

    /// Sees how the compaction under way goes, and begins one where it is due and none is.
    fn compact(&mut self) {
        if let Some(mut under_way) = self.under_way.take() {
            match under_way.done.try_recv() {
                Ok(done) => self.compacted(&under_way.bank, done),
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.under_way = Some(under_way);
                    return;
                }
                // The thread panicked, and has said so on standard error.
                Err(oneshot::error::TryRecvError::Closed) => self.give_up(&under_way.bank),
            }
        }
        let is_due = |bank: &&Arc<Bank>| {
            bank.is_compaction_due() && self.failed.get(bank.name()).is_none_or(|failed| *failed != bank.revision())
        };
        let Some(bank) = self.banks.iter().find(is_due).map(Arc::clone) else { return };
        let (told, done) = oneshot::channel();
        let (store, name) = (self.watch.store().clone(), bank.name().clone());
        // A thread that nobody waits for at the end: killed at any moment, it leaves the bank as it was.
        let started = super::start("compact", move || drop(told.send(store.compact(&name))));
        match started {
            Ok(_detached) => self.under_way = Some(UnderWay { bank, done }),
            Err(problem) => {
                error!(%problem, bank = %bank.name(), "no thread to compact a bank in");
                self.give_up(&bank);
            }
        }
    }

    fn compacted(&mut self, bank: &Bank, done: Result<Compaction, BankError>) {
        match done {
            Ok(Compaction::Done { in_base }) => info!(bank = %bank.name(), in_base, "bank compacted"),
            Ok(Compaction::Indexed) => info!(bank = %bank.name(), "index written again"),
            // Its files are fit by now, whatever was the matter when they were read. If that does not help, it is not tried again.
            Ok(Compaction::Idle) if bank.problem().is_some() => {
                self.watch.read_again(bank.name());
                return self.give_up(bank);
            }
            // Whoever came first is seen at the next look.
            Ok(Compaction::Idle | Compaction::Overtaken) | Err(BankError::NoBank { .. }) => {}
            Err(problem) => {
                self.metrics.error(Stage::Known, problem.kind());
                if !self.failed.contains_key(bank.name()) {
                    error!(%problem, "a bank cannot be compacted: it is searched as it is, a little slower");
                }
                return self.give_up(bank);
            }
        }
        self.failed.remove(bank.name());
    }

    fn give_up(&mut self, bank: &Bank) {
        self.failed.insert(bank.name().clone(), bank.revision());
    }
}
