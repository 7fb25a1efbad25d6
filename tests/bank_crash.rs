//! Large banks and whoever is killed, runs out of disk or writes at the same time: afterwards a bank is what it was or what it
//! was to become, nothing that was said to be done is lost, and what is left behind is cleared away.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use std::{env, fs, io};

use sluicegate::bank::formats::{Item, Listed, Place, Read};
use sluicegate::bank::{Bank, BankName, Changes, Compaction, Import, Provenance, Store, Which};
use sluicegate::clock::Timestamp;
use sluicegate::finding::Opinion;
use sluicegate::hash::PdqHash;

/// Set for a child: what it is to do, and the folder of banks.
const CHILD: &str = "SLUICEGATE_TEST_BANK_CHILD";
const KILLS: u32 = 60;
/// As many signals as are worth a base.
const BLOCK: u64 = 12_000;

fn name() -> BankName {
    "demo".parse().unwrap()
}

/// The hash of the signal with this identifier.
fn hash(id: u64) -> PdqHash {
    let spread = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    PdqHash::from_words([spread, !spread, id, !id])
}

/// Imports these hashes as one list.
fn import(store: &Store, hashes: impl Iterator<Item = u64>) -> u64 {
    let listed = |n| Listed {
        place: Place::Line(n),
        hash: hash(n),
        quality: None,
        at: None,
        opinion: None,
        source: None,
        record: None,
    };
    let list = Read { items: hashes.map(|n| Item::Signal(listed(n))).collect(), ..Read::default() };
    let provenance = Provenance { file: "list".to_owned(), sha256: "ab".repeat(32) };
    let import = Import { provenance, opinion: Opinion::Positive, list, whole: None };
    store.import(&name(), &Changes::default(), import, Timestamp::ZERO).unwrap().1
}

/// The child. One role changes the bank step by step and says each revision that is done: an odd one imports a block, an even one
/// removes the first signal of it. Others add signals one by one, or do nothing but compact.
#[test]
fn child() {
    let Ok(role) = env::var(CHILD) else { return };
    let (role, folder) = role.split_once(' ').unwrap();
    let store = Store::open(Path::new(folder)).unwrap();
    match role {
        "change" => loop {
            let revision = store.load(&name()).map_or(0, |bank| bank.revision());
            let block = revision / 2;
            let done = if revision.is_multiple_of(2) {
                import(&store, block * BLOCK + 1..=(block + 1) * BLOCK)
            } else {
                let first = Which::Ids(vec![block * BLOCK + 1]);
                store.remove(&name(), &first, Timestamp::ZERO).unwrap().revision
            };
            writeln!(io::stdout(), "@ {done}").unwrap();
            store.compact(&name()).unwrap();
        },
        "compact" => loop {
            store.compact(&name()).unwrap();
        },
        from => {
            let from: u64 = from.parse().unwrap();
            for n in from..from + 40 {
                import(&store, n..=n);
            }
        }
    }
}

fn spawn(role: &str, folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{role} {}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether the bank is exactly what its revision says.
fn is_whole(bank: &Bank) -> bool {
    let (imported, removed) = (bank.revision().div_ceil(2), bank.revision() / 2);
    let expected = (1..=imported * BLOCK).filter(|id| id % BLOCK != 1 || id / BLOCK >= removed);
    bank.problem().is_none()
        && bank.is_index_sound()
        && bank.signals().map(|signal| (signal.id, signal.hash)).eq(expected.map(|id| (id, hash(id))))
}

#[test]
fn whoever_is_killed_leaves_the_old_bank_or_the_new_one() {
    let mut folder = tempfile::tempdir().unwrap();
    let (mut said, mut left_over, mut compacted) = (0, 0, 0);
    for round in 0..KILLS {
        if round % 12 == 0 {
            (folder, said) = (tempfile::tempdir().unwrap(), 0);
        }
        let mut child = spawn("change", folder.path());
        // From before the bank is read to the midst of its changes and compactions; another moment in every run.
        thread::park_timeout(Duration::from_micros(u64::from(rand::random_range(10_000..600_000_u32))));
        child.kill().unwrap();
        let told = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let done = told.lines().filter_map(|line| line.strip_prefix("@ ")?.parse().ok()).max();
        said = done.unwrap_or(said);
        let store = Store::open(folder.path()).unwrap();
        let Ok(bank) = store.load(&name()) else {
            assert_eq!((said, store.names().unwrap()), (0, Vec::new()), "it was not made yet");
            continue;
        };
        assert!((said..=said + 1).contains(&bank.revision()), "{said} was done, {} is there", bank.revision());
        assert!(is_whole(&bank), "revision {}", bank.revision());
        compacted += u32::from(bank.in_base() > 0);
        left_over += u32::from(files(folder.path()).iter().any(|file| file.contains("new") || file.contains("ng.")));
    }
    assert!(compacted > KILLS / 4 && left_over > 0, "the kills were not at telling moments: {compacted} {left_over}");
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|file| !file.starts_with('.')).collect()
}

#[test]
fn what_the_killed_leave_behind_the_next_writer_clears_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    import(&store, 1..=BLOCK);
    assert_eq!(store.compact(&name()).unwrap(), Compaction::Done { in_base: BLOCK as usize });
    // The empty mark says that 2 was not put in place; 3 has none, so it may be of a head that somebody has moved away.
    let orphans = ["demo.2.new", "demo.2.signals", "demo.2.index", "demo.1.index.new", "demo.new", "demo.new.signals"];
    let orphans = orphans.into_iter().chain(["demo.compacting.index", "demo.compacting.index.new"]);
    for orphan in orphans {
        fs::write(folder.path().join(orphan), "half of a ba").unwrap();
    }
    let others = ["demo.3.signals", "other.2.signals", "demo-2.2.signals", "demo.bank.old"];
    for other in others {
        fs::write(folder.path().join(other), "somebody else's").unwrap();
    }
    assert!(store.load(&name()).is_ok());
    import(&store, BLOCK + 1..=BLOCK + 1);
    let mut left = files(folder.path());
    left.sort();
    let mut expected = vec!["demo.1.index", "demo.1.signals", "demo.bank"];
    expected.extend(others);
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[test]
fn processes_that_write_while_another_compacts_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    import(&store, 1..=BLOCK);
    let mut compacting = spawn("compact", folder.path());
    let writers: Vec<Child> = [1_000_000, 2_000_000].map(|from: u64| spawn(&from.to_string(), folder.path())).into();
    for writer in writers {
        assert!(writer.wait_with_output().unwrap().status.success());
    }
    assert!(compacting.try_wait().unwrap().is_none(), "compaction gave up");
    compacting.kill().unwrap();
    compacting.wait().unwrap();
    let bank = store.load(&name()).unwrap();
    assert_eq!((bank.len() as u64, bank.revision()), (BLOCK + 80, 81));
    assert!(bank.is_index_sound() && bank.in_base() > 0);
    for n in (1_000_000..1_000_040).chain(2_000_000..2_000_040) {
        assert_eq!(bank.nearest(&hash(n), 0).map(|(_, distance)| distance), Some(0));
    }
}

#[test]
fn a_disk_that_is_full_during_compaction_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    import(&store, 1..=BLOCK);
    // As a process that may not make a file of more than 256 kilobytes; the signal that goes with it is ignored, as a full disk sends none.
    let script = r#"trap '' XFSZ; ulimit -f 512; exec "$0" bank compact demo --banks "$1""#;
    let full =
        Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_sluicegate")]).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(64), "{said}");
    assert!(said.contains("demo.compacting.signals: check the folder's permissions and free space"), "{said}");
    assert_eq!(files(folder.path()), ["demo.bank"], "half a base is left behind");
    assert_eq!(store.load(&name()).unwrap().len() as u64, BLOCK);
    assert_eq!(store.compact(&name()).unwrap(), Compaction::Done { in_base: BLOCK as usize });
}
