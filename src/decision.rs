//! Verdicts and what becomes of them: the types that judge, ledger, act and api share, and the contract of the outbox.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::finding::Finding;
use crate::stream::{Publisher, Session, StreamId};

/// The ladder, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to see.
    Clear,
    /// Look closely; nobody is told but the operator.
    Watch,
    /// Hide it, reversibly, and have a person look.
    Hold,
    /// End the session and refuse the stream's name for a while.
    Cut,
    /// Cut, and refuse until somebody lifts it.
    Ban,
}

impl Verdict {
    /// The word used in configuration, metrics and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Watch => "watch",
            Self::Hold => "hold",
            Self::Cut => "cut",
            Self::Ban => "ban",
        }
    }

    /// Whether the verdict ends the session.
    pub const fn closes(self) -> bool {
        matches!(self, Self::Cut | Self::Ban)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A verdict on a session, with everything that explains it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Identifies the decision in the ledger, in webhooks and to an appeal body. Version 7: sorts by time.
    pub id: Uuid,
    /// Whom it is about.
    pub session: Session,
    /// What was decided.
    pub verdict: Verdict,
    /// The rule that decided.
    pub rule: Arc<str>,
    /// The bank without whose cap the rule would have been severer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capped_by: Option<Arc<str>>,
    /// SHA-256 of the policy in force, hexadecimal.
    pub policy: Arc<str>,
    /// When.
    pub decided: Timestamp,
    /// When it ends by itself: a hold is released, a deny no longer stands. `None`: when somebody releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Who decided.
    #[serde(default)]
    pub actor: Actor,
    /// Whether anything follows from it.
    #[serde(default)]
    pub mode: Mode,
    /// What the rule asked for, where the verdict is milder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowered: Option<Lowered>,
    /// What the session had reached before.
    #[serde(default = "clear")]
    pub before: Verdict,
    /// What was known beside the findings.
    #[serde(default)]
    pub context: Context,
    /// The findings that the rule rests on, oldest first.
    pub evidence: Vec<Finding>,
}

impl Decision {
    /// What the policy decided on `session` at `decided`, to be carried out, for as long as nobody releases it. It rests
    /// on nothing yet.
    pub fn new(session: Session, verdict: Verdict, rule: &str, decided: Timestamp) -> Self {
        Self {
            id: Uuid::now_v7(),
            session,
            verdict,
            rule: rule.into(),
            capped_by: None,
            policy: "".into(),
            decided,
            until: None,
            actor: Actor::Policy,
            mode: Mode::Enforced,
            lowered: None,
            before: Verdict::Clear,
            context: Context::default(),
            evidence: Vec::new(),
        }
    }
}

/// What a session had reached of which nothing is said.
const fn clear() -> Verdict {
    Verdict::Clear
}

/// Who decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Actor {
    /// The policy, by a rule of it.
    #[default]
    Policy,
    /// A person, through the command line or the API.
    Operator {
        /// What they call themselves.
        name: Arc<str>,
        /// Why they decided so, in their words.
        reason: Arc<str>,
    },
}

/// Whether anything follows from a decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is carried out.
    #[default]
    Enforced,
    /// It is recorded, and nobody is told but the operator: a rule, a bank or a model on trial.
    Shadow,
}

/// A verdict that is milder than the rule asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lowered {
    /// What the rule asked for.
    pub from: Verdict,
    /// Why it is milder.
    #[serde(flatten)]
    pub because: LoweredBecause,
}

/// Why a verdict is milder than its rule asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "because")]
pub enum LoweredBecause {
    /// Streams of this class are for people to judge first.
    ReviewFirst {
        /// The class.
        class: Arc<str>,
    },
    /// Too much was cut by itself: the breaker is open.
    Breaker,
}

/// What was known of a stream and its publisher beside the findings, when they were weighed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// The class of the stream: `news`, `education`, `art`, `research` or the platform's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Arc<str>>,
    /// Verdicts on earlier sessions of the same publisher that stand, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
    /// The breaker was open: too much was cut by itself, and nothing more may be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub breaker_open: bool,
}

/// A verdict on an earlier session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Which decision.
    pub decision: Uuid,
    /// What was decided.
    pub verdict: Verdict,
    /// When.
    pub decided: Timestamp,
}

/// When a decision came to its end, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// How.
    #[serde(flatten)]
    pub because: Ending,
}

/// How a decision came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "because")]
pub enum Ending {
    /// It ran out.
    Expired,
    /// Somebody released it.
    Released {
        /// Who.
        by: Actor,
    },
    /// A severer one on the same session took its place.
    Superseded {
        /// Which.
        decision: Uuid,
    },
}

/// A signal of a bank was set aside by itself, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The bank.
    pub bank: Arc<str>,
    /// The signal's identifier within it.
    pub signal: u64,
    /// Where the signal comes from.
    pub provenance: Arc<str>,
    /// In which streams it fired alone, sorted.
    pub streams: Vec<StreamId>,
    /// Within which time.
    pub within: Duration,
}

/// A standing refusal to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deny {
    /// The stream that the decision is about.
    pub stream: StreamId,
    /// Who is refused: whoever publishes that stream, or one publisher wherever they publish.
    #[serde(default)]
    pub target: Target,
    /// The decision that it follows from.
    pub decision: Uuid,
    /// When it was written.
    pub since: Timestamp,
    /// When it ends by itself; `None`: when somebody lifts it.
    pub until: Option<Timestamp>,
}

/// One thing by which a publisher can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenyBy {
    /// The name of the stream.
    Name,
    /// The secret that they publish with, where it is not the stream's name.
    Key,
    /// The platform's account that they publish for.
    Account,
    /// The address that they publish from.
    Address,
}

/// Who is refused. All but [`Target::Name`] hold on every server.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by", content = "value")]
pub enum Target {
    /// Whoever publishes the stream.
    #[default]
    Name,
    /// Whoever publishes with this key: its SHA-256, hexadecimal, so that no second copy of a secret is kept.
    Key(Arc<str>),
    /// Whoever publishes for this account of the platform.
    Account(Arc<str>),
    /// Whoever publishes from this address.
    Address(Arc<str>),
}

impl Target {
    /// Whoever publishes with `key`.
    pub fn key(key: &str) -> Self {
        Self::Key(hex::encode(Sha256::digest(key.as_bytes())).into())
    }

    /// Whoever publishes from `address`. One that is written in several ways is one address: `::ffff:192.0.2.1` is
    /// `192.0.2.1`.
    pub fn address(address: &str) -> Self {
        let one = address.trim_start_matches('[').trim_end_matches(']').parse().map(|ip: IpAddr| ip.to_canonical());
        Self::Address(one.map_or_else(|_| address.into(), |ip| ip.to_string().into()))
    }

    /// What of `publisher` is refused by `by`; `None` where it is not known.
    pub fn named(by: DenyBy, publisher: &Publisher) -> Option<Self> {
        match by {
            DenyBy::Name => Some(Self::Name),
            DenyBy::Key => publisher.key.as_deref().map(Self::key),
            DenyBy::Account => publisher.account.clone().map(Self::Account),
            DenyBy::Address => publisher.address.as_deref().map(Self::address),
        }
    }

    /// The word used in configuration, in the ledger and for people: `name`, `key`, `account` or `address`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Key(_) => "key",
            Self::Account(_) => "account",
            Self::Address(_) => "address",
        }
    }

    /// What is refused, where that is not the stream's name.
    pub const fn value(&self) -> Option<&Arc<str>> {
        match self {
            Self::Name => None,
            Self::Key(value) | Self::Account(value) | Self::Address(value) => Some(value),
        }
    }
}

/// Without the value: a digest of a key and an address are nobody's business in a log.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Something to be done in the world because of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Action {
    /// End the session on its media server, and verify that it is gone.
    Kick {
        /// Whom.
        session: Session,
    },
    /// Deliver an event to a webhook.
    Notify {
        /// The `name` of the `[[webhook]]`.
        webhook: Arc<str>,
        /// The body, the same bytes on every attempt.
        body: String,
    },
    /// Move what outlives a session on this machine out of reach: playlists, segments, recordings, thumbnails.
    Quarantine {
        /// Whose.
        session: Session,
        /// When the session began, as far as is known: what is older is not its.
        since: Timestamp,
    },
}

impl Action {
    /// A bounded word for metrics: `kick`, `notify` or `quarantine`.
    pub const fn word(&self) -> &'static str {
        self.lane().word()
    }

    /// The queue that it waits in.
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Kick { .. } => Lane::Kick,
            Self::Notify { .. } => Lane::Notify,
            Self::Quarantine { .. } => Lane::Quarantine,
        }
    }
}

/// The queues of the outbox. Each is claimed on its own, so that a kick never waits behind a slow webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// [`Action::Kick`].
    Kick,
    /// [`Action::Notify`].
    Notify,
    /// [`Action::Quarantine`].
    Quarantine,
}

impl Lane {
    /// The word of the actions in this lane, as [`Action::word`] gives it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kick => "kick",
            Self::Notify => "notify",
            Self::Quarantine => "quarantine",
        }
    }
}

/// An action waiting in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The action's identifier: stable over retries and restarts.
    pub id: Uuid,
    /// The decision that asked for it; `None`: no decision did, such as for word of a signal that was set aside.
    pub decision: Option<Uuid>,
    /// What to do.
    pub action: Action,
    /// How many attempts were begun before this one.
    pub attempts: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Done, and where it can be observed, observed.
    Done {
        /// What was observed, in a sentence.
        detail: String,
    },
    /// It did not work; another attempt follows.
    Retry {
        /// What went wrong.
        detail: String,
        /// When the next attempt is due.
        due: Timestamp,
    },
    /// It did not work and will not be tried again: somebody must look.
    GaveUp {
        /// What went wrong.
        detail: String,
    },
}

impl Outcome {
    /// A bounded word for metrics: `done`, `retry` or `gave_up`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Retry { .. } => "retry",
            Self::GaveUp { .. } => "gave_up",
        }
    }
}

/// Where `act` finds what is to be done, and says what became of it. Implemented by the ledger.
///
/// Calls touch the disk and block: call them where blocking is allowed.
pub trait Outbox: Send + Sync {
    /// Up to `limit` jobs of `lane` due at `now`, oldest first. A job is claimed until [`Self::finish`] is called or
    /// the process ends; a claimed job is not given out again.
    fn claim(&self, lane: Lane, now: Timestamp, limit: usize) -> Result<Vec<Job>, OutboxError>;

    /// Records how an attempt at `job` ended, with the time at which it began and the time at which it ended, and what is
    /// to be done because of that, all or nothing. What follows is due when the attempt ended and belongs to the same
    /// decision. Of a job that is done or given up already nothing is recorded: the first outcome stands.
    fn finish(
        &self,
        job: Uuid,
        began: Timestamp,
        ended: Timestamp,
        outcome: &Outcome,
        then: &[(Uuid, Action)],
    ) -> Result<(), OutboxError>;

    /// Whether a claimed job is still to be done: what it follows from may have been taken back since.
    fn stands(&self, job: Uuid) -> Result<bool, OutboxError> {
        let _ = job;
        Ok(true)
    }

    /// How long from `now` until the next unclaimed job of `lane` is due; `None` when there is none.
    fn next_due(&self, lane: Lane, now: Timestamp) -> Result<Option<Duration>, OutboxError>;
}

/// The outbox could not be read or written. The message names the file and the next step.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OutboxError(pub String);
