//! Holds the rules of the house, which no type can hold: who may use what, and how each file is written.
//!
//! The sources are read as tokens, with comments, text in quotes and test modules told apart, so a rule cannot be tripped by
//! prose nor dodged by a line break. Every breach says the rule, the file, the line and why the rule is there; the checker is
//! itself tested on small houses that break each rule.
#![cfg(test)]

#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/tokens.rs"]
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use rules::breaches;

/// Every Rust file under `folders`, as (path from the root, text).
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn the_house_keeps_its_rules() {
    let sources = sources(&["src", "tests", "benches", "rig/src"]);
    assert!(sources.len() > 20, "the sources were not found");
    let found: Vec<String> = sources.iter().flat_map(|(path, text)| breaches(path, text)).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_folder_of_the_source_is_a_room_with_rules() {
    let rooms = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    for room in rooms.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir()) {
        let name = room.file_name().into_string().unwrap();
        assert!(rules::room(&name).is_some(), "`src/{name}/` has no row in tests/architecture/rules.rs: add one");
    }
}

/// Checks that `text` at `path` breaks exactly the rules whose names are given, in that order.
fn check(path: &str, text: &str, rules: &[&str]) {
    let text = format!("//! Why.\n{text}");
    let found = breaches(path, &text);
    let named: Vec<&str> = found.iter().map(|breach| breach.split(['[', ']']).nth(1).unwrap()).collect();
    assert_eq!(named, rules, "{path}\n{text}\n{found:#?}");
}

#[test]
fn the_checker_sees_who_uses_what() {
    check("src/judge/mod.rs", "use crate::act::Gate;", &["rooms"]);
    check("src/judge/mod.rs", "use crate::{finding::Finding, act::Gate};", &["rooms"]);
    check("src/judge/mod.rs", "fn f() { crate\n  ::act::go() }", &["rooms"]);
    check("src/judge/mod.rs", "use crate::finding::Finding;", &[]);
    check("src/judge/mod.rs", "// use crate::act::Gate;\nconst X: &str = \"crate::act::Gate\";", &[]);
    check("src/detect/known.rs", "use crate::bank::Bank; use crate::hash::PdqHash;", &[]);
    check("src/clock.rs", "use crate::judge::Judge;", &["rooms"]);
    check("src/app/mod.rs", "use crate::{act, judge, api};", &[]);
    check("src/sample/mod.rs", "use crate::config::duration;", &[]);
    check("src/sample/mod.rs", "use crate::config::Config;", &["rooms"]);
}

#[test]
fn the_checker_sees_which_crates_a_room_uses() {
    check("src/api/routes.rs", "use axum::Router;", &[]);
    check("src/app/mod.rs", "use axum::Router;", &["crates"]);
    check("src/app/mod.rs", "fn f() -> ::axum::Router { }", &["crates"]);
    check("src/app/mod.rs", "use {clap::Parser, std::fs};", &["crates"]);
    check("src/hash/mod.rs", "fn f() { let x = gstreamer_video::init(); }", &["crates"]);
    check("src/model/mod.rs", "use ort::session::Session; use ndarray::Array4;", &[]);
    check("src/act/mod.rs", "#[derive(clap::Args)] struct A;", &["crates"]);
    check("src/act/mod.rs", "use crate::metrics::Metrics; mod sort; use sort::by;", &[]);
    check("src/ledger/mod.rs", "use anyhow::Result;", &["crates"]);
}

#[test]
fn the_checker_sees_what_is_not_pure() {
    check("src/judge/rule.rs", "fn f() { let now = std::time::Instant::now(); }", &["pure"]);
    check("src/hash/mod.rs", "use std::fs::File;", &["pure"]);
    check("src/sample/mod.rs", "fn f() { tracing::info!(\"x\"); }", &["pure"]);
    check("src/bank/index.rs", "use std::thread;", &["pure"]);
    check("src/bank/store.rs", "use std::fs::File;", &[]);
    check("src/sample/mod.rs", "use crate::clock::{Clock, Timestamp};", &["pure"]);
    check("src/sample/mod.rs", "#[cfg(test)]\nmod tests { use std::thread; use std::fs; }", &[]);
    check("src/sample/mod.rs", "#[cfg(test)]\nmod tests;\nuse std::thread;", &["pure"]);
    check("src/sample/tests.rs", "use std::thread;", &[]);
}

#[test]
fn the_checker_sees_how_a_file_is_written() {
    assert_eq!(breaches("src/act/mod.rs", "use std::fs;").len(), 1, "no doc comment");
    check("src/act/mod.rs", &"\n".repeat(499), &[]);
    check("src/act/mod.rs", &"\n".repeat(500), &["length"]);
    check("src/act/mod.rs", "#![allow(unsafe_code)]", &["allow"]);
    check("src/bank/index/simd.rs", "#![allow(unsafe_code)]\nfn f() { unsafe { } }", &[]);
    check("src/hash/kernel/avx2.rs", "#![allow(unsafe_code)]\nfn f() { unsafe { } }", &[]);
    check("src/hash/kernel/mod.rs", "fn f() { unsafe { } }", &["unsafe"]);
    check("src/act/mod.rs", "fn f() { unsafe { } }", &["unsafe"]);
    check("src/act/mod.rs", "const N: &str = \"sluicegate_kicks_total\";", &["metric names"]);
    check("src/act/mod.rs", "#[cfg(test)]\nmod tests { const N: &str = \"sluicegate_kicks_total\"; }", &[]);
}

#[test]
fn a_breach_says_where_and_why() {
    let found = breaches("src/judge/mod.rs", "//! Why.\n\nuse crate::act::Gate;\n");
    let [breach] = found.as_slice() else { panic!("{found:?}") };
    assert!(breach.starts_with("src/judge/mod.rs:3: [rooms] `judge` uses `crate::act`: "), "{breach}");
}
