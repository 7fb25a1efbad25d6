//! From the configuration to loaded sessions: which models there have to be, which probes share one, and what of it is
//! broken.
//!
//! What the configuration itself says wrongly is an error. What is wrong with a file, the runtime or a model breaks that
//! model and those that rest on it, and no other: streams are then inspected without it, unless the configuration would
//! rather not start.

use std::path::Path;
use std::sync::Arc;

use super::{
    Calibration, Config, Described, Head, Manifest, ModelError, OutputOf, ProbeManifest, Runtime, Session, WhenBroken,
    find_file, find_runtime, find_weights,
};

/// What of the configured models can be used, and what not.
#[derive(Debug, Default)]
pub struct Opened {
    /// The models that pictures are to be given to, in the order of `load`.
    pub sessions: Vec<Session>,
    /// The models and probes that cannot be used.
    pub broken: Vec<Broken>,
}

/// A model or probe that cannot be used.
#[derive(Debug)]
pub struct Broken {
    /// Its name; where its manifest does not even say that, the manifest's file name.
    pub model: Arc<str>,
    /// Why.
    pub error: Arc<ModelError>,
}

impl Broken {
    /// What `error` breaks.
    fn all(models: impl IntoIterator<Item = Arc<str>>, error: ModelError) -> impl Iterator<Item = Self> {
        let error = Arc::new(error);
        models.into_iter().map(move |model| Self { model, error: Arc::clone(&error) })
    }
}

/// A model that has to be loaded, and the probes that look at its embedding.
#[derive(Debug)]
struct Planned {
    manifest: Manifest,
    /// Whether `load` names it, so that its own scores count.
    own: bool,
    probes: Vec<ProbeManifest>,
}

/// What the configuration names, as their manifests describe it, and which of the manifests are broken. No runtime and no
/// model file is needed for this.
///
/// # Errors
/// When a name is unknown or given twice.
pub fn described(config: &Config) -> Result<(Vec<Described>, Vec<Broken>), ModelError> {
    let (mut all, mut broken): (Vec<Described>, _) = (Vec::new(), Vec::new());
    for named in &config.load {
        match Described::named(named) {
            Ok(described) if all.iter().any(|earlier| earlier.name() == described.name()) => {
                return Err(ModelError::NamedTwice { model: Arc::clone(described.name()) });
            }
            Ok(described) => all.push(described),
            Err(error @ ModelError::Unknown { .. }) => return Err(error),
            Err(error) => broken.extend(Broken::all([file_name(named)], error)),
        }
    }
    Ok((all, broken))
}

/// Loads the runtime and every model that the configuration names.
///
/// # Errors
/// When a name is unknown or given twice, or a calibration is not right; when a model would not run on the provider that
/// is required; and, where the
/// configuration would rather not start than go on without a model, the first thing that is missing or not right.
pub fn open(config: &Config) -> Result<Opened, ModelError> {
    let (all, broken) = described(config)?;
    let calibrations = calibrations(config, &all, &broken)?;
    let mut opened = Opened { sessions: Vec::new(), broken };
    let planned = plan(all, &mut opened.broken);
    if !planned.is_empty() {
        match find_runtime(config).and_then(|path| Runtime::load(&path)) {
            Ok(runtime) => {
                for planned in planned {
                    load(&runtime, planned, config, &calibrations, &mut opened)?;
                }
            }
            Err(error) => opened.broken.extend(Broken::all(planned.iter().flat_map(Planned::names), error)),
        }
    }
    match opened.broken.first() {
        Some(first) if config.when_broken == WhenBroken::Refuse => Err(ModelError::Broken(Arc::clone(&first.error))),
        _ => Ok(opened),
    }
}

/// What is missing of what the configuration names, as far as can be told without loading or reading much of it.
///
/// # Errors
/// When a name is unknown or given twice, or a calibration is not right.
pub fn missing(config: &Config) -> Result<Vec<Broken>, ModelError> {
    let (all, mut broken) = described(config)?;
    calibrations(config, &all, &broken)?;
    let planned = plan(all, &mut broken);
    if !planned.is_empty()
        && let Err(error) = find_runtime(config)
    {
        broken.extend(Broken::all(planned.iter().flat_map(Planned::names), error));
        return Ok(broken);
    }
    for planned in planned {
        if let Err(error) =
            find_file(config, &planned.manifest).and_then(|path| Head::look_for(&planned.manifest, &path))
        {
            broken.extend(Broken::all(planned.names(), error));
        }
        for probe in planned.probes {
            if let Err(error) = find_weights(config, &probe) {
                broken.extend(Broken::all([probe.name], error));
            }
        }
    }
    Ok(broken)
}

/// The calibrations that the configuration names.
///
/// # Errors
/// When one cannot be read, is not right, is of a model that is not to be loaded, or of the same one as another.
fn calibrations(config: &Config, all: &[Described], broken: &[Broken]) -> Result<Vec<Calibration>, ModelError> {
    let mut calibrations: Vec<Calibration> = Vec::with_capacity(config.calibrations.len());
    for path in &config.calibrations {
        let calibration = Calibration::read(path)?;
        let model = calibration.model();
        // Whose manifest cannot be read, nobody knows the name of.
        let is_known = !broken.is_empty() || all.iter().any(|described| described.name() == model);
        // Scores are calibrated once: of two files, one would do nothing.
        let problem = if calibrations.iter().any(|earlier| earlier.model() == model) {
            format!("another one is of `{model}` too: put the curves of both into one file")
        } else if !is_known {
            format!("it is of `{model}`, which `load` in [model] does not name")
        } else {
            calibrations.push(calibration);
            continue;
        };
        return Err(ModelError::Calibration { calibration: path.display().to_string(), problem });
    }
    Ok(calibrations)
}

/// What a model is called whose manifest cannot be read.
fn file_name(named: &str) -> Arc<str> {
    Path::new(named).file_stem().unwrap_or_default().to_string_lossy().into()
}

/// Puts each probe to its model, which is added where nothing else asks for it.
fn plan(all: Vec<Described>, broken: &mut Vec<Broken>) -> Vec<Planned> {
    let (mut planned, mut probes) = (Vec::new(), Vec::new());
    for described in all {
        match described {
            Described::Model(manifest) => planned.push(Planned { manifest: *manifest, own: true, probes: Vec::new() }),
            Described::Probe(probe) => probes.push(*probe),
        }
    }
    for probe in probes {
        let model = Arc::clone(&probe.name);
        match base(&probe) {
            Err(error) => broken.extend(Broken::all([model], error)),
            Ok(manifest) => match planned.iter_mut().find(|one| one.manifest.name == manifest.name) {
                Some(planned) if planned.is(&manifest) => planned.probes.push(probe),
                // Two of one name would share what is kept of streams, metrics and findings.
                Some(_) => {
                    let problem =
                        "another model of that name is loaded, which is not described in the same way: change \
                                   the `name` in one of their manifests"
                            .to_owned();
                    let error = ModelError::Base { model: Arc::clone(&model), base: probe.embedding, problem };
                    broken.extend(Broken::all([model], error));
                }
                None => planned.push(Planned { manifest, own: false, probes: vec![probe] }),
            },
        }
    }
    planned
}

/// The model whose embedding `probe` looks at.
///
/// # Errors
/// When there is none of that name, its manifest is broken, or it is another one by now.
fn base(probe: &ProbeManifest) -> Result<Manifest, ModelError> {
    let named = match &probe.folder {
        Some(folder) if !Manifest::shipped().any(|name| name == probe.embedding) => {
            folder.join(&probe.embedding).display().to_string()
        }
        _ => probe.embedding.clone(),
    };
    let problem = match Manifest::named(&named).map(|manifest| (manifest.meaning(OutputOf::Embedding), manifest)) {
        Ok((_, manifest)) if manifest.file.sha256 != probe.embedding_sha256 => format!(
            "it was trained on the model of digest {}, and `{}` is {} now: train it again",
            probe.embedding_sha256, manifest.name, manifest.file.sha256
        ),
        Ok((meaning, manifest)) if meaning != probe.meaning_sha256 => format!(
            "[input] or [embedding] in the manifest of `{}` says another thing than when it was trained (`meaning_sha256` \
             was {} and is {meaning}): put that back, or train it again",
            manifest.name, probe.meaning_sha256
        ),
        Ok((_, manifest)) => return Ok(manifest),
        Err(error) => error.to_string(),
    };
    Err(ModelError::Base { model: Arc::clone(&probe.name), base: probe.embedding.clone(), problem })
}

impl Planned {
    /// Whether its embedding is the one that `manifest` describes. The same file described twice is two models: one of
    /// the manifests may be wrong.
    fn is(&self, manifest: &Manifest) -> bool {
        let of = |one: &Manifest| (Arc::clone(&one.name), one.file.sha256.clone(), one.meaning(OutputOf::Embedding));
        of(&self.manifest) == of(manifest)
    }

    /// Who gives no scores when the model is broken: the model itself, where it was to give some, and its probes.
    fn names(&self) -> Vec<Arc<str>> {
        let own = self.own.then_some(&self.manifest.name);
        own.into_iter().chain(self.probes.iter().map(|probe| &probe.name)).cloned().collect()
    }
}

/// # Errors
/// When the model would not run on the provider that is required.
fn load(
    runtime: &Runtime,
    planned: Planned,
    config: &Config,
    calibrations: &[Calibration],
    opened: &mut Opened,
) -> Result<(), ModelError> {
    let names = planned.names();
    let Planned { manifest, own, probes } = planned;
    let model = Arc::clone(&manifest.name);
    let mut session = match Session::load(runtime, manifest, config) {
        Ok(session) => session,
        Err(error @ ModelError::Provider { .. }) => return Err(error),
        Err(error) => {
            opened.broken.extend(Broken::all(names, error));
            return Ok(());
        }
    };
    if !own {
        session.silence(&model);
    }
    for probe in probes {
        if let Err(error) = Head::probe(&probe, config).and_then(|head| session.attach(head)) {
            opened.broken.extend(Broken::all([probe.name], error));
        }
    }
    for calibration in calibrations {
        let of = calibration.model();
        if !session.scorers().any(|(scorer, _)| scorer == of) {
            continue;
        }
        // Scores on another scale than the policy was written for are worse than none.
        if let Err(error) = session.calibrate(calibration.clone()) {
            session.silence(of);
            opened.broken.extend(Broken::all([Arc::clone(of)], error));
        }
    }
    // A model of which nothing is asked would only cost; one that only embeds was asked for as that.
    let embeds = own && session.manifest().scores.is_none();
    if embeds || session.scorers().next().is_some() {
        opened.sessions.push(session);
    }
    Ok(())
}
