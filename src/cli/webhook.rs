//! `sluicegate webhook`: new keys, how receivers are doing, a test of one, and what was given up.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bank::{Answer, tell};
use super::core::{Core, CoreArgs};
use super::table::{Listing, Names, harmless};
use crate::act::webhook::{Algorithm, generate};
use crate::api::{DeadLetterView, TestView, WebhookView};

/// Webhooks of the running core: list them, test one, list and replay what was given up; and make new keys.
///
/// docs/webhooks.md says how a receiver checks and reads what it gets.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  sluicegate webhook key > webhook-secret
  sluicegate webhook list
  sluicegate webhook test moderation
  sluicegate webhook list moderation
  sluicegate webhook replay moderation --all")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new key: the secret to be configured, and with --ed25519 the public key for the receiver.
    ///
    /// Asks nobody, and keeps nothing. The public key goes to standard error, so that the secret alone can be sent to a file.
    #[command(after_help = "Example:\n  sluicegate webhook key --ed25519 > webhook-secret")]
    Key {
        /// A pair of keys, so that the receiver can check and cannot sign; else a secret that both have.
        #[arg(long)]
        ed25519: bool,
    },
    /// List the webhooks, or the events for one of them that were given up.
    #[command(after_help = "Example:\n  sluicegate webhook list moderation")]
    List {
        /// The webhook whose events are to be listed. It need not be configured any more.
        name: Option<String>,
        /// At most so many events, oldest first.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Send a test event, at once and once. A receiver that answered 410 and takes it is sent events again.
    #[command(after_help = "Example:\n  sluicegate webhook test moderation")]
    Test {
        /// The webhook.
        name: String,
    },
    /// Have events tried again that were given up: the same bytes under the same identifier.
    #[command(after_help = "Example:\n  sluicegate webhook replay moderation --all")]
    Replay {
        /// The webhook.
        name: String,
        /// The events, as `webhook list NAME` shows them.
        #[arg(required_unless_present = "all", value_name = "ID")]
        ids: Vec<Uuid>,
        /// All that were given up.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let as_json = args.core.json;
    let answers = match &args.command {
        Command::Key { ed25519 } => return key(*ed25519, as_json, out),
        Command::List { name: None, .. } => webhooks(&Core::new(&args.core)?, as_json)?,
        Command::List { name: Some(name), limit } => letters(&Core::new(&args.core)?, name, *limit, as_json)?,
        Command::Test { name } => return test(&Core::new(&args.core)?, name, as_json, out),
        Command::Replay { name, ids, all } => {
            let wanted = if *all { json!({}) } else { json!({ "letters": ids }) };
            vec![replay(&Core::new(&args.core)?, name, &wanted)?]
        }
    };
    tell(&answers, &[], as_json, out)
}

fn key(ed25519: bool, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (secret, public) =
        generate(if ed25519 { Algorithm::Ed25519 } else { Algorithm::Hmac }).map_err(|why| anyhow!(why))?;
    if let (Some(public), false) = (&public, as_json) {
        writeln!(std::io::stderr(), "the receiver's key: {public}").ok();
    }
    let answer = Answer { text: secret.clone(), json: json!({ "secret": secret, "public_key": public }) };
    tell(&[answer], &[], as_json, out)
}

fn webhooks(core: &Core, as_json: bool) -> anyhow::Result<Vec<Answer>> {
    let heading = ["WEBHOOK", "AT", "STATE", "WAITING", "GIVEN UP", "PUBLIC KEY"];
    let row = |webhook: &WebhookView, _names: Names| {
        let state = webhook.gone_since.map_or_else(|| "in use".to_owned(), |since| format!("gone since {since}"));
        let keys = if webhook.public_keys.is_empty() { "none".to_owned() } else { webhook.public_keys.join(" ") };
        let (waiting, dead) = (webhook.pending.to_string(), webhook.dead.to_string());
        [webhook.name.clone(), webhook.at.clone(), state, waiting, dead, keys]
    };
    let listing = Listing { heading, row, nothing: "no webhook is configured" };
    listing.answers(core.get("/v1/webhooks")?, Names::Shortened, as_json)
}

fn letters(core: &Core, name: &str, limit: u16, as_json: bool) -> anyhow::Result<Vec<Answer>> {
    let heading = ["ID", "EVENT", "GIVEN UP", "ATTEMPTS", "WHY"];
    let row = |letter: &DeadLetterView, _names: Names| {
        let event = letter.event.trim_start_matches("org.sluicegate.").to_owned();
        let (id, attempts) = (letter.id.to_string(), letter.attempts.to_string());
        [id, harmless(&event), letter.given_up.to_string(), attempts, harmless(&letter.reason)]
    };
    let listing = Listing { heading, row, nothing: "no event was given up" };
    let letters = core.get(&format!("/v1/webhooks/{}/dead?limit={limit}", named(name)?))?;
    listing.answers(letters, Names::Shortened, as_json)
}

fn test(core: &Core, name: &str, as_json: bool, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let TestView { delivered, detail } = core.post(&format!("/v1/webhooks/{}/test", named(name)?), &Value::Null)?;
    if !delivered {
        bail!("{detail}");
    }
    let text = format!("delivered: {} answered {}", harmless(name), harmless(&detail));
    let json = json!({ "webhook": name, "delivered": true, "detail": detail });
    tell(&[Answer { text, json }], &[], as_json, out)
}

fn replay(core: &Core, name: &str, wanted: &Value) -> anyhow::Result<Answer> {
    #[derive(Deserialize)]
    struct Replayed {
        replayed: usize,
    }
    let Replayed { replayed } = core.post(&format!("/v1/webhooks/{}/replay", named(name)?), wanted)?;
    let text = match replayed {
        0 => "nothing to replay: list what was given up with `sluicegate webhook list NAME`".to_owned(),
        1 => "one event is tried again".to_owned(),
        several => format!("{several} events are tried again"),
    };
    Ok(Answer { text, json: json!({ "webhook": name, "replayed": replayed }) })
}

/// A name that can stand in a path: no other can be configured.
fn named(name: &str) -> anyhow::Result<&str> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if !name.is_empty() && name.chars().all(fits) {
        Ok(name)
    } else {
        bail!("no webhook can be called that: its name is letters, digits, `-` and `_`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_printed_alone_so_that_it_can_be_sent_to_a_file() {
        for (ed25519, prefix) in [(false, "whsec_"), (true, "whsk_")] {
            let mut out = Vec::new();
            key(ed25519, false, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(prefix) && text.lines().count() == 1, "{text}");
            let mut out = Vec::new();
            key(ed25519, true, &mut out).unwrap();
            let told: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(told["results"][0]["public_key"].is_string(), ed25519, "{told}");
        }
    }

    #[test]
    fn a_name_never_becomes_another_path() {
        for name in ["", "../denies", "a/b", "a?b", "a b", "a%2fb"] {
            assert!(named(name).is_err(), "{name}");
        }
        assert_eq!(named("ops-1_b").unwrap(), "ops-1_b");
    }
}
