//! What recordings are inspected for: which banks, which models, and which of their scores is a finding.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;

use super::Args;
use crate::bank::{Bank, BankName, Banks, Kind, Store};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::decode;
use crate::finding::Scores;
use crate::model::{self, Described, Preprocessor, Provider, Session, Threshold, WhenBroken};

const USUAL_FOLDER: &str = "/var/lib/sluicegate/banks";

/// Nobody waits for a recording as for a stream, and a machine may be busy with several.
const PATIENCE: Duration = Duration::from_secs(30);

/// `LABEL=SCORE` on the command line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelThreshold(String, f32);

impl FromStr for LabelThreshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('=').map(|(label, score)| (label, score.parse::<f32>()));
        match parts {
            Some((label, Ok(score))) if !label.is_empty() && (0.0..=1.0).contains(&score) => {
                Ok(Self(label.to_owned(), score))
            }
            _ => Err("use a label and a score of 0 to 1, such as nsfl=0.9".to_owned()),
        }
    }
}

/// What pictures are compared with and given to.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) banks: Banks,
    pub(super) decode: decode::Config,
    pub(super) thresholds: Thresholds,
    /// Who gives scores, each with its digest.
    pub(super) scorers: Vec<(Arc<str>, Arc<str>)>,
    /// What somebody may have expected to be asked, and is not.
    pub(super) notes: Vec<String>,
    /// The models, as often as they may be used at the same time.
    models: Vec<Mutex<Models>>,
}

/// Every model, with what makes its input.
pub(super) type Models = Vec<(Session, Preprocessor)>;

impl Asked {
    /// What `args` ask for, with as many models loaded as `cores` can run.
    ///
    /// # Errors
    /// When that is nothing, or not all of it can be had.
    pub(super) fn new(args: &Args, now: Timestamp, cores: NonZeroUsize) -> anyhow::Result<Self> {
        let config = args.config.as_deref().map(Config::load).transpose()?;
        let mut notes = Vec::new();
        let banks = banks(args, config.as_ref(), now, &mut notes)?;
        let mut decode = config.as_ref().map(|config| config.decode.clone()).unwrap_or_default();
        decode.timeout = decode.timeout.max(PATIENCE);
        let config = match config {
            Some(config) => config.model,
            None => model::Config { load: Vec::new(), ..model::Config::default() },
        };
        let load = if args.models.is_empty() { config.load.clone() } else { args.models.clone() };
        let assets = args.assets.clone().or_else(|| config.assets.clone());
        // A recording that a model did not see is not clear.
        let config = model::Config { load, assets, when_broken: WhenBroken::Refuse, ..config };
        if banks.is_empty() && config.load.is_empty() {
            bail!("there is nothing to look for: say --bank, --model or --config, as `sluicegate scan --help` shows");
        }
        // Sessions run one picture at a time: on the machine's own cores each worker has its own.
        let copies = if config.provider == Provider::Cpu { cores.get() } else { 1 };
        let models = if config.load.is_empty() {
            vec![Mutex::default()]
        } else {
            (0..copies).map(|_| Ok(Mutex::new(models(&config)?))).collect::<anyhow::Result<_>>()?
        };
        let mut asked = Self { banks, decode, thresholds: Thresholds::default(), scorers: Vec::new(), notes, models };
        let labels = asked.labels();
        asked.thresholds = Thresholds::new(&config, &args.thresholds, &labels)?;
        if asked.banks.is_empty() && asked.thresholds.none_of(&labels) {
            bail!("no label has a threshold, so nothing would be a finding: give one with --threshold LABEL=SCORE");
        }
        Ok(asked)
    }

    /// The models, for the worker of this number.
    pub(super) fn models(&self, worker: usize) -> Option<MutexGuard<'_, Models>> {
        let models = self.models.get(worker % self.models.len().max(1))?;
        Some(models.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every label with who scores it; notes who does.
    fn labels(&mut self) -> Vec<(Arc<str>, Arc<str>)> {
        let Some(models) = self.models(0) else { return Vec::new() };
        let sessions = || models.iter().map(|(session, _)| session);
        let scorers = sessions().flat_map(|session| session.scorers().map(|(name, digest)| (Arc::clone(name), digest)));
        let scorers: Vec<_> = scorers.collect();
        let labels = sessions().flat_map(Session::labels);
        let labels = labels.map(|(model, label)| (Arc::clone(model), Arc::clone(label))).collect();
        drop(models);
        self.scorers = scorers;
        labels
    }
}

fn models(config: &model::Config) -> anyhow::Result<Models> {
    let with_input = |session: Session| {
        let preprocessor = Preprocessor::new(&session.manifest().input);
        (session, preprocessor)
    };
    Ok(model::open(config)?.sessions.into_iter().map(with_input).collect())
}

/// The banks that are asked: those named, in force or not; else those in force of the folder. Benign banks in force always.
fn banks(args: &Args, config: Option<&Config>, now: Timestamp, notes: &mut Vec<String>) -> anyhow::Result<Banks> {
    let folder = args.banks.clone().or_else(|| Some(config?.banks.dir.clone()));
    let mut banks: Vec<Arc<Bank>> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut put = |bank: Bank, folder: &Path| {
        if seen.insert((folder.to_owned(), bank.name().clone())) {
            banks.push(Arc::new(bank));
        }
    };
    let mut folders: Vec<PathBuf> = Vec::new();
    let usual = folder.clone().unwrap_or_else(|| PathBuf::from(USUAL_FOLDER));
    for named in &args.only {
        let text = named.to_string_lossy();
        if text.contains('/') || named.is_dir() {
            folders.push(named.clone());
            continue;
        }
        let name: BankName = text.parse()?;
        put(Store::open(&usual)?.load(&name)?, &usual);
    }
    match (args.only.is_empty(), folder) {
        (true, Some(folder)) => folders.push(folder),
        (true, None) => return Ok(Arc::new([])),
        (false, _) => {}
    }
    for folder in &folders {
        let store = Store::open(folder)?;
        for name in store.names()? {
            let bank = store.load(&name)?;
            if bank.settings().in_force(now) {
                put(bank, folder);
            } else if bank.settings().kind == Kind::Harmful {
                notes.push(format!(
                    "the bank `{name}` is not in force and was not asked: name it with --bank to ask it"
                ));
            }
        }
    }
    if folders.is_empty() {
        let store = Store::open(&usual)?;
        for name in store.names()? {
            let bank = store.load(&name)?;
            if bank.settings().kind == Kind::Benign && bank.settings().in_force(now) {
                put(bank, &usual);
            }
        }
    }
    if banks.iter().all(|bank| bank.settings().kind == Kind::Benign) && !args.only.is_empty() {
        bail!("no bank of harmful content is among those named: name another with --bank");
    }
    Ok(banks.into())
}

/// Above which score which label of which model is a finding.
#[derive(Debug, Default)]
pub(super) struct Thresholds {
    /// By model and label, from manifests: of what the model itself gave.
    of_manifests: BTreeMap<(Arc<str>, Arc<str>), f32>,
    /// By label, from the command line: of what rules would see, which is calibrated where the model is.
    said: BTreeMap<String, f32>,
}

impl Thresholds {
    fn new(config: &model::Config, said: &[LabelThreshold], labels: &[(Arc<str>, Arc<str>)]) -> anyhow::Result<Self> {
        let mut of_manifests = BTreeMap::new();
        for described in model::described(config)?.0 {
            let (name, thresholds): (_, &[Threshold]) = match &described {
                Described::Model(manifest) => (&manifest.name, &manifest.thresholds),
                Described::Probe(probe) => (&probe.name, &probe.thresholds),
            };
            for threshold in thresholds {
                let above: &mut f32 = of_manifests
                    .entry((Arc::clone(name), Arc::from(threshold.label.as_str())))
                    .or_insert(f32::INFINITY);
                *above = above.min(threshold.above);
            }
        }
        for LabelThreshold(label, _) in said {
            if !labels.iter().any(|(_, known)| **known == **label) {
                let known: BTreeSet<&str> = labels.iter().map(|(_, label)| &**label).collect();
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                bail!("no model that is asked has a label `{label}`: they have {known}");
            }
        }
        let said = said.iter().map(|LabelThreshold(label, score)| (label.clone(), *score)).collect();
        Ok(Self { of_manifests, said })
    }

    fn none_of(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        labels.iter().all(|(model, label)| self.above(model, label).is_none())
    }

    /// Above which score a label is a finding; none where no score is.
    pub(super) fn above(&self, model: &Arc<str>, label: &Arc<str>) -> Option<f32> {
        let of_manifest = || self.of_manifests.get(&(Arc::clone(model), Arc::clone(label)));
        self.said.get(&**label).or_else(of_manifest).copied()
    }

    /// The labels of `scores` that are findings, each with its score and what that is above.
    pub(super) fn exceeded(&self, scores: &Scores) -> Vec<(Arc<str>, f32, f32)> {
        let each = scores.scores.iter().enumerate().filter_map(|(at, (label, score))| {
            let above = self.above(&scores.model, label)?;
            // What a manifest says holds for the model as it is, not for what a calibration makes of it.
            let said = self.said.contains_key(&**label);
            let weighed = if said { *score } else { scores.raw.get(at).copied().unwrap_or(*score) };
            (weighed > above).then(|| (Arc::clone(label), weighed, above))
        });
        each.collect()
    }
}

/// Names what is asked in words, for the report.
impl Asked {
    /// Each bank with its revision and size.
    pub(super) fn described_banks(&self) -> impl Iterator<Item = (String, u64, usize, Kind)> {
        self.banks.iter().map(|bank| (bank.name().to_string(), bank.revision(), bank.len(), bank.settings().kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_label_and_a_score() {
        for (text, expected) in [
            ("nsfl=0.9", Some(LabelThreshold("nsfl".to_owned(), 0.9))),
            ("a=b=1", Some(LabelThreshold("a=b".to_owned(), 1.0))),
            ("nsfl", None),
            ("=0.5", None),
            ("nsfl=1.5", None),
            ("nsfl=nan", None),
            ("nsfl=high", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_said_comes_before_the_manifest_and_is_of_calibrated_scores() {
        let key = |label: &str| (Arc::from("safety"), Arc::from(label));
        let thresholds = Thresholds {
            of_manifests: [(key("nsfl"), 0.5), (key("nsfw"), 0.8)].into(),
            said: [("nsfw".to_owned(), 0.3)].into(),
        };
        let scores = |nsfl: f32, nsfw: f32, raw: Vec<f32>| Scores {
            model: "safety".into(),
            scores: vec![("nsfl".into(), nsfl), ("nsfw".into(), nsfw), ("sfw".into(), 1.0)],
            raw,
            ..Scores::default()
        };
        let names =
            |scores: &Scores| thresholds.exceeded(scores).into_iter().map(|(label, ..)| label).collect::<Vec<_>>();
        assert_eq!(names(&scores(0.6, 0.2, vec![])), ["nsfl".into()]);
        assert_eq!(names(&scores(0.5, 0.31, vec![])), ["nsfw".into()], "exactly the threshold is not above it");
        assert_eq!(
            names(&scores(0.1, 0.1, vec![0.9, 0.9, 0.9])),
            ["nsfl".into()],
            "the manifest's is of the raw score"
        );
    }
}
