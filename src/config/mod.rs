//! From the text of a configuration file to a typed and checked [`Config`], before anything starts.
//!
//! Each stage owns its section and says what is in it; this room composes them, finds every problem in one go, says where
//! each is, and checks what no section can check alone. A section left out means its defaults; an unknown key is refused
//! with the nearest known one.

pub mod duration;

mod checks;
mod document;
mod keys;
mod models;
mod rules;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::act::{self, servers, webhook};
use crate::{api, app, decode, inspector, judge, ledger, model, sample, source};
use document::Document;
pub use document::Problem;

/// A commented configuration with every key, as `sluicegate init` writes it.
pub const TEMPLATE: &str = include_str!("template.toml");

/// The whole configuration, one field a section, from left to right along the line.
///
/// To add a section: add the field here, what no section can check alone to `checks.rs`, and its keys to
/// `template.toml` and `docs/configuration.md`; tests name every key that is forgotten.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[[server]]`: the media servers.
    pub server: Vec<servers::Config>,
    /// `[[webhook]]`: who is told.
    pub webhook: Vec<webhook::Config>,
    /// `[[class]]`: what streams are of.
    pub class: Vec<app::ClassConfig>,
    /// `[banks]`: where known content is kept.
    pub banks: Banks,
    /// `[policy]`: what follows from what was seen.
    pub policy: judge::Config,
    /// `[streams]`
    pub streams: app::StreamsConfig,
    /// `[reports]`: what people report.
    pub reports: app::ReportsConfig,
    /// `[inspector]`
    pub inspector: inspector::Config,
    /// `[source]`
    pub source: source::Config,
    /// `[sample]`
    pub sample: sample::Config,
    /// `[decode]`
    pub decode: decode::Config,
    /// `[model]`
    pub model: model::Config,
    /// `[act]`
    pub act: act::Config,
    /// `[ledger]`
    pub ledger: ledger::Config,
    /// `[api]`
    pub api: api::Config,
}

/// The section `[banks]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Banks {
    /// The folder that holds them.
    pub dir: PathBuf,
    /// When a signal that fires where it should not is set aside.
    pub quarantine: judge::quarantine::Config,
}

impl Default for Banks {
    fn default() -> Self {
        Self { dir: "/var/lib/sluicegate/banks".into(), quarantine: judge::quarantine::Config::default() }
    }
}

/// A configuration that cannot be used. Its message has one line a problem: `file:line:column: what is wrong`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}; write one with `sluicegate init --output {path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file was read, and these are the problems.
    #[error("{}", lines(origin, problems))]
    Invalid {
        /// The file's name.
        origin: String,
        /// In the order of the file.
        problems: Vec<Problem>,
    },
}

fn lines(origin: &str, problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{origin}:{problem}")).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads and checks `text`; `origin` is what messages call it.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let invalid = |problems| ConfigError::Invalid { origin: origin.to_owned(), problems };
        let document = Document::parse(text).map_err(invalid)?;
        let config: Self = document.read().map_err(invalid)?;
        let problems = checks::problems(&config).into_iter();
        let mut problems: Vec<Problem> = problems.map(|(path, message)| document.problem_at(&path, message)).collect();
        problems.sort();
        if problems.is_empty() { Ok(config) } else { Err(invalid(problems)) }
    }

    /// Every key that a configuration may have: `"api.listen"`, `"server[].name"`.
    pub fn keys() -> BTreeSet<String> {
        keys::of::<Self>()
    }

    /// What is allowed but deserves a second look. Looks into the folder of banks, and for the files of models.
    pub fn warnings(&self) -> Vec<String> {
        checks::warnings(self)
    }

    /// What would run: a word and a line each. Looks into the folder of banks.
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        summary::of(self)
    }
}
