//! What no section can check alone: names that must differ, names that must exist, and sense in the whole.

use std::collections::BTreeSet;

use super::document::Step;
use super::{Config, judge, models, rules, servers, webhook};

/// A place in the document and what is wrong there.
pub(super) type Placed = (Vec<Step>, String);

/// What is wrong with values that are each well-formed.
pub(super) fn problems(config: &Config) -> Vec<Placed> {
    let mut problems = Vec::new();
    if config.server.is_empty() {
        let message = "there is nothing to watch: add a [[server]] with a `name` and a `kind`".to_owned();
        problems.push((Vec::new(), message));
    }
    problems.extend(repeated("server", config.server.iter().map(|server| &*server.name)));
    for (number, server) in config.server.iter().enumerate() {
        let placed = server.problems().into_iter();
        problems.extend(placed.map(|(key, message)| (vec!["server".into(), number.into(), key.into()], message)));
    }
    problems.extend(repeated("webhook", config.webhook.iter().map(|webhook| &*webhook.name)));
    for (number, webhook) in config.webhook.iter().enumerate() {
        problems.extend(secret(number, webhook));
        let placed = webhook.problems().into_iter();
        problems.extend(placed.map(|(key, message)| (vec!["webhook".into(), number.into(), key.into()], message)));
    }
    problems.extend(repeated("class", config.class.iter().map(|class| &*class.name)));
    for (number, class) in config.class.iter().enumerate() {
        let placed = class.problems().into_iter();
        problems.extend(placed.map(|(key, message)| (vec!["class".into(), number.into(), key.into()], message)));
    }
    problems.extend(policy(&config.policy));
    problems.extend(models::problems(config));
    let quarantine = config.banks.quarantine.problems().into_iter();
    problems.extend(quarantine.map(|(key, message)| {
        (["banks", "quarantine", key].map(Step::from).into(), format!("`banks.quarantine.{key}`: {message}"))
    }));
    let reports = config.reports.problems().into_iter();
    problems.extend(reports.map(|(key, message)| (vec![Step::from("reports"), Step::from(key)], message)));
    let api = config.api.problems().into_iter();
    problems.extend(api.map(|(key, message)| (vec![Step::from("api"), Step::from(key)], message)));
    problems
}

/// Elements of the array of tables `section` whose name an earlier one has.
fn repeated<'n>(section: &str, names: impl Iterator<Item = &'n str>) -> Vec<Placed> {
    let mut seen = BTreeSet::new();
    let repeated = names.enumerate().filter(|(_, name)| !seen.insert(*name));
    let placed = repeated.map(|(number, name)| {
        let path = vec![Step::from(section), Step::from(number), Step::from("name")];
        (path, format!("`{section}.name`: two are called `{name}`; rename one"))
    });
    placed.collect()
}

/// Exactly one place says what signs a webhook's events.
fn secret(number: usize, webhook: &webhook::Config) -> Option<Placed> {
    let set = [webhook.secret.is_some(), webhook.secret_env.is_some(), webhook.secret_file.is_some()];
    let what = match set.iter().filter(|set| **set).count() {
        0 => "no secret is set",
        1 => return None,
        _ => "more than one secret is set",
    };
    let message = format!("[[webhook]] `{}`: {what}; write one of `secret_file`, `secret_env`, `secret`", webhook.name);
    Some((vec![Step::from("webhook"), Step::from(number)], message))
}

/// The judge says what is wrong with the first rule that makes no sense; asked about each alone, it says where.
fn policy(policy: &judge::Config) -> Vec<Placed> {
    let parse = |rule| judge::Policy::parse(judge::Config { rule, ..policy.clone() });
    let at = |rest: &[Step]| [&[Step::from("policy")], rest].concat();
    if let Err(error) = parse(Vec::new()) {
        return vec![(at(&[]), format!("[policy]: {error}"))];
    }
    let alone = policy.rule.iter().enumerate().filter_map(|(number, rule)| {
        let error = parse(vec![rule.clone()]).err()?;
        Some((at(&[Step::from("rule"), Step::from(number)]), format!("[[policy.rule]]: {error}")))
    });
    let mut problems: Vec<Placed> = alone.collect();
    if problems.is_empty()
        && let Err(error) = parse(policy.rule.clone())
    {
        problems.push((at(&[Step::from("rule")]), format!("[[policy.rule]]: {error}")));
    }
    problems
}

/// Servers whose hooks anybody could send who reaches the interface from another machine.
fn strangers(config: &Config) -> impl Iterator<Item = String> {
    let open = config.server.iter().filter(|server| !config.api.listen.ip().is_loopback() && !server.knows_hooks());
    open.map(|server| {
        format!(
            "server `{}`: `api.listen` can be reached from other machines and `hook_token` is not set: whoever reaches it can \
             pose as the server and end the inspection of its streams",
            server.name
        )
    })
}

/// What is allowed but deserves a second look.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = config.api.warnings();
    warnings.extend(config.server.iter().flat_map(servers::Config::warnings));
    warnings.extend(strangers(config));
    warnings.extend(rules::of_banks(config));
    if let Ok(policy) = judge::Policy::parse(config.policy.clone()) {
        warnings.extend(policy.warnings());
    }
    warnings.extend(models::warnings(config));
    warnings
}
