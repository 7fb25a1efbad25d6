//! The section `[[server]]`: what a media server is, where it is, and what of it is watched.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, de};
use url::Url;

use super::{HookToken, Hooks, Kind, aws_ivs, fallback, generic};
use crate::act::webhook::Secret;
use crate::act::{aftermath, http};

/// One `[[server]]`. What is left out has the default of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Section")]
pub struct Config {
    /// What it is called here, in metrics and in the path of its hooks (`/hooks/NAME`): letters, digits, `-` and `_`.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Where streams are pulled from: over whatever the kind offers.
    pub pull: Url,
    /// Where it is asked and told: the address of its HTTP interface. May hold a user and a password.
    pub control: Url,
    /// The applications that are watched; empty: all.
    pub apps: Vec<Arc<str>>,
    /// The one virtual host that is watched, where the kind has such; otherwise: the kind's default.
    pub vhost: Option<Arc<str>>,
    /// What the server signs its hooks with, where the kind does.
    pub hook_secret: Option<Secret>,
    /// The last step of the path of its hooks, `/hooks/NAME/TOKEN`: hooks without it are refused.
    pub hook_token: Option<Secret>,
    /// The parameter of the query that is published with that names the platform's account.
    pub account_param: Option<Arc<str>>,
    /// The one that holds the publisher's key.
    pub key_param: Option<Arc<str>>,
    /// What a server of the kind `http` wants.
    pub http: generic::Config,
    /// What is asked to end a session when the server itself does not, in this order.
    pub fallback: Vec<fallback::Config>,
    /// Where its files are that outlive a session.
    pub after_cut: aftermath::Config,
}

/// What is written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    #[serde(deserialize_with = "deserialize_name")]
    name: Arc<str>,
    kind: Kind,
    #[serde(default, deserialize_with = "deserialize_pull")]
    pull: Option<Url>,
    #[serde(default, deserialize_with = "deserialize_control")]
    control: Option<Url>,
    #[serde(default)]
    apps: Vec<Arc<str>>,
    vhost: Option<Arc<str>>,
    hook_secret: Option<Secret>,
    hook_token: Option<Secret>,
    account_param: Option<Arc<str>>,
    key_param: Option<Arc<str>>,
    #[serde(default)]
    http: generic::Config,
    #[serde(default)]
    fallback: Vec<fallback::Config>,
    #[serde(default)]
    after_cut: aftermath::Config,
}

impl From<Section> for Config {
    fn from(section: Section) -> Self {
        let local = Self::local("", section.kind);
        Self {
            name: section.name,
            kind: section.kind,
            pull: section.pull.unwrap_or(local.pull),
            control: section.control.unwrap_or(local.control),
            apps: section.apps,
            vhost: section.vhost,
            hook_secret: section.hook_secret,
            hook_token: section.hook_token,
            account_param: section.account_param,
            key_param: section.key_param,
            http: section.http,
            fallback: section.fallback,
            after_cut: section.after_cut,
        }
    }
}

impl Config {
    /// A server of `kind` on this machine with the default ports and all its applications.
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "constants, and a test reads them all")]
    pub fn local(name: &str, kind: Kind) -> Self {
        let url = |text| Url::parse(text).expect("an address");
        Self {
            name: name.into(),
            kind,
            pull: url(kind.facts().pull),
            control: url(kind.facts().control),
            apps: Vec::new(),
            vhost: None,
            hook_secret: None,
            hook_token: None,
            account_param: None,
            key_param: None,
            http: generic::Config::default(),
            fallback: Vec::new(),
            after_cut: aftermath::Config::default(),
        }
    }

    /// Whether an application is watched.
    pub(super) fn watches(&self, app: &str) -> bool {
        self.apps.is_empty() || self.apps.iter().any(|watched| **watched == *app)
    }

    /// Where streams are pulled from, for people: host and port, or the folder.
    pub fn pulled_from(&self) -> String {
        if self.pull.scheme() == "file" {
            return self.pull.path().to_owned();
        }
        let usual = if self.pull.scheme() == "rtsp" { 554 } else { 1935 };
        let port = self.pull.port_or_known_default().unwrap_or(usual);
        format!("{}:{port}", self.pull.host_str().unwrap_or_default())
    }

    /// What is wrong with values that are each well-formed: the key and a message.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let facts = self.kind.facts();
        let mut problems = Vec::new();
        if !facts.schemes.contains(&self.pull.scheme()) {
            let schemes = facts.schemes.join(":// or ");
            problems.push((
                "pull",
                format!(
                    "`server.pull`: streams of `{}` are pulled from {schemes}://, such as \"{}\"",
                    facts.word, facts.pull
                ),
            ));
        }
        if self.vhost.is_some() && !matches!(self.kind, Kind::Srs | Kind::OvenMediaEngine | Kind::ZlMediaKit) {
            let message = format!("`server.vhost`: `{}` has no virtual hosts: remove the key", facts.word);
            problems.push(("vhost", message));
        }
        if self.hook_secret.is_some() && !matches!(self.kind, Kind::OvenMediaEngine | Kind::Mux) {
            let message = format!("`server.hook_secret`: `{}` does not sign its hooks: remove the key", facts.word);
            problems.push(("hook_secret", message));
        }
        problems.extend(self.problems_of_hooks());
        problems.extend(self.problems_of_kind());
        problems.extend(self.fallback.iter().flat_map(fallback::Config::problems).map(|message| ("fallback", message)));
        problems.extend(self.after_cut.problems(self.kind).into_iter().map(|message| ("after_cut", message)));
        match self.kind {
            Kind::Http => problems.extend(self.http.problems().into_iter().map(|message| ("http", message))),
            _ if self.http != generic::Config::default() => problems.push((
                "http",
                format!("[server.http] is for `kind = \"http\"`, and this server is `{}`: remove it", facts.word),
            )),
            _ => {}
        }
        problems
    }

    /// What is wrong with who may send hooks, and with what is read of them.
    fn problems_of_hooks(&self) -> Vec<(&'static str, String)> {
        let facts = self.kind.facts();
        let mut problems = Vec::new();
        if let Some(message) = self.hook_token.as_ref().and_then(HookToken::problem) {
            problems.push(("hook_token", message));
        }
        if self.hook_token.is_some() && facts.hooks == Hooks::None {
            let message = format!("`server.hook_token`: `{}` sends no hook of use here: remove the key", facts.word);
            problems.push(("hook_token", message));
        }
        let params = [("account_param", &self.account_param), ("key_param", &self.key_param)];
        for (key, param) in params.into_iter().filter_map(|(key, param)| Some((key, param.as_ref()?))) {
            if param.is_empty() {
                problems.push((key, format!("`server.{key}`: it names no parameter: remove the key")));
            }
            if facts.hooks == Hooks::Configured {
                let pointer = key.replace("_param", "");
                let message = format!("`server.{key}`: write `hook_{pointer}` in [server.http] instead");
                problems.push((key, message));
            } else if facts.hooks != Hooks::Ask {
                let message = format!("`server.{key}`: `{}` tells no query: remove the key", facts.word);
                problems.push((key, message));
            }
        }
        problems
    }

    /// What only some kinds need, or cannot have.
    fn problems_of_kind(&self) -> Vec<(&'static str, String)> {
        let word = self.kind.facts().word;
        let mut problems = Vec::new();
        let mut problem = |key: &'static str, message: &str| problems.push((key, format!("`server.{key}`: {message}")));
        let (user, password) = (!self.control.username().is_empty(), self.control.password().is_some());
        match self.kind {
            Kind::AntMedia if self.apps.is_empty() => {
                problem("apps", "name the applications of `ant-media`, such as [\"live\"]: it does not list them");
            }
            Kind::Mux | Kind::CloudflareStream if !self.apps.is_empty() => {
                problem("apps", &format!("`{word}` has no applications: remove the key"));
            }
            _ => {}
        }
        match self.kind {
            Kind::LiveKit | Kind::AwsIvs | Kind::Mux if !(user && password) => {
                problem("control", &format!("`{word}` wants a key and its secret: write https://KEY:SECRET@HOST"));
            }
            Kind::CloudflareStream if !user && !password => {
                problem("control", "`cloudflare-stream` wants a token: write https://TOKEN@api.cloudflare.com/...");
            }
            Kind::CloudflareStream if self.control.path().ends_with("/ACCOUNT") => {
                problem("control", "put the account's identifier for ACCOUNT at its end");
            }
            Kind::AwsIvs if aws_ivs::region(&self.control).is_none() => {
                problem("control", "it names no region: write https://KEY:SECRET@ivs.REGION.amazonaws.com");
            }
            _ => {}
        }
        if self.kind == Kind::CloudflareStream && self.pull == Self::local("", self.kind).pull {
            problem("pull", "put the customer's code for CODE: https://customer-CODE.cloudflarestream.com");
        }
        problems
    }

    /// Whether only the server itself can have sent a hook, or none is listened to.
    pub fn knows_hooks(&self) -> bool {
        match self.kind {
            Kind::OvenMediaEngine => self.hook_token.is_some() || self.hook_secret.is_some(),
            // Signed with the API's own secret, or refused.
            Kind::LiveKit | Kind::Mux => true,
            _ => self.hook_token.is_some() || self.kind.facts().hooks == Hooks::None,
        }
    }

    /// What is allowed but deserves a second look.
    pub fn warnings(&self) -> Vec<String> {
        let facts = self.kind.facts();
        let mut warnings = Vec::new();
        if facts.kick == super::Kick::Advisory {
            warnings.push(format!("server `{}`: {}; see docs/servers.md", self.name, facts.kick.sentence()));
        }
        if facts.when_down != super::WhenDown::Closed {
            warnings.push(format!("server `{}` {}", self.name, facts.when_down.sentence()));
        }
        if self.kind == Kind::OvenMediaEngine && !self.knows_hooks() {
            warnings.push(format!(
                "server `{}` signs its hooks and `hook_secret` is not set: whoever reaches the interface can pose as it",
                self.name
            ));
        }
        warnings
    }
}

fn deserialize_pull<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    http::url_of(&text, &["rtmp", "http", "https", "rtsp", "srt", "file"], "rtmp://127.0.0.1:1935")
        .map(Some)
        .map_err(de::Error::custom)
}

fn deserialize_control<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    http::deserialize_url(deserializer).map(Some)
}

/// Reads a name that may be a metric's label and a part of a path; for `#[serde(deserialize_with)]`.
pub(in crate::act) fn deserialize_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if plain && (1..=32).contains(&text.len()) {
        return Ok(text.into());
    }
    Err(de::Error::custom(format!("`{text}` is not a name: use 1 to 32 letters, digits, `-` and `_`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_a_server_on_this_machine() {
        for kind in Kind::ALL {
            let text = format!("name = \"main\"\nkind = \"{}\"", kind.facts().word);
            assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::local("main", kind));
        }
    }

    #[test]
    fn a_bad_section_says_what_is_wrong() {
        for (line, said) in [
            ("name = \"a b\"", "is not a name"),
            ("name = \"\"", "is not a name"),
            ("kind = \"nginx\"", "nginx-rtmp"),
            ("pull = \"ftp://h\"", "begin with rtmp:// or http://"),
            ("pull = \"rtmp://h/?a=b\"", "after ?"),
            ("pull = \"rtsp://h/#loop\"", "after ?"),
            ("pull = \"file:///srv/clips#twice\"", "after ?"),
            ("pull = \"srt://h\"", "names no port"),
            ("control = \"127.0.0.1:8080\"", "not an address"),
            ("contol = \"http://h\"", "unknown field"),
            ("apps = \"live\"", "sequence"),
        ] {
            let mut section = String::new();
            for other in ["name = \"main\"", "kind = \"nginx-rtmp\""] {
                if other.split_once(' ').unwrap().0 != line.split_once(' ').unwrap().0 {
                    section = format!("{section}{other}\n");
                }
            }
            let message = toml::from_str::<Config>(&format!("{section}{line}")).unwrap_err().to_string();
            assert!(message.contains(said), "{line}: {message}");
        }
    }

    #[test]
    fn what_a_kind_has_no_use_for_is_a_problem() {
        for (kind, line, key) in [
            ("nginx-rtmp", "pull = 'http://h'", "pull"),
            ("node-media-server", "pull = 'rtmp://h'", "pull"),
            ("srs", "pull = 'rtsp://h'", "pull"),
            ("mediamtx", "pull = 'file:///srv/clips'", "pull"),
            ("mediamtx", "vhost = 'a'", "vhost"),
            ("srs", "hook_secret = 'a'", "hook_secret"),
            ("srs", "http.list = 'GET http://h/'", "http"),
            ("mediamtx", "after_cut.hls = '/srv/hls'", "after_cut"),
            ("srs", "after_cut.hls = 'hls'", "after_cut"),
            ("srs", "after_cut.hls = '/srv/x{app}'", "after_cut"),
            ("srs", "after_cut.hls = '/srv'\nafter_cut.quarantine = '/srv/q'", "after_cut"),
            ("srs", "fallback = [{ kick = 'POST /end' }]", "fallback"),
            ("srs", "fallback = [{}]", "fallback"),
            ("http", "", "http"),
            ("srs", "hook_token = 'short'", "hook_token"),
            (
                "aws-ivs",
                "control = 'https://k:s@ivs.eu-west-1.amazonaws.com'\nhook_token = '0123456789abcdef'",
                "hook_token",
            ),
            ("srs", "account_param = ''", "account_param"),
            ("http", "key_param = 'k'", "key_param"),
            ("livekit", "key_param = 'k'", "key_param"),
            ("ant-media", "", "apps"),
            ("mux", "control = 'https://k:s@api.mux.com'\napps = ['a']", "apps"),
            ("mux", "control = 'https://k@api.mux.com'", "control"),
            ("livekit", "", "control"),
            ("aws-ivs", "", "control"),
            ("aws-ivs", "control = 'https://k:s@ivs.example'", "control"),
            ("cloudflare-stream", "pull = 'https://h'", "control"),
            ("cloudflare-stream", "pull = 'https://h'\ncontrol = 'https://t@h/accounts/ACCOUNT'", "control"),
            ("cloudflare-stream", "control = 'https://t@h/accounts/1'", "pull"),
        ] {
            let config: Config = toml::from_str(&format!("name = 'a'\nkind = '{kind}'\n{line}")).unwrap();
            let keys: Vec<_> = config.problems().into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys.first(), Some(&key), "{kind} {line}");
        }
        for (kind, line) in [
            ("srs", "pull = 'rtmp://h'"),
            ("srs", "pull = 'srt://h:10080?passphrase=0123456789'"),
            ("mediamtx", "pull = 'rtsp://h:8554'"),
            ("mediamtx", "pull = 'srt://h:8890'"),
            ("zlmediakit", "pull = 'rtsp://h:554'"),
            ("srs", "vhost = 'a'"),
            ("oven-media-engine", "hook_secret = 'a'"),
            ("srs", "hook_token = '0123456789abcdef'\naccount_param = 'a'\nkey_param = 'k'"),
            ("zlmediakit", "vhost = 'a'"),
            ("ant-media", "apps = ['live']"),
            ("livekit", "control = 'http://k:s@h'"),
            ("mux", "control = 'https://k:s@api.mux.com'\nhook_secret = 's'"),
            (
                "aws-ivs",
                "control = 'https://k:s@ivs.eu-west-1.amazonaws.com'\napps = ['arn:aws:ivs:eu-west-1:1:channel']",
            ),
            (
                "cloudflare-stream",
                "control = 'https://t@h/accounts/1'\npull = 'https://customer-a.cloudflarestream.com'",
            ),
            ("nginx-rtmp", "after_cut.hls = '/srv/hls/{app}'\nfallback = [{ kick = 'POST /end/{session}' }]"),
        ] {
            let config: Config = toml::from_str(&format!("name = 'a'\nkind = '{kind}'\n{line}")).unwrap();
            assert_eq!(config.problems(), [], "{kind} {line}");
        }
    }
}
