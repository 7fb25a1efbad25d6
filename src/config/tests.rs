//! What a person who wrote a wrong configuration gets to read.

use serde::Deserialize;

use super::document::Document;

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
