//! After the cut: playlists, segments, recordings and thumbnails outlive a session, and more people may see those than saw
//! the stream.
//!
//! Every cut is followed by an event that says what to purge ([`follows`]). Where the media server's files are on this
//! machine and `[server.after_cut]` says where, a [`Keeper`] moves those of the session out of reach until none comes any
//! more. Files are moved, never deleted, and [`Shelf::restore`] brings them back. What may be another live stream's, and
//! what was last written to before the session, are left alone.

mod folder;
mod looks;
mod names;
mod shelf;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use uuid::Uuid;

use self::folder::{APP, Folder, Moved};
use self::looks::Looks;
use self::names::{Claim, Naming};
use super::servers::{self, MediaServer};
use super::webhook::event::{self, Leftover, LeftoverKind};
use super::webhook::{Topic, Webhook};
use super::{ActError, servers::Kind};
use crate::clock::{Clock, Timestamp};
use crate::decision::{Action, Decision};
use crate::metrics::Metrics;
use crate::stream::{Session, StreamId};

pub use shelf::{Kept, Restored, Shelf};

/// How long it is looked.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Between two looks into the folders.
    every: Duration,
    /// Nothing came for this long after the session was gone: the tail has ended.
    quiet: Duration,
    /// Not longer than this, whatever comes: the session cannot be ended, and people have been told.
    longest: Duration,
}

const PACE: Pace =
    Pace { every: Duration::from_secs(1), quiet: Duration::from_secs(10), longest: Duration::from_mins(15) };
/// Files are written a little before the session is first seen.
const SLACK: Duration = Duration::from_secs(10);

/// The section `[server.after_cut]`: files of the media server on this machine. Without a folder nothing is moved.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where playlists and segments are; `{app}` stands for the application.
    pub hls: Option<PathBuf>,
    /// Where recordings are, likewise.
    pub recordings: Option<PathBuf>,
    /// Where they are moved to: best on the same file system.
    pub quarantine: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self { hls: None, recordings: None, quarantine: "/var/lib/sluicegate/quarantine".into() }
    }
}

impl Config {
    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.hls.iter().chain(&self.recordings)
    }

    /// What is wrong with it for a server of `kind`.
    pub(super) fn problems(&self, kind: Kind) -> Vec<String> {
        let mut problems = Vec::new();
        if Naming::of(kind).is_none() && self.folders().next().is_some() {
            problems.push(format!(
                "[server.after_cut]: how `{}` names its files is not known: remove it, and purge by the webhook `stream.quarantine`",
                kind.facts().word
            ));
        }
        for (key, folder) in [("hls", &self.hls), ("recordings", &self.recordings)] {
            let Some(folder) = folder else { continue };
            let mut steps = folder.components().map(|step| step.as_os_str().to_string_lossy().into_owned());
            if folder.is_relative() || steps.any(|step| step != APP && step.contains(APP)) {
                problems.push(format!(
                    "`server.after_cut.{key}`: write it like \"/var/www/hls\" or \"/var/www/hls/{APP}\", from the root, with {APP} as a step of its own"
                ));
            }
            if self.quarantine.starts_with(folder) || folder.starts_with(&self.quarantine) {
                problems.push(format!(
                    "`server.after_cut.quarantine`: it lies in `{key}` or around it, and what was moved would still be served: name another folder"
                ));
            }
        }
        problems
    }
}

/// What a cut or a ban asks for beside its kick: an event that says what to purge, and where `server` says so, the move
/// itself. `since` is when the session began.
pub fn follows(
    decision: &Decision,
    since: Timestamp,
    server: Option<&servers::Config>,
    webhooks: &[Webhook],
    source: &str,
) -> Vec<(Uuid, Action)> {
    let session = &decision.session;
    let expected = server.and_then(|server| Naming::of(server.kind)).map(|naming| naming.expected(&session.stream));
    let leftovers = expected.unwrap_or_default();
    let mut actions = told(decision.id, session, &leftovers, decision.decided, webhooks, source);
    if server.is_some_and(|server| server.after_cut.folders().next().is_some()) {
        actions.push((Uuid::now_v7(), Action::Quarantine { session: session.clone(), since }));
    }
    actions
}

/// The deliveries of `stream.quarantine` to whoever wants it.
pub(super) fn told(
    decision: Uuid,
    session: &Session,
    leftovers: &[Leftover],
    at: Timestamp,
    webhooks: &[Webhook],
    source: &str,
) -> Vec<(Uuid, Action)> {
    let body = event::quarantine(Uuid::now_v7(), decision, session, leftovers, at, source);
    let wanting = webhooks.iter().filter(|webhook| webhook.wants(Topic::StreamQuarantine));
    let notify = |webhook: &Webhook| Action::Notify { webhook: Arc::clone(webhook.name()), body: body.clone() };
    wanting.map(|webhook| (Uuid::now_v7(), notify(webhook))).collect()
}

/// Moves what outlives sessions of one media server.
#[derive(Debug, Clone)]
pub struct Keeper {
    server: Arc<str>,
    config: Config,
    naming: Naming,
    pace: Pace,
    looks: Arc<Looks>,
}

/// The keepers of the servers that have one, by the server's name.
pub type Keepers = HashMap<Arc<str>, Keeper>;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// In a sentence.
    pub detail: String,
    /// Each file, where it was.
    pub leftovers: Vec<Leftover>,
}

/// What one look into the folders came to.
#[derive(Debug, Default)]
struct Sweep {
    moved: usize,
    /// Files that may be another live stream's, or an earlier session's.
    contested: Vec<Leftover>,
    /// Nothing more is to be moved: somebody brought the files back, or publishes under the name.
    over: bool,
}

/// What is to be moved, and what is not.
#[derive(Debug, Clone)]
struct Search {
    keeper: Keeper,
    decision: Uuid,
    session: Session,
    since: Timestamp,
    /// Others who publish now.
    others: Vec<StreamId>,
    /// Nobody writes to the session's files any more.
    settled: bool,
    now: Timestamp,
}

impl Keeper {
    /// For `[[server]]`; `None`: nothing of it is to be moved.
    pub fn new(server: &servers::Config) -> Option<Self> {
        server.after_cut.folders().next()?;
        let naming = Naming::of(server.kind)?;
        let (name, config) = (Arc::clone(&server.name), server.after_cut.clone());
        Some(Self { server: name, config, naming, pace: PACE, looks: Arc::default() })
    }

    /// Whose files it moves.
    pub fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// Moves what outlives `session` until nothing comes any more; `None` when told to `stop` before that.
    ///
    /// # Errors
    /// When something of it cannot be moved; all else is.
    pub(super) async fn keep(
        &self,
        decision: Uuid,
        session: &Session,
        since: Timestamp,
        server: &dyn MediaServer,
        watch: (Clock, &Metrics, watch::Receiver<bool>),
    ) -> Result<Option<Swept>, ActError> {
        let (clock, metrics, mut stop) = watch;
        let began = clock.now();
        let (mut gone, mut last, mut moved): (Option<Timestamp>, Option<Timestamp>, usize) = (None, None, 0);
        let mut others: Vec<StreamId> = Vec::new();
        let contested = loop {
            // A server that does not answer may still write: its session counts as there, and others as they were.
            let sessions = self.looks.since(began, self.pace.every, server, clock).await;
            let now = clock.now();
            if let Some(sessions) = sessions {
                if gone.is_none() && !sessions.contains(session) {
                    gone = Some(now);
                }
                let strangers = sessions.iter().filter(|other| *other != session);
                others = strangers.map(|other| other.stream.clone()).collect();
            }
            let taken = others.contains(&session.stream);
            let search = Search {
                keeper: self.clone(),
                decision,
                session: session.clone(),
                since,
                others: others.clone(),
                settled: gone.is_some(),
                now,
            };
            // Somebody else publishes under the name: from now on nothing tells their files from these.
            let sweep = if taken { Sweep { over: true, ..Sweep::default() } } else { self.look(search).await? };
            if sweep.moved > 0 {
                (last, moved) = (Some(now), moved + sweep.moved);
            }
            let quiet = gone.is_some_and(|gone| now.since(last.map_or(gone, |last| last.max(gone))) >= self.pace.quiet);
            if quiet || sweep.over || now.since(began) >= self.pace.longest {
                break sweep.contested;
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(None),
                () = sleep(self.pace.every) => {}
            }
        };
        let tail = gone.zip(last).map(|(gone, last)| last.since(gone)).unwrap_or_default();
        if gone.is_some() && moved > 0 {
            metrics.cut_tail(&self.server, tail);
        }
        Ok(Some(self.report(decision, moved, tail, contested).await))
    }

    async fn look(&self, search: Search) -> Result<Sweep, ActError> {
        let looked = spawn_blocking(move || search.sweep()).await;
        looked.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| self.failed(&error))
    }

    async fn report(&self, decision: Uuid, moved: usize, tail: Duration, contested: Vec<Leftover>) -> Swept {
        let folder = self.config.quarantine.clone();
        let shelf = spawn_blocking(move || Shelf::open(&folder, decision)).await;
        let shelf = shelf.ok().and_then(Result::ok).flatten();
        let left = contested.len();
        let kept = shelf.iter().flat_map(Shelf::files);
        let kept = kept.map(|kept| Leftover { kind: kept.kind, place: kept.from.display().to_string(), moved: true });
        let mut detail = format!("{moved} files moved out of reach, the last {} ms after the end", tail.as_millis());
        if left > 0 {
            detail = format!("{detail}; {left} left that may be another's");
        }
        Swept { detail, leftovers: kept.chain(contested).collect() }
    }

    fn failed(&self, error: &io::Error) -> ActError {
        ActError::LeftBehind { server: Arc::clone(&self.server), reason: error.to_string() }
    }
}

impl Search {
    /// Moves all that is there now. What cannot be moved does not keep the rest; then the first reason is the error.
    fn sweep(&self) -> io::Result<Sweep> {
        let mut sweep = Sweep::default();
        let mut failure = None;
        if self.shelf()?.is_some_and(|shelf| shelf.restored().is_some()) {
            return Ok(Sweep { over: true, ..sweep });
        }
        let mut folders: Vec<&PathBuf> = self.keeper.config.folders().collect();
        folders.dedup();
        for template in folders {
            let Some(folder) = Folder::of(template, &self.session.stream.app)? else { continue };
            let shares_names = !template.components().any(|step| step.as_os_str() == APP);
            let claim = |file: &str| self.keeper.naming.claim(&self.session.stream.name, file);
            for file in folder.files(|name| claim(name).is_some())? {
                let Some(found) = claim(&file.name) else { continue };
                if self.is_earlier(&folder, &file, found.kind, &mut sweep) {
                    continue;
                }
                if self.is_contested(&file.name, found, shares_names) {
                    let place = folder.path.join(&file.name).display().to_string();
                    sweep.contested.push(Leftover { kind: found.kind, place, moved: false });
                    continue;
                }
                self.take(&folder, &file, found.kind, &mut sweep, &mut failure);
            }
            if let Some(own) = folder.below(&self.session.stream.name)? {
                for file in own.files(|name| names::nested(name).is_some())? {
                    let kind = names::nested(&file.name).unwrap_or(LeftoverKind::Segment);
                    if self.is_earlier(&own, &file, kind, &mut sweep) {
                        continue;
                    }
                    self.take(&own, &file, kind, &mut sweep, &mut failure);
                }
            }
        }
        failure.map_or(Ok(sweep), Err)
    }

    fn shelf(&self) -> io::Result<Option<Shelf>> {
        Shelf::open(&self.keeper.config.quarantine, self.decision)
    }

    /// Whether the file is of an earlier session of the name. Segments and playlists of one are told of, because this may
    /// also be the same publisher, whom Sluicegate lost sight of for a while; recordings and thumbnails pile up and are not.
    fn is_earlier(&self, folder: &Folder, file: &folder::Entry, kind: LeftoverKind, sweep: &mut Sweep) -> bool {
        let earlier = file.modified < self.since.minus(SLACK);
        if earlier && !matches!(kind, LeftoverKind::Recording | LeftoverKind::Thumbnail) {
            let place = folder.path.join(&file.name).display().to_string();
            sweep.contested.push(Leftover { kind, place, moved: false });
        }
        earlier
    }

    /// Whether another live stream has at least as good a claim to the file.
    fn is_contested(&self, file: &str, ours: Claim, shares_names: bool) -> bool {
        let near = self.others.iter().filter(|other| shares_names || other.app == self.session.stream.app);
        let theirs = near.filter_map(|other| self.keeper.naming.claim(&other.name, file));
        theirs.into_iter().any(|theirs| theirs.length >= ours.length)
    }

    fn take(
        &self,
        folder: &Folder,
        file: &folder::Entry,
        kind: LeftoverKind,
        sweep: &mut Sweep,
        failure: &mut Option<io::Error>,
    ) {
        match self.try_take(folder, file, kind) {
            Ok(Moved::Whole) => sweep.moved += 1,
            Ok(Moved::Growing) => {}
            // It is gone already: the server cleans up, too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }

    fn try_take(&self, folder: &Folder, file: &folder::Entry, kind: LeftoverKind) -> io::Result<Moved> {
        let quarantine: &Path = &self.keeper.config.quarantine;
        let mut shelf = Shelf::make(quarantine, self.decision, &self.session, self.now)?;
        if !self.settled && !folder.moves_whole_to(&shelf.folder()?)? {
            return Ok(Moved::Growing);
        }
        shelf.take(folder, file, kind, self.settled, self.now)
    }
}

#[cfg(test)]
mod tests;
