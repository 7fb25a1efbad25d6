//! What people order over the interface: verdicts, releases, and to close the breaker. Every order says who gives it and
//! why; both are kept in the ledger.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::backend::{BreakerView, Order, OrderError, TimelineView};
use super::problem::Problem;
use super::routes::{Shared, identifier};
use crate::decision::{Actor, Decision, DenyBy, Verdict};
use crate::stream::StreamId;

/// The longest name of a person, and the longest reason, in characters.
const LONGEST_NAME: usize = 200;
const LONGEST_REASON: usize = 2000;

/// A verdict ordered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ordered {
    stream: StreamId,
    verdict: Verdict,
    by: String,
    reason: String,
    #[serde(default)]
    for_seconds: Option<u32>,
    #[serde(default)]
    deny: Vec<DenyBy>,
}

/// Who lets go, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct By {
    by: String,
    reason: String,
}

type Body<T> = Result<Json<T>, JsonRejection>;

pub(super) async fn order(
    State(shared): State<Shared>,
    body: Body<Ordered>,
) -> Result<(StatusCode, Json<Vec<Decision>>), Problem> {
    let next = "send {\"stream\": {\"server\", \"app\", \"name\"}, \"verdict\": \"hold\", \"cut\" or \"ban\", \"by\", \"reason\"}";
    let Json(Ordered { stream, verdict, by, reason, for_seconds, deny }) = body.map_err(|_refused| bad(next))?;
    if verdict < Verdict::Hold {
        return Err(bad("order `hold`, `cut` or `ban`; take a decision back with POST /v1/decisions/{id}/release"));
    }
    if for_seconds == Some(0) {
        return Err(bad("give `for_seconds` from 1, or leave it out"));
    }
    let lasts = for_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let order = Order { stream, verdict, actor: actor(&by, &reason)?, lasts, deny };
    Ok((StatusCode::CREATED, Json(shared.backend.order(order).await?)))
}

pub(super) async fn release(
    State(shared): State<Shared>,
    Path(decision): Path<String>,
    body: Body<By>,
) -> Result<StatusCode, Problem> {
    let by = operator(body)?;
    if shared.backend.release(identifier(&decision)?, by).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(
            StatusCode::NOT_FOUND,
            "nothing of that decision stands: it was released, is no hold, cut or ban, or there is no such decision",
            "see GET /v1/decisions and GET /v1/denies",
        ))
    }
}

pub(super) async fn timeline(
    State(shared): State<Shared>,
    Path(decision): Path<String>,
) -> Result<Json<TimelineView>, Problem> {
    let timeline = shared.backend.timeline(identifier(&decision)?).await?;
    timeline.map(Json).ok_or_else(Problem::no_such_decision)
}

pub(super) async fn breaker(State(shared): State<Shared>) -> Result<Json<BreakerView>, Problem> {
    Ok(Json(shared.backend.breaker().await?))
}

pub(super) async fn close_breaker(State(shared): State<Shared>, body: Body<By>) -> Result<Json<BreakerView>, Problem> {
    let by = operator(body)?;
    Ok(Json(shared.backend.close_breaker(by).await?))
}

fn operator(body: Body<By>) -> Result<Actor, Problem> {
    let Json(By { by, reason }) = body.map_err(|_refused| bad("send {\"by\": who, \"reason\": why}"))?;
    actor(&by, &reason)
}

fn actor(by: &str, reason: &str) -> Result<Actor, Problem> {
    let fits = |text: &str, longest| !text.trim().is_empty() && text.chars().count() <= longest;
    if fits(by, LONGEST_NAME) && fits(reason, LONGEST_REASON) {
        let (name, reason): (Arc<str>, Arc<str>) = (by.trim().into(), reason.trim().into());
        return Ok(Actor::Operator { name, reason });
    }
    Err(bad("say in `by` who orders it, in at most 200 characters, and in `reason` why, in at most 2000"))
}

fn bad(next: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "not an order", next)
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Backend(error) => error.into(),
            OrderError::NoSuchServer => {
                Self::new(StatusCode::BAD_REQUEST, error.to_string(), "use the `name` of a [[server]]")
            }
            OrderError::Waits => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), "free some space; do not order it again")
            }
        }
    }
}
