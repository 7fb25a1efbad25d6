//! What is moved, what is not, and the way back.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::time::SystemTime;

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::act::servers::Kicked;
use crate::media_server::{Hook, HookRequest, Listed, Pull};
use crate::stream::Publisher;

/// A media server whose list is told, look by look; the last answer stays. What it writes at each look is up to the test.
struct Fake {
    name: Arc<str>,
    looks: Mutex<Vec<Vec<Session>>>,
    writes: Box<dyn Fn(usize) + Send + Sync>,
    looked: Mutex<usize>,
}

#[async_trait]
impl MediaServer for Fake {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    async fn list(&self) -> Result<Vec<Listed>, ActError> {
        let look = {
            let mut looked = self.looked.lock().unwrap();
            *looked += 1;
            *looked - 1
        };
        (self.writes)(look);
        let looks = self.looks.lock().unwrap();
        let sessions = looks.get(look).or(looks.last()).cloned().unwrap_or_default();
        let listed = |session| Listed { session, publisher: Publisher::default(), bytes_in: None };
        Ok(sessions.into_iter().map(listed).collect())
    }

    async fn publishes(&self, _: &Session) -> Result<bool, ActError> {
        unreachable!("the whole list is looked at")
    }

    async fn kick(&self, _: &Session) -> Result<Kicked, ActError> {
        unreachable!("somebody else kicks")
    }

    fn parse_hook(&self, _: HookRequest<'_>) -> Result<Hook, ActError> {
        unreachable!("no hooks here")
    }

    fn pull(&self, _: &StreamId) -> Result<Pull, ActError> {
        unreachable!("nothing is pulled")
    }
}

fn session(name: &str, id: &str) -> Session {
    Session { stream: StreamId::new("main", "live", name), id: id.into() }
}

/// A server's folders, with a keeper that looks often.
struct House {
    home: TempDir,
    keeper: Keeper,
    clock: Clock,
    metrics: Metrics,
    decision: Uuid,
}

fn house(kind: Kind) -> House {
    let home = TempDir::new().unwrap();
    let mut config = servers::Config::local("main", kind);
    config.after_cut = Config {
        hls: Some(home.path().join("hls").join(APP)),
        recordings: Some(home.path().join("recordings")),
        quarantine: home.path().join("quarantine"),
    };
    assert_eq!(config.problems(), []);
    fs::create_dir_all(home.path().join("hls/live")).unwrap();
    fs::create_dir_all(home.path().join("recordings")).unwrap();
    let ms = Duration::from_millis;
    let pace = Pace { every: ms(5), quiet: ms(50), longest: ms(2000) };
    let keeper = Keeper { pace, ..Keeper::new(&config).unwrap() };
    let metrics = Metrics::new().unwrap();
    House { home, keeper, clock: Clock::system(), metrics, decision: Uuid::now_v7() }
}

impl House {
    fn write(&self, file: &str) {
        fs::write(self.home.path().join(file), file).unwrap();
    }

    /// Every file below the folders of the server.
    fn left(&self) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        let mut folders = vec![self.home.path().join("hls"), self.home.path().join("recordings")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else {
                    left.insert(path.strip_prefix(self.home.path()).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        left
    }

    fn shelf(&self) -> Shelf {
        Shelf::open(&self.keeper.config.quarantine, self.decision).unwrap().expect("something was moved")
    }

    /// Where the kept files were.
    fn kept(&self) -> BTreeSet<String> {
        let shelf = Shelf::open(&self.keeper.config.quarantine, self.decision).unwrap();
        let from = |kept: &Kept| kept.from.strip_prefix(self.home.path()).unwrap().to_str().unwrap().to_owned();
        shelf.iter().flat_map(Shelf::files).map(from).collect()
    }

    async fn keep_with(
        &self,
        session: &Session,
        looks: Vec<Vec<Session>>,
        writes: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Option<Swept>, ActError> {
        let (_stop, stopped) = watch::channel(false);
        let fake = Fake { name: "main".into(), looks: looks.into(), writes: Box::new(writes), looked: Mutex::new(0) };
        let since = self.clock.now();
        self.keeper.keep(self.decision, session, since, &fake, (self.clock, &self.metrics, stopped)).await
    }

    async fn keep(&self, session: &Session) -> Swept {
        self.keep_with(session, Vec::new(), |_| {}).await.unwrap().unwrap()
    }
}

fn set(files: &[&str]) -> BTreeSet<String> {
    files.iter().map(|file| (*file).to_owned()).collect()
}

#[tokio::test]
async fn what_outlives_a_session_is_moved_and_nothing_else() {
    let house = house(Kind::NginxRtmp);
    let own = [
        "hls/live/cam1.m3u8",
        "hls/live/cam1-0.ts",
        "hls/live/cam1-12.ts",
        "hls/live/cam1.jpg",
        "recordings/cam1.flv",
        "recordings/cam1-1700000000.flv",
    ];
    let others = [
        "hls/live/cam10.m3u8",
        "hls/live/cam10-0.ts",
        "hls/live/cam1-2-0.ts",
        "hls/live/notes.txt",
        "recordings/cam10.flv",
        "recordings/cam1-1500000000.flv",
        "hls/live/cam1-3.ts",
        "hls/live/cam1/4.ts",
    ];
    fs::create_dir_all(house.home.path().join("hls/live/cam1")).unwrap();
    for file in own.iter().chain(&others) {
        house.write(file);
    }
    let before = SystemTime::UNIX_EPOCH + Duration::from_mins(25_000_000);
    for old in ["recordings/cam1-1500000000.flv", "hls/live/cam1-3.ts", "hls/live/cam1/4.ts"] {
        let old = fs::File::options().write(true).open(house.home.path().join(old)).unwrap();
        old.set_modified(before).unwrap();
    }

    let swept = house.keep(&session("cam1", "7")).await;
    assert_eq!(house.left(), set(&others), "what is from before the session is not its");
    assert_eq!(house.kept(), set(&own));
    assert!(swept.detail.starts_with("6 files moved"), "{}", swept.detail);
    let (moved, left): (Vec<_>, Vec<_>) = swept.leftovers.iter().partition(|leftover| leftover.moved);
    assert_eq!(moved.len(), 6);
    let left: Vec<_> = left.iter().filter_map(|leftover| leftover.place.rsplit('/').next()).collect();
    assert_eq!(left, ["cam1-3.ts", "4.ts"], "an earlier session's segments are told of and left");
    assert!(house.metrics.render().unwrap().contains("sluicegate_cut_tail_seconds_count{server=\"main\"} 1"));
}

#[tokio::test]
async fn it_is_moved_until_nothing_comes_any_more() {
    let house = house(Kind::Srs);
    let cam = session("cam1", "7");
    let folder = house.home.path().join("hls/live");
    // On the air for three looks, and the server writes its last a while after.
    let looks = vec![vec![cam.clone()], vec![cam.clone()], vec![cam.clone()], vec![]];
    let writes = move |look: usize| {
        if look < 9 {
            fs::write(folder.join(format!("cam1-{look}.ts")), "video").unwrap();
            fs::write(folder.join("cam1.m3u8"), format!("playlist {look}")).unwrap();
        }
    };
    let swept = house.keep_with(&cam, looks, writes).await.unwrap().unwrap();
    assert_eq!(house.left(), set(&[]));
    assert!(swept.detail.starts_with("18 files moved"), "{}", swept.detail);
    let tail: u64 = swept.detail.split(' ').find_map(|word| word.parse().ok().filter(|ms| *ms != 18)).unwrap();
    assert!((20..500).contains(&tail), "the last came six looks after the end: {}", swept.detail);
}

#[tokio::test]
async fn however_many_watch_a_server_it_is_asked_for_one_of_them() {
    let House { keeper, clock, home: _home, .. } = house(Kind::Srs);
    let fake = Fake { name: "main".into(), looks: Mutex::default(), writes: Box::new(|_| {}), looked: Mutex::new(0) };
    let fake = Arc::new(fake);
    let (_stop, stopped) = watch::channel(false);
    let mut keeping = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (keeper, fake, stopped) = (keeper.clone(), Arc::clone(&fake), stopped.clone());
        keeping.spawn(async move {
            let (cam, metrics) = (session(&format!("cam{number}"), "7"), Metrics::new().unwrap());
            let watch = (clock, &metrics, stopped);
            keeper.keep(Uuid::now_v7(), &cam, clock.now(), &*fake, watch).await.unwrap().unwrap()
        });
    }
    keeping.join_all().await;
    // Quiet after ten looks of each.
    let looked = *fake.looked.lock().unwrap();
    assert!((10..200).contains(&looked), "{looked} looks");
}

#[tokio::test]
async fn everything_comes_back_the_last_version_of_each_and_over_nothing() {
    let house = house(Kind::NginxRtmp);
    let cam = session("cam1", "7");
    let folder = house.home.path().join("hls/live");
    let writes = move |look: usize| {
        if look < 2 {
            fs::write(folder.join("cam1.m3u8"), format!("playlist {look}")).unwrap();
        }
    };
    house.write("hls/live/cam1-0.ts");
    house.write("recordings/cam1.flv");
    house.keep_with(&cam, Vec::new(), writes).await.unwrap();
    assert_eq!(house.left(), set(&[]));
    fs::write(house.home.path().join("recordings/cam1.flv"), "somebody's new one").unwrap();

    let restored = house.shelf().restore(house.clock.now()).unwrap();
    assert_eq!((restored.back.len(), restored.kept.len()), (2, 2), "{restored:?}");
    assert_eq!(house.left(), set(&["hls/live/cam1-0.ts", "hls/live/cam1.m3u8", "recordings/cam1.flv"]));
    let read = |file: &str| fs::read_to_string(house.home.path().join(file)).unwrap();
    assert_eq!(read("hls/live/cam1.m3u8"), "playlist 1");
    assert_eq!(read("recordings/cam1.flv"), "somebody's new one");
    assert_eq!(house.shelf().files().len(), 2, "what could not go back stays");

    let swept = house.keep(&cam).await;
    assert!(swept.detail.starts_with("0 files"), "what was brought back is not moved again: {}", swept.detail);
    assert_eq!(house.left().len(), 3);
}

#[tokio::test]
async fn who_publishes_under_the_name_now_is_left_alone() {
    let house = house(Kind::NginxRtmp);
    house.write("hls/live/cam1-0.ts");
    let swept = house.keep_with(&session("cam1", "7"), vec![vec![session("cam1", "8")]], |_| {}).await;
    assert!(swept.unwrap().unwrap().detail.starts_with("0 files"));
    assert_eq!(house.left(), set(&["hls/live/cam1-0.ts"]));
}

#[tokio::test]
async fn what_may_be_another_live_streams_is_left_and_told() {
    let house = house(Kind::NginxRtmp);
    for file in ["recordings/cam1-1700000000.flv", "recordings/cam1-1700000001.flv", "hls/live/cam1.m3u8"] {
        house.write(file);
    }
    let looks = vec![vec![session("cam1-1700000000", "8"), session("cam10", "9")]];
    let swept = house.keep_with(&session("cam1", "7"), looks, |_| {}).await.unwrap().unwrap();
    assert_eq!(house.left(), set(&["recordings/cam1-1700000000.flv"]));
    let left: Vec<_> = swept.leftovers.iter().filter(|leftover| !leftover.moved).collect();
    assert_eq!(left.len(), 1);
    assert!(left[0].place.ends_with("cam1-1700000000.flv"));

    // The other way round the file is surely its own.
    let house = self::house(Kind::NginxRtmp);
    house.write("recordings/cam1-1700000000.flv");
    house.keep_with(&session("cam1-1700000000", "8"), vec![vec![session("cam1", "7")]], |_| {}).await.unwrap();
    assert_eq!(house.left(), set(&[]));
}

#[tokio::test]
async fn a_hostile_name_reaches_nothing() {
    let house = house(Kind::Srs);
    fs::create_dir_all(house.home.path().join("hls/live/sub")).unwrap();
    fs::write(house.home.path().join("secret.flv"), "secret").unwrap();
    fs::write(house.home.path().join("hls/17.ts"), "another application's").unwrap();
    symlink(house.home.path(), house.home.path().join("hls/live/home")).unwrap();
    symlink("../../secret.flv", house.home.path().join("hls/live/link.flv")).unwrap();
    house.write("hls/live/sub/a.m3u8");
    house.write("hls/live/sub/cam2-1.ts");
    let before = house.left();
    let long = "L".repeat(4096);
    for name in ["..", ".", "", "../secret", "../../secret", "sub/a", "/", "home", "link", "a\0b", "*", "[a-z]", &long]
    {
        let swept = house.keep(&session(name, "7")).await;
        assert!(swept.detail.starts_with("0 files"), "{name}: {}", swept.detail);
    }
    let elsewhere = Session { stream: StreamId::new("main", "../..", "secret"), id: "7".into() };
    house.keep(&elsewhere).await;
    assert_eq!(house.left(), before);
    assert!(house.home.path().join("secret.flv").exists());
    assert!(!house.keeper.config.quarantine.exists(), "nothing was moved at all");
}

#[tokio::test]
async fn a_folder_of_the_streams_own_is_emptied_and_stays() {
    let house = house(Kind::NginxRtmp);
    fs::create_dir_all(house.home.path().join("hls/live/cam1")).unwrap();
    for file in ["hls/live/cam1/index.m3u8", "hls/live/cam1/0.ts", "hls/live/cam1/readme.txt"] {
        house.write(file);
    }
    house.keep(&session("cam1", "7")).await;
    assert_eq!(house.left(), set(&["hls/live/cam1/readme.txt"]));
}

#[tokio::test]
async fn told_to_stop_it_goes_on_at_the_next_start() {
    let house = house(Kind::NginxRtmp);
    house.write("hls/live/cam1-0.ts");
    let cam = session("cam1", "7");
    let (stop, stopped) = watch::channel(false);
    stop.send(true).unwrap();
    let looks = Mutex::new(vec![vec![cam.clone()]]);
    let fake = Fake { name: "main".into(), looks, writes: Box::new(|_| {}), looked: Mutex::new(0) };
    let watch = (house.clock, &house.metrics, stopped);
    assert_eq!(house.keeper.keep(house.decision, &cam, house.clock.now(), &fake, watch).await.unwrap(), None);
    house.write("hls/live/cam1-1.ts");
    let swept = house.keep(&cam).await;
    assert!(swept.detail.starts_with("1 files"), "{}", swept.detail);
    assert_eq!(swept.leftovers.len(), 2, "all that is kept is told");
}

#[tokio::test]
async fn killed_between_the_line_and_the_move_or_in_the_midst_of_a_line_nothing_is_lost() {
    let house = house(Kind::NginxRtmp);
    let cam = session("cam1", "7");
    house.write("hls/live/cam1-0.ts");
    let folder = Folder::of(house.keeper.config.hls.as_deref().unwrap(), "live").unwrap().unwrap();
    let entry = folder.file("cam1-0.ts").unwrap().unwrap();
    let quarantine = &house.keeper.config.quarantine;
    {
        let mut shelf = Shelf::make(quarantine, house.decision, &cam, house.clock.now()).unwrap();
        shelf.take(&folder, &entry, LeftoverKind::Segment, true, house.clock.now()).unwrap();
    }
    let kept = quarantine.join(house.decision.to_string());
    // As if the move had not happened, and the next line had been cut short.
    fs::rename(kept.join("00001.ts"), house.home.path().join("hls/live/cam1-0.ts")).unwrap();
    let mut list = fs::read_to_string(kept.join("list.jsonl")).unwrap();
    list.push_str("{\"line\":\"file\",\"name\":\"000");
    fs::write(kept.join("list.jsonl"), list).unwrap();
    house.write("hls/live/cam1-1.ts");

    house.keep(&cam).await;
    assert_eq!(house.kept(), set(&["hls/live/cam1-0.ts", "hls/live/cam1-1.ts"]));
    let restored = house.shelf().restore(house.clock.now()).unwrap();
    assert_eq!((restored.back.len(), restored.kept.len()), (2, 0));
    assert_eq!(house.left(), set(&["hls/live/cam1-0.ts", "hls/live/cam1-1.ts"]));
}

#[tokio::test]
async fn what_cannot_be_moved_is_an_error_that_names_no_file() {
    let house = house(Kind::NginxRtmp);
    house.write("hls/live/cam1-0.ts");
    fs::write(&house.keeper.config.quarantine, "in the way").unwrap();
    let error = house.keep_with(&session("cam1", "7"), Vec::new(), |_| {}).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), ("left_behind", true));
    assert!(!error.to_string().contains("cam1"), "{error}");
    assert_eq!(house.left(), set(&["hls/live/cam1-0.ts"]));
}

#[test]
fn every_cut_is_told_of_and_moved_where_it_is_said_where_its_files_are() {
    let decision = Decision::new(session("cam1", "7"), crate::decision::Verdict::Cut, "test", Timestamp::ZERO);
    let webhook = |events: &str| {
        let text = format!(
            "name = 'ops'\nurl = 'https://h/'\nsecret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'\nevents = [{events}]"
        );
        Webhook::new(&toml::from_str(&text).unwrap(), &crate::act::Config::default()).unwrap()
    };
    let house = house(Kind::NginxRtmp);
    let mut server = servers::Config::local("main", Kind::NginxRtmp);
    let plain = follows(&decision, Timestamp::ZERO, Some(&server), &[webhook("'stream.quarantine'")], "/s");
    let [(_, Action::Notify { body, .. })] = &plain[..] else { panic!("{plain:?}") };
    assert!(body.contains("stream.quarantine") && body.contains("cam1-*.ts"), "{body}");
    server.after_cut = house.keeper.config.clone();
    let moved = follows(&decision, Timestamp::ZERO, Some(&server), &[webhook("'cut'")], "/s");
    assert!(matches!(&moved[..], [(_, Action::Quarantine { .. })]), "{moved:?}");
    assert_eq!(follows(&decision, Timestamp::ZERO, None, &[], "/s"), []);
}
