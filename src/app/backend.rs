//! What the HTTP interface asks of the house.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use tokio::sync::broadcast;
use tokio::task::block_in_place;
use tracing::{info, warn};
use uuid::Uuid;

use super::reporting::Desk;
use super::streams::Streams;
use super::telling::Telling;
use crate::act::Gate;
use crate::act::servers::MediaServer;
use crate::api::{self, ActionView, BackendError, DecisionView, Happening, HookError, StreamView};
use crate::clock::{Clock, Timestamp};
use crate::decision::{Decision, Deny};
use crate::ledger::{Ledger, LedgerError};
use crate::media_server::{Admission, Hook, HookRequest, Reply};
use crate::metrics::Stage;
use crate::stream::{Publisher, StreamId};

/// See the module.
pub(super) struct Backend {
    pub(super) servers: HashMap<Arc<str>, Arc<dyn MediaServer>>,
    pub(super) streams: Arc<Streams>,
    pub(super) gate: Arc<Gate>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) telling: Telling,
    pub(super) desk: Desk,
    pub(super) clock: Clock,
    pub(super) ready: Arc<AtomicBool>,
}

impl Backend {
    /// Runs a call that touches the disk where it may block.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let ledger = Arc::clone(&self.ledger);
        match tokio::task::spawn_blocking(move || call(&ledger)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.telling.metrics.error(Stage::Ledger, error.kind());
                Err(BackendError(error.to_string()))
            }
            Err(error) => Err(BackendError(format!("the ledger's thread failed: {error}"))),
        }
    }

    /// Answers somebody who asks to publish, and tells of it.
    fn admit(&self, server: &str, stream: &StreamId, publisher: &Publisher, began: Timestamp) -> Admission {
        let answer = self.gate.admit(stream, publisher, began);
        if answer == Admission::Refuse {
            warn!(%stream, "refused: a deny stands against the stream or its publisher");
        }
        self.telling.metrics.admission(server, answer.word(), self.clock.now().since(began));
        self.telling.tell(began, stream, Happening::Admission { answer });
        answer
    }
}

#[async_trait]
impl api::Backend for Backend {
    async fn hook(&self, server: &str, headers: HeaderMap, body: Bytes) -> Result<Reply, HookError> {
        let began = self.clock.now();
        let adapter = self.servers.get(server).ok_or(HookError::NotConfigured)?;
        let hook = adapter.parse_hook(HookRequest { headers: &headers, body: &body }).map_err(|error| {
            self.telling.metrics.error(Stage::Api, error.kind());
            HookError::Bad(error.to_string())
        })?;
        let answer = match &hook {
            Hook::Publish { session, publisher } => {
                let answer = self.admit(server, &session.stream, publisher, began);
                if answer == Admission::Allow {
                    // Whoever asks has not begun: what is attached under the same number is a session from before.
                    block_in_place(|| {
                        self.streams.detach(session);
                        self.streams.attach(session, publisher, adapter.pull(&session.stream));
                    });
                }
                answer
            }
            Hook::Ask { stream, publisher } => {
                let answer = self.admit(server, stream, publisher, began);
                if answer == Admission::Allow {
                    self.streams.asked(stream, publisher);
                }
                answer
            }
            Hook::Begun { session } => {
                let answer = self.gate.admit(&session.stream, &Publisher::default(), began);
                // One that is refused is cut at the next look at the server's list.
                if answer == Admission::Allow {
                    block_in_place(|| {
                        self.streams.attach(session, &Publisher::default(), adapter.pull(&session.stream));
                    });
                }
                answer
            }
            Hook::PublishDone { session } => {
                block_in_place(|| self.streams.detach(session));
                Admission::Allow
            }
            Hook::Forbidden => Admission::Refuse,
            Hook::Other => Admission::Allow,
        };
        Ok(adapter.reply(&hook, answer))
    }

    fn streams(&self) -> Vec<StreamView> {
        self.streams.views()
    }

    async fn decisions(&self, limit: usize) -> Result<Vec<Decision>, BackendError> {
        self.ask(move |ledger| ledger.decisions(limit)).await
    }

    async fn decision(&self, id: Uuid) -> Result<Option<DecisionView>, BackendError> {
        self.ask(move |ledger| {
            let Some(decision) = ledger.decision(id)? else { return Ok(None) };
            let mut actions: Vec<ActionView> = Vec::new();
            for attempt in ledger.outcomes(id)? {
                let shown = api::Attempt { began: attempt.began, ended: attempt.ended, outcome: attempt.outcome };
                match actions.iter_mut().find(|action| action.id == attempt.action) {
                    Some(action) => action.attempts.push(shown),
                    None => {
                        actions.push(ActionView { id: attempt.action, action: attempt.kind, attempts: vec![shown] });
                    }
                }
            }
            Ok(Some(DecisionView { decision, actions }))
        })
        .await
    }

    async fn denies(&self) -> Result<Vec<Deny>, BackendError> {
        let now = self.clock.now();
        self.ask(move |ledger| ledger.denies(now)).await
    }

    async fn lift(&self, decision: Uuid) -> Result<bool, BackendError> {
        let now = self.clock.now();
        let lifted = self.ask(move |ledger| ledger.lift_decision(decision, now)).await?;
        self.gate.lift_decision(decision);
        for deny in &lifted {
            info!(stream = %deny.stream, %decision, "a deny was lifted");
        }
        Ok(!lifted.is_empty())
    }

    fn metrics(&self) -> String {
        self.telling.metrics.set_denies(self.gate.count());
        self.telling.metrics.render().unwrap_or_else(|error| format!("# {error}\n"))
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Acquire) { Ok(()) } else { Err("starting, or stopping".to_owned()) }
    }

    fn events(&self) -> broadcast::Receiver<api::Event> {
        self.telling.listen()
    }
}
