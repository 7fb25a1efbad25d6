//! Which index is asked, and how it is reached: what pip would do on this machine.
//!
//! The index is what `--index` or `SLUICEGATE_INDEX` says, else pip's own setting (`PIP_INDEX_URL`, then `index-url` in its
//! configuration files, `[download]` of any before `[global]`, then the nearest file first), else pypi.org. pip's `cert` and `proxy` are honoured likewise; `HTTP_PROXY`,
//! `HTTPS_PROXY`, `NO_PROXY` and `SSL_CERT_FILE` work as everywhere. An address may hold a password: it is never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::FetchError;

const PYPI: &str = "https://pypi.org/simple";

/// Where the index is and how it is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    index: Url,
    pub(super) proxy: Option<Url>,
    /// A file of certificates, PEM, that are trusted besides this machine's.
    pub(super) cert: Option<PathBuf>,
}

impl Settings {
    /// The settings of this machine; `index` is what was said explicitly.
    ///
    /// # Errors
    /// When what is set is no address. What was said explicitly is the only place looked at.
    pub fn of_machine(index: Option<&str>) -> Result<Self, FetchError> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::gathered(index, &environment, &|path| std::fs::read_to_string(path).ok())
    }

    fn gathered(
        index: Option<&str>,
        environment: &dyn Fn(&str) -> Option<String>,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<Self, FetchError> {
        let pip: Vec<(PathBuf, String)> = pip_files(environment, read)
            .into_iter()
            .filter_map(|path| {
                let text = read(&path)?;
                Some((path, text))
            })
            .collect();
        let set = |variable: &str, key: &str| {
            let written = |section: &str| {
                pip.iter()
                    .find_map(|(path, text)| Some((format!("{key} in {}", path.display()), value(text, section, key)?)))
            };
            let set = environment(variable).map(|value| (variable.to_owned(), value));
            // As pip has it: for `pip download` in any file, else for every command.
            set.or_else(|| written("download")).or_else(|| written("global"))
        };
        let (by, text) = index
            .map(|given| ("--index".to_owned(), given.to_owned()))
            .or_else(|| set("PIP_INDEX_URL", "index-url"))
            .unwrap_or_else(|| ("the usual index".to_owned(), PYPI.to_owned()));
        let index = address(&by, &text)?;
        let proxy = set("PIP_PROXY", "proxy").map(|(by, text)| address(&by, &text)).transpose()?;
        let cert = set("PIP_CERT", "cert").map(|(_, path)| PathBuf::from(path));
        Ok(Self { index, proxy, cert })
    }

    /// The index's address, without a password.
    pub fn shown(&self) -> String {
        shown(&self.index)
    }

    /// Where the index lists the files of a package.
    pub(super) fn page(&self, package: &str) -> Url {
        let mut url = self.index.clone();
        let path = format!("{}/{}/", url.path().trim_end_matches('/'), normalised(package));
        url.set_path(&path);
        url
    }

    /// `url`, with the index's name and password where it is on the same server and has none of its own, as pip does it.
    pub(super) fn allowed(&self, mut url: Url) -> Url {
        if url.origin() == self.index.origin() && url.username().is_empty() && url.password().is_none() {
            // Both fail for addresses without a host only, and these have the index's.
            url.set_username(self.index.username()).ok();
            url.set_password(self.index.password()).ok();
        }
        url
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("index", &self.shown())
            .field("proxy", &self.proxy.as_ref().map(shown))
            .field("cert", &self.cert)
            .finish()
    }
}

/// Scheme, host, port and path: what of an address may be shown. Names, passwords and what follows `?` may be secrets.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// A package's name as indexes write it: lower case, one `-` for each run of `-`, `_` and `.`.
pub(super) fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// An address of a server; the message does not repeat the text, which may hold a password.
fn address(by: &str, text: &str) -> Result<Url, FetchError> {
    let refused = |problem: &str| FetchError::Setting { what: by.to_owned(), problem: problem.to_owned() };
    let url = Url::parse(text).map_err(|error| refused(&format!("it is no address ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(refused("it does not begin with https:// or http:// and a host"));
    }
    Ok(url)
}

/// pip's configuration files, the one that counts most first.
fn pip_files(environment: &dyn Fn(&str) -> Option<String>, read: &dyn Fn(&Path) -> Option<String>) -> Vec<PathBuf> {
    const FILE: &str = "pip/pip.conf";
    let of = |variable: &str, file: &str| environment(variable).map(|folder| Path::new(&folder).join(file));
    let named = environment("PIP_CONFIG_FILE").map(PathBuf::from);
    // To pip, this very name means: no file at all.
    if named.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    let user = of("XDG_CONFIG_HOME", FILE).or_else(|| of("HOME", ".config/pip/pip.conf"));
    // A file that is named takes the place of the user's own.
    let instead = named.as_deref().is_some_and(|path| read(path).is_some());
    let users = [user, of("HOME", ".pip/pip.conf")].into_iter().flatten().filter(|_| !instead);
    let everybody = [PathBuf::from("/etc/pip.conf"), PathBuf::from("/etc/xdg/pip/pip.conf")];
    let venv = of("VIRTUAL_ENV", "pip.conf");
    named.into_iter().chain(venv).chain(users).chain(everybody).collect()
}

/// The value of `key` in a section of a configuration file of pip.
fn value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.strip_suffix(']') == Some(section);
        } else if inside && !line.starts_with(['#', ';']) {
            let parts = line.split_once(['=', ':']);
            found = parts
                .filter(|(name, _)| name.trim().replace('_', "-") == key)
                .map(|(_, value)| value.trim().to_owned())
                .or(found);
        }
    }
    found.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index that would be asked, by what is said, set and written.
    fn index(said: Option<&str>, variables: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Settings, FetchError> {
        let of = |list: &[(&str, &str)], asked: &str| {
            list.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
        };
        Settings::gathered(said, &|name| of(variables, name), &|path| of(files, path.to_str().unwrap()))
    }

    #[test]
    fn the_index_is_the_one_that_pip_would_ask_unless_another_is_named() {
        let home = ("HOME", "/home/me");
        let set = [home, ("PIP_INDEX_URL", "https://two.example/simple")];
        let mine = ("/home/me/.config/pip/pip.conf", "[global]\nindex-url = https://three.example/simple/\n");
        let all = ("/etc/pip.conf", "[global]\nindex_url: https://four.example/simple");
        let downloads = ("/etc/pip.conf", "[download]\nindex-url: https://five.example/simple");
        let named = ("/named.conf", "[global]\ntimeout = 9");
        for (said, variables, files, expected) in [
            (Some("https://one.example/simple"), &set[..], &[mine, all][..], "https://one.example/simple"),
            (None, &set, &[mine, all], "https://two.example/simple"),
            (None, &set[..1], &[mine, all], "https://three.example/simple/"),
            (None, &set[..1], &[all], "https://four.example/simple"),
            (None, &set[..1], &[mine, downloads], "https://five.example/simple"),
            (None, &[home, ("PIP_CONFIG_FILE", "/named.conf")], &[named, mine, all], "https://four.example/simple"),
            (None, &[home, ("PIP_CONFIG_FILE", "/nowhere.conf")], &[mine, all], "https://three.example/simple/"),
            (None, &set[..1], &[], "https://pypi.org/simple"),
            (None, &[home, ("PIP_CONFIG_FILE", "/dev/null")], &[mine, all], "https://pypi.org/simple"),
            (None, &[home, ("XDG_CONFIG_HOME", "/elsewhere")], &[mine, all], "https://four.example/simple"),
        ] {
            assert_eq!(index(said, variables, files).unwrap().shown(), expected);
        }
    }

    #[test]
    fn what_is_written_for_downloads_comes_before_what_is_for_all_commands() {
        let text = "[global]\nindex-url = https://all.example\nproxy=http://gate:3128\n# cert = /no\ncert = /etc/ca.pem\n\
                    [download]\n index-url = https://down.example\n[install]\nindex-url = https://in.example";
        let settings = index(None, &[], &[("/etc/pip.conf", text)]).unwrap();
        assert_eq!(settings.shown(), "https://down.example/");
        assert_eq!(settings.proxy.as_ref().map(shown).as_deref(), Some("http://gate:3128/"));
        assert_eq!(settings.cert.as_deref(), Some(Path::new("/etc/ca.pem")));
    }

    #[test]
    fn a_password_is_sent_to_its_own_server_and_never_shown() {
        let settings = index(Some("https://me:secret@index.example/simple"), &[], &[]).unwrap();
        let allowed = |text: &str| settings.allowed(Url::parse(text).unwrap()).to_string();
        assert_eq!(allowed("https://index.example/files/a.whl"), "https://me:secret@index.example/files/a.whl");
        for elsewhere in
            ["https://files.example/a.whl", "http://index.example/a.whl", "https://index.example:444/a.whl"]
        {
            assert_eq!(allowed(elsewhere), elsewhere);
        }
        assert_eq!(settings.page("A_b..C").as_str(), "https://me:secret@index.example/simple/a-b-c/");
        for text in [format!("{settings:?}"), settings.shown(), shown(&settings.page("a"))] {
            assert!(!text.contains("secret") && text.contains("index.example/simple"), "{text}");
        }
        for wrong in ["index.example/secret", "ftp://secret@index.example", "https://"] {
            let message = index(Some(wrong), &[], &[]).unwrap_err().to_string();
            assert!(message.contains("--index") && !message.contains("secret"), "{message}");
        }
    }
}
