//! What people order of a running Sluicegate, over the command line: on a real nginx-rtmp with real publishers, and on a
//! disk that is full.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rig::clips;
use rig::events::is;
use rig::nginx::Nginx;
use rig::process::{Output, Process};
use rig::publisher::{Publisher, Times};
use rig::sluicegate::{POLICY, Sluicegate};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const WHY: [&str; 4] = ["--reason", "court order", "--by", "ann"];

/// nginx and a Sluicegate beside it that knows the banked clip, not started yet.
fn beside_nginx() -> (Nginx, Sluicegate) {
    let sluicegate = Sluicegate::prepare().unwrap();
    let nginx = Nginx::start(Some(&sluicegate.hook())).unwrap();
    sluicegate.configure(&nginx, POLICY, "").unwrap();
    sluicegate.command(&["bank", "add", "demo", &clips::banked().unwrap().display().to_string()]).unwrap();
    (nginx, sluicegate)
}

fn publish(nginx: &Nginx, clip: &Path, name: &str) -> Publisher {
    Publisher::start(clip, &format!("{}/live/{name}", nginx.rtmp()), Times::Forever).unwrap()
}

/// Orders `verdict` on a stream, and gives what the core made of it, or what it said.
fn order(sluicegate: &Sluicegate, verdict: &str, name: &str) -> Result<Value, String> {
    let stream = format!("main/live/{name}");
    let args = [&["decisions", verdict, &stream, "--json"], WHY.as_slice()].concat();
    let said = sluicegate.command(&args).map_err(|error| error.to_string())?;
    let said: Value = serde_json::from_str(&said).unwrap();
    Ok(said["results"][0].clone())
}

fn watched(sluicegate: &Sluicegate, name: &str) {
    let whole = format!("main/live/{name}");
    rig::until("the stream to be watched", PATIENCE, || {
        let streams = sluicegate.get("/v1/streams").ok()?;
        streams.as_array()?.iter().any(|stream| stream["stream"] == *whole).then_some(())
    })
    .unwrap();
}

fn gone(nginx: &Nginx, name: &str) {
    rig::until("the publisher to be gone", PATIENCE, || nginx.publisher(name).is_none().then_some(())).unwrap();
}

#[test]
fn who_is_cut_by_a_person_is_refused_until_a_person_lets_go() {
    let (nginx, mut sluicegate) = beside_nginx();
    sluicegate.start().unwrap();
    let clip = clips::innocent().unwrap();
    let mut publisher = publish(&nginx, &clip, "show");
    watched(&sluicegate, "show");

    let cut = order(&sluicegate, "cut", "show").unwrap();
    gone(&nginx, "show");
    assert!(!publisher.wait(PATIENCE).unwrap().success());
    let mut again = publish(&nginx, &clip, "show");
    assert!(!again.wait(PATIENCE).unwrap().success(), "let in again");

    let id = cut["id"].as_str().unwrap();
    let shown = sluicegate.command(&["decisions", "show", id]).unwrap();
    assert!(shown.contains("by ann: court order"), "{shown}");
    let release = [["decisions", "release", id].as_slice(), &WHY].concat();
    sluicegate.command(&release).unwrap();
    assert!(sluicegate.command(&release).unwrap_err().to_string().contains("nothing of that decision stands"));
    let _third = publish(&nginx, &clip, "show");
    watched(&sluicegate, "show");

    // Nobody publishes it: the return is refused all the same.
    let ban = order(&sluicegate, "ban", "absent").unwrap();
    assert_eq!(ban["session"]["id"], "");
    let mut absent = publish(&nginx, &clip, "absent");
    assert!(!absent.wait(PATIENCE).unwrap().success(), "let in");
    assert!(order(&sluicegate, "cut", "").unwrap_err().contains("server/app/name"));
    assert_eq!(sluicegate.get("/v1/breaker").unwrap()["open"], false);
}

#[test]
fn a_cut_is_reproduced_from_what_was_recorded_with_it() {
    let (nginx, mut sluicegate) = beside_nginx();
    sluicegate.start().unwrap();
    let events = sluicegate.events().unwrap();
    let _publisher = publish(&nginx, &clips::banked().unwrap(), "copy");
    let cut = |event: &Value| is(event, "verdict", "copy") && event["verdict"] == "cut";
    let (_, verdict) = events.wait(0, "a cut", PATIENCE, cut).unwrap();
    let id = verdict["decision"].as_str().unwrap();

    let said = sluicegate.command(&["replay", id]).unwrap();
    assert!(said.starts_with("reproduced: cut by the rule `known-content`"), "{said}");
    let milder = sluicegate.folder().join("milder.toml");
    fs::write(&milder, POLICY.replace("\"cut\"", "\"hold\"")).unwrap();
    let said = sluicegate.command(&["replay", id, "--policy", &milder.display().to_string()]).unwrap();
    assert!(said.contains("hold by the rule `known-content`") && said.contains("it was cut"), "{said}");
}

/// A disk of its own for the ledger, as large as a stamp.
struct SmallDisk {
    sluicegate: Process,
    /// As this process sees it.
    ballast: PathBuf,
}

/// As somebody who may mount in a namespace of their own.
const ALONE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

impl SmallDisk {
    /// Starts the Sluicegate with its ledger there; `None` where this machine lets nobody mount anything.
    fn start(sluicegate: &Sluicegate) -> Option<Self> {
        if !Command::new("unshare").args(ALONE).arg("true").status().is_ok_and(|status| status.success()) {
            return None;
        }
        let disk = sluicegate.folder().join("disk");
        fs::create_dir(&disk).unwrap();
        let ledger = sluicegate.folder().join("ledger.sqlite").display().to_string();
        sluicegate.change_configuration(&ledger, &disk.join("ledger.sqlite").display().to_string()).unwrap();
        let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" && exec \"$2\" run --config \"$3\"";
        let binary = env!("CARGO_BIN_EXE_sluicegate").to_owned();
        let parts = [disk.display().to_string(), binary, sluicegate.configuration().display().to_string()];
        let args =
            ALONE.into_iter().chain(["sh", "-c", script, "sh"]).map(String::from).chain(parts).collect::<Vec<_>>();
        let log = sluicegate.folder().join("sluicegate.log");
        let process = Process::start(Path::new("unshare"), &args, &log, Output::Logged).unwrap();
        let ready = || sluicegate.get("/v1/streams").ok().map(drop);
        rig::until("sluicegate to be ready", PATIENCE, ready).unwrap();
        let ballast = PathBuf::from(format!("/proc/{}/root{}/ballast", process.id(), disk.display()));
        Some(Self { sluicegate: process, ballast })
    }

    fn fill(&self) {
        let mut ballast = OpenOptions::new().create(true).append(true).open(&self.ballast).unwrap();
        for size in [65_536, 4096, 512] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(&self.ballast).unwrap();
    }
}

#[test]
fn what_is_decided_while_the_disk_is_full_is_done_once_there_is_room_and_only_once() {
    let (nginx, sluicegate) = beside_nginx();
    let Some(mut disk) = SmallDisk::start(&sluicegate) else {
        // Containers rarely permit it. What the ledger and the judge do about a full disk is tested beside them, anywhere.
        assert!(std::env::var_os("SLUICEGATE_TEST_SMALL_DISK").is_none(), "nobody may mount a small disk here");
        return eprintln!("nobody may mount a small disk here: nothing was tested");
    };
    let clip = clips::innocent().unwrap();
    let mut publisher = publish(&nginx, &clip, "show");
    watched(&sluicegate, "show");
    let session = nginx.publisher("show");
    disk.fill();
    // The first may still find room in what the ledger has taken already.
    let mut ordered = 0;
    let said = rig::until("the disk to be full", PATIENCE, || {
        ordered += 1;
        order(&sluicegate, "ban", &format!("absent{ordered}")).err()
    })
    .unwrap();
    assert!(said.contains("it is decided") && said.contains("do not order it again"), "{said}");
    assert!(order(&sluicegate, "cut", "show").is_err());
    ordered += 1;
    assert!(sluicegate.metric("sluicegate_decisions_unrecorded").unwrap() >= 2.0);
    assert_eq!(nginx.publisher("show"), session, "nothing is done that is not recorded");
    assert!(publisher.is_running());

    disk.make_room();
    gone(&nginx, "show");
    assert!(!publisher.wait(PATIENCE).unwrap().success());
    rig::until("all to be recorded", PATIENCE, || {
        (sluicegate.metric("sluicegate_decisions_unrecorded").ok()? < 0.5).then_some(())
    })
    .unwrap();
    let decisions = sluicegate.get("/v1/decisions").unwrap();
    assert_eq!(decisions.as_array().unwrap().len(), ordered, "{decisions}");
    assert_eq!(sluicegate.get("/v1/denies").unwrap().as_array().unwrap().len(), ordered);
    let kicked = rig::until("the kick to be finished", PATIENCE, || {
        let of = |decision: &Value| sluicegate.get(&format!("/v1/decisions/{}", decision["id"].as_str()?)).ok();
        let actions: Vec<Value> = decisions
            .as_array()?
            .iter()
            .filter_map(of)
            .filter_map(|decision| decision["actions"].as_array().cloned())
            .flatten()
            .filter(|action| action["action"] == "kick")
            .collect();
        actions.iter().any(|action| action["attempts"][0]["outcome"] == "done").then_some(actions)
    })
    .unwrap();
    assert_eq!(kicked.len(), 1, "{kicked:?}");
    assert!(disk.sluicegate.is_running());
    assert!(sluicegate.log().contains("a decision waits to be recorded"));
}
