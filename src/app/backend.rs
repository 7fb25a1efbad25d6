//! What the HTTP interface asks of the house.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use crossbeam_channel::Sender;
use reqwest::header::HeaderMap;
use tokio::sync::{broadcast, oneshot};
use tokio::task::{block_in_place, spawn_blocking};
use tracing::warn;
use uuid::Uuid;

use super::deciding::Notice;
use super::ordering::Order;
use super::streams::Streams;
use super::telling::Telling;
use crate::act::Gate;
use crate::act::servers::{HookToken, MediaServer};
use crate::api::{
    self, ActionView, BackendError, BreakerView, DecisionView, Happening, HookError, OrderError, StreamView,
    TimelineView,
};
use crate::clock::{Clock, Timestamp};
use crate::decision::{Actor, Decision, Deny};
use crate::ledger::{Ledger, LedgerError};
use crate::media_server::{Admission, Hook, HookRequest, Reply};
use crate::metrics::Stage;
use crate::stream::{Publisher, StreamId};

/// See the module.
pub(super) struct Backend {
    pub(super) servers: HashMap<Arc<str>, Arc<dyn MediaServer>>,
    /// What hooks of those servers must bring, that have one.
    pub(super) hook_tokens: HashMap<Arc<str>, HookToken>,
    pub(super) streams: Arc<Streams>,
    pub(super) gate: Arc<Gate>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) telling: Telling,
    pub(super) clock: Clock,
    pub(super) ready: Arc<AtomicBool>,
    pub(super) notices: Sender<Notice>,
}

impl Backend {
    /// Runs a call that touches the disk where it may block.
    async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let ledger = Arc::clone(&self.ledger);
        match spawn_blocking(move || call(&ledger)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.telling.metrics.error(Stage::Ledger, error.kind());
                Err(BackendError(error.to_string()))
            }
            Err(error) => Err(BackendError(format!("the ledger's thread failed: {error}"))),
        }
    }

    /// Orders something of the judge's thread, and waits until it is done.
    async fn hand_on<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, BackendError> {
        let (answer, answered) = oneshot::channel();
        let (notices, notice) = (self.notices.clone(), Notice::Ordered(order(answer)));
        let gone = || BackendError("nobody decides any more: stopping".to_owned());
        // Waits when the judge is behind.
        if !matches!(spawn_blocking(move || notices.send(notice)).await, Ok(Ok(()))) {
            return Err(gone());
        }
        answered.await.map_err(|_ended| gone())
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
    async fn hook(
        &self,
        server: &str,
        token: Option<&str>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, HookError> {
        let began = self.clock.now();
        let adapter = self.servers.get(server).ok_or(HookError::NotConfigured)?;
        let known = match (self.hook_tokens.get(server), token) {
            (None, None) => true,
            (Some(own), Some(sent)) => own.is(sent),
            _ => false,
        };
        if !known {
            self.telling.metrics.error(Stage::Api, "stranger");
            warn!(server, "refused a hook without the token of this media server");
            return Err(HookError::Stranger);
        }
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
            Hook::Begun { session, publisher } => {
                let answer = self.gate.admit(&session.stream, publisher, began);
                // One that is refused is cut at the next look at the server's list.
                if answer == Admission::Allow {
                    block_in_place(|| {
                        self.streams.attach(session, publisher, adapter.pull(&session.stream));
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
            let ended = ledger.ended(id)?;
            Ok(Some(DecisionView { decision, ended, actions }))
        })
        .await
    }

    async fn denies(&self) -> Result<Vec<Deny>, BackendError> {
        let now = self.clock.now();
        self.ask(move |ledger| ledger.denies(now)).await
    }

    async fn order(&self, order: api::Order) -> Result<Vec<Decision>, OrderError> {
        if !self.servers.contains_key(&order.stream.server) {
            return Err(OrderError::NoSuchServer);
        }
        let (decisions, recorded) = self.hand_on(|answer| Order::Decide(order, answer)).await?;
        if recorded { Ok(decisions) } else { Err(OrderError::Waits) }
    }

    async fn release(&self, decision: Uuid, by: Actor) -> Result<bool, BackendError> {
        let released = self.hand_on(|answer| Order::Release(decision, by, answer)).await?;
        released.map_err(|error| {
            self.telling.metrics.error(Stage::Ledger, error.kind());
            BackendError(error.to_string())
        })
    }

    async fn timeline(&self, id: Uuid) -> Result<Option<TimelineView>, BackendError> {
        self.ask(move |ledger| {
            let Some(decision) = ledger.decision(id)? else { return Ok(None) };
            let (timeline, policy) = (ledger.timeline(id)?, ledger.policy(&decision.policy)?);
            Ok(Some(TimelineView { decision, timeline, policy }))
        })
        .await
    }

    async fn breaker(&self) -> Result<BreakerView, BackendError> {
        self.hand_on(Order::Breaker).await
    }

    async fn close_breaker(&self, by: Actor) -> Result<BreakerView, BackendError> {
        self.hand_on(|answer| Order::CloseBreaker(by, answer)).await
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
