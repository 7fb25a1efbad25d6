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
        (KNOWN, "\n", "\nbreaker.close_after = '0s'\n", "breaker", "`breaker.close_after` must be longer than zero"),
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
        ("\n", "\nreported_for = '1h'\n"),
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
        REPORTED.replace("3", "2.5\nimminent = true\ncategory = 'terrorism'"),
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
    assert_eq!(&*digest, "17a225825107e2c0c237de9a68b0cf3d159a1f3de46e35ce06eaf6a7036126dc");
}
