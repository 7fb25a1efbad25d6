//! Cutting publishers off a real node-media-server, configured by the example in `deploy/node-media-server`: kicks and
//! refusals are advisory there, and what they are worth with a publisher who heeds them is shown here.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::path::Path;
use std::time::Duration;

use reqwest::header::HeaderMap;
use rig::process::{Output, Process};
use sluicegate::act;
use sluicegate::act::servers::{Config, Kicked, Kind, MediaServer, NodeMediaServer};
use sluicegate::clock::Clock;
use sluicegate::media_server::{Admission, Hook, HookRequest, Listed};
use sluicegate::source::{self, SourceEvent, Sources};
use sluicegate::stream::{Session, StreamId};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const EXAMPLE: &str = include_str!("../deploy/node-media-server/config.json");
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server and what Sluicegate knows of it.
struct House {
    _server: Process,
    adapter: std::sync::Arc<NodeMediaServer>,
    rtmp: u16,
    http: u16,
    hooks: mpsc::Receiver<Hook>,
    folder: TempDir,
}

/// The server as in the example, with ports of its own. Who asks for a stream called `denied` is refused.
async fn house() -> House {
    let folder = TempDir::new().unwrap();
    let [rtmp, http] = [rig::free_port().unwrap(), rig::free_port().unwrap()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let conf = EXAMPLE
        .replace("0.0.0.0", "127.0.0.1")
        .replace(": 1935", &format!(": {rtmp}"))
        .replace(": 8000", &format!(": {http}"))
        .replace("127.0.0.1:8410", &listener.local_addr().unwrap().to_string())
        .replace("choose a password", "letmein");
    let file = folder.path().join("config.json");
    std::fs::write(&file, conf).unwrap();
    let app = rig::asset("node/node_modules/node-media-server/bin/app.js").unwrap();
    let kept = folder.path().join("data");
    let args = [app.as_path(), Path::new("--config"), &file, Path::new("--data-path"), &kept];
    let args = args.map(|arg| arg.display().to_string());
    let server = Process::start(Path::new("node"), &args, &folder.path().join("log"), Output::Logged).unwrap();
    let adapter =
        std::sync::Arc::new(NodeMediaServer::new(&config(http, "admin:letmein"), &act::Config::default()).unwrap());
    let (heard, hooks) = mpsc::channel(100);
    tokio::spawn(answer_hooks(listener, adapter.clone(), heard));
    let starts = async {
        while TcpStream::connect(("127.0.0.1", http)).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, starts).await.expect("node-media-server did not start");
    House { _server: server, adapter, rtmp, http, hooks, folder }
}

fn config(http: u16, user: &str) -> Config {
    Config {
        pull: format!("http://127.0.0.1:{http}").parse().unwrap(),
        control: format!("http://{user}@127.0.0.1:{http}").parse().unwrap(),
        ..Config::local("main", Kind::NodeMediaServer)
    }
}

async fn answer_hooks(listener: TcpListener, adapter: std::sync::Arc<NodeMediaServer>, heard: mpsc::Sender<Hook>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let mut request = Vec::new();
        let body = loop {
            let read = socket.read_buf(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request).into_owned();
            let length: Option<usize> =
                text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if let (Some((_, body)), Some(length)) = (text.split_once("\r\n\r\n"), length)
                && body.len() >= length
            {
                break body.to_owned();
            }
            assert!(read > 0, "a hook broke off");
        };
        let hook = adapter.parse_hook(HookRequest { headers: &HeaderMap::new(), body: body.as_bytes() }).unwrap();
        let denied = match &hook {
            Hook::Ask { stream, .. } => &*stream.name == "denied",
            Hook::Begun { session, .. } => &*session.stream.name == "denied",
            _ => false,
        };
        let reply = adapter.reply(&hook, if denied { Admission::Refuse } else { Admission::Allow });
        let length = reply.body.len();
        let head = format!("HTTP/1.1 {} Said\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n", reply.status);
        socket.write_all(format!("{head}{}", reply.body).as_bytes()).await.unwrap();
        heard.send(hook).await.unwrap();
    }
}

impl House {
    fn publish(&self, name: &str) -> Process {
        let address = format!("rtmp://127.0.0.1:{}/live/{name}", self.rtmp);
        let args = "-v error -nostdin -re -f lavfi -i testsrc=size=160x120:rate=10 -c:v libx264 -preset ultrafast \
                    -threads 1 -g 10 -f flv";
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).chain([address]).collect();
        let log = self.folder.path().join(format!("{}.log", name.split('?').next().unwrap()));
        Process::start(Path::new("ffmpeg"), &args, &log, Output::Logged).unwrap()
    }

    /// Waits until the server lists `count` publishers.
    async fn wait_for(&self, count: usize) -> Vec<Listed> {
        let appear = async {
            loop {
                let listed = self.adapter.list().await.unwrap();
                if listed.len() == count {
                    return listed;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, appear).await.expect("as many publishers as were waited for")
    }

    async fn hook(&mut self, mut wanted: impl FnMut(&Hook) -> bool) -> Hook {
        let heard = async {
            loop {
                let hook = self.hooks.recv().await.unwrap();
                if wanted(&hook) {
                    return hook;
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("a hook that was waited for")
    }
}

async fn gone(mut publisher: Process) {
    let ends = async {
        while publisher.is_running() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, ends).await.expect("the publisher still runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_announced_listed_cut_off_and_the_others_are_left_alone() {
    let mut house = house().await;
    let mut innocent = house.publish("innocent");
    house.wait_for(1).await;
    let guilty = house.publish("guilty?name=good&app=other&id=x");
    let begun =
        house.hook(|hook| matches!(hook, Hook::Begun { session, .. } if &*session.stream.name != "innocent")).await;
    let listed = house.wait_for(2).await;
    let found = listed.iter().find(|one| &*one.session.stream.name == "guilty").unwrap();
    assert!(
        matches!(&begun, Hook::Begun { session, .. } if *session == found.session),
        "the hook and the list agree: {begun:?}"
    );
    assert_eq!(found.publisher.address.as_deref(), Some("127.0.0.1"));

    let (session, clock) = (found.session.clone(), Clock::system());
    assert!(house.adapter.publishes(&session).await.unwrap());
    let asked = clock.now();
    assert_eq!(house.adapter.kick(&session).await.unwrap(), Kicked::Dropped);
    gone(guilty).await;
    println!("kick -> publisher's process ended {} ms", clock.now().since(asked).as_millis());
    house.wait_for(1).await;
    assert!(!house.adapter.publishes(&session).await.unwrap(), "kept for its return, and off the air");
    assert_eq!(house.adapter.kick(&session).await.unwrap(), Kicked::NoSuchSession);
    let elsewhere = Session { stream: StreamId::new("main", "live", "innocent"), id: session.id };
    assert!(!house.adapter.publishes(&elsewhere).await.unwrap());
    assert!(innocent.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publisher_who_heeds_it_leaves() {
    let mut house = house().await;
    let denied = house.publish("denied");
    house.hook(|hook| matches!(hook, Hook::Ask { stream, .. } if &*stream.name == "denied")).await;
    gone(denied).await;
    house.wait_for(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_pulled_over_http_flv() {
    let house = house().await;
    let _publisher = house.publish("cam1");
    let session = house.wait_for(1).await.remove(0).session;
    let sources = Sources::new(source::Config::default(), Clock::system()).unwrap();
    let (sender, mut events) = mpsc::channel(1000);
    let _source = sources
        .add(house.adapter.pull(&session.stream).unwrap(), Box::new(move |event| drop(sender.try_send(event))))
        .unwrap();
    let arrive = async {
        loop {
            match events.recv().await.unwrap() {
                SourceEvent::Unit(unit) if unit.keyframe => return,
                SourceEvent::Reconnecting { error, .. } => assert!(error.is_none(), "{error:?}"),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, arrive).await.expect("a keyframe");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_and_does_not_lock_the_account() {
    let house = house().await;
    let wrong = NodeMediaServer::new(&config(house.http, "admin:wrong"), &act::Config::default()).unwrap();
    for _ in 0..10 {
        let error = wrong.list().await.unwrap_err();
        assert_eq!(error.kind(), "forbidden");
        assert!(error.to_string().contains("`main`") && !error.to_string().contains("wrong"), "{error}");
    }
    assert_eq!(house.adapter.list().await.unwrap(), []);
}
