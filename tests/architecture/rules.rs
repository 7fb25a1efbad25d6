//! The rules, as tables: add a room, a crate or a ban here and nowhere else.

use crate::tokens::{Kind, Token, tokens, without_tests};

/// A folder or file of `src/`, and which others it may use.
pub(crate) struct Room {
    name: &'static str,
    uses: Uses,
    why: &'static str,
}

enum Uses {
    /// Everything: it wires the house.
    All,
    /// The leaf modules, and these.
    Leaves(&'static [&'static str]),
}

/// What every stage shares; a leaf uses leaves only. `config::duration` is one, the rest of `config` is not.
const LEAVES: &[&str] = &["clock", "stream", "picture", "finding", "decision", "media_server", "metrics", "report"];

const STAGE: &str =
    "data flows one way and only `app` and `inspector` see two stages: put what they share into a leaf module";
const HELPER: &str = "it serves stages and must not know them";

const ROOMS: &[Room] = &[
    Room { name: "source", uses: Uses::Leaves(&[]), why: STAGE },
    Room { name: "sample", uses: Uses::Leaves(&[]), why: STAGE },
    Room { name: "decode", uses: Uses::Leaves(&[]), why: STAGE },
    Room { name: "detect", uses: Uses::Leaves(&["hash", "bank", "model"]), why: STAGE },
    Room { name: "judge", uses: Uses::Leaves(&[]), why: STAGE },
    Room { name: "act", uses: Uses::Leaves(&[]), why: STAGE },
    Room { name: "ledger", uses: Uses::Leaves(&[]), why: STAGE },
    Room { name: "api", uses: Uses::Leaves(&[]), why: STAGE },
    Room { name: "hash", uses: Uses::Leaves(&[]), why: HELPER },
    Room { name: "bank", uses: Uses::Leaves(&["hash"]), why: HELPER },
    Room { name: "model", uses: Uses::Leaves(&[]), why: HELPER },
    Room { name: "fetch", uses: Uses::Leaves(&["model"]), why: HELPER },
    Room { name: "eval", uses: Uses::Leaves(&[]), why: "statistics know neither pictures nor models" },
    Room { name: "metrics", uses: Uses::Leaves(&[]), why: "a leaf module knows nothing above it" },
    Room {
        name: "inspector",
        uses: Uses::Leaves(&["source", "sample", "decode", "detect", "hash", "bank", "model"]),
        why: "what handles strangers' media knows no policy, no token and nothing of what follows from a finding",
    },
    Room { name: "config", uses: Uses::All, why: "" },
    Room { name: "cli", uses: Uses::All, why: "" },
    Room { name: "app", uses: Uses::All, why: "" },
];

/// Which crates only some rooms may use: `(crates, rooms or files, why)`.
const CRATES: &[(&[&str], &[&str], &str)] = &[
    (
        &["gstreamer", "gstreamer_app", "gstreamer_video"],
        &["source", "decode"],
        "no GStreamer type leaks past the edge",
    ),
    (&["ort", "ndarray"], &["model", "detect"], "one place knows how models are run"),
    (&["axum"], &["api"], "one place speaks HTTP to clients"),
    (&["rusqlite"], &["ledger", "bank"], "one place a file knows how it is stored"),
    (&["clap"], &["cli"], "the house does not know how it is called"),
    (&["prometheus"], &["metrics"], "every metric is declared once"),
    (&["smartcore"], &["eval"], "one place knows how probes are fitted"),
    (&["anyhow"], &["cli", "main"], "a stage's errors are an enum with kinds"),
];

/// Rooms and files that know no clock, file, log or thread.
const PURE: &[&str] = &["src/sample/", "src/hash/", "src/judge/", "src/bank/index", "src/detect/gate", "src/eval/"];

/// What is not pure: a path of names, and why not.
const IMPURE: &[(&[&str], &str)] = &[
    (&["Instant"], "time comes in as an argument"),
    (&["SystemTime"], "time comes in as an argument"),
    (&["Clock"], "time comes in as an argument"),
    (&["std", "fs"], "files are read elsewhere"),
    (&["std", "net"], "the network is elsewhere"),
    (&["std", "process"], "processes are started elsewhere"),
    (&["std", "env"], "settings come in as arguments"),
    (&["std", "thread"], "threads belong to `app`"),
    (&["tokio"], "what waits is elsewhere"),
    (&["tracing"], "it returns what there is to say"),
    (&["rand"], "chance comes in as an argument"),
];

/// Where instructions live that not every machine has: a safe face, a scalar twin and a test that both agree.
const KERNELS: &[&str] = &["src/bank/index/simd", "src/hash/kernel/avx", "src/model/preprocess/kernel/avx2"];

/// Files that are no such kernels and have `unsafe` all the same, each with its argument.
const UNSAFE: &[&str] = &["src/bank/mmap.rs", "src/model/assignment.rs", "tests/pdq_memory.rs"];

const LONGEST: usize = 500;

/// The row of a room.
pub(crate) fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// Every breach in the file at `path`: `path:line: [rule] what: why`.
pub(crate) fn breaches(path: &str, text: &str) -> Vec<String> {
    let all = tokens(text);
    let is_test = !path.starts_with("src/") || path.ends_with("/tests.rs") || path.contains("/tests/");
    let code = if is_test { Vec::new() } else { without_tests(&all) };
    let found =
        [written(path, text, &all), rooms(path, &all), crates(path, &all), pure(path, &code), names(path, &code)];
    let mut found = found.concat();
    found.sort_by_key(|(line, _)| *line);
    found.into_iter().map(|(line, breach)| format!("{path}:{line}: {breach}")).collect()
}

type Found = Vec<(usize, String)>;

fn written(path: &str, text: &str, all: &[Token]) -> Found {
    let mut found = Found::new();
    if !text.starts_with("//!") {
        found.push((1, "[doc] opens without `//!`: a file says why it exists and what it promises".to_owned()));
    }
    let lines = text.lines().count();
    if lines > LONGEST {
        found.push((
            lines,
            format!("[length] has {lines} lines: more than {LONGEST} cannot be kept in one head, split it"),
        ));
    }
    let kernel = KERNELS.iter().any(|kernel| path.starts_with(kernel)) || UNSAFE.contains(&path);
    for (at, token) in all.iter().enumerate() {
        let follows =
            |marks: [&str; 4]| marks.iter().enumerate().all(|(n, mark)| all.get(at + n).is_some_and(|t| t.is(mark)));
        if follows(["#", "!", "[", "allow"]) && !kernel {
            let why =
                "only a SIMD kernel in a file of its own, or a map, silences a lint; else #[expect(.., reason = ..)]";
            found.push((token.line, format!("[allow] `#![allow`: {why}")));
        }
        if token.is("unsafe") && !kernel {
            found.push((
                token.line,
                "[unsafe] `unsafe`: only a SIMD kernel in a file of its own, or a map, has it".to_owned(),
            ));
        }
    }
    found
}

/// `judge` of `src/judge/rule.rs`, `clock` of `src/clock.rs`.
fn home(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    Some(inside.split('/').next()?.trim_end_matches(".rs"))
}

fn rooms(path: &str, all: &[Token]) -> Found {
    let Some(home) = home(path) else { return Found::new() };
    let (allowed, why): (&[&str], &str) = match room(home) {
        Some(Room { uses: Uses::Leaves(more), why, .. }) => (more, why),
        None if LEAVES.contains(&home) => (&[], "a leaf module knows nothing above it"),
        // lib.rs and main.rs only name the rooms.
        Some(Room { uses: Uses::All, .. }) | None => return Found::new(),
    };
    let mut found = Found::new();
    for (at, token) in all.iter().enumerate().filter(|(_, token)| token.is("crate")) {
        for used in behind(all, at + 1) {
            let [first, rest @ ..] = used.as_slice() else { continue };
            let duration = *first == "config" && rest.first().is_some_and(|next| *next == "duration");
            let known = first == home || LEAVES.contains(&first.as_str()) || allowed.contains(&first.as_str());
            if !known && !duration {
                found.push((token.line, format!("[rooms] `{home}` uses `crate::{first}`: {why}")));
            }
        }
    }
    found
}

/// The paths behind `crate` at `at`: one for `::a::b`, several for `::{a::b, c}`; each its first two names.
fn behind(all: &[Token], at: usize) -> Vec<Vec<String>> {
    let name = |at: usize| all.get(at).filter(|token| token.kind == Kind::Word).map(|token| token.text.clone());
    let mark = |at: usize, text: &str| all.get(at).is_some_and(|token| token.is(text));
    let path = |at: usize| -> Vec<String> {
        let second = if mark(at + 1, "::") { name(at + 2) } else { None };
        name(at).into_iter().chain(second).collect()
    };
    if !mark(at, "::") {
        return Vec::new();
    }
    if !mark(at + 1, "{") {
        return vec![path(at + 1)];
    }
    let mut paths = vec![path(at + 2)];
    let mut depth = 0;
    for (next, token) in all.iter().enumerate().skip(at + 1) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => paths.push(path(next + 1)),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    paths
}

fn crates(path: &str, all: &[Token]) -> Found {
    let Some(home) = home(path) else { return Found::new() };
    let mut found = Found::new();
    for (names, rooms, why) in CRATES.iter().filter(|(_, rooms, _)| !rooms.contains(&home)) {
        let mut seen: Found = all
            .iter()
            .enumerate()
            .filter(|(at, token)| names.iter().any(|name| token.is(name)) && is_crate(all, *at))
            .map(|(_, token)| {
                (token.line, format!("[crates] `{home}` uses `{}`, which belongs to {rooms:?}: {why}", token.text))
            })
            .collect();
        found.append(&mut seen);
    }
    found
}

/// Whether the name at `at` begins a path or is imported whole, so that it can only be a crate.
fn is_crate(all: &[Token], at: usize) -> bool {
    let is = |at: Option<usize>, text: &str| at.and_then(|at| all.get(at)).is_some_and(|token| token.is(text));
    let leading = !is(at.checked_sub(1), "::")
        || !at.checked_sub(2).and_then(|at| all.get(at)).is_some_and(|t| t.kind == Kind::Word);
    let begins = is(Some(at + 1), "::");
    let imported = is(at.checked_sub(1), "use") || is(at.checked_sub(1), "crate") && is(at.checked_sub(2), "extern");
    leading && (begins || imported)
}

fn pure(path: &str, code: &[Token]) -> Found {
    if !PURE.iter().any(|pure| path.starts_with(pure)) {
        return Found::new();
    }
    let mut found = Found::new();
    for (names, why) in IMPURE {
        for (at, token) in code.iter().enumerate().filter(|(_, token)| token.is(names[0])) {
            let reached = match names {
                [_, second] => behind(code, at + 1).iter().any(|path| path.first().is_some_and(|name| name == second)),
                // A word of its own, and not the name of a field or a variable.
                [word] => word.starts_with(char::is_uppercase) || is_crate(code, at),
                _ => false,
            };
            if reached {
                found.push((token.line, format!("[pure] `{}`: this room is pure, {why}", names.join("::"))));
            }
        }
    }
    found
}

fn names(path: &str, code: &[Token]) -> Found {
    if path == "src/metrics.rs" || path.starts_with("src/metrics/") {
        return Found::new();
    }
    let is_name =
        |text: &str| text.starts_with("sluicegate_") && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    code.iter()
        .filter(|token| token.kind == Kind::Text && is_name(&token.text))
        .map(|token| {
            (token.line, format!("[metric names] \"{}\": every metric is declared once, in src/metrics", token.text))
        })
        .collect()
}
