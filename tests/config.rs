//! The command as somebody at a shell meets it: what it writes, what it says, how it ends.
#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn sluicegate(folder: &Path, arguments: &[&str]) -> Output {
    let command = Path::new(env!("CARGO_BIN_EXE_sluicegate"));
    Command::new(command).args(arguments).current_dir(folder).env_remove("SLUICEGATE_LOG").output().unwrap()
}

/// (exit code, standard output, standard error)
fn told(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = sluicegate(folder, arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_newcomer_writes_a_configuration_and_it_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();

    let (code, out, _) = told(here, &["init"]);
    assert_eq!(code, 0);
    assert!(out.contains("sluicegate check-config sluicegate.toml"), "it says what comes next: {out}");

    let (code, out, _) = told(here, &["check-config", "sluicegate.toml"]);
    assert_eq!(code, 0);
    for word in ["sluicegate.toml: ok", "server", "main at 127.0.0.1:1935", "rule", "ledger", "http://127.0.0.1:8410"] {
        assert!(out.contains(word), "{word} in {out}");
    }
    assert!(out.contains("warning: banks.dir"), "there are no banks yet: {out}");
}

#[test]
fn init_never_overwrites_unless_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let file = here.join("own.toml");
    fs::write(&file, "precious").unwrap();

    let (code, _, err) = told(here, &["init", "--output", "own.toml"]);
    assert_eq!(code, 64);
    assert!(err.contains("own.toml exists already") && err.contains("--force"), "{err}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    assert_eq!(told(here, &["init", "--output", "own.toml", "--force"]).0, 0);
    assert!(fs::read_to_string(&file).unwrap().contains("[[server]]"));
    assert!(told(here, &["init", "--output", "-"]).1.contains("[[server]]"));
}

#[test]
fn every_problem_of_a_configuration_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "[[server]]\nname = \"main\"\nkind = \"nginx-rtmp\"\n\n[sample]\nmax_gapp = \"2s\"\n\n[api]\nlisten = \"x\"\n";
    fs::write(folder.path().join("sluicegate.toml"), text).unwrap();
    for command in [["check-config", "sluicegate.toml"].as_slice(), &["run", "--config", "sluicegate.toml"]] {
        let (code, out, err) = told(folder.path(), command);
        assert_eq!((code, out.as_str()), (64, ""), "{command:?}");
        let told: Vec<&str> = err.trim_start_matches("error: ").lines().collect();
        assert_eq!(told[0], "sluicegate.toml:6:1: unknown key `max_gapp` in [sample]; did you mean `max_gap`?");
        assert!(told[1].starts_with("sluicegate.toml:9:10: `api.listen`: `x` is not an IP address and port"), "{err}");
    }
}

#[test]
fn a_configuration_that_is_not_there_is_named_with_the_way_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) = told(folder.path(), &["check-config", "none.toml"]);
    assert_eq!(code, 64);
    assert!(err.contains("none.toml") && err.contains("sluicegate init") && err.contains("No such file"), "{err}");
}

#[test]
fn a_wrong_command_line_is_usage_and_help_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (["--help"].as_slice(), 0),
        (&["--version"], 0),
        (&["help", "doctor"], 0),
        (&["run"], 64),
        (&["runn"], 64),
        (&["init", "--outptu", "x"], 64),
    ] {
        assert_eq!(told(folder.path(), arguments).0, code, "{arguments:?}");
    }
}

#[test]
fn a_log_filter_that_is_none_is_usage() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    let output =
        command.args(["init", "--output", "-"]).current_dir(folder.path()).env("SLUICEGATE_LOG", "a=b=c").output();
    assert_eq!(output.unwrap().status.code(), Some(64));
}

#[test]
fn doctor_says_what_is_missing_and_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let text = format!(
        "[[server]]\nname = \"main\"\nkind = \"nginx-rtmp\"\npull = \"rtmp://127.0.0.1:1\"\n\
         [banks]\ndir = {here:?}\n[ledger]\npath = \"/nowhere/ledger.sqlite\"\n[model]\nload = []\n[api]\nlisten = \"127.0.0.1:0\"\n",
    );
    fs::write(here.join("sluicegate.toml"), text).unwrap();

    let (code, out, _) = told(here, &["doctor", "--config", "sluicegate.toml", "--json"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["well"], false);
    let state = |what: &str| {
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["what"] == what).unwrap_or_else(|| panic!("{what} in {out}"));
        assert_eq!(check["state"] == "missing", check["next"].is_string(), "{check}");
        check["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("banks.dir"), "well");
    assert_eq!(state("ledger.path"), "missing");
    assert_eq!(state("models"), "well");
    assert_eq!(state("server main pull"), "missing");
    assert_eq!(state("server main kind"), "well");
    assert_eq!(state("api.listen"), "well");

    let (code, out, _) = told(here, &["doctor", "--config", "sluicegate.toml"]);
    assert_eq!(code, 1);
    assert!(out.contains("MISSING  ledger.path") && out.contains("install -d"), "{out}");
}
