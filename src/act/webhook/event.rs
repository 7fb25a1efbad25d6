//! What is told: the body of each kind of event, a CloudEvents 1.0 event in structured JSON.
//!
//! A body is made once, when what it tells of happens, and is the same bytes on every attempt and every replay. Its
//! `time` is RFC 3339, as CloudEvents ask; times inside `data` are microseconds since the Unix epoch, as everywhere in the
//! interface. The schemas in `docs/schemas/` describe each kind; a test holds the bodies to them.
//!
//! What a platform alone can do is recommended and never done: to leave a stream out of discovery, and to restrict an
//! account, always with an end.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::decision::{Decision, SetAside, Verdict};
use crate::finding::Report;
use crate::stream::{Session, StreamId};

/// How long an account is recommended to be restricted after a cut, and after a ban. A person looks at either before it
/// ends: what lasts longer is theirs to decide.
const RESTRICT_AFTER_CUT: Duration = Duration::from_hours(24);
const RESTRICT_AFTER_BAN: Duration = Duration::from_hours(7 * 24);

/// Why a hold is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Released {
    /// It ran out.
    Expired,
    /// Somebody released it.
    Operator,
    /// The stream is over.
    Ended,
}

/// Something of a stream that outlives its cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// Where: an address or a path, as whoever keeps it knows it.
    pub place: String,
    /// Whether it was moved out of reach already.
    pub moved: bool,
}

/// What outlives a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverKind {
    /// A playlist of segments.
    Playlist,
    /// A piece of video that a playlist names.
    Segment,
    /// A recording of the stream.
    Recording,
    /// A picture taken of it.
    Thumbnail,
}

/// Why the breaker opened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakerOpened {
    /// Automatic cuts within `within_seconds`.
    pub cuts: usize,
    /// The time that was looked at.
    pub within_seconds: f64,
    /// Streams that were live then.
    pub live: usize,
    /// What most of the cuts rest on; `None`: nothing stands out.
    pub fault: Option<Fault>,
    /// When it closes by itself; `None`: when somebody closes it.
    pub reopens: Option<Timestamp>,
}

/// What too many cuts rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum Fault {
    /// A rule of the policy.
    Rule(Arc<str>),
    /// A bank.
    Bank(Arc<str>),
    /// A model.
    Model(Arc<str>),
}

/// `decision.VERDICT`: what was decided. `source` says which Sluicegate decided, such as `/sluicegate/edge-1`; `account` is
/// the platform's account that published, where the media server tells.
pub fn decided(decision: &Decision, account: Option<&str>, source: &str) -> String {
    let (kind, subject) = (format!("decision.{}", decision.verdict), decision.session.stream.full());
    let restricted = match decision.verdict {
        Verdict::Cut => Some(RESTRICT_AFTER_CUT),
        Verdict::Ban => Some(RESTRICT_AFTER_BAN),
        Verdict::Clear | Verdict::Watch | Verdict::Hold => None,
    };
    let recommended: Vec<Value> = restricted
        .map(|span| {
            let until = decision.decided + span;
            match account {
                Some(account) => json!({ "action": "account.restrict", "account": account, "until": until }),
                None => json!({ "action": "account.restrict", "until": until }),
            }
        })
        .into_iter()
        .collect();
    let data = json!({ "decision": decision, "recommended": recommended });
    event(decision.id, source, &kind, decision.decided, &subject, &data)
}

/// `stream.held`: hide the stream, show a slate or delay it, until a person has looked or the hold runs out at `until`.
pub fn held(id: Uuid, decision: &Decision, until: Option<Timestamp>, source: &str) -> String {
    let mut data = about(decision.id, &decision.session);
    data["rule"] = json!(decision.rule);
    data["until"] = json!(until);
    data["recommended"] = json!([{ "action": "discovery.suppress", "until": until }]);
    event(id, source, "stream.held", decision.decided, &decision.session.stream.full(), &data)
}

/// `stream.released`: the hold of `decision` is over; what was hidden may be shown.
pub fn released(id: Uuid, decision: Uuid, session: &Session, because: Released, at: Timestamp, source: &str) -> String {
    let mut data = about(decision, session);
    data["because"] = json!(because);
    data["recommended"] = json!([{ "action": "discovery.restore" }]);
    event(id, source, "stream.released", at, &session.stream.full(), &data)
}

/// `stream.quarantine`: what outlives the cut and is still to be had, for whoever keeps it to purge.
pub fn quarantine(
    id: Uuid,
    decision: Uuid,
    session: &Session,
    leftovers: &[Leftover],
    at: Timestamp,
    source: &str,
) -> String {
    let mut data = about(decision, session);
    data["leftovers"] = json!(leftovers);
    data["recommended"] = json!([{ "action": "stream.purge" }]);
    event(id, source, "stream.quarantine", at, &session.stream.full(), &data)
}

/// `cut.failed`: whatever was tried, the publisher is not observed gone. `reason` says what went wrong last.
pub fn cut_failed(
    id: Uuid,
    decision: Uuid,
    session: &Session,
    attempts: u32,
    reason: &str,
    at: Timestamp,
    source: &str,
) -> String {
    let mut data = about(decision, session);
    data["attempts"] = json!(attempts);
    data["reason"] = json!(reason);
    event(id, source, "cut.failed", at, &session.stream.full(), &data)
}

/// `breaker.opened`: too much was cut by itself; from now on such cuts are holds.
pub fn breaker_opened(id: Uuid, opened: &BreakerOpened, at: Timestamp, source: &str) -> String {
    event(id, source, "breaker.opened", at, "breaker", &json!(opened))
}

/// `signal.quarantined`: a signal of a bank was set aside.
pub fn signal_quarantined(id: Uuid, set_aside: &SetAside, at: Timestamp, source: &str) -> String {
    let SetAside { bank, signal, provenance, streams, within } = set_aside;
    let streams: Vec<String> = streams.iter().map(StreamId::full).collect();
    let data = json!({
        "bank": bank, "signal": signal, "provenance": provenance, "streams": streams,
        "within_seconds": within.as_secs_f64(),
    });
    event(id, source, "signal.quarantined", at, &format!("{bank}/{signal}"), &data)
}

/// `report.received`: somebody reported a stream. Neither what they wrote nor who they are is told.
pub fn report_received(id: Uuid, stream: &StreamId, report: &Report, at: Timestamp, source: &str) -> String {
    let data = json!({
        "report": report.id, "stream": stream.full(), "category": report.category, "imminent": report.imminent,
    });
    event(id, source, "report.received", at, &stream.full(), &data)
}

/// `webhook.test`: nothing happened; an operator wants to see it arrive.
pub fn test(id: Uuid, webhook: &str, at: Timestamp, source: &str) -> String {
    event(id, source, "webhook.test", at, webhook, &json!({ "webhook": webhook }))
}

/// What every event that follows from a decision says.
fn about(decision: Uuid, session: &Session) -> Value {
    json!({ "decision": decision, "stream": session.stream.full(), "session": session.id })
}

fn event(id: Uuid, source: &str, kind: &str, at: Timestamp, subject: &str, data: &Value) -> String {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": format!("org.sluicegate.{kind}"),
        "time": at.to_string(),
        "subject": subject,
        "datacontenttype": "application/json",
        "data": data,
    })
    .to_string()
}
