//! Every key that a configuration may have, learnt from the types that read it, so no list can fall behind them.
//!
//! The types refuse unknown keys, and serde then says which keys it expected. So a table with one impossible key, put
//! wherever a value may stand, makes the type recite its keys; what refuses to be a table is a plain value.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::document::{expected, unknown};

const IMPOSSIBLE: &str = "no key is called this";
/// Keys that had another name, and what they are called now.
const RENAMED: [(&str, &str); 1] = [("rtmp", "pull")];
const LIKE_ENOUGH: f64 = 0.6;

/// Every key of `T`: `"api.listen"`, `"server[].name"`. Keys that hold a table or an array of tables are not listed
/// themselves.
pub(super) fn of<T: DeserializeOwned>() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    explore::<T>(&mut Vec::new(), &mut keys);
    keys
}

#[derive(Clone, Copy)]
enum Kind {
    Table,
    ArrayOfTables,
}

fn explore<T: DeserializeOwned>(path: &mut Vec<(String, Kind)>, keys: &mut BTreeSet<String>) {
    for key in recite::<T>(path).unwrap_or_default() {
        let kind = [Kind::Table, Kind::ArrayOfTables].into_iter().find(|kind| {
            path.push((key.clone(), *kind));
            let is_kind = recite::<T>(path).is_some();
            path.pop();
            is_kind
        });
        if let Some(kind) = kind {
            path.push((key, kind));
            explore::<T>(path, keys);
            path.pop();
        } else {
            keys.insert(format!("{}{key}", prefix(path)));
        }
    }
}

fn prefix(path: &[(String, Kind)]) -> String {
    path.iter()
        .map(|(key, kind)| match kind {
            Kind::Table => format!("{key}."),
            Kind::ArrayOfTables => format!("{key}[]."),
        })
        .collect()
}

/// The keys of the table at `path`; `None` when no table with fixed keys may stand there.
fn recite<T: DeserializeOwned>(path: &[(String, Kind)]) -> Option<Vec<String>> {
    let mut table = Table::from_iter([(IMPOSSIBLE.to_owned(), Value::Boolean(true))]);
    for (key, kind) in path.iter().rev() {
        let value = match kind {
            Kind::Table => Value::Table(table),
            Kind::ArrayOfTables => Value::Array(vec![Value::Table(table)]),
        };
        table = Table::from_iter([(key.clone(), value)]);
    }
    let error = T::deserialize(table).err()?;
    (unknown(error.message()) == Some(IMPOSSIBLE)).then(|| expected(error.message()))
}

/// What to say after an unknown key: what it is called now, else the nearest key that may stand there, else where it does belong, else what may.
pub(super) fn hint<T: DeserializeOwned>(unknown: &str, known: &[String]) -> String {
    if let Some((_, now)) = RENAMED.iter().find(|(was, now)| *was == unknown && known.iter().any(|key| key == now)) {
        return format!("; it is now called `{now}`");
    }
    if let Some(near) = nearest(unknown, known) {
        return format!("; did you mean `{near}`?");
    }
    let elsewhere = of::<T>();
    let home = elsewhere.iter().find_map(|key| key.strip_suffix(unknown)?.strip_suffix('.'));
    match home {
        Some(home) if home.ends_with("[]") => format!("; it belongs into [[{}]]", home.trim_end_matches("[]")),
        Some(home) => format!("; it belongs into [{home}]"),
        None => format!("; known are {}", known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// The word most like `unknown`, if any is like it at all.
pub(super) fn nearest<'k>(unknown: &str, known: &'k [String]) -> Option<&'k str> {
    let likeness = |word: &str| strsim::normalized_damerau_levenshtein(unknown, word);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= LIKE_ENOUGH).then_some(best)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Outer {
        _plain: u32,
        _inner: Inner,
        _many: Vec<Inner>,
        _maybe: Option<Inner>,
    }

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        #[serde(with = "crate::config::duration")]
        _span: Duration,
        _words: Vec<String>,
    }

    #[test]
    fn a_type_recites_its_keys() {
        let keys: Vec<String> = of::<Outer>().into_iter().collect();
        let inner =
            ["_inner._span", "_inner._words", "_many[]._span", "_many[]._words", "_maybe._span", "_maybe._words"];
        assert_eq!(keys, [inner.as_slice(), &["_plain"]].concat());
    }

    #[test]
    fn a_slip_of_the_finger_finds_the_key_and_nonsense_does_not() {
        let known = ["max_gap".to_owned(), "interval".to_owned()];
        for (unknown, near) in
            [("max_gapp", Some("max_gap")), ("maxgap", Some("max_gap")), ("intreval", Some("interval")), ("x", None)]
        {
            assert_eq!(nearest(unknown, &known), near, "{unknown}");
        }
    }
}
