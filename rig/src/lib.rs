//! Real servers and publishers on free loopback ports, for Sluicegate's end-to-end tests and its demo.
//!
//! The rig sees Sluicegate from outside, as an operator does: a binary, a configuration file, an HTTP API. Everything it
//! starts is ended by its own process id when the value that stands for it is dropped, and by the kernel should the
//! starting thread die before that.

pub mod clips;
pub mod events;
pub mod nginx;
pub mod process;
pub mod publisher;
pub mod sluicegate;
pub mod webhook;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A loopback port that nobody listens on now.
///
/// # Errors
/// When the system has none to give.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?.port())
}

/// Asks `probe` again and again until it gives a value, for at most `limit`.
///
/// # Errors
/// When it gives none in time; the message says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// A file that `make setup` fetches, such as `clips/bikes.mp4`.
///
/// # Errors
/// When it is not there yet.
pub fn asset(name: &str) -> Result<PathBuf> {
    let path = repository().join("assets").join(name);
    if !path.exists() {
        bail!("{} is missing: run `make setup`", path.display());
    }
    Ok(path)
}
