//! What people see who type `sluicegate bank`.

use std::fs;

use clap::Parser;
use image::{GrayImage, Luma, RgbImage};

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    bank: BankArgs,
}

/// A folder with banks and content in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("banks")).unwrap();
        Self(folder)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// A picture of blotches, the same for the same seed.
    fn picture(&self, file: &str, seed: u32) {
        let blotch = |x: u32, y: u32| {
            let mixed = (x / 16 + 1).wrapping_mul(0x9e37_79b9) ^ (y / 16 + 1).wrapping_mul(0x85eb_ca6b) ^ (seed * 977);
            (mixed ^ mixed >> 15).wrapping_mul(0x2c1b_3c6d).to_be_bytes()[0]
        };
        GrayImage::from_fn(320, 240, |x, y| Luma([blotch(x, y)])).save(self.path(file)).unwrap();
    }

    /// Types a command line; files are named within the folder.
    fn bank(&self, line: &str) -> Result<String, String> {
        let banks = self.path("banks");
        let words = line.split(' ').map(|word| {
            if self.path(word).exists() || word.contains('.') { self.path(word) } else { PathBuf::from(word) }
        });
        let line = [PathBuf::from("bank"), "--banks".into(), banks].into_iter().chain(words);
        let args = Cli::try_parse_from(line).map_err(|error| error.to_string())?.bank;
        let mut out = Vec::new();
        match run(&args, &mut out) {
            Ok(code) => assert_eq!(code, ExitCode::SUCCESS),
            Err(error) => return Err(format!("{error:#}\n{}", String::from_utf8(out).unwrap())),
        }
        Ok(String::from_utf8(out).unwrap())
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.bank(&format!("{line} --json")).unwrap()).unwrap()
    }
}

#[test]
fn a_picture_is_banked_listed_shown_and_verified() {
    let desk = Desk::new();
    desk.picture("a.png", 1);
    desk.picture("b.png", 2);
    assert!(desk.bank("list").unwrap().starts_with("no banks in"));
    let added = desk.bank("add demo a.png --label terrorism --max-distance 20").unwrap();
    assert_eq!(added, "a.png: 1 of 1 pictures added to `demo` (revision 1)\n");
    desk.bank("add demo b.png --opinion disputed").unwrap();
    assert_eq!(desk.bank("list").unwrap(), "demo: 2 signals of 2 files, revision 2\n");
    assert_eq!(desk.bank("verify").unwrap(), "demo: whole, 2 signals, revision 2\n");
    assert_eq!(desk.bank("verify demo").unwrap(), desk.bank("verify").unwrap());
    let shown = desk.bank("show demo").unwrap();
    for part in ["a.png: 1 signals", "b.png: 1 signals", "max distance  20 bits", "label         terrorism", "sha256 "]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let bank = Store::open(&desk.path("banks")).unwrap().load(&"demo".parse().unwrap()).unwrap();
    assert_eq!(bank.signals()[1].opinion, Opinion::Disputed);
    assert!(bank.signals().iter().all(|signal| !shown.contains(&signal.hash.to_string())));
}

#[test]
fn every_frame_of_a_video_that_differs_is_banked() {
    let desk = Desk::new();
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "mandelbrot=size=320x240:rate=25", "-t", "2"])
        .args(["-c:v", "libx264", "-pix_fmt", "yuv420p"])
        .arg(desk.path("clip.mp4"))
        .status();
    assert!(made.unwrap().success());
    let answer = desk.json("add demo clip.mp4 --every-bits 16");
    let result = &answer["results"][0];
    assert_eq!((&result["pictures"], &result["already"]), (&json!(50), &json!(false)));
    let count = |field: &Value| field.as_u64().unwrap();
    let refused = result["refused"].as_array().unwrap().len() as u64;
    assert!(count(&result["added"]) > 1);
    assert_eq!(count(&result["added"]) + count(&result["alike"]) + refused, 50);
    let again = desk.bank("add demo clip.mp4").unwrap();
    assert_eq!(again, "clip.mp4: already in `demo` (revision 1), nothing added\n");
    let dense = desk.json("add every clip.mp4 --every-bits 0");
    assert!(count(&dense["results"][0]["added"]) > count(&result["added"]));
    let bank = Store::open(&desk.path("banks")).unwrap().load(&"every".parse().unwrap()).unwrap();
    let times: Vec<_> = bank.signals().iter().map(|signal| signal.banked_at.unwrap()).collect();
    assert!(times.is_sorted() && times.iter().all(|at| *at < Duration::from_secs(2)), "{times:?}");
}

#[test]
fn bad_content_is_named_with_what_to_do_and_the_rest_is_added() {
    let desk = Desk::new();
    desk.picture("good.png", 1);
    fs::write(desk.path("empty.mp4"), "").unwrap();
    for text in ["notes.txt", "notes.png"] {
        fs::write(desk.path(text), "just text, and quite a bit of it\n".repeat(50)).unwrap();
    }
    desk.picture("good.jpg", 1);
    for ending in ["png", "jpg"] {
        let whole = fs::read(desk.path(&format!("good.{ending}"))).unwrap();
        fs::write(desk.path(&format!("half.{ending}")), &whole[..whole.len() / 2]).unwrap();
    }
    RgbImage::from_pixel(300, 200, image::Rgb([90, 90, 90])).save(desk.path("flat.png")).unwrap();
    for (file, said) in [
        ("empty.mp4", "is empty: copy it again"),
        ("notes.txt", "as a picture (JPEG, PNG, WebP) or a video"),
        ("notes.png", "as a picture (JPEG, PNG, WebP) or a video"),
        ("half.png", "is not a whole picture: copy it again"),
        ("half.jpg", "is not a whole picture: copy it again"),
        ("flat.png", "none of the 1 pictures of flat.png is worth banking for `demo` (1 "),
        ("absent.mp4", "there is no file"),
        ("banks", "is a folder: name the files in it"),
    ] {
        let refused = desk.bank(&format!("add demo {file}")).unwrap_err();
        assert!(refused.contains(said) && refused.contains(file), "{file}: {refused}");
        assert_eq!(fs::read_dir(desk.path("banks")).unwrap().filter(|e| !hidden(e)).count(), 0, "{file}");
    }
    let partly = desk.bank("add demo empty.mp4 good.png absent.mp4").unwrap_err();
    assert!(partly.starts_with("2 of 3 failed:"), "{partly}");
    assert!(partly.contains("good.png: 1 of 1 pictures added"), "{partly}");
    assert_eq!(desk.bank("verify").unwrap(), "demo: whole, 1 signals, revision 1\n");
}

fn hidden(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')
}

#[test]
fn a_damaged_bank_is_named_and_the_others_are_still_told() {
    let desk = Desk::new();
    desk.picture("a.png", 1);
    desk.bank("add one a.png").unwrap();
    desk.bank("add two a.png").unwrap();
    let file = desk.path("banks/one.bank");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 20]).unwrap();
    for line in ["verify", "list"] {
        let refused = desk.bank(line).unwrap_err();
        assert!(refused.contains("one.bank is cut short: restore it from a backup"), "{refused}");
        assert!(refused.contains("two: "), "{refused}");
    }
    let refused = desk.bank("add one a.png").unwrap_err();
    assert!(refused.contains("one.bank is cut short"), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), &whole[..whole.len() - 20]);
}

#[test]
fn what_was_typed_wrong_is_said() {
    let desk = Desk::new();
    desk.picture("a.png", 1);
    for (line, said) in [
        ("add Bad/Name a.png", "cannot be the name of a bank: use 1 to 64 of"),
        ("show absent", "there is no bank `absent` in"),
        ("verify absent", "there is no bank `absent` in"),
        ("add demo", "<FILE>"),
        ("add demo a.png --max-distance 300", "not in 0..=64"),
        ("add demo a.png --opinion sure", "possible values: positive"),
    ] {
        let refused = desk.bank(line).unwrap_err();
        assert!(refused.contains(said), "{line}: {refused}");
    }
    fs::remove_dir(desk.path("banks")).unwrap();
    for line in ["list", "add demo a.png"] {
        let refused = desk.bank(line).unwrap_err();
        assert!(refused.contains("there is no folder of banks at") && refused.contains("mkdir"), "{refused}");
    }
}
