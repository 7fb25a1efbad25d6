//! What `sluicegate doctor` looks at. Nothing here changes the machine, but for a file written and removed at once.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Check;
use crate::act::servers;
use crate::act::webhook::{self, Webhook};
use crate::cli::model::fetch_command;
use crate::config::Config;
use crate::model::{self, Manifest, ModelError, Runtime, WhenBroken};
use crate::{decode, source};

const PATIENCE: Duration = Duration::from_secs(2);
const ROOM: u64 = 1 << 30;

/// Looks at everything that `config` needs, which was read from `file` or else is what is built in.
pub(super) fn all(config: &Config, file: Option<&Path>) -> Vec<Check> {
    let mut checks = gstreamer(config);
    checks.push(descriptors(config));
    checks.extend(models(&config.model));
    checks.push(sandbox(config, file));
    checks.push(folder("banks.dir", &config.banks.dir));
    checks.push(folder("ledger.path", config.ledger.path.parent().unwrap_or(Path::new("."))));
    checks.push(address(config));
    checks.extend(config.server.iter().flat_map(server));
    checks.extend(config.server.iter().filter_map(|server| hooks(server, config)));
    checks.extend(config.webhook.iter().map(|webhook| self::webhook(webhook, config)));
    checks
}

const WHAT: &str = "inspector sandbox";
const NEXT: &str =
    "Landlock needs Linux 5.13, and 6.12 to be whole; seccomp needs CONFIG_SECCOMP_FILTER; a container may forbid both";

/// What keeps inspector processes from doing harm, as one of them finds it.
fn sandbox(config: &Config, file: Option<&Path>) -> Check {
    if config.inspector.processes == Some(0) {
        return Check::well(WHAT, "none: the core inspects by itself");
    }
    let mut command = Command::new(crate::cli::ITSELF);
    command.args(["inspector", "--self-check"]);
    if let Some(file) = file {
        command.arg("--config").arg(file);
    }
    let asked = command.stdin(Stdio::null()).output();
    let found = asked.ok().and_then(|told| serde_json::from_slice::<serde_json::Value>(&told.stdout).ok());
    let Some(found) = found else { return Check::missing(WHAT, "it cannot be tried", NEXT) };
    sandboxed(&found)
}

/// What an inspector's account of its sandbox means.
fn sandboxed(found: &serde_json::Value) -> Check {
    let texts = |of: &str| -> Vec<String> {
        let all = found[of].as_array().into_iter().flatten();
        all.filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let tried = found["tried"].as_array().cloned().unwrap_or_default();
    let word = |pair: &serde_json::Value| pair[0].as_str().map(str::to_owned);
    let open: Vec<String> = tried.iter().filter(|pair| pair[1] != true).filter_map(word).collect();
    if !open.is_empty() {
        return Check::missing(WHAT, format!("an inspector could: {}", open.join(", ")), NEXT);
    }
    let lacks = texts("lacks");
    if !lacks.is_empty() {
        return Check::missing(WHAT, lacks.join("; "), NEXT);
    }
    let unread = texts("unread");
    if !unread.is_empty() {
        const LINKS: &str = "put them, not links to them, where the configuration names them";
        return Check::missing(WHAT, format!("an inspector cannot read {}", unread.join(", ")), LINKS);
    }
    let refused: Vec<String> = tried.iter().filter_map(word).collect();
    Check::well(WHAT, format!("refused: {}", refused.join(", ")))
}

/// Whether a webhook's secret can be read and used. Nothing is sent.
fn webhook(webhook: &webhook::Config, config: &Config) -> Check {
    let what = format!("webhook {}", webhook.name);
    match Webhook::new(webhook, &config.act) {
        Ok(_) => Check::well(what, "its secret can be used"),
        Err(error) => Check::missing(what, error.to_string(), "put the secret where the configuration says it is"),
    }
}

fn gstreamer(config: &Config) -> Vec<Check> {
    let elements = source::check(&config.source).map_err(anyhow::Error::from);
    let decoders = decode::check().map_err(anyhow::Error::from);
    let missing = match elements.and_then(|elements| Ok([elements, decoders?].concat())) {
        Ok(missing) => missing.into_iter().collect::<BTreeSet<_>>(),
        Err(error) => return vec![Check::missing("gstreamer", format!("{error:#}"), "mend that, then ask again")],
    };
    if missing.is_empty() {
        return vec![Check::well("gstreamer", "every element and decoder is installed")];
    }
    let missing = missing.into_iter().map(|(element, package)| {
        Check::missing(format!("gstreamer element {element}"), "not installed", format!("apt install {package}"))
    });
    missing.collect()
}

/// Whether as many streams as the configuration allows may be pulled at once.
fn descriptors(config: &Config) -> Check {
    let streams = config.sample.max_streams;
    match source::room_for(streams) {
        source::Room::Enough(limit) => {
            Check::well("open files", format!("{limit} allowed, enough for {streams} streams"))
        }
        source::Room::Short { limit, needed } => Check::missing(
            "open files",
            format!("{limit} allowed, and {streams} streams need {needed}"),
            "raise it (`ulimit -Hn`, `LimitNOFILE` of the unit), or lower `sample.max_streams`",
        ),
    }
}

/// The runtime, then each model as `run` would load it, and what it runs on.
fn models(config: &model::Config) -> Vec<Check> {
    const RUNTIME: &str = "`make setup` fetches it, checked by its SHA-256";
    if config.load.is_empty() {
        return vec![Check::well("models", "none is configured, no runtime is needed")];
    }
    let runtime = match model::find_runtime(config).and_then(|path| Runtime::load(&path)) {
        Ok(runtime) => runtime,
        Err(error) => return vec![Check::missing("onnx runtime", error.to_string(), RUNTIME)],
    };
    let mut checks = vec![Check::well("onnx runtime", runtime.path().display().to_string())];
    // Whatever is done about a broken model when the house starts, each is looked at here.
    let all = model::Config { when_broken: WhenBroken::GoOn, ..config.clone() };
    let opened = match model::open(&all) {
        Ok(opened) => opened,
        Err(error @ ModelError::Provider { .. }) => {
            checks.push(Check::missing("model.require_provider", error.to_string(), "see docs/models.md on providers"));
            return checks;
        }
        Err(error) => {
            let key = if error.kind() == "calibration" { "model.calibrations" } else { "model.load" };
            checks.push(Check::missing(key, error.to_string(), format!("correct `{key}`")));
            return checks;
        }
    };
    for session in &opened.sessions {
        let placement = session.placement();
        checks.extend(session.entries().into_iter().map(|(model, digest)| {
            let (what, detail) = (format!("model {model}"), format!("loads on {placement}, sha256 {digest}"));
            match &placement.instead_of {
                None => Check::well(what, detail),
                Some(_) => Check::missing(what, detail, "install what the provider needs: see docs/models.md"),
            }
        }));
    }
    checks.extend(opened.broken.iter().map(|broken| {
        let model = &broken.model;
        let next = match broken.error.kind() {
            "file_missing" | "digest" if Manifest::shipped().any(|name| *name == **model) => fetch_command(model),
            "calibration" => "mend that, or take it out of `model.calibrations`".to_owned(),
            _ => "mend that, or take it out of `model.load`".to_owned(),
        };
        Check::missing(format!("model {model}"), broken.error.to_string(), next)
    }));
    checks
}

/// Whether a media server can be reached where streams are pulled from, and where it is told; and what is known of its
/// kind.
fn server(server: &servers::Config) -> Vec<Check> {
    let facts = server.kind.facts();
    let (tested, kick, down) = (facts.tested.sentence(), facts.kick.sentence(), facts.when_down.sentence());
    let mut checks =
        vec![Check::well(format!("server {} kind", server.name), format!("{}: {tested}; {kick}; {down}", facts.word))];
    let (what, place) = (format!("server {} pull", server.name), server.pulled_from());
    checks.push(match server.pull.scheme() {
        "file" if Path::new(&place).is_dir() => Check::well(what, place),
        "file" => Check::missing(what, format!("{place} is no folder"), "correct `pull` in its [[server]]"),
        "srt" => Check::well(what, format!("{place}, over SRT, which cannot be asked without a stream")),
        _ => reachable(&what, &place),
    });
    let port = server.control.port_or_known_default().unwrap_or(80);
    let control = format!("{}:{port}", server.control.host_str().unwrap_or_default());
    checks.push(reachable(&format!("server {} control", server.name), &control));
    checks
}

/// Whether somebody else than the media server could send its hooks.
fn hooks(server: &servers::Config, config: &Config) -> Option<Check> {
    let what = format!("server {} hooks", server.name);
    if server.kind.facts().hooks == servers::Hooks::None {
        return None;
    }
    let open = !config.api.listen.ip().is_loopback();
    Some(match (server.knows_hooks(), open) {
        (true, _) => Check::well(what, "known by their token or signature"),
        (false, false) => Check::well(what, "not known by a token: whoever is on this machine can send them"),
        (false, true) => Check::missing(
            what,
            "not known by a token, and other machines reach `api.listen`: whoever does can pose as the server",
            "set `hook_token` in its [[server]], and let its hooks end in it: docs/servers.md",
        ),
    })
}

/// Whether the address of the HTTP interface is free.
fn address(config: &Config) -> Check {
    let listen = config.api.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Check::well("api.listen", format!("{listen} is free")),
        Err(error) => Check::missing(
            "api.listen",
            format!("{listen} cannot be listened on: {error}"),
            "stop what listens there (a Sluicegate that runs already?), or change `api.listen`",
        ),
    }
}

/// Whether files can be made in `folder`, and how much room there is.
fn folder(what: &str, folder: &Path) -> Check {
    let shown = folder.display();
    let probe = folder.join(format!(".sluicegate-doctor-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).open(&probe).and_then(|_| fs::remove_file(&probe));
    if let Err(error) = written {
        let next = format!("sudo install -d -o \"$USER\" {shown}, or change the path in the configuration");
        return Check::missing(what, format!("cannot write in {shown}: {error}"), next);
    }
    match rustix::fs::statvfs(folder) {
        Err(error) => Check::missing(what, format!("cannot ask {shown} for its room: {error}"), "see the system's log"),
        Ok(disk) => room(what, &shown.to_string(), disk.f_bavail.saturating_mul(disk.f_frsize)),
    }
}

fn room(what: &str, shown: &str, free: u64) -> Check {
    let detail = format!("{shown} is writable, {} MiB free", free >> 20);
    if free < ROOM {
        Check::missing(what, detail, "make room: 1 GiB or more should be free")
    } else {
        Check::well(what, detail)
    }
}

/// Whether something accepts connections at `host:port`.
fn reachable(what: &str, address: &str) -> Check {
    let connected = connect(address);
    match connected {
        Ok(()) => Check::well(what, format!("{address} accepts connections")),
        Err(error) => Check::missing(
            what,
            format!("{address} does not: {error}"),
            "start the media server, or correct its address in the configuration",
        ),
    }
}

fn connect(address: &str) -> io::Result<()> {
    let mut refused = io::Error::other("the name has no address");
    for at in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&at, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::State;

    #[test]
    fn a_folder_is_well_when_a_file_can_be_made_in_it() {
        let there = tempfile::tempdir().unwrap();
        assert_ne!(folder("x", there.path()).detail, "");
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0, "the probe was left behind");
        let nowhere = folder("x", &there.path().join("nowhere"));
        assert_eq!(nowhere.state, State::Missing);
        assert!(nowhere.next.unwrap().contains("nowhere"));
    }

    #[test]
    fn a_sandbox_is_well_when_it_is_whole_and_lets_an_inspector_work() {
        for (lacks, refused, unread, state, says) in [
            ("[]", true, "[]", State::Well, "refused: run a program"),
            ("[]", false, "[]", State::Missing, "an inspector could: run a program"),
            (r#"["seccomp cannot be used"]"#, true, "[]", State::Missing, "seccomp cannot be used"),
            ("[]", true, r#"["/banks/one"]"#, State::Missing, "an inspector cannot read /banks/one"),
        ] {
            let told = format!(r#"{{"lacks": {lacks}, "tried": [["run a program", {refused}]], "unread": {unread}}}"#);
            let check = sandboxed(&serde_json::from_str(&told).unwrap());
            assert_eq!((check.state, &*check.detail), (state, says));
        }
    }

    #[test]
    fn hooks_that_anybody_could_send_are_not_well_where_others_reach_them() {
        for (section, listen, state) in [
            ("kind = 'srs'", "127.0.0.1:1", Some(State::Well)),
            ("kind = 'srs'", "0.0.0.0:1", Some(State::Missing)),
            ("kind = 'srs'\nhook_token = '0123456789abcdef'", "0.0.0.0:1", Some(State::Well)),
            ("kind = 'oven-media-engine'\nhook_secret = 'x'", "0.0.0.0:1", Some(State::Well)),
            ("kind = 'livekit'", "0.0.0.0:1", Some(State::Well)),
            ("kind = 'aws-ivs'", "0.0.0.0:1", None),
        ] {
            let server: servers::Config = toml::from_str(&format!("name = 'main'\n{section}")).unwrap();
            let api = crate::api::Config { listen: listen.parse().unwrap(), ..Default::default() };
            let found = hooks(&server, &Config { api, ..Config::default() });
            assert_eq!(found.map(|check| check.state), state, "{section} {listen}");
        }
    }

    #[test]
    fn what_is_to_be_done_about_a_model_is_what_would_mend_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let with = |load: &str| model::Config {
            load: vec![load.to_owned()],
            runtime: Some(root.join("assets/runtime/libonnxruntime.so")),
            assets: Some(folder.path().to_owned()),
            ..model::Config::default()
        };
        let calibrated = model::Config { calibrations: vec!["/nowhere.toml".into()], ..with("safety") };
        for (config, what, next) in [
            (with("safety"), "model safety", "sluicegate model fetch safety"),
            (with("sscd"), "model sscd", "sluicegate model fetch sscd --accept-licence"),
            (calibrated, "model.calibrations", "correct `model.calibrations`"),
        ] {
            let checks = models(&config);
            assert_eq!((&*checks[0].what, checks[0].state), ("onnx runtime", State::Well), "{}", checks[0].detail);
            assert_eq!((&*checks[1].what, checks[1].next.as_deref()), (what, Some(next)), "{}", checks[1].detail);
        }
    }

    #[test]
    fn a_full_disk_is_not_well() {
        assert_eq!(room("x", "/", ROOM).state, State::Well);
        assert_eq!(room("x", "/", ROOM - 1).state, State::Missing);
    }

    #[test]
    fn an_address_in_use_and_one_that_nobody_listens_on_are_both_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let config = Config { api: crate::api::Config { listen: at, ..Default::default() }, ..Config::default() };
        assert_eq!(address(&config).state, State::Missing);
        assert_eq!(reachable("x", &at.to_string()).state, State::Well);
        drop(listener);
        assert_eq!(address(&config).state, State::Well);
        assert_eq!(reachable("x", &at.to_string()).state, State::Missing);
    }
}
