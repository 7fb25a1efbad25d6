//! A child process that cannot outlive its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::until;

/// A running child. Killed and reaped when dropped; `setpriv` has the kernel kill it should we be killed first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with `args`; what it writes to standard error goes to `log`, standard output too unless it is
    /// `piped`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, args: &[String], log: &Path, stdout: Output) -> Result<Self> {
        Self::start_with(&[], program, args, log, stdout)
    }

    /// As [`Process::start`], with more in its environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with(
        environment: &[(String, String)],
        program: &Path,
        args: &[String],
        log: &Path,
        stdout: Output,
    ) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let out = match stdout {
            Output::Piped => Stdio::piped(),
            Output::Logged => file.try_clone()?.into(),
        };
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}: run `make setup`", program.display()))?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, once, if it was started with [`Output::Piped`].
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        until(&format!("{} to end", self.name), limit, || self.child.try_wait().ok().flatten())
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `CONT`, `KILL`.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status()?;
        anyhow::ensure!(status.success(), "cannot send SIG{name} to {} ({})", self.name, self.id());
        Ok(())
    }

    /// All that it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where a child's standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To us, by [`Process::take_stdout`].
    Piped,
    /// Into the log, beside standard error.
    Logged,
}
