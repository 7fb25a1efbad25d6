//! Rules, banks and models on trial: what they would have done is said, and nothing else changes.

use super::*;

fn rule(name: &str, keys: &str, verdict: &str) -> String {
    format!("[[rule]]\nname = '{name}'\nverdict = '{verdict}'\nwithin = '4s'\n{}\n", keys.replace(", ", "\n"))
}

#[test]
fn stories_of_what_is_on_trial() {
    let three = rule("three", "bank = '*', pictures = 3", "hold");
    let trial = rule("trial", "bank = '*', pictures = 2, mode = 'shadow'", "cut");
    let model = rule("model", "label = 'nsfl', above = 0.5, share = 0.5, at_least = 2", "hold");
    let both = rule("both", "bank = '*', pictures = 1, label = 'nsfl', above = 0.5, share = 0.5, at_least = 1", "cut");
    let rule_on_trial = policy(&format!("{three}{trial}"));
    let same_count = policy(&format!("{three}{}", trial.replace('2', "3")));
    let cut_before = policy(&format!("{}{trial}", three.replace('3', "1").replace("hold", "cut")));
    let bank_on_trial = policy(&format!("shadow.banks = ['demo']\n{three}"));
    let model_on_trial = policy(&format!("shadow.models = ['one']\n{model}"));
    let model_for_two = policy(&format!("shadow.models = ['one']\n{both}"));
    let bank_for_two = policy(&format!("shadow.banks = ['demo']\n{both}"));
    for (story, policy, text, said) in [
        ("a rule would have cut, and another holds", &rule_on_trial, "m1 m2 m3 m4 m5", "(cut@1) hold@2"),
        ("both at once", &same_count, "m1 m2 m3 m4 m5", "hold@2 (cut@2)"),
        ("what is enforced keeps nothing from its trial", &cut_before, "m1 m2 m3", "cut@0 (cut@1)"),
        ("a bank would have held", &bank_on_trial, "m1 m2 m3 m4", "(hold@2)"),
        ("another bank holds", &bank_on_trial, "m1 m2 m3 o1 o2 o3", "(hold@2) hold@5"),
        ("whichever comes first", &bank_on_trial, "o1 o2 o3 m1 m2 m3", "hold@2 (hold@5)"),
        ("and they do not add up", &bank_on_trial, "m1 o2 m3 o4", ""),
        ("a model would have held", &model_on_trial, "n0.9 n0.9 n0.9", "(hold@1)"),
        ("another model holds", &model_on_trial, "n0.9 N0.9 N0.9 n0.9", "hold@2 (hold@3)"),
        ("a model on trial and a bank that is not", &model_for_two, "m1 n0.9", "(cut@1)"),
        ("with another model it is no trial", &model_for_two, "m1 N0.9", "cut@1"),
        ("with either, both are said", &model_for_two, "n0.9 N0.9 m1", "cut@2 (cut@2)"),
        ("a bank on trial and a model that is not", &bank_for_two, "n0.9 m1", "(cut@1)"),
        ("with either bank", &bank_for_two, "m1 o1 n0.9", "cut@2 (cut@2)"),
    ] {
        assert_eq!(judged(policy, text), said, "{story}: {text}");
    }
}

#[test]
fn a_session_judged_in_the_shadow_alone_is_not_forgotten_while_it_goes_on() {
    let mut judge = Judge::new(policy(&rule("trial", "bank = '*', pictures = 1, mode = 'shadow'", "cut")));
    assert!(judge.observe(&finding(0, 0, observed("m1")), &Context::default()).is_some());
    judge.expire(START + Duration::from_hours(1));
    assert_eq!(judge.sessions(), 1);
    assert_eq!(judge.observe(&finding(9, 9_000_000, observed("m1")), &Context::default()), None);
}

/// With some rules changed.
fn changed(policy: &Policy, change: impl Fn(&mut Config)) -> Arc<Policy> {
    let text = policy.text();
    let mut document: toml::Table = toml::from_str(&text).unwrap();
    let mut config: Config = document.remove("policy").unwrap().try_into().unwrap();
    change(&mut config);
    Arc::new(Policy::parse(config).unwrap())
}

fn all_in(policy: &Arc<Policy>, findings: &[Finding], mode: Mode) -> Vec<Judgement> {
    let mut judge = Judge::new(Arc::clone(policy));
    let mut all = Vec::new();
    for finding in findings {
        all.extend(judge.observe(finding, &Context::default()));
        all.extend(judge.also());
    }
    all.retain(|judgement| judgement.mode == mode);
    all
}

proptest! {
    /// What is enforced is the same as if a bank and a model on trial had not been there at all.
    #[test]
    fn what_is_on_trial_changes_nothing(policy in rules(2), findings in findings(80)) {
        let trial = changed(&policy, |config| {
            config.shadow = Shadow { banks: vec!["demo".into()], models: vec!["one".into()] };
        });
        let on_trial = |finding: &Finding| match &finding.observation {
            Observation::Match(seen) => &*seen.bank == "demo",
            Observation::Scores(seen) => &*seen.model == "one",
            _ => false,
        };
        let without: Vec<Finding> = findings.iter().filter(|finding| !on_trial(finding)).cloned().collect();
        let what = |judgement: Judgement| (judgement.verdict, judgement.rule, judgement.decided, judgement.evidence);
        let enforced: Vec<_> = all_in(&trial, &findings, Mode::Enforced).into_iter().map(what).collect();
        let alone: Vec<_> = all_in(&policy, &without, Mode::Enforced).into_iter().map(what).collect();
        prop_assert_eq!(enforced, alone);
    }

    /// Rules that are all on trial would have done what they would do.
    #[test]
    fn a_trial_tells_what_would_be_done(policy in rules(2), findings in findings(80)) {
        let trial = changed(&policy, |config| config.rule.iter_mut().for_each(|rule| rule.mode = Mode::Shadow));
        let enforced = all_in(&policy, &findings, Mode::Enforced);
        let would: Vec<Judgement> = all_in(&trial, &findings, Mode::Shadow)
            .into_iter()
            .map(|judgement| Judgement { mode: Mode::Enforced, ..judgement })
            .collect();
        prop_assert_eq!(would, enforced);
    }
}
