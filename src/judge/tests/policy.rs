//! What a policy says of itself, what is refused, and what names it.

use super::*;
use crate::judge::PolicyError;

const KNOWN: &str = "
    [[rule]]
    name = 'known'
    bank = 'demo'
    pictures = 3
    within = '4s'
    verdict = 'cut'
";
const LIKELY: &str = "
    [[rule]]
    name = 'likely'
    label = 'nsfl'
    above = 0.8
    share = 0.5
    at_least = 3
    within = '6s'
    verdict = 'hold'
";

const REPORTED: &str = "
    [[rule]]
    name = 'reported'
    reports = 3
    within = '1h'
    verdict = 'hold'
";
const BLIND: &str = "
    [[rule]]
    name = 'unseen'
    state = 'blind'
    lasting = '30s'
    verdict = 'hold'
";

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

#[test]
fn an_empty_section_is_the_default_and_writes_back() {
    assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
    let written = toml::to_string(&Config::default()).unwrap();
    assert_eq!(toml::from_str::<Config>(&written).unwrap(), Config::default(), "{written}");
    assert!(parse("").is_ok());
}

#[test]
fn reads_as_english() {
    let ban = LIKELY.replace("likely", "sure").replace("hold", "ban").replace("label", "model = 'gore'\nlabel");
    let text = format!("allow_classifier_cut = true\n{KNOWN}{LIKELY}{ban}");
    assert_eq!(
        parse(&text).unwrap().sentences(),
        [
            "sure: ban when the model `gore` scores `nsfl` above 0.8 on more than 50 % of the pictures that it saw \
             within 6s, at least 3.",
            "known: cut when 3 distinct pictures within 4s match the bank `demo`.",
            "likely: hold when any one model scores `nsfl` above 0.8 on more than 50 % of the pictures that it saw \
             within 6s, at least 3.",
        ]
    );
    for (rules, sentence) in [
        (
            KNOWN.replace("'cut'", "'cut'\nlasts = '2h'\ndeny = ['key', 'name']\nwithin_bits = 20\nclass = ['b', 'a']"),
            "known: cut for 2h when 3 distinct pictures within 4s match the bank `demo`, each within 20 bits, and its class is \
             `a` or `b`. Refuses whoever has the stream's name or the publisher's key.",
        ),
        (
            KNOWN.replace("'cut'", "'hold'\nopinion = ['disputed', 'investigation_seed']\nmode = 'shadow'"),
            "known: hold when 3 distinct pictures within 4s match the bank `demo` by signals that are worth a look or \
             disputed. On trial: recorded, and nothing follows.",
        ),
        (
            REPORTED.replace("reports = 3", "reports = 2.5\nimminent = true\ncategory = 'terrorism'\nafter = 'hold'"),
            "reported: hold when reports of it for `terrorism` as a danger to life within 1h weigh as much as those of 2.5 \
             people who can be believed, and a hold or a severer verdict stands against its publisher.",
        ),
        (BLIND.to_owned(), "unseen: hold when it has been blind for 30s."),
        (
            BLIND.replace("'blind'", "'uninspectable'\nreason = 'no_video'"),
            "unseen: hold when it could not be inspected for want of video for 30s.",
        ),
    ] {
        assert_eq!(parse(&rules).unwrap().sentences(), [sentence], "{rules}");
    }
    let one = KNOWN.replace("demo", "*").replace("pictures = 3", "pictures = 1");
    assert_eq!(parse(&one).unwrap().sentences(), ["known: cut when one picture matches any one bank."]);
    let alone = KNOWN.replace("demo", "*").replace("pictures = 3", "aligned = 2");
    assert_eq!(
        parse(&alone).unwrap().sentences(),
        ["known: cut when 2 distinct pictures within 4s follow one video of any one bank in step."]
    );
    let both = KNOWN.replace("pictures = 3", "pictures = 3\naligned = 2");
    assert_eq!(
        parse(&both).unwrap().sentences(),
        ["known: cut when 3 distinct pictures within 4s match the bank `demo`, and 2 of them follow one video of it \
          in step."]
    );
}

#[test]
fn a_rule_that_makes_no_sense_is_refused_by_name() {
    for (rules, from, to, kind, says) in [
        (KNOWN, "bank = 'demo'", "", "no_subject", "`known` is about nothing"),
        (KNOWN, "bank = 'demo'", "bank = 'demo'\nlabel = 'nsfl'", "missing", "`known` has no `above`"),
        (KNOWN, "pictures = 3", "", "no_count", "`known` says not how many: write `pictures`, `aligned` or both"),
        (KNOWN, "pictures = 3", "aligned = 1", "range", "`aligned` must be from 2 to 512"),
        (KNOWN, "pictures = 3", "aligned = 513", "range", "`aligned` must be from 2 to 512"),
        (LIKELY, "at_least = 3", "at_least = 3\naligned = 2", "stray", "`likely` has the key `aligned`"),
        (KNOWN, "pictures = 3", "pictures = 0", "range", "`pictures` must be from 1 to 512"),
        (KNOWN, "pictures = 3", "pictures = 513", "range", "`pictures` must be from 1 to 512"),
        (KNOWN, "pictures = 3", "pictures = 3\nshare = 0.5", "stray", "`known` has the key `share`"),
        (KNOWN, "'4s'", "'0s'", "range", "`within` must be longer than zero"),
        (KNOWN, "'cut'", "'clear'", "clear", "`known` has the verdict `clear`"),
        (KNOWN, "'known'", "' '", "nameless", "no name"),
        (KNOWN, "\n", "\ndeny_for = '0s'\n", "no_time", "`deny_for` is zero"),
        (KNOWN, "\n", "\nhold_for = '0s'\n", "no_time", "`hold_for` is zero"),
        (KNOWN, "\n", "\nbreaker.cuts = 0\n", "breaker", "`breaker.cuts` must be from 1"),
        (KNOWN, "\n", "\nbreaker.within = '0s'\n", "breaker", "`breaker.within` must be longer than zero"),
        (KNOWN, "\n", "\nbreaker.share = 0.0\n", "breaker", "`breaker.share` must be above 0, up to 1"),
        (KNOWN, "\n", "\nbreaker.share_from = 0\n", "breaker", "`breaker.share_from` must be 1 or more"),
        (
            KNOWN,
            "\n",
            "\nbreaker.close_after = '0s'\n",
            "breaker",
            "`breaker.close_after` must be longer than `within`",
        ),
        (KNOWN, "within = '4s'", "", "missing", "`known` has no `within`"),
        (KNOWN, "'cut'", "'cut'\nopinion = ['disputed']", "doubted_cut", "`known` would cut on signals that nobody"),
        (KNOWN, "'cut'", "'hold'\nopinion = ['negative']", "range", "`opinion` must be some of positive"),
        (KNOWN, "'cut'", "'hold'\nopinion = []", "range", "`opinion` must be some of positive"),
        (KNOWN, "'cut'", "'cut'\nwithin_bits = 257", "range", "`within_bits` must be from 0 to 256"),
        (KNOWN, "'cut'", "'cut'\nlasts = '0s'", "range", "`lasts` must be longer than zero"),
        (KNOWN, "'cut'", "'watch'\nlasts = '1s'", "stray", "`known` has the key `lasts`"),
        (KNOWN, "'cut'", "'hold'\ndeny = ['name']", "stray", "`known` has the key `deny`"),
        (KNOWN, "'cut'", "'cut'\ndeny = []", "range", "`deny` must be left out, or name at least one"),
        (KNOWN, "'cut'", "'cut'\nclass = []", "range", "`class` must be left out"),
        (KNOWN, "'cut'", "'cut'\nafter = 'clear'", "range", "`after` must be watch, hold, cut or ban"),
        (
            REPORTED,
            "reports = 3",
            "reports = 3\ncategory = 'terorism'",
            "range",
            "`category` must be one of terrorism, violence",
        ),
        (KNOWN, "'cut'", "'cut'\ncategory = 'terrorism'", "stray", "`known` has the key `category`"),
        (KNOWN, "'cut'", "'cut'\nimminent = true", "stray", "`known` has the key `imminent`"),
        (KNOWN, "'cut'", "'cut'\nlasting = '3s'", "stray", "`known` has the key `lasting`"),
        (KNOWN, "'cut'", "'cut'\nstate = 'blind'", "missing", "`known` has no `lasting`"),
        (KNOWN, "'cut'", "'cut'\nstate = 'blind'\nlasting = '9s'\nreason = 'no_video'", "stray", "key `reason`"),
        (KNOWN, "'cut'", "'cut'\nreports = 0.0", "range", "`reports` must be above 0"),
        (REPORTED, "'hold'", "'cut'", "reports_cut", "`reported` would cut on reports alone, which anybody can send"),
        (REPORTED, "'hold'", "'ban'\nclass = ['news']\nafter = 'cut'", "reports_cut", "make it a hold, or add `bank`"),
        (BLIND, "'hold'", "'cut'", "state_cut", "`unseen` would cut because a stream cannot be seen"),
        (BLIND, "'hold'", "'cut'\nreports = 3\nwithin = '1h'", "state_cut", "`allow_state_cut = true`"),
        (BLIND, "'hold'", "'hold'\nwithin = '1h'", "stray", "`unseen` has the key `within`"),
        (LIKELY, "'hold'", "'cut'\nreports = 3", "classifier_cut", "on a classifier's word"),
        (LIKELY, "within = '6s'", "after = 'hold'", "missing", "`likely` has no `within`"),
        (LIKELY, "'hold'", "'cut'", "classifier_cut", "`likely` would cut on a classifier's word alone"),
        (LIKELY, "'hold'", "'ban'", "classifier_cut", "`allow_classifier_cut = true`"),
        (LIKELY, "above = 0.8", "", "missing", "`likely` has no `above`"),
        (LIKELY, "share = 0.5", "", "missing", "`likely` has no `share`"),
        (LIKELY, "at_least = 3", "", "missing", "`likely` has no `at_least`"),
        (LIKELY, "at_least = 3", "at_least = 0", "range", "`at_least` must be from 1 to 512"),
        (LIKELY, "at_least = 3", "at_least = 3\npictures = 3", "stray", "`likely` has the key `pictures`"),
        (LIKELY, "share = 0.5", "share = 1.0", "range", "`share` must be from 0 to less than 1"),
        (LIKELY, "above = 0.8", "above = nan", "range", "`above` must be from 0 to less than 1"),
    ] {
        let error = parse(&rules.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.kind(), kind, "{from} -> {to}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.is_retryable());
    }
    let twice = parse(&format!("{KNOWN}{LIKELY}{KNOWN}")).unwrap_err();
    assert_eq!(twice, PolicyError::Duplicate { rule: "known".to_owned() });
}

#[test]
fn unknown_keys_and_words_are_refused_where_they_stand() {
    for (text, says) in [
        ("deny_fro = '1h'".to_owned(), "unknown field `deny_fro`"),
        (KNOWN.replace("pictures", "picture"), "unknown field `picture`"),
        (KNOWN.replace("'cut'", "'kill'"), "unknown variant `kill`"),
        (KNOWN.replace("within = '4s'", "lasting = 4"), "invalid type"),
        (KNOWN.replace("within = '4s'", "opinion = ['sure']"), "unknown variant `sure`"),
        ("[shadow]\nbank = []".to_owned(), "unknown field `bank`"),
    ] {
        let message = toml::from_str::<Config>(&text).unwrap_err().to_string();
        assert!(message.contains(says) && message.contains("line "), "{message}");
    }
}

#[test]
fn the_digest_changes_with_what_is_decided_and_not_with_how_it_is_written() {
    let both = format!("{KNOWN}{LIKELY}");
    let digest = |text: &str| parse(text).unwrap().digest();
    assert_eq!(digest(&both).len(), 64);
    assert_eq!(digest(&both), digest(&both.replace("4s", "4000ms")));
    assert_eq!(digest(&both), digest(&format!("{LIKELY}{KNOWN}")), "severest first, however written");
    assert_eq!(digest(&both), digest(&format!("allow_classifier_cut = true\n{both}")));
    for (from, to) in [
        ("'demo'", "'*'"),
        ("pictures = 3", "pictures = 4"),
        ("pictures = 3", "pictures = 3\naligned = 2"),
        ("pictures = 3", "pictures = 3\naligned = 3"),
        ("4s", "5s"),
        ("'cut'", "'ban'"),
        ("0.8", "0.81"),
        ("0.5", "0.51"),
        ("at_least = 3", "at_least = 4"),
        ("'nsfl'", "'nsfw'"),
        ("label", "model = 'a'\nlabel"),
        ("'likely'", "'likelier'"),
        ("\n", "\ndeny_for = '1h'\n"),
        ("\n", "\nsuspicious_for = '1h'\n"),
        ("\n", "\nhold_for = '1h'\n"),
        ("\n", "\nreview_first = ['news']\n"),
        ("\n", "\nshadow.banks = ['demo']\n"),
        ("\n", "\nshadow.models = ['demo']\n"),
        ("\n", "\nbreaker.cuts = 9\n"),
        ("\n", "\nbreaker.close_after = '1h'\n"),
        ("'cut'", "'cut'\nlasts = '1h'"),
        ("'cut'", "'cut'\ndeny = ['account', 'key']"),
        ("'cut'", "'cut'\nmode = 'shadow'"),
        ("'cut'", "'cut'\nwithin_bits = 20"),
        ("'cut'", "'cut'\nclass = ['sport']"),
        ("'cut'", "'cut'\nafter = 'hold'"),
        ("'cut'", "'cut'\nreports = 2"),
        ("'cut'", "'cut'\nreports = 2\ncategory = 'terrorism'"),
        ("'cut'", "'cut'\nreports = 2\nimminent = true"),
        ("'cut'", "'cut'\nstate = 'blind'\nlasting = '1s'"),
        ("'cut'", "'cut'\nstate = 'uninspectable'\nlasting = '1s'"),
        ("'cut'", "'cut'\nstate = 'uninspectable'\nlasting = '1s'\nreason = 'no_video'"),
        ("'hold'", "'hold'\nbank = 'x'\npictures = 1\nopinion = ['disputed']"),
    ] {
        assert_ne!(digest(&both), digest(&both.replacen(from, to, 1)), "{from} -> {to}");
    }
}

#[test]
fn its_text_is_read_back_to_the_same_policy() {
    let everything = format!(
        "allow_classifier_cut = true\nallow_state_cut = true\nreview_first = ['news', 'art', 'news']\nhold_for = '90s'\n\
         shadow.banks = ['b', 'a']\nbreaker.close_after = '1h'\nbreaker.share = 0.1\n{}{}{}{}",
        KNOWN.replace("'cut'", "'cut'\nlasts = '2h'\ndeny = ['account', 'name']\nwithin_bits = 20\nafter = 'hold'"),
        LIKELY.replace("'hold'", "'cut'\nmode = 'shadow'\nclass = ['sport', 'games']").replace("0.8", "0.123456789"),
        REPORTED.replace('3', "2.5\nimminent = true\ncategory = 'terrorism'"),
        BLIND.replace("'blind'", "'uninspectable'\nreason = 'undecodable'").replace("'hold'", "'ban'"),
    );
    for text in ["", "rule = []", KNOWN, LIKELY, &everything] {
        let policy = parse(text).unwrap();
        let again = Policy::read(&policy.text()).unwrap();
        assert_eq!(again, policy, "{}", policy.text());
    }
    let text = parse(&everything).unwrap().text();
    assert!(text.contains("review_first = [\"art\", \"news\"]") && text.contains("[[policy.rule]]"), "{text}");
    let scattered = format!("title = 'anything'\n[policy]\n{}", KNOWN.replace("[[rule]]", "[[policy.rule]]"));
    assert_eq!(Policy::read(&scattered).unwrap(), parse(KNOWN).unwrap(), "a whole configuration will do");
    for (text, kind) in [("", "unreadable"), ("[polcy]", "unreadable"), ("[policy]\ndeny_for = '0s'", "no_time")] {
        assert_eq!(Policy::read(text).unwrap_err().kind(), kind, "{text}");
    }
}

/// Decisions in the ledger name their policy by it: it must not change from one release to the next.
#[test]
fn the_digest_is_stable() {
    let digest = parse("").unwrap().digest();
    assert_eq!(&*digest, "88ffc51651585b8d81f712731bd00e9c0e9b1f7b913430b8be3c2721312dc4dc");
}

#[test]
fn what_holds_beside_the_rules_is_said() {
    let said = parse("shadow.banks = ['a', 'b']\nbreaker.close_after = '1h'").unwrap().beside();
    assert_eq!(
        said,
        [
            "A hold stands for 10m, and a cut refuses for 24h, where the rule does not say.",
            "Streams of the class `art`, `education`, `news` or `research` are never cut or banned by a rule, but held, for \
             people to judge first.",
            "On trial is the bank `a` or `b`: what rests on it is recorded, and nothing follows.",
            "After 100 automatic cuts within 1m, or 20 that took more than 20 % of the streams on the air for 1m or longer, \
             fewer where few are live, what would be cut is held instead, for 1h or until an operator closes the breaker.",
        ]
    );
    let said = parse("review_first = []\nbreaker.enabled = false").unwrap().beside();
    assert!(said.len() == 2 && said[1].starts_with("There is no breaker"), "{said:?}");
}

/// Rules called a, b, c, each with its keys and its verdict.
fn named(rules: &[(&str, &str)]) -> Policy {
    let names = ["a", "b", "c"].iter();
    let rules = names.zip(rules).map(|(name, (keys, verdict))| {
        let keys = keys.replace(", ", "\n").replace(';', ", ");
        format!("[[rule]]\nname = '{name}'\nverdict = '{verdict}'\n{keys}\n")
    });
    parse(&format!("allow_classifier_cut = true\nallow_state_cut = true\n{}", rules.collect::<String>())).unwrap()
}

#[test]
fn a_rule_that_another_is_always_before_is_told() {
    let one = "bank = '*', opinion = ['positive'], pictures = 1, within = '4s'";
    let three = "bank = '*', opinion = ['positive'], pictures = 3, within = '4s'";
    let demo = "bank = 'demo', opinion = ['positive'], pictures = 3, within = '4s'";
    let score = "label = 'x', above = 0.5, share = 0.5, at_least = 3, within = '4s'";
    for (story, rules, told) in [
        ("the usual ladder is in reach", vec![(three, "cut"), (one, "hold")], ""),
        ("a milder rule that asks for more", vec![(one, "cut"), (three, "hold")], "b"),
        ("wherever it is written", vec![(three, "hold"), (one, "cut")], "a"),
        ("a bank is one of any", vec![(three, "cut"), (demo, "hold")], "b"),
        ("but any is not the bank", vec![(demo, "cut"), (three, "hold")], ""),
        ("the same twice: the first decides", vec![(three, "cut"), (three, "cut")], "b"),
        ("asks for more, but is named first", vec![(demo, "cut"), (three, "cut")], ""),
        ("asks for more, and is named second", vec![(three, "cut"), (demo, "cut")], "b"),
        (
            "a longer time is easier to fill",
            vec![(three, "cut"), ("bank = '*', opinion = ['positive'], pictures = 3, within = '9s'", "hold")],
            "",
        ),
        (
            "and a shorter one harder",
            vec![(three, "cut"), ("bank = '*', opinion = ['positive'], pictures = 3, within = '2s'", "hold")],
            "b",
        ),
        (
            "in step is more than so many",
            vec![(three, "cut"), ("bank = '*', opinion = ['positive'], aligned = 3, within = '4s'", "hold")],
            "b",
        ),
        (
            "fewer in step are not",
            vec![(three, "cut"), ("bank = '*', opinion = ['positive'], aligned = 2, within = '4s'", "hold")],
            "",
        ),
        ("the doubtful of the sure", vec![(one, "cut"), ("bank = '*', pictures = 1, within = '4s'", "hold")], ""),
        ("nearer is more", vec![(one, "cut"), (&format!("{one}, within_bits = 9"), "hold")], "b"),
        ("the doubtful are not of the sure", vec![(one, "cut"), (&one.replace("positive", "disputed"), "hold")], ""),
        ("a condition more", vec![(one, "cut"), (&format!("{one}, class = ['x']"), "hold")], "b"),
        ("a condition less", vec![(&format!("{one}, class = ['x']"), "cut"), (one, "hold")], ""),
        (
            "one class of two",
            vec![(&format!("{one}, class = ['x'; 'y']"), "cut"), (&format!("{one}, class = ['y']"), "hold")],
            "b",
        ),
        (
            "a severer past is more",
            vec![(&format!("{one}, after = 'hold'"), "cut"), (&format!("{one}, after = 'cut'"), "hold")],
            "b",
        ),
        ("a higher score", vec![(score, "cut"), (&score.replace("0.5, share", "0.7, share"), "hold")], "b"),
        ("a share within another time", vec![(score, "cut"), (&score.replace("4s", "3s"), "hold")], ""),
        ("another label", vec![(score, "cut"), (&score.replace("'x'", "'y'"), "hold")], ""),
        ("more reports", vec![("reports = 2, within = '1h'", "hold"), ("reports = 3, within = '1h'", "watch")], "b"),
        (
            "of one sort",
            vec![("reports = 2, category = 'hate', within = '1h'", "hold"), ("reports = 3, within = '1h'", "watch")],
            "",
        ),
        (
            "blind for longer",
            vec![("state = 'blind', lasting = '9s'", "cut"), ("state = 'blind', lasting = '19s'", "hold")],
            "b",
        ),
        (
            "blind for less",
            vec![("state = 'blind', lasting = '9s'", "cut"), ("state = 'blind', lasting = '1s'", "hold")],
            "",
        ),
        ("what is on trial is in nobody's way", vec![(&format!("{one}, mode = 'shadow'"), "cut"), (three, "hold")], ""),
    ] {
        let warnings = named(&rules).warnings();
        let names: String = warnings.iter().map(|warning| warning.split('`').nth(1).unwrap()).collect();
        assert_eq!(names, told, "{story}: {warnings:?}");
    }
}

#[test]
fn a_cut_that_only_ever_holds_is_told() {
    let warnings = named(&[("bank = '*', pictures = 3, within = '4s', class = ['art'; 'news']", "cut")]).warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("rule `a` can never cut: every class"), "{warnings:?}");
    let mixed = "bank = '*', pictures = 3, within = '4s', class = ['art'; 'sport']";
    assert_eq!(named(&[(mixed, "cut")]).warnings(), Vec::<String>::new());
    assert_eq!(parse("").unwrap().warnings(), Vec::<String>::new());
}
