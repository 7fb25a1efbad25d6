//! The `[policy]` section: as people write it, and as the judge uses it once it is known to make sense.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::config::duration;
use crate::decision::Verdict;
use crate::finding::{Finding, Observation, Opinion};
use crate::judge::rule::{BankTest, LabelTest, Rule, Test};
use crate::judge::{EVIDENCE_LIMIT, PolicyError, breaker};
use crate::stream::Attention;

/// The `[policy]` section of the configuration, as written. [`Policy::parse`] makes sense of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether a rule about a model's scores may cut or ban: a classifier alone is often wrong.
    pub allow_classifier_cut: bool,
    /// How long a cut refuses the stream's name. A ban refuses it until somebody lifts it.
    #[serde(with = "duration")]
    pub deny_for: Duration,
    /// How long a hold stands unless somebody ends it sooner.
    #[serde(with = "duration")]
    pub hold_for: Duration,
    /// How long one finding keeps attention raised.
    #[serde(with = "duration")]
    pub suspicious_for: Duration,
    /// How long a report keeps attention raised.
    #[serde(with = "duration")]
    pub reported_for: Duration,
    /// When automatic cuts are too many.
    pub breaker: breaker::Config,
    /// The rules: the severest that holds wins, and among equals the first.
    pub rule: Vec<RuleConfig>,
}

/// One `[[policy.rule]]`: about a bank (`bank`, and `pictures`, `aligned` or both) or about a label (`label`, `above`, `share`, `at_least`,
/// and `model` where it matters).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// What decisions and metrics call the rule.
    pub name: String,
    /// A bank's name, or `"*"` for any one bank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<String>,
    /// How many distinct pictures must match it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures: Option<usize>,
    /// How many distinct pictures must follow one video of it in step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aligned: Option<usize>,
    /// A label of a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The model's name; any one model that knows the label when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A picture counts when its score is higher than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f32>,
    /// More than this share of the scored pictures must count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// And at least this many must have been scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<usize>,
    /// The longest time from the first of the pictures to the last, both included.
    #[serde(with = "duration")]
    pub within: Duration,
    /// What follows.
    pub verdict: Verdict,
}

impl RuleConfig {
    /// A rule that is about nothing yet.
    pub(super) fn named(name: &str, within: Duration, verdict: Verdict) -> Self {
        Self {
            name: name.to_owned(),
            bank: None,
            pictures: None,
            aligned: None,
            label: None,
            model: None,
            above: None,
            share: None,
            at_least: None,
            within,
            verdict,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let known = RuleConfig {
            bank: Some("*".to_owned()),
            pictures: Some(3),
            ..RuleConfig::named("known-content", Duration::from_secs(4), Verdict::Cut)
        };
        let likely = RuleConfig {
            label: Some("nsfl".to_owned()),
            above: Some(0.8),
            share: Some(0.5),
            at_least: Some(3),
            ..RuleConfig::named("likely-graphic", Duration::from_secs(6), Verdict::Hold)
        };
        Self {
            allow_classifier_cut: false,
            deny_for: Duration::from_hours(24),
            hold_for: Duration::from_mins(10),
            suspicious_for: Duration::from_secs(10),
            reported_for: Duration::from_mins(5),
            breaker: breaker::Config::default(),
            rule: vec![known, likely],
        }
    }
}

/// A policy that makes sense. Immutable; its digest names it in every decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Severest first, then as written.
    rules: Vec<Rule>,
    deny_for: Duration,
    hold_for: Duration,
    suspicious_for: Duration,
    reported_for: Duration,
    breaker: breaker::Config,
    text: Arc<str>,
    digest: Arc<str>,
}

/// A policy as a document of its own, or any document with a `[policy]`, such as a whole configuration.
#[derive(Serialize, Deserialize)]
struct Document<C> {
    policy: C,
}

impl Policy {
    /// Makes sense of a configuration.
    ///
    /// # Errors
    /// The first rule that makes none, by name, with what to change.
    pub fn parse(config: Config) -> Result<Self, PolicyError> {
        let text: Arc<str> = toml::to_string(&Document { policy: &config })
            .map_err(|error| PolicyError::Unwritable(error.to_string()))?
            .into();
        let Config { allow_classifier_cut, deny_for, hold_for, suspicious_for, reported_for, breaker, rule } = config;
        if deny_for.is_zero() {
            return Err(PolicyError::NoDeny);
        }
        let mut names = BTreeSet::new();
        let mut rules = Vec::with_capacity(rule.len());
        for raw in rule {
            if !names.insert(raw.name.clone()) {
                return Err(PolicyError::Duplicate { rule: raw.name });
            }
            let rule = parse_rule(raw)?;
            if matches!(rule.test, Test::Label(_)) && rule.verdict.closes() && !allow_classifier_cut {
                return Err(PolicyError::ClassifierCut { rule: rule.name.to_string(), verdict: rule.verdict });
            }
            rules.push(rule);
        }
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.verdict));
        let digest = digest(&rules, deny_for, suspicious_for);
        Ok(Self { rules, deny_for, hold_for, suspicious_for, reported_for, breaker, text, digest })
    }

    /// Makes sense of a document with a `[policy]`: what [`Policy::text`] gave, or a configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, PolicyError> {
        let document: Document<Config> =
            toml::from_str(text).map_err(|error| PolicyError::Unreadable(error.to_string()))?;
        Self::parse(document.policy)
    }

    /// Everything that a decision can depend on, as a document that [`Policy::read`] reads back to an equal policy: alike
    /// for policies that are alike but for spelling.
    pub fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// How long a verdict lasts where its rule does not say; `None`: until somebody ends it, or there is nothing to end.
    pub fn lasts(&self, verdict: Verdict) -> Option<Duration> {
        match verdict {
            Verdict::Clear | Verdict::Watch | Verdict::Ban => None,
            Verdict::Hold => Some(self.hold_for),
            Verdict::Cut => Some(self.deny_for),
        }
    }

    /// When automatic cuts are too many.
    pub fn breaker(&self) -> &breaker::Config {
        &self.breaker
    }

    /// How long a cut refuses the stream's name.
    pub fn deny_for(&self) -> Duration {
        self.deny_for
    }

    /// SHA-256, hexadecimal, of everything that a decision can depend on: equal for policies that decide alike and are
    /// written alike but for spelling, such as `"4s"` and `"4000ms"`.
    pub fn digest(&self) -> Arc<str> {
        Arc::clone(&self.digest)
    }

    /// Each rule as an English sentence, severest first.
    pub fn sentences(&self) -> Vec<String> {
        self.rules.iter().map(Rule::sentence).collect()
    }

    /// What each rule decides and what it is called, severest first: for metrics that begin at zero.
    pub fn verdicts(&self) -> impl Iterator<Item = (Verdict, &str)> {
        self.rules.iter().map(|rule| (rule.verdict, &*rule.name))
    }

    /// How closely the stream is to be looked at because of `finding`, and for how long: any match that is not known to
    /// be a mistake, and any score that a rule would count.
    pub fn attention(&self, finding: &Finding) -> Option<(Attention, Duration)> {
        let suspicious = match &finding.observation {
            Observation::Match(seen) => seen.opinion != Opinion::Negative,
            Observation::Scores(seen) => self.rules.iter().any(|rule| match &rule.test {
                Test::Label(test) => test.score(seen).is_some_and(|score| score > test.above),
                Test::Bank(_) => false,
            }),
            Observation::Report(report) => {
                return (report.weight > 0.0).then_some((Attention::Reported, self.reported_for));
            }
            Observation::State(_) => false,
        };
        suspicious.then_some((Attention::Suspicious, self.suspicious_for))
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The longest time that any rule looks back.
    pub(super) fn widest(&self) -> Duration {
        self.rules.iter().map(|rule| rule.within).max().unwrap_or_default()
    }
}

fn parse_rule(raw: RuleConfig) -> Result<Rule, PolicyError> {
    let RuleConfig { name, bank, pictures, aligned, label, model, above, share, at_least, within, verdict } = raw;
    let rule = || name.clone();
    if name.trim().is_empty() {
        return Err(PolicyError::Nameless);
    }
    if verdict == Verdict::Clear {
        return Err(PolicyError::Clear { rule: name });
    }
    if within.is_zero() {
        return Err(PolicyError::Range { rule: name, key: "within", must: "longer than zero".to_owned() });
    }
    let missing = |key| PolicyError::Missing { rule: rule(), key };
    let stray = |key| PolicyError::Stray { rule: rule(), key };
    let count = |key, least: usize, count: usize| {
        let must = || format!("from {least} to {EVIDENCE_LIMIT}");
        let fits = (least..=EVIDENCE_LIMIT).contains(&count);
        fits.then_some(count).ok_or_else(|| PolicyError::Range { rule: rule(), key, must: must() })
    };
    let test = match (bank, label) {
        (Some(bank), None) => {
            let strays = [
                ("model", model.is_some()),
                ("above", above.is_some()),
                ("share", share.is_some()),
                ("at_least", at_least.is_some()),
            ];
            if let Some((key, _)) = strays.into_iter().find(|(_, given)| *given) {
                return Err(stray(key));
            }
            if pictures.is_none() && aligned.is_none() {
                return Err(PolicyError::NoCount { rule: name });
            }
            let pictures = count("pictures", 1, pictures.unwrap_or(1))?;
            // One picture alone is in step with anything.
            let aligned = aligned.map(|pictures| count("aligned", 2, pictures)).transpose()?;
            Test::Bank(BankTest { bank: (bank != "*").then(|| bank.into()), pictures, aligned })
        }
        (None, Some(label)) => {
            let strays = [("pictures", pictures.is_some()), ("aligned", aligned.is_some())];
            if let Some((key, _)) = strays.into_iter().find(|(_, given)| *given) {
                return Err(stray(key));
            }
            let above = above.ok_or_else(|| missing("above"))?;
            if !(0.0..1.0).contains(&above) {
                return Err(PolicyError::Range { rule: name, key: "above", must: "from 0 to less than 1".to_owned() });
            }
            let share = share.ok_or_else(|| missing("share"))?;
            if !(0.0..1.0).contains(&share) {
                return Err(PolicyError::Range { rule: name, key: "share", must: "from 0 to less than 1".to_owned() });
            }
            let at_least = count("at_least", 1, at_least.ok_or_else(|| missing("at_least"))?)?;
            Test::Label(LabelTest { label: label.into(), model: model.map(Into::into), above, share, at_least })
        }
        (None, None) => return Err(PolicyError::NoSubject { rule: name }),
        (Some(_), Some(_)) => return Err(PolicyError::TwoSubjects { rule: name }),
    };
    Ok(Rule { name: name.into(), verdict, within, test })
}

/// Lists, not objects, so that no order of keys can matter.
fn digest(rules: &[Rule], deny_for: Duration, suspicious_for: Duration) -> Arc<str> {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let rules: Vec<_> = rules
        .iter()
        .map(|Rule { name, verdict, within, test }| match test {
            Test::Bank(BankTest { bank, pictures, aligned: None }) => {
                json!([name, verdict.word(), micros(*within), "bank", bank, pictures])
            }
            Test::Bank(BankTest { bank, pictures, aligned: Some(aligned) }) => {
                json!([name, verdict.word(), micros(*within), "bank", bank, pictures, aligned])
            }
            Test::Label(LabelTest { label, model, above, share, at_least }) => {
                json!([name, verdict.word(), micros(*within), "label", label, model, above, share, at_least])
            }
        })
        .collect();
    let canonical = json!([1, micros(deny_for), micros(suspicious_for), rules]);
    hex::encode(Sha256::digest(canonical.to_string())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            [
                "known: cut when 3 distinct pictures within 4s match the bank `demo`, and 2 of them follow one video of it \
              in step."
            ]
        );
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused_by_name() {
        for (rules, from, to, kind, says) in [
            (KNOWN, "bank = 'demo'", "", "no_subject", "`known` is about nothing"),
            (
                KNOWN,
                "bank = 'demo'",
                "bank = 'demo'\nlabel = 'nsfl'",
                "two_subjects",
                "`known` is about a bank and a label",
            ),
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
            (KNOWN, "\n", "\ndeny_for = '0s'\n", "no_deny", "`deny_for` is zero"),
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
            (KNOWN.replace("within = '4s'", ""), "missing field `within`"),
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
        ] {
            assert_ne!(digest(&both), digest(&both.replacen(from, to, 1)), "{from} -> {to}");
        }
    }

    /// Decisions in the ledger name their policy by it: it must not change from one release to the next.
    #[test]
    fn the_digest_is_stable() {
        let digest = parse("").unwrap().digest();
        assert_eq!(&*digest, "17a225825107e2c0c237de9a68b0cf3d159a1f3de46e35ce06eaf6a7036126dc");
    }
}
