//! What follows when a signal is set aside: its bank is to say so, whatever is restarted, and people are to hear of it.
//!
//! The judge's thread has [`Alarms`], which never wait for a file or a lock. A thread of its own, [`Quarantining`], writes the
//! banks; what cannot be written is tried again every minute. In memory the signal is set aside all the while.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use jiff::SignedDuration;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::deciding::Notice;
use super::telling::Telling;
use crate::act::webhook::{Topic, Webhook, event};
use crate::api::Happening;
use crate::bank::{BankError, BankName, Store};
use crate::clock::{Clock, Timestamp};
use crate::decision::{Action, SetAside};
use crate::judge::quarantine::Refused;
use crate::ledger::Ledger;
use crate::metrics::{Metrics, Stage};
use crate::stream::StreamId;

/// How long after a bank could not be written it is tried again.
const AGAIN: Duration = Duration::from_mins(1);

/// The judge's end: tells of signals that were set aside, and hands them on to be written.
pub(super) struct Alarms {
    to_keep: Sender<SetAside>,
    /// Not handed on yet: the other end is busy.
    unkept: Vec<SetAside>,
    /// Not in the outbox yet: the ledger could not be written.
    unannounced: Vec<(Uuid, Action)>,
    /// When the oldest of them was raised.
    since: Timestamp,
}

impl Alarms {
    pub(super) const fn new(to_keep: Sender<SetAside>) -> Self {
        Self { to_keep, unkept: Vec::new(), unannounced: Vec::new(), since: Timestamp::ZERO }
    }

    /// Tells of what was set aside just now, in the log, in metrics, to listeners; prepares what webhooks are told.
    pub(super) fn raise(
        &mut self,
        fresh: Vec<SetAside>,
        now: Timestamp,
        telling: &Telling,
        webhooks: &[Webhook],
        source: &str,
    ) {
        for set_aside in fresh {
            let SetAside { bank, signal, provenance, streams, within } = &set_aside;
            warn!(
                %bank,
                signal,
                %provenance,
                streams = streams.len(),
                ?within,
                "a signal fired alone in many streams and is set aside: look at what it was taken from, then remove it or \
                 `sluicegate bank release` it"
            );
            telling.metrics.signal_quarantined(bank);
            telling.tell_at_large(
                now,
                Happening::SignalQuarantined {
                    bank: Arc::clone(bank),
                    signal: *signal,
                    provenance: Arc::clone(provenance),
                    streams: streams.iter().map(StreamId::full).collect(),
                    within_seconds: within.as_secs_f64(),
                },
            );
            if self.unannounced.is_empty() {
                self.since = now;
            }
            let body = event::signal_quarantined(Uuid::now_v7(), &set_aside, now, source);
            for webhook in webhooks.iter().filter(|webhook| webhook.wants(Topic::SignalQuarantined)) {
                let action = Action::Notify { webhook: Arc::clone(webhook.name()), body: body.clone() };
                self.unannounced.push((Uuid::now_v7(), action));
            }
            self.unkept.push(set_aside);
        }
    }

    /// Tells that more would have been set aside, in the log and in metrics.
    pub(super) fn refused(refused: &[Refused], metrics: &Metrics) {
        for Refused { bank, signal, provenance, streams } in refused {
            error!(
                %bank,
                signal,
                %provenance,
                streams,
                "more signals fire alone in many streams than may be set aside (`banks.quarantine.most`): they still count. \
                 Look at what these streams show: somebody may be disarming the bank, or much in it is innocent"
            );
            metrics.quarantine_refused(bank);
        }
    }

    /// Hands on what can be handed on; whether there is something new in the outbox.
    pub(super) fn announce(&mut self, ledger: &Ledger, telling: &Telling) -> bool {
        while let Some(set_aside) = self.unkept.pop() {
            // Gone only when the house comes down.
            if let Err(TrySendError::Full(set_aside)) = self.to_keep.try_send(set_aside) {
                self.unkept.push(set_aside);
                break;
            }
        }
        if self.unannounced.is_empty() {
            return false;
        }
        match ledger.announce(&self.unannounced, self.since) {
            Ok(()) => self.unannounced.clear(),
            Err(error) => {
                telling.metrics.error(Stage::Ledger, error.kind());
                error!(%error, "that a signal was set aside waits to be told to webhooks");
            }
        }
        self.unannounced.is_empty()
    }
}

/// Writes into the banks what was set aside. See the module.
pub(super) struct Quarantining {
    pub(super) banks: PathBuf,
    pub(super) notices: Sender<Notice>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

/// What is to be written into one bank.
#[derive(Debug, Default)]
struct Unwritten {
    signals: Vec<u64>,
    reason: String,
}

impl Quarantining {
    /// Works until nobody is left to ask it.
    pub(super) fn run(self, asked: &Receiver<SetAside>) {
        let mut unwritten: BTreeMap<Arc<str>, Unwritten> = BTreeMap::new();
        let mut failed_at: Option<Timestamp> = None;
        loop {
            match asked.recv_timeout(AGAIN) {
                Ok(set_aside) => {
                    let entry = unwritten.entry(Arc::clone(&set_aside.bank)).or_default();
                    entry.reason = reason(&set_aside);
                    entry.signals.push(set_aside.signal);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Several at once are one revision of their bank.
            if !asked.is_empty() || failed_at.is_some_and(|at| self.clock.now().since(at) < AGAIN) {
                continue;
            }
            unwritten.retain(|bank, what| self.write(bank, what) == Written::Later);
            failed_at = (!unwritten.is_empty()).then(|| self.clock.now());
        }
    }

    fn write(&self, bank: &Arc<str>, what: &Unwritten) -> Written {
        match self.keep(bank, what) {
            Ok(revision) => {
                info!(%bank, revision, signals = ?what.signals, "the bank says that they are set aside");
                let (bank, signals) = (Arc::clone(bank), what.signals.clone());
                // Waits when the judge is behind. Fails only when it has ended.
                drop(self.notices.send(Notice::SetAside { bank, signals, revision }));
                Written::Done
            }
            Err(problem) => {
                self.metrics.error(Stage::Known, problem.kind());
                let next =
                    if problem.is_retryable() { "it is tried again in a minute" } else { "it is not tried again" };
                error!(
                    %problem,
                    signals = ?what.signals,
                    "that signals are set aside cannot be written into their bank: they stay so until a restart, and \
                     cannot be released before: most likely the service may not write the banks' folder or its file `.lock`, \
                     which somebody else made; {next}"
                );
                if problem.is_retryable() { Written::Later } else { Written::Done }
            }
        }
    }

    fn keep(&self, bank: &str, what: &Unwritten) -> Result<u64, BankError> {
        let store = Store::open(&self.banks)?;
        let name: BankName =
            bank.parse().map_err(|source| BankError::NotABankName { path: self.banks.join(bank), source })?;
        store.quarantine(&name, &what.signals, &what.reason, self.clock.now())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Or never to be.
    Done,
    Later,
}

/// For people; without the names of streams, which may be keys.
fn reason(set_aside: &SetAside) -> String {
    let within = SignedDuration::try_from(set_aside.within).unwrap_or(SignedDuration::MAX);
    format!("fired alone in {} unrelated streams within {within:#}", set_aside.streams.len())
}

#[cfg(test)]
mod tests;
