//! A policy in English, for whoever is to answer for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::decision::{Mode, Verdict};
use crate::finding::Opinion;
use crate::judge::rule::{BankTest, LabelTest, ReportTest, Rule, StateTest};
use crate::judge::weigh::Trial;
use crate::judge::{DenyBy, Scope, StateWord, breaker};
use crate::stream::UninspectableReason;

/// The rule in English.
pub(super) fn of_rule(rule: &Rule) -> String {
    let Rule { name, verdict, mode, lasts, scope, within, class, after, bank, label, reports, state } = rule;
    let within = spelt(*within);
    let mut conditions = Vec::new();
    conditions.extend(bank.as_ref().map(|test| of_bank(test, &within, verdict.closes())));
    conditions.extend(label.as_ref().map(|test| of_label(test, &within)));
    conditions.extend(reports.as_ref().map(|test| of_reports(test, &within)));
    conditions.extend(state.as_ref().map(of_state));
    if !class.is_empty() {
        conditions.push(format!("its class is {}", any_of(class.iter().map(|class| format!("`{class}`")))));
    }
    if let Some(after) = after {
        let severer = if *after == Verdict::Ban { "" } else { " or a severer verdict" };
        conditions.push(format!("a {after}{severer} stands against its publisher"));
    }
    let lasts = lasts.map(|lasts| format!(" for {}", spelt(lasts))).unwrap_or_default();
    let mut said = vec![format!("{name}: {verdict}{lasts} when {}.", conditions.join(", and "))];
    if *scope != Scope::default() {
        let by = scope.iter().map(|by| by.words().to_owned());
        said.push(format!("Refuses whoever has {}.", any_of(by)));
    }
    if *mode == Mode::Shadow {
        said.push("On trial: recorded, and nothing follows.".to_owned());
    }
    said.join(" ")
}

fn of_bank(test: &BankTest, within: &str, closes: bool) -> String {
    let BankTest { bank, opinions, within_bits, pictures, aligned } = test;
    let bank = bank.as_ref().map_or("any one bank".to_owned(), |bank| format!("the bank `{bank}`"));
    let said = match aligned {
        Some(aligned) if aligned >= pictures => {
            format!("{aligned} distinct pictures within {within} follow one video of {bank} in step")
        }
        Some(aligned) => format!(
            "{pictures} distinct pictures within {within} match {bank}, and {aligned} of them follow one video of it in step"
        ),
        None if *pictures == 1 => format!("one picture matches {bank}"),
        None => format!("{pictures} distinct pictures within {within} match {bank}"),
    };
    let near = within_bits.map(|bits| format!(", each within {bits} bits")).unwrap_or_default();
    // Said only where it is not as everybody expects.
    let usual = if closes { 1 } else { 3 };
    if opinions.len() == usual {
        return said + &near;
    }
    let words = opinions.iter().map(|opinion| match opinion {
        Opinion::Positive => "sure",
        Opinion::InvestigationSeed => "worth a look",
        Opinion::Disputed | Opinion::Negative => "disputed",
    });
    format!("{said}{near} by signals that are {}", any_of(words.map(str::to_owned)))
}

fn of_label(test: &LabelTest, within: &str) -> String {
    let LabelTest { label, model, above, share, at_least } = test;
    let model = model.as_ref().map_or("any one model".to_owned(), |model| format!("the model `{model}`"));
    let share = share * 100.0;
    format!(
        "{model} scores `{label}` above {above} on more than {share} % of the pictures that it saw within {within}, at \
         least {at_least}"
    )
}

fn of_reports(test: &ReportTest, within: &str) -> String {
    let ReportTest { weight, category, imminent } = test;
    let people = format!("{weight} {}", if *weight <= 1.0 { "person" } else { "people" });
    let about = category.as_ref().map(|category| format!(" for `{category}`")).unwrap_or_default();
    let imminent = if *imminent { " as a danger to life" } else { "" };
    format!("reports of it{about}{imminent} within {within} weigh as much as those of {people} who can be believed")
}

fn of_state(test: &StateTest) -> String {
    let StateTest { state, reason, lasting } = test;
    let state = match state {
        StateWord::Blind => "it has been blind",
        StateWord::Uninspectable => "it could not be inspected",
    };
    let why = match reason {
        None => "",
        Some(UninspectableReason::NoVideo) => " for want of video",
        Some(UninspectableReason::UnsupportedCodec) => " because of its codec",
        Some(UninspectableReason::Undecodable) => " because nothing of it decodes",
        Some(UninspectableReason::TooLarge) => " because its pictures are too large",
        Some(UninspectableReason::Crashed) => " because it crashed inspectors",
        Some(UninspectableReason::NoPlace) => " for want of a place",
    };
    format!("{state}{why} for {}", spelt(*lasting))
}

/// What holds beside the rules.
pub(super) fn beside(
    review_first: &BTreeSet<Arc<str>>,
    trial: &Trial,
    deny_for: Duration,
    hold_for: Duration,
    breaker: &breaker::Config,
) -> Vec<String> {
    let mut said = vec![format!(
        "A hold stands for {}, and a cut refuses for {}, where the rule does not say.",
        spelt(hold_for),
        spelt(deny_for)
    )];
    let named = |names: &BTreeSet<Arc<str>>| any_of(names.iter().map(|name| format!("`{name}`")));
    if !review_first.is_empty() {
        said.push(format!(
            "Streams of the class {} are never cut or banned by a rule, but held, for people to judge first.",
            named(review_first)
        ));
    }
    for (names, what) in [(&trial.banks, "bank"), (&trial.models, "model")] {
        if !names.is_empty() {
            said.push(format!(
                "On trial is the {what} {}: what rests on it is recorded, and nothing follows.",
                named(names)
            ));
        }
    }
    let breaker::Config { enabled, cuts, within, share, established, share_from, close_after } = breaker;
    said.push(if *enabled {
        let until = close_after.map_or_else(
            || "until an operator closes the breaker".to_owned(),
            |after| format!("for {} or until an operator closes the breaker", spelt(after)),
        );
        format!(
            "After {cuts} automatic cuts within {}, or {share_from} that took more than {} % of the streams on the air for \
             {} or longer, fewer where few are live, what would be cut is held instead, {until}.",
            spelt(*within),
            share * 100.0,
            spelt(*established)
        )
    } else {
        "There is no breaker: nothing stops a wrong bank or model from cutting every stream.".to_owned()
    });
    said
}

/// `a`, `a or b`, `a, b or c`.
fn any_of(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last } else { format!("{} or {last}", words.join(", ")) }
}

/// As the configuration writes it: `4s`.
pub(super) fn spelt(span: Duration) -> String {
    format!("{:#}", SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX))
}

impl DenyBy {
    /// In the words of a sentence.
    const fn words(self) -> &'static str {
        match self {
            Self::Name => "the stream's name",
            Self::Key => "the publisher's key",
            Self::Account => "the publisher's account",
            Self::Address => "the publisher's address",
        }
    }
}
