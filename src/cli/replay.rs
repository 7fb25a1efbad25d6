//! `sluicegate replay`: whether a recorded decision follows from what was recorded, and what another policy would have
//! made of it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::json;
use uuid::Uuid;

use super::bank::{Answer, tell};
use super::core::{Core, CoreArgs};
use super::policy;
use crate::api::TimelineView;
use crate::decision::{Actor, Decision, Mode};
use crate::judge::{Judgement, Policy, rehearse, replay};

/// Judge what was recorded with a decision again: with the policy of that time, or with another.
///
/// With the policy of that time the same decision must follow, to the last finding that it rests on: otherwise the exit
/// code is 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  sluicegate replay 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f
  sluicegate replay 019351a2-7c1e-7d3a-9f00-3b0a5c2d1e4f --policy stricter.toml")]
pub(super) struct Args {
    /// The decision.
    id: Uuid,
    /// A file with another `[policy]`, such as a whole configuration: shows what it would have decided.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    core: CoreArgs,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let recorded: TimelineView = Core::new(&args.core)?.get(&format!("/v1/decisions/{}/timeline", args.id))?;
    let decision = &recorded.decision;
    if let Actor::Operator { name, .. } = &decision.actor {
        bail!("the decision {} follows from no rule: {name} made it", decision.id);
    }
    if recorded.timeline.is_empty() {
        bail!("nothing was recorded that the decision {} could be replayed from", decision.id);
    }
    let policy = if let Some(path) = &args.policy {
        policy::load(Some(path))?
    } else {
        let text = recorded.policy.as_deref();
        Policy::read(text.context("the ledger does not have the policy of that time: name one with --policy")?)?
    };
    let (answer, code) = if args.policy.is_some() {
        (would(decision, instead(&recorded, &policy).as_ref()), ExitCode::SUCCESS)
    } else {
        let judged = judge(&recorded, &policy);
        let same = judged.as_ref().is_some_and(|judged| differs(decision, judged).is_empty());
        (did(decision, judged.as_ref()), if same { ExitCode::SUCCESS } else { ExitCode::from(1) })
    };
    tell(&[answer], &[], args.core.json, out)?;
    Ok(code)
}

fn judge(recorded: &TimelineView, policy: &Policy) -> Option<Judgement> {
    let Decision { mode, before, context, .. } = &recorded.decision;
    replay(policy, *mode, *before, context, &recorded.timeline)
}

/// The severest that another policy would have carried out, the first of equals: it begins with the session, for what had been
/// reached before was reached by the policy in force.
fn instead(recorded: &TimelineView, policy: &Policy) -> Option<Judgement> {
    let said = rehearse(policy, &recorded.decision.context, &recorded.timeline);
    said.into_iter()
        .filter(|said| said.mode == Mode::Enforced)
        .reduce(|severest, next| if next.verdict > severest.verdict { next } else { severest })
}

/// What of the recorded decision does not follow.
fn differs(decision: &Decision, judged: &Judgement) -> Vec<&'static str> {
    let until = judged.lasts.map(|lasts| judged.decided + lasts);
    [
        ("session", decision.session != judged.session),
        ("verdict", decision.verdict != judged.verdict),
        ("rule", decision.rule != judged.rule),
        ("mode", decision.mode != judged.mode),
        ("lowered", decision.lowered != judged.lowered),
        ("capped_by", decision.capped_by != judged.capped_by),
        ("decided", decision.decided != judged.decided),
        ("until", decision.until != until),
        ("evidence", decision.evidence != judged.evidence),
    ]
    .into_iter()
    .filter_map(|(part, differs)| differs.then_some(part))
    .collect()
}

fn did(decision: &Decision, judged: Option<&Judgement>) -> Answer {
    let Some(judged) = judged else {
        let text = format!("not reproduced: nothing follows, and {} was recorded", decision.verdict);
        return Answer { text, json: json!({ "decision": decision.id, "reproduced": false, "verdict": null }) };
    };
    let differs = differs(decision, judged);
    let text = if differs.is_empty() {
        format!(
            "reproduced: {} by the rule `{}`, from the same {} findings",
            judged.verdict,
            judged.rule,
            judged.evidence.len()
        )
    } else {
        format!(
            "not reproduced: {} by the rule `{}` follows; it differs in {}",
            judged.verdict,
            judged.rule,
            differs.join(", ")
        )
    };
    let json = json!({
        "decision": decision.id, "reproduced": differs.is_empty(), "verdict": judged.verdict, "rule": judged.rule,
        "differs": differs,
    });
    Answer { text, json }
}

fn would(decision: &Decision, judged: Option<&Judgement>) -> Answer {
    let was = format!("{} by the rule `{}`", decision.verdict, decision.rule);
    let (text, json) = match judged {
        None => (format!("nothing would have been decided; it was {was}"), json!({ "verdict": null, "rule": null })),
        Some(judged) => {
            let sooner = decision.decided.since(judged.decided);
            let when = if sooner.is_zero() { String::new() } else { format!(", {:.3} s sooner", sooner.as_secs_f64()) };
            (
                format!("it would have been {} by the rule `{}`{when}; it was {was}", judged.verdict, judged.rule),
                json!({ "verdict": judged.verdict, "rule": judged.rule, "decided": judged.decided }),
            )
        }
    };
    let was = json!({ "verdict": decision.verdict, "rule": decision.rule, "decided": decision.decided });
    Answer { text, json: json!({ "decision": decision.id, "would": json, "was": was }) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;
    use crate::decision::{Context, Verdict};
    use crate::finding::{Finding, Match, Observation, Opinion};
    use crate::judge::{Config, Judge};
    use crate::stream::{Session, StreamId};

    /// Three banked pictures, 100 ms from one to the next: the usual policy cuts at the third.
    fn recorded() -> TimelineView {
        let policy = Policy::parse(Config::default()).unwrap();
        let (text, digest) = (policy.text(), policy.digest());
        let mut judge = Judge::new(policy.into());
        let session = Session { stream: StreamId::new("main", "live", "cam"), id: "7".into() };
        let found = |signal: u64| Finding {
            session: session.clone(),
            sequence: signal,
            pts: None,
            arrived: Timestamp::from_millis(1000 + 100 * signal),
            found: Timestamp::from_millis(1020 + 100 * signal),
            observation: Observation::Match(Match {
                bank: "demo".into(),
                bank_revision: 1,
                signal,
                distance: 3,
                quality: 100,
                opinion: Opinion::Positive,
                provenance: "clip".into(),
                banked_at: None,
                quorum: 1,
                at_most: Verdict::Ban,
                quarantined: false,
            }),
        };
        let said: Vec<_> = (1..=3).filter_map(|n| judge.observe(&found(n), &Context::default())).collect();
        let judged = said.into_iter().find(|judgement| judgement.verdict == Verdict::Cut).unwrap();
        let decision = Decision {
            policy: digest,
            until: judged.lasts.map(|lasts| judged.decided + lasts),
            before: judged.before,
            context: judged.context,
            evidence: judged.evidence,
            ..Decision::new(judged.session, judged.verdict, &judged.rule, judged.decided)
        };
        TimelineView { decision, timeline: judged.timeline, policy: Some(text.to_string()) }
    }

    #[test]
    fn a_decision_follows_from_what_was_recorded_to_the_last_bit_and_from_nothing_else() {
        // As it comes over the wire.
        let recorded: TimelineView = serde_json::from_value(json!(recorded())).unwrap();
        let policy = || Policy::read(recorded.policy.as_deref().unwrap()).unwrap();
        assert_eq!(policy().digest(), recorded.decision.policy, "the text is that of the policy that it names");
        let judged = judge(&recorded, &policy()).unwrap();
        assert_eq!(differs(&recorded.decision, &judged), Vec::<&str>::new());
        assert!(did(&recorded.decision, Some(&judged)).text.starts_with("reproduced: cut"));

        let mut forged = recorded.clone();
        forged.decision.evidence.pop();
        forged.decision.decided = forged.decision.decided + Duration::from_micros(1);
        assert_eq!(differs(&forged.decision, &judged), ["decided", "evidence"]);
        forged.timeline.remove(0);
        let judged = judge(&forged, &policy());
        assert!(judged.as_ref().is_none_or(|judged| !differs(&recorded.decision, judged).is_empty()));
    }

    #[test]
    fn another_policy_shows_what_it_would_have_done() {
        let recorded = recorded();
        let sooner =
            Policy::read("[[policy.rule]]\nname = 'one'\nbank = '*'\npictures = 1\nwithin = '4s'\nverdict = 'hold'");
        let answer = would(&recorded.decision, instead(&recorded, &sooner.unwrap()).as_ref());
        assert!(answer.text.contains("hold by the rule `one`"), "{}", answer.text);
        let never =
            Policy::read("[[policy.rule]]\nname = 'many'\nbank = '*'\npictures = 9\nwithin = '4s'\nverdict = 'cut'");
        let answer = would(&recorded.decision, instead(&recorded, &never.unwrap()).as_ref());
        assert!(answer.text.starts_with("nothing would have been decided; it was cut"), "{}", answer.text);
    }
}
