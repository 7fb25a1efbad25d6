//! The running core, as the command line speaks to it: over its HTTP interface, with its token where it asks for one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api;
use crate::config::Config;

/// Longer than the interface lets a request take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where the core is.
#[derive(Debug, clap::Args)]
pub(super) struct CoreArgs {
    /// The configuration that the core runs with: it says where it listens, and where its token is, whatever the options below
    /// and the environment say.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the core listens.
    #[arg(long, global = true, value_name = "URL", env = "SLUICEGATE_API", default_value_t = usual_api())]
    api: String,
    /// The file with the core's token, if it asks for one.
    #[arg(long, global = true, value_name = "FILE", env = "SLUICEGATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Answer in JSON, one object.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

fn usual_api() -> String {
    format!("http://{}", api::Config::default().listen)
}

/// The core, ready to be asked.
pub(super) struct Core {
    api: String,
    token: Option<String>,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

/// Nobody answers where the core should be.
#[derive(Debug, thiserror::Error)]
#[error("nobody answers at {0}: start `sluicegate run`, or say where it listens with --api or --config")]
pub(super) struct Unreachable(String);

/// What the interface says when it refuses.
#[derive(Deserialize)]
struct Problem {
    error: String,
    next: String,
}

impl Core {
    /// Finds out where the core is. Does not connect yet.
    ///
    /// # Errors
    /// When the configuration or the token's file cannot be read.
    pub(super) fn new(args: &CoreArgs) -> anyhow::Result<Self> {
        let (api, token_file) = match &args.config {
            None => (args.api.trim_end_matches('/').to_owned(), args.token_file.clone()),
            Some(path) => {
                let config = Config::load(path)?;
                (format!("http://{}", reachable(config.api.listen)), config.api.token_file)
            }
        };
        let token = token_file.as_deref().map(read_token).transpose()?;
        // Fails when a provider is installed already, which is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { api, token, client, runtime })
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// When the core does not answer, or refuses; the message says what to do.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.runtime.block_on(self.answer(self.request(Method::GET, path)))?;
        self.understood(&body)
    }

    /// Sends `body` to `path`, and gives what is answered; nothing where the answer is empty.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body(body.to_string());
        let answer = self.runtime.block_on(self.answer(request))?;
        if answer.is_empty() { Ok(Value::Null) } else { self.understood(&answer) }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.api));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn understood<T: DeserializeOwned>(&self, body: &[u8]) -> anyhow::Result<T> {
        serde_json::from_slice(body).with_context(|| {
            format!("what answers at {} is no Sluicegate of this release: name another with --api", self.api)
        })
    }

    async fn answer(&self, request: RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let silent = |error: reqwest::Error| {
            if error.is_builder() {
                anyhow!("{} is not an address: write it like {}", self.api, usual_api())
            } else {
                Unreachable(self.api.clone()).into()
            }
        };
        let response = request.send().await.map_err(silent)?;
        let status = response.status();
        let body = response.bytes().await.map_err(silent)?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        match serde_json::from_slice(&body) {
            Ok(Problem { error, next }) => bail!("{error}: {next}"),
            Err(_) => bail!("{} answers {status}, which is no Sluicegate's: name another with --api", self.api),
        }
    }
}

/// An address at which a listener on `listen` is reached: every address is on every machine itself.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path);
    let text =
        text.with_context(|| format!("cannot read the token's file {}: check its permissions", path.display()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn at(api: String, token_file: Option<PathBuf>) -> Core {
        Core::new(&CoreArgs { config: None, api, token_file, json: false }).unwrap()
    }

    /// A listener that gives `answer` to its one request; gives what it was asked.
    fn answering(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = client.read(&mut request).unwrap();
            client.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (api, asked)
    }

    #[test]
    fn where_nobody_answers_the_way_out_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}", taken.local_addr().unwrap());
        drop(taken);
        let error = at(api.clone(), None).get::<Value>("/v1/streams").unwrap_err();
        assert!(error.is::<Unreachable>());
        assert!(error.to_string().contains(&api) && error.to_string().contains("--config"), "{error}");
        let error = at("not an address".to_owned(), None).get::<Value>("/v1/streams").unwrap_err();
        assert!(error.to_string().contains("write it like http://127.0.0.1:8410"), "{error}");
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_core() {
        let body = r#"{"error":"this needs the token","next":"send it"}"#;
        let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 49\r\nconnection: close\r\n\r\n";
        assert_eq!(body.len(), 49);
        let (api, _asked) = answering(Box::leak(format!("{answer}{body}").into_boxed_str()));
        let error = at(api, None).get::<Value>("/v1/streams").unwrap_err();
        assert_eq!(error.to_string(), "this needs the token: send it");
        let (api, _asked) = answering("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        let error = at(api, None).get::<Value>("/v1/streams").unwrap_err();
        assert!(error.to_string().contains("no Sluicegate"), "{error}");
    }

    #[test]
    fn the_token_is_sent_and_a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "sixteen characters\n").unwrap();
        let (api, asked) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]");
        assert_eq!(at(api, Some(file)).get::<Vec<Value>>("/v1/streams").unwrap().len(), 0);
        assert!(asked.join().unwrap().to_lowercase().contains("authorization: bearer sixteen characters\r\n"));
        let missing = Some(folder.path().join("none"));
        let args = CoreArgs { config: None, api: usual_api(), token_file: missing, json: false };
        assert!(Core::new(&args).err().unwrap().to_string().contains("none: check its permissions"));
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_this_machine() {
        for (listen, expected) in [
            ("0.0.0.0:8410", "127.0.0.1:8410"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.7:8410", "10.0.0.7:8410"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }
}
