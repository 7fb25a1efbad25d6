//! What the interface asks of the rest of the house: one trait, implemented by `app` and by fakes in tests.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::HeaderMap;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::broadcast;
use uuid::Uuid;

use super::event::Event;
use super::reports::Reports;
use crate::clock::Timestamp;
use crate::decision::{Decision, Deny, Outcome};
use crate::media_server::Reply;
use crate::stream::{Attention, SessionId, StreamState};

/// Everything that the interface can ask or order.
#[async_trait]
pub trait Backend: Reports {
    /// Handles a hook of the configured `server`, and says what that kind of server is to be answered. Answers from
    /// memory: a media server waits for it.
    async fn hook(&self, server: &str, headers: HeaderMap, body: Bytes) -> Result<Reply, HookError>;

    /// Every stream attached.
    fn streams(&self) -> Vec<StreamView>;

    /// The latest decisions, newest first.
    async fn decisions(&self, limit: usize) -> Result<Vec<Decision>, BackendError>;

    /// One decision and what became of it; `None` when there is no such decision.
    async fn decision(&self, id: Uuid) -> Result<Option<DecisionView>, BackendError>;

    /// The denies in force.
    async fn denies(&self) -> Result<Vec<Deny>, BackendError>;

    /// Lifts the denies that follow from `decision`; `false` when there are none in force.
    async fn lift(&self, decision: Uuid) -> Result<bool, BackendError>;

    /// The metrics in the Prometheus text format.
    fn metrics(&self) -> String;

    /// Whether every stage is up; else why not, in a sentence.
    fn ready(&self) -> Result<(), String>;

    /// What happens from now on.
    fn events(&self) -> broadcast::Receiver<Event>;
}

/// A hook could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// There is no `[[server]]` of that name.
    #[error("no media server of that name is configured; use the `name` of a [[server]] in the hook's URL")]
    NotConfigured,
    /// The body is no hook of that kind of server. The message names what is missing.
    #[error("not a hook of this media server: {0}")]
    Bad(String),
}

/// The backend could not answer, and may later. The message says why, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// A stream under inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamView {
    /// The whole name, `server/app/name`.
    pub stream: String,
    /// The publisher's session.
    pub session: SessionId,
    /// How it is doing: `state`, and `reason` where it cannot be inspected.
    #[serde(flatten)]
    pub state: StreamState,
    /// Since when it has been in this state.
    pub since: Timestamp,
    /// Its class, if it has one.
    pub class: Option<Arc<str>>,
    /// How often it was reported in this session.
    pub reports: u64,
    /// How closely it is looked at.
    pub attention: Attention,
    /// Pictures inspected in this session.
    pub pictures_inspected: u64,
    /// When the last of them was inspected.
    pub last_inspected: Option<Timestamp>,
}

/// A decision with what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionView {
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
    /// The actions that it asked for.
    pub actions: Vec<ActionView>,
}

/// An action that a decision asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActionView {
    /// Stable over retries.
    pub id: Uuid,
    /// `kick` or `notify`.
    pub action: String,
    /// Every attempt so far, oldest first.
    pub attempts: Vec<Attempt>,
}

/// One attempt at an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How: `outcome` and `detail`, and when the next is `due`.
    #[serde(flatten)]
    pub outcome: Outcome,
}
