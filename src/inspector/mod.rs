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
pub mod process;
mod pulled;
pub mod sandbox;
pub mod wire;
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
    /// Folders that streams are pulled from, where any are.
    pub folders: Vec<PathBuf>,
    /// How many threads decode, hash and match; at least one.
    pub workers: usize,
}

impl Setup {
    /// Whether this machine has what pulling and decoding take. Looks for it as an inspector process could not: it has
    /// GStreamer list its plugins, for all processes to come.
    ///
    /// # Errors
    /// When an element is missing, or a launch description is wrong.
    pub fn check(&self) -> Result<(), InspectorError> {
        let missing = source::check(&self.source)?;
        if let Some((element, package)) = missing.into_iter().chain(decode::check()?).next() {
            let reason = format!("GStreamer has no element `{element}`: install the package {package}");
            return Err(InspectorError::Process { reason });
        }
        Ok(())
    }
}

/// What is said to whoever had streams inspected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A detector saw something.
    Found(Finding),
    /// How streams are doing that have something new since they were told of last. Said ten times a second, also when there
    /// is none: to be heard is to be alive.
    Progress(Vec<Progress>),
    /// A worker begins to decode of a session, or, where there is none, has done so. Said before and after, so that
    /// whoever finds the process dead knows what it was at.
    InHand {
        /// Which worker, from 0.
        worker: usize,
        /// What it decodes of.
        session: Option<Session>,
    },
    /// A session is not inspected; nothing is kept of it here.
    Refused {
        /// Which.
        session: Session,
        /// Why.
        why: Refusal,
    },
}

/// The section `[inspector]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many processes inspect streams; 0: the core does. Left out: one a core, from 2 to 4.
    pub processes: Option<usize>,
    /// How much memory of its own each may take, in bytes; one that takes more is started again.
    pub memory: u64,
    /// How many files and connections each may have open.
    pub max_open_files: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { processes: None, memory: 4 << 30, max_open_files: 65_536 }
    }
}

/// Why a session is not inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// As many streams are inspected as may be.
    Full,
    /// It cannot be pulled in the way that was said.
    Unpullable,
    /// It brought inspector processes down.
    Crashed,
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
