//! What becomes of a verdict in the world: the publisher is refused, cut off and observed gone; others are told.
//!
//! [`Gate`] answers from memory who may publish. [`servers`] speaks to media servers, one adapter a file. [`webhook`]
//! delivers signed events. [`aftermath`] moves what outlives a session. [`outbox`] carries out, retries and accounts for
//! the actions that the ledger holds. Nothing here decides anything: it does what a recorded decision asks for.

pub mod aftermath;
mod error;
mod gate;
mod http;
pub mod outbox;
pub mod servers;
pub mod webhook;

use std::time::Duration;

use serde::Deserialize;

pub use error::{ActError, Bytes};
pub use gate::Gate;

/// The section `[act]`: what all media servers and webhooks have in common.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which Sluicegate this is, as the `source` of webhooks' events.
    pub source: String,
    /// How many kicks each media server may be asked for at the same time.
    pub kicks_at_once: usize,
    /// How many webhook deliveries may run at the same time. Each webhook has an equal share, one at least.
    pub deliveries_at_once: usize,
    /// After a kick: how long between two looks whether the session is gone.
    #[serde(with = "crate::config::duration")]
    pub verify_every: Duration,
    /// After a kick: how long to look before the kick counts as failed and is tried again.
    #[serde(with = "crate::config::duration")]
    pub verify_for: Duration,
    /// How long a connection to a media server may take to come about.
    #[serde(with = "crate::config::duration")]
    pub connect_timeout: Duration,
    /// How long a request to a media server may take in all.
    #[serde(with = "crate::config::duration")]
    pub request_timeout: Duration,
    /// How long a delivery to a webhook may take in all.
    #[serde(with = "crate::config::duration")]
    pub delivery_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: "/sluicegate".to_owned(),
            kicks_at_once: 64,
            deliveries_at_once: 16,
            verify_every: Duration::from_millis(50),
            verify_for: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(3),
            delivery_timeout: Duration::from_secs(10),
        }
    }
}
