//! What a model runs on: asks the runtime for the configured provider, and finds out what it really does.
//!
//! A provider that cannot be had is no reason to look at nothing: the model then runs on the CPU, says so, and only
//! where the configuration requires the provider is it refused.

use std::fmt;

use ort::ep::{self, ExecutionProvider};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::{Config, Input, Layout, Manifest, Optimisation, Provider, Runtime, assignment};

/// What a model really runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// What runs it.
    pub provider: Provider,
    /// Of its operators, how many `provider` runs, and how many there are: the CPU runs the others, or CUDA where the
    /// provider is `TensorRT`. Not asked of a CPU.
    pub operators: Option<(usize, usize)>,
    /// What was asked for and could not be had, and why.
    pub instead_of: Option<(Provider, String)>,
}

impl Placement {
    const CPU: Self = Self { provider: Provider::Cpu, operators: None, instead_of: None };
}

/// `cpu`, `cuda, 310 of 342 operators`, `cpu instead of cuda: ...`.
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.provider.word())?;
        if let Some((there, all)) = self.operators {
            write!(f, ", {there} of {all} operators")?;
        }
        match &self.instead_of {
            Some((asked, why)) => write!(f, " instead of {}: {why}", asked.word()),
            None => Ok(()),
        }
    }
}

/// Loads the model that `bytes` are, on the configured provider where that can be had and else on the CPU.
pub(super) fn place(
    runtime: &Runtime,
    manifest: &Manifest,
    config: &Config,
    bytes: &[u8],
) -> ort::Result<(Session, Placement)> {
    let on_cpu = || plain(runtime, manifest)?.commit_from_memory(bytes);
    if config.provider == Provider::Cpu {
        return Ok((on_cpu()?, Placement::CPU));
    }
    match on(config.provider, runtime, manifest, config, bytes) {
        Ok((session, there, all)) if there > 0 => {
            Ok((session, Placement { provider: config.provider, operators: Some((there, all)), instead_of: None }))
        }
        other => {
            let why = other.err().map_or("it runs none of the model's operators".to_owned(), |error| one_line(&error));
            Ok((on_cpu()?, Placement { instead_of: Some((config.provider, why)), ..Placement::CPU }))
        }
    }
}

/// The model on `provider`, how many operators run there, and how many there are.
fn on(
    provider: Provider,
    runtime: &Runtime,
    manifest: &Manifest,
    config: &Config,
    bytes: &[u8],
) -> ort::Result<(Session, usize, usize)> {
    let most = config.batching(provider).most.get();
    let (name, registered) = match provider {
        Provider::Cpu => (ep::CPU::NAME, ep::CPU::default().build()),
        Provider::Cuda => (ep::CUDA::NAME, ep::CUDA::default().build()),
        Provider::Tensorrt => (ep::TensorRT::NAME, tensorrt(&manifest.input, most).build()),
        Provider::Openvino => {
            let threads = manifest.runtime.threads;
            (ep::OpenVINO::NAME, ep::OpenVINO::default().with_num_threads(threads).build())
        }
    };
    let mut providers = vec![registered.error_on_failure()];
    if provider == Provider::Tensorrt {
        // What TensorRT does not know would otherwise go to the CPU and back.
        providers.push(ep::CUDA::default().build());
    }
    let (recorded, yes) = assignment::RECORDED;
    let session = plain(runtime, manifest)?
        .with_execution_providers(providers)?
        .with_config_entry(recorded, yes)?
        .commit_from_memory(bytes)?;
    let operators = assignment::operators(&session)?;
    let there = operators.iter().filter(|(of, _)| of == name).map(|(_, count)| count).sum();
    let all = operators.iter().map(|(_, count)| count).sum();
    Ok((session, there, all))
}

/// `TensorRT` builds kernels for sizes: without a range of them, it would build anew for each size of a batch that comes.
fn tensorrt(input: &Input, most: usize) -> ep::TensorRT {
    let Input { name, height, width, .. } = input;
    let shape = |batch: usize| match input.layout {
        Layout::Nchw => format!("{name}:{batch}x3x{height}x{width}"),
        Layout::Nhwc => format!("{name}:{batch}x{height}x{width}x3"),
    };
    ep::TensorRT::default()
        .with_profile_min_shapes(shape(1))
        .with_profile_opt_shapes(shape(most))
        .with_profile_max_shapes(shape(most))
}

/// One thread a session, unless the manifest says otherwise: the machine's cores belong to the workers, and more threads
/// gain nothing on pictures one by one.
fn plain(runtime: &Runtime, manifest: &Manifest) -> ort::Result<SessionBuilder> {
    let level = match manifest.runtime.optimisation {
        Optimisation::All => GraphOptimizationLevel::All,
        Optimisation::Basic => GraphOptimizationLevel::Level1,
        Optimisation::None => GraphOptimizationLevel::Disable,
    };
    let builder = Session::builder(runtime.environment())?
        .with_intra_threads(manifest.runtime.threads)?
        .with_inter_threads(1)?
        .with_optimization_level(level)?
        // Threads that wait for work by spinning would take the workers' cores.
        .with_intra_op_spinning(false)?;
    Ok(builder)
}

/// What ONNX Runtime says, as part of a sentence: without its line breaks and full stop.
pub(super) fn one_line(error: &ort::Error) -> String {
    error.message().split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_runs_on_is_said_in_a_few_words() {
        let cuda = Placement { provider: Provider::Cuda, operators: Some((310, 342)), instead_of: None };
        let fallen = Placement { instead_of: Some((Provider::Cuda, "no library".to_owned())), ..Placement::CPU };
        for (placement, expected) in
            [(Placement::CPU, "cpu"), (cuda, "cuda, 310 of 342 operators"), (fallen, "cpu instead of cuda: no library")]
        {
            assert_eq!(placement.to_string(), expected);
        }
    }
}
