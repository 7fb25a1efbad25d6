//! `sluicegate policy`: what a policy says in English, and what it decides on recorded timelines. Needs no running core.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bank::{Answer, tell};
use super::failure::Exit;
use super::table::harmless;
use crate::config::Config;
use crate::decision::{Context, Mode};
use crate::finding::Finding;
use crate::judge::{self, Judgement, Policy};

/// The policy: read it as sentences, and try it on recorded timelines before it is in force.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  sluicegate policy explain --config sluicegate.toml
  sluicegate policy test cases.jsonl --config stricter.toml")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// A configuration, or a document with a `[policy]` alone; left out: the policy that is built in.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON, one object.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the policy decides, a sentence for each rule, and which rules can never decide.
    #[command(after_help = "Example:\n  sluicegate policy explain --config sluicegate.toml")]
    Explain,
    /// Run recorded timelines against the policy and show the verdicts.
    ///
    /// A timeline is a JSON object with `timeline`, a list of findings; it may have a `name`, a `context` and what to `expect`, such
    /// as `["hold", "cut"]`. What the core answers for /v1/decisions/ID/timeline is one, and so is what `decisions show --json`
    /// writes, with the evidence alone. A file may hold several, one after another. Ends with 1 where something else came out
    /// than was expected.
    #[command(after_help = "Example:\n  sluicegate policy test cases.jsonl --config sluicegate.toml")]
    Test {
        /// The recorded timelines.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// What `policy test` reads. What else a decision has is passed over.
#[derive(Debug, Deserialize)]
struct Recorded {
    name: Option<String>,
    id: Option<Uuid>,
    #[serde(default)]
    context: Context,
    #[serde(default)]
    timeline: Vec<Finding>,
    #[serde(default)]
    evidence: Vec<Finding>,
    expect: Option<Vec<String>>,
    /// Where the timeline stands beside its decision, which has the rest.
    decision: Option<Box<Recorded>>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let policy = load(args.config.as_deref())?;
    match &args.command {
        Command::Explain => tell(&[explained(&policy)], &[], args.json, out),
        Command::Test { files } => {
            let mut answers = Vec::new();
            for file in files {
                for (number, recorded) in read(file)?.into_iter().enumerate() {
                    answers.push(tried(&policy, recorded, &format!("{} {}", file.display(), number + 1))?);
                }
            }
            let unexpected = answers.iter().any(|answer| answer.json.get("as_expected") == Some(&Value::Bool(false)));
            let told = tell(&answers, &[], args.json, out)?;
            Ok(if unexpected { ExitCode::from(Exit::Unwell as u8) } else { told })
        }
    }
}

/// The policy of a configuration, or of a document that has nothing but a policy; the built-in one where there is no file.
///
/// # Errors
/// When the file cannot be read, or what it says makes no sense.
pub(super) fn load(file: Option<&Path>) -> anyhow::Result<Policy> {
    let Some(file) = file else { return Ok(Policy::parse(judge::Config::default())?) };
    let origin = file.display().to_string();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {origin}"))?;
    let whole = toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.contains_key("server"));
    if whole { Ok(Policy::parse(Config::parse(&text, &origin)?.policy)?) } else { Policy::read(&text).context(origin) }
}

fn explained(policy: &Policy) -> Answer {
    let (rules, beside, warnings) = (policy.sentences(), policy.beside(), policy.warnings());
    let warned: Vec<String> = warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    let text = [rules.as_slice(), &beside, &warned].concat().join("\n");
    let json = json!({ "digest": policy.digest(), "rules": rules, "beside": beside, "warnings": warnings });
    Answer { text: harmless_lines(&text), json }
}

/// Names of rules, banks and classes come from files.
fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

/// Every timeline of a file, whether it stands alone or among the `results` of another command.
fn read(file: &Path) -> anyhow::Result<Vec<Recorded>> {
    let origin = || format!("{} is no file of timelines", file.display());
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut recorded = Vec::new();
    for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        let value = value.with_context(origin)?;
        let results = match value.get("results") {
            Some(Value::Array(results)) => results.clone(),
            _ => vec![value],
        };
        for result in results {
            recorded.push(serde_json::from_value(result).with_context(origin)?);
        }
    }
    if recorded.is_empty() {
        bail!("{} holds no timeline", file.display());
    }
    Ok(recorded)
}

fn tried(policy: &Policy, recorded: Recorded, place: &str) -> anyhow::Result<Answer> {
    let Recorded { name, mut id, mut context, timeline, mut evidence, expect, decision } = recorded;
    if let Some(decision) = decision {
        (id, context, evidence) = (decision.id, decision.context, decision.evidence);
    }
    let name = name.or_else(|| id.map(|id| id.to_string())).unwrap_or_else(|| place.to_owned());
    let timeline = if timeline.is_empty() { evidence } else { timeline };
    let Some(began) = timeline.iter().map(|finding| finding.arrived).min() else {
        bail!("{place} has neither a `timeline` nor `evidence`: there is nothing to judge");
    };
    let judgements = judge::rehearse(policy, &context, &timeline);
    let enforced = judgements.iter().filter(|judgement| judgement.mode == Mode::Enforced);
    let verdicts: Vec<String> = enforced.map(|judgement| judgement.verdict.to_string()).collect();
    let as_expected = expect.as_ref().map(|expect| *expect == verdicts);
    let mut lines =
        vec![format!("{name}: {}", if verdicts.is_empty() { "clear".to_owned() } else { verdicts.join(", ") })];
    for judgement in &judgements {
        let after = judgement.decided.since(began).as_secs_f64();
        lines.push(format!("  {after:8.3} s  {}", said(judgement)));
    }
    if let Some(expect) = expect.filter(|_| as_expected == Some(false)) {
        lines.push(format!("  expected: {}", if expect.is_empty() { "clear".to_owned() } else { expect.join(", ") }));
    }
    let text = lines.iter().map(|line| harmless(line)).collect::<Vec<_>>().join("\n");
    let judgements: Vec<Value> = judgements.iter().map(shown).collect();
    Ok(Answer { text, json: json!({ "name": name, "judgements": judgements, "as_expected": as_expected }) })
}

fn said(judgement: &Judgement) -> String {
    let Judgement { verdict, rule, mode, lowered, capped_by, evidence, .. } = judgement;
    let mut said = vec![format!("{verdict} by the rule `{rule}` on {} findings", evidence.len())];
    said.extend(lowered.as_ref().map(|lowered| format!("lowered from {}", lowered.from)));
    said.extend(capped_by.as_ref().map(|bank| format!("capped by the bank `{bank}`")));
    said.extend((*mode == Mode::Shadow).then(|| "on trial: nothing follows".to_owned()));
    said.join(", ")
}

fn shown(judgement: &Judgement) -> Value {
    let Judgement { verdict, rule, mode, lowered, capped_by, decided, evidence, lasts, scope, .. } = judgement;
    json!({
        "verdict": verdict,
        "rule": rule,
        "mode": mode,
        "lowered": lowered,
        "capped_by": capped_by,
        "decided": decided,
        "lasts_seconds": lasts.map(|lasts| lasts.as_secs_f64()),
        "deny": if verdict.closes() { json!(scope) } else { Value::Null },
        "findings": evidence.len(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// What `sluicegate policy` answers, and whether all was well.
    fn answer(arguments: &[&str]) -> anyhow::Result<(String, bool)> {
        let line = Line::parse_from([&["policy"], arguments].concat());
        let mut out = Vec::new();
        let code = run(&line.args, &mut out)?;
        Ok((String::from_utf8(out).unwrap(), code == ExitCode::SUCCESS))
    }

    const POLICY: &str = "
        [[policy.rule]]
        name = 'seen'
        bank = 'demo'
        pictures = 2
        within = '4s'
        verdict = 'cut'
        [[policy.rule]]
        name = 'seen twice'
        bank = 'demo'
        opinion = ['positive']
        pictures = 3
        within = '4s'
        verdict = 'hold'
    ";

    /// A match of `demo` for each of `signals`, a second apart.
    fn matches(signals: &[u64]) -> Vec<Value> {
        let each = signals.iter().enumerate().map(|(at, signal)| {
            let arrived = 1_000_000_000 + at as u64 * 1_000_000;
            json!({
                "session": { "stream": { "server": "main", "app": "live", "name": "x" }, "id": "1" },
                "sequence": at, "pts": null, "arrived": arrived, "found": arrived,
                "observation": { "kind": "match", "bank": "demo", "bank_revision": 1, "signal": signal, "distance": 2,
                    "quality": 90, "opinion": "positive", "provenance": "clip", "banked_at": null },
            })
        });
        each.collect()
    }

    #[test]
    fn a_policy_reads_as_sentences_with_what_can_never_decide() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        fs::write(&file, POLICY).unwrap();
        let (said, well) = answer(&["explain", "--config", file.to_str().unwrap()]).unwrap();
        assert!(well);
        for line in [
            "seen: cut when 2 distinct pictures within 4s match the bank `demo`.",
            "A hold stands for 10m, and a cut refuses for 24h, where the rule does not say.",
            "warning: rule `seen twice` can never decide: `seen` holds whenever it does, and leads to cut. Remove it, or \
             ask for less in it",
        ] {
            assert!(said.lines().any(|said| said == line), "{line}\n{said}");
        }
        let (built_in, _) = answer(&["explain", "--json"]).unwrap();
        let built_in: Value = serde_json::from_str(&built_in).unwrap();
        assert!(built_in["results"][0]["rules"][0].as_str().unwrap().starts_with("known-content: cut when 3"));
    }

    #[test]
    fn recorded_timelines_are_tried_and_what_was_not_expected_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (policy, cases) = (folder.path().join("policy.toml"), folder.path().join("cases.jsonl"));
        fs::write(&policy, POLICY).unwrap();
        let case = |name: &str, signals: &[u64], class: &str, expect: &[&str]| json!({ "name": name, "context": { "class": class }, "timeline": matches(signals), "expect": expect });
        let told = json!({ "results": [{ "id": Uuid::nil(), "evidence": matches(&[1, 2]), "actions": [] }] });
        let beside = json!({
            "decision": { "id": Uuid::max(), "context": { "class": "news" }, "verdict": "hold" },
            "policy": null,
            "timeline": matches(&[1, 2]),
        });
        let lines = [case("two", &[1, 2], "sport", &["cut"]), case("one", &[1, 1], "sport", &[]), told, beside];
        fs::write(&cases, lines.map(|line| line.to_string()).join("\n")).unwrap();
        let tried = || answer(&["test", cases.to_str().unwrap(), "--config", policy.to_str().unwrap()]).unwrap();
        let (said, well) = tried();
        assert!(well, "{said}");
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            [
                "two: cut",
                "     1.000 s  cut by the rule `seen` on 2 findings",
                "one: clear",
                "00000000-0000-0000-0000-000000000000: cut",
                "     1.000 s  cut by the rule `seen` on 2 findings",
                "ffffffff-ffff-ffff-ffff-ffffffffffff: hold",
                "     1.000 s  hold by the rule `seen` on 2 findings, lowered from cut",
            ]
        );
        fs::write(&cases, case("news", &[1, 2], "news", &["cut"]).to_string()).unwrap();
        let (said, well) = tried();
        assert!(!well);
        assert!(said.contains("hold by the rule `seen` on 2 findings, lowered from cut\n  expected: cut"), "{said}");
    }

    #[test]
    fn what_is_no_timeline_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cases.json");
        for (text, says) in
            [("", "holds no timeline"), ("{}", "neither a `timeline`"), ("{", "is no file of timelines")]
        {
            fs::write(&file, text).unwrap();
            let error = answer(&["test", file.to_str().unwrap()]).unwrap_err();
            assert!(format!("{error:#}").contains(says), "{error:#}");
        }
        fs::write(&file, "[policy]\ndeny_for = '0s'").unwrap();
        let error = answer(&["explain", "--config", file.to_str().unwrap()]).unwrap_err();
        assert!(format!("{error:#}").contains("`deny_for` is zero"), "{error:#}");
    }
}
