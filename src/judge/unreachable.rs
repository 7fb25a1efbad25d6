//! Rules that can never decide, because another is there before them.
//!
//! A rule is out of reach when another, at least as severe and as much in force, holds whenever it does. That is told
//! only where it is certain: each condition of the other is there in the rule too, and there it asks for as much or more.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::decision::Verdict;
use crate::judge::rule::{BankTest, LabelTest, ReportTest, Rule, StateTest};

/// A sentence for each rule that deserves a second look. `rules`: severest first, then as written.
pub(super) fn warnings(rules: &[Rule], review_first: &BTreeSet<Arc<str>>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        // Of two that hold at the same time, the first of the list decides. What is on trial is apart from what is not.
        let before = rules.iter().take(at).find(|other| other.mode == rule.mode && implies(rule, other));
        if let Some(other) = before {
            let (name, first) = (&rule.name, &other.name);
            let why = if other.verdict > rule.verdict {
                format!("`{first}` holds whenever it does, and leads to {}", other.verdict)
            } else {
                format!("`{first}` holds whenever it does, leads to {} too and comes first", other.verdict)
            };
            warnings.push(format!("rule `{name}` can never decide: {why}. Remove it, or ask for less in it"));
        }
        let held = !rule.class.is_empty() && rule.class.iter().all(|class| review_first.contains(class));
        if rule.verdict.closes() && held {
            warnings.push(format!(
                "rule `{}` can never {}: every class that it is about is in `review_first`, so it only holds. Write `verdict \
                 = \"hold\"`, or take the class out of `review_first`",
                rule.name, rule.verdict
            ));
        }
    }
    warnings
}

/// Whether `other` holds whenever `rule` does.
fn implies(rule: &Rule, other: &Rule) -> bool {
    let classes = other.class.is_empty() || !rule.class.is_empty() && rule.class.is_subset(&other.class);
    let after = other.after.is_none_or(|asked| rule.after.is_some_and(|after: Verdict| after >= asked));
    // More scored pictures may make a share smaller: only the same window is certain.
    let windows = if other.label.is_some() { rule.within == other.within } else { rule.within <= other.within };
    let windowed = other.bank.is_some() || other.label.is_some() || other.reports.is_some();
    classes
        && after
        && (windows || !windowed)
        && both(rule.bank.as_ref(), other.bank.as_ref(), banks)
        && both(rule.label.as_ref(), other.label.as_ref(), labels)
        && both(rule.reports.as_ref(), other.reports.as_ref(), reports)
        && both(rule.state.as_ref(), other.state.as_ref(), states)
}

/// Where the other rule has the condition, this one has it too, and it asks for as much.
fn both<T>(rule: Option<&T>, other: Option<&T>, as_much: fn(&T, &T) -> bool) -> bool {
    other.is_none_or(|other| rule.is_some_and(|rule| as_much(rule, other)))
}

fn banks(rule: &BankTest, other: &BankTest) -> bool {
    let bank = other.bank.is_none() || rule.bank == other.bank;
    let opinions = rule.opinions.iter().all(|opinion| other.opinions.contains(opinion));
    let bits = other.within_bits.is_none_or(|asked| rule.within_bits.is_some_and(|bits| bits <= asked));
    let pictures = rule.pictures.max(rule.aligned.unwrap_or(1)) >= other.pictures;
    let aligned = other.aligned.is_none_or(|asked| rule.aligned.is_some_and(|aligned| aligned >= asked));
    bank && opinions && bits && pictures && aligned
}

fn labels(rule: &LabelTest, other: &LabelTest) -> bool {
    rule.label == other.label
        && (other.model.is_none() || rule.model == other.model)
        && rule.above >= other.above
        && rule.share >= other.share
        && rule.at_least >= other.at_least
}

fn reports(rule: &ReportTest, other: &ReportTest) -> bool {
    rule.weight >= other.weight
        && (other.category.is_none() || rule.category == other.category)
        && (rule.imminent || !other.imminent)
}

fn states(rule: &StateTest, other: &StateTest) -> bool {
    rule.state == other.state
        && (other.reason.is_none() || rule.reason == other.reason)
        && rule.lasting >= other.lasting
}
