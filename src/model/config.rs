//! The section `[model]` of the configuration.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::batch::Batching;

/// Pictures in one inference of a provider that gains by it.
const FULL: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// The section `[model]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The models and probes that pictures are given to: names of models Sluicegate ships a manifest of, or paths of
    /// manifests. Empty: no models, and no need of a runtime.
    pub load: Vec<String>,
    /// ONNX Runtime's shared library. Left out, it is looked for (see [`find_runtime`](super::find_runtime)).
    pub runtime: Option<PathBuf>,
    /// The folder that holds `models/` and `runtime/`. Left out, it is looked for (see [`find_file`](super::find_file)).
    pub assets: Option<PathBuf>,
    /// Pictures that may wait for each model; more are shed and counted. Never fewer than one inference takes.
    pub queue: NonZeroUsize,
    /// What models run on.
    pub provider: Provider,
    /// Whether to refuse to start where the runtime cannot run every model on `provider`.
    pub require_provider: bool,
    /// The most pictures in one inference. Left out: 1 on a CPU, which gains nothing by more, and 16 elsewhere.
    pub batch: Option<NonZeroUsize>,
    /// How long the first picture of a batch waits for others.
    #[serde(with = "crate::config::duration")]
    pub batch_wait: Duration,
    /// What is done about a model that cannot be loaded.
    pub when_broken: WhenBroken,
    /// Files of calibrations, from `sluicegate model calibrate`.
    pub calibrations: Vec<PathBuf>,
    /// Once two such pictures in a row scored the same, a picture within so many bits (PDQ) of the last one scored of the same stream is not scored again; 0: each is.
    pub unchanged_within: u32,
    /// A picture that has not changed is scored again after this long all the same.
    #[serde(with = "crate::config::duration")]
    pub rescore_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);
        Self {
            load: vec!["safety".to_owned()],
            runtime: None,
            assets: None,
            queue: QUEUE,
            provider: Provider::Cpu,
            require_provider: false,
            batch: None,
            batch_wait: Duration::ZERO,
            when_broken: WhenBroken::GoOn,
            calibrations: Vec::new(),
            unchanged_within: 6,
            rescore_after: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// How pictures are put together for a model that runs on `provider`.
    pub(super) fn batching(&self, provider: Provider) -> Batching {
        let usual = if provider == Provider::Cpu { NonZeroUsize::MIN } else { FULL };
        Batching { most: self.batch.unwrap_or(usual), wait: self.batch_wait }
    }
}

/// What runs models: ONNX Runtime calls it an execution provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The machine's own cores: in every ONNX Runtime.
    #[default]
    Cpu,
    /// NVIDIA's graphics processors.
    Cuda,
    /// NVIDIA's graphics processors, with kernels built for the model when it is loaded.
    Tensorrt,
    /// Intel's processors of every kind.
    Openvino,
}

impl Provider {
    /// The word in the configuration and in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
            Self::Openvino => "openvino",
        }
    }
}

/// What is done about a model that cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBroken {
    /// Start without it, and say so: known content is found all the same.
    #[default]
    GoOn,
    /// Do not start.
    Refuse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_the_configuration_has_a_default() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        let config: Config = toml::from_str("load = []\nqueue = 2\nprovider = 'cuda'\nwhen_broken = 'refuse'").unwrap();
        assert_eq!((config.load.len(), config.queue.get()), (0, 2));
        assert_eq!((config.provider, config.when_broken), (Provider::Cuda, WhenBroken::Refuse));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, expected) in [
            ("queue = 0", "queue"),
            ("batch = 0", "batch"),
            ("batch_wait = '5'", "such as"),
            ("threads = 4", "unknown field `threads`"),
            ("provider = 'gpu'", "expected one of `cpu`, `cuda`, `tensorrt`, `openvino`"),
            ("when_broken = 'ignore'", "expected `go_on` or `refuse`"),
        ] {
            let message = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn only_where_it_helps_do_pictures_share_an_inference() {
        let most = |config: &Config, provider| config.batching(provider).most.get();
        let usual = Config::default();
        assert_eq!((most(&usual, Provider::Cpu), most(&usual, Provider::Cuda)), (1, 16));
        let said = Config { batch: NonZeroUsize::new(4), ..usual };
        assert_eq!((most(&said, Provider::Cpu), most(&said, Provider::Tensorrt)), (4, 4));
    }
}
