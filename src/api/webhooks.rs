//! Webhooks over the interface: how each is doing, a test of one, events that were given up and their replay.

use async_trait::async_trait;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::backend::BackendError;
use super::problem::Problem;
use super::routes::Shared;
use crate::clock::Timestamp;

const MOST_LETTERS: usize = 1000;

/// What of webhooks can be asked or ordered.
#[async_trait]
pub trait Webhooks: Send + Sync + 'static {
    /// Every configured webhook.
    async fn webhooks(&self) -> Result<Vec<WebhookView>, BackendError>;

    /// Sends a webhook a test event, at once and once; `None`: no webhook is called that.
    async fn test_webhook(&self, name: &str) -> Result<Option<TestView>, BackendError>;

    /// The events for a webhook that were given up, oldest first. The webhook need not be configured any more.
    async fn dead_letters(&self, webhook: &str, limit: usize) -> Result<Vec<DeadLetterView>, BackendError>;

    /// Has events that were given up tried again, those named or all; says how many. `None`: no webhook is called that.
    async fn replay(&self, webhook: &str, letters: Option<Vec<Uuid>>) -> Result<Option<usize>, BackendError>;
}

/// A webhook and how it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookView {
    /// Its name in the configuration.
    pub name: String,
    /// Where events go: scheme, host and port.
    pub at: String,
    /// What it is told of, as the configuration has it.
    pub events: Vec<String>,
    /// Since when its receiver wants no more, and gets nothing more.
    pub gone_since: Option<Timestamp>,
    /// Events that are still tried.
    pub pending: u32,
    /// Events that were given up.
    pub dead: u32,
    /// The public keys that its receiver can check signatures with.
    pub public_keys: Vec<String>,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestView {
    /// Whether the receiver took it.
    pub delivered: bool,
    /// What was answered, or what went wrong.
    pub detail: String,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// The `webhook-id` under which it was sent.
    pub id: Uuid,
    /// Its `type`.
    pub event: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// When it was given up.
    pub given_up: Timestamp,
    /// What went wrong last.
    pub reason: String,
}

/// The body of a replay. Without `letters`, all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    #[serde(default)]
    letters: Option<Vec<Uuid>>,
}

/// How many events are tried again.
#[derive(Debug, Serialize)]
struct Replayed {
    replayed: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default = "page_length")]
    limit: usize,
}

fn page_length() -> usize {
    100
}

/// The routes below `/v1/webhooks`.
pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/v1/webhooks", get(webhooks))
        .route("/v1/webhooks/{name}/test", post(test))
        .route("/v1/webhooks/{name}/dead", get(dead))
        .route("/v1/webhooks/{name}/replay", post(replay))
}

async fn webhooks(State(shared): State<Shared>) -> Result<Json<Vec<WebhookView>>, Problem> {
    Ok(Json(shared.backend.webhooks().await?))
}

async fn test(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<TestView>, Problem> {
    shared.backend.test_webhook(&name).await?.map(Json).ok_or_else(no_such_webhook)
}

async fn dead(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Vec<DeadLetterView>>, Problem> {
    let limit = page.map(|Query(page)| page.limit).ok().filter(|limit| (1..=MOST_LETTERS).contains(limit));
    let limit = limit.ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "not a list of events", "ask with `limit` from 1 to 1000, or without")
    })?;
    Ok(Json(shared.backend.dead_letters(&name, limit).await?))
}

async fn replay(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Replayed>, Problem> {
    let replay = body.ok().and_then(|body| serde_json::from_slice(&body).ok()).ok_or_else(|| {
        let next = "send {\"letters\": [\"...\"]} with their `id`s, or {} for all";
        Problem::new(StatusCode::BAD_REQUEST, "not an order to replay", next)
    });
    let Replay { letters } = replay?;
    let replayed = shared.backend.replay(&name, letters).await?.ok_or_else(no_such_webhook)?;
    Ok(Json(Replayed { replayed }))
}

fn no_such_webhook() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no webhook of that name is configured", "list them with GET /v1/webhooks")
}
