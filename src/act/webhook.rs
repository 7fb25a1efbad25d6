//! Tells others about decisions: a CloudEvents 1.0 event in structured JSON, signed as Standard Webhooks describe
//! (`HMAC-SHA256` over `id.timestamp.body`), so that the reader can check who sent it and that nobody changed it.
//!
//! The body is made once, with the decision, and is the same bytes on every attempt; identifier and timestamp are the
//! message's and the attempt's. Redirects are not followed.

pub mod event;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use url::Url;
use uuid::Uuid;

use super::{ActError, http, servers};
use crate::clock::Timestamp;
use crate::decision::Verdict;

/// The longest that a receiver may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// One `[[webhook]]`. Exactly one of `secret`, `secret_env` and `secret_file` says where the secret is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What it is called here: letters, digits, `-` and `_`.
    #[serde(deserialize_with = "servers::deserialize_name")]
    pub name: Arc<str>,
    /// Where events go, by POST.
    #[serde(deserialize_with = "http::deserialize_url")]
    pub url: Url,
    /// The secret itself: `whsec_` and base64.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// The environment variable that holds it.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// The file that holds it.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// What it is told of.
    #[serde(default = "default_events")]
    pub events: Vec<Topic>,
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
    key: Vec<u8>,
    events: Vec<Topic>,
    client: Client,
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
    /// Reads the secret and checks it.
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
        Ok(Self {
            name: config.name.clone(),
            url: config.url.clone(),
            key: key(&text).map_err(|reason| bad(reason.to_owned()))?,
            events: config.events.clone(),
            client: http::client(common.connect_timeout.max(common.delivery_timeout / 2), common.delivery_timeout)?,
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

    /// Sends `body` once. `id` is the message's, the same on every attempt; `now` is this attempt's time.
    pub async fn deliver(&self, id: Uuid, body: &str, now: Timestamp) -> Result<String, ActError> {
        let (id, seconds) = (id.to_string(), now.as_micros() / 1_000_000);
        let sent = self
            .client
            .post(self.url.clone())
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", sign(&self.key, &id, seconds, body))
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .body(body.to_owned())
            .send()
            .await;
        let not_delivered =
            |reason, retry_after| ActError::NotDelivered { webhook: self.name.clone(), reason, retry_after };
        let response = sent.map_err(|error| {
            let reason = if error.is_timeout() { "no answer in time".to_owned() } else { http::root(&error) };
            not_delivered(reason, None)
        })?;
        match response.status() {
            status if status.is_success() => Ok(format!("HTTP {}", status.as_u16())),
            StatusCode::GONE => Err(ActError::Gone { webhook: self.name.clone() }),
            status => Err(not_delivered(format!("HTTP {}", status.as_u16()), retry_after(response.headers(), now))),
        }
    }
}

/// The bytes of a secret.
fn key(text: &str) -> Result<Vec<u8>, &'static str> {
    let encoded = text.trim().strip_prefix("whsec_").ok_or("it does not begin with whsec_")?;
    let key = BASE64.decode(encoded).ok().ok_or("what follows whsec_ is not base64")?;
    if (24..=64).contains(&key.len()) { Ok(key) } else { Err("it is not 24 to 64 bytes long") }
}

fn sign(key: &[u8], id: &str, seconds: u64, body: &str) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    for part in [id, ".", &seconds.to_string(), ".", body] {
        mac.update(part.as_bytes());
    }
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
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
