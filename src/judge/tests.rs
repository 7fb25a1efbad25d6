//! The judge's behaviour as text timelines, and against a slow and obvious twin.

mod aligned;
mod breaker;
mod conditions;
mod notation;
mod policy;
mod quarantine;
mod replay;
mod shadow;
mod slow;
mod terms;

use proptest::prelude::*;

use self::notation::*;
use self::slow::Slow;
use super::*;
use crate::finding::Observation;

const START: Timestamp = Timestamp::from_millis(1_000_000_000);

fn policy(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(toml::from_str(text).unwrap()).unwrap())
}

/// Three pictures cut, and a model holds: as it is built in, but a single picture means nothing.
fn usual_policy() -> Arc<Policy> {
    let Config { mut rule, .. } = Config::default();
    rule.retain(|rule| rule.name != "known-picture");
    Arc::new(Policy::parse(Config { rule, ..Config::default() }).unwrap())
}

#[test]
fn stories_of_the_usual_policy() {
    for (story, text, said) in [
        ("three pictures of a bank within four seconds", "k . m1 m2 . m3", "cut@5"),
        ("the first and the last four seconds apart", "m1 . m2 . m3", "cut@4"),
        ("and not more", "m1 . m2 . . m3", ""),
        ("a slate that stands still is one picture", "m1 m1 m1 m1 m1 m1", ""),
        ("one picture near three signals is one picture", "m1+m2+m3 . .", ""),
        ("two banks with the same picture do not make two", "m1+o1 m1+o1 m2+o2", ""),
        ("each bank counts for itself", "m1+o1 o2 m2 o3", "cut@3"),
        ("a session is cut once", "m1 m2 m3 m4 m5 m6 m7", "cut@2"),
        ("doubted signals do not cut", "d1 s2 d3 s4 m5 m6", ""),
        ("known mistakes least of all", "x1 x2 x3 x4", ""),
        ("a model that is sure of most pictures", "n0.93 n0.95 n0.1", "hold@2"),
        ("on half of them only", "n0.93 n0.1 n0.95 n0.1", "hold@2"),
        ("half is not most", "n0.1 n0.93 n0.1 n0.95 n0.1 n0.9", ""),
        ("exactly the threshold is not above it", "n0.8 n0.8 n0.8 n0.8", ""),
        ("two pictures are too few", "n0.99 n0.99 . . . . . n0.99", ""),
        ("two models, each of two pictures", "n0.99+N0.99 n0.99+N0.99", ""),
        ("what cannot be scored is not scored", "nNaN nNaN nNaN n0.9 n0.9", ""),
        ("a picture scored twice is one picture", "n0.9 n0.9@0 n0.9@0", ""),
        ("a hold may become a cut", "n0.9 n0.9 n0.9 m1 m2 m3", "hold@2 cut@5"),
        ("but a cut no hold", "m1 m2 m3 n0.9 n0.9 n0.9 n0.9", "cut@2"),
        ("a detector that is late", "k k k m1@0 m2@1 m3@2", "cut@5"),
        ("late, and the newest picture is not among them", ". . . . . . . . m9 m1@2 m2@3 m3@4", "cut@11"),
        ("too late", "m1 . . . . . . . m2@1 m3@1", ""),
    ] {
        assert_eq!(judged(&usual_policy(), text), said, "{story}: {text}");
    }
}

#[test]
fn stories_of_other_policies() {
    let ladder = r#"
        [[rule]]
        name = "seen"
        bank = "demo"
        pictures = 1
        within = "1s"
        verdict = "watch"
        [[rule]]
        name = "seen twice"
        bank = "demo"
        pictures = 2
        within = "2s"
        verdict = "hold"
        [[rule]]
        name = "seen often"
        bank = "demo"
        pictures = 3
        within = "6s"
        verdict = "ban"
    "#;
    let model = r#"
        allow_classifier_cut = true
        [[rule]]
        name = "sure"
        label = "nsfl"
        model = "two"
        above = 0.5
        share = 0.0
        at_least = 2
        within = "3s"
        verdict = "cut"
    "#;
    let wide = r#"
        [[rule]]
        name = "most"
        label = "nsfl"
        above = 0.5
        share = 0.5
        at_least = 3
        within = "3s"
        verdict = "hold"
        [[rule]]
        name = "wide"
        bank = "demo"
        pictures = 9
        within = "6s"
        verdict = "cut"
    "#;
    for (story, policy_text, text, said) in [
        ("what comes too late tips no balance", wide, "n0.1 n0.1 n0.9 n0.9 n0.1 . . . m1 n0.1@1", ""),
        ("a ladder is climbed", ladder, "m1 m2 m3", "watch@0 hold@1 ban@2"),
        ("rungs may be skipped", ladder, "k m2+m2@0 m1@0 m3@0", "watch@1 hold@2"),
        ("other banks do not count", ladder, "o1 o2 o3", ""),
        ("doubted signals hold but do not ban", ladder, "d1 s2 d3 d4", "watch@0 hold@1"),
        ("nor do they help others to", ladder, "d1 m2 m3 m4", "watch@0 hold@1 ban@3"),
        ("a late finding completes two windows: the severer counts", ladder, "m1 . . m3 . m2@1", "watch@0 ban@5"),
        ("a model may cut where that is allowed", model, "N0.1 N0.9", "cut@1"),
        ("another model may not", model, "n0.9 n0.9 n0.9", ""),
        ("no rules, no judgement", "rule = []", "m1 m2 m3 n0.9 n0.9 n0.9", ""),
    ] {
        assert_eq!(judged(&policy(policy_text), text), said, "{story}: {text}");
    }
}

#[test]
fn a_judgement_names_its_rule_its_time_and_just_its_evidence() {
    let mut judge = Judge::new(usual_policy());
    let told = timeline("o9 m1 n0.9+m1 d7 m2 m3");
    let judgement = told.iter().find_map(|(_, finding)| judge.observe(finding, &Context::default())).unwrap();
    let evidence: Vec<Finding> = timeline(". m1 m1 . m2 m3").into_iter().map(|(_, finding)| finding).collect();
    assert_eq!(&*judgement.rule, "known-content");
    assert_eq!(judgement.decided, evidence.last().unwrap().found);
    assert_eq!(judgement.evidence, evidence);
}

#[test]
fn among_equals_the_first_rule_decides() {
    let rule = |name: &str| {
        format!("[[rule]]\nname = \"{name}\"\nbank = \"*\"\npictures = 1\nwithin = \"1s\"\nverdict = \"cut\"\n")
    };
    let mut judge = Judge::new(policy(&(rule("b") + &rule("a"))));
    let (_, seen) = timeline("m1").remove(0);
    assert_eq!(&*judge.observe(&seen, &Context::default()).unwrap().rule, "b");
}

#[test]
fn sessions_are_judged_apart() {
    let mut judge = Judge::new(usual_policy());
    for (at, (_, finding)) in timeline("m1 m2 m3 m4 m5").into_iter().enumerate() {
        let finding = Finding { session: session(if at % 2 == 0 { "even" } else { "odd" }), ..finding };
        assert_eq!(judge.observe(&finding, &Context::default()).is_some(), at == 4);
    }
}

#[test]
fn a_session_that_is_over_is_not_judged_again_and_then_forgotten() {
    let mut judge = Judge::new(usual_policy());
    let told = timeline("m1 m2 m3 . m4 m5 m6");
    let count = told.into_iter().filter_map(|(step, finding)| {
        if step == 4 {
            judge.end(&session("1"), START + Duration::from_secs(6));
            judge.expire(START + Duration::from_secs(4));
        }
        judge.observe(&finding, &Context::default())
    });
    assert_eq!(count.count(), 1);
    let end = START + Duration::from_mins(10);
    judge.end(&session("1"), end);
    judge.end(&session("never seen"), end);
    judge.expire(end + Duration::from_mins(1));
    assert_eq!(judge.sessions(), 2);
    judge.expire(end + Duration::from_mins(2));
    assert_eq!(judge.sessions(), 0);
}

#[test]
fn another_session_under_the_same_identifier_is_judged_afresh_and_by_its_own_pictures() {
    let mut judge = Judge::new(usual_policy());
    let end = START + Duration::from_millis(3500);
    let mut said = Vec::new();
    for (step, finding) in timeline("m1 m2 m3 . m1 m2 m3@3 m4@2 m4") {
        if step == 4 {
            judge.end(&session("1"), end);
        }
        said.extend(judge.observe(&finding, &Context::default()).map(|judgement| (step, judgement.evidence)));
    }
    let [(2, _), (8, evidence)] = said.as_slice() else { panic!("{said:?}") };
    assert!(evidence.iter().all(|finding| finding.arrived > end), "{evidence:?}");
}

#[test]
fn a_session_that_goes_on_is_not_judged_again_however_long_it_was_quiet() {
    let mut judge = Judge::new(usual_policy());
    let judged = |judge: &mut Judge, after: u64| {
        let told = timeline("m1 m2 m3").into_iter();
        told.filter_map(|(_, seen)| {
            judge.observe(&Finding { arrived: seen.arrived + Duration::from_secs(after), ..seen }, &Context::default())
        })
        .count()
    };
    assert_eq!(judged(&mut judge, 0), 1);
    judge.expire(START + Duration::from_hours(1));
    assert_eq!(judged(&mut judge, 3600), 0);
    judge.observe(&Finding { session: session("calm"), ..timeline("m1").remove(0).1 }, &Context::default());
    assert_eq!(judge.sessions(), 2);
    judge.expire(START + Duration::from_hours(2));
    assert_eq!(judge.sessions(), 1, "calm and quiet is forgotten, judged is not");
}

#[test]
fn evidence_is_bounded_and_the_oldest_goes_first() {
    let mut judge = Judge::new(usual_policy());
    for at in 0..2000 {
        assert_eq!(judge.observe(&finding(at, at / 10, observed("m1")), &Context::default()), None);
    }
    let held = |judge: &Judge| judge.cases[&session("1")].evidence().timeline();
    assert_eq!(held(&judge).len(), EVIDENCE_LIMIT);
    assert_eq!(held(&judge)[0].sequence, 2000 - EVIDENCE_LIMIT as u64);
    judge.observe(&finding(3000, 10_000, observed("m1")), &Context::default());
    assert_eq!(held(&judge).len(), 1);
}

#[test]
fn attention_is_for_what_may_become_evidence() {
    let judge = Judge::new(usual_policy());
    for (token, raised) in
        [("m1", true), ("d1", true), ("s1", true), ("x1", false), ("n0.81", true), ("n0.8", false), ("N0.9", true)]
    {
        let attention = judge.attention(&finding(0, 0, observed(token)));
        assert_eq!(attention, raised.then_some((Attention::Suspicious, Duration::from_secs(10))), "{token}");
    }
    assert_eq!(judge.attention(&finding(0, 0, scored("one", "kitten", 0.99))), None);
}

fn rules(label_rules: usize) -> impl Strategy<Value = Arc<Policy>> {
    let verdict = prop::sample::select(vec![Verdict::Watch, Verdict::Hold, Verdict::Cut, Verdict::Ban]);
    let within = (1..6_u64).prop_map(Duration::from_secs);
    let bank = (verdict.clone(), within.clone(), 1..5_usize, 0..5_usize, any::<bool>()).prop_map(
        |(verdict, within, count, aligned, any)| {
            let aligned = Some(aligned).filter(|aligned| *aligned > 1);
            RuleConfig {
                bank: Some(if any { "*" } else { "demo" }.to_owned()),
                pictures: (count > 1 || aligned.is_none()).then_some(count),
                aligned,
                ..RuleConfig::named("", within, verdict)
            }
        },
    );
    let label =
        (verdict, within, 1..5_usize, any::<bool>(), 0..4_u32).prop_map(|(verdict, within, count, any, share)| {
            RuleConfig {
                label: Some("nsfl".to_owned()),
                model: (!any).then(|| "one".to_owned()),
                above: Some(0.5),
                share: Some(f64::from(share) / 4.0),
                at_least: Some(count),
                ..RuleConfig::named("", within, verdict)
            }
        });
    (prop::collection::vec(bank, 0..4), prop::collection::vec(label, 0..=label_rules)).prop_map(|(banks, labels)| {
        let rule = banks.into_iter().chain(labels).enumerate();
        let rule = rule.map(|(at, rule)| RuleConfig { name: at.to_string(), ..rule }).collect();
        Arc::new(Policy::parse(Config { allow_classifier_cut: true, rule, ..Config::default() }).unwrap())
    })
}

/// Findings of pictures one to a quarter second, in order of arrival.
fn findings(pictures: u64) -> impl Strategy<Value = Vec<Finding>> {
    let token = prop::sample::select(vec![
        "m1", "m2", "m3", "m4", "o1", "o2", "o3", "s1", "s5", "d2", "x1", "n0.9", "n0.1", "n0.6", "N0.9", "N0.1", "q1",
        "q2", "q3", "h1", "h2", "h3", "Q1", "Q5", "H2", "H6", "r1", "r4",
    ]);
    let film = (prop::sample::select(vec!["a", "a", "b", "A"]), 0..100_u32);
    let token = prop_oneof![
        token.prop_map(str::to_owned),
        film.prop_map(|(video, at)| format!("{video}{}", f64::from(at) / 8.0)),
    ];
    prop::collection::vec((0..pictures, token), 0..60).prop_map(|mut tokens| {
        tokens.sort_by_key(|(picture, _)| *picture);
        tokens.into_iter().map(|(picture, token)| finding(picture, picture * 250, observed(&token))).collect()
    })
}

/// Shuffles a little: nothing moves further than `reach` places.
fn late(findings: Vec<Finding>, delays: &[usize]) -> Vec<Finding> {
    let mut order: Vec<(usize, Finding)> = findings.into_iter().enumerate().collect();
    order.sort_by_key(|(at, _)| at + delays.get(*at).copied().unwrap_or_default());
    order.into_iter().map(|(_, finding)| finding).collect()
}

fn judge_all(policy: &Arc<Policy>, findings: &[Finding]) -> Vec<Judgement> {
    let mut judge = Judge::new(Arc::clone(policy));
    findings.iter().filter_map(|finding| judge.observe(finding, &Context::default())).collect()
}

proptest! {
    #[test]
    fn judges_as_the_slow_twin_does(
        policy in rules(2), findings in findings(80), delays in prop::collection::vec(0..40_usize, 60),
    ) {
        let findings = late(findings, &delays);
        let (mut judge, mut slow) = (Judge::new(Arc::clone(&policy)), Slow::default());
        for finding in &findings {
            let judgement = judge.observe(finding, &Context::default());
            let said = judgement.as_ref().map(|judgement| (judgement.verdict, Arc::clone(&judgement.rule)));
            prop_assert_eq!(said, slow.observe(&policy, finding));
        }
    }

    #[test]
    fn verdicts_only_rise_and_more_evidence_never_lowers_them(
        policy in rules(2), findings in findings(80), cut in 0..60_usize,
    ) {
        let all = judge_all(&policy, &findings);
        prop_assert!(all.windows(2).all(|pair| pair[0].verdict < pair[1].verdict));
        let some = judge_all(&policy, &findings[..cut.min(findings.len())]);
        prop_assert_eq!(&all[..some.len()], &some[..]);
    }

    /// Wherever it is added: about banks, more evidence is never less.
    #[test]
    fn a_match_never_speaks_for_a_stream(
        policy in rules(0), findings in findings(16), more in findings(16), places in prop::collection::vec(0..60_usize, 60),
    ) {
        let last = |findings: &[Finding]| judge_all(&policy, findings).last().map(|judgement| judgement.verdict);
        let mut mixed = findings.clone();
        for (finding, place) in more.into_iter().zip(places) {
            // Not newer than what there is: a newer picture may make an older one too old.
            if findings.last().is_some_and(|last| finding.arrived <= last.arrived) {
                mixed.insert(place.min(mixed.len()), finding);
            }
        }
        mixed.sort_by_key(|finding| finding.arrived);
        prop_assert!(last(&mixed) >= last(&findings));
    }

    #[test]
    fn within_the_window_order_does_not_matter_to_what_a_bank_decides(
        policy in rules(0), findings in findings(24), keys in prop::collection::vec(any::<u32>(), 60),
    ) {
        let widest = policy.widest().pictures;
        let first = findings.first().map(|finding| finding.arrived);
        let findings: Vec<Finding> =
            findings.into_iter().filter(|finding| first.is_some_and(|first| finding.arrived.since(first) <= widest)).collect();
        let mut shuffled: Vec<(u32, Finding)> = keys.into_iter().zip(findings.clone()).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        let shuffled: Vec<Finding> = shuffled.into_iter().map(|(_, finding)| finding).collect();
        let last = |findings: &[Finding]| judge_all(&policy, findings).last().map(|judgement| judgement.verdict);
        prop_assert_eq!(last(&shuffled), last(&findings));
    }

    #[test]
    fn a_recorded_list_gives_the_same_judgements_again(
        policy in rules(2), findings in findings(80), expire_every in 1..10_usize,
    ) {
        let recorded = serde_json::to_string(&findings).unwrap();
        let read: Vec<Finding> = serde_json::from_str(&recorded).unwrap();
        let first = judge_all(&policy, &findings);
        prop_assert_eq!(&judge_all(&policy, &read), &first);
        // Tidying up in between changes nothing.
        let mut judge = Judge::new(policy);
        let mut again = Vec::new();
        for (at, finding) in read.into_iter().enumerate() {
            if at % expire_every == 0 {
                judge.expire(finding.found);
            }
            again.extend(judge.observe(&finding, &Context::default()));
        }
        prop_assert_eq!(again, first);
    }

    #[test]
    fn evidence_is_in_order_of_one_subject_and_within_the_time(policy in rules(2), findings in findings(80)) {
        for judgement in judge_all(&policy, &findings) {
            let rule = policy.rules().iter().find(|rule| rule.name == judgement.rule).unwrap();
            let evidence = &judgement.evidence;
            prop_assert!(!evidence.is_empty() && evidence.is_sorted_by_key(|finding| finding.arrived));
            prop_assert!(evidence.iter().all(|finding| rule.subject(finding) == rule.subject(&evidence[0])));
            prop_assert!(evidence.iter().all(|finding| rule.subject(finding).is_some()));
            prop_assert!(evidence[evidence.len() - 1].arrived.since(evidence[0].arrived) <= rule.within);
        }
    }
}
