//! What people see who type `sluicegate bank`.

use std::fs;
use std::time::Duration;

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
    assert_eq!(bank.signals().nth(1).unwrap().opinion, Opinion::Disputed);
    assert!(bank.signals().all(|signal| !shown.contains(&signal.hash.to_string())));
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
    let times: Vec<_> = bank.signals().map(|signal| signal.banked_at.unwrap()).collect();
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
        ("banks", "there is no file in"),
        ("https://example.org/a.mp4", "is an address, not a file: download it first"),
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
        ("create a/b", "cannot be the name of a bank: use 1 to 64 of"),
        ("create demo --kind good", "`good` is no kind of bank: use harmful or benign"),
        ("create demo --until tomorrow", "use a time such as 2027-01-31T00:00:00Z"),
        ("create demo --quorum 0", "0 is not in 1..=512"),
        ("create demo --at-most clear", "use watch, hold, cut or ban; `sluicegate bank disable` has it"),
        ("set absent --quorum 2", "there is no bank `absent` in"),
        ("set demo", "nothing to set for `demo`: give what is to change, such as --at-most hold"),
        ("disable absent", "there is no bank `absent` in"),
        ("remove absent --id 1", "there is no bank `absent` in"),
        ("remove absent", "--file"),
        ("import demo a.png --format gif", "`gif` is no format: use one of hashes, csv"),
        ("import demo a.png", "say it with --format"),
        ("import demo a.png --format csv", "it is not UTF-8 text: is it `csv`?"),
        ("import demo absent.csv", "absent.csv was not imported: there is no file"),
        ("export absent", "there is no bank `absent` in"),
        ("test absent a.png", "there is no bank `absent` in"),
    ] {
        let refused = desk.bank(line).unwrap_err();
        assert!(refused.contains(said), "{line}: {refused}");
    }
    fs::remove_dir_all(desk.path("banks")).unwrap();
    for line in ["list", "add demo a.png"] {
        let refused = desk.bank(line).unwrap_err();
        assert!(refused.contains("there is no folder of banks at") && refused.contains("mkdir"), "{refused}");
    }
}

#[test]
fn a_bank_is_made_filled_tried_out_enabled_and_cleared() {
    let desk = Desk::new();
    fs::create_dir(desk.path("content")).unwrap();
    for (file, seed) in [("content/a.png", 1), ("content/b.png", 2), ("calm.png", 3), ("c.png", 2)] {
        desk.picture(file, seed);
    }
    let made = desk.bank("create demo --disabled --label terrorism --until 2030-01-01T00:00:00Z").unwrap();
    assert_eq!(made, "demo: made (revision 1)\n");
    assert!(desk.bank("create demo").unwrap_err().contains("there is a bank `demo` already"));
    desk.bank("add demo content").unwrap();
    assert_eq!(
        desk.bank("list").unwrap(),
        "demo: 2 signals of 2 files, revision 3, disabled, until 2030-01-01T00:00:00.000Z\n"
    );
    let innocent = desk.bank("test demo calm.png").unwrap();
    assert_eq!(innocent, "demo: 0 of 1 pictures in 0 of 1 files would have matched (revision 3)\n");
    let tried = desk.bank("test demo calm.png c.png").unwrap();
    assert!(
        tried.contains("c.png: 1 of 1 pictures match; nearest at 0.000 s, 0 bits from signal 2 of b.png"),
        "{tried}"
    );
    assert!(tried.contains("1 of 2 pictures in 1 of 2 files would have matched"), "{tried}");
    assert_eq!(desk.bank("enable demo").unwrap(), "demo: enabled (revision 4)\n");
    assert_eq!(desk.bank("enable demo").unwrap(), "demo: enabled (revision 4)\n");
    assert_eq!(desk.bank("disable demo").unwrap(), "demo: disabled (revision 5)\n");
    assert!(desk.bank("remove demo --id 9").unwrap_err().contains("nothing in `demo` is signal 9"));
    assert!(desk.bank("remove demo --file nobody").unwrap_err().contains("nothing in `demo` is of the file nobody"));
    assert_eq!(desk.bank("remove demo --file b.png").unwrap(), "demo: 1 signals removed (revision 6)\n");
    assert_eq!(desk.bank("remove demo --id 1").unwrap(), "demo: 1 signals removed (revision 7)\n");
    let shown = desk.json("show demo --signals");
    assert_eq!((&shown["results"][0]["signals"], &shown["results"][0]["enabled"]), (&json!(0), &json!(false)));
}

#[test]
fn settings_of_a_bank_are_changed_one_by_one() {
    let desk = Desk::new();
    desk.bank("create demo --quorum 2 --at-most hold --label violence").unwrap();
    assert_eq!(desk.bank("list").unwrap(), "demo: 0 signals of 0 files, revision 1, quorum 2, at most hold\n");
    assert_eq!(desk.bank("set demo --max-distance 20 --at-most cut").unwrap(), "demo: set (revision 2)\n");
    let shown = desk.bank("show demo").unwrap();
    for part in [
        "label         violence",
        "max distance  20 bits",
        "quorum        2 distinct pictures",
        "at most       cut",
        "revision      2,",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(desk.bank("set demo --quorum 2").unwrap(), "demo: set (revision 2)\n", "as it was");
    let json = desk.json("list");
    assert_eq!((&json["results"][0]["quorum"], &json["results"][0]["at_most"]), (&json!(2), &json!("cut")));
    desk.bank("set demo --quorum 1 --at-most ban").unwrap();
    assert_eq!(desk.bank("list").unwrap(), "demo: 0 signals of 0 files, revision 3\n");
}

#[test]
fn a_list_is_imported_with_each_fault_told_and_exported_again() {
    let desk = Desk::new();
    let (healthy, other) = (format!("{}{}", "f".repeat(32), "0".repeat(32)), "0f".repeat(32));
    let zero = "0".repeat(64);
    let list = format!("hash,quality\n{healthy},90\nnonsense,90\n{other},10\n{zero},100\n{healthy},90\n{other},95\n");
    fs::write(desk.path("list.csv"), list).unwrap();
    let partly = desk.bank("import demo list.csv").unwrap_err();
    for said in [
        "1 not understood; the others were imported:\n    line 3: a PDQ hash is 64 hexadecimal digits",
        "list.csv: 2 signals added to `demo` (revision 1); 1 there already; 2 refused:",
        "line 4: low quality",
        "line 5: too small",
    ] {
        assert!(partly.contains(said), "{said} in {partly}");
    }
    assert!(!partly.contains(&healthy), "{partly}");
    assert_eq!(desk.bank("export demo --format hashes").unwrap(), format!("{healthy}\n{other}\n"));
    let written = desk.bank("export demo --to out.csv").unwrap();
    assert!(written.starts_with("demo: 2 signals written to"), "{written}");
    assert!(desk.bank("export demo --to out.csv").unwrap_err().contains("name a file that is not there yet"));
    assert!(desk.bank("export demo --json").unwrap_err().contains("name a file with --to"));
    assert!(desk.bank("export demo --format tat").unwrap_err().contains("`tat` is only read"));
    let again = desk.json("import copy out.csv");
    assert_eq!((&again["results"][0]["added"], &again["results"][0]["faults"]), (&json!(2), &json!([])));
    let store = Store::open(&desk.path("banks")).unwrap();
    let signals = |bank: &str| -> Vec<_> {
        let bank = store.load(&bank.parse().unwrap()).unwrap();
        bank.signals().map(|s| (s.hash, s.quality, s.opinion, s.provenance.clone())).collect()
    };
    assert_eq!(signals("copy"), signals("demo"));
    assert!(desk.bank("import demo out.csv --whole").unwrap_err().contains("leave out --whole"));
}

#[test]
fn a_video_that_shows_nothing_is_refused() {
    let desk = Desk::new();
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "color=gray:size=320x240:rate=10", "-t", "1"])
        .arg(desk.path("grey.mp4"))
        .status();
    assert!(made.unwrap().success());
    let refused = desk.bank("add demo grey.mp4").unwrap_err();
    assert!(refused.contains("none of the 10 pictures of grey.mp4 is worth banking for `demo` (10 "), "{refused}");
    assert!(desk.bank("list").unwrap().starts_with("no banks in"));
}

/// Runs `sluicegate` with `words`; gives what it wrote.
fn sluicegate(words: &[&std::path::Path]) -> Result<String, String> {
    use crate::cli::{hash, r#match};

    #[derive(Debug, Parser)]
    enum Whole {
        Hash(hash::HashArgs),
        Match(r#match::MatchArgs),
    }

    let line = [std::path::Path::new("sluicegate")].into_iter().chain(words.iter().copied());
    let mut out = Vec::new();
    let done = match Whole::try_parse_from(line).map_err(|error| error.to_string())? {
        Whole::Hash(args) => hash::run(&args, &mut out),
        Whole::Match(args) => r#match::run(&args, &mut out),
    };
    let text = String::from_utf8(out).unwrap();
    done.map(|_| text.clone()).map_err(|error| format!("{error:#}\n{text}"))
}

#[test]
fn what_hash_writes_can_be_imported_and_is_matched() {
    let desk = Desk::new();
    desk.picture("a.png", 1);
    desk.picture("b.png", 2);
    let (a, b, banks) = (desk.path("a.png"), desk.path("b.png"), desk.path("banks"));
    let table = sluicegate(&["hash".as_ref(), a.as_ref()]).unwrap();
    assert!(table.starts_with("hash,quality,timestamp,file,sha256\n"), "{table}");
    fs::write(desk.path("a.csv"), &table).unwrap();
    desk.bank("import demo a.csv").unwrap();
    desk.bank("add cards a.png --kind benign").unwrap();
    let hash = table.lines().nth(1).unwrap().split(',').next().unwrap();
    let look = |what: &std::path::Path, more: &[&std::path::Path]| {
        let words: Vec<_> = ["match".as_ref(), "--banks".as_ref(), banks.as_ref(), what]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        sluicegate(&words)
    };
    let found = look(hash.as_ref(), &["--bank".as_ref(), "demo".as_ref()]).unwrap();
    assert_eq!(
        found,
        "the hash: 1 of 1 pictures match `demo` (harmful); nearest at 0.000 s, 0 bits from signal 1 of a.png at 0.000 s\n"
    );
    let vetoed = look(&a, &[]).unwrap();
    assert!(vetoed.ends_with("a.png: a picture that a benign bank matches is no evidence\n"), "{vetoed}");
    assert_eq!(look(&b, &[]).unwrap(), "b.png: no match\n");
    let json: Value = serde_json::from_str(&look(&a, &["--json".as_ref()]).unwrap()).unwrap();
    assert_eq!(json["results"][0]["matches"][1]["provenance"]["file"], json!("a.png"));
    for wrong in ["nowhere", &hash[1..], &format!("{hash}0")] {
        let refused = look(wrong.as_ref(), &[]).unwrap_err();
        assert!(refused.contains("is neither a file nor a hash: a PDQ hash is 64 hexadecimal digits"), "{refused}");
    }
}

#[test]
fn a_signal_set_aside_is_shown_and_released() {
    let desk = Desk::new();
    desk.picture("a.png", 1);
    desk.bank("add demo a.png").unwrap();
    let store = Store::open(&desk.path("banks")).unwrap();
    let at = crate::clock::Timestamp::from_millis(1_900_000_000_000);
    store.quarantine(&"demo".parse().unwrap(), &[1], "fired on 40 streams", at).unwrap();
    let shown = desk.bank("show demo").unwrap();
    assert!(shown.contains("set aside     signal 1 since 2030-03-17T17:46:40.000Z: fired on 40 streams\n"), "{shown}");
    assert_eq!(desk.json("show demo")["results"][0]["quarantined"][0]["id"], json!(1));
    assert!(desk.bank("release demo --id 2").unwrap_err().contains("nothing in `demo` is signal 2 in quarantine"));
    assert_eq!(desk.bank("release demo --id 1").unwrap(), "demo: 1 signals released (revision 3)\n");
    assert_eq!(desk.json("show demo")["results"][0]["quarantined"], json!([]));
}

#[test]
fn a_large_bank_has_a_base_that_is_shown_verified_and_compacted() {
    let desk = Desk::new();
    let hash = |n: u64| {
        let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{spread:016x}{:016x}{n:016x}{:016x}", !spread, !n)
    };
    let list = |file: &str, numbers: std::ops::Range<u64>| {
        fs::write(desk.path(file), numbers.map(hash).collect::<Vec<_>>().join("\n")).unwrap();
    };
    list("many.txt", 1..12_001);
    list("few.txt", 20_000..20_003);
    desk.bank("import demo many.txt --format hashes").unwrap();
    let base = |added: u64, removed: u64| {
        let summary = desk.json("show demo")["results"][0]["base"].clone();
        assert_eq!(summary, json!({ "signals": 12_000, "added_since": added, "removed_since": removed }));
    };
    base(0, 0);
    assert_eq!(desk.bank("compact demo").unwrap(), "demo: nothing to do\n");
    desk.bank("import demo few.txt --format hashes").unwrap();
    desk.bank("remove demo --id 7").unwrap();
    base(3, 1);
    let shown = desk.bank("show demo").unwrap();
    assert!(shown.contains("base          12000 signals; 3 added and 1 removed since\n"), "{shown}");
    assert_eq!(desk.bank("list").unwrap(), "demo: 12002 signals of 2 files, revision 3\n");
    assert_eq!(desk.bank("compact").unwrap(), "demo: a new base of 12002 signals\n");
    assert_eq!(desk.bank("verify").unwrap(), "demo: whole, 12002 signals, revision 3\n");

    let index = desk.path("banks/demo.2.index");
    fs::remove_file(&index).unwrap();
    let told = desk.bank("verify").unwrap_err();
    assert!(told.contains("demo.2.index is missing: `sluicegate bank compact` builds it again"), "{told}");
    assert_eq!(desk.json("compact demo")["results"][0]["compaction"], json!("indexed"));
    assert_eq!(desk.bank("verify").unwrap(), "demo: whole, 12002 signals, revision 3\n");
    let exported = desk.bank("export demo --format hashes").unwrap();
    let expected: Vec<_> = (1..12_001).filter(|n| *n != 7).chain(20_000..20_003).map(hash).collect();
    assert!(exported.lines().eq(expected.iter().map(String::as_str)));
    assert!(desk.bank("compact nobody").unwrap_err().contains("there is no bank `nobody`"));
}
