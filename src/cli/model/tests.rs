//! What `sluicegate model` says without any model on the machine: the rest is held in `tests/model_commands.rs`.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ModelArgs,
}

fn says(words: &[&str]) -> (String, bool) {
    let args = Cli::parse_from(["model"].iter().chain(words)).args;
    let mut out = Vec::new();
    let code = run(&args, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS))
}

#[test]
fn the_list_names_labels_licences_and_where_the_file_is() {
    let (text, fine) = says(&["list", "--assets", "/nowhere"]);
    for part in ["safety: ", "nsfl, nsfw, sfw", "MIT", "undisclosed", "missing: run `make setup`"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(fine);
}

#[test]
fn what_is_not_right_is_said_and_is_the_exit_code() {
    for (words, expected) in [
        (&["verify", "safty"][..], "no model called `safty`"),
        (&["verify", "--assets", "/nowhere", "safety"], "safety: no ONNX Runtime found"),
    ] {
        // An ORT_DYLIB_PATH of whoever runs the tests would be found instead of nothing.
        if std::env::var_os("ORT_DYLIB_PATH").is_none() || words.len() == 2 {
            let (text, fine) = says(words);
            assert!(text.contains(expected) && !fine, "{text}");
        }
    }
}
