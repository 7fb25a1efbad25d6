//! How the judge's tests write findings: a letter and a number each, a second a step.

use std::fmt::Write as _;

use super::*;
use crate::finding::{Match, Opinion, Report, Scores};
use crate::stream::{StreamId, StreamState, UninspectableReason};

pub(super) fn session(id: &str) -> Session {
    Session { stream: StreamId::new("main", "live", "name"), id: id.into() }
}

pub(super) fn finding(sequence: u64, millis: u64, observation: Observation) -> Finding {
    let arrived = START + Duration::from_millis(millis);
    let found = arrived + Duration::from_millis(30);
    let pts = Some(Duration::from_millis(millis));
    Finding { session: session("1"), sequence, pts, arrived, found, observation }
}

pub(super) fn matched(bank: &str, signal: u64, opinion: Opinion) -> Observation {
    Observation::Match(Match {
        bank: bank.into(),
        bank_revision: 1,
        signal,
        distance: 10,
        quality: 90,
        opinion,
        provenance: "test".into(),
        banked_at: None,
        quorum: 1,
        at_most: Verdict::Ban,
        quarantined: false,
    })
}

/// The signal of one second into a video is 1000.
pub(super) fn filmed(bank: &str, video: &str, seconds: f64) -> Observation {
    let at = Duration::from_secs_f64(seconds);
    let Observation::Match(seen) = matched(bank, at.as_millis() as u64, Opinion::Positive) else { unreachable!() };
    Observation::Match(Match { provenance: video.into(), banked_at: Some(at), ..seen })
}

/// Of a bank with terms of its own.
pub(super) fn bound(bank: &str, signal: u64, quorum: u32, at_most: Verdict) -> Observation {
    let Observation::Match(seen) = matched(bank, signal, Opinion::Positive) else { unreachable!() };
    Observation::Match(Match { quorum, at_most, ..seen })
}

pub(super) fn scored(model: &str, label: &str, score: f32) -> Observation {
    let scores = vec![("safe".into(), 1.0 - score), (label.into(), score)];
    Observation::Scores(Scores { model: model.into(), digest: "00".into(), scores, ..Scores::default() })
}

pub(super) fn reported(reporter: &str, category: &str, imminent: bool, weight: f32) -> Observation {
    let (id, reporter, category) = (uuid::Uuid::nil(), reporter.into(), category.into());
    Observation::Report(Report { id, reporter, category, imminent, weight })
}

/// `m3`: signal 3 of the bank `demo`; `o3`: of the bank `other`; `s3`, `d3`, `x3`: as `m3`, but a seed, disputed, or
/// known to be a mistake. `a7.5` and `b7.5`: banked in `demo`, of the videos a and b, at 7.5 s; `A7.5`: of a in `other`.
/// `q3`: of the bank `strict`, which asks for three pictures; `h3`: of the bank `held`, which leads to a hold at most;
/// `Q3`, `H3`: of `demo` after it was changed to that; `r3`: as `m3`, but the signal is set aside.
/// `n0.9`: the label `nsfl` scored by one model; `N0.9`: by another. `f3`: as `m3`, but farther from its signal.
/// `p1`: the person 1 reports violence; `P1`: a danger to life; `t1`: terrorism; `w1`: violence, and their word counts little.
/// `B`: the stream is blind; `U`: nothing of it decodes; `V`: it has no video; `I`: it is inspected.
pub(super) fn observed(token: &str) -> Observation {
    let (kind, value) = token.split_at(1);
    let signal = || value.parse().unwrap();
    match kind {
        "m" => matched("demo", signal(), Opinion::Positive),
        "o" => matched("other", signal(), Opinion::Positive),
        "s" => matched("demo", signal(), Opinion::InvestigationSeed),
        "d" => matched("demo", signal(), Opinion::Disputed),
        "x" => matched("demo", signal(), Opinion::Negative),
        "a" => filmed("demo", "a", value.parse().unwrap()),
        "b" => filmed("demo", "b", value.parse().unwrap()),
        "A" => filmed("other", "a", value.parse().unwrap()),
        "q" => bound("strict", signal(), 3, Verdict::Ban),
        "h" => bound("held", signal(), 1, Verdict::Hold),
        "Q" => bound("demo", signal(), 3, Verdict::Ban),
        "H" => bound("demo", signal(), 1, Verdict::Hold),
        "r" => {
            let Observation::Match(seen) = matched("demo", signal(), Opinion::Positive) else { unreachable!() };
            Observation::Match(Match { quarantined: true, ..seen })
        }
        "f" => {
            let Observation::Match(seen) = matched("demo", signal(), Opinion::Positive) else { unreachable!() };
            Observation::Match(Match { distance: 25, ..seen })
        }
        "p" => reported(value, "violence", false, 1.0),
        "P" => reported(value, "violence", true, 1.0),
        "t" => reported(value, "terrorism", false, 1.0),
        "w" => reported(value, "violence", false, 0.4),
        "B" => Observation::State(StreamState::Blind),
        "U" => Observation::State(StreamState::Uninspectable(UninspectableReason::Undecodable)),
        "V" => Observation::State(StreamState::Uninspectable(UninspectableReason::NoVideo)),
        "I" => Observation::State(StreamState::Inspected),
        "n" => scored("one", "nsfl", value.parse().unwrap()),
        "N" => scored("two", "nsfl", value.parse().unwrap()),
        _ => panic!("{token}"),
    }
}

/// One second a step: `.` nothing is inspected; `k` a picture in which nothing is found; otherwise findings of one
/// picture, joined by `+`; `m1@2`: a finding that comes now, of the picture of step 2.
pub(super) fn timeline(text: &str) -> Vec<(usize, Finding)> {
    let mut findings = Vec::new();
    for (step, token) in text.split_whitespace().enumerate() {
        for part in token.split('+').filter(|part| !matches!(*part, "." | "k")) {
            let (what, of) = part.split_once('@').map_or((part, step), |(what, of)| (what, of.parse().unwrap()));
            findings.push((step, finding(of as u64, of as u64 * 1000, observed(what))));
        }
    }
    findings
}

/// The judgements on a timeline: `hold@2 cut@5`.
pub(super) fn judged(policy: &Arc<Policy>, text: &str) -> String {
    judged_in(policy, &Context::default(), text)
}

/// The judgements where this is known; those in the shadow in brackets, those that were lowered with what they were:
/// `hold@2 (cut@5) cut>hold@7`.
pub(super) fn judged_in(policy: &Arc<Policy>, context: &Context, text: &str) -> String {
    let mut judge = Judge::new(Arc::clone(policy));
    let mut said = String::new();
    for (step, finding) in timeline(text) {
        for judgement in judge.observe(&finding, context).into_iter().chain(judge.also()) {
            let from = judgement.lowered.map(|lowered| format!("{}>", lowered.from)).unwrap_or_default();
            let verdict = format!("{from}{}@{step}", judgement.verdict);
            match judgement.mode {
                Mode::Enforced => write!(said, " {verdict}").unwrap(),
                Mode::Shadow => write!(said, " ({verdict})").unwrap(),
            }
        }
    }
    said.trim_start().to_owned()
}
