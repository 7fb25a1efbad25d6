//! From the text of a configuration file to a typed and checked [`Config`], before anything starts.
//!
//! Each stage owns its section and says what is in it; this room composes them, finds every problem in one go, says where
//! each is, and checks what no section can check alone. An empty section means its defaults; an unknown key is refused
//! with the nearest known one.

pub mod duration;

mod document;
mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::api;
pub use document::Problem;
use document::{Document, Step};

/// A commented configuration with every key, as `sluicegate init` writes it.
pub const TEMPLATE: &str = include_str!("template.toml");

/// The whole configuration, one field a section. To add a section: add the field, its problems in [`Config::problems`]
/// and its keys to `template.toml` and `docs/configuration.md`; tests name what is forgotten.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[api]`
    pub api: api::Config,
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
        let problems = config.problems();
        if problems.is_empty() {
            return Ok(config);
        }
        let mut problems: Vec<Problem> =
            problems.into_iter().map(|(path, message)| document.problem_at(&path, message)).collect();
        problems.sort();
        Err(invalid(problems))
    }

    /// Every key that a configuration may have: `"api.listen"`, `"server[].name"`.
    pub fn keys() -> BTreeSet<String> {
        keys::of::<Self>()
    }

    /// What is wrong with values that are each well-formed.
    fn problems(&self) -> Vec<(Vec<Step>, String)> {
        let api = self.api.problems().into_iter().map(|(key, message)| (key_of("api", key), message));
        api.collect()
    }

    /// What would run: a word and a line each.
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        vec![("api", format!("http://{}", self.api.listen))]
    }

    /// What is allowed but deserves a second look.
    pub fn warnings(&self) -> Vec<String> {
        self.api.warnings()
    }
}

fn key_of(section: &str, key: &str) -> Vec<Step> {
    vec![Step::from(section), Step::from(key)]
}
