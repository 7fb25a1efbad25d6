//! Everything left of a finding: what strangers send goes in, findings come out.
//!
//! A [`Line`] pulls streams, chooses access units, decodes them, and shows the pictures to banks and models, all in the
//! process that it is started in. It needs no token, no policy and no disk to write on, only a [`Setup`]; what it sees
//! it says as [`Event`]s. It promises that
//!
//! - a finding is never dropped: who cannot report it waits;
//! - of a stream's progress only what is newest counts, and it is said within a tenth of a second;
//! - nothing that a stream sends stops the inspection of another, short of the death of the process.

mod banks;
mod building;
mod error;
mod line;
mod pulled;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::error::InspectorError;
pub use self::line::Line;
use crate::clock::Timestamp;
use crate::finding::Finding;
use crate::media_server::Pull;
use crate::stream::{Attention, Session, UninspectableReason};
use crate::{decode, model, sample, source};

/// All that inspecting needs to know: nothing of it is a secret but what a stream's address holds, and that comes later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// How streams are pulled.
    pub source: source::Config,
    /// Which pictures are looked at.
    pub sample: sample::Config,
    /// How they are decoded.
    pub decode: decode::Config,
    /// Which models they are given to.
    pub model: model::Config,
    /// The folder of banks that they are compared with.
    pub banks: PathBuf,
    /// How many threads decode, hash and match; at least one.
    pub workers: usize,
}

/// What is said to whoever had streams inspected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A detector saw something.
    Found(Finding),
    /// How streams are doing that have something new since they were told of last.
    Progress(Vec<Progress>),
    /// A session cannot be inspected here; nothing is kept of it.
    Refused {
        /// Which.
        session: Session,
        /// As many streams are inspected as may be; another may have to go first.
        full: bool,
    },
}

/// How one stream got on since it was last told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which.
    pub session: Session,
    /// Access units received since then.
    pub received: u64,
    /// Pictures inspected since then.
    pub inspected: u64,
    /// When the last picture of all was inspected.
    pub last_inspected: Option<Timestamp>,
    /// What hinders inspection now.
    pub hindrance: Option<UninspectableReason>,
}

/// Whom events are told. It may wait, and must then end waiting only when the event is taken.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// Where streams can be inspected: in this process, or in others.
pub trait Inspection: Send + Sync {
    /// Begins to inspect a session. Does not wait for anything of it to arrive.
    fn attach(&self, session: &Session, pull: Pull);

    /// Ends that.
    fn detach(&self, session: &Session);

    /// Looks at a session more closely, from now until some time.
    fn raise(&self, session: &Session, level: Attention, now: Timestamp, until: Timestamp);

    /// Lets what is under way come to its end, and takes no more. The events of it are told before this returns.
    fn stop(&self);
}
