//! What people reported, and what came of it.
//!
//! Whether a report repeats an earlier one, whether its sender has sent too many, and how much their word counts is asked
//! of the file: so nothing of it is kept in memory, and all of it is known after a restart. Reports that come in together
//! are one transaction.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, Row, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rows::{self, Json, Key, Time};
use super::{Ledger, LedgerError, cannot_open, entry, private};
use crate::clock::Timestamp;
use crate::decision::Action;
use crate::report::{ANONYMOUS_WEIGHT, Kept, Outcome, Report, Reporter, Standing};
use crate::stream::SessionId;

/// A reporter's latest reports with an outcome, of which their standing is made.
const STANDING: u32 = 100;

/// The time over which the reports of one reporter are counted against the limit.
pub const COUNTED: Duration = Duration::from_hours(1);

/// The time within which somebody who reports a stream again, of the same, says nothing new.
pub const REPEATED: Duration = Duration::from_mins(10);

/// What became of a report that came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Reception {
    /// It is in the ledger; the reporter's word counts so much.
    Kept {
        /// 0 to 1.
        weight: f32,
    },
    /// The same reporter has said the same of the stream just now: in this report.
    Repeated(Uuid),
    /// The reporter has sent as many as they may within [`COUNTED`].
    TooMany,
}

/// Which reports to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    /// Only those that nobody has looked at yet.
    pub open: bool,
    /// At most so many, the latest.
    pub limit: usize,
}

/// What of a report is in no column of its own.
#[derive(Serialize, Deserialize)]
struct Notice {
    explanation: String,
}

/// Columns that [`kept`] reads.
macro_rules! columns {
    () => {
        "id, server, app, name, session, reporter, category, imminent, notice, received, outcome, judged"
    };
}

impl Ledger {
    /// Writes reports that came in, all or nothing, each with the actions that `announce` makes of it; says what became of
    /// each, in their order. `most` is how many one reporter may send within [`COUNTED`].
    pub fn receive(
        &self,
        reports: &[Report],
        most: u32,
        announce: impl Fn(&Report, f32) -> Vec<(Uuid, Action)>,
    ) -> Result<Vec<Reception>, LedgerError> {
        let failed = |error| self.failed(error);
        let mut inner = self.lock();
        let transaction = inner.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let received = reports.iter().map(|report| {
            let reception = receive(&transaction, report, most)?;
            if let Reception::Kept { weight } = reception {
                entry::insert_actions(&transaction, None, &announce(report, weight), report.received)?;
            }
            Ok(reception)
        });
        let received = received.collect::<rusqlite::Result<_>>().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(received)
    }

    /// Reports, the latest first; of those that nobody has looked at yet, the imminent ones before the others.
    pub fn reports(&self, which: &Which) -> Result<Vec<Kept>, LedgerError> {
        self.rows(
            concat!(
                "SELECT ",
                columns!(),
                " FROM reports WHERE outcome IS NULL OR NOT ?1
                  ORDER BY (?1 AND imminent) DESC, received DESC, id DESC LIMIT ?2"
            ),
            params![which.open, i64::try_from(which.limit).unwrap_or(i64::MAX)],
            kept,
        )
    }

    /// One report.
    pub fn report(&self, id: Uuid) -> Result<Option<Kept>, LedgerError> {
        self.lock()
            .connection
            .prepare_cached(concat!("SELECT ", columns!(), " FROM reports WHERE id = ?1"))
            .and_then(|mut select| select.query_row(params![Key(id)], kept).optional())
            .map_err(|error| self.failed(error))
    }

    /// Writes what came of a report, in place of what was written before; the report, or `None` when there is none.
    pub fn judge_report(&self, id: Uuid, outcome: Outcome, now: Timestamp) -> Result<Option<Kept>, LedgerError> {
        let judged = self.rows(
            concat!("UPDATE reports SET outcome = ?2, judged = ?3 WHERE id = ?1 RETURNING ", columns!()),
            params![Key(id), outcome.word(), Time(now)],
            kept,
        )?;
        Ok(judged.into_iter().next())
    }

    /// The key of reporters' digests: in a file of its own beside the ledger, so that a copy of the ledger does not tell
    /// who reported. Made when there is none, or one that was left short; then everybody is a newcomer again.
    pub fn reporters_key(&self) -> Result<[u8; 32], LedgerError> {
        let mut path = self.path.as_os_str().to_owned();
        path.push(".reporters");
        let path = PathBuf::from(path);
        let failed = |error: std::io::Error| cannot_open(&path, &error);
        let mut key = [0; 32];
        match fs::File::open(&path) {
            Ok(mut file) => match file.read_exact(&mut key) {
                Ok(()) => return Ok(key),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    tracing::warn!(path = %path.display(), "the key of reporters is too short: a new one is made, and everybody is a newcomer");
                }
                Err(error) => return Err(failed(error)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        key = rand::random();
        // Whole or not at all: a crash leaves no half of it under its name.
        let unfinished = path.with_extension("reporters.new");
        let mut file = private().write(true).create(true).truncate(true).open(&unfinished).map_err(failed)?;
        file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&unfinished, &path).map_err(failed)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(key)
    }
}

fn receive(transaction: &Transaction<'_>, report: &Report, most: u32) -> rusqlite::Result<Reception> {
    let weight = match &report.reporter {
        Reporter::Anonymous => ANONYMOUS_WEIGHT,
        Reporter::Known(digest) => {
            if let Some(earlier) = repeated(transaction, report, digest)? {
                return Ok(Reception::Repeated(earlier));
            }
            if count(transaction, digest, report.received.minus(COUNTED), most)? >= most {
                return Ok(Reception::TooMany);
            }
            standing(transaction, digest)?.weight()
        }
    };
    let Report { id, stream, session, reporter, category, imminent, explanation, received } = report;
    transaction
        .prepare_cached(
            "INSERT INTO reports (id, server, app, name, session, reporter, category, imminent, notice, received)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            Key(*id),
            stream.server,
            stream.app,
            stream.name,
            session.as_ref().map(|session| &session.0),
            reporter.word(),
            category.word(),
            imminent,
            Json(&Notice { explanation: explanation.clone() }),
            Time(*received),
        ])?;
    Ok(Reception::Kept { weight })
}

/// The latest report that says the same; what was not imminent then says less.
fn repeated(transaction: &Transaction<'_>, report: &Report, digest: &str) -> rusqlite::Result<Option<Uuid>> {
    let Report { stream, session, category, imminent, received, .. } = report;
    transaction
        .prepare_cached(
            "SELECT id FROM reports WHERE reporter = ?1 AND received > ?2 AND server = ?3 AND app = ?4 AND name = ?5
             AND session IS ?6 AND category = ?7 AND imminent >= ?8 ORDER BY received DESC LIMIT 1",
        )?
        .query_row(
            params![
                digest,
                Time(received.minus(REPEATED)),
                stream.server,
                stream.app,
                stream.name,
                session.as_ref().map(|session| &session.0),
                category.word(),
                imminent,
            ],
            |row| rows::key(row, 0),
        )
        .optional()
}

/// How many reports of one reporter came in after `since`, counted up to `most`.
fn count(transaction: &Transaction<'_>, digest: &str, since: Timestamp, most: u32) -> rusqlite::Result<u32> {
    transaction
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM reports WHERE reporter = ?1 AND received > ?2 LIMIT ?3)")?
        .query_row(params![digest, Time(since), most], |row| row.get(0))
}

fn standing(transaction: &Transaction<'_>, digest: &str) -> rusqlite::Result<Standing> {
    transaction
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE outcome = 'founded'), count(*) FILTER (WHERE outcome = 'unfounded')
             FROM (SELECT outcome FROM reports WHERE reporter = ?1 AND outcome IS NOT NULL
                   ORDER BY received DESC LIMIT ?2)",
        )?
        .query_row(params![digest, STANDING], |row| Ok(Standing { founded: row.get(0)?, unfounded: row.get(1)? }))
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let reporter: Arc<str> = row.get(5)?;
    let notice: Notice = rows::json(row, 8)?;
    let outcome = if row.get_ref(10)? == ValueRef::Null { None } else { Some(rows::word(row, 10)?) };
    let judged = row.get::<_, Option<Time>>(11)?.map(|Time(at)| at);
    let report = Report {
        id: rows::key(row, 0)?,
        stream: rows::stream(row, 1)?,
        session: row.get::<_, Option<_>>(4)?.map(SessionId),
        reporter: if &*reporter == "anonymous" { Reporter::Anonymous } else { Reporter::Known(reporter) },
        category: rows::word(row, 6)?,
        imminent: row.get(7)?,
        explanation: notice.explanation,
        received: rows::time(row, 9)?,
    };
    Ok(Kept { report, outcome: outcome.zip(judged) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Config;
    use crate::report::Category;
    use crate::stream::StreamId;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn ledger() -> (Ledger, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Ledger::open(&Config { path: folder.path().join("ledger.sqlite") }).unwrap(), folder)
    }

    fn report(from: &str, name: &str, seconds: u64) -> Report {
        Report {
            id: Uuid::now_v7(),
            stream: StreamId::new("main", "live", name),
            session: Some("7".into()),
            reporter: if from.is_empty() { Reporter::Anonymous } else { Reporter::Known(from.into()) },
            category: Category::Violence,
            imminent: false,
            explanation: "somebody is beaten".to_owned(),
            received: at(seconds),
        }
    }

    fn receive(ledger: &Ledger, report: &Report) -> Reception {
        ledger.receive(std::slice::from_ref(report), 3, |_, _| Vec::new()).unwrap().remove(0)
    }

    const NEW: Reception = Reception::Kept { weight: 1.0 };

    #[test]
    fn a_report_and_what_came_of_it_are_there_after_a_restart() {
        let (ledger, folder) = ledger();
        let (first, second) = (report("ann", "cam", 0), report("", "cam", 1));
        assert_eq!(receive(&ledger, &first), NEW);
        assert_eq!(receive(&ledger, &second), Reception::Kept { weight: ANONYMOUS_WEIGHT });
        let judged = ledger.judge_report(first.id, Outcome::Unfounded, at(9)).unwrap().unwrap();
        assert_eq!(judged, Kept { report: first.clone(), outcome: Some((Outcome::Unfounded, at(9))) });
        let key = ledger.reporters_key().unwrap();
        drop(ledger);
        let ledger = Ledger::open(&Config { path: folder.path().join("ledger.sqlite") }).unwrap();
        assert_eq!(ledger.reporters_key().unwrap(), key);
        let open = ledger.reports(&Which { open: true, limit: 9 }).unwrap();
        assert_eq!(open, [Kept { report: second, outcome: None }]);
        assert_eq!(ledger.reports(&Which { open: false, limit: 9 }).unwrap().len(), 2);
        assert_eq!(ledger.report(first.id).unwrap(), Some(judged));
        assert_eq!(ledger.judge_report(Uuid::nil(), Outcome::Founded, at(9)).unwrap(), None);
        let Reception::Kept { weight } = receive(&ledger, &report("ann", "other", 20)) else { panic!() };
        assert!((weight - 2.0 / 3.0).abs() < 0.001, "an unfounded report is remembered: {weight}");
    }

    #[test]
    fn a_key_that_was_left_short_is_made_anew() {
        let (ledger, folder) = ledger();
        let key = ledger.reporters_key().unwrap();
        fs::write(folder.path().join("ledger.sqlite.reporters"), &key[..7]).unwrap();
        let anew = ledger.reporters_key().unwrap();
        assert_ne!(anew, key);
        assert_eq!(ledger.reporters_key().unwrap(), anew);
    }

    #[test]
    fn what_is_imminent_is_looked_at_first() {
        let (ledger, _folder) = ledger();
        let imminent = Report { imminent: true, ..report("ann", "cam", 0) };
        let (second, third) = (report("bob", "cam", 1), report("cid", "cam", 2));
        for report in [&imminent, &second, &third] {
            assert_eq!(receive(&ledger, report), NEW);
        }
        let listed = |open, limit| -> Vec<Uuid> {
            ledger.reports(&Which { open, limit }).unwrap().iter().map(|kept| kept.report.id).collect()
        };
        assert_eq!(listed(true, 2), [imminent.id, third.id]);
        assert_eq!(listed(false, 2), [third.id, second.id]);
    }

    #[test]
    fn who_says_the_same_again_says_nothing_new() {
        let (ledger, _folder) = ledger();
        let first = report("ann", "cam", 0);
        assert_eq!(receive(&ledger, &first), NEW);
        assert_eq!(receive(&ledger, &report("ann", "cam", 599)), Reception::Repeated(first.id));
        for (what, new) in [
            ("somebody else", report("bob", "cam", 1)),
            ("another stream", report("ann", "cam1", 1)),
            ("now it is imminent", Report { imminent: true, ..report("ann", "cam", 2) }),
        ] {
            assert_eq!(receive(&ledger, &new), NEW, "{what}");
        }
        let session = Some("8".into());
        assert_eq!(receive(&ledger, &Report { session, ..report("ann", "cam", 4000) }), NEW, "another session");
        assert_eq!(receive(&ledger, &report("ann", "cam", 8000)), NEW, "much later");
    }

    #[test]
    fn one_reporter_may_send_so_many_an_hour_and_the_others_are_not_concerned() {
        let (ledger, _folder) = ledger();
        for stream in ["a", "b", "c"] {
            assert_eq!(receive(&ledger, &report("ann", stream, 0)), NEW);
        }
        assert_eq!(receive(&ledger, &report("ann", "d", 3599)), Reception::TooMany);
        assert_eq!(receive(&ledger, &report("bob", "d", 3599)), NEW);
        assert_eq!(receive(&ledger, &report("ann", "d", 3600)), NEW);
        for _ in 0..9 {
            assert_eq!(receive(&ledger, &report("", "d", 0)), Reception::Kept { weight: ANONYMOUS_WEIGHT });
        }
    }

    #[test]
    fn whoever_is_to_be_told_is_told_with_the_report_or_not_at_all() {
        let (ledger, _folder) = ledger();
        let announce = |report: &Report, weight: f32| {
            let body = format!("{} {weight}", report.category.word());
            vec![(Uuid::now_v7(), Action::Notify { webhook: "ops".into(), body })]
        };
        let same = report("ann", "cam", 0);
        let received = ledger.receive(&[same.clone(), report("ann", "cam", 1)], 3, announce).unwrap();
        assert_eq!(received, [NEW, Reception::Repeated(same.id)]);
        assert_eq!(ledger.pending().unwrap(), 1);
    }
}
