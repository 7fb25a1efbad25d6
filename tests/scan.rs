//! `sluicegate scan` as somebody at a shell meets it: what it finds, what it says it did not inspect, how it ends, and that
//! nothing of it stays behind.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail anywhere")]

#[cfg(test)]
#[path = "scan/deadly.rs"]
mod deadly;
#[path = "scan/page.rs"]
mod page;
#[path = "scan/serving.rs"]
mod serving;
#[cfg(test)]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use page::read_page;
use serde_json::Value;
use serving::{Whole, file, serve};
use support::ffmpeg;
use tempfile::TempDir;

/// A folder with banks and recordings, where the command runs with a folder of its own for what is temporary.
struct Desk {
    folder: TempDir,
}

/// How the command ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}

impl Desk {
    /// With a bank `demo` of the clip that stands in for known content.
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["banks", "tmp"] {
            fs::create_dir(desk.path(folder)).unwrap();
        }
        let banked = rig::clips::banked().unwrap();
        assert_eq!(desk.run(&["bank", "add", "demo", banked.to_str().unwrap(), "--banks", "banks"]).code, 0);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // Whoever started the tests may have signals ignored, as shells do for what runs in the background.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,TERM", env!("CARGO_BIN_EXE_sluicegate")]);
        command.args(arguments).current_dir(self.folder.path()).env("TMPDIR", self.path("tmp")).env("NO_PROXY", "*");
        command.env_remove("SLUICEGATE_LOG").env_remove("SLUICEGATE_BANKS");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    /// Scans with the banks of the folder, and answers in JSON.
    fn scan(&self, arguments: &[&str]) -> (i32, Value) {
        let ended = self.run(&[&["scan", "--banks", "banks", "--json"], arguments].concat());
        (ended.code, ended.json())
    }

    /// Ten seconds of the banked clip as somebody puts it up again: trimmed, cropped a little, scaled and encoded anew.
    fn copy(&self, name: &str, codec: &str) -> PathBuf {
        let banked = rig::clips::banked().unwrap();
        let form = "-vf crop=iw*0.99:ih*0.99,scale=426:240,setsar=1,fps=25 -an";
        ffmpeg(&format!("-ss 0.33 -i {} {form} {codec}", banked.display()), &self.path(name))
    }

    /// Ten seconds of something else.
    fn clear(&self, name: &str, codec: &str) -> PathBuf {
        let bunny = rig::asset("clips/bigbuckbunny.mp4").unwrap();
        let form = "-vf scale=426:240,setsar=1,fps=25 -an -t 10";
        ffmpeg(&format!("-stream_loop 2 -i {} {form} {codec}", bunny.display()), &self.path(name))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn is_tidy(&self) -> bool {
        fs::read_dir(self.path("tmp")).unwrap().next().is_none()
    }
}

const H264: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 50 -keyint_min 50 -sc_threshold 0";

const H265: &str = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -x265-params keyint=50:min-keyint=50:scenecut=0:open-gop=0:log-level=none";

/// The times of the findings of a recording.
fn times(result: &Value) -> Vec<f64> {
    result["findings"].as_array().unwrap().iter().map(|found| found["at"].as_f64().unwrap()).collect()
}

#[test]
fn banked_content_is_found_however_the_recording_is_encoded() {
    let desk = Desk::new();
    let forms = [
        ("two-seconds.mp4", H264.to_owned()),
        ("half-seconds.ts", H264.replace("50", "12")),
        ("one-group.mkv", H264.replace("50", "100000")),
        ("h265.mp4", H265.to_owned()),
        ("h265-open.mkv", H265.replace("open-gop=0", "open-gop=1")),
        ("intra-refresh.flv", format!("{H264} -x264-params intra-refresh=1")),
        ("ten-bits.mp4", H264.replace("yuv420p", "yuv420p10le")),
        ("old.avi", "-c:v mpeg4 -q:v 4".to_owned()),
        ("new.webm", "-c:v libvpx -deadline realtime -b:v 1M".to_owned()),
    ];
    for (name, codec) in &forms {
        desk.copy(name, codec);
        let (code, answer) = desk.scan(&[name]);
        let result = &answer["results"][0];
        assert_eq!((code, answer["outcome"].as_str()), (1, Some("findings")), "{name}: {answer}");
        let times = times(result);
        assert!(times.len() >= 7 && times.is_sorted(), "{name}: {times:?}");
        // A picture a second, give or take a quarter: no stretch of the clip is passed over.
        assert!((9..=13).contains(&result["pictures"].as_u64().unwrap()), "{name}: {}", result["pictures"]);
        assert_eq!(result["not_inspected"], Value::Array(vec![]), "{name}");
        let first = &result["findings"][0];
        assert_eq!((first["bank"].as_str(), first["kind"].as_str()), (Some("demo"), Some("match")), "{name}");
        assert!(
            first["distance"].as_u64().unwrap() <= 31 && first["provenance"].as_str().unwrap().contains("bikes.mp4")
        );
        // The banked clip began a third of a second earlier, and copies count from their own beginning.
        let apart = first["banked_at"].as_f64().unwrap() - first["at"].as_f64().unwrap();
        assert!((0.0..0.8).contains(&apart), "{name}: {first}");
    }
    assert!(desk.is_tidy());
}

#[test]
fn what_is_clear_exits_0_and_several_recordings_come_to_the_worst() {
    let desk = Desk::new();
    desk.clear("a.mp4", H264);
    desk.clear("b.mkv", "-c:v mpeg4");
    desk.copy("c.mp4", H264);
    fs::write(desk.path("d.mp4"), "no film at all\n".repeat(100)).unwrap();
    for (inputs, code, outcome) in [
        (&["a.mp4"][..], 0, "clear"),
        (&["a.mp4", "b.mkv"], 0, "clear"),
        (&["a.mp4", "c.mp4", "b.mkv"], 1, "findings"),
        (&["a.mp4", "d.mp4"], 2, "not_inspected"),
        (&["d.mp4", "c.mp4", "a.mp4"], 1, "findings"),
    ] {
        let (ended, answer) = desk.scan(inputs);
        assert_eq!((ended, answer["outcome"].as_str()), (code, Some(outcome)), "{inputs:?}: {answer}");
        let results = answer["results"].as_array().unwrap();
        let told: Vec<&str> = results.iter().map(|result| result["recording"].as_str().unwrap()).collect();
        assert_eq!(told, inputs, "in the order of the command line");
    }
    let text = desk.run(&["scan", "--banks", "banks", "a.mp4", "c.mp4"]);
    assert!(
        text.out.contains("bank demo") && text.out.contains("a.mp4: ") && text.out.contains("clear"),
        "{}",
        text.out
    );
    assert!(text.err.is_empty(), "no bar where there is no terminal: {}", text.err);
    assert_eq!(desk.names(), ["a.mp4", "b.mkv", "banks", "c.mp4", "d.mp4", "tmp"]);
}

#[test]
fn every_frame_is_inspected_where_that_is_asked_for() {
    let desk = Desk::new();
    desk.clear("clip.mp4", &H264.replace("50", "30"));
    let (code, answer) = desk.scan(&["clip.mp4", "--all-frames"]);
    assert_eq!((code, answer["results"][0]["pictures"].as_u64()), (0, Some(250)));
    for (every, least, most) in [("200ms", 48, 60), ("2s", 5, 9), ("5s", 2, 4)] {
        let (_, answer) = desk.scan(&["clip.mp4", "--every", every]);
        let pictures = answer["results"][0]["pictures"].as_u64().unwrap();
        assert!((least..=most).contains(&pictures), "{every}: {pictures}");
    }
}

#[test]
fn what_a_damaged_recording_shows_is_told_and_it_is_not_clear() {
    let desk = Desk::new();
    let whole = fs::read(desk.clear("whole.mp4", &format!("{H264} -movflags +faststart"))).unwrap();
    let copy = fs::read(desk.copy("copy.mp4", &format!("{H264} -movflags +faststart"))).unwrap();
    let blotted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let (from, to) = (bytes.len() * 45 / 100, bytes.len() * 75 / 100);
        bytes[from..to].fill(0);
        bytes
    };
    for (name, bytes, code, least, says) in [
        ("middle.mp4", blotted(&whole), 2, 4, "could not be decoded"),
        ("short.mp4", whole[..whole.len() / 2].to_vec(), 2, 4, "cut short"),
        ("found.mp4", blotted(&copy), 1, 4, "could not be decoded"),
        ("head.mp4", whole[..300].to_vec(), 2, 0, ""),
        ("empty.mp4", Vec::new(), 2, 0, "is empty"),
        ("text.mp4", b"words, and no film\n".repeat(60), 2, 0, "is no video"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n".to_vec(), 2, 0, "playlist"),
    ] {
        fs::write(desk.path(name), bytes).unwrap();
        let (ended, answer) = desk.scan(&[name]);
        let result = &answer["results"][0];
        assert_eq!(ended, code, "{name}: {answer}");
        assert!(result["pictures"].as_u64().unwrap() >= least, "{name}: {answer}");
        let missing = result["not_inspected"].as_array().unwrap();
        let said = |missing: &Value| missing["reason"].as_str().unwrap().contains(says);
        assert!(missing.iter().any(said), "{name}: {missing:?}");
    }
    let (ended, answer) = desk.scan(&["absent.mp4"]);
    assert_eq!(ended, 2, "{answer}");
    // The part that is missing has a place.
    let (_, answer) = desk.scan(&["middle.mp4"]);
    let missing = &answer["results"][0]["not_inspected"][0];
    let (from, to) = (missing["from"].as_f64().unwrap(), missing["to"].as_f64().unwrap());
    assert!(from > 1.0 && from < to && to <= 10.1, "{missing}");
}

#[test]
fn a_recording_of_two_video_tracks_is_not_clear() {
    let desk = Desk::new();
    let (clear, copy) = (desk.clear("clear.mp4", H264), desk.copy("copy.mp4", H264));
    let both = format!("-i {} -i {} -map 0:v -map 1:v -c copy", clear.display(), copy.display());
    ffmpeg(&both, &desk.path("both.mp4"));
    let (code, answer) = desk.scan(&["both.mp4"]);
    assert_eq!(code, 2, "{answer}");
    let reason = answer["results"][0]["not_inspected"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("2 video tracks"), "{reason}");
}

#[test]
fn banks_say_what_counts() {
    let desk = Desk::new();
    desk.copy("copy.mp4", H264);
    let set =
        |arguments: &[&str]| assert_eq!(desk.run(&[&["bank"], arguments, &["--banks", "banks"]].concat()).code, 0);
    set(&["set", "demo", "--quorum", "200"]);
    let (code, answer) = desk.scan(&["copy.mp4"]);
    assert_eq!(code, 0, "{answer}");
    assert!(
        answer["results"][0]["no_evidence"].as_array().unwrap().len() >= 7,
        "what does not count is told: {answer}"
    );
    set(&["set", "demo", "--quorum", "1"]);

    set(&["disable", "demo"]);
    let (code, answer) = desk.scan(&["copy.mp4", "--bank", "demo"]);
    assert_eq!(code, 1, "a bank that is named is asked: {answer}");
    let ended = desk.run(&["scan", "copy.mp4", "--banks", "banks"]);
    assert_eq!(ended.code, 2, "{}", ended.out);
    assert!(ended.err.contains("nothing to look for"), "{}", ended.err);
    set(&["enable", "demo"]);

    set(&["create", "cards", "--kind", "benign"]);
    set(&["add", "cards", rig::clips::banked().unwrap().to_str().unwrap()]);
    for arguments in [&["copy.mp4"][..], &["copy.mp4", "--bank", "demo"]] {
        let (code, answer) = desk.scan(arguments);
        assert_eq!(code, 0, "a benign bank vetoes: {answer}");
        assert!(answer["results"][0]["vetoed"].as_u64().unwrap() >= 7);
    }
}

#[test]
fn a_model_finds_by_its_manifest_or_by_what_is_said() {
    let desk = Desk::new();
    desk.clear("clear.mp4", H264);
    let assets = rig::repository().join("assets").display().to_string();
    let model = ["--model", "safety", "--assets", &assets];
    let (code, answer) = desk.scan(&[&["clear.mp4"][..], &model].concat());
    assert_eq!(code, 0, "{answer}");
    let labels: Vec<&str> =
        answer["results"][0]["highest"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["nsfl", "nsfw", "sfw"]);
    let (code, answer) = desk.scan(&[&["clear.mp4", "--threshold", "sfw=0.1"][..], &model].concat());
    let found = &answer["results"][0]["findings"][0];
    assert_eq!((code, found["label"].as_str(), found["above"].as_f64()), (1, Some("sfw"), Some(0.1)), "{answer}");
    assert_eq!(found["digest"].as_str().unwrap().len(), 64);
    for (threshold, says) in [("sfw=2", "0 to 1"), ("knives=0.5", "nsfl, nsfw, sfw")] {
        let ended = desk.run(&[&["scan", "clear.mp4", "--threshold", threshold][..], &model].concat());
        assert_eq!(ended.code, 2);
        assert!(ended.err.contains(says), "{}", ended.err);
    }
}

#[test]
fn what_is_asked_wrongly_ends_with_2_and_what_to_do() {
    let desk = Desk::new();
    desk.clear("clear.mp4", H264);
    for (arguments, says) in [
        (&["clear.mp4"][..], "say --bank, --model or --config"),
        (&[], "required"),
        (&["clear.mp4", "--bnak", "demo"], "--bank"),
        (&[".", "--banks", "banks"], "is a folder"),
        (&["rtmp://host/live/key", "--banks", "banks"], "sluicegate run"),
        (&["clear.mp4", "--banks", "nowhere"], "nowhere"),
        (&["clear.mp4", "--banks", "banks", "--bank", "absent"], "absent"),
        (&["clear.mp4", "--banks", "banks", "--every", "0s"], "--all-frames"),
        (&["clear.mp4", "--banks", "banks", "--report", "clear.mp4"], "one of the recordings"),
        (&["clear.mp4", "--banks", "banks", "--report", "nowhere/out.html"], "there is no folder"),
        (&["clear.mp4", "--config", "absent.toml"], "absent.toml"),
        (&["clear.mp4", "--model", "absent"], "absent"),
    ] {
        let ended = desk.run(&[&["scan"], arguments].concat());
        assert_eq!(ended.code, 2, "{arguments:?}: {}{}", ended.out, ended.err);
        assert!(ended.err.contains(says), "{arguments:?}: {}", ended.err);
    }
    let help = desk.run(&["scan", "--help"]);
    assert_eq!(help.code, 0);
    for said in ["Examples:", "Exit codes:", "0 everything was inspected", "1 there is a finding", "2 no finding"] {
        assert!(help.out.contains(said), "{said}: {}", help.out);
    }
}

#[test]
fn the_report_is_one_page_that_loads_nothing_whatever_names_say() {
    let desk = Desk::new();
    let evil = "<img src=x onerror=alert(1)>&\"'.mp4";
    fs::rename(desk.copy("copy.mp4", H264), desk.path(evil)).unwrap();
    fs::write(desk.path("<svg onload=alert(2)>.mp4"), "nothing").unwrap();
    fs::write(desk.path("out.html"), "an earlier report").unwrap();
    let assets = rig::repository().join("assets").display().to_string();
    let arguments = ["--banks", "banks", "--model", "safety", "--assets", &assets, "--report", "out.html"];
    let ended = desk.run(&[&["scan", evil, "<svg onload=alert(2)>.mp4"][..], &arguments].concat());
    assert_eq!(ended.code, 1, "{}", ended.err);
    let html = fs::read_to_string(desk.path("out.html")).unwrap();
    let (dangers, text) = read_page(&html);
    assert_eq!(dangers, Vec::<String>::new());
    assert!(html.contains("default-src 'none'") && !html.contains("url(") && !html.contains("@import"));
    let namespace = "http://www.w3.org/2000/svg";
    assert_eq!(html.matches("http").count(), html.matches(namespace).count() + html.matches("http-equiv").count());
    for said in [
        "&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;.mp4",
        "&lt;svg onload=alert(2)&gt;.mp4",
        "bank demo",
        "revision ",
        "bits from signal",
        "fef443ed68ae25ed693b6fef9e456071692ed3963cff4168acb39c3de6f017e7",
        "nsfl above 0.5",
        "was not inspected",
        concat!("Sluicegate ", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
    // The scores over time, what was inspected, and pictures no sharper than 16x9.
    assert!(html.matches("<polyline").count() >= 3 && html.contains("grey: inspected"));
    let pictures: Vec<&str> = html.split("data:image/png;base64,").skip(1).collect();
    assert!(pictures.len() >= 8, "{}", pictures.len());
    assert!(pictures.iter().all(|picture| picture.find('"').unwrap() < 800), "a picture is larger than 16x9 could be");
    assert!(desk.names().iter().all(|name| !name.starts_with('.')), "{:?}", desk.names());
}

#[test]
fn an_earlier_report_stays_where_nothing_was_scanned() {
    let desk = Desk::new();
    desk.clear("clear.mp4", H264);
    fs::write(desk.path("out.html"), "an earlier report").unwrap();
    let ended = desk.run(&["scan", "clear.mp4", "--bank", "absent", "--banks", "banks", "--report", "out.html"]);
    assert_eq!(ended.code, 2);
    assert_eq!(fs::read_to_string(desk.path("out.html")).unwrap(), "an earlier report");
}

#[test]
fn a_recording_at_an_address_is_inspected_and_its_secrets_are_nowhere() {
    let desk = Desk::new();
    let copy = fs::read(desk.copy("copy.mp4", H264)).unwrap();
    let (port, _silent) = serve(move |request| match request.split_whitespace().nth(1).unwrap_or_default() {
        "/a/copy.mp4?token=5ecret" if request.contains("authorization: Basic") => (file(&copy), Whole::Yes),
        "/moved" => {
            let to = "HTTP/1.1 302 Found\r\nLocation: /a/copy.mp4?token=5ecret\r\nContent-Length: 0\r\n\r\n";
            (to.into(), Whole::Yes)
        }
        "/endless" => (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                .iter()
                .copied()
                .chain(std::iter::repeat_n(7, 200_000))
                .collect(),
            Whole::Yes,
        ),
        "/live.m3u8" => {
            (file(&b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na/copy.mp4?token=5ecret\n"[..]), Whole::Yes)
        }
        _ => (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(), Whole::Yes),
    });
    let url = |path: &str| format!("http://me:pa55word@127.0.0.1:{port}{path}");
    let ended = desk.run(&["scan", &url("/a/copy.mp4?token=5ecret"), "--banks", "banks", "--report", "out.html"]);
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let page = fs::read_to_string(desk.path("out.html")).unwrap();
    assert!(page.contains(&format!("http://127.0.0.1:{port}/a/copy.mp4?...")) && ended.out.contains("/a/copy.mp4?..."));
    for (path, more, says) in [
        ("/absent.mp4?token=5ecret", &[][..], "404"),
        ("/a/copy.mp4?token=5ecret", &["--max-download", "1000"], "more than 1000 bytes"),
        ("/endless", &["--max-download", "100000"], "more than 100000 bytes"),
        ("/endless", &[], "is no video"),
        ("/live.m3u8", &[], "is a playlist, not a video: download what it names, and give that"),
    ] {
        let ended = desk.run(&[&["scan", &url(path), "--banks", "banks"], more].concat());
        assert_eq!(ended.code, 2, "{path}: {}{}", ended.out, ended.err);
        assert!(ended.out.contains(says), "{path}: {}", ended.out);
        let all = ended.out + &ended.err + &page;
        assert!(!all.contains("pa55word") && !all.contains("5ecret") && !all.contains("/proc/"), "{all}");
    }
    let nobody = format!("http://me:pa55word@127.0.0.1:{}/x?k=5ecret", rig::free_port().unwrap());
    let ended = desk.run(&["scan", &nobody, "--banks", "banks"]);
    assert_eq!(ended.code, 2);
    assert!(!(ended.out + &ended.err).contains("pa55word"));
    assert!(desk.is_tidy());
}

/// A child that is ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn nothing_is_left_behind_when_it_is_interrupted() {
    for signal in ["-INT", "-TERM", "-KILL"] {
        let desk = Desk::new();
        let half = vec![3; 300_000];
        let (port, silent) = serve(move |_request| {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n";
            ([&head[..], &half].concat(), Whole::No)
        });
        let url = format!("http://127.0.0.1:{port}/film.mp4");
        let mut command = desk.command(&["scan", &url, "--banks", "banks", "--report", "out.html"]);
        let mut child = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        silent.recv_timeout(Duration::from_mins(1)).unwrap();
        let id = child.0.id();
        // The process that inspects has kept something by now, in a file that has no name.
        let inspects = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap().trim().to_owned();
        let kept = || {
            let open = fs::read_dir(format!("/proc/{inspects}/fd")).unwrap().flatten();
            let links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
            links
                .filter(|link| link.starts_with(desk.path("tmp")))
                .map(|link| link.display().to_string())
                .collect::<Vec<_>>()
        };
        let names =
            rig::until("something to be kept", Duration::from_mins(1), || Some(kept()).filter(|kept| !kept.is_empty()));
        assert!(names.unwrap().iter().all(|name| name.ends_with("(deleted)")));
        assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
        assert!(!child.0.wait().unwrap().success());
        let gone = || (!Path::new(&format!("/proc/{inspects}/fd/0")).exists()).then_some(());
        rig::until("the process that inspects to end", Duration::from_mins(1), gone).unwrap();
        assert!(desk.is_tidy(), "{signal}");
        assert_eq!(desk.names(), ["banks", "tmp"], "{signal}");
    }
}

#[test]
fn the_answer_is_the_same_each_time() {
    let desk = Desk::new();
    let names: Vec<String> = (0..4).map(|n| format!("{n}.mp4")).collect();
    for (n, name) in names.iter().enumerate() {
        let codec = H264.replace("50", &(20 + 15 * n).to_string());
        if n % 2 == 0 {
            desk.copy(name, &codec)
        } else {
            desk.clear(name, &codec)
        };
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = desk.scan(&names);
    for _ in 0..2 {
        assert_eq!(desk.scan(&names), first);
    }
    assert!(Path::new(&desk.path("tmp")).is_dir());
}
