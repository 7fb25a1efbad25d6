//! `sluicegate model try`: what models say of pictures and videos.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::opened;
use crate::cli::bank::{Answer, content, parted, tell};
use crate::cli::table::table;
use crate::config::{self, duration};
use crate::decode::file::Video;
use crate::decode::still::{self, Still};
use crate::model::{self, Config, ModelError, Outputs, Preprocessor, Session};
use crate::picture::Picture;

/// Give pictures and videos to models, and show their scores.
///
/// Files are scored as a stream's pictures are: bars removed, and what shows nothing left out. Every score says which model
/// gave it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sluicegate model try photo.jpg
  sluicegate model try clips/ --every 5s --model safety --model my-probe.toml
  sluicegate model try photo.jpg --config sluicegate.toml --json")]
pub(super) struct Args {
    /// Pictures (JPEG, PNG, WebP), videos, and folders of them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A model's name or the path of a manifest; again for more. Those of the configuration when left out.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// The configuration whose `[model]` is used; its defaults when left out.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The time from one of a video's pictures to the next that is scored.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    every: Duration,
    /// Answer in JSON, one object.
    #[arg(long)]
    json: bool,
}

/// Runs `sluicegate model try`.
///
/// # Errors
/// When a model cannot be used, a file is neither a picture nor a video, or `out` cannot be written to.
pub(super) fn run(args: &Args, config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut config = match &args.config {
        Some(path) => Config { assets: config.assets.clone(), ..config::Config::load(path)?.model },
        None => config.clone(),
    };
    if !args.models.is_empty() {
        config.load.clone_from(&args.models);
    }
    let mut models = Models::open(&config)?;
    let (answers, failures) = match content::files(&args.files) {
        Ok(files) => parted(files.iter().map(|file| models.answer(file, args.every))),
        Err(error) => (Vec::new(), vec![error]),
    };
    tell(&answers, &failures, args.json, out)
}

/// Every model, with what makes its input.
struct Models(Vec<(Session, Preprocessor)>);

/// What every model says of one picture.
struct Said {
    at: Option<Duration>,
    /// None of a picture that shows nothing.
    outputs: Option<Vec<Result<Outputs, ModelError>>>,
}

impl Models {
    fn open(config: &Config) -> anyhow::Result<Self> {
        let with_input = |session: Session| {
            let preprocessor = Preprocessor::new(&session.manifest().input);
            (session, preprocessor)
        };
        Ok(Self(opened(config)?.into_iter().map(with_input).collect()))
    }

    fn answer(&mut self, file: &Path, every: Duration) -> anyhow::Result<Answer> {
        let said = match Still::open(file)? {
            Some(still) => {
                let picture = still::picture(still.pixels()?);
                vec![self.look(&picture.ok_or_else(|| anyhow!("{} has no pixels: copy it again", file.display()))?)]
            }
            None => self.video(file, every)?,
        };
        let rows: Vec<_> = said.iter().flat_map(|said| self.rows(file, said)).collect();
        Ok(Answer {
            text: table(["FILE", "AT", "MODEL", "SAYS"], &rows, "no picture"),
            json: json!({ "file": file, "pictures": said.iter().map(|said| self.json(said)).collect::<Vec<_>>() }),
        })
    }

    fn video(&mut self, file: &Path, every: Duration) -> anyhow::Result<Vec<Said>> {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let mut said = Vec::new();
        // The time of the next picture wanted; where frames lie otherwise, the first one after it.
        let mut next = Duration::ZERO;
        for picture in Video::open_in_colour(file, threads)? {
            let picture = picture.with_context(|| format!("{} cannot be read to its end", file.display()))?;
            let at = picture.pts.unwrap_or_default();
            if at >= next {
                said.push(self.look(&picture));
                let steps = at.as_nanos() / every.as_nanos().max(1) + 1;
                next = every.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX));
            }
        }
        Ok(said)
    }

    fn look(&mut self, picture: &Picture) -> Said {
        let outputs = (!model::flat(picture)).then(|| {
            let each = self.0.iter_mut().map(|(session, preprocessor)| {
                let outputs = session.run(&[preprocessor.tensor(picture)?])?.pop();
                outputs.unwrap_or_else(|| Ok(Outputs::default()))
            });
            each.collect()
        });
        Said { at: picture.pts, outputs }
    }

    fn rows(&self, file: &Path, said: &Said) -> Vec<[String; 4]> {
        let file = file.display().to_string();
        let at = said.at.map(|at| format!("{:.1}s", at.as_secs_f64())).unwrap_or_default();
        let row = |model: &str, text: String| [file.clone(), at.clone(), model.to_owned(), text];
        let Some(outputs) = &said.outputs else {
            return vec![row("", "it shows nothing: not scored".to_owned())];
        };
        let mut rows = Vec::new();
        for ((session, _), outputs) in self.0.iter().zip(outputs) {
            let name = &session.manifest().name;
            match outputs {
                Err(error) => rows.push(row(name, error.to_string())),
                Ok(Outputs { scores, embedding: Some(embedding), .. }) if scores.is_empty() => {
                    rows.push(row(name, format!("an embedding of {} values", embedding.len())));
                }
                Ok(Outputs { scores, failed, .. }) => {
                    rows.extend(failed.iter().map(|(head, problem)| row(head, format!("it had {problem}"))));
                    for scores in scores {
                        let each = scores.scores.iter().map(|(label, score)| format!("{label} {score:.3}"));
                        rows.push(row(&scores.model, each.collect::<Vec<_>>().join("  ")));
                    }
                }
            }
        }
        rows
    }

    fn json(&self, said: &Said) -> Value {
        let models = said.outputs.iter().flatten().zip(&self.0).flat_map(|(outputs, (session, _))| {
            let name: &Arc<str> = &session.manifest().name;
            match outputs {
                Err(error) => vec![json!({ "model": name, "error": error.to_string() })],
                Ok(Outputs { scores, embedding: Some(embedding), .. }) if scores.is_empty() => {
                    vec![json!({ "model": name, "digest": session.manifest().file.sha256.as_str(), "embedding": embedding })]
                }
                Ok(Outputs { scores, failed, .. }) => {
                    let failed = failed.iter().map(|(head, problem)| json!({ "model": head, "error": problem }));
                    scores.iter().map(|scores| json!(scores)).chain(failed).collect()
                }
            }
        });
        json!({
            "timestamp": said.at.map(|at| at.as_secs_f64()),
            "flat": said.outputs.is_none(),
            "models": models.collect::<Vec<_>>(),
        })
    }
}
