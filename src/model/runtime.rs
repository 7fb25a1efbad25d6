//! ONNX Runtime itself: a shared library, loaded once and kept for the life of the process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::ModelError;

/// ONNX Runtime, loaded. Cloning is cheap. There is one a process: the library allows no second one, nor another after
/// the first was let go, so it is kept in a static.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
    path: PathBuf,
}

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the shared library at `path`, or gives the runtime that was loaded from there before.
    ///
    /// # Errors
    /// When `path` is no ONNX Runtime, is too old (before 1.24), or another one is loaded already.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let unusable = |reason: String| ModelError::RuntimeUnusable { path: path.to_owned(), reason };
        // A relative path would be looked for beside the executable first, which is not what was found.
        let path = path.canonicalize().map_err(|error| unusable(error.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            return if runtime.path == path {
                Ok(runtime.clone())
            } else {
                Err(ModelError::RuntimeFixed { loaded: runtime.path.clone(), asked: path })
            };
        }
        let builder = ort::init_from(&path).map_err(|error| unusable(error.to_string()))?;
        let environment = builder.with_telemetry(false).build().map_err(|error| unusable(error.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        let runtime = Self { environment, path };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The shared library in use.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn environment(&self) -> &Environment {
        &self.environment
    }
}
