//! A decision is come to again from what it recorded, bit for bit.

use super::*;
use crate::decision::Earlier;

/// Rules of every sort; any of them may be in a policy.
const RULES: [&str; 12] = [
    "bank = '*'\npictures = 1\nwithin = '3s'\nverdict = 'watch'",
    "bank = '*'\npictures = 2\nwithin = '4s'\nverdict = 'hold'\nlasts = '2s'",
    "bank = 'demo'\naligned = 2\nwithin = '5s'\nverdict = 'cut'\ndeny = ['key', 'account']",
    "bank = '*'\npictures = 3\nwithin_bits = 20\nwithin = '2s'\nverdict = 'ban'\nmode = 'shadow'",
    "bank = 'demo'\npictures = 1\nopinion = ['disputed']\nwithin = '2s'\nverdict = 'hold'",
    "label = 'nsfl'\nabove = 0.5\nshare = 0.25\nat_least = 2\nwithin = '3s'\nverdict = 'hold'",
    "label = 'nsfl'\nmodel = 'one'\nabove = 0.8\nshare = 0.5\nat_least = 3\nwithin = '6s'\nverdict = 'cut'\nmode = 'shadow'",
    "bank = '*'\npictures = 1\nlabel = 'nsfl'\nabove = 0.5\nshare = 0.25\nat_least = 1\nwithin = '4s'\nverdict = 'cut'",
    "reports = 1.2\nwithin = '9s'\nverdict = 'hold'\nlasts = '1s'",
    "reports = 1\nbank = '*'\npictures = 2\nwithin = '7s'\nverdict = 'cut'\nafter = 'hold'",
    "state = 'blind'\nlasting = '2s'\nverdict = 'hold'\nclass = ['sport', 'news']",
    "state = 'uninspectable'\nlasting = '1s'\nreports = 1\nwithin = '4s'\nverdict = 'ban'",
];

const BESIDE: [&str; 4] =
    ["shadow.banks = ['demo']", "shadow.models = ['two']", "hold_for = '1s'", "review_first = ['sport']"];

fn policies() -> impl Strategy<Value = Arc<Policy>> {
    let rules = prop::sample::subsequence(RULES.to_vec(), 1..=RULES.len()).prop_shuffle();
    let beside = prop::sample::subsequence(BESIDE.to_vec(), 0..=2);
    (rules, beside).prop_map(|(rules, beside)| {
        let rules = rules.iter().enumerate().map(|(at, keys)| format!("[[rule]]\nname = '{at}'\n{keys}\n"));
        let rules: String = rules.collect();
        policy(&format!("allow_classifier_cut = true\nallow_state_cut = true\n{}\n{rules}", beside.join("\n")))
    })
}

/// Findings of every sort, two a second, and how late each is told.
fn heard() -> impl Strategy<Value = Vec<Finding>> {
    let token = prop::sample::select(vec![
        "m1", "m2", "m3", "f1", "f4", "o1", "o2", "s1", "d2", "x1", "r1", "q1", "q2", "h1", "h2", "H2", "a1", "a1.5",
        "a2", "n0.9", "n0.1", "n0.6", "N0.9", "N0.1", "p1", "p2", "P1", "t3", "w4", "w5", "B", "B", "B", "U", "U", "V",
        "I",
    ]);
    prop::collection::vec((0..40_u64, token, 0..8_u64), 1..80).prop_map(|mut told| {
        told.sort_by_key(|(at, _, late)| at + late);
        told.into_iter().map(|(at, token, _)| finding(at, at * 500, observed(token))).collect()
    })
}

fn contexts() -> impl Strategy<Value = Vec<Context>> {
    let class = prop::option::of(prop::sample::select(vec!["sport", "news", "games"]));
    let earlier = prop::option::of(prop::sample::select(vec![Verdict::Watch, Verdict::Hold, Verdict::Ban]));
    let context = (class, earlier, any::<bool>()).prop_map(|(class, earlier, breaker_open)| {
        let earlier = earlier.map(|verdict| Earlier { decision: uuid::Uuid::nil(), verdict, decided: START });
        Context { class: class.map(Into::into), earlier: earlier.into_iter().collect(), breaker_open }
    });
    prop::collection::vec(context, 1..5)
}

/// As it comes back from where it was recorded.
fn read_back<T: serde::Serialize + serde::de::DeserializeOwned>(what: &T) -> T {
    serde_json::from_str(&serde_json::to_string(what).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever the policy, the order, and what was known when.
    #[test]
    fn every_judgement_is_come_to_again(policy in policies(), findings in heard(), contexts in contexts()) {
        let mut judge = Judge::new(Arc::clone(&policy));
        let recorded = Policy::read(&policy.text()).unwrap();
        prop_assert_eq!(&recorded, &*policy);
        for (at, finding) in findings.iter().enumerate() {
            let context = &contexts[at * contexts.len() / findings.len()];
            for judgement in judge.observe(finding, context).into_iter().chain(judge.also()) {
                let Judgement { mode, before, context, timeline, .. } = &judgement;
                let again = super::replay(&recorded, *mode, *before, &read_back(context), &read_back(timeline));
                prop_assert_eq!(again, Some(judgement.clone()));
                prop_assert!(judgement.evidence.iter().all(|finding| timeline.contains(finding)));
            }
            if at % 7 == 0 {
                judge.expire(finding.found);
            }
        }
    }

    /// From the start, a timeline that is told whole is judged as it was.
    #[test]
    fn a_rehearsal_says_what_the_judge_says(policy in policies(), findings in heard(), contexts in contexts()) {
        let mut judge = Judge::new(Arc::clone(&policy));
        let mut said = Vec::new();
        for finding in &findings {
            said.extend(judge.observe(finding, &contexts[0]));
            said.extend(judge.also());
        }
        prop_assert_eq!(rehearse(&policy, &contexts[0], &findings), said);
    }
}

#[test]
fn another_policy_says_what_it_would_have_done() {
    let mut judge = Judge::new(usual_policy());
    let told = timeline("m1 m2 d9 m3");
    let judgement = told.iter().find_map(|(_, one)| judge.observe(one, &Context::default())).unwrap();
    let Judgement { mode, before, context, timeline, .. } = &judgement;
    let other = |keys: &str, verdict: &str| {
        let keys = keys.replace(", ", "\n");
        let text = format!("[[rule]]\nname = 'other'\nwithin = '4s'\nverdict = '{verdict}'\nbank = '*'\n{keys}");
        let said = replay(&policy(&text), *mode, *before, context, timeline);
        said.map(|said| format!("{} on {}", said.verdict, said.evidence.len()))
    };
    assert_eq!(other("pictures = 3", "ban").as_deref(), Some("ban on 3"));
    assert_eq!(other("pictures = 4", "ban"), None);
    assert_eq!(other("pictures = 1, within_bits = 5", "cut"), None);
    assert_eq!(other("pictures = 2, aligned = 2", "cut"), None);
    // What the policy in force did not count was not held.
    assert_eq!(other("pictures = 1, opinion = ['disputed']", "hold"), None);
    let sooner = policy("[[rule]]\nname = 'other'\nwithin = '1s'\nverdict = 'hold'\nbank = '*'\npictures = 2");
    let said = replay(&sooner, *mode, *before, context, timeline).unwrap();
    assert_eq!((said.verdict, said.decided), (Verdict::Hold, told[1].1.found), "before the last finding");
    assert_eq!(replay(&sooner, *mode, *before, context, &[]), None);
}
