//! `sluicegate model bench`: how fast this machine scores pictures, with what, and what memory a model takes.

use std::io::Write;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::{UNAVAILABLE, open_one};
use crate::cli::bank::{Answer, tell};
use crate::cli::table::table;
use crate::clock::Clock;
use crate::model::{self, Config, Manifest, Outputs, Preprocessor, Session, Tensor};
use crate::picture::Picture;

/// Columns and rows of the picture that is scored: what most streams are.
const SIZE: (usize, usize) = (1920, 1080);

/// Say how fast this machine scores pictures, with what, and what memory each model takes.
///
/// One picture of 1920x1080 is scored again and again, on as many threads as the model's manifest says. Figures are medians.
/// Let nothing else run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sluicegate model bench\n  sluicegate model bench safety my-model.toml --provider cuda"
)]
pub(super) struct Args {
    /// Names of models or paths of manifests; all shipped ones that are on this machine when left out.
    models: Vec<String>,
    /// How many times.
    #[arg(long, value_name = "NUMBER", default_value = "30")]
    rounds: NonZeroUsize,
    /// What runs the models.
    #[arg(long, value_name = "PROVIDER", default_value = "cpu", value_parser = provider)]
    provider: model::Provider,
    /// The most pictures in one inference; 1 on a CPU and 16 elsewhere when left out.
    #[arg(long, value_name = "NUMBER")]
    batch: Option<NonZeroUsize>,
    /// Answer in JSON, one object.
    #[arg(long)]
    json: bool,
}

fn provider(word: &str) -> Result<model::Provider, String> {
    use model::Provider::{Cpu, Cuda, Openvino, Tensorrt};
    let all = [Cpu, Cuda, Tensorrt, Openvino];
    let known = || all.map(model::Provider::word).join(", ");
    all.into_iter().find(|one| one.word() == word).ok_or_else(|| format!("write one of {}", known()))
}

/// Runs `sluicegate model bench`.
///
/// # Errors
/// When a model cannot be used, or `out` cannot be written to.
pub(super) fn run(args: &Args, config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = Config { provider: args.provider, batch: args.batch, ..config.clone() };
    let here = |name: &&str| Manifest::named(name).is_ok_and(|manifest| model::find_file(&config, &manifest).is_ok());
    let asked: Vec<String> = if args.models.is_empty() {
        Manifest::shipped().filter(here).map(str::to_owned).collect()
    } else {
        args.models.clone()
    };
    if asked.is_empty() {
        writeln!(out, "no model is on this machine: `sluicegate model fetch` fetches them")?;
        return Ok(ExitCode::from(UNAVAILABLE));
    }
    let picture = picture()?;
    let (mut rows, mut results, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for named in &asked {
        match measure(named, &config, &picture, args.rounds) {
            Ok(measured) => {
                rows.push(measured.row());
                results.push(measured.json());
            }
            Err(error) => failures.push(error.context(format!("model {named}"))),
        }
    }
    if !args.json && !rows.is_empty() {
        let heading = [
            "MODEL",
            "RUNS ON",
            "PREPARE ms",
            "INFER ms",
            "PICTURE ms",
            "PICTURES/s",
            "AT ONCE",
            "LOAD ms",
            "MEMORY MiB",
        ];
        writeln!(out, "{}", table(heading, &rows, ""))?;
    }
    let answers: Vec<_> = results.into_iter().map(|json| Answer { text: String::new(), json }).collect();
    tell(if args.json { &answers } else { &[] }, &failures, args.json, out)
}

/// A reference picture as a stream would have it.
fn picture() -> anyhow::Result<Picture> {
    let name = model::references().next().unwrap_or_default();
    let picture = model::reference_pixels(name, SIZE).and_then(|pixels| Picture::of_rgb(&pixels, SIZE.0, SIZE.1));
    picture.ok_or_else(|| anyhow!("the picture to be scored cannot be made: report it"))
}

struct Measured {
    model: String,
    runs_on: String,
    /// From planes to tensor, one picture.
    prepare: Duration,
    /// One inference, of `at_once` pictures.
    infer: Duration,
    at_once: usize,
    /// From the planes to the scores, one picture.
    whole: Duration,
    load: Duration,
    /// What the process grew by: file, weights and working memory.
    memory: Option<u64>,
}

impl Measured {
    fn pictures_a_second(&self) -> f64 {
        let each = self.prepare.as_secs_f64() + self.infer.as_secs_f64() / self.at_once as f64;
        1.0 / each.max(1e-9)
    }

    fn row(&self) -> [String; 9] {
        let ms = |span: Duration| format!("{:.2}", span.as_secs_f64() * 1e3);
        let memory = self.memory.map_or("unknown".to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1_048_576.0));
        let Self { model, runs_on, prepare, infer, at_once, whole, load, .. } = self;
        let speed = format!("{:.1}", self.pictures_a_second());
        [
            model.clone(),
            runs_on.clone(),
            ms(*prepare),
            ms(*infer),
            ms(*whole),
            speed,
            at_once.to_string(),
            ms(*load),
            memory,
        ]
    }

    fn json(&self) -> Value {
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        json!({
            "model": self.model,
            "runs_on": self.runs_on,
            "prepare_ms": ms(self.prepare),
            "infer_ms": ms(self.infer),
            "picture_ms": ms(self.whole),
            "pictures_a_second": self.pictures_a_second(),
            "at_once": self.at_once,
            "load_ms": ms(self.load),
            "memory_bytes": self.memory,
        })
    }
}

fn measure(named: &str, config: &Config, picture: &Picture, rounds: NonZeroUsize) -> anyhow::Result<Measured> {
    let clock = Clock::system();
    // The runtime is loaded once and is no model's memory.
    model::find_runtime(config).and_then(|path| model::Runtime::load(&path))?;
    let before = resident();
    let began = clock.now();
    let mut session = open_one(named, config)?;
    let load = clock.now().since(began);
    let mut preprocessor = Preprocessor::new(&session.manifest().input);
    let at_once = session.batching().most.get();
    let tensors = vec![preprocessor.tensor(picture)?; at_once];
    // The first run takes its working memory.
    scored(&mut session, &tensors)?;
    let memory = resident().zip(before).map(|(after, before)| after.saturating_sub(before));
    let mut spent: [Vec<Duration>; 3] = Default::default();
    for _ in 0..rounds.get() {
        let start = clock.now();
        let tensor = preprocessor.tensor(picture)?;
        let prepared = clock.now();
        scored(&mut session, &[tensor])?;
        let done = clock.now();
        scored(&mut session, &tensors)?;
        let all = clock.now();
        let [prepare, whole, infer] = &mut spent;
        prepare.push(prepared.since(start));
        whole.push(done.since(start));
        infer.push(all.since(done));
    }
    let [prepare, whole, infer] = spent.map(median);
    let (model, runs_on) = (session.manifest().name.to_string(), session.placement().to_string());
    Ok(Measured { model, runs_on, prepare, infer, at_once, whole, load, memory })
}

fn scored(session: &mut Session, tensors: &[Tensor]) -> anyhow::Result<Vec<Outputs>> {
    let outputs = session.run(tensors)?.into_iter().collect::<Result<_, _>>();
    outputs.context("it gave no scores")
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or_default()
}

/// Bytes of memory that this process has now, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
