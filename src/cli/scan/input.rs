//! What is to be inspected: a file, or the address of one. Neither names nor addresses are trusted, and no message repeats
//! what of an address may be a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use url::Url;

use crate::cli::table::harmless;

/// One thing to be inspected.
#[derive(Debug, Clone)]
pub(super) enum Input {
    File(PathBuf),
    Address(Url),
}

impl Input {
    /// What the command line names.
    ///
    /// # Errors
    /// When it is a folder, or an address of another kind than can be downloaded.
    pub(super) fn new(named: &Path) -> anyhow::Result<Self> {
        let text = named.to_string_lossy();
        if let Some((scheme, _)) = text.split_once("://") {
            if !matches!(scheme, "http" | "https") {
                bail!(
                    "an address that begins with `{}://` is no recording: give files and http(s) addresses, and have live \
                     streams watched by `sluicegate run`",
                    harmless(scheme)
                );
            }
            let url = Url::parse(&text).map_err(|error| anyhow!("an http(s) address cannot be read: {error}"))?;
            return Ok(Self::Address(url));
        }
        if named.is_dir() {
            let name = harmless(&text);
            bail!(
                "{name} is a folder: name the files in it, as in `sluicegate scan {}/*.mp4`",
                name.trim_end_matches('/')
            );
        }
        Ok(Self::File(named.to_owned()))
    }

    /// The file, where it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Address(_) => None,
        }
    }
}

/// Safe to be shown on a terminal: of an address without name, password and what follows `?`, which may be secrets.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(&harmless(&path.to_string_lossy())),
            Self::Address(url) => f.write_str(&harmless(&shown(url))),
        }
    }
}

/// Scheme, host, port and path.
pub(super) fn shown(url: &Url) -> String {
    let query = if url.query().is_some() { "?..." } else { "" };
    format!("{}{}{query}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (given, expected) in [
            ("https://me:pa55word@cdn.example:8443/a/b.mp4?signature=5ecret#t", "https://cdn.example:8443/a/b.mp4?..."),
            ("http://example.org/clip.mp4", "http://example.org/clip.mp4"),
            ("a\u{1b}[2Jb.mp4", "a\\u{1b}[2Jb.mp4"),
        ] {
            assert_eq!(Input::new(Path::new(given)).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_recording_is_refused_with_what_to_do() {
        for (given, says) in [
            ("rtmp://me:5ecret@host/live/key", "sluicegate run"),
            ("file:///etc/passwd", "give files"),
            ("https://:::", "cannot be read"),
            ("/tmp", "name the files in it"),
        ] {
            let error = Input::new(Path::new(given)).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("5ecret"), "{given}: {error}");
        }
    }
}
