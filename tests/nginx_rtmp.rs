//! Cutting publishers off a real nginx with the RTMP module, configured by the example in `deploy/nginx`.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use sluicegate::act::aftermath::Keepers;
use sluicegate::act::outbox::{Bell, Progress, Step, Worker, run};
use sluicegate::act::servers::{Config, Kicked, Kind, MediaServer, NginxRtmp};
use sluicegate::act::{self, Gate};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decision::{Action, Decision, Deny, Outcome, Target, Verdict};
use sluicegate::ledger::{self, Entry, Ledger};
use sluicegate::media_server::{Admission, Hook, HookRequest, Listed};
use sluicegate::metrics::Metrics;
use sluicegate::stream::{Session, StreamId};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const EXAMPLE: &str = include_str!("../deploy/nginx/sluicegate.conf");
const PATIENCE: Duration = Duration::from_secs(20);

/// A running nginx and what Sluicegate knows of it.
struct House {
    nginx: Child,
    rtmp: u16,
    server: Arc<NginxRtmp>,
    gate: Arc<Gate>,
    clock: Clock,
    hooks: mpsc::Receiver<Hook>,
    dir: TempDir,
}

/// nginx as in the example, with ports of its own and `edit` made to its configuration, and hooks answered by a gate.
async fn house(edit: impl FnOnce(String) -> String) -> House {
    let dir = TempDir::new().unwrap();
    let [rtmp, http] = [rig::free_port().unwrap(), rig::free_port().unwrap()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let conf = EXAMPLE
        .replace("listen 1935", &format!("listen 127.0.0.1:{rtmp}"))
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{http}"))
        .replace("127.0.0.1:8410", &listener.local_addr().unwrap().to_string());
    let home = dir.path().display();
    let conf = format!("daemon off;\nuser root;\npid {home}/pid;\nerror_log {home}/error.log;\n{}", edit(conf));
    fs::write(dir.path().join("nginx.conf"), conf).unwrap();
    let nginx =
        Command::new("nginx").arg("-p").arg(dir.path()).args(["-c", "nginx.conf"]).stderr(Stdio::null()).spawn();
    let config = Config {
        pull: format!("rtmp://127.0.0.1:{rtmp}").parse().unwrap(),
        control: format!("http://127.0.0.1:{http}").parse().unwrap(),
        account_param: Some("name".into()),
        key_param: Some("addr".into()),
        ..Config::local("main", Kind::NginxRtmp)
    };
    let server = Arc::new(NginxRtmp::new(&config, &act::Config::default()).unwrap());
    let (gate, clock) = (Arc::new(Gate::default()), Clock::system());
    let (heard, hooks) = mpsc::channel(100);
    tokio::spawn(answer_hooks(listener, server.clone(), gate.clone(), clock, heard));
    let house = House { nginx: nginx.expect("nginx is installed"), rtmp, server, gate, clock, hooks, dir };
    let starts = async {
        while TcpStream::connect(("127.0.0.1", http)).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, starts).await.expect("nginx did not start");
    house
}

async fn answer_hooks(
    listener: TcpListener,
    server: Arc<NginxRtmp>,
    gate: Arc<Gate>,
    clock: Clock,
    heard: mpsc::Sender<Hook>,
) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let mut request = Vec::new();
        let body = loop {
            let read = socket.read_buf(&mut request).await.unwrap();
            let head = request.windows(4).position(|four| four == b"\r\n\r\n");
            let length = String::from_utf8_lossy(&request)
                .to_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if let (Some(head), Some(length)) = (head, length)
                && request.len() >= head + 4 + length
            {
                break request[head + 4..].to_vec();
            }
            assert!(read > 0, "a hook broke off");
        };
        let hook = server.parse_hook(HookRequest { headers: &HeaderMap::new(), body: &body });
        let refused = match &hook {
            Ok(Hook::Publish { session, publisher }) => {
                gate.admit(&session.stream, publisher, clock.now()) == Admission::Refuse
            }
            Ok(_) => false,
            Err(_) => true,
        };
        let status = if refused { "403 Forbidden" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.unwrap();
        if let Ok(hook) = hook {
            heard.send(hook).await.unwrap();
        }
    }
}

impl House {
    /// A publisher of the stream that `path` (with its query) names.
    fn publish(&self, path: &str) -> Publisher {
        self.publish_with(path, &[])
    }

    fn publish_with(&self, path: &str, options: &[&str]) -> Publisher {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10"])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-g", "10", "-f", "flv"])
            .args(options)
            .arg(format!("rtmp://127.0.0.1:{}/live/{path}", self.rtmp))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Publisher(child.expect("ffmpeg is installed"))
    }

    async fn listed(&self) -> Vec<Listed> {
        self.server.list().await.unwrap()
    }

    /// Waits until the server lists `count` publishers.
    async fn wait_for(&self, count: usize) -> Vec<Listed> {
        let appear = async {
            loop {
                let listed = self.listed().await;
                if listed.len() == count {
                    return listed;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let found = timeout(PATIENCE, appear).await;
        if let Ok(found) = found {
            return found;
        }
        panic!("never {count} publishers, but {:?}", self.names().await)
    }

    async fn session(&self, name: &str) -> Session {
        let listed = self.listed().await;
        listed.into_iter().map(|listed| listed.session).find(|session| &*session.stream.name == name).unwrap()
    }

    async fn names(&self) -> BTreeSet<String> {
        self.listed().await.iter().map(|listed| listed.session.stream.name.to_string()).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Not SIGKILL: the master would leave its worker behind.
        Command::new("kill").arg(self.nginx.id().to_string()).status().unwrap();
        self.nginx.wait().unwrap();
    }
}

struct Publisher(Child);

impl Publisher {
    async fn gone(&mut self) {
        let exit = async {
            while self.is_up() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, exit).await.expect("the publisher was never cut off");
    }

    fn is_up(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn cut(session: &Session, decided: Timestamp) -> (Decision, Deny) {
    let decision = Decision { policy: "0".into(), ..Decision::new(session.clone(), Verdict::Cut, "test", decided) };
    let deny = Deny {
        stream: session.stream.clone(),
        target: Target::Name,
        decision: decision.id,
        since: decided,
        until: None,
    };
    (decision, deny)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_refused_cut_off_and_observed_gone_and_the_others_are_left_alone() {
    let mut house = house(|conf| conf).await;
    let ledger = Arc::new(Ledger::open(&ledger::Config { path: house.dir.path().join("ledger.sqlite") }).unwrap());
    let bell = Arc::new(Bell::default());
    let (sender, mut steps) = mpsc::channel(100);
    let (stop, stopped) = watch::channel(false);
    let worker = Worker {
        outbox: ledger.clone(),
        bell: bell.clone(),
        servers: vec![house.server.clone()],
        fallbacks: Arc::default(),
        keepers: Keepers::new(),
        flow: Arc::new(|_| None),
        webhooks: Vec::new(),
        config: act::Config::default(),
        clock: house.clock,
        metrics: Arc::new(Metrics::new().unwrap()),
        observer: Arc::new(move |progress: &Progress<'_>| {
            sender.try_send((progress.step.clone(), progress.at)).unwrap();
        }),
    };
    let running = tokio::spawn(run(worker, stopped));
    let mut innocent = house.publish("innocent");
    house.wait_for(1).await;

    for round in 0..5 {
        let name = format!("guilty{round}");
        let mut guilty = house.publish(&name);
        house.wait_for(2).await;
        let session = house.session(&name).await;
        let (decision, deny) = cut(&session, house.clock.now());
        let actions = vec![(Uuid::now_v7(), Action::Kick { session: session.clone() })];
        let denies = vec![deny.clone()];
        ledger.record(&Entry { denies, actions, ..Entry::from(decision.clone()) }).unwrap();
        house.gate.deny(deny);
        bell.ring();

        let mut story = Vec::new();
        while story.len() < 3 {
            story.push(timeout(PATIENCE, steps.recv()).await.unwrap().unwrap());
        }
        guilty.gone().await;
        let since = |at: Timestamp| at.since(decision.decided).as_millis();
        let [(Step::Asked, asked), (Step::ObservedGone, gone), (Step::Ended(Outcome::Done { detail }), _)] = &story[..]
        else {
            panic!("{story:?}");
        };
        println!(
            "verdict -> asked {} ms -> observed gone {} ms -> publisher's process ended {} ms ({detail})",
            since(*asked),
            since(*gone),
            since(house.clock.now())
        );
        assert!(since(*gone) < 2000);
        assert_eq!(ledger.outcomes(decision.id).unwrap().len(), 1);

        let mut again = house.publish(&name);
        again.gone().await;
        assert_eq!(house.names().await, ["innocent".to_owned()].into(), "nobody comes back under a denied name");
    }
    assert!(innocent.is_up());
    stop.send(true).unwrap();
    running.await.unwrap();

    let mut asked = 0;
    while let Ok(hook) = house.hooks.try_recv() {
        asked += usize::from(matches!(hook, Hook::Publish { .. }));
    }
    assert_eq!(asked, 11, "every one of them asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_can_be_cut_off_whatever_it_is_called() {
    let house = house(|conf| conf).await;
    let hostile = ["a&b", "a", "b", "a%20b", "n#h", "new\nline", "é", "è", "<x>\"y'", "app=live&clientid=1", "+"];
    let mut publishers: Vec<_> = hostile.iter().map(|name| house.publish(name)).collect();
    house.wait_for(hostile.len()).await;
    let mut left: BTreeSet<String> = hostile.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(house.names().await, left, "listed as they were published");

    for (name, publisher) in hostile.iter().zip(&mut publishers) {
        let session = house.session(name).await;
        assert!(house.server.publishes(&session).await.unwrap());
        assert_eq!(house.server.kick(&session).await.unwrap(), Kicked::Dropped, "{name}");
        publisher.gone().await;
        assert!(!house.server.publishes(&session).await.unwrap());
        assert_eq!(house.server.kick(&session).await.unwrap(), Kicked::NoSuchSession, "{name}");
        left.remove(*name);
        assert_eq!(house.names().await, left, "and nobody else with it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_cannot_pass_for_another() {
    let mut house = house(|conf| conf).await;
    let lie = "&clientid=99&name=good&app=other&call=publish_done&addr=9.9.9.9";
    let address = format!("rtmp://127.0.0.1:{}/live?x{lie}", house.rtmp);
    let liar = house.publish_with(
        &format!("evil?x=y{lie}"),
        &["-rtmp_tcurl", &address, "-rtmp_flashver", lie, "-rtmp_swfurl", lie, "-rtmp_pageurl", lie],
    );
    let Some(Hook::Publish { session, publisher }) = timeout(PATIENCE, house.hooks.recv()).await.unwrap() else {
        panic!("no publisher asked")
    };
    assert_eq!(
        (&*session.stream.app, &*session.stream.name, publisher.address.as_deref()),
        ("live", "evil", Some("127.0.0.1"))
    );
    // Who they say they are is looked for behind the server's own fields, which have the same names.
    assert_eq!((publisher.account.as_deref(), publisher.key.as_deref()), (Some("good"), Some("9.9.9.9")));
    assert_eq!(house.wait_for(1).await[0].session, session, "the hook and the list agree");
    drop(liar);
    let done = timeout(PATIENCE, house.hooks.recv()).await.unwrap();
    assert_eq!(done, Some(Hook::PublishDone { session }));

    let good = Session { stream: StreamId::new("main", "live", "good"), id: "1".into() };
    house.gate.deny(cut(&good, house.clock.now()).1);
    house.publish("good?name=other").gone().await;
    assert_eq!(house.names().await, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_number_belongs_to_somebody_else_now_is_gone() {
    let house = house(|conf| conf).await;
    let _somebody = house.publish("somebody");
    let now = house.wait_for(1).await.remove(0).session;
    let then = Session { stream: StreamId::new("main", "live", "else"), id: now.id.clone() };
    assert!(!house.server.publishes(&then).await.unwrap());
    assert!(house.server.publishes(&now).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_server_is_said_with_its_name_and_the_next_step() {
    let session = Session { stream: StreamId::new("main", "live", "secret-name"), id: "1".into() };
    let (stat, control) = ("rtmp_stat all;", "rtmp_control all;");
    for (old, new, list, kick) in [
        (stat, "return 404;", Some("not_found"), None),
        (control, "return 404;", None, Some("not_found")),
        (stat, "return 403;", Some("forbidden"), None),
        (control, "auth_basic x; auth_basic_user_file /dev/null; rtmp_control all;", None, Some("forbidden")),
        (stat, "return 500;", Some("status"), None),
        (stat, "return 307 http://127.0.0.1:9/;", Some("status"), None),
        (stat, "return 200 '<html><body>It works!</body></html>';", Some("garbage"), None),
        (control, "return 200 'It works!';", None, Some("garbage")),
    ] {
        let house = house(|conf| conf.replace(old, new)).await;
        let found = [house.server.list().await.err(), house.server.kick(&session).await.err()];
        assert_eq!(found.each_ref().map(|error| error.as_ref().map(act::ActError::kind)), [list, kick], "{new}");
        for message in found.into_iter().flatten().map(|error| error.to_string()) {
            assert!(message.contains("`main`") && message.contains(": "), "{message}");
            assert!(!message.contains("secret-name"), "{message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_or_silent_is_an_error_within_the_limits() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let common = act::Config { request_timeout: Duration::from_millis(300), ..act::Config::default() };
    let server = |port: u16| {
        let control = format!("http://user:pa55@127.0.0.1:{port}").parse().unwrap();
        NginxRtmp::new(&Config { control, ..Config::local("main", Kind::NginxRtmp) }, &common).unwrap()
    };
    for (port, kind) in [(rig::free_port().unwrap(), "unreachable"), (silent.local_addr().unwrap().port(), "timed_out")]
    {
        let error = timeout(Duration::from_secs(2), server(port).list()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, true));
        let message = error.to_string();
        assert!(message.contains(&format!("127.0.0.1:{port}")) && !message.contains("pa55"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let junk = vec![b'x'; 1 << 16];
    let sending = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n<rtmp>").await.unwrap();
        let mut sent = 0;
        while socket.write_all(&junk).await.is_ok() {
            sent += junk.len();
        }
        sent
    });
    let control = format!("http://127.0.0.1:{port}").parse().unwrap();
    let config = Config { control, ..Config::local("main", Kind::NginxRtmp) };
    let server = NginxRtmp::new(&config, &act::Config::default()).unwrap();
    assert_eq!(server.list().await.unwrap_err().kind(), "garbage");
    assert!(sending.await.unwrap() < 64 << 20, "the connection was closed at the limit");
}
