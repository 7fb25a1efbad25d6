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
    // What is wrong with names is told already.
    let Ok((described, broken)) = model::described(&config.model) else { return warnings };
    warnings.extend(described.iter().filter(|described| scores_nothing(described)).map(|described| {
        format!("`{}` in `model.load` gives an embedding and no score: it costs time for nothing", described.name())
    }));
    if !broken.is_empty() {
        // What their names and labels are, nobody knows.
        return warnings;
    }
    let loaded: Vec<&str> = described.iter().map(|described| &**described.name()).collect();
    for rule in &config.policy.rule {
        let name = &rule.name;
        match (&rule.label, &rule.model) {
            (Some(_), Some(model)) if !loaded.contains(&model.as_str()) => warnings.push(format!(
                "rule `{name}` asks the model `{model}`, which `model.load` does not name: it can never hold"
            )),
            (Some(_), None) if loaded.is_empty() => {
                warnings.push(format!("rule `{name}` needs a model and `model.load` is empty: it can never hold"));
            }
            (Some(label), of) => {
                let asked = described.iter().filter(|one| of.as_ref().is_none_or(|of| **one.name() == **of));
                if !asked.clone().any(|one| may_score(one, label)) {
                    let known: BTreeSet<&str> = asked.flat_map(labels).collect();
                    let known = known.into_iter().collect::<Vec<_>>().join(", ");
                    warnings.push(format!(
                        "rule `{name}` is about the label `{label}`, which no model it asks gives a score for: it can \
                         never hold; their labels are: {known}"
                    ));
                }
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

fn labels(described: &Described) -> Vec<&str> {
    match described {
        Described::Model(manifest) => manifest.labels().map(|label| &**label).collect(),
        Described::Probe(probe) => vec![&probe.label],
    }
}

/// Whether it gives scores for `label`, as far as can be told: the labels of prompts are in a file of their own.
fn may_score(described: &Described, label: &str) -> bool {
    let has_prompts = matches!(described, Described::Model(manifest) if manifest.prompts.is_some());
    has_prompts || labels(described).contains(&label)
}

fn scores_nothing(described: &Described) -> bool {
    match described {
        Described::Model(manifest) => manifest.kind == Kind::Embedding && manifest.prompts.is_none(),
        Described::Probe(_) => false,
    }
}
