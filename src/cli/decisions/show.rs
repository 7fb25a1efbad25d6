//! One decision in words: enough to answer whoever asks why they were cut off.

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::cli::bank::Answer;
use crate::cli::table::{Names, harmless};
use crate::clock::Timestamp;
use crate::decision::{Actor, Context, Decision, Ended, Ending, Lowered, LoweredBecause, Mode, Outcome, Verdict};
use crate::finding::{Finding, Match, Observation, Report, Scores};
use crate::stream::StreamState;

#[derive(Deserialize)]
struct Action {
    id: Uuid,
    #[serde(rename = "action")]
    word: String,
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
struct Attempt {
    began: Timestamp,
    #[serde(flatten)]
    outcome: Outcome,
}

/// The decision for people, its stream's name as `names` says.
///
/// # Errors
/// When it is not of the form that this release knows.
pub(super) fn shown(json: Value, names: Names) -> anyhow::Result<Answer> {
    let decision = Decision::deserialize(&json)?;
    let ended = Option::<Ended>::deserialize(json.get("ended").unwrap_or(&Value::Null))?;
    let actions = Vec::<Action>::deserialize(&json["actions"])?;
    let mut lines = vec![
        format!("decision  {}", decision.id),
        format!("stream    {}", names.of(&decision.session.stream)),
        format!("session   {}", session(&decision)),
        format!("verdict   {}{}, by {}{}", decision.verdict, shadow(&decision), by(&decision), milder(&decision)),
        format!("decided   {}{}", decision.decided, after(&decision)),
        format!("lasts     {}", lasts(&decision, ended.as_ref())),
        format!("policy    {}", decision.policy),
        format!("evidence  {} findings", decision.evidence.len()),
    ];
    lines.extend(decision.evidence.iter().map(finding));
    lines.extend(known(&decision.context));
    for action in &actions {
        lines.push(format!("action    {} {}", action.word, action.id));
        lines.extend(action.attempts.iter().map(attempt));
        if action.attempts.is_empty() {
            lines.push("  not tried yet".to_owned());
        }
    }
    Ok(Answer { text: lines.join("\n"), json })
}

fn session(Decision { session, .. }: &Decision) -> String {
    let id = harmless(&session.id.to_string());
    if id.is_empty() { "none: nobody published".to_owned() } else { id }
}

fn shadow(Decision { mode, .. }: &Decision) -> &'static str {
    if *mode == Mode::Shadow { " in the shadow: nothing follows" } else { "" }
}

fn by(Decision { actor, rule, .. }: &Decision) -> String {
    match actor {
        Actor::Policy => format!("the rule `{rule}`"),
        Actor::Operator { name, reason } => format!("{}: {}", harmless(name), harmless(reason)),
    }
}

/// Why the verdict is milder than the rule's.
fn milder(Decision { capped_by, lowered, .. }: &Decision) -> String {
    let capped = capped_by.as_ref().map(|bank| format!(", no severer because of the cap of the bank `{bank}`"));
    let lowered = lowered.as_ref().map(|Lowered { from, because }| match because {
        LoweredBecause::ReviewFirst { class } => format!(", not {from} because people look at `{class}` first"),
        LoweredBecause::Breaker => format!(", not {from} because the breaker was open"),
    });
    capped.into_iter().chain(lowered).collect()
}

fn after(Decision { before, .. }: &Decision) -> String {
    if *before == Verdict::Clear { String::new() } else { format!(", after {before}") }
}

fn lasts(decision: &Decision, ended: Option<&Ended>) -> String {
    match (ended, decision.until) {
        (Some(Ended { at, because: Ending::Expired }), _) => format!("it ran out at {at}"),
        (Some(Ended { at, because: Ending::Released { by } }), _) => match by {
            Actor::Operator { name, reason } => {
                format!("released at {at} by {}: {}", harmless(name), harmless(reason))
            }
            Actor::Policy => format!("released at {at}"),
        },
        (Some(Ended { at, because: Ending::Superseded { decision } }), _) => {
            format!("until {at}, when {decision} took its place")
        }
        (None, Some(until)) => format!("until {until}"),
        (None, None) => "until somebody releases it".to_owned(),
    }
}

/// What was known beside the findings.
fn known(Context { class, earlier, .. }: &Context) -> Vec<String> {
    let class = class.as_ref().map(|class| format!("class     {}", harmless(class)));
    let earlier = earlier
        .iter()
        .map(|earlier| format!("earlier   {} on {}, {}", earlier.verdict, earlier.decided, earlier.decision));
    class.into_iter().chain(earlier).collect()
}

fn finding(finding: &Finding) -> String {
    let seen = match &finding.observation {
        Observation::Match(found) => matched(found),
        Observation::Scores(scores) => scored(scores),
        Observation::State(state) => return format!("  {}  the stream is {}", finding.arrived, stated(*state)),
        Observation::Report(report) => return format!("  {}  {}", finding.arrived, reported(report)),
    };
    format!("  {}  picture {}: {seen}", finding.arrived, finding.sequence)
}

fn stated(state: StreamState) -> String {
    match state {
        StreamState::Uninspectable(reason) => format!("uninspectable: {}", reason.word()),
        state => state.word().to_owned(),
    }
}

fn reported(Report { id, category, imminent, weight, .. }: &Report) -> String {
    let danger = if *imminent { ", somebody is said to be in danger of life" } else { "" };
    format!("report {id} of `{category}`{danger}, weight {weight}")
}

fn matched(found: &Match) -> String {
    let opinion = serde_json::json!(found.opinion);
    let at = found.banked_at.map_or_else(String::new, |at| format!(" at {:.3} s", at.as_secs_f64()));
    format!(
        "bank `{}` revision {}, signal {}{at}, {} bits off, quality {}, {}{}, from {}",
        found.bank,
        found.bank_revision,
        found.signal,
        found.distance,
        found.quality,
        opinion.as_str().unwrap_or_default(),
        if found.quarantined { " but set aside, so it counts as disputed" } else { "" },
        found.provenance,
    )
}

fn scored(Scores { model, scores, .. }: &Scores) -> String {
    let scores: Vec<_> = scores.iter().map(|(label, score)| format!("{label} {score:.3}")).collect();
    format!("model `{model}`: {}", scores.join(", "))
}

fn attempt(attempt: &Attempt) -> String {
    let how = match &attempt.outcome {
        Outcome::Done { detail } => format!("done: {}", harmless(detail)),
        Outcome::Retry { detail, due } => format!("did not work: {}; again at {due}", harmless(detail)),
        Outcome::GaveUp { detail } => format!("gave up: {}", harmless(detail)),
    };
    format!("  {}  {how}", attempt.began)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_says_what_it_rests_on_and_what_became_of_it() {
        let session = json!({ "stream": { "server": "main", "app": "live", "name": "secret" }, "id": "7" });
        let found = json!({
            "session": session, "sequence": 42, "pts": null, "arrived": 1_000_000, "found": 1_020_000,
            "observation": { "kind": "match", "bank": "demo", "bank_revision": 3, "signal": 9, "distance": 12, "quality": 88,
                "opinion": "positive", "quarantined": true, "provenance": "clip.mp4 sha256:00", "banked_at": { "secs": 1, "nanos": 500_000_000 } },
        });
        let attempts = json!([
            { "began": 2_000_000, "ended": 2_100_000, "outcome": "retry", "detail": "no answer", "due": 2_300_000 },
            { "began": 2_300_000, "ended": 2_400_000, "outcome": "done", "detail": "no longer listed" },
        ]);
        let decision = json!({
            "id": "019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f", "session": session, "verdict": "cut", "rule": "known-content",
            "policy": "ab", "capped_by": "demo", "decided": 1_500_000, "evidence": [found],
            "before": "hold", "until": 3_000_000, "lowered": { "from": "ban", "because": "breaker" },
            "context": { "class": "news", "earlier": [{ "decision": "019351a2-7c1e-7d3a-9f00-3b0a5c2d1e51", "verdict": "hold", "decided": 0 }] },
            "ended": { "at": 2_500_000, "because": "released", "by": { "kind": "operator", "name": "ann", "reason": "a rehearsal" } },
            "actions": [{ "id": "019351a2-7c1e-7d3a-9f00-3b0a5c2d1e50", "action": "kick", "attempts": attempts }],
        });
        let Answer { text, .. } = shown(decision.clone(), Names::Shortened).unwrap();
        for part in [
            "verdict   cut, by the rule `known-content`, no severer because of the cap of the bank `demo`, not ban because the breaker was open",
            "1970-01-01T00:00:01.500Z, after hold",
            "released at 1970-01-01T00:00:02.500Z by ann: a rehearsal",
            "class     news",
            "earlier   hold on 1970-01-01T00:00:00.000Z, 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e51",
            "picture 42: bank `demo` revision 3, signal 9 at 1.500 s, 12 bits off, quality 88, positive but set aside, so it counts as disputed, from clip.mp4",
            "did not work: no answer; again at 1970-01-01T00:00:02.300Z",
            "done: no longer listed",
        ] {
            assert!(text.contains(part), "{part} is missing from\n{text}");
        }
        assert!(!text.contains("secret"), "{text}");
        assert!(shown(decision, Names::Whole).unwrap().text.contains("main/live/secret"));
    }
}
