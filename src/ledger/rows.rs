//! How rows become values and values become columns.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Type, Value, ValueRef};
use rusqlite::{Row, ToSql};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Standing;
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Deny, Earlier, Ended, Job, Outcome, Target};
use crate::stream::{Session, SessionId, StreamId};

/// One attempt at an action, as the ledger remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// The action's identifier.
    pub action: Uuid,
    /// The word of the action: `kick`, `notify` or `quarantine`.
    pub kind: String,
    /// Counts the attempts at this action from 1.
    pub attempt: u32,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A UUID as text, so that a person with `sqlite3` can read the file.
pub(super) struct Key(pub Uuid);

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(self.0.to_string())))
    }
}

/// A time, in microseconds.
pub(super) struct Time(pub Timestamp);

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Integer(i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX))))
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = value.as_i64()?;
        u64::try_from(micros).map(|micros| Self(Timestamp::from_micros(micros))).map_err(FromSqlError::other)
    }
}

/// Anything else, as JSON.
pub(super) struct Json<'a, T>(pub &'a T);

impl<T: Serialize> ToSql for Json<'_, T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text =
            serde_json::to_string(self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(ToSqlOutput::Owned(Value::Text(text)))
    }
}

/// The columns that [`deny`] reads.
macro_rules! deny_columns {
    () => {
        "server, app, name, decision, since, until, target, value"
    };
}
pub(super) use deny_columns;

/// [`deny_columns`].
pub(super) fn deny(row: &Row<'_>) -> rusqlite::Result<Deny> {
    let value = || row.get(7);
    let target = match row.get_ref(6)?.as_str()? {
        "key" => Target::Key(value()?),
        "account" => Target::Account(value()?),
        "address" => Target::Address(value()?),
        _ => Target::Name,
    };
    Ok(Deny {
        stream: stream(row, 0)?,
        target,
        decision: key(row, 3)?,
        since: time(row, 4)?,
        until: optional_time(row, 5)?,
    })
}

/// The columns that [`decision`] reads.
macro_rules! decision_columns {
    () => {
        "id, server, app, name, session, verdict, rule, policy, decided, evidence, capped_by, until, actor, mode, lowered, \
         before, context"
    };
}
pub(super) use decision_columns;

/// [`decision_columns`].
pub(super) fn decision(row: &Row<'_>) -> rusqlite::Result<Decision> {
    Ok(Decision {
        id: key(row, 0)?,
        session: Session { stream: stream(row, 1)?, id: SessionId(row.get(4)?) },
        verdict: word(row, 5)?,
        rule: row.get(6)?,
        policy: row.get(7)?,
        decided: time(row, 8)?,
        evidence: json(row, 9)?,
        capped_by: row.get(10)?,
        until: optional_time(row, 11)?,
        actor: json(row, 12)?,
        mode: word(row, 13)?,
        lowered: if row.get_ref(14)? == ValueRef::Null { None } else { Some(json(row, 14)?) },
        before: word(row, 15)?,
        context: json(row, 16)?,
    })
}

/// `server, app, name, session`.
pub(super) fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session { stream: stream(row, 0)?, id: SessionId(row.get(3)?) })
}

/// `server, app, name, session, known_as, id, verdict, decided`.
pub(super) fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let verdict = Earlier { decision: key(row, 5)?, verdict: word(row, 6)?, decided: time(row, 7)? };
    Ok(Standing { session: session(row)?, known_as: json(row, 4)?, verdict })
}

/// `ended, ending`.
pub(super) fn ended(row: &Row<'_>) -> rusqlite::Result<Ended> {
    Ok(Ended { at: time(row, 0)?, because: json(row, 1)? })
}

/// `action, kind, attempt, began, ended, outcome, detail, due`.
pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    let detail = row.get(6)?;
    let outcome = match row.get_ref(5)?.as_str()? {
        "done" => Outcome::Done { detail },
        "gave_up" => Outcome::GaveUp { detail },
        _ => Outcome::Retry { detail, due: time(row, 7)? },
    };
    Ok(Attempt {
        action: key(row, 0)?,
        kind: row.get(1)?,
        attempt: row.get(2)?,
        began: time(row, 3)?,
        ended: time(row, 4)?,
        outcome,
    })
}

/// `id, decision, payload, attempts`.
pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let action: Action = json(row, 2)?;
    Ok(Job { id: key(row, 0)?, decision: optional_key(row, 1)?, action, attempts: row.get(3)? })
}

pub(super) fn optional_key(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    if row.get_ref(column)? == ValueRef::Null { Ok(None) } else { key(row, column).map(Some) }
}

pub(super) fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Uuid::parse_str(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(|Time(at)| at)
}

fn stream(row: &Row<'_>, first: usize) -> rusqlite::Result<StreamId> {
    Ok(StreamId { server: row.get(first)?, app: row.get(first + 1)?, name: row.get(first + 2)? })
}

fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<Time>>(column)?.map(|Time(at)| at))
}

/// A value that is one word in JSON, such as a verdict.
fn word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let word = row.get_ref(column)?.as_str()?;
    serde_json::from_value(word.into()).map_err(|error| unreadable(column, error))
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
