//! Reads a TOML document into a typed value, and finds everything that is wrong with it instead of the first thing only.
//!
//! serde stops at the first error. So: read, note the error with its place, take the offending entry out of a copy, read
//! again, until nothing is wrong. Each round takes an entry out, so it ends.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::keys;

/// One step from a table or an array to what is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The value of a key.
    Key(String),
    /// An element of an array, from 0.
    Element(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(element: usize) -> Self {
        Self::Element(element)
    }
}

/// Something wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// A well-formed TOML document.
#[derive(Debug)]
pub(super) struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Parses `text`; every place where it is no TOML is a problem.
    pub(super) fn parse(text: &'t str) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { text, root });
        }
        let problem = |error: &toml::de::Error| {
            let start = error.span().unwrap_or_default().start;
            problem(text, start, format!("not TOML: {}", error.message()))
        };
        Err(sorted(errors.iter().map(problem).collect()))
    }

    /// Reads the document as a `T`, or says everything that is in the way.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<Problem>> {
        let mut root = self.root.clone();
        let mut taken = BTreeSet::new();
        let mut problems = Vec::new();
        loop {
            let error = match T::deserialize(Deserializer::from(root.clone())) {
                Ok(value) if problems.is_empty() => return Ok(value),
                Ok(_) => return Err(sorted(problems)),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_default();
            let Some((path, span)) = blame(&root, &span, error.message()) else {
                problems.push(problem(self.text, span.start, error.message().to_owned()));
                return Err(sorted(problems));
            };
            if !follows_from(&taken, &path, error.message()) {
                problems.push(problem(self.text, span.start, say::<T>(&path, error.message())));
            }
            take(root.get_mut(), &path);
            taken.insert(path);
        }
    }

    /// A problem with the value at `path`, or with the nearest thing above it that is written down.
    pub(super) fn problem_at(&self, path: &[Step], message: String) -> Problem {
        let mut start = 0;
        let mut value: Option<&DeValue<'_>> = None;
        for step in path {
            let next = match (step, value) {
                (Step::Key(key), None) => self.root.get_ref().get(key.as_str()),
                (Step::Key(key), Some(DeValue::Table(table))) => table.get(key.as_str()),
                (Step::Element(element), Some(DeValue::Array(array))) => array.get(*element),
                _ => None,
            };
            let Some(next) = next else { break };
            start = next.span().start;
            value = Some(next.get_ref());
        }
        problem(self.text, start, message)
    }
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

fn problem(text: &str, offset: usize, message: String) -> Problem {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    Problem { line: before.matches('\n').count() + 1, column, message }
}

/// The entry that an error is about: the one whose key or value lies at `span`, or, where serde has lost the place of an
/// unknown key, that key below it.
fn blame(root: &Spanned<DeTable<'_>>, span: &Range<usize>, message: &str) -> Option<(Vec<Step>, Range<usize>)> {
    let mut found = None;
    walk(root.get_ref(), &mut Vec::new(), &mut |path, key, value| {
        let is_key = key.is_some_and(|key| key == *span);
        // An array of tables lies where its first table does: the deepest is meant.
        if is_key || value.span() == *span {
            found = Some((path.to_vec(), span.clone()));
            if let (false, Some(unknown), DeValue::Table(table)) = (is_key, unknown(message), value.get_ref())
                && let Some((key, _)) = table.get_key_value(unknown)
            {
                let below = path.iter().cloned().chain([Step::from(unknown)]).collect();
                found = Some((below, key.span()));
            }
        }
    });
    found
}

type Visit<'v> = dyn FnMut(&[Step], Option<Range<usize>>, &Spanned<DeValue<'_>>) + 'v;

fn walk(table: &DeTable<'_>, path: &mut Vec<Step>, visit: &mut Visit<'_>) {
    for (key, value) in table {
        path.push(Step::from(key.get_ref().as_ref()));
        visit(path, Some(key.span()), value);
        walk_value(value, path, visit);
        path.pop();
    }
}

fn walk_value(value: &Spanned<DeValue<'_>>, path: &mut Vec<Step>, visit: &mut Visit<'_>) {
    match value.get_ref() {
        DeValue::Table(table) => walk(table, path, visit),
        DeValue::Array(array) => {
            for (number, element) in array.iter().enumerate() {
                path.push(Step::from(number));
                visit(path, None, element);
                walk_value(element, path, visit);
                path.pop();
            }
        }
        _ => {}
    }
}

fn take(table: &mut DeTable<'_>, path: &[Step]) {
    let [Step::Key(key), rest @ ..] = path else { return };
    if rest.is_empty() {
        table.remove(key.as_str());
    } else if let Some(value) = table.get_mut(key.as_str()) {
        take_from_value(value.get_mut(), rest);
    }
}

fn take_from_value(value: &mut DeValue<'_>, path: &[Step]) {
    match (value, path) {
        (DeValue::Table(table), path) => take(table, path),
        (DeValue::Array(array), [Step::Element(element)]) => {
            let kept = array.iter().enumerate().filter(|(number, _)| number != element);
            *array = kept.map(|(_, value)| value.clone()).collect();
        }
        (DeValue::Array(array), [Step::Element(element), rest @ ..]) => {
            if let Some(value) = array.get_mut(*element) {
                take_from_value(value.get_mut(), rest);
            }
        }
        _ => {}
    }
}

/// Whether an error is of our own making: a key is missing because we took it out.
fn follows_from(taken: &BTreeSet<Vec<Step>>, path: &[Step], message: &str) -> bool {
    let Some(missing) = message.strip_prefix("missing field ").and_then(quoted) else { return false };
    let missing: Vec<Step> = path.iter().cloned().chain([Step::from(missing)]).collect();
    taken.contains(&missing)
}

fn say<T: DeserializeOwned>(path: &[Step], message: &str) -> String {
    let (container, last) = match path.split_last() {
        Some((Step::Key(last), container)) => (container, last.as_str()),
        _ => (path, ""),
    };
    if let Some(unknown) = unknown(message) {
        let known = expected(message);
        let (what, place) = if container.is_empty() {
            (format!("unknown section or key `{unknown}`"), String::new())
        } else {
            (format!("unknown key `{unknown}`"), format!(" in {}", section(container)))
        };
        return format!("{what}{place}{}", keys::hint::<T>(unknown, &known));
    }
    if let Some(missing) = message.strip_prefix("missing field ").and_then(quoted) {
        return format!("{} needs the key `{missing}`", section(path));
    }
    let hint = match message.strip_prefix("unknown variant ").and_then(quoted) {
        Some(variant) => keys::nearest(variant, &expected(message)).map(|near| format!("; did you mean `{near}`?")),
        None => None,
    };
    let place = if last.is_empty() { section(path) } else { format!("`{}`", dotted(path)) };
    format!("{place}: {message}{}", hint.unwrap_or_default())
}

/// `[sample]`, `[[server]]`, `[[policy.rule]]`.
fn section(path: &[Step]) -> String {
    let name = dotted(path);
    if matches!(path.last(), Some(Step::Element(_))) { format!("[[{name}]]") } else { format!("[{name}]") }
}

fn dotted(path: &[Step]) -> String {
    let keys = path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Element(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

/// The key of ``unknown field `key`, expected ...``, as serde writes it.
pub(super) fn unknown(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field ").and_then(quoted)
}

/// The words of ``... expected one of `a`, `b` ``, as serde writes it.
pub(super) fn expected(message: &str) -> Vec<String> {
    let (_, list) = message.split_once(", expected ").unwrap_or_default();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('`')?.split_once('`').map(|(word, _)| word)
}
