//! What programs and terminals get from the commands about banks: with `--json` one object with the fields that
//! docs/banks.md lists, whatever happens; progress on a terminal's standard error and nowhere else.
#![cfg(test)]

#[cfg(test)]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::ffmpeg;

const BINARY: &str = env!("CARGO_BIN_EXE_sluicegate");

/// A folder with banks, a picture, a video and a list in it.
fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    fs::create_dir(desk.path().join("banks")).unwrap();
    ffmpeg("-f lavfi -i mandelbrot=size=320x240 -frames:v 1", &desk.path().join("a.png"));
    ffmpeg("-f lavfi -i mandelbrot=size=320x240:rate=25 -t 4 -c:v libx264", &desk.path().join("clip.mp4"));
    fs::write(desk.path().join("list.txt"), format!("{}{}\n", "f".repeat(32), "0".repeat(32))).unwrap();
    desk
}

fn run(desk: &Path, line: &str) -> Output {
    let banks = desk.join("banks");
    Command::new(BINARY).args(line.split(' ')).current_dir(desk).env("SLUICEGATE_BANKS", banks).output().unwrap()
}

/// The words in backticks of a text.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The fields of a command's results, as docs/banks.md has them.
fn documented(command: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/banks.md")).unwrap();
    let table = page.split("fields of a result").nth(1).expect("docs/banks.md lists the fields of a result");
    let rows = table.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|');
        Some((quoted(cells.next()?), quoted(cells.next()?)))
    });
    rows.filter(|(commands, _)| commands.contains(command)).flat_map(|(_, fields)| fields).collect()
}

#[test]
fn every_answer_in_json_is_one_object_with_the_fields_that_are_documented() {
    let desk = desk();
    for (command, more) in [
        ("bank create", "other --label terrorism"),
        ("bank add", "demo clip.mp4"),
        ("bank import", "demo list.txt --format hashes"),
        ("bank export", "demo --to demo.csv"),
        ("bank list", ""),
        ("bank show", "demo --signals"),
        ("bank verify", "demo"),
        ("bank test", "demo clip.mp4"),
        ("bank set", "demo --quorum 2"),
        ("bank compact", "demo"),
        ("bank disable", "demo"),
        ("bank enable", "demo"),
        ("hash", "a.png"),
        ("match", "a.png"),
        ("bank remove", "demo --file clip.mp4"),
    ] {
        let line = format!("{command} {more} --json").replace("  ", " ");
        let output = run(desk.path(), &line);
        assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&answer), ["errors", "results"].map(str::to_owned).into(), "{line}");
        let results = answer["results"].as_array().unwrap();
        assert!(!results.is_empty(), "{line}");
        assert_eq!(results.iter().flat_map(keys).collect::<BTreeSet<_>>(), documented(command), "{line}");
    }
}

#[test]
fn a_failure_in_json_is_one_object_too() {
    let desk = desk();
    fs::create_dir(desk.path().join("nothing")).unwrap();
    for line in [
        "bank add demo absent.mp4",
        "bank add demo nothing",
        "bank export absent",
        "bank export absent --to out.csv",
        "bank list --banks nowhere",
        "bank show absent",
        "bank test absent a.png",
        "bank remove absent --id 1",
        "bank import demo absent.csv",
        "hash absent.png",
        "hash nothing",
        "match a.png",
        "match a.png --banks nowhere",
    ] {
        let output = run(desk.path(), &format!("{line} --json"));
        assert_eq!(output.status.code(), Some(64), "{line}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(answer["results"], serde_json::json!([]), "{line}");
        let told = answer["errors"][0].as_str().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains(told), "{line}: {told}");
    }
}

#[test]
fn progress_is_for_terminals() {
    let desk = desk();
    let piped = run(desk.path(), "hash clip.mp4 a.png");
    assert_eq!((piped.stdout.split(|byte| *byte == b'\n').count(), piped.stderr.len()), (103, 0));
    // With a terminal on standard error alone: `script` makes one and keeps what it shows.
    let shown = Command::new("script")
        .args(["--quiet", "--return", "--command", &format!("{BINARY} hash clip.mp4 a.png > table.csv"), "shown"])
        .current_dir(desk.path())
        .env("TERM", "xterm")
        .output()
        .unwrap();
    assert!(shown.status.success(), "{shown:?}");
    assert_eq!(fs::read(desk.path().join("table.csv")).unwrap(), piped.stdout);
    let shown = String::from_utf8_lossy(&fs::read(desk.path().join("shown")).unwrap()).into_owned();
    for said in ["0/2 files", "clip.mp4: ", "%, ", " left"] {
        assert!(shown.contains(said), "{said} in {shown:?}");
    }
}
