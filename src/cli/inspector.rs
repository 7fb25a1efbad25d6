//! `sluicegate inspector`: what `run` starts beside itself; not for people.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::failure::{Exit, OrExit, Outcome};
use crate::inspector::process;

/// Inspect what the core says over standard input, which is a socket.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  started by `sluicegate run`; see docs/architecture.md")]
pub(super) struct Args {}

pub(super) fn run(_args: &Args) -> Outcome {
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let socket = socket.and_then(|socket| socket.peer_addr().map(|_address| socket));
    let socket = socket
        .map_err(|error| {
            anyhow::Error::new(error)
                .context("standard input is no socket: `sluicegate run` starts inspectors by itself")
        })
        .or_exit(Exit::Usage)?;
    process::run(socket).or_exit(Exit::Missing)
}
