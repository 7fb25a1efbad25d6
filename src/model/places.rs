//! Where the runtime and the models' files lie.
//!
//! What somebody said explicitly (configuration, then environment) is the only place looked at; otherwise the usual
//! places are, in order. So a wrong path is an error and never silently another file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Config, Manifest, ModelError, ProbeManifest};

/// Where packages of Sluicegate put what `make setup` puts into `assets/`.
const INSTALLED: &str = "/usr/lib/sluicegate";
const LIBRARY: &str = "runtime/libonnxruntime.so";

/// ONNX Runtime's shared library: `runtime` in `[model]`, else `ORT_DYLIB_PATH`, else `runtime/libonnxruntime.so` below
/// the assets folder: `assets` in `[model]`, else `SLUICEGATE_ASSETS`, else `assets/` in the working directory or
/// `/usr/lib/sluicegate`.
///
/// # Errors
/// [`ModelError::RuntimeMissing`], with the places looked at.
pub fn find_runtime(config: &Config) -> Result<PathBuf, ModelError> {
    let places = runtime_places(config, environment);
    existing(&places).ok_or_else(|| ModelError::RuntimeMissing { looked_for: listed(&places) })
}

/// The model's file: beside its manifest, or in `models/NAME/` below the assets folder (see [`find_runtime`]).
///
/// # Errors
/// [`ModelError::FileMissing`], with the places looked at.
pub fn find_file(config: &Config, manifest: &Manifest) -> Result<PathBuf, ModelError> {
    find(config, &manifest.name, manifest.folder.as_deref(), &manifest.file.name)
}

/// The file of a probe's weights, looked for where a model's is (see [`find_file`]).
///
/// # Errors
/// [`ModelError::FileMissing`], with the places looked at.
pub fn find_weights(config: &Config, probe: &ProbeManifest) -> Result<PathBuf, ModelError> {
    find(config, &probe.name, probe.folder.as_deref(), &probe.file.name)
}

fn find(config: &Config, name: &Arc<str>, beside: Option<&Path>, file: &str) -> Result<PathBuf, ModelError> {
    let places = file_places(config, name, beside, file, environment);
    existing(&places).ok_or_else(|| ModelError::FileMissing { model: Arc::clone(name), looked_for: listed(&places) })
}

/// The folder that models are put into: the one that was named (see [`find_runtime`]), else the first of the usual ones
/// that is there, else `assets/` in the working directory.
pub fn assets_folder(config: &Config) -> PathBuf {
    put_into(asset_folders(config, environment))
}

fn put_into(mut folders: Vec<PathBuf>) -> PathBuf {
    let there = folders.iter().position(|folder| folder.is_dir());
    folders.swap_remove(there.unwrap_or(0))
}

fn environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

fn runtime_places(config: &Config, environment: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    if let Some(path) = config.runtime.clone().or_else(|| environment("ORT_DYLIB_PATH").map(PathBuf::from)) {
        return vec![path];
    }
    asset_folders(config, environment).into_iter().map(|folder| folder.join(LIBRARY)).collect()
}

fn file_places(
    config: &Config,
    name: &str,
    beside: Option<&Path>,
    file: &str,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Vec<PathBuf> {
    let beside = beside.into_iter().map(|folder| folder.join(file));
    let assets =
        asset_folders(config, environment).into_iter().map(|folder| folder.join("models").join(name).join(file));
    beside.chain(assets).collect()
}

fn asset_folders(config: &Config, environment: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    match config.assets.clone().or_else(|| environment("SLUICEGATE_ASSETS").map(PathBuf::from)) {
        Some(folder) => vec![folder],
        None => vec![PathBuf::from("assets"), PathBuf::from(INSTALLED)],
    }
}

fn existing(places: &[PathBuf]) -> Option<PathBuf> {
    places.iter().find(|place| place.is_file()).cloned()
}

fn listed(places: &[PathBuf]) -> String {
    places.iter().map(|place| Path::display(place).to_string()).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |asked| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).into())
    }

    #[test]
    fn what_was_said_explicitly_is_the_only_place() {
        let said = Config { runtime: Some("/opt/ort.so".into()), ..Config::default() };
        let variables = [("ORT_DYLIB_PATH", "/env/ort.so"), ("SLUICEGATE_ASSETS", "/env/assets")];
        let cases = [
            (said, &variables[..], vec!["/opt/ort.so"]),
            (Config::default(), &variables[..], vec!["/env/ort.so"]),
            (Config::default(), &variables[1..], vec!["/env/assets/runtime/libonnxruntime.so"]),
            (
                Config { assets: Some("/srv/sg".into()), ..Config::default() },
                &variables[1..],
                vec!["/srv/sg/runtime/libonnxruntime.so"],
            ),
            (
                Config::default(),
                &[],
                vec!["assets/runtime/libonnxruntime.so", "/usr/lib/sluicegate/runtime/libonnxruntime.so"],
            ),
        ];
        for (config, variables, expected) in cases {
            let places: Vec<String> =
                runtime_places(&config, given(variables)).iter().map(|place| place.display().to_string()).collect();
            assert_eq!(places, expected);
        }
    }

    #[test]
    fn a_missing_runtime_is_named_with_the_way_to_get_it() {
        let config = Config { runtime: Some("/nowhere/ort.so".into()), ..Config::default() };
        let message = find_runtime(&config).unwrap_err().to_string();
        assert!(message.contains("/nowhere/ort.so") && message.contains("make setup"), "{message}");
    }
}
