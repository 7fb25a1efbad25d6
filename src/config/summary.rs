//! What would run with a configuration, in a line each.

use super::{Config, judge, model};
use crate::act::servers;
use crate::bank::Store;

/// A word and a line each. Looks into the folder of banks.
pub(super) fn of(config: &Config) -> Vec<(&'static str, String)> {
    let mut lines: Vec<_> = config.server.iter().map(|server| ("server", self::server(server))).collect();
    lines.extend(config.class.iter().map(|class| ("class", format!("{}: {}", class.name, class.streams.join(", ")))));
    lines.push(("banks", banks(config)));
    lines.push(("models", models(&config.model)));
    if let Ok(policy) = judge::Policy::parse(config.policy.clone()) {
        lines.extend(policy.sentences().into_iter().map(|sentence| ("rule", sentence)));
        lines.extend(policy.beside().into_iter().map(|sentence| ("policy", sentence)));
    }
    lines.extend(config.webhook.iter().map(|webhook| ("webhook", webhook.name.to_string())));
    lines.push(("ledger", config.ledger.path.display().to_string()));
    lines.push(("api", format!("http://{}", config.api.listen)));
    lines
}

/// Without user and password, which addresses may hold.
fn server(server: &servers::Config) -> String {
    let place = server.pulled_from();
    let apps = if server.apps.is_empty() { "all applications".to_owned() } else { server.apps.join(", ") };
    let facts = server.kind.facts();
    let (tested, kick, down) = (facts.tested.sentence(), facts.kick.sentence(), facts.when_down.sentence());
    format!("{} at {place}, {apps}; {}: {tested}; {kick}; {down}", server.name, facts.word)
}

fn banks(config: &Config) -> String {
    let folder = config.banks.dir.display();
    let names = match Store::open(&config.banks.dir).and_then(|store| store.names()) {
        Ok(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        Err(_) => Vec::new(),
    };
    if names.is_empty() { format!("none in {folder}") } else { format!("{} in {folder}", names.join(", ")) }
}

fn models(config: &model::Config) -> String {
    if config.load.is_empty() {
        return "none".to_owned();
    }
    let required = if config.require_provider { ", which is required" } else { "" };
    format!("{} on {}{required}", config.load.join(", "), config.provider.word())
}
