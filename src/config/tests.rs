//! What a person who wrote a wrong configuration gets to read.

use serde::Deserialize;

use super::document::Document;
use super::{Config, TEMPLATE};
use crate::act::servers;
use crate::bank::{Changes, Store};
use crate::clock::Timestamp;
use crate::decision::Verdict;

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Sections {
    sample: Sample,
    server: Vec<Server>,
    policy: Policy,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Sample {
    #[serde(with = "super::duration")]
    max_gap: std::time::Duration,
    burst: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read into")]
struct Server {
    name: String,
    #[serde(default)]
    kind: Kind,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    NginxRtmp,
    Srs,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Policy {
    rule: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "when", rename_all = "snake_case")]
#[expect(dead_code, reason = "only read into")]
enum Rule {
    Match { pictures: u32 },
    Score { above: f32 },
}

/// The problems of `text`, one a line.
fn problems(text: &str) -> String {
    let read = Document::parse(text).and_then(|document| document.read::<Sections>());
    let lines: Vec<String> = read.err().unwrap_or_default().iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn nothing_is_wrong_with_nothing() {
    assert_eq!(problems(""), "");
    assert_eq!(problems("[sample]\nmax_gap = '2s'\n[[server]]\nname = 'a'\nkind = 'srs'"), "");
}

#[test]
fn each_slip_is_named_with_its_place_and_the_way_out() {
    for (text, problem) in [
        ("[sample]\nmax_gapp = '2s'", "2:1: unknown key `max_gapp` in [sample]; did you mean `max_gap`?"),
        ("[sample]\n\n  brust = 1", "3:3: unknown key `brust` in [sample]; did you mean `burst`?"),
        ("[sampel]\nburst = 1", "1:2: unknown section or key `sampel`; did you mean `sample`?"),
        ("burst = 1", "1:1: unknown section or key `burst`; it belongs into [sample]"),
        ("[sample]\nkind = 'srs'", "2:1: unknown key `kind` in [sample]; it belongs into [[server]]"),
        ("[sample]\nx = 1", "2:1: unknown key `x` in [sample]; known are `max_gap`, `burst`"),
        ("[sample]\nburst = 'x'", "2:9: `sample.burst`: invalid type: string \"x\", expected u8"),
        ("[sample]\nburst = 300", "2:9: `sample.burst`: invalid value: integer `300`, expected u8"),
        (
            "sample.max_gap = '2 parsecs'",
            "1:18: `sample.max_gap`: `2 parsecs` is not a duration: write a number and a unit, such as \"2s\" or \"250ms\"",
        ),
        ("[[server]]\nkind = 'srs'", "1:1: [[server]] needs the key `name`"),
        (
            "[[server]]\nname = 'a'\nkind = 'nginx-rtpm'",
            "3:8: `server.kind`: unknown variant `nginx-rtpm`, expected `nginx-rtmp` or `srs`; did you mean `nginx-rtmp`?",
        ),
        (
            "[[policy.rule]]\nwhen = 'match'\npictures = 3\nabove = 0.5",
            "4:1: unknown key `above` in [[policy.rule]]; known are `pictures`",
        ),
        ("[sample]\nburst = ", "2:9: not TOML: string values must be quoted, expected literal string"),
        ("[[server]]\nname = 'ä'\nname = 'ä'", "3:1: not TOML: duplicate key"),
        ("server = 1", "1:10: `server`: invalid type: integer `1`, expected a sequence"),
    ] {
        assert_eq!(problems(text), problem, "{text}");
    }
}

#[test]
fn all_problems_are_found_in_one_go_and_none_is_made_up() {
    let text = "
[sample]
max_gapp = '2s'
max_gap = 'soon'

[[server]]
name = 1

[[server]]
nmae = 'b'
name = 'b'

[[policy.rule]]
when = 'never'
";
    let found = problems(text);
    let places: Vec<&str> = found.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["3:1", "4:11", "7:8", "10:1", "14:8"], "{found}");
}

/// What `sluicegate init` writes, with every example in force.
fn uncommented() -> String {
    let is_key =
        |line: &str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let lines = TEMPLATE.lines().map(|line| line.strip_prefix('#').filter(|bare| is_key(bare)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_init_writes_is_the_defaults_and_one_server() {
    let written = Config::parse(TEMPLATE, "template").unwrap();
    let server = vec![servers::Config::local("main", servers::Kind::NginxRtmp)];
    assert_eq!(format!("{written:?}"), format!("{:?}", Config { server, ..Config::default() }));
}

#[test]
fn what_init_writes_shows_every_key() {
    let uncommented = uncommented();
    for key in Config::keys() {
        let last = key.rsplit('.').next().unwrap();
        assert!(
            uncommented.lines().any(|line| line.starts_with(&format!("{last} = "))),
            "`{key}` is not in template.toml"
        );
    }
}

#[test]
fn each_default_that_init_shows_is_the_default() {
    // These have no default, but an example.
    let examples = "opinion within_bits reports category state reason lasting class after lasts deny close_after imminent mode \
                    secret_env secret_file pipelines processes workers max_promoted runtime assets token_file model aligned vhost hook_secret \
                    headers list items app stream session address bytes kick kick_body hook_event hook_publish hook_done \
                    hook_app hook_stream hook_session hook_address hook_key hook_account key account hook_token \
                    account_param key_param hls recordings batch";
    let examples: Vec<&str> = examples.split(' ').collect();
    let kept = uncommented();
    let kept = kept.lines().filter(|line| !line.split_once(" = ").is_some_and(|(key, _)| examples.contains(&key)));
    // One that says nothing is none.
    let kept = kept.filter(|line| *line != "[[server.fallback]]");
    let shown = Config::parse(&kept.collect::<Vec<_>>().join("\n"), "template").unwrap();
    assert_eq!(shown.webhook.len(), 1);
    assert_eq!(shown.class.len(), 1);
    assert_eq!(shown.webhook[0].events.len(), 9);
    let server = vec![servers::Config::local("main", servers::Kind::NginxRtmp)];
    let (webhook, class) = (shown.webhook.clone(), shown.class.clone());
    let defaults = Config { server, webhook, class, ..Config::default() };
    assert_eq!(format!("{shown:?}"), format!("{defaults:?}"));
}

/// The problems of a whole configuration, without the origin.
fn refused(text: &str) -> Vec<String> {
    let message = Config::parse(text, "x.toml").unwrap_err().to_string();
    message.lines().map(|line| line.strip_prefix("x.toml:").unwrap().to_owned()).collect()
}

const SERVER: &str = "[[server]]\nname = 'main'\nkind = 'nginx-rtmp'\n";

#[test]
fn a_server_is_all_that_is_needed() {
    assert!(Config::parse(SERVER, "x.toml").is_ok());
    assert_eq!(refused(""), ["1:1: there is nothing to watch: add a [[server]] with a `name` and a `kind`"]);
}

#[test]
fn what_no_section_can_check_alone_is_checked() {
    for (text, problem) in [
        (SERVER, "5:8: `server.name`: two are called `main`; rename one"),
        (
            "[[server]]\nname = 'b'\nkind = 'srs'\npull = 'ftp://h'",
            "7:8: `server.pull`: not an address (it must begin with rtmp:// or http:// or https:// or rtsp:// or srt:// or",
        ),
        (
            "[[server]]\nname = 'b'\nkind = 'node-media-server'\npull = 'rtmp://h'",
            "7:8: `server.pull`: streams of `node-media-server` are pulled from http:// or https://",
        ),
        (
            "[[server]]\nname = 'b'\nkind = 'mediamtxx'",
            "6:8: `server.kind`: unknown variant `mediamtxx`, expected one of",
        ),
        (
            "[[server]]\nname = 'b'\nkind = 'srs'\n[server.http]\nlist = 'GET /'",
            "7:1: [server.http] is for `kind = \"http\"`",
        ),
        ("rtmp = 'rtmp://h'", "4:1: unknown key `rtmp` in [[server]]; it is now called `pull`"),
        ("[server.http]\nlsit = 'GET /'", "5:1: unknown key `lsit` in [server.http]; did you mean `list`?"),
        ("[[webhook]]\nname = 'w'\nurl = 'http://h'", "4:1: [[webhook]] `w`: no secret is set; write one of"),
        (
            "[[webhook]]\nname = 'w'\nurl = 'http://h'\nsecret_env = 'A'\nsecret_file = 'b'",
            "4:1: [[webhook]] `w`: more than one secret is set",
        ),
        ("[api]\nlisten = '0.0.0.0:8410'", "5:10: `0.0.0.0:8410` can be reached from other machines; listen on"),
        (
            "[banks.quarantine]\nstreams = 1",
            "5:11: `banks.quarantine.streams`: one stream is not many: write 2 or more",
        ),
        ("[policy]\ndeny_for = '0s'", "4:1: [policy]: `deny_for` is zero"),
        (
            "[[policy.rule]]\nname = 'a'\nwithin = '4s'\nverdict = 'cut'",
            "4:1: [[policy.rule]]: rule `a` is about nothing",
        ),
    ] {
        let found = refused(&format!("{SERVER}{text}"));
        assert!(found.len() == 1 && found[0].starts_with(problem), "{text}: {found:?}");
    }
}

#[test]
fn what_is_to_be_known_of_a_server_is_a_warning_and_in_the_summary() {
    let text = "[[server]]\nname = 'n'\nkind = 'node-media-server'\n[[server]]\nname = 's'\nkind = 'srs'\n\
                [[server]]\nname = 'o'\nkind = 'oven-media-engine'";
    let config = Config::parse(text, "x.toml").unwrap();
    let warnings = config.warnings().join("\n");
    for said in ["server `n`: a kick and a refusal are advisory", "server `n` fails open", "server `o` signs its hooks"]
    {
        assert!(warnings.contains(said), "{warnings}");
    }
    assert!(!warnings.contains("`s`"), "{warnings}");
    let open = format!("{text}\nhook_token = '0123456789abcdef'\n[api]\nlisten = '0.0.0.0:8410'\nallow_remote = true");
    let warnings = Config::parse(&open, "x.toml").unwrap().warnings();
    let strangers: Vec<_> = warnings.iter().filter(|line| line.contains("can pose as the server")).collect();
    assert!(strangers.len() == 2 && strangers[1].starts_with("server `s`"), "{strangers:?}");
    let summary: Vec<_> =
        config.summary().into_iter().filter(|(what, _)| *what == "server").map(|(_, how)| how).collect();
    assert!(
        summary[0].contains("tested against the server itself; a kick and a refusal are advisory; fails open"),
        "{summary:?}"
    );
    assert!(
        summary[1].contains(
            "contract-tested only, never run against the server itself; a kick ends one session; fails closed"
        )
    );
    let slip = "[[server]]\nname = 'a'\nkind = 'mediamtxx'";
    assert!(refused(slip)[0].ends_with("did you mean `mediamtx`?"), "{:?}", refused(slip));
}

#[test]
fn every_rule_that_makes_no_sense_is_named_where_it_stands() {
    let rule =
        |name: &str, more: &str| format!("[[policy.rule]]\nname = '{name}'\nwithin = '4s'\nverdict = 'cut'\n{more}\n");
    let good = "bank = '*'\npictures = 3";
    let found = refused(&[SERVER, &rule("a", ""), &rule("b", good), &rule("c", "bank = '*'")].concat());
    let places: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["4:1", "15:1"], "{found:?}");
    assert!(refused(&[SERVER, &rule("a", good), &rule("a", good)].concat())[0].contains("two rules are called `a`"));
}

#[test]
fn a_rule_that_can_never_hold_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{SERVER}[banks]\ndir = {:?}\n[model]\nload = []\n[[policy.rule]]\nname = 'a'\nbank = 'none'\npictures = 3\n\
         within = '4s'\nverdict = 'cut'\n[[policy.rule]]\nname = 'b'\nlabel = 'x'\nabove = 0.5\nshare = 0.5\nat_least = 3\n\
         within = '4s'\nverdict = 'hold'",
        folder.path()
    );
    let warnings = || Config::parse(&text, "x.toml").unwrap().warnings().join("\n");
    assert!(warnings().contains("there is no bank in"), "{}", warnings());
    assert!(warnings().contains("rule `b` needs a model"), "{}", warnings());
    std::fs::write(folder.path().join("other.bank"), "").unwrap();
    assert!(warnings().contains("other.bank is cut short"), "{}", warnings());
    assert!(warnings().contains("rule `a` is about the bank `none`"), "{}", warnings());
}

#[test]
fn models_that_cannot_be_used_are_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let probe = folder.path().join("coats.toml");
    let with = |model: &str| format!("{SERVER}[model]\nassets = {:?}\n{model}", folder.path());
    let found = refused(&with("load = ['safety', 'safty']"));
    assert!(found.len() == 1 && found[0].starts_with("6:19: `model.load`: no model called `safty`"), "{found:?}");

    let warnings = |model: &str| Config::parse(&with(model), "x.toml").unwrap().warnings().join("\n");
    let runtime = folder.path().join("runtime/libonnxruntime.so");
    std::fs::create_dir(runtime.parent().unwrap()).unwrap();
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        let missing = warnings("load = ['safety', 'efficientnet_lite0']");
        assert_eq!(missing.matches("no ONNX Runtime found").count(), 1, "{missing}");
    }
    std::fs::write(&runtime, "").unwrap();
    let missing = warnings("load = ['safety']");
    assert!(missing.contains("model `safety` is missing") && missing.contains("inspected without it"), "{missing}");
    let missing = warnings("load = ['safety']\nwhen_broken = 'refuse'");
    assert!(missing.contains("Sluicegate will not start"), "{missing}");
    let twice = warnings("load = ['safety', 'safety']");
    assert!(twice.contains("two models are called `safety`") && twice.contains("will not start"), "{twice}");
    let unreadable = warnings(&format!("load = [{probe:?}]"));
    assert!(unreadable.contains("coats.toml cannot be read"), "{unreadable}");
    let embeds = warnings("load = ['sscd']");
    assert!(embeds.contains("`sscd` in `model.load` gives an embedding and no score"), "{embeds}");
}

#[test]
fn a_rule_about_what_no_loaded_model_scores_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("file.toml");
    let safety = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/models/safety.toml")).unwrap();
    std::fs::write(&mine, safety.replacen("name = \"safety\"", "name = \"mine\"", 1)).unwrap();
    let (mine, broken) = (mine.display().to_string(), folder.path().join("none.toml").display().to_string());
    for (load, about, expected) in [
        (vec!["safety"], "label = 'nsfl'", None),
        (vec!["safety"], "label = 'nsfl'\nmodel = 'safety'", None),
        (vec![&*mine], "label = 'nsfl'\nmodel = 'mine'", None),
        (vec!["safety"], "label = 'nfsl'", Some("`nfsl`, which no model it asks gives a score for")),
        (vec!["safety", "open_nsfw"], "label = 'nsfl'\nmodel = 'open_nsfw'", Some("their labels are: ")),
        (vec!["safety"], "label = 'nsfl'\nmodel = 'mine'", Some("`mine`, which `model.load` does not name")),
        (vec![&*mine], "label = 'nsfl'\nmodel = 'file.toml'", Some("which `model.load` does not name")),
        (vec!["safety", &*broken], "label = 'whatever'", None),
    ] {
        let text = format!(
            "{SERVER}[model]\nassets = {:?}\nload = {load:?}\n[[policy.rule]]\nname = 'r'\n{about}\nabove = 0.5\n\
             share = 0.5\nat_least = 3\nwithin = '4s'\nverdict = 'hold'",
            folder.path()
        );
        let warnings = Config::parse(&text, "x.toml").unwrap().warnings();
        let about = warnings.iter().find(|warning| warning.contains("rule `r`")).map_or("", String::as_str);
        assert!(about.contains(expected.unwrap_or_default()) && expected.is_some() != about.is_empty(), "{warnings:?}");
    }
}

/// The warnings about a rule `r` that asks for two pictures of `demo` and cuts, where `demo` is as `change` makes it.
fn warned_of(change: &Changes, rule: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.create(&"demo".parse().unwrap(), change, Timestamp::ZERO).unwrap();
    let text = format!(
        "{SERVER}[banks]\ndir = {:?}\n[model]\nload = []\n[[policy.rule]]\nname = 'r'\nbank = 'demo'\npictures = 2\n\
         within = '4s'\nverdict = 'cut'",
        folder.path()
    );
    Config::parse(&text.replace("bank = 'demo'", rule), "x.toml").unwrap().warnings().join("\n")
}

#[test]
fn a_rule_that_its_bank_does_not_let_hold_is_a_warning_with_the_way_out() {
    let long_ago = Some(Some(Timestamp::from_millis(1_552_616_400_123)));
    for (change, said) in [
        (Changes::default(), ""),
        (Changes { at_most: Some(Verdict::Cut), quorum: Some(2), ..Changes::default() }, ""),
        (
            Changes { enabled: Some(false), ..Changes::default() },
            "rule `r` is about the bank `demo`, which is disabled: it cannot hold until `sluicegate bank enable demo`",
        ),
        (
            Changes { until: long_ago, ..Changes::default() },
            "rule `r` is about the bank `demo`, which ended at 2019-03-15T02:20:00.123Z: it cannot hold. Remove the rule, \
             or `sluicegate bank set demo --until never`",
        ),
        (
            Changes { kind: Some(crate::bank::Kind::Benign), ..Changes::default() },
            "rule `r` is about the bank `demo`, which is benign: its matches veto and are never evidence. Name another \
             bank, or `sluicegate bank set demo --kind harmful`",
        ),
        (
            Changes { at_most: Some(Verdict::Hold), ..Changes::default() },
            "rule `r` is about the bank `demo`, which leads to hold at most: it can never cut. Write `verdict = \"hold\"`, \
             or `sluicegate bank set demo --at-most cut`",
        ),
        (
            Changes { quorum: Some(3), ..Changes::default() },
            "rule `r` is about the bank `demo`, whose quorum of 3 pictures is more than the rule's 2, and counts: write \
             `pictures = 3`, or `sluicegate bank set demo --quorum 2`",
        ),
    ] {
        assert_eq!(warned_of(&change, "bank = 'demo'"), said, "{change:?}");
        let any = warned_of(&change, "bank = '*'");
        let holds = change.quorum.is_some() || change == Changes::default();
        assert_eq!(any.contains("`r` is about any one bank, and none that is harmful"), !holds, "{any}");
    }
}

#[test]
fn a_bank_that_is_never_set_aside_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path()).unwrap().create(&"demo".parse().unwrap(), &Changes::default(), Timestamp::ZERO).unwrap();
    let text = format!(
        "{SERVER}[banks]\ndir = {:?}\n[banks.quarantine]\nexcept = ['demo', 'dmeo']\n[model]\nload = []\n[policy]\nrule = []",
        folder.path()
    );
    let warnings = Config::parse(&text, "x.toml").unwrap().warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("names the bank `dmeo`"), "{warnings:?}");
}

#[test]
fn a_file_that_is_not_there_is_named_with_the_way_to_get_one() {
    let error = Config::load(std::path::Path::new("/nowhere/x.toml")).unwrap_err();
    assert!(error.to_string().contains("sluicegate init --output /nowhere/x.toml"), "{error}");
}
