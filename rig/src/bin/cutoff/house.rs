//! What every bench here stands on: a real nginx and a Sluicegate beside it, with the banked clip and a rule of three
//! pictures.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rig::clips;
use rig::nginx::Nginx;
use rig::sluicegate::Sluicegate;
use serde_json::Value;

/// Three pictures, as the policy that is built in; three keyframes at 2 s still fit into its window.
const POLICY: &str = r#"
[policy]
[[policy.rule]]
name = "known-content"
bank = "*"
pictures = 3
within = "6s"
verdict = "cut"
"#;

/// Both servers, up.
pub(crate) struct House {
    pub(crate) nginx: Nginx,
    pub(crate) sluicegate: Sluicegate,
}

impl House {
    /// Starts both; `more` goes to the end of the configuration.
    pub(crate) fn start(more: &str) -> Result<Self> {
        let mut sluicegate = Sluicegate::prepare()?;
        let nginx = Nginx::start(Some(&sluicegate.hook()))?;
        sluicegate.command(&["bank", "add", "demo", &clips::banked()?.display().to_string()])?;
        sluicegate.configure(&nginx, POLICY, more)?;
        sluicegate.start()?;
        Ok(Self { nginx, sluicegate })
    }

    /// Where `name` is published.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}/live/{name}", self.nginx.rtmp())
    }

    /// The memory that Sluicegate holds, in MB.
    pub(crate) fn resident(&mut self) -> Result<f64> {
        let id = self.sluicegate.process()?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024.0)
    }
}

/// When an event happened.
pub(crate) fn at(event: &Value) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_micros(event["at"].as_u64()?))
}

/// Seconds from `start` to `end`; negative when it ended before it began.
pub(crate) fn seconds(start: SystemTime, end: SystemTime) -> f64 {
    match end.duration_since(start) {
        Ok(span) => span.as_secs_f64(),
        Err(error) => -error.duration().as_secs_f64(),
    }
}
