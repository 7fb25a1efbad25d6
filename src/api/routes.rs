//! The routes: what each path asks of the backend, and how the answer looks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{BroadcastStream, WatchStream};
use tokio_stream::{Stream, StreamExt};
use uuid::Uuid;

use super::backend::{Backend, DecisionView, StreamView};
use super::event::Event;
use super::guard::{self, Guard};
use super::orders;
use super::problem::Problem;
use super::reports;
use super::webhooks;
use crate::decision::{Decision, Deny};

const LONGEST_BODY: usize = 64 * 1024;
/// How long a request may take, its body included. Event streams are answered at once and then go on.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const MOST_DECISIONS: usize = 1000;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) backend: Arc<dyn Backend>,
    stopped: watch::Receiver<bool>,
}

/// Every route. `stopped` turns true when the interface shuts down.
pub(super) fn router(backend: Arc<dyn Backend>, guard: Guard, stopped: watch::Receiver<bool>) -> Router {
    let guard = Arc::new(guard);
    let control = Router::new()
        .route("/v1/streams", get(streams))
        .route("/v1/decisions", get(decisions).post(orders::order))
        .route("/v1/decisions/{id}", get(decision))
        .route("/v1/decisions/{id}/release", post(orders::release))
        .route("/v1/decisions/{id}/timeline", get(orders::timeline))
        .route("/v1/denies", get(denies))
        .route("/v1/breaker", get(orders::breaker))
        .route("/v1/breaker/close", post(orders::close_breaker))
        .route("/v1/events", get(events))
        .merge(reports::router())
        .merge(webhooks::router())
        .layer(middleware::from_fn_with_state(guard.clone(), guard::token));
    let guarded = Router::new()
        .route("/hooks/{server}", post(hook))
        .route("/hooks/{server}/{token}", post(hook_with_token))
        .merge(control)
        .layer(middleware::from_fn_with_state(guard, guard::no_foreign_pages));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::wrong_method() })
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(middleware::from_fn(in_time))
        .with_state(Shared { backend, stopped })
}

async fn in_time(request: Request, next: Next) -> Result<Response, Problem> {
    let path = request.uri().path();
    let orders = ["/v1/decisions", "/v1/breaker", "/v1/reports"].iter().any(|ordered| path.starts_with(ordered));
    let next_step = if request.method() == Method::POST && orders {
        "it may have been taken and be carried out still: look at what there is (GET) before you send it again"
    } else {
        "send it again"
    };
    tokio::time::timeout(LONGEST_REQUEST, next.run(request)).await.map_err(|_error: tokio::time::error::Elapsed| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took too long", next_step)
    })
}

async fn hook(
    State(shared): State<Shared>,
    Path(server): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    answer(&shared, &server, None, headers, body).await
}

async fn hook_with_token(
    State(shared): State<Shared>,
    Path((server, token)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    answer(&shared, &server, Some(&token), headers, body).await
}

async fn answer(
    shared: &Shared,
    server: &str,
    token: Option<&str>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 64 KiB", "no hook is that long")
        }
        status => Problem::new(status, "the body could not be read", "send it again"),
    })?;
    let reply = shared.backend.hook(server, token, headers, body).await?;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok((status, [(header::CONTENT_TYPE, reply.content_type.into_owned())], reply.body.into_owned()).into_response())
}

async fn ready(State(shared): State<Shared>) -> Result<&'static str, Problem> {
    match shared.backend.ready() {
        Ok(()) => Ok("ready\n"),
        Err(why) => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why, "wait; `sluicegate doctor` says what is missing"))
        }
    }
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.backend.metrics())
}

async fn streams(State(shared): State<Shared>) -> Json<Vec<StreamView>> {
    Json(shared.backend.streams())
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

async fn decisions(
    State(shared): State<Shared>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Vec<Decision>>, Problem> {
    let limit = page.map(|Query(page)| page.limit).ok().filter(|limit| (1..=MOST_DECISIONS).contains(limit));
    let limit = limit.ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "not a list of decisions", "ask with `limit` from 1 to 1000, or without")
    })?;
    Ok(Json(shared.backend.decisions(limit).await?))
}

async fn decision(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Json<DecisionView>, Problem> {
    let decision = shared.backend.decision(identifier(&id)?).await?;
    decision.map(Json).ok_or_else(Problem::no_such_decision)
}

async fn denies(State(shared): State<Shared>) -> Result<Json<Vec<Deny>>, Problem> {
    Ok(Json(shared.backend.denies().await?))
}

pub(super) fn identifier(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_error: uuid::Error| Problem::no_such_decision())
}

async fn events(State(shared): State<Shared>) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let happening = BroadcastStream::new(shared.backend.events()).map(|event| Some(frame(event)));
    let end = WatchStream::new(shared.stopped).filter(|stopped| *stopped).map(|_| None);
    let until_the_end = happening.merge(end).map_while(|frame| frame.map(Ok));
    Sse::new(until_the_end).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

fn frame(event: Result<Event, BroadcastStreamRecvError>) -> sse::Event {
    let (word, body) = match event {
        Ok(event) => (event.happening.word(), json!(event)),
        Err(BroadcastStreamRecvError::Lagged(missed)) => ("missed", json!({ "missed": missed })),
    };
    sse::Event::default().event(word).data(body.to_string())
}
