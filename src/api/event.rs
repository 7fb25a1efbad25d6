//! What happens, as clients of `/v1/events` see it: plain data with a time and, where it is about one, the stream's whole
//! name.

use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::backend::BreakerView;
use crate::clock::Timestamp;
use crate::decision::{Mode, Verdict};
use crate::finding::Observation;
use crate::media_server::Admission;
use crate::stream::{SessionId, StreamState};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The stream's whole name, `server/app/name`; none where it is about no stream or several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<Arc<str>>,
    /// What.
    #[serde(flatten)]
    pub happening: Happening,
}

/// What happened. The word in `type` is also the `event:` of the server-sent event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Happening {
    /// A publisher's session is now under inspection.
    StreamAttached {
        /// Whose.
        session: SessionId,
    },
    /// The stream is now in this state.
    StreamState {
        /// `state`, and `reason` where it cannot be inspected.
        #[serde(flatten)]
        state: StreamState,
    },
    /// A detector saw something.
    Finding {
        /// When the access unit that it was seen in reached us.
        arrived: Timestamp,
        /// What.
        observation: Observation,
    },
    /// The evidence held.
    Verdict {
        /// The decision in the ledger.
        decision: Uuid,
        /// What was decided.
        verdict: Verdict,
        /// The rule that decided.
        rule: Arc<str>,
        /// Whether anything follows.
        mode: Mode,
    },
    /// A decision is over: it ran out, or somebody released it.
    Released {
        /// The decision in the ledger.
        decision: Uuid,
        /// What had been decided.
        verdict: Verdict,
    },
    /// The breaker opened or closed.
    Breaker {
        /// How it is now.
        #[serde(flatten)]
        breaker: BreakerView,
    },
    /// An action got further.
    Action {
        /// The decision that asked for it.
        decision: Uuid,
        /// `kick`, `notify` or `quarantine`.
        action: &'static str,
        /// How far.
        progress: Progress,
    },
    /// Somebody asked to publish and was answered.
    Admission {
        /// The answer.
        answer: Admission,
    },
    /// The session is over.
    StreamEnded {
        /// Whose.
        session: SessionId,
    },
    /// A signal of a bank fired alone in too many streams: from now on it counts as disputed.
    SignalQuarantined {
        /// The bank.
        bank: Arc<str>,
        /// The signal's number within it.
        signal: u64,
        /// Where the signal comes from.
        provenance: Arc<str>,
        /// The whole names of the streams.
        streams: Vec<String>,
        /// Within how many seconds.
        within_seconds: f64,
    },
}

/// How far an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The first request is on its way.
    Asked,
    /// The media server no longer lists the session, and its video has stopped.
    ObservedGone,
    /// The webhook took the event.
    Delivered,
    /// What outlived the session was moved out of reach.
    Quarantined,
    /// All were asked in vain, and people are told; it is tried on.
    Failing,
    /// It did not work; another attempt follows.
    Retry,
    /// It did not work and will not be tried again.
    GaveUp,
}

impl Happening {
    /// The word in `type`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::StreamAttached { .. } => "stream_attached",
            Self::StreamState { .. } => "stream_state",
            Self::Finding { .. } => "finding",
            Self::Verdict { .. } => "verdict",
            Self::Released { .. } => "released",
            Self::Breaker { .. } => "breaker",
            Self::Action { .. } => "action",
            Self::Admission { .. } => "admission",
            Self::StreamEnded { .. } => "stream_ended",
            Self::SignalQuarantined { .. } => "signal_quarantined",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::UninspectableReason;

    #[test]
    fn an_event_is_one_flat_object_named_by_its_type() {
        let session = || SessionId::from("7");
        let happenings = [
            Happening::StreamAttached { session: session() },
            Happening::StreamState { state: StreamState::Uninspectable(UninspectableReason::NoVideo) },
            Happening::Verdict {
                decision: Uuid::nil(),
                verdict: Verdict::Cut,
                rule: "known".into(),
                mode: Mode::Enforced,
            },
            Happening::Released { decision: Uuid::nil(), verdict: Verdict::Hold },
            Happening::Breaker { breaker: BreakerView::closed() },
            Happening::Action { decision: Uuid::nil(), action: "kick", progress: Progress::ObservedGone },
            Happening::Admission { answer: Admission::Refuse },
            Happening::StreamEnded { session: session() },
            Happening::SignalQuarantined {
                bank: "demo".into(),
                signal: 7,
                provenance: "clip".into(),
                streams: Vec::new(),
                within_seconds: 600.0,
            },
        ];
        for happening in happenings {
            let event = Event {
                at: Timestamp::from_micros(5),
                stream: Some("main/live/a".into()),
                happening: happening.clone(),
            };
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["type"], happening.word());
            assert_eq!((&json["at"], &json["stream"]), (&5.into(), &"main/live/a".into()));
        }
    }
}
