//! `/v1/reports`: what people report of streams comes in here, and what came of it.
//!
//! | method and path | answers |
//! |---|---|
//! | `POST /v1/reports` | 202 [`Receipt`]; 400 not JSON, 422 an element of a notice is missing, 404 no such `[[server]]`, 429 too many, with `Retry-After` |
//! | `GET /v1/reports?limit=100&open=true` | the latest reports, newest first, at most 1000; `open`: only those without an outcome |
//! | `GET /v1/reports/{id}` | one report: [`ReportView`] |
//! | `POST /v1/reports/{id}/outcome` | 200 [`ReportView`]; takes `{"outcome": "founded"}` or `"unfounded"` |
//!
//! A notice has the elements of article 16(2) of the Digital Services Act: why the content is thought to be unlawful, where
//! it is, who says so, and that they say so in good faith. Names and addresses are checked and forgotten: whoever passes a
//! notice on keeps them, and answers its sender.

use std::time::Duration;

use async_trait::async_trait;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::backend::BackendError;
use super::problem::Problem;
use super::routes::Shared;
use crate::clock::Timestamp;
use crate::report::{Category, Kept, Outcome};
use crate::stream::SessionId;

const MOST_REPORTS: usize = 1000;
const LONGEST_EXPLANATION: usize = 4000;
const LONGEST_NAME: usize = 200;
const LONGEST_EMAIL: usize = 254;
const LONGEST_ACCOUNT: usize = 200;
const LONGEST_SESSION: usize = 200;

/// What the interface asks about reports.
#[async_trait]
pub trait Reports: Send + Sync + 'static {
    /// Takes a notice. It is in the ledger when this returns.
    async fn report(&self, notice: Notice) -> Result<Receipt, ReportError>;

    /// The latest reports, newest first; `open`: only those without an outcome.
    async fn reports(&self, limit: usize, open: bool) -> Result<Vec<ReportView>, BackendError>;

    /// One report; `None` when there is no such report.
    async fn report_by_id(&self, id: Uuid) -> Result<Option<ReportView>, BackendError>;

    /// Says what came of a report; `None` when there is no such report.
    async fn judge_report(&self, id: Uuid, outcome: Outcome) -> Result<Option<ReportView>, BackendError>;
}

/// A notice, with all that it must have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Where the content is: the stream's whole name, `server/app/name`.
    pub stream: String,
    /// The session meant, where the sender knows it.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// What it is about.
    pub category: Category,
    /// Somebody is said to be in danger of life now.
    #[serde(default)]
    pub imminent: bool,
    /// Why the content is thought to be unlawful.
    pub explanation: String,
    /// That what is said is accurate and complete, in good faith.
    pub good_faith: bool,
    /// Who reports. Needed but for [`Category::may_be_anonymous`].
    #[serde(default)]
    pub notifier: Option<Notifier>,
}

/// Who reports.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notifier {
    /// Their name.
    pub name: String,
    /// Their electronic mail address.
    pub email: String,
    /// Their account on the platform: tells them from others better than an address.
    #[serde(default)]
    pub account: Option<String>,
}

/// Names nobody.
impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notifier(..)")
    }
}

/// That a notice has come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Identifies the report from now on.
    pub id: Uuid,
    /// When it came in.
    pub received: Timestamp,
    /// Whether the stream is being watched: then it is looked at more closely now.
    pub live: bool,
    /// The same reporter had said the same just before: `id` is that report's, and nothing new was written.
    pub repeated: bool,
}

/// A report, as the interface shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportView {
    /// Identifies it.
    pub id: Uuid,
    /// The stream's whole name, `server/app/name`.
    pub stream: String,
    /// The session meant: the one that the sender named, or the only one on the air then.
    pub session: Option<SessionId>,
    /// What it is about.
    pub category: Category,
    /// Somebody is said to be in danger of life.
    pub imminent: bool,
    /// Why the content is thought to be unlawful.
    pub explanation: String,
    /// Who reported: a digest, the same for the same reporter, or `anonymous`.
    pub reporter: std::sync::Arc<str>,
    /// When it came in.
    pub received: Timestamp,
    /// What came of it; none: nobody has looked yet.
    pub outcome: Option<Outcome>,
    /// When somebody looked.
    pub judged: Option<Timestamp>,
}

impl From<Kept> for ReportView {
    fn from(Kept { report, outcome }: Kept) -> Self {
        Self {
            id: report.id,
            stream: report.stream.full(),
            session: report.session,
            category: report.category,
            imminent: report.imminent,
            explanation: report.explanation,
            reporter: report.reporter.word(),
            received: report.received,
            outcome: outcome.map(|(outcome, _)| outcome),
            judged: outcome.map(|(_, at)| at),
        }
    }
}

/// A notice was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Its stream is on no `[[server]]`.
    #[error("no media server of that name is configured; the stream is named server/app/name")]
    NoSuchServer,
    /// Too many came in, of this reporter or of all.
    #[error("too many reports came in")]
    TooMany {
        /// When the next may be sent.
        wait: Duration,
    },
    /// It could not be written.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Notice {
    /// What is missing or too much.
    fn lack(&self) -> Option<&'static str> {
        let Self { stream, session, category, explanation, good_faith, notifier, .. } = self;
        let named = notifier.as_ref();
        if stream.split('/').count() < 3 || stream.split('/').any(str::is_empty) {
            Some("`stream` says where the content is: server/app/name")
        } else if session.as_ref().is_some_and(|session| session.0.chars().count() > LONGEST_SESSION) {
            Some("`session` is longer than 200 characters")
        } else if explanation.trim().is_empty() {
            Some("`explanation` says why the content is thought to be unlawful")
        } else if explanation.chars().count() > LONGEST_EXPLANATION {
            Some("`explanation` is longer than 4000 characters")
        } else if !good_faith {
            Some("`good_faith` must be true: the notifier believes that what is said is accurate and complete")
        } else if named.is_none() && !category.may_be_anonymous() {
            Some("`notifier` needs a `name` and an `email`; only reports of child_sexual_abuse may do without")
        } else if named.is_some_and(|by| by.name.trim().is_empty() || by.name.chars().count() > LONGEST_NAME) {
            Some("`notifier.name` is empty or longer than 200 characters")
        } else if named.is_some_and(|by| !is_address(&by.email)) {
            Some("`notifier.email` is no mail address")
        } else if named.and_then(|by| by.account.as_ref()).is_some_and(|account| !is_account(account)) {
            Some("`notifier.account` is empty or longer than 200 characters")
        } else {
            None
        }
    }
}

/// Whether somebody could be written to there. Who can, only sending tells.
fn is_address(text: &str) -> bool {
    let plain = text.chars().all(|letter| !letter.is_whitespace() && !letter.is_control());
    let parts = text.rsplit_once('@').is_some_and(|(who, place)| !who.is_empty() && !place.is_empty());
    plain && parts && text.len() <= LONGEST_EMAIL
}

fn is_account(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= LONGEST_ACCOUNT
}

/// The routes.
pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/v1/reports", get(list).post(take))
        .route("/v1/reports/{id}", get(one))
        .route("/v1/reports/{id}/outcome", post(judge))
}

async fn take(State(shared): State<Shared>, body: Result<Bytes, BytesRejection>) -> Result<Response, Problem> {
    let notice: Notice = read(body, "see docs/reports.md for what a notice has")?;
    if let Some(lack) = notice.lack() {
        let next = "send it again with what is missing; see docs/reports.md";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("not a notice: {lack}"), next));
    }
    match shared.backend.report(notice).await {
        Ok(receipt) => Ok((StatusCode::ACCEPTED, Json(receipt)).into_response()),
        Err(ReportError::NoSuchServer) => {
            let next = "list the streams watched with GET /v1/streams";
            Err(Problem::new(StatusCode::NOT_FOUND, ReportError::NoSuchServer.to_string(), next))
        }
        Err(ReportError::TooMany { wait }) => {
            let seconds = wait.as_secs().max(1);
            let problem = Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                ReportError::TooMany { wait }.to_string(),
                "send it again after `Retry-After` seconds",
            );
            Ok(([(header::RETRY_AFTER, seconds.to_string())], problem).into_response())
        }
        Err(ReportError::Backend(error)) => Err(error.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Page {
    limit: usize,
    open: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: 100, open: false }
    }
}

async fn list(
    State(shared): State<Shared>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Vec<ReportView>>, Problem> {
    let page = page.map(|Query(page)| page).ok().filter(|page| (1..=MOST_REPORTS).contains(&page.limit));
    let page = page.ok_or_else(|| {
        let next = "ask with `limit` from 1 to 1000 and `open` true or false, or without";
        Problem::new(StatusCode::BAD_REQUEST, "not a list of reports", next)
    })?;
    Ok(Json(shared.backend.reports(page.limit, page.open).await?))
}

async fn one(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Json<ReportView>, Problem> {
    let report = shared.backend.report_by_id(identifier(&id)?).await?;
    report.map(Json).ok_or_else(no_such_report)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judged {
    outcome: Outcome,
}

async fn judge(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ReportView>, Problem> {
    let id = identifier(&id)?;
    let Judged { outcome } = read(body, "send {\"outcome\": \"founded\"} or \"unfounded\"")?;
    shared.backend.judge_report(id, outcome).await?.map(Json).ok_or_else(no_such_report)
}

/// Reads a body, and says what is wrong without repeating any of it.
fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>, next: &'static str) -> Result<T, Problem> {
    let body = body.map_err(|rejection| {
        let why = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "the body is longer than 64 KiB",
            _ => "the body could not be read",
        };
        Problem::new(rejection.status(), why, next)
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if error.is_data() {
            let message = error.to_string();
            // What is missing is a word of ours; what is unknown is the sender's.
            let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
            let why = match missing {
                Some((field, _)) => format!("`{field}` is missing"),
                None => format!("a field is unknown or no such value, at line {line}, column {column}"),
            };
            return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why, next);
        }
        Problem::new(StatusCode::BAD_REQUEST, format!("not JSON, at line {line}, column {column}"), next)
    })
}

fn identifier(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_error: uuid::Error| no_such_report())
}

fn no_such_report() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such report", "list the latest with GET /v1/reports")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn notice() -> Value {
        json!({
            "stream": "main/live/cam", "category": "violence", "explanation": "somebody is beaten",
            "good_faith": true, "notifier": { "name": "Ann", "email": "ann@example.org" },
        })
    }

    fn read_notice(notice: &Value) -> Result<Notice, Problem> {
        read(Ok(Bytes::from(notice.to_string())), "next")
    }

    #[test]
    fn a_notice_has_every_element_that_the_law_asks_for() {
        assert_eq!(read_notice(&notice()).unwrap().lack(), None);
        for (key, value, lack) in [
            ("stream", json!("main/cam"), "server/app/name"),
            ("stream", json!("main//cam"), "server/app/name"),
            ("session", json!("7".repeat(201)), "`session` is longer"),
            ("explanation", json!(" \n"), "why the content"),
            ("explanation", json!("a".repeat(4001)), "longer than 4000"),
            ("good_faith", json!(false), "must be true"),
            ("notifier", json!(null), "needs a `name`"),
            ("notifier", json!({ "name": "", "email": "ann@example.org" }), "notifier.name"),
            ("notifier", json!({ "name": "Ann", "email": "ann" }), "no mail address"),
            ("notifier", json!({ "name": "Ann", "email": "a b@example.org" }), "no mail address"),
            ("notifier", json!({ "name": "Ann", "email": "a@example.org", "account": "" }), "notifier.account"),
        ] {
            let mut notice = notice();
            notice[key] = value;
            let found = read_notice(&notice).unwrap().lack().unwrap_or_default();
            assert!(found.contains(lack), "{key}: {found}");
        }
    }

    #[test]
    fn only_reports_of_the_listed_offences_may_do_without_a_name() {
        for category in Category::ALL {
            let mut notice = notice();
            notice["category"] = json!(category);
            notice["notifier"] = json!(null);
            let may = read_notice(&notice).unwrap().lack().is_none();
            assert_eq!(may, category == Category::ChildSexualAbuse, "{category:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_what_was_sent() {
        let without = |key: &str| {
            let mut notice = notice();
            notice.as_object_mut().unwrap().remove(key);
            notice.to_string()
        };
        let with = |key: &str, value: Value| {
            let mut notice = notice();
            notice[key] = value;
            notice.to_string()
        };
        for (body, status, says) in [
            ("{<b>".to_owned(), 400, "not JSON, at line 1, column 2"),
            (without("good_faith"), 422, "`good_faith` is missing"),
            (without("category"), 422, "`category` is missing"),
            (with("<b>", json!(1)), 422, "a field is unknown"),
            (with("category", json!("<b>")), 422, "no such value"),
        ] {
            let problem = read::<Notice>(Ok(Bytes::from(body.clone())), "next").unwrap_err();
            assert_eq!(problem.status.as_u16(), status, "{body}");
            assert!(problem.error.contains(says) && !problem.error.contains("<b>"), "{}", problem.error);
        }
    }

    #[test]
    fn nobody_is_named_where_a_notice_is_shown() {
        let shown = format!("{:?}", read_notice(&notice()).unwrap());
        assert!(!shown.contains("Ann") && !shown.contains("ann@"), "{shown}");
    }
}
