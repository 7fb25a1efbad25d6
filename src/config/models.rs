//! What the section `[model]` promises and the machine may not keep, found without loading anything.

use std::collections::BTreeSet;

use super::Config;
use super::checks::Placed;
use super::document::Step;
use crate::model::{self, Described, Kind, ModelError, WhenBroken};

/// Names that no model has.
pub(super) fn problems(config: &Config) -> Vec<Placed> {
    let unknown = config.model.load.iter().enumerate().filter_map(|(at, named)| match Described::named(named) {
        Err(error @ ModelError::Unknown { .. }) => {
            let path = vec![Step::from("model"), Step::from("load"), Step::from(at)];
            Some((path, format!("`model.load`: {error}")))
        }
        _ => None,
    });
    unknown.collect()
}

/// What is broken, asked for and not there, or there and never asked for.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let follows = match config.model.when_broken {
        WhenBroken::GoOn => "streams will be inspected without it",
        WhenBroken::Refuse => "Sluicegate will not start",
    };
    let mut warnings = match model::missing(&config.model) {
        Ok(broken) => broken.iter().map(|broken| format!("{}; {follows}", broken.error)).collect::<BTreeSet<_>>(),
        Err(error) => BTreeSet::from([format!("{error}; Sluicegate will not start")]),
    }
    .into_iter()
    .collect::<Vec<_>>();
    let described = model::described(&config.model).map(|(described, _)| described).unwrap_or_default();
    warnings.extend(described.iter().filter(|described| scores_nothing(described)).map(|described| {
        format!("`{}` in `model.load` gives an embedding and no score: it costs time for nothing", described.name())
    }));
    let loaded: Vec<&str> = described
        .iter()
        .map(|described| &**described.name())
        .chain(config.model.load.iter().map(String::as_str))
        .collect();
    for rule in &config.policy.rule {
        let name = &rule.name;
        match (&rule.label, &rule.model) {
            (Some(_), Some(model)) if !loaded.contains(&model.as_str()) => warnings.push(format!(
                "rule `{name}` asks the model `{model}`, which `model.load` does not name: it can never hold"
            )),
            (Some(_), None) if loaded.is_empty() => {
                warnings.push(format!("rule `{name}` needs a model and `model.load` is empty: it can never hold"));
            }
            _ => {}
        }
    }
    let unknown = config.policy.shadow.models.iter().filter(|model| !loaded.contains(&model.as_str()));
    warnings.extend(unknown.map(|model| {
        format!("policy.shadow.models names the model `{model}`, which `model.load` does not: correct or remove it")
    }));
    warnings
}

fn scores_nothing(described: &Described) -> bool {
    match described {
        Described::Model(manifest) => manifest.kind == Kind::Embedding && manifest.prompts.is_none(),
        Described::Probe(_) => false,
    }
}
