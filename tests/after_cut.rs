//! What a real nginx leaves behind of a stream that was cut, with HLS and recordings as in life, and how long.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sluicegate::act;
use sluicegate::act::aftermath::{Keeper, Keepers, Shelf};
use sluicegate::act::outbox::{Bell, Progress, Step, Worker, run};
use sluicegate::act::servers::{Config, Kind, MediaServer, NginxRtmp};
use sluicegate::clock::Clock;
use sluicegate::decision::{Action, Decision, Outcome, Verdict};
use sluicegate::ledger::{self, Entry, Ledger};
use sluicegate::metrics::Metrics;
use sluicegate::stream::Session;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const EXAMPLE: &str = include_str!("../deploy/nginx/sluicegate.conf");
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends with SIGTERM: nginx's master would leave its worker behind otherwise.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        self.0.wait().unwrap();
    }
}

fn nginx(home: &Path, rtmp: u16, http: u16) -> Ending {
    let shown = home.display();
    let written = format!(
        "live on; hls on; hls_path {shown}/hls; hls_fragment 1s; record all; record_path {shown}/recordings; record_unique on;"
    );
    let conf = EXAMPLE
        .lines()
        .filter(|line| !line.contains("/hooks/"))
        .collect::<Vec<_>>()
        .join("\n")
        .replace("live on;", &written)
        .replace("listen 1935", &format!("listen 127.0.0.1:{rtmp}"))
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{http}"));
    let conf = format!("daemon off;\nuser root;\npid {shown}/pid;\nerror_log {shown}/error.log;\n{conf}");
    fs::create_dir(home.join("recordings")).unwrap();
    fs::create_dir(home.join("hls")).unwrap();
    fs::write(home.join("nginx.conf"), conf).unwrap();
    let child = Command::new("nginx").arg("-p").arg(home).args(["-c", "nginx.conf"]).stderr(Stdio::null()).spawn();
    Ending(child.expect("nginx is installed"))
}

fn publish(rtmp: u16, name: &str) -> Ending {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-g", "10", "-f", "flv"])
        .arg(format!("rtmp://127.0.0.1:{rtmp}/live/{name}"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ending(child.expect("ffmpeg is installed"))
}

fn files(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Waits until `ready` gives something.
async fn wait<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let there = async {
        loop {
            if let Some(found) = ready().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn session(server: &NginxRtmp, name: &str) -> Session {
    let listed = async || {
        let listed = server.list().await.ok()?;
        listed.into_iter().map(|listed| listed.session).find(|session| &*session.stream.name == name)
    };
    wait("the publisher to be listed", listed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_leaves_of_a_cut_stream_is_out_of_reach_and_comes_back() {
    let dir = TempDir::new().unwrap();
    let home = dir.path();
    let [rtmp, http] = [rig::free_port().unwrap(), rig::free_port().unwrap()];
    let _nginx = nginx(home, rtmp, http);
    let mut config = Config {
        control: format!("http://127.0.0.1:{http}").parse().unwrap(),
        ..Config::local("main", Kind::NginxRtmp)
    };
    config.after_cut.hls = Some(home.join("hls"));
    config.after_cut.recordings = Some(home.join("recordings"));
    config.after_cut.quarantine = home.join("quarantine");
    let server = Arc::new(NginxRtmp::new(&config, &act::Config::default()).unwrap());
    let clock = Clock::system();
    let since = clock.now();
    wait("nginx to answer", async || server.list().await.ok()).await;
    let (_guilty, _innocent) = (publish(rtmp, "cam1"), publish(rtmp, "cam10"));
    let guilty = session(&server, "cam1").await;
    session(&server, "cam10").await;
    let hls = home.join("hls");
    let two_segments = |name: &str| {
        let files = files(&hls);
        (files.contains(&format!("{name}.m3u8")) && files.contains(&format!("{name}-1.ts"))).then_some(())
    };
    wait("playlists and segments", async || two_segments("cam1").and_then(|()| two_segments("cam10"))).await;

    let ledger = Arc::new(Ledger::open(&ledger::Config { path: home.join("ledger.sqlite") }).unwrap());
    let (bell, metrics) = (Arc::new(Bell::default()), Arc::new(Metrics::new().unwrap()));
    let (sender, mut ended) = mpsc::channel(100);
    let (stop, stopped) = watch::channel(false);
    let worker = Worker {
        outbox: ledger.clone(),
        bell: bell.clone(),
        servers: vec![server.clone()],
        fallbacks: Arc::default(),
        keepers: Keepers::from([("main".into(), Keeper::new(&config).unwrap())]),
        flow: Arc::new(|_| None),
        webhooks: Vec::new(),
        config: act::Config::default(),
        clock,
        metrics: metrics.clone(),
        observer: Arc::new(move |progress: &Progress<'_>| {
            if let (Step::Ended(outcome), Action::Quarantine { .. }) = (&progress.step, &progress.job.action) {
                sender.try_send(outcome.clone()).unwrap();
            }
        }),
    };
    let running = tokio::spawn(run(worker, stopped));
    let decision = Decision::new(guilty.clone(), Verdict::Cut, "test", clock.now());
    let id = decision.id;
    let actions = vec![
        (Uuid::now_v7(), Action::Kick { session: guilty.clone() }),
        (Uuid::now_v7(), Action::Quarantine { session: guilty, since }),
    ];
    ledger.record(&Entry { actions, ..Entry::from(decision) }).unwrap();
    bell.ring();
    let outcome = timeout(PATIENCE, ended.recv()).await.expect("the tail ends").unwrap();
    stop.send(true).unwrap();
    running.await.unwrap();

    let Outcome::Done { detail } = &outcome else { panic!("{outcome:?}") };
    println!("{detail}");
    let of = |folder: &str, stem: &str| -> Vec<String> {
        files(&home.join(folder)).into_iter().filter(|file| file.starts_with(stem)).collect()
    };
    for folder in ["hls", "recordings"] {
        assert_eq!(of(folder, "cam1-").len() + of(folder, "cam1.").len(), 0, "nothing of it is left in {folder}");
        assert!(!of(folder, "cam10").is_empty(), "and everything of the other in {folder}");
    }
    assert!(server.list().await.unwrap().iter().any(|listed| &*listed.session.stream.name == "cam10"));
    let text = metrics.render().unwrap();
    assert!(text.contains("sluicegate_cut_tail_seconds_count{server=\"main\"} 1"), "the tail is measured");

    let mut shelf = Shelf::open(&home.join("quarantine"), id).unwrap().unwrap();
    let from: BTreeSet<PathBuf> = shelf.files().into_iter().map(|kept| kept.from.clone()).collect();
    let restored = shelf.restore(clock.now()).unwrap();
    assert_eq!(restored.back.iter().cloned().collect::<BTreeSet<_>>(), from, "each file once, its last version");
    assert!(from.iter().all(|path| path.is_file()));
    assert!(from.contains(&home.join("hls/cam1.m3u8")) && of("recordings", "cam1-").len() == 1, "{from:?}");
}
