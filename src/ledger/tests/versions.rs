//! Files of older versions are brought up to date and keep what they hold.

use super::*;

#[test]
fn an_older_file_is_brought_up_to_date_and_keeps_what_it_holds() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let kept = decision("a", at(1000));
    open(&dir).record(&kept.clone().into()).unwrap();

    let steps = [schema::STEPS, &["ALTER TABLE decisions ADD COLUMN reviewer TEXT"]].concat();
    let mut connection = Connection::open(&path).unwrap();
    for _ in 0..2 {
        schema::migrate(&mut connection, &path, &steps).unwrap();
    }
    let reviewer: Option<String> =
        connection.query_row("SELECT reviewer FROM decisions", [], |row| row.get(0)).unwrap();
    assert_eq!(reviewer, None);

    let broken = [steps, vec!["CREATE TABLE half (a); SELECT nonsense"]].concat();
    schema::migrate(&mut connection, &path, &broken).unwrap_err();
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 4, "a step that fails leaves nothing behind");
    assert!(!connection.table_exists(None, "half").unwrap());
    drop(connection);
    assert_eq!(open_fails_and_says(&path), "newer");
}

#[test]
fn what_the_first_version_held_is_all_there_and_its_outbox_goes_on() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let mut connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    schema::migrate(&mut connection, &path, &schema::STEPS[..1]).unwrap();
    let (mut kept, waiting, tried) = (decision("a", at(1000)), notify(), notify());
    kept.capped_by = None;
    let put = |table: &str, row: &[&dyn rusqlite::ToSql]| {
        let marks = vec!["?"; row.len()].join(", ");
        connection.execute(&format!("INSERT INTO {table} VALUES ({marks})"), row).unwrap();
    };
    let (evidence, id) = (serde_json::to_string(&kept.evidence).unwrap(), kept.id.to_string());
    put("decisions", &[&id, &"main", &"live", &"a", &"17", &"cut", &"known content", &"0123", &1_000_000, &evidence]);
    for ((action, payload), state, attempts) in [(&waiting, "pending", 0), (&tried, "done", 1)] {
        let payload = serde_json::to_string(payload).unwrap();
        put("actions", &[&action.to_string(), &id, &"notify", &payload, &state, &attempts, &1_000_000]);
    }
    put("outcomes", &[&1, &tried.0.to_string(), &1, &1_000_000, &2_000_000, &"done", &"HTTP 204", &None::<i64>]);
    drop(connection);

    let ledger = open(&dir);
    assert_eq!(ledger.decision(kept.id).unwrap(), Some(kept.clone()));
    assert_eq!(ledger.outcomes(kept.id).unwrap().len(), 1);
    let jobs = ledger.claim(Lane::Notify, at(2000), 9).unwrap();
    assert_eq!(jobs.iter().map(|job| (job.id, job.decision)).collect::<Vec<_>>(), [(waiting.0, Some(kept.id))]);
}

#[test]
fn what_the_second_version_held_is_all_there_as_the_policy_decided_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let mut connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    schema::migrate(&mut connection, &path, &schema::STEPS[..2]).unwrap();
    let kept = decision("a", at(1000));
    let (evidence, id, waiting) = (serde_json::to_string(&kept.evidence).unwrap(), kept.id.to_string(), kick(&kept));
    let payload = serde_json::to_string(&waiting.1).unwrap();
    let old = "INSERT INTO decisions VALUES (?1, 'main', 'live', 'a', '17', 'cut', 'known content', '0123', 1000000, ?2, NULL)";
    connection.execute(old, [&id, &evidence]).unwrap();
    connection.execute("INSERT INTO denies VALUES (1, 'main', 'live', 'a', ?1, 1000000, NULL, NULL)", [&id]).unwrap();
    let old = "INSERT INTO actions VALUES (?1, ?2, 'kick', ?3, 'pending', 1, 1000000)";
    connection.execute(old, [&waiting.0.to_string(), &id, &payload]).unwrap();
    let old = "INSERT INTO outcomes VALUES (1, ?1, 1, 1000000, 2000000, 'retry', 'no answer', 1000000)";
    connection.execute(old, [&waiting.0.to_string()]).unwrap();
    drop(connection);

    let ledger = open(&dir);
    assert_eq!(ledger.decision(kept.id).unwrap(), Some(kept.clone()));
    assert_eq!(ledger.denies(at(2000)).unwrap(), [deny(&kept, None)], "it refuses the stream's name, as it did");
    assert_eq!(ledger.outcomes(kept.id).unwrap().len(), 1);
    let jobs = ledger.claim(Lane::Kick, at(2000), 9).unwrap();
    assert_eq!(jobs, [Job { id: waiting.0, decision: Some(kept.id), action: waiting.1, attempts: 1 }]);
}
