//! An error as clients see it: a status and `{"error": what happened, "next": what to do}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::backend::{BackendError, HookError};

/// A refusal. Neither sentence repeats what the client sent, so nothing can be smuggled into a log or a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) error: String,
    pub(super) next: &'static str,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<String>, next: &'static str) -> Self {
        Self { status, error: error.into(), next }
    }

    pub(super) fn no_such_path() -> Self {
        let next =
            "ask for /healthz, /readyz, /metrics, /v1/streams, /v1/decisions, /v1/denies, /v1/breaker or /v1/events";
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this path", next)
    }

    pub(super) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method", "see the `Allow` header")
    }

    pub(super) fn no_such_decision() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such decision", "list the latest with GET /v1/decisions")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.error, "next": self.next }));
        match self.status {
            StatusCode::UNAUTHORIZED => (self.status, [("www-authenticate", "Bearer")], body).into_response(),
            status => (status, body).into_response(),
        }
    }
}

impl From<HookError> for Problem {
    fn from(error: HookError) -> Self {
        let (status, next) = match &error {
            HookError::NotConfigured => (StatusCode::NOT_FOUND, "correct the URL in the media server's configuration"),
            HookError::Stranger => {
                (StatusCode::FORBIDDEN, "write /hooks/NAME/TOKEN into the media server's configuration")
            }
            HookError::Bad(_) => (StatusCode::BAD_REQUEST, "check the `kind` of the [[server]] and its hook's URL"),
        };
        Self::new(status, error.to_string(), next)
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), "try again; see the log if it stays so")
    }
}
