//! Bad content, seen from the command line: whatever is given to be banked, hashed or matched, the answer comes soon, names the
//! file and says what to do, on the right stream and with the right exit code, and nothing that was banked is lost.
#![cfg(test)]

#[cfg(test)]
mod support;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::ffmpeg;

const BINARY: &str = env!("CARGO_BIN_EXE_sluicegate");
const USAGE: i32 = 64;

/// A video of 25 pictures that can be banked.
const CLIP: &str = "-f lavfi -i mandelbrot=size=320x240:rate=25 -t 1 -c:v libx264 -pix_fmt yuv420p";

/// A folder with banks in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("banks")).unwrap();
        Self(folder)
    }

    fn path(&self, file: impl AsRef<std::path::Path>) -> PathBuf {
        self.0.path().join(file)
    }

    fn clip(&self, arguments: &str, file: &str) -> PathBuf {
        ffmpeg(arguments, &self.path(file))
    }

    /// A picture that can be banked, another for each seed.
    fn picture(&self, file: &str, seed: u32) -> PathBuf {
        self.clip(
            &format!("-f lavfi -i mandelbrot=size=320x240:start_x={} -frames:v 1", -0.9 + f64::from(seed) / 9.0),
            file,
        )
    }

    /// `sluicegate` with `words`, behind the words of `prefix`; files are named from the desk.
    fn command(&self, prefix: &[&str], words: &[impl AsRef<OsStr>]) -> Command {
        let mut line: Vec<OsString> = prefix.iter().map(OsString::from).collect();
        line.push(BINARY.into());
        line.extend(words.iter().map(OsString::from));
        // Nothing here may wait for ever.
        let mut command = Command::new("timeout");
        command.arg("60").args(line).current_dir(self.0.path());
        command.env("SLUICEGATE_BANKS", self.path("banks")).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[impl AsRef<OsStr>]) -> (Option<i32>, String, String) {
        told(&self.command(&[], words).output().unwrap())
    }

    /// What a command that should succeed says on standard output.
    fn done(&self, line: &str) -> String {
        let (code, said, errors) = self.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{line}: {said}");
        said
    }

    /// What a command that should fail says on standard error.
    fn refused(&self, line: &str) -> String {
        let (code, said, errors) = self.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(code, Some(USAGE), "{line}: {said}{errors}");
        errors
    }
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn each_bad_file_is_named_with_what_to_do_and_nothing_is_banked_of_it() {
    let desk = Desk::new();
    desk.picture("good.png", 1);
    desk.done("bank add demo good.png");
    let cut = |file: &str| {
        let whole = fs::read(desk.path(file)).unwrap();
        fs::write(desk.path(file), &whole[..whole.len() / 2]).unwrap();
    };
    fs::write(desk.path("empty.mp4"), "").unwrap();
    for text in ["words.png", "words.mp4"] {
        fs::write(desk.path(text), "only words, and quite a few of them\n".repeat(40)).unwrap();
    }
    desk.clip("-f lavfi -i color=black:size=320x240:rate=10 -t 1 -c:v libx264", "black.mp4");
    desk.clip("-f lavfi -i sine -t 1 -c:a aac", "sound.m4a");
    desk.clip("-f lavfi -i testsrc2=size=160x120:rate=10 -t 1", "moving.gif");
    for file in ["half.png", "half.jpg"] {
        desk.picture(file, 2);
        cut(file);
    }
    for (file, more) in [("half.mp4", "-movflags +faststart"), ("half.mkv", "")] {
        desk.clip(&format!("{CLIP} {more}"), file);
        cut(file);
    }
    // A PNG that says it is 50000x50000.
    let mut bomb = fs::read(desk.path("good.png")).unwrap();
    bomb[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    let check = crc32fast::hash(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&check);
    fs::write(desk.path("bomb.png"), bomb).unwrap();
    desk.clip("-f lavfi -i color=red:size=12000x8640:rate=1 -t 1 -c:v mjpeg", "bomb.avi");
    assert!(Command::new("mkfifo").arg(desk.path("pipe.mp4")).status().unwrap().success());
    fs::create_dir(desk.path("nothing")).unwrap();
    let cases = [
        ("empty.mp4", "is empty: copy it again"),
        ("words.png", "is no video that GStreamer knows: check what it is with `file`"),
        ("words.mp4", "is no video that GStreamer knows: check what it is with `file`"),
        ("black.mp4", "none of the 10 pictures of black.mp4 is worth banking for `demo` (10 "),
        ("sound.m4a", "has no video track: give a file with moving pictures"),
        ("moving.gif", "is a GIF, which is not read: convert it to a video first"),
        ("half.png", "is not a whole picture: copy it again"),
        ("half.jpg", "is not a whole picture: copy it again"),
        ("half.mp4", "is cut short: copy it again, or convert what there is of it"),
        ("half.mkv", "is cut short: copy it again, or convert what there is of it"),
        ("bomb.png", "says that it is 50000x50000, more than 200000000 pixels: scale it down first"),
        ("bomb.avi", "has frames of 12000x8640, more than 35389440 pixels: scale it down first"),
        ("pipe.mp4", "is a pipe or a device: copy what it gives to a file first"),
        ("/dev/zero", "is a pipe or a device: copy what it gives to a file first"),
        ("absent.mp4", "there is no file absent.mp4: check the path"),
        ("nothing", "there is no file in nothing: name another folder"),
        ("http://127.0.0.1:9/a.mp4", "is an address, not a file: download it first"),
    ];
    for (file, said) in cases {
        let errors = desk.refused(&format!("bank add demo {file}"));
        assert!(errors.starts_with("error: ") && errors.contains(file) && errors.contains(said), "{file}: {errors}");
    }
    // All at once and a good one among them: it alone is banked, and each of the others is named.
    desk.picture("other.png", 5);
    let files: Vec<_> = cases.iter().map(|(file, _)| *file).filter(|file| *file != "nothing").collect();
    let errors = desk.refused(&format!("bank add demo {} other.png {}", files[..5].join(" "), files[5..].join(" ")));
    assert!(errors.starts_with("error: 16 of 17 failed:\n"), "{errors}");
    assert_eq!(desk.done("bank verify"), "demo: whole, 2 signals, revision 2\n");
    // What reads lists does not wait for a pipe either.
    assert!(desk.refused("bank import demo pipe.mp4 --format hashes").contains("is a pipe or a device"));
}

#[test]
fn a_name_that_no_bank_can_have_is_refused_and_touches_no_file() {
    let desk = Desk::new();
    desk.picture("good.png", 1);
    let long = "x".repeat(65);
    for name in ["", "a/b", "..", ".", "../evil", "/tmp/evil", "A", "a b", "bänk", &long] {
        for words in [vec!["bank", "create", name], vec!["bank", "add", name, "good.png"]] {
            let (code, said, errors) = desk.run(&words);
            assert_eq!((code, said.as_str()), (Some(USAGE), ""), "{name}");
            assert!(errors.contains("use 1 to 64 of a-z, 0-9, _ and -"), "{name}: {errors}");
        }
    }
    assert!(desk.done("bank list").starts_with("no banks in "));
}

#[test]
fn a_full_disk_costs_what_was_to_be_added_and_nothing_else() {
    let desk = Desk::new();
    desk.picture("first.png", 1);
    desk.done("bank add demo first.png");
    desk.clip("-f lavfi -i mandelbrot=size=320x240:rate=25 -t 8 -c:v libx264 -pix_fmt yuv420p", "clip.mp4");
    // No file may grow beyond 2 KiB, and a write that would is told, as on a full disk.
    let full = ["sh", "-c", "trap '' XFSZ; exec prlimit --fsize=2048 \"$@\"", "sh"];
    let words = ["bank", "add", "demo", "clip.mp4", "--every-bits", "0"];
    let (code, said, errors) = told(&desk.command(&full, &words).output().unwrap());
    assert_eq!((code, said.as_str()), (Some(USAGE), ""), "{errors}");
    assert!(errors.contains("clip.mp4 was not added: ") && errors.contains("demo"), "{errors}");
    assert_eq!(desk.done("bank verify"), "demo: whole, 1 signals, revision 1\n");
    let (code, _, errors) = desk.run(&words);
    assert_eq!(code, Some(0), "with room again: {errors}");
    // Nor does an answer get lost without a word.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = desk.command(&[], &["hash", "first.png"]).stdout(full).output().unwrap();
    assert_ne!(output.status.code(), Some(0));
    assert!(!output.stderr.is_empty());
}

#[test]
fn processes_that_write_at_once_lose_nothing() {
    let desk = Desk::new();
    let files: Vec<_> = (0..6).map(|seed| format!("{seed}.png")).collect();
    for (seed, file) in files.iter().enumerate() {
        desk.picture(file, seed as u32);
    }
    let add = |file: &String| {
        let words = ["bank", "add", "demo", file];
        desk.command(&[], &words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = files.iter().map(add).collect();
    for process in running {
        let (code, _, errors) = told(&process.wait_with_output().unwrap());
        assert_eq!(code, Some(0), "{errors}");
    }
    assert_eq!(desk.done("bank verify"), "demo: whole, 6 signals, revision 6\n");
}

#[test]
fn a_writer_that_is_killed_leaves_the_bank_as_it_was() {
    let desk = Desk::new();
    desk.picture("first.png", 1);
    desk.done("bank add demo first.png");
    desk.clip(CLIP, "clip.mp4");
    let mut process = desk.command(&["timeout", "--signal=KILL", "0.05"], &["bank", "add", "demo", "clip.mp4"]);
    process.output().unwrap();
    let verified = desk.done("bank verify");
    assert!(verified.starts_with("demo: whole, "), "{verified}");
    desk.done("bank add demo clip.mp4");
}

#[test]
fn what_may_not_be_read_or_written_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let desk = Desk::new();
    desk.picture("good.png", 1);
    fs::create_dir(desk.path("locked")).unwrap();
    desk.picture("locked/in.png", 2);
    desk.picture("secret.png", 3);
    let mode = |file: &str, mode| fs::set_permissions(desk.path(file), fs::Permissions::from_mode(mode)).unwrap();
    mode("locked", 0o000);
    mode("secret.png", 0o000);
    mode("banks", 0o500);
    // The superuser may read everything, unless it gives that up.
    let capabilities = "-dac_override,-dac_read_search";
    let drop = ["setpriv", "--inh-caps", capabilities, "--bounding-set", capabilities];
    let prefix: &[&str] = if fs::read_dir(desk.path("locked")).is_ok() { &drop } else { &[] };
    for (file, said) in [
        ("locked", "cannot read the folder locked: check its permissions"),
        ("locked/in.png", "cannot look at locked/in.png: check its permissions"),
        ("secret.png", "cannot read secret.png: check its permissions"),
        ("good.png", "banks"),
    ] {
        let (code, _, errors) = told(&desk.command(prefix, &["bank", "add", "demo", file]).output().unwrap());
        assert_eq!(code, Some(USAGE), "{file}: {errors}");
        assert!(errors.contains(said) && errors.to_lowercase().contains("permission"), "{file}: {errors}");
    }
    mode("banks", 0o700);
    mode("locked", 0o700);
    assert_eq!(desk.done("bank list").lines().count(), 1);
}

#[test]
fn names_that_are_no_text_are_names_all_the_same() {
    let desk = Desk::new();
    desk.picture("a.png", 1);
    desk.clip(CLIP, "b.mp4");
    let (png, mp4) = (OsStr::from_bytes(b"\xff\xfe picture.png"), OsStr::from_bytes(b"video \xe9.mp4"));
    fs::rename(desk.path("a.png"), desk.path(png)).unwrap();
    fs::rename(desk.path("b.mp4"), desk.path(mp4)).unwrap();
    let to = OsStr::from_bytes(b"out\xff.csv");
    let word = |text: &'static str| OsStr::new(text);
    for words in [
        vec![word("bank"), word("add"), word("demo"), png, mp4, word("--json")],
        vec![word("hash"), png, mp4, word("--json")],
        vec![word("match"), png, mp4, word("--json")],
        vec![word("bank"), word("test"), word("demo"), png, mp4, word("--json")],
        vec![word("bank"), word("export"), word("demo"), word("--to"), to, word("--json")],
        vec![word("bank"), word("remove"), word("demo"), word("--file"), mp4, word("--json")],
    ] {
        let (code, said, errors) = desk.run(&words);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{words:?}: {said}");
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["errors"], json!([]), "{said}");
    }
    let shown = desk.done("bank show demo");
    assert!(shown.contains("\u{fffd}\u{fffd} picture.png: 1 signals"), "{shown}");
}

#[test]
fn hashes_and_files_are_matched_side_by_side_in_the_order_of_the_queries() {
    let desk = Desk::new();
    desk.picture("a.png", 1);
    desk.picture("b.png", 6);
    desk.clip(CLIP, "clip.mp4");
    desk.done("bank add demo a.png");
    let table = desk.done("hash a.png");
    let hash = table.lines().nth(1).unwrap().split(',').next().unwrap();
    let short = &hash[1..];
    let words = ["match", "clip.mp4", hash, "nowhere.png", "b.png", short, "a.png", "--json"];
    let (code, said, errors) = desk.run(&words);
    assert_eq!(code, Some(USAGE));
    let answer: Value = serde_json::from_str(&said).unwrap();
    let queries: Vec<_> = answer["results"].as_array().unwrap().iter().map(|result| &result["query"]).collect();
    assert_eq!(queries, ["clip.mp4", "the hash", "b.png", "a.png"]);
    let bits: Vec<_> = [1, 3].map(|at| &answer["results"][at]["matches"][0]["distance"]).into();
    assert_eq!(bits, [0, 0]);
    for (told, query) in answer["errors"].as_array().unwrap().iter().zip(["nowhere.png", short]) {
        let told = told.as_str().unwrap();
        assert!(told.starts_with(&format!("{query} is neither a file nor a hash: a PDQ hash is 64")), "{told}");
        assert!(errors.contains(query), "{errors}");
    }
}

#[test]
fn a_long_video_of_large_pictures_needs_little_memory() {
    let desk = Desk::new();
    let second = desk.clip(
        "-f lavfi -i testsrc2=size=3840x2160:rate=25 -t 1 -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
        "second.mp4",
    );
    // 150 pictures: decoded and kept, nearly two gigabytes.
    ffmpeg(&format!("-stream_loop 5 -i {} -c copy", second.display()), &desk.path("long.mp4"));
    let limited = ["taskset", "--cpu-list", "0,1", "prlimit", "--data=900000000"];
    let output = desk.command(&limited, &["hash", "long.mp4"]).output().unwrap();
    let (code, said, errors) = told(&output);
    assert_eq!((code, said.lines().count()), (Some(0), 151), "{errors}");
}
