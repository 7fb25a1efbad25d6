//! Webhooks as an operator sees them, and the memory of those whose receiver wants no more.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use tracing::{info, warn};
use uuid::Uuid;

use super::backend::Backend;
use crate::act::webhook::Webhook;
use crate::api::{self, BackendError, DeadLetterView, TestView, WebhookView};
use crate::clock::Clock;
use crate::ledger::{DeadLetter, Gone, Ledger, LedgerError};
use crate::metrics::{Metrics, Stage};

/// How long a test waits for the receiver: whoever asked for the test is answered before their own patience ends.
const TEST_TIMEOUT: Duration = Duration::from_secs(8);

/// Tells the webhooks what an earlier run learnt of them. One that has another address now is another receiver.
pub(super) fn restore(webhooks: &[Webhook], ledger: &Ledger) -> Result<(), LedgerError> {
    for Gone { webhook: name, receiver, .. } in ledger.gone()? {
        match webhooks.iter().find(|webhook| *webhook.name() == name) {
            Some(webhook) if webhook.digest() == *receiver => {
                warn!(webhook = %name, "its receiver answered 410 in an earlier run and is sent nothing");
                webhook.set_gone(true);
            }
            Some(_) => ledger.set_back(&name)?,
            None => {}
        }
    }
    Ok(())
}

/// Keeps in the ledger whether the receiver of one webhook wants no more. See the module.
pub(super) struct Remembering {
    pub(super) webhook: Webhook,
    pub(super) ledger: Arc<Ledger>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

impl Remembering {
    /// Works until it is dropped.
    pub(super) async fn run(self) {
        let mut gone = self.webhook.watch_gone();
        while gone.changed().await.is_ok() {
            let is_gone = *gone.borrow_and_update();
            let (ledger, webhook, since) = (Arc::clone(&self.ledger), self.webhook.clone(), self.clock.now());
            let kept = tokio::task::spawn_blocking(move || {
                let name = webhook.name();
                if is_gone {
                    warn!(webhook = %name, "its receiver answered 410: it is sent nothing more");
                    ledger.set_gone(&Gone { webhook: Arc::clone(name), receiver: webhook.digest().into(), since })
                } else {
                    info!(webhook = %name, "its receiver took a test: it is sent events again");
                    ledger.set_back(name)
                }
            });
            // Not kept, it is learnt anew after a restart, from the next 410.
            if let Ok(Err(error)) = kept.await {
                self.metrics.error(Stage::Ledger, error.kind());
            }
        }
    }
}

#[async_trait]
impl api::Webhooks for Backend {
    async fn webhooks(&self) -> Result<Vec<WebhookView>, BackendError> {
        let (undelivered, gone) = self.ask(|ledger| Ok((ledger.undelivered()?, ledger.gone()?))).await?;
        let now = self.clock.now();
        let view = |webhook: &Webhook| {
            let waiting = undelivered.get(webhook.name()).copied().unwrap_or_default();
            let kept = gone.iter().find(|gone| gone.webhook == *webhook.name()).map(|gone| gone.since);
            WebhookView {
                name: webhook.name().to_string(),
                at: webhook.at(),
                events: webhook.events().iter().map(|topic| topic.word().to_owned()).collect(),
                gone_since: webhook.is_gone().then(|| kept.unwrap_or(now)),
                pending: waiting.pending,
                dead: waiting.dead,
                public_keys: webhook.public_keys(),
            }
        };
        Ok(self.webhooks.iter().map(view).collect())
    }

    async fn test_webhook(&self, name: &str) -> Result<Option<TestView>, BackendError> {
        let Some(webhook) = self.webhooks.iter().find(|webhook| **webhook.name() == *name) else { return Ok(None) };
        // The receiver refuses a timestamp that is minutes off, and our clock does not follow when the system's is set.
        let tested = timeout(TEST_TIMEOUT, webhook.test(&self.source, self.clock.wall())).await;
        Ok(Some(match tested {
            Ok(Ok(detail)) => TestView { delivered: true, detail },
            Ok(Err(error)) => TestView { delivered: false, detail: error.to_string() },
            Err(_elapsed) => TestView { delivered: false, detail: format!("no answer within {TEST_TIMEOUT:?}") },
        }))
    }

    async fn dead_letters(&self, webhook: &str, limit: usize) -> Result<Vec<DeadLetterView>, BackendError> {
        let webhook = webhook.to_owned();
        let letters = self.ask(move |ledger| ledger.dead_letters(&webhook, limit)).await?;
        Ok(letters.into_iter().map(letter).collect())
    }

    async fn replay(&self, webhook: &str, letters: Option<Vec<Uuid>>) -> Result<Option<usize>, BackendError> {
        if !self.webhooks.iter().any(|configured| **configured.name() == *webhook) {
            return Ok(None);
        }
        let (name, now) = (webhook.to_owned(), self.clock.now());
        let replayed = self.ask(move |ledger| ledger.replay(&name, letters.as_deref(), now)).await?;
        info!(webhook, replayed, "events that were given up are tried again");
        self.bell.ring();
        Ok(Some(replayed))
    }
}

fn letter(letter: DeadLetter) -> DeadLetterView {
    let DeadLetter { id, body, attempts, given_up, reason } = letter;
    let event = serde_json::from_str(&body).ok();
    let event = event.and_then(|event: serde_json::Value| Some(event.get("type")?.as_str()?.to_owned()));
    DeadLetterView { id, event: event.unwrap_or_else(|| "unknown".to_owned()), attempts, given_up, reason }
}
