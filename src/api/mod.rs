//! The HTTP interface: publish hooks for media servers, health and metrics for operators, and the control API.
//!
//! This page is its reference. Bodies are JSON but for `/metrics`; times are microseconds since the Unix epoch; an error is
//! `{"error": what happened, "next": what to do}`.
//!
//! | method and path | answers |
//! |---|---|
//! | `POST /hooks/{server}` | what that kind of server takes for yes or no (docs/servers.md); 404 no such `[[server]]`, 400 not a hook of that server |
//! | `POST /hooks/{server}/{token}` | the same, where the server has a `hook_token`; 403 with another, or without |
//! | `GET /healthz` | 200 while the process serves |
//! | `GET /readyz` | 200 while every stage is up, 503 while starting or stopping |
//! | `GET /metrics` | the Prometheus text format |
//! | `GET /v1/streams` | every stream attached: [`StreamView`] |
//! | `GET /v1/decisions?limit=100` | the latest decisions, newest first, at most 1000 |
//! | `GET /v1/decisions/{id}` | one decision and what became of its actions: [`DecisionView`] |
//! | `POST /v1/decisions` | 201 and what was decided, for `{"stream": {"server", "app", "name"}, "verdict": "hold", "cut" or "ban", "by", "reason"}`; `for_seconds` and `deny` (`name`, `key`, `account`, `address`) where they matter |
//! | `POST /v1/decisions/{id}/release` | 204 when its denies are lifted and its hold is over, for `{"by", "reason"}`; 404 when nothing of it stands |
//! | `GET /v1/decisions/{id}/timeline` | what it can be replayed from: [`TimelineView`] |
//! | `GET /v1/denies` | the denies in force |
//! | `GET /v1/breaker` | whether too much was cut by itself: [`BreakerView`] |
//! | `POST /v1/breaker/close` | how the breaker was before it was closed, for `{"by", "reason"}` |
//! | `GET /v1/events` | server-sent events as they happen: [`Event`]; `missed` says how many a slow client lost |
//!
//! It promises: no stage is imported, everything is asked of the [`Backend`]; a request body is at most 64 KiB; a page in
//! somebody's browser can neither read from nor write to it (see `guard`); shutting down does not wait for open event
//! streams. Names of streams are whole here and may be keys: keep the interface on loopback, or set `api.token_file`.

mod backend;
mod config;
mod event;
mod guard;
mod orders;
mod problem;
mod routes;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use backend::{
    ActionView, Attempt, Backend, BackendError, BreakerView, DecisionView, HookError, Order, OrderError, StreamView,
    TimelineView,
};
pub use config::Config;
pub use event::{Event, Happening, Progress};

/// How long a shutdown waits for requests under way.
const GRACE: Duration = Duration::from_secs(2);

/// The HTTP interface could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: stop what already listens there, or change `api.listen`")]
    Listen {
        /// `api.listen`.
        listen: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The token file cannot be used.
    #[error(
        "cannot use the token file {path}: {why}; write a secret of 16 or more characters into it, or unset `api.token_file`"
    )]
    Token {
        /// `api.token_file`.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Accepting connections failed.
    #[error("the HTTP interface stopped: it cannot accept connections; look for a limit on open files")]
    Accept(#[source] std::io::Error),
}

impl ApiError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "listen",
            Self::Token { .. } => "token",
            Self::Accept(_) => "accept",
        }
    }

    /// Whether the same attempt may work later, with nothing changed.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Listen { .. } | Self::Accept(_))
    }
}

/// Takes the address that the interface listens on; port 0 takes a free one.
pub async fn bind(config: &Config) -> Result<TcpListener, ApiError> {
    let listen = config.listen;
    TcpListener::bind(listen).await.map_err(|source| ApiError::Listen { listen, source })
}

/// Serves until `shutdown` completes, then lets requests under way finish, for two seconds at most. Event streams end at
/// once.
pub async fn serve(
    listener: TcpListener,
    config: &Config,
    backend: Arc<dyn Backend>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ApiError> {
    let guard = guard::Guard::new(config)?;
    let (stop, mut stopped) = watch::channel(false);
    let router = routes::router(backend, guard, stopped.clone());
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        stop.send_replace(true);
    });
    let overdue = async {
        // An error means that the sender is gone: the server has ended on its own, and the other branch knows more.
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server => ended.map_err(ApiError::Accept),
        () = overdue => {
            tracing::info!("closed connections that were still open {GRACE:?} after the shutdown began");
            Ok(())
        }
    }
}
