//! Holds the documentation and what is in `deploy/` to the code: nothing is missing from them, nothing is made up.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sluicegate::act::servers::{Kick, Kind, Tested, WhenDown};
use sluicegate::config::Config;
use sluicegate::metrics::Metrics;

fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()))
}

fn metrics() -> BTreeSet<String> {
    Metrics::new().unwrap().names().into_iter().collect()
}

/// Every `sluicegate_...` word in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sluicegate_")).map(str::to_owned).collect()
}

/// Names that are neither a metric nor a series of one.
fn unknown(text: &str) -> Vec<String> {
    let metrics = metrics();
    let is_known = |name: &String| {
        let series = ["_bucket", "_sum", "_count"].iter().filter_map(|ending| name.strip_suffix(ending));
        metrics.contains(name) || series.into_iter().any(|metric| metrics.contains(metric))
    };
    named(text).into_iter().filter(|name| !is_known(name)).collect()
}

#[test]
fn every_metric_is_described_and_nothing_else_is() {
    let described: BTreeSet<String> = read("docs/metrics.md")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("### `")?.strip_suffix('`')?.to_owned()))
        .collect();
    assert_eq!(described, metrics());
}

#[test]
fn dashboards_and_rules_use_known_metrics_only() {
    for path in ["deploy/grafana/sluicegate.json", "deploy/prometheus/rules.yml", "docs/metrics.md"] {
        // The rules record series of their own: `instance:sluicegate_pictures_shed:ratio_rate5m`.
        let recorded: BTreeSet<String> = read("deploy/prometheus/rules.yml")
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- record: ").map(str::to_owned))
            .collect();
        let text = recorded.iter().fold(read(path), |text, record| text.replace(record.as_str(), ""));
        assert!(named(&text).len() > 5, "no metric was found in {path}");
        assert_eq!(unknown(&text), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let dashboard = read("deploy/grafana/sluicegate.json");
    let missing: Vec<String> = metrics().into_iter().filter(|metric| !dashboard.contains(metric.as_str())).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_checker_tells_a_metric_from_a_slip() {
    assert_eq!(unknown("sum(rate(sluicegate_cutoff_seconds_bucket[5m])) + sluicegate_denies"), Vec::<String>::new());
    assert_eq!(unknown("sluicegate_denys + sluicegate_denies_total"), ["sluicegate_denies_total", "sluicegate_denys"]);
}

/// The keys that `docs/configuration.md` describes, as `Config::keys` writes them: the section is in the heading before.
fn documented() -> BTreeSet<String> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in read("docs/configuration.md").lines() {
        if line.starts_with('#') {
            let heading = line.split('`').nth(1).unwrap_or_default();
            let array = if heading.starts_with("[[") { "[]" } else { "" };
            section = match heading.trim_matches(['[', ']']) {
                "" => String::new(),
                // A table of the last `[[server]]`.
                "server.http" => "server[].http.".to_owned(),
                "server.fallback" => "server[].fallback[].".to_owned(),
                "server.after_cut" => "server[].after_cut.".to_owned(),
                name => format!("{name}{array}."),
            };
        }
        let key = line.strip_prefix("| `").and_then(|row| row.split('`').next());
        if let Some(key) = key.filter(|_| !section.is_empty()) {
            keys.insert(format!("{section}{key}"));
        }
    }
    keys
}

#[test]
fn every_configuration_key_is_described_and_nothing_else_is() {
    assert_eq!(documented(), Config::keys());
}

#[test]
fn what_is_to_be_known_of_each_server_is_in_the_table() {
    let page = read("docs/servers.md");
    for kind in Kind::ALL {
        let facts = kind.facts();
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", facts.word))).unwrap();
        let tested = match facts.tested {
            Tested::Real => "the server itself",
            Tested::Contract => "contract only",
        };
        let kick = match facts.kick {
            Kick::Session => "session",
            Kick::Name => "name",
            Kick::Shuts => "shuts",
            Kick::Advisory => "advisory",
            Kick::Configured => "configured",
        };
        let down = match facts.when_down {
            WhenDown::Closed => "nobody can publish",
            WhenDown::Open => "everybody can publish",
            WhenDown::NeverAsks => "asks nobody",
            WhenDown::Unknown => "find out",
        };
        for said in [tested, kick, down] {
            assert!(row.contains(said), "{said} in {row}");
        }
        for url in [facts.pull, facts.control] {
            assert!(page.contains(url), "{url}");
        }
    }
}

#[test]
fn the_examples_of_a_server_of_ones_own_and_of_services_can_be_used() {
    for file in ["deploy/http/sluicegate.toml", "deploy/cloud/sluicegate.toml"] {
        Config::parse(&read(file), file).unwrap();
    }
}

/// The TOML blocks of a page.
fn examples(page: &str) -> Vec<String> {
    let text = read(page);
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

#[test]
fn every_example_configuration_can_be_used() {
    let mut checked = 0;
    for page in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let page = format!("docs/{}", page.unwrap().file_name().into_string().unwrap());
        if Path::new(&page).extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        for example in examples(&page) {
            Config::parse(&example, &page).unwrap_or_else(|error| panic!("{error}\n{example}"));
            checked += 1;
        }
    }
    assert!(checked >= 2, "the examples were not found");
}

#[test]
fn the_service_calls_the_command_as_it_is() {
    let unit = read("deploy/systemd/sluicegate.service");
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        assert!(line.contains("/usr/local/bin/sluicegate "), "{line}");
    }
    assert!(unit.contains("run --config /etc/sluicegate/sluicegate.toml --log-format json"));
    assert!(unit.contains("check-config /etc/sluicegate/sluicegate.toml"));
    // 64 is what a wrong configuration ends with: the service manager must not try again.
    assert!(unit.contains("RestartPreventExitStatus=64"));
}
