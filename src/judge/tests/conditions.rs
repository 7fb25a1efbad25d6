//! What rules may ask for beside pictures and scores, and what is known beside the findings.

use super::*;
use crate::decision::{Earlier, Lowered, LoweredBecause};

/// One rule, its keys in a line; in lists, `;` stands for a comma.
fn rule(name: &str, keys: &str, verdict: &str) -> String {
    format!("[[rule]]\nname = '{name}'\nverdict = '{verdict}'\n{}\n", keys.replace(", ", "\n").replace(';', ","))
}

fn one(keys: &str, verdict: &str) -> Arc<Policy> {
    policy(&rule("r", keys, verdict))
}

fn of_class(class: &str) -> Context {
    Context { class: Some(class.into()), ..Context::default() }
}

fn after(verdict: Verdict) -> Context {
    let earlier = Earlier { decision: uuid::Uuid::nil(), verdict, decided: START };
    Context { earlier: vec![earlier], ..Context::default() }
}

#[test]
fn stories_of_a_single_condition() {
    let near = one("bank = 'demo', pictures = 2, within_bits = 20, within = '6s'", "cut");
    let doubtful = one("bank = 'demo', pictures = 2, opinion = ['disputed'], within = '4s'", "watch");
    let people = one("reports = 2, within = '10s'", "hold");
    let terror = one("reports = 1, category = 'terrorism', within = '10s'", "hold");
    let danger = one("reports = 1, imminent = true, within = '10s'", "hold");
    let blind = one("state = 'blind', lasting = '10s'", "hold");
    let unseen = one("state = 'uninspectable', lasting = '5s'", "hold");
    let mute = one("state = 'uninspectable', reason = 'no_video', lasting = '5s'", "hold");
    for (story, policy, text, said) in [
        ("only near pictures count", &near, "f1 f2 m3 f4 m5", "cut@4"),
        ("only disputed signals count", &doubtful, "m1 m2 d3 s4 d5", "watch@4"),
        ("what is set aside is disputed", &doubtful, "r1 r2", "watch@1"),
        ("two people", &people, "p1 . p2", "hold@2"),
        ("one person twice", &people, "p1 p1 p1 p1", ""),
        ("two people, too far apart", &people, "p1 . . . . . . . . . . p2", ""),
        ("five whose word counts little", &people, "w1 w2 w3 w4 w5", "hold@4"),
        ("one who is believed more the second time", &people, "w1 p1 w2 w3", ""),
        ("only terrorism", &terror, "p1 P2 t3", "hold@2"),
        ("only danger to life", &danger, "p1 t2 P3", "hold@2"),
        ("blind for long enough", &blind, "B . . . . B . . . . B", "hold@10"),
        ("blind for not quite as long", &blind, "B . . . . B . . . B", ""),
        ("seen in between", &blind, "B . . . . I . . . . B", ""),
        ("another state in between", &blind, "B . . . . U . . . . B", ""),
        ("told late is told once", &blind, "B . . . . . . . . . B@0", ""),
        ("uninspectable, whatever for", &unseen, "U . . . . U", "hold@5"),
        ("uninspectable, but not for this", &mute, "U . . . . U V . . . . V", "hold@11"),
        ("pictures say nothing of a state", &blind, "m1 m2 m3 n0.9", ""),
    ] {
        assert_eq!(judged(policy, text), said, "{story}: {text}");
    }
}

#[test]
fn stories_of_several_conditions_that_must_all_hold() {
    let sure = one(
        "bank = 'demo', pictures = 1, label = 'nsfl', above = 0.5, share = 0.5, at_least = 2, within = '4s'",
        "cut",
    );
    let told = one("bank = '*', pictures = 1, reports = 2, within = '10s'", "cut");
    let blind = one("reports = 1, within = '10s', state = 'blind', lasting = '3s'", "hold");
    for (story, policy, text, said) in [
        ("a bank and a model", &sure, "n0.9 m1 n0.9", "cut@2"),
        ("the bank last", &sure, "n0.9 n0.9 m1", "cut@2"),
        ("both of one picture", &sure, "k n0.9 n0.9+m1", "cut@2"),
        ("too far apart", &sure, "m1 . . . . n0.9 n0.9", ""),
        ("the model is not sure", &sure, "m1 n0.9 n0.1 n0.1 n0.1", ""),
        ("two models do not add up", &sure, "m1 n0.9 N0.9", ""),
        ("one of two models", &sure, "m1 N0.1 n0.9 N0.1 n0.9", "cut@4"),
        ("a picture and two people", &told, "p1 p1 m1 p2", "cut@3"),
        ("the picture last", &told, "p1 p2 m1", "cut@2"),
        ("any one bank", &told, "p1 o1 p2", "cut@2"),
        ("no picture", &told, "p1 p2 p3 p4", ""),
        ("a picture that is disputed", &told, "p1 p2 d1", ""),
        ("no people", &told, "m1 m2 m3", ""),
        ("a bank that leads to a hold at most", &told, "p1 p2 h1", "hold@2"),
        ("and then one that leads further", &told, "p1 p2 h1 m1", "hold@2 cut@3"),
        ("reported while blind", &blind, "B . . . B p1", "hold@5"),
        ("blind after it was reported", &blind, "p1 B . . B", "hold@4"),
        ("seen when it is reported", &blind, "B . . . B I p1", ""),
    ] {
        assert_eq!(judged(policy, text), said, "{story}: {text}");
    }
    let mut judge = Judge::new(told);
    let heard = timeline("p1 o7 m1 t2");
    let judgement = heard.iter().find_map(|(_, one)| judge.observe(one, &Context::default())).unwrap();
    let evidence: Vec<Finding> = timeline("p1 . m1 t2").into_iter().map(|(_, finding)| finding).collect();
    assert_eq!(judgement.evidence, evidence, "of the first bank by name, and of both people");
    assert_eq!(judgement.timeline.len(), 4);
}

#[test]
fn stories_of_what_is_known_beside() {
    let sport = one("bank = '*', pictures = 1, class = ['sport'; 'games'], within = '4s'", "cut");
    let again = one("bank = '*', pictures = 1, after = 'cut', within = '4s'", "ban");
    let usual = usual_policy();
    let breaker = Context { breaker_open: true, ..Context::default() };
    let known = [of_class("sport"), of_class("news"), after(Verdict::Hold), after(Verdict::Ban), breaker];
    let [sporting, news, held, banned, open] = &known;
    for (story, policy, context, text, said) in [
        ("of a class that is meant", &sport, sporting, "m1", "cut@0"),
        ("of another", &sport, news, "m1", ""),
        ("of none", &sport, held, "m1", ""),
        ("after worse", &again, banned, "m1", "ban@0"),
        ("after less", &again, held, "m1", ""),
        ("after nothing", &again, sporting, "m1", ""),
        ("news are for people to judge", &usual, news, "m1 m2 m3 m4 m5", "cut>hold@2"),
        ("what would hold anyway is not lowered", &usual, news, "n0.9 n0.9 n0.9 m1 m2 m3", "hold@2"),
        ("sport is not", &usual, sporting, "m1 m2 m3", "cut@2"),
        ("nothing is cut while the breaker is open", &usual, open, "m1 m2 m3 m4", "cut>hold@2"),
    ] {
        assert_eq!(judged_in(policy, context, text), said, "{story}: {text}");
    }
}

#[test]
fn why_a_verdict_was_lowered_is_said_and_the_class_is_named_first() {
    let context = Context { breaker_open: true, ..of_class("news") };
    for (context, because) in [
        (context.clone(), LoweredBecause::ReviewFirst { class: "news".into() }),
        (Context { class: None, ..context }, LoweredBecause::Breaker),
    ] {
        let mut judge = Judge::new(usual_policy());
        let told = timeline("m1 m2 m3");
        let judgement = told.iter().find_map(|(_, one)| judge.observe(one, &context)).unwrap();
        assert_eq!(judgement.lowered, Some(Lowered { from: Verdict::Cut, because }));
        assert_eq!((&judgement.context, judgement.lasts), (&context, Some(Duration::from_mins(10))));
    }
}

#[test]
fn a_session_that_the_breaker_kept_from_being_cut_is_cut_once_it_is_closed() {
    let open = Context { breaker_open: true, ..Context::default() };
    let closed = Context::default();
    let mut judge = Judge::new(usual_policy());
    let said: Vec<String> = timeline("m1 m2 m3 m4 m5 m6")
        .into_iter()
        .filter_map(|(step, finding)| judge.observe(&finding, if step < 4 { &open } else { &closed }))
        .map(|judgement| judgement.verdict.to_string())
        .collect();
    assert_eq!(said, ["hold", "cut"]);
}

#[test]
fn a_judgement_says_how_long_and_by_what_it_refuses() {
    let top = "deny_for = '3h'\nhold_for = '2m'\n";
    let keys = "bank = '*', pictures = 1, within = '4s'";
    let hours = |hours| Some(Duration::from_hours(hours));
    let minutes = |minutes| Some(Duration::from_mins(minutes));
    for (more, verdict, token, lasts, scope) in [
        ("", "watch", "m1", None, "name"),
        ("", "hold", "m1", minutes(2), "name"),
        (", lasts = '7m'", "hold", "m1", minutes(7), "name"),
        ("", "cut", "m1", hours(3), "name"),
        (", lasts = '1h', deny = ['address'; 'account']", "cut", "m1", hours(1), "account address"),
        (", lasts = '1h', deny = ['key']", "cut", "h1", minutes(2), "name"),
        ("", "ban", "m1", None, "name"),
        (", lasts = '9h', deny = ['key'; 'name'; 'key']", "ban", "m1", hours(9), "name key"),
    ] {
        let policy = policy(&format!("{top}{}", rule("r", &format!("{keys}{more}"), verdict)));
        let judgement = Judge::new(policy).observe(&finding(0, 0, observed(token)), &Context::default()).unwrap();
        let words: Vec<String> = judgement.scope.iter().map(|by| format!("{by:?}").to_lowercase()).collect();
        assert_eq!((judgement.lasts, words.join(" ").as_str()), (lasts, scope), "{verdict}{more}");
    }
}

#[test]
fn a_hold_that_has_run_out_may_follow_again_and_one_that_a_person_ended_may_not() {
    let policy = one("bank = '*', pictures = 1, lasts = '5s', within = '4s'", "hold");
    assert_eq!(judged(&policy, "d1 d2 d3 d4 d5 d6 d7"), "hold@0 hold@5");
    let mut judge = Judge::new(policy);
    let said = timeline("d1 . . . . . d2").into_iter().filter_map(|(_, finding)| {
        let said = judge.observe(&finding, &Context::default());
        if let Some(Judgement { decided, lasts: Some(lasts), .. }) = &said {
            // Another's hold, which ends at another time, is no matter of the judge's.
            judge.released(&session("1"), *decided);
            judge.released(&session("1"), *decided + *lasts);
        }
        said
    });
    assert_eq!(said.count(), 1);
}

#[test]
fn a_cut_does_not_run_out() {
    let policy = one("bank = '*', pictures = 1, lasts = '5s', within = '4s'", "cut");
    assert_eq!(judged(&policy, "m1 . . . . . . . m2"), "cut@0");
}

#[test]
fn ten_thousand_reports_hold_at_most_and_push_out_no_picture() {
    let text = rule("people", "reports = 3, within = '1h'", "hold")
        + &rule("known", "bank = '*', pictures = 3, within = '1h'", "cut");
    let mut judge = Judge::new(policy(&text));
    let mut said = Vec::new();
    let told = |at: u64, observation| finding(at, at, observation);
    for at in 0..10_000 {
        let observation = match at {
            10 => observed("m1"),
            20 => observed("m2"),
            _ => reported(&at.to_string(), "terrorism", true, 1.0),
        };
        said.extend(judge.observe(&told(at, observation), &Context::default()).map(|judgement| judgement.verdict));
    }
    assert_eq!(said, [Verdict::Hold]);
    assert!(judge.cases[&session("1")].evidence().timeline().len() <= EVIDENCE_LIMIT + 2);
    let third = judge.observe(&told(10_000, observed("m3")), &Context::default()).unwrap();
    assert_eq!((third.verdict, third.evidence.len()), (Verdict::Cut, 3));
}

#[test]
fn stories_of_the_policy_that_is_built_in() {
    let built_in = Arc::new(Policy::parse(Config::default()).unwrap());
    for (story, text, said) in [
        ("three pictures cut", "m1 m2 m3", "hold@0 cut@2"),
        ("a single picture holds", "m1 . . . . . m1", "hold@0"),
        ("a disputed signal holds", "d1 d2 d3 d4", "hold@0"),
        ("a signal that is set aside, too", "r1 r2 r3 r4", "hold@0"),
        ("a classifier alone holds", "n0.9 n0.9 n0.9 n0.9", "hold@2"),
        ("what is known to be a mistake does nothing", "x1 x2 x3 x4", ""),
        ("nor do reports", "p1 p2 P3 P4 t5 t6", ""),
        ("nor a stream that cannot be seen", "B . . . . B . . . . U . . . . U", ""),
    ] {
        assert_eq!(judged(&built_in, text), said, "{story}: {text}");
    }
}
