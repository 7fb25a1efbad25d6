//! What goes wrong before and beside the line, as whoever starts Sluicegate sees it: a message that names the thing and
//! the next step, and an exit code that says whose fault it is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::process::Command;

use rig::clips;
use rig::nginx::Nginx;
use rig::sluicegate::{POLICY, Sluicegate};

const USAGE: i32 = 64;
const MISSING: i32 = 69;

/// A Sluicegate beside an nginx, with `more` in its configuration, not started yet.
fn configured(policy: &str, more: &str) -> (Nginx, Sluicegate) {
    let sluicegate = Sluicegate::prepare().unwrap();
    let nginx = Nginx::start(None).unwrap();
    sluicegate.configure(&nginx, policy, more).unwrap();
    (nginx, sluicegate)
}

/// Asserts that `run` ends at once with `code`, having said each of `words`.
fn assert_refused(sluicegate: &Sluicegate, code: i32, words: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["run", "--config"])
        .arg(sluicegate.configuration())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_known_one() {
    let (_nginx, sluicegate) = configured(POLICY, "\n[sample]\nmax_gapp = \"2s\"\n");
    assert_refused(&sluicegate, USAGE, &["sluicegate.toml:", "max_gapp", "did you mean `max_gap`?"]);
}

#[test]
fn a_classifier_alone_may_not_cut_unless_the_policy_says_so() {
    let policy = POLICY.replace("verdict = \"hold\"", "verdict = \"cut\"");
    let (_nginx, sluicegate) = configured(&policy, "");
    assert_refused(&sluicegate, USAGE, &["likely-graphic", "allow_classifier_cut"]);
}

#[test]
fn a_missing_model_is_named_with_the_way_to_get_it() {
    let runtime = rig::asset("runtime/libonnxruntime.so").unwrap();
    let more = format!(
        "\n[model]\nload = [\"safety\"]\nassets = \"/nowhere\"\nruntime = \"{}\"\nwhen_broken = \"refuse\"\n",
        runtime.display()
    );
    let (_nginx, sluicegate) = configured(POLICY, &more);
    assert_refused(&sluicegate, MISSING, &["safety", "/nowhere", "model fetch safety"]);
}

#[test]
fn a_bank_file_cut_short_is_refused_by_name() {
    let (_nginx, sluicegate) = configured(POLICY, "\n[model]\nload = []\n");
    sluicegate.command(&["bank", "add", "demo", &clips::banked().unwrap().display().to_string()]).unwrap();
    let file = sluicegate.folder().join("banks/demo.bank");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, whole.get(..whole.len() / 2).unwrap()).unwrap();
    assert_refused(&sluicegate, MISSING, &["demo.bank", "backup"]);
    let verified = sluicegate.command(&["bank", "verify", "demo"]).unwrap_err().to_string();
    assert!(verified.contains("demo.bank"), "{verified}");
}

#[test]
fn a_second_sluicegate_on_the_same_ledger_is_refused() {
    let (_nginx, mut sluicegate) = configured(POLICY, "\n[model]\nload = []\n");
    sluicegate.start().unwrap();
    assert_refused(&sluicegate, MISSING, &["ledger.sqlite"]);
    assert!(sluicegate.stop().unwrap().success());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (_nginx, sluicegate) = configured(POLICY, "\n[model]\nload = []\n");
    let address = sluicegate.api().replace("http://", "");
    let _taken = std::net::TcpListener::bind(&address).unwrap();
    assert_refused(&sluicegate, MISSING, &[&address, "api.listen"]);
}
