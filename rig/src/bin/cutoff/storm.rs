//! The re-stream storm: one new copy of the banked clip a second, each under a name of its own. Is every one cut, how many
//! are on the air at once, is the ledger complete, and does memory stay as it is?

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rig::publisher::{Publisher, Times};
use rig::{clips, until};
use serde_json::{Value, json};

use crate::house::{House, at, seconds};

const EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

struct Copy {
    name: String,
    publisher: Publisher,
}

pub(crate) fn measure(copies: u32) -> Result<Value> {
    let clip = clips::copy()?;
    let mut house = House::start("")?;
    let events = house.sluicegate.events()?;
    let began = Instant::now();
    let mut on_air: Vec<Copy> = Vec::new();
    let (mut most, mut resident, mut ended) = (0, Vec::new(), Vec::new());
    for number in 0..copies {
        let due = EVERY * number;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let name = format!("copy-{number:04}");
        let publisher = Publisher::start(&clip, &house.url(&name), Times::Once)?;
        on_air.push(Copy { name, publisher });
        ended.extend(on_air.extract_if(.., |copy| !copy.publisher.is_running()));
        most = most.max(on_air.len());
        if number % 5 == 0 {
            resident.push(house.resident()?);
            eprintln!(
                "  {number}/{copies} copies, {} on the air, {:.0} MB",
                on_air.len(),
                resident.last().unwrap_or(&0.0)
            );
        }
    }
    until("the last copies to be cut", PATIENCE, || {
        ended.extend(on_air.extract_if(.., |copy| !copy.publisher.is_running()));
        on_air.is_empty().then_some(())
    })
    .with_context(|| format!("still on the air: {}", on_air.len()))?;

    let of = |event: &Value| event["stream"].as_str().and_then(|full| full.rsplit('/').next()).map(str::to_owned);
    let gone = |event: &Value| event["type"] == "action" && event["progress"] == "observed_gone";
    until("the last copy to be observed gone", PATIENCE, || {
        (events.all().iter().filter(|event| gone(event)).count() >= copies as usize).then_some(())
    })?;
    let all = events.all();
    let cut: HashSet<String> = all.iter().filter(|event| gone(event)).filter_map(of).collect();
    let verdicts = all.iter().filter(|event| event["type"] == "verdict" && event["verdict"] == "cut").count();
    let mut lasted: Vec<f64> = Vec::new();
    for copy in &ended {
        let gone = all.iter().find(|event| gone(event) && of(event).as_deref() == Some(&copy.name)).and_then(at);
        let first = copy.publisher.sent(Duration::ZERO);
        lasted.extend(first.zip(gone).map(|(first, gone)| seconds(first, gone)));
    }
    Ok(json!({
        "copies": copies, "cut": cut.len(), "verdicts": verdicts, "recorded": recorded(&house)?, "most_at_once": most,
        "resident_mb": resident, "on_air_s": lasted,
    }))
}

/// How many of the ledger's decisions cut a copy and were carried out. The interface gives a thousand at most.
fn recorded(house: &House) -> Result<usize> {
    let decisions = house.sluicegate.get("/v1/decisions?limit=1000")?;
    let decisions = decisions.as_array().context("no list of decisions")?;
    let mut whole = 0;
    for decision in decisions.iter().filter(|decision| decision["verdict"] == "cut") {
        let id = decision["id"].as_str().context("a decision without an identifier")?;
        let decision = house.sluicegate.get(&format!("/v1/decisions/{id}"))?;
        let done = |action: &Value| {
            action["attempts"].as_array().is_some_and(|all| all.iter().any(|one| one["outcome"] == "done"))
        };
        let kicks = |action: &&Value| action["action"] == "kick";
        whole += usize::from(decision["actions"].as_array().is_some_and(|all| all.iter().filter(kicks).any(done)));
    }
    Ok(whole)
}
