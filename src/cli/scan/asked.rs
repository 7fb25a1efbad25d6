//! What recordings are inspected with: banks and models, loaded.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;

use super::Args;
use super::brief::{Brief, Thresholds};
use crate::bank::{Bank, BankName, Banks, Kind, Store};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::decode;
use crate::model::{self, Preprocessor, Provider, Session, WhenBroken};

const USUAL_FOLDER: &str = "/var/lib/sluicegate/banks";

/// Nobody waits for a recording as for a stream, and a machine may be busy with several.
const PATIENCE: Duration = Duration::from_secs(30);

/// What pictures are compared with and given to.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) banks: Banks,
    pub(super) decode: decode::Config,
    /// The same in words.
    pub(super) brief: Brief,
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
        let mut asked = Self { brief: Brief::of(&banks, notes), banks, decode, models };
        let labels = asked.labels();
        asked.brief.thresholds = Thresholds::new(&config, &args.thresholds, &labels)?;
        if asked.banks.is_empty() && asked.brief.thresholds.none_of(&labels) {
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
        self.brief.scorers = scorers;
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
