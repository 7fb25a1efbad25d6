//! Whether what rules ask of banks can ever come true, as far as the banks there are now tell.

use std::collections::BTreeMap;

use super::{Config, judge};
use crate::bank::{Bank, Kind, Settings, Store};
use crate::clock::{Clock, Timestamp};

/// What deserves a second look, a sentence each: the rule, the bank, and what to do.
pub(super) fn of_banks(config: &Config) -> Vec<String> {
    let folder = config.banks.dir.display();
    let opened = Store::open(&config.banks.dir).and_then(|store| Ok((store.names()?, store)));
    let (names, store) = match opened {
        Ok(opened) => opened,
        Err(error) => return vec![format!("banks.dir: {error}")],
    };
    if names.is_empty() {
        return vec![format!("there is no bank in {folder}: add one with `sluicegate bank add`")];
    }
    let loaded: Vec<_> = names.iter().map(|name| (name.to_string(), store.load(name))).collect();
    let mut warnings: Vec<String> =
        loaded.iter().filter_map(|(_, bank)| Some(format!("banks.dir: {}", bank.as_ref().err()?))).collect();
    let banks: BTreeMap<&str, Option<&Settings>> =
        loaded.iter().map(|(name, bank)| (name.as_str(), bank.as_ref().ok().map(Bank::settings))).collect();
    let now = Clock::system().wall();
    for rule in &config.policy.rule {
        let Some(bank) = rule.bank.as_deref() else { continue };
        match banks.get(bank) {
            _ if bank == "*" => warnings.extend(of_any(rule, banks.values().copied(), now)),
            None => warnings.push(format!(
                "rule `{}` is about the bank `{bank}`, and there is none in {folder}: it can never hold",
                rule.name
            )),
            Some(None) => {}
            Some(Some(settings)) => warnings.extend(of_one(rule, bank, settings, now)),
        }
    }
    let listed = config.banks.quarantine.except.iter().map(|bank| ("banks.quarantine.except", &**bank));
    let on_trial = config.policy.shadow.banks.iter().map(|bank| ("policy.shadow.banks", &**bank));
    let unknown = listed.chain(on_trial).filter(|(_, bank)| !banks.contains_key(bank));
    warnings.extend(unknown.map(|(key, bank)| {
        format!("{key} names the bank `{bank}`, and there is none in {folder}: correct or remove it")
    }));
    warnings
}

fn of_one(rule: &judge::RuleConfig, bank: &str, settings: &Settings, now: Timestamp) -> Vec<String> {
    let about = format!("rule `{}` is about the bank `{bank}`", rule.name);
    if settings.kind == Kind::Benign {
        return vec![format!(
            "{about}, which is benign: its matches veto and are never evidence. Name another bank, or `sluicegate bank set \
             {bank} --kind harmful`"
        )];
    }
    let mut warnings = Vec::new();
    if !settings.enabled {
        warnings.push(format!("{about}, which is disabled: it cannot hold until `sluicegate bank enable {bank}`"));
    }
    if let Some(until) = settings.until.filter(|until| *until <= now) {
        warnings.push(format!(
            "{about}, which ended at {until}: it cannot hold. Remove the rule, or `sluicegate bank set {bank} --until never`"
        ));
    }
    if settings.at_most < rule.verdict {
        warnings.push(format!(
            "{about}, which leads to {at_most} at most: it can never {verdict}. Write `verdict = \"{at_most}\"`, or \
             `sluicegate bank set {bank} --at-most {verdict}`",
            at_most = settings.at_most,
            verdict = rule.verdict,
        ));
    }
    let pictures = rule.pictures.unwrap_or(1).max(rule.aligned.unwrap_or(1));
    let quorum = settings.quorum as usize;
    if quorum > pictures {
        warnings.push(format!(
            "{about}, whose quorum of {quorum} pictures is more than the rule's {pictures}, and counts: write `pictures = \
             {quorum}`, or `sluicegate bank set {bank} --quorum {pictures}`"
        ));
    }
    warnings
}

/// A bank that caps a rule about any one bank is meant to; but one must be left.
fn of_any<'bank>(
    rule: &judge::RuleConfig,
    mut banks: impl Iterator<Item = Option<&'bank Settings>>,
    now: Timestamp,
) -> Option<String> {
    let can = |settings: &Settings| {
        settings.kind == Kind::Harmful && settings.in_force(now) && settings.at_most >= rule.verdict
    };
    // Of a bank that could not be read nothing is known.
    (!banks.any(|settings| settings.is_none_or(can))).then(|| {
        format!(
            "rule `{}` is about any one bank, and none that is harmful and enabled may lead to {}: see `sluicegate bank list`",
            rule.name, rule.verdict
        )
    })
}
