//! What fetches over HTTP for all streams: one thread, and its clients. Nothing is started before the first stream that
//! needs it.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::guard::Reach;
use super::http::Http;

/// Threads for what may take a moment: looking names up, and stopping pipelines.
const HELPERS: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Workshop(OnceLock<Tools>);

/// What is there once it was needed.
#[derive(Debug)]
pub(super) struct Tools {
    runtime: Option<Runtime>,
    normal: Http,
    link_local: Http,
    direct: Http,
}

impl Workshop {
    /// Opens it, unless it is open.
    ///
    /// # Errors
    /// When there is no client or no thread to be had: why, in words for people.
    pub(super) fn tools(&self) -> Result<&Tools, String> {
        if let Some(tools) = self.0.get() {
            return Ok(tools);
        }
        let tools = Tools::new()?;
        Ok(self.0.get_or_init(|| tools))
    }
}

impl Tools {
    fn new() -> Result<Self, String> {
        let (normal, link_local) = (Http::new(Reach::Normal)?, Http::new(Reach::LinkLocal)?);
        let direct = Http::direct()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(HELPERS)
            .thread_name("fetch")
            .enable_all()
            .build()
            .map_err(|error| format!("it has no thread to run on: {error}"))?;
        Ok(Self { runtime: Some(runtime), normal, link_local, direct })
    }

    /// Where tasks run; nothing while all is coming to its end.
    pub(super) fn runtime(&self) -> Option<&Runtime> {
        self.runtime.as_ref()
    }

    /// The client for what the playlist at the configured `url` may name.
    pub(super) fn following(&self, url: &Url) -> &Http {
        match Reach::of(url) {
            Reach::Normal => &self.normal,
            Reach::LinkLocal => &self.link_local,
        }
    }

    /// The client for what is configured itself.
    pub(super) fn direct(&self) -> &Http {
        &self.direct
    }
}

impl Drop for Tools {
    /// Without waiting: a pipeline that does not stop must not hold up a shutdown.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
