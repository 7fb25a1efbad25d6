//! Tells others about what happens: a CloudEvents 1.0 event in structured JSON, signed as Standard Webhooks describe, over
//! `id.timestamp.body`, so that the reader can check who sent it and that nobody changed it.
//!
//! The body is made once, with what it tells of, and is the same bytes on every attempt; identifier and timestamp are the
//! message's and the attempt's. Redirects are not followed. Nothing is sent to an address that is not public unless the
//! configuration allows it. A receiver that answers 410 is sent nothing more until somebody says so.

mod address;
pub mod event;
mod key;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use url::Url;
use uuid::Uuid;

use self::address::PublicOnly;
use self::key::Keys;
use super::{ActError, http, servers};
use crate::clock::Timestamp;
use crate::decision::Verdict;

pub use key::{Algorithm, generate};

/// The longest that a receiver may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// One `[[webhook]]`. Exactly one of `secret`, `secret_env` and `secret_file` says where the keys are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it is called here: letters, digits, `-` and `_`.
    #[serde(deserialize_with = "servers::deserialize_name")]
    pub name: Arc<str>,
    /// Where events go, by POST.
    #[serde(deserialize_with = "http::deserialize_url")]
    pub url: Url,
    /// The keys themselves: `whsec_` and base64, or `whsk_` and base64; several with white space between them.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// The environment variable that holds them.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// The file that holds them.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// What it is told of.
    #[serde(default = "default_events")]
    pub events: Vec<Topic>,
    /// Deliver to addresses too that are not of the public Internet.
    #[serde(default)]
    pub allow_private: bool,
}

impl Config {
    /// What is wrong with values that are each well-formed: the key, and a message.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        if self.allow_private || !address::names_private(&self.url) {
            return Vec::new();
        }
        let message = format!(
            "[[webhook]] `{}`: events are not delivered to addresses that are not public; set `allow_private = true` if it is meant",
            self.name
        );
        vec![("url", message)]
    }
}

/// What a webhook can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// [`Verdict::Watch`].
    Watch,
    /// [`Verdict::Hold`].
    Hold,
    /// [`Verdict::Cut`].
    Cut,
    /// [`Verdict::Ban`].
    Ban,
    /// A stream is held: see [`event::held`].
    #[serde(rename = "stream.held")]
    StreamHeld,
    /// It no longer is: see [`event::released`].
    #[serde(rename = "stream.released")]
    StreamReleased,
    /// What outlives a cut is to be purged: see [`event::quarantine`].
    #[serde(rename = "stream.quarantine")]
    StreamQuarantine,
    /// A publisher could not be cut off: see [`event::cut_failed`].
    #[serde(rename = "cut.failed")]
    CutFailed,
    /// Too much was cut by itself: see [`event::breaker_opened`].
    #[serde(rename = "breaker.opened")]
    BreakerOpened,
    /// A signal was set aside: see [`event::signal_quarantined`].
    #[serde(rename = "signal.quarantined")]
    SignalQuarantined,
    /// Somebody reported a stream: see [`event::report_received`].
    #[serde(rename = "report.received")]
    ReportReceived,
}

impl Topic {
    /// The word used in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Hold => "hold",
            Self::Cut => "cut",
            Self::Ban => "ban",
            Self::StreamHeld => "stream.held",
            Self::StreamReleased => "stream.released",
            Self::StreamQuarantine => "stream.quarantine",
            Self::CutFailed => "cut.failed",
            Self::BreakerOpened => "breaker.opened",
            Self::SignalQuarantined => "signal.quarantined",
            Self::ReportReceived => "report.received",
        }
    }

    /// What a decision with this verdict is about; nobody is told of `clear`.
    pub const fn of(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Clear => None,
            Verdict::Watch => Some(Self::Watch),
            Verdict::Hold => Some(Self::Hold),
            Verdict::Cut => Some(Self::Cut),
            Verdict::Ban => Some(Self::Ban),
        }
    }
}

fn default_events() -> Vec<Topic> {
    vec![
        Topic::Hold,
        Topic::Cut,
        Topic::Ban,
        Topic::StreamHeld,
        Topic::StreamReleased,
        Topic::StreamQuarantine,
        Topic::CutFailed,
        Topic::BreakerOpened,
        Topic::SignalQuarantined,
    ]
}

/// A secret as it is written in the configuration. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// What is to be signed with, or checked against.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A receiver of events, ready to be sent to.
#[derive(Clone)]
pub struct Webhook {
    name: Arc<str>,
    url: Url,
    keys: Arc<Keys>,
    events: Vec<Topic>,
    client: Client,
    /// Whether its receiver wants no more. Shared by all clones.
    gone: watch::Sender<bool>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("at", &http::origin(&self.url))
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Reads the keys and checks them.
    pub fn new(config: &Config, common: &super::Config) -> Result<Self, ActError> {
        let bad = |reason: String| ActError::BadSecret { webhook: config.name.clone(), reason };
        let text = match (&config.secret, &config.secret_env, &config.secret_file) {
            (Some(secret), None, None) => secret.0.clone(),
            (None, Some(variable), None) => {
                std::env::var(variable).map_err(|error| bad(format!("{variable}: {error}")))?
            }
            (None, None, Some(path)) => {
                std::fs::read_to_string(path).map_err(|error| bad(format!("{}: {error}", path.display())))?
            }
            (None, None, None) => return Err(bad("none is set".to_owned())),
            _ => return Err(bad("more than one is set".to_owned())),
        };
        let mut client =
            http::builder(common.connect_timeout.max(common.delivery_timeout / 2), common.delivery_timeout);
        if !config.allow_private {
            if address::names_private(&config.url) {
                return Err(ActError::PrivateAddress { webhook: config.name.clone() });
            }
            client = client.dns_resolver(PublicOnly);
        }
        Ok(Self {
            name: config.name.clone(),
            url: config.url.clone(),
            keys: Arc::new(Keys::parse(&text).map_err(|reason| bad(reason.to_owned()))?),
            events: config.events.clone(),
            client: http::built(client)?,
            gone: watch::Sender::new(false),
        })
    }

    /// The `name` of its `[[webhook]]`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it wants to be told of this.
    pub fn wants(&self, topic: Topic) -> bool {
        self.events.contains(&topic)
    }

    /// What it wants to be told of.
    pub fn events(&self) -> &[Topic] {
        &self.events
    }

    /// Where events go: scheme, host and port. The rest may hold a secret.
    pub fn at(&self) -> String {
        http::origin(&self.url)
    }

    /// The public keys that its receiver can check signatures with; none where it shares a secret.
    pub fn public_keys(&self) -> Vec<String> {
        self.keys.public()
    }

    /// SHA-256 of its whole address, hexadecimal: tells one receiver from another and gives neither away.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.url.as_str().as_bytes()))
    }

    /// Whether its receiver answered 410, and events are no longer sent to it.
    pub fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// As an earlier run learnt it.
    pub fn set_gone(&self, gone: bool) {
        self.gone.send_if_modified(|known| std::mem::replace(known, gone) != gone);
    }

    /// Tells when [`Self::is_gone`] changes.
    pub fn watch_gone(&self) -> watch::Receiver<bool> {
        self.gone.subscribe()
    }

    /// Sends `body` once. `id` is the message's, the same on every attempt; `now` is this attempt's time. A receiver that
    /// is gone is sent nothing.
    pub async fn deliver(&self, id: Uuid, body: &str, now: Timestamp) -> Result<String, ActError> {
        if self.is_gone() {
            return Err(ActError::Gone { webhook: self.name.clone() });
        }
        let sent = self.post(id, body, now).await;
        if matches!(sent, Err(ActError::Gone { .. })) {
            self.set_gone(true);
        }
        sent
    }

    /// Sends a `webhook.test` event that `source` tells, even to a receiver that is gone. One that takes it is no longer gone.
    pub async fn test(&self, source: &str, now: Timestamp) -> Result<String, ActError> {
        let id = Uuid::now_v7();
        let taken = self.post(id, &event::test(id, &self.name, now, source), now).await?;
        self.set_gone(false);
        Ok(taken)
    }

    async fn post(&self, id: Uuid, body: &str, now: Timestamp) -> Result<String, ActError> {
        let (id, seconds) = (id.to_string(), now.as_micros() / 1_000_000);
        let sent = self
            .client
            .post(self.url.clone())
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.keys.sign(&id, seconds, body))
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .body(body.to_owned())
            .send()
            .await;
        let webhook = || self.name.clone();
        let not_delivered = |reason, retry_after| ActError::NotDelivered { webhook: webhook(), reason, retry_after };
        let response = sent.map_err(|error| {
            if address::refused(&error) {
                ActError::PrivateAddress { webhook: webhook() }
            } else if error.is_timeout() {
                not_delivered("no answer in time".to_owned(), None)
            } else {
                not_delivered(http::root(&error), None)
            }
        })?;
        match response.status() {
            status if status.is_success() => Ok(format!("HTTP {}", status.as_u16())),
            StatusCode::GONE => Err(ActError::Gone { webhook: webhook() }),
            status => Err(not_delivered(format!("HTTP {}", status.as_u16()), retry_after(response.headers(), now))),
        }
    }
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Timestamp::from_micros(u64::try_from(date.as_microsecond()).ok()?).since(now)
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests;
