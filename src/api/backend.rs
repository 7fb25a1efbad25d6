//! What the interface asks of the rest of the house: one trait, implemented by `app` and by fakes in tests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::event::Event;
use crate::clock::Timestamp;
use crate::decision::{Actor, Decision, Deny, DenyBy, Ended, Outcome, Verdict};
use crate::finding::Finding;
use crate::media_server::Reply;
use crate::stream::{Attention, SessionId, StreamId, StreamState};

/// Everything that the interface can ask or order.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Handles a hook of the configured `server`, sent with `token` as the last step of its path, and says what that kind of
    /// server is to be answered. Answers from memory: a media server waits for it.
    async fn hook(
        &self,
        server: &str,
        token: Option<&str>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, HookError>;

    /// Every stream attached.
    fn streams(&self) -> Vec<StreamView>;

    /// The latest decisions, newest first.
    async fn decisions(&self, limit: usize) -> Result<Vec<Decision>, BackendError>;

    /// One decision and what became of it; `None` when there is no such decision.
    async fn decision(&self, id: Uuid) -> Result<Option<DecisionView>, BackendError>;

    /// The denies in force.
    async fn denies(&self) -> Result<Vec<Deny>, BackendError>;

    /// Decides on a stream as a person ordered, and says what was decided: on each session of it that is live, or on the
    /// stream alone where none is.
    async fn order(&self, order: Order) -> Result<Vec<Decision>, OrderError>;

    /// Takes a decision back; `false` when nothing of it stands.
    async fn release(&self, decision: Uuid, by: Actor) -> Result<bool, BackendError>;

    /// What a decision can be replayed from; `None` when there is no such decision.
    async fn timeline(&self, decision: Uuid) -> Result<Option<TimelineView>, BackendError>;

    /// How the breaker is.
    async fn breaker(&self) -> Result<BreakerView, BackendError>;

    /// Closes the breaker, and says how it was.
    async fn close_breaker(&self, by: Actor) -> Result<BreakerView, BackendError>;

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
    /// It does not bring the token that the server's hooks bring, or one although none is set.
    #[error("a hook of this media server must end in its `hook_token`, and only if one is set")]
    Stranger,
    /// The body is no hook of that kind of server. The message names what is missing.
    #[error("not a hook of this media server: {0}")]
    Bad(String),
}

/// The backend could not answer, and may later. The message says why, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// A verdict that a person orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// On which stream.
    pub stream: StreamId,
    /// `hold`, `cut` or `ban`.
    pub verdict: Verdict,
    /// Who orders it, and why.
    pub actor: Actor,
    /// How long it lasts; `None`: as long as the policy says.
    pub lasts: Option<Duration>,
    /// By what the publisher is refused; none: by the stream's name.
    pub deny: Vec<DenyBy>,
}

/// An order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such media server.
    #[error("no media server of that name is configured")]
    NoSuchServer,
    /// The decision was made, and waits for the ledger.
    #[error(
        "it is decided, and done as soon as the ledger has room for it: the disk is full, or something has it locked"
    )]
    Waits,
    /// Nobody could be asked.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// The breaker, which stops what is cut by itself when it is too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    /// Nothing is cut by itself.
    pub open: bool,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it closes by itself; none while it is open: when somebody closes it.
    pub until: Option<Timestamp>,
    /// How many cuts it opened because of.
    pub cuts: usize,
    /// How many streams were live then.
    pub live: usize,
    /// The rule that most of the cuts came from.
    pub rule: Option<Arc<str>>,
    /// The bank that most of them rest on.
    pub bank: Option<Arc<str>>,
    /// The model that most of them rest on.
    pub model: Option<Arc<str>>,
}

impl BreakerView {
    /// Closed: rules cut.
    pub const fn closed() -> Self {
        Self { open: false, since: None, until: None, cuts: 0, live: 0, rule: None, bank: None, model: None }
    }
}

/// What a decision can be replayed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineView {
    /// The decision.
    pub decision: Decision,
    /// All that the judge held of the session, in the order in which it was heard.
    pub timeline: Vec<Finding>,
    /// The text of the policy in force, if the ledger has it.
    pub policy: Option<String>,
}

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
    /// When it came to its end, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
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
