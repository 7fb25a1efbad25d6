//! A recording at an address, downloaded into a file without a name: it is gone with the process, however that ends.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::Client;
use reqwest::redirect::Policy;
use url::Url;

use super::input::shown;

const CONNECT: Duration = Duration::from_secs(15);

/// The longest silence within an answer.
const SILENCE: Duration = Duration::from_mins(1);

const REDIRECTS: usize = 5;

/// In bytes.
const TELL_EVERY: u64 = 1 << 20;

/// What was downloaded. Deleted already: only this process can read it.
#[derive(Debug)]
pub(super) struct Downloaded(File);

impl Downloaded {
    /// By which this process, as long as `self` is there, can open it.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// Downloads what is at `url`, at most `limit` bytes. `tell` hears now and then how many are there, of how many.
///
/// # Errors
/// When it cannot be had, is longer than `limit`, or there is no room for it. No message has more of the address than may be
/// shown.
pub(super) fn download(url: &Url, limit: u64, tell: impl Fn(u64, Option<u64>)) -> anyhow::Result<Downloaded> {
    // Fails when a provider is installed already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .redirect(Policy::limited(REDIRECTS))
        .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("no connection can be made on this machine")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(all(&client, url, limit, tell))
}

async fn all(client: &Client, url: &Url, limit: u64, tell: impl Fn(u64, Option<u64>)) -> anyhow::Result<Downloaded> {
    let at = shown(url);
    let broken = |error: reqwest::Error| anyhow!("{at} cannot be downloaded: {}", reason(error));
    let too_long = || anyhow!("{at} has more than {limit} bytes: raise --max-download, or download it yourself");
    let mut response = client.get(url.clone()).send().await.map_err(broken)?;
    if !response.status().is_success() {
        bail!("{at} cannot be downloaded: the server answers {}", response.status());
    }
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let length = response.content_length();
    let mut file =
        tempfile::tempfile().context("there is no room for a download: set TMPDIR to a folder that has some")?;
    let (mut done, mut told) = (0_u64, 0_u64);
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        done += chunk.len() as u64;
        if done > limit {
            return Err(too_long());
        }
        file.write_all(&chunk)
            .with_context(|| format!("{at} cannot be kept: set TMPDIR to a folder with more room"))?;
        if done >= told + TELL_EVERY {
            told = done;
            tell(done, length);
        }
    }
    Ok(Downloaded(file))
}

/// The innermost cause: the outer ones repeat the address.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &(dyn std::error::Error + 'static) = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() }
}
