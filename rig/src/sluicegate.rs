//! Sluicegate itself, as an operator runs it: the binary, a configuration file, a folder for its data.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::events::Events;
use crate::nginx::Nginx;
use crate::process::{Output, Process};
use crate::{free_port, repository, until};

/// A folder with a configuration, banks and a ledger, and the Sluicegate that runs on it, when it runs.
#[derive(Debug)]
pub struct Sluicegate {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
    environment: Vec<(String, String)>,
}

/// What the demo and most tests run with: any positive bank cuts on three distinct pictures.
pub const POLICY: &str = r#"
[policy]
[[policy.rule]]
name = "known-content"
bank = "*"
pictures = 3
within = "4s"
verdict = "cut"

[[policy.rule]]
name = "likely-graphic"
label = "nsfl"
above = 0.8
share = 0.5
at_least = 3
within = "6s"
verdict = "hold"
"#;

impl Sluicegate {
    /// A folder and a port for a Sluicegate that is not started yet.
    ///
    /// # Errors
    /// When there is no folder or port to be had.
    pub fn prepare() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("banks"))?;
        Ok(Self { folder, port: free_port()?, process: None, environment: Vec::new() })
    }

    /// Where media servers send their hooks.
    pub fn hook(&self) -> String {
        format!("{}/hooks/main", self.api())
    }

    /// `http://127.0.0.1:PORT`.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The folder of its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.folder().join("sluicegate.toml")
    }

    /// Runs a subcommand to its end and gives what it printed.
    ///
    /// # Errors
    /// When it fails; the message holds what it said.
    pub fn command(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(binary()?)
            .args(args)
            .env("SLUICEGATE_BANKS", self.folder().join("banks"))
            .env("SLUICEGATE_API", self.api())
            .current_dir(repository())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("sluicegate {} failed: {said}{}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(said)
    }

    /// Writes the configuration: beside `nginx`, with [`POLICY`], and `more` at the end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, nginx: &Nginx, policy: &str, more: &str) -> Result<()> {
        let folder = self.folder().display();
        let text = format!(
            r#"[api]
listen = "127.0.0.1:{port}"

[ledger]
path = "{folder}/ledger.sqlite"

[banks]
dir = "{folder}/banks"

[[server]]
name = "main"
kind = "nginx-rtmp"
pull = "{rtmp}"
control = "{control}"
apps = ["live"]
{policy}
{more}
"#,
            port = self.port,
            rtmp = nginx.rtmp(),
            control = nginx.http(),
        );
        Ok(std::fs::write(self.configuration(), text)?)
    }

    /// Puts `new` where the configuration says `old`.
    ///
    /// # Errors
    /// When it says so nowhere, or cannot be written.
    pub fn change_configuration(&self, old: &str, new: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.configuration())?;
        anyhow::ensure!(text.contains(old), "the configuration does not say `{old}`");
        Ok(std::fs::write(self.configuration(), text.replace(old, new))?)
    }

    /// Has it find `value` in its environment when it is started.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts `sluicegate run` and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; the message holds its log.
    pub fn start(&mut self) -> Result<()> {
        let args = ["run", "--config", &self.configuration().display().to_string()].map(String::from);
        let (environment, log) = (&self.environment, self.folder().join("sluicegate.log"));
        let mut process = Process::start_with(environment, &binary()?, &args, &log, Output::Logged)?;
        let ready = format!("{}/readyz", self.api());
        let up = until("sluicegate to be ready", Duration::from_secs(30), || {
            if !process.is_running() {
                return Some(false);
            }
            ureq::get(&ready).call().is_ok().then_some(true)
        });
        if !matches!(up, Ok(true)) {
            bail!("sluicegate did not become ready; it said:\n{}", process.log());
        }
        self.process = Some(process);
        Ok(())
    }

    /// The running process.
    ///
    /// # Errors
    /// When it is not running.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("sluicegate is not running")
    }

    /// The process ids of the inspectors that it started.
    ///
    /// # Errors
    /// When it is not running.
    pub fn inspectors(&mut self) -> Result<Vec<u32>> {
        let core = self.process()?.id();
        let mut found = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{core}/task"))? {
            // A thread may end while it is looked at.
            let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        found.retain(|id| {
            std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default().contains("inspector")
        });
        found.sort_unstable();
        Ok(found)
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// When it does not stop within 10 s.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("sluicegate is not running")?;
        process.signal("TERM")?;
        process.wait(Duration::from_secs(10))
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        drop(self.process.take().context("sluicegate is not running")?);
        Ok(())
    }

    /// Subscribes to its events.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn events(&self) -> Result<Events> {
        Events::subscribe(&self.api())
    }

    /// `GET path` as JSON.
    ///
    /// # Errors
    /// When the API does not answer with JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.api());
        Ok(ureq::get(&url).call().with_context(|| url.clone())?.body_mut().read_json()?)
    }

    /// The value of one metric, such as `sluicegate_pictures_total{outcome="inspected"}`; zero when it is not there.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn metric(&self, series: &str) -> Result<f64> {
        let text = ureq::get(format!("{}/metrics", self.api())).call()?.body_mut().read_to_string()?;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(line.and_then(|value| value.parse().ok()).unwrap_or(0.0))
    }

    /// All that it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("sluicegate.log")).unwrap_or_default()
    }
}

/// The binary beside the running test or demo, or the one that `SLUICEGATE_BIN` names.
fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SLUICEGATE_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("sluicegate"))
        .find(|path| path.is_file())
        .context("the sluicegate binary is not built: run `make build`")
}
