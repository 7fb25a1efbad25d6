//! Banks that ask for a quorum, banks that lead so far and no further, and signals that are set aside.

use super::*;

fn rule(name: &str, keys: &str, verdict: &str) -> String {
    let keys = keys.replace(", ", "\n");
    format!("[[rule]]\nname = \"{name}\"\n{keys}\nwithin = \"4s\"\nverdict = \"{verdict}\"\n")
}

#[test]
fn stories_of_banks_with_terms() {
    let first = policy(&rule("first", "bank = '*', pictures = 1", "cut"));
    let ladder = rule("any", "bank = '*', pictures = 2", "cut") + &rule("seen", "bank = '*', pictures = 1", "watch");
    let ladder = policy(&(ladder + &rule("sure", "bank = 'demo', pictures = 2", "ban")));
    let step = policy(&rule("step", "bank = '*', aligned = 2", "cut"));
    for (story, policy, text, said) in [
        ("a bank that asks for nothing cuts by the rule", &first, "m1", "cut@0"),
        ("one that asks for three pictures cuts at the third", &first, "q1 q2 q3", "cut@2"),
        ("a still picture never makes three", &first, "q1 q1 q1 q1 q1 q1", ""),
        ("nor do three signals near one picture", &first, "q1+q2+q3", ""),
        ("the three must fall into the rule's time", &first, "q1 . . q2 . . q3", ""),
        ("others do not count towards a quorum", &first, "q1 q2", ""),
        ("nor keep another bank from cutting at once", &first, "q1 q2 m1", "cut@2"),
        ("a capped bank goes as far as its cap", &first, "h1 h2 h3 h4", "hold@0"),
        ("and another bank beyond it", &first, "h1 h2 m1 h3", "hold@0 cut@2"),
        ("no rung twice", &ladder, "h1 h2 h3", "watch@0 hold@1"),
        ("a rule that is severer still decides by itself", &ladder, "h1 h2 m1 m2", "watch@0 hold@1 ban@3"),
        ("what came before a cap was set allows more", &first, "H1 H2 m3", "hold@0 cut@2"),
        ("and is not dragged down by what came after", &ladder, "m1 H2 m3", "watch@0 hold@1 ban@2"),
        ("a quorum binds those made under it", &ladder, "Q1 Q2 . . . . m3 m4", "watch@6 ban@7"),
        ("and those made before need no help", &ladder, "m1 Q2 m3", "watch@0 ban@2"),
        ("both count towards the greater quorum", &first, "Q1 Q2 m2 Q5", "cut@2"),
        ("two in step do not make three pictures", &step, "Q1 Q2", ""),
        ("a signal that is set aside cuts nobody", &first, "r1 r2 r3 r4", ""),
        ("and helps nobody cut", &ladder, "r1 m2 r3", "watch@0"),
        ("but is watched", &ladder, "r1", "watch@0"),
    ] {
        assert_eq!(judged(policy, text), said, "{story}: {text}");
    }
}

#[test]
fn a_capped_judgement_names_the_rule_and_the_bank_that_capped_it() {
    let policy = policy(
        &(rule("any", "bank = '*', pictures = 2", "cut")
            + &rule("mild", "bank = '*', pictures = 2", "hold")
            + &rule("hard", "bank = 'demo', pictures = 2", "ban")),
    );
    let mut judge = Judge::new(policy);
    let told = timeline("h1 h2 o1 o2 m1 m2");
    let said: Vec<_> = told
        .into_iter()
        .filter_map(|(_, finding)| judge.observe(&finding, &Context::default()))
        .map(|said| (said.rule.to_string(), said.verdict, said.capped_by.as_deref().map(str::to_owned)))
        .collect();
    assert_eq!(
        said,
        [
            ("any".to_owned(), Verdict::Hold, Some("held".to_owned())),
            ("any".to_owned(), Verdict::Cut, None),
            ("hard".to_owned(), Verdict::Ban, None),
        ]
    );
}

#[test]
fn the_evidence_shows_the_quorum_and_nothing_that_does_not_allow_the_verdict() {
    let policy = policy(&rule("first", "bank = '*', pictures = 1", "cut"));
    for (text, evidence) in [("q1 q2 q3", "q1 q2 q3"), ("Q1 H2 m3", ". . m3"), ("Q1 Q2 m3", "Q1 Q2 m3")] {
        let findings: Vec<Finding> = timeline(text).into_iter().map(|(_, finding)| finding).collect();
        let judgements = judge_all(&policy, &findings);
        let expected: Vec<Finding> = timeline(evidence).into_iter().map(|(_, finding)| finding).collect();
        assert_eq!(judgements.last().unwrap().evidence, expected, "{text}");
    }
}

proptest! {
    /// What the cap and the quorum promise, said without the judge: nothing severer than any match of the evidence allows,
    /// on no fewer pictures than any of them asks for, and said so when the rule wanted more.
    #[test]
    fn no_judgement_breaks_the_terms_of_its_evidence(policy in rules(2), findings in findings(80)) {
        for judgement in judge_all(&policy, &findings) {
            let rule = policy.rules().iter().find(|rule| rule.name == judgement.rule).unwrap();
            let seen = judgement.evidence.iter().filter_map(rule::matched);
            let of = |pick: fn(&Finding) -> u64| {
                let all: std::collections::BTreeSet<u64> = judgement.evidence.iter().map(pick).collect();
                all.len()
            };
            let pictures = of(|finding| finding.sequence).min(of(|finding| rule::matched(finding).map_or(0, |m| m.signal)));
            for seen in seen {
                prop_assert!(seen.at_most >= judgement.verdict);
                prop_assert!(pictures >= seen.quorum as usize);
                prop_assert!(!(seen.quarantined && judgement.verdict.closes()));
            }
            prop_assert_eq!(judgement.capped_by.is_some(), judgement.verdict < rule.verdict);
        }
    }
}
